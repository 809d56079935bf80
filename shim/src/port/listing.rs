//! Published ports as people are told of them: the column `PORTS` of `ps`, the lines of `port`. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::container::host_config::PortBinding;
use crate::port::syntax::{Port, Protocol};

/// Ports by `port/protocol`, with where they are published: `NetworkSettings.Ports`.
pub type Ports = BTreeMap<String, Option<Vec<PortBinding>>>;

/// One line of what is there: a port, and where it is published.
type Line = (Port, Option<SocketAddr>);

/// In the order of their numbers.
fn lines(ports: &Ports) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (port, bindings) in ports {
        let Ok(port) = port.parse::<Port>() else { continue };
        let published = bindings.iter().flatten().filter_map(|binding| {
            let address: IpAddr = binding.host_ip.parse().ok()?;
            Some(SocketAddr::new(address, binding.host_port.parse().ok()?))
        });
        let before = lines.len();
        lines.extend(published.map(|at| (port, Some(at))));
        if lines.len() == before {
            lines.push((port, None));
        }
    }
    lines.sort_by_key(|(port, at)| (port.number, at.map(|at| (at.ip(), at.port())), port.protocol));
    lines
}

/// `443/tcp, 0.0.0.0:8000-8001->8000-8001/tcp, 0.0.0.0:8080->80/tcp`: those that are alike follow one another as a range;
/// what has another number on the host stands behind.
#[must_use]
pub fn column(ports: &Ports) -> String {
    // Ranges that are whole, those that the next one may belong to, and what is no range: Docker's order.
    let (mut whole, mut ranges, mut others) = (Vec::new(), Vec::<Range>::new(), Vec::new());
    for (port, at) in lines(ports) {
        match at {
            Some(at) if at.port() != port.number => others.push(format!("{at}->{port}")),
            at => {
                let kind = (at.map(|at| at.ip()), port.protocol);
                let new = Range { kind, first: port.number, last: port.number };
                match ranges.iter_mut().find(|range| range.kind == kind) {
                    Some(range) if range.last.checked_add(1) == Some(port.number) => range.last = port.number,
                    Some(range) => whole.push(std::mem::replace(range, new).told()),
                    None => ranges.push(new),
                }
            }
        }
    }
    whole.extend(ranges.iter().map(Range::told).chain(others));
    whole.join(", ")
}

/// Ports with the same numbers on the host, or on no host.
struct Range {
    kind: (Option<IpAddr>, Protocol),
    first: u16,
    last: u16,
}

impl Range {
    fn told(&self) -> String {
        let numbers = if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}-{}", self.first, self.last)
        };
        match self.kind {
            (None, protocol) => format!("{numbers}/{protocol}"),
            (Some(IpAddr::V4(address)), protocol) => format!("{address}:{numbers}->{numbers}/{protocol}"),
            (Some(IpAddr::V6(address)), protocol) => format!("[{address}]:{numbers}->{numbers}/{protocol}"),
        }
    }
}

/// The lines of `port`: of one port where it is published, or of all which is where.
#[must_use]
pub fn published(ports: &Ports, wanted: Option<Port>) -> Vec<String> {
    let all = lines(ports).into_iter().filter_map(|(port, at)| Some((port, at?)));
    match wanted {
        Some(wanted) => all.filter(|(port, _)| *port == wanted).map(|(_, at)| at.to_string()).collect(),
        None => {
            // As Docker sorts these lines.
            let mut all: Vec<_> = all.collect();
            all.sort_by_key(|(port, at)| (port.number, port.protocol.to_string(), *at));
            all.iter().map(|(port, at)| format!("{port} -> {at}")).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `80/tcp`, or `80/tcp 0.0.0.0 8080`.
    fn ports(texts: &[&str]) -> Ports {
        let mut all = Ports::new();
        for text in texts {
            let words: Vec<&str> = text.split(' ').collect();
            let bindings = all.entry(words[0].to_owned()).or_default();
            if let [_, address, port] = words[..] {
                let binding = PortBinding { host_ip: address.to_owned(), host_port: port.to_owned() };
                bindings.get_or_insert_default().push(binding);
            }
        }
        all
    }

    #[test]
    fn the_column_is_dockers() {
        for (texts, expected) in [
            (&[][..], ""),
            (&["80/tcp"], "80/tcp"),
            (&["80/tcp 0.0.0.0 8080", "80/tcp :: 8080"], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
            (&["443/tcp", "80/tcp 0.0.0.0 8080"], "443/tcp, 0.0.0.0:8080->80/tcp"),
            (
                &["8000/tcp 0.0.0.0 8000", "8001/tcp 0.0.0.0 8001", "8002/tcp 127.0.0.1 8002"],
                "0.0.0.0:8000-8001->8000-8001/tcp, 127.0.0.1:8002->8002/tcp",
            ),
            (&["90/udp", "91/udp", "93/udp", "91/tcp"], "90-91/udp, 93/udp, 91/tcp"),
            (&["80/tcp ::1 80"], "[::1]:80->80/tcp"),
            (&["80/tcp 10.0.0.1 81", "8/tcp 10.0.0.1 82"], "10.0.0.1:82->8/tcp, 10.0.0.1:81->80/tcp"),
        ] {
            assert_eq!(column(&ports(texts)), expected, "{texts:?}");
        }
    }

    #[test]
    fn one_port_is_told_by_where_it_is_and_all_by_which_they_are() {
        let ports = ports(&["443/tcp", "80/tcp 0.0.0.0 8080", "80/tcp :: 8080", "8/udp 127.0.0.1 8"]);
        let all = ["8/udp -> 127.0.0.1:8", "80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"];
        assert_eq!(published(&ports, None), all);
        let same = self::ports(&["5/tcp 0.0.0.0 5", "5/tcp :: 5", "5/sctp 0.0.0.0 5", "5/sctp :: 5"]);
        let told = ["5/sctp -> 0.0.0.0:5", "5/sctp -> [::]:5", "5/tcp -> 0.0.0.0:5", "5/tcp -> [::]:5"];
        assert_eq!(published(&same, None), told);
        assert_eq!(published(&ports, "80".parse().ok()), ["0.0.0.0:8080", "[::]:8080"]);
        assert_eq!(published(&ports, "443/tcp".parse().ok()), [""; 0]);
    }
}
