//! The way out of an ordinary user's networks: a process between the network that his bridges are in and the host's, pasta(1)
//! or slirp4netns(1), which makes connections of the host's of what comes to a device there. One for all of his containers,
//! there for as long as one of them is in a network that leads outside.
//!
//! Whoever puts a container into a network has it be there, and monitors have one that was killed replaced; whoever takes
//! the last container out ends it. All under one lock, and by the leases: they say who needs it. It is on record before it
//! begins. It forwards no port (`port::proxy` does), and leads to no loopback of the host's.

use std::fs::OpenOptions;
use std::io::{PipeReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use crate::container::process::{ProcessId, boot_id};
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::network::address::Subnet;
use crate::network::lease::Part;
use crate::network::netlink::Netlink;
use crate::network::store::Networks;
use crate::own_program;
use crate::rootless::{TOOLS, host_network};
use crate::store::record::{self, Lock};

/// The hidden command that becomes the program.
pub const VERB: &str = "way-out";
/// Its device in the user's network.
const DEVICE: &str = "out0";
/// What it needs to make one.
const TUN: &str = "/dev/net/tun";
/// The program that is preferred.
const PASTA: &str = "pasta";
const RECORD: &str = "way-out.json";
/// How long it may take until its device is there.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);
/// Longest words of a program that did not begin, in bytes.
const WORDS_MAX: u64 = 64 << 10;

/// Who it is.
#[derive(Serialize, Deserialize)]
struct Record {
    process: ProcessId,
    boot: String,
    /// Of which network ([`host_network::number`]).
    network: Option<u64>,
}

impl Record {
    fn read(state: &Path) -> Result<Option<Record>> {
        let found: Option<Record> = record::read(&state.join(RECORD))?;
        let boot = boot_id()?;
        Ok(found.filter(|record| record.boot == boot && record.process.is_alive()))
    }
}

/// A program, as the hidden command is told of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Program {
    path: PathBuf,
    /// What it is called: by that one sees whose it is.
    name: String,
    words: Vec<String>,
}

/// What it is to do, by how the host's network is at this moment.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// The device's subnet of each family.
    four: Subnet,
    six: Subnet,
    /// The host's device where no route says which one leads outside.
    device: Option<String>,
}

/// Has it be there, if any container is in a network that leads outside. A host that is in no network itself has none.
///
/// # Errors
/// There is no program for it; what that says; the system's reason.
pub fn up(containers: &Containers) -> Result<()> {
    if !host_network::is_own() || !is_needed(containers)? {
        return Ok(());
    }
    let words = || "the way out of networks without root".to_owned();
    let state = containers.state_root();
    let _lock = lock(state)?;
    let network = host_network::number(state)?;
    if let Some(known) = Record::read(state)? {
        if known.network == network {
            return Ok(());
        }
        // Of the namespaces before these, of which nothing else is left.
        known.process.end().during(words)?;
    }
    let Some(plan) = plan(containers).during(words)? else { return Ok(()) };
    start(containers, &plan, network).during(words)
}

/// Ends it, if nobody is in a network that leads outside.
///
/// # Errors
/// It does not end; the system's reason.
pub fn release(containers: &Containers) -> Result<()> {
    if !host_network::is_own() || !is_left(containers)? {
        return Ok(());
    }
    let _lock = lock(containers.state_root())?;
    // Somebody may have come meanwhile.
    if is_left(containers)?
        && let Some(known) = Record::read(containers.state_root())?
    {
        known.process.end().during(|| "end the way out of networks without root".to_owned())?;
    }
    Ok(())
}

/// Is it there, and nobody needs it?
///
/// # Errors
/// A damaged record; the system's reason.
pub fn is_left(containers: &Containers) -> Result<bool> {
    Ok(Record::read(containers.state_root())?.is_some() && !is_needed(containers)?)
}

/// Readable when it has ended; None where it is not there.
///
/// # Errors
/// A damaged record; the system's reason.
pub fn process(containers: &Containers) -> Result<Option<OwnedFd>> {
    let known = Record::read(containers.state_root())?;
    Ok(known.map(|known| known.process.open()).transpose()?.flatten())
}

/// Is any container in a network that leads outside?
///
/// # Errors
/// A damaged record; the system's reason.
pub fn is_needed(containers: &Containers) -> Result<bool> {
    let networks = Networks::of(containers);
    for network in networks.list()?.iter().filter(|network| !network.internal) {
        if !networks.leases(containers, &network.id)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(state: &Path) -> Result<Lock> {
    Lock::exclusive(&state.join("way-out.lock"))
}

/// None on a host that is in no network.
fn plan(containers: &Containers) -> Result<Option<Plan>> {
    let mut netlink = Netlink::open()?;
    let has_route = netlink.has_default_routes()?;
    let device = match has_route {
        [false, false] => match netlink.links()?.into_iter().find(|link| link.is_up && link.name != "lo") {
            Some(link) => Some(link.name),
            None => return Ok(None),
        },
        _ => None,
    };
    // What it has must not be in the way of what the host, or a network, has there.
    let mut taken = netlink.destinations()?;
    for network in Networks::of(containers).list()? {
        taken.extend(Part::all(&network)?.into_iter().map(|part| part.subnet));
    }
    let is_free = |subnet: &Subnet| taken.iter().all(|other| !other.overlaps(*subnet));
    let four = (0..=255).map(|number| Subnet::around(Ipv4Addr::new(10, number, 2, 0).into(), 24));
    let six = (0..=255).map(|number| Ipv6Addr::new(0xfd00, 0xca15, 0x50, number, 0, 0, 0, 0));
    let six = six.map(|address| Subnet::around(address.into(), 64));
    let none = || Error::conflict("no subnet of 10.0.0.0/8 is free");
    let (Some(four), Some(six)) = ({ four }.find(is_free), { six }.find(is_free)) else { return Err(none()) };
    Ok(Some(Plan { four, six, device }))
}

/// The program of this plan: the first that the system has.
fn program(state: &Path, plan: &Plan) -> Result<Program> {
    let is_program = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let find = |name: &str| TOOLS.iter().map(|folder| Path::new(folder).join(name)).find(is_program);
    let missing = "it needs pasta (Debian: passt) or slirp4netns, and neither is installed; --network none and --network \
                   host do without";
    let network = host_network::path(state).to_string_lossy().into_owned();
    let (path, name, words) = if let Some(path) = find(PASTA) {
        (path, PASTA, of_pasta(plan, &network))
    } else if let Some(path) = find("slirp4netns") {
        (path, "slirp4netns", of_slirp4netns(plan, &network))
    } else {
        return Err(Error::not_found(missing));
    };
    Ok(Program { path, name: state.join(name).to_string_lossy().into_owned(), words })
}

/// pasta(1): no port is forwarded in either direction, and the gateway's address is not the host's loopback.
fn of_pasta(plan: &Plan, network: &str) -> Vec<String> {
    let mut words: Vec<String> =
        "--foreground --quiet --config-net --no-map-gw --no-dhcp --no-dhcpv6 --no-ra \
        --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none --ns-ifname"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    words.push(DEVICE.to_owned());
    for (option, value) in [
        ("--address", numbered(plan.four, 100).to_string()),
        ("--netmask", plan.four.length().to_string()),
        ("--gateway", numbered(plan.four, 2).to_string()),
        ("--address", numbered(plan.six, 100).to_string()),
        ("--gateway", numbered(plan.six, 2).to_string()),
    ] {
        words.extend([option.to_owned(), value]);
    }
    if let Some(device) = &plan.device {
        words.extend(["--interface".to_owned(), device.clone()]);
    }
    words.extend(["--netns".to_owned(), network.to_owned()]);
    words
}

/// slirp4netns(1), likewise; it has no way out by IPv6 that could be relied on.
fn of_slirp4netns(plan: &Plan, network: &str) -> Vec<String> {
    let words = "--configure --mtu=65520 --disable-host-loopback --disable-dns --enable-sandbox --enable-seccomp \
        --netns-type=path";
    let mut words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    words.extend([format!("--cidr={}", plan.four), network.to_owned(), DEVICE.to_owned()]);
    words
}

/// An address of a subnet.
fn numbered(subnet: Subnet, number: u8) -> IpAddr {
    match subnet.address() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() | u32::from(number)).into(),
        // As people write it: ::100, not ::64.
        IpAddr::V6(address) => {
            let digits = u128::from_str_radix(&number.to_string(), 16).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() | digits).into()
        }
    }
}

/// Starts it, and waits until it has its device.
fn start(containers: &Containers, plan: &Plan, network: Option<u64>) -> Result<()> {
    let state = containers.state_root();
    OpenOptions::new().read(true).write(true).open(TUN).during(|| {
        format!("open {TUN}, which pasta and slirp4netns need (--network none and --network host do without)")
    })?;
    let program = program(state, plan)?;
    let words = || format!("start {:?}", program.path);
    // Asked in the user's network from now on.
    let mut netlink = host_network::inside(state, Netlink::open)?;
    let (said, tell) = std::io::pipe().during(words)?;
    let mut child = spawn(containers, tell).during(words)?;
    let begun = (|| {
        let process = own_program::begin(&mut child, &program, |process| {
            record::write_fast(&state.join(RECORD), &Record { process, boot: boot_id()?, network })
        })?;
        let until = Instant::now() + PATIENCE;
        while !is_ready(&mut netlink)? {
            if !process.is_alive() {
                return Err(Error::new(Kind::System, "it has ended"));
            }
            if Instant::now() > until {
                return Err(Error::new(Kind::System, "its device does not come"));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    })();
    begun
        .map_err(|error: Error| {
            let _ = child.kill();
            let _ = child.wait();
            reason(said).map_or(error, |reason| Error::new(Kind::System, reason))
        })
        .during(words)
}

/// Its device is there, and leads outside.
fn is_ready(netlink: &mut Netlink) -> Result<bool> {
    Ok(netlink.link(DEVICE)?.is_some_and(|link| link.is_up) && netlink.has_default_routes()? != [false; 2])
}

/// What it said, without what it says of having nobody to say it to.
fn reason(said: PipeReader) -> Option<String> {
    let mut bytes = Vec::new();
    let _ = said.take(WORDS_MAX).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("to syslog"));
    let lines: Vec<&str> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// In the host's network, where this process is.
fn spawn(containers: &Containers, stderr: std::io::PipeWriter) -> std::io::Result<Child> {
    let mut command = own_program::command();
    command.args(own_program::words(containers)).arg(VERB);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(stderr);
    sys::spawn::inherit_only(&mut command, Vec::new(), true);
    sys::spawn::lead_session(&mut command);
    command.spawn()
}

/// What the hidden command does: it becomes the program that it is told of, when it is on record.
///
/// # Errors
/// The system's reason.
pub fn run() -> Result<()> {
    let told = own_program::told(WORDS_MAX).during(|| "what the way out is told".to_owned())?;
    let Some(Program { path, name, words }) = told else { return Ok(()) };
    let mut command = Command::new(&path);
    command.arg0(name).args(words).env_clear().current_dir("/").stdin(Stdio::null());
    // Nobody reads what it says once it is at work. But pasta takes it for an error that SIGPIPE is ignored; it ignores it
    // itself then.
    if path.ends_with(PASTA) {
        sys::spawn::inherit_nothing(&mut command);
    } else {
        sys::spawn::inherit_only(&mut command, Vec::new(), true);
    }
    Err(command.exec()).during(|| format!("execute {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_forward_nothing_and_lead_to_no_loopback() {
        let subnet = |text: &str| Subnet::parse(text).unwrap();
        let plan = Plan { four: subnet("10.1.2.0/24"), six: subnet("fd00:ca15:50::/64"), device: None };
        let words = of_pasta(&plan, "/run/x/network-namespace").join(" ");
        for part in [
            "--no-map-gw ",
            "--tcp-ports none --udp-ports none --tcp-ns none --udp-ns none ",
            "--address 10.1.2.100 --netmask 24 --gateway 10.1.2.2 ",
            "--address fd00:ca15:50::100 --gateway fd00:ca15:50::2 ",
            "--netns /run/x/network-namespace",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(!words.contains("--interface"));
        let on_device = Plan { device: Some("eth0".to_owned()), ..plan };
        assert!(of_pasta(&on_device, "/x").join(" ").contains(" --interface eth0 "));
        let words = of_slirp4netns(&on_device, "/x").join(" ");
        assert!(words.contains("--disable-host-loopback --disable-dns"), "{words}");
        assert!(words.ends_with("--cidr=10.1.2.0/24 /x out0"), "{words}");
    }
}
