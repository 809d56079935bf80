//! A container's ports are published before its runtime is called, and taken back at each end of its run, before its
//! addresses are.
//!
//! In this order: the ports are bound, which nobody else can do from then on; what is published is recorded; the proxy is
//! started with the sockets; and the rules are there at last, so that nothing is led to a container by half of what was
//! asked for. Taking back is the same order from behind, and of what is not there it is nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::{Child, Stdio};

use rustix::io::Errno;

use crate::container::ContainerId;
use crate::container::host_config::PortBinding;
use crate::container::process::{self, ProcessId};
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::error::{Context, Error, Result};
use crate::firewall::others::{self, Dropped};
use crate::firewall::{Forward, flows};
use crate::network::EndpointState;
use crate::network::store::{Networks, OPTION_HOST_ADDRESS};
use crate::own_program;
use crate::port::bind::{self, Bound, MoreDescriptors, Refused};
use crate::port::listing::Ports;
use crate::port::processes;
use crate::port::proxy::Way;
use crate::port::record::{self, Record};
use crate::port::rules;
use crate::port::syntax::{Port, Protocol, Publication};
use crate::rootless::host_network;

/// Where a container is reached: the addresses behind its default routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Target {
    /// What it is called in errors: its endpoint.
    endpoint: String,
    four: Option<IpAddr>,
    six: Option<IpAddr>,
    /// Of the host, where nobody says which: its network's option; None is all.
    host: Option<IpAddr>,
}

impl Target {
    /// Where a port of the host leads: to the address of the same family, where there is one; the proxy has both.
    fn leads(&self, host: SocketAddr, protocol: Protocol, number: u16, dropped: Dropped) -> Option<Forward> {
        let (same, other, is_proxied) = if host.is_ipv4() {
            (self.four, self.six, dropped.four)
        } else {
            (self.six, self.four, dropped.six)
        };
        let to = SocketAddr::new(same.or(other)?, number);
        Some(Forward { protocol, host, to, is_proxied })
    }
}

/// Publishes what a container asks for, now that it is in its networks. What became of it is in its state.
///
/// # Errors
/// A port that somebody else has, in Docker's words; the system's reason. Nothing is left then.
pub fn publish(
    containers: &Containers,
    container: &Container,
    networks: &BTreeMap<String, EndpointState>,
) -> Result<()> {
    let id = ContainerId::parse(&container.id)?;
    let publications = wanted(container)?;
    let mut ports: Ports = container.config.exposed_ports.keys().map(|port| (port.clone(), None)).collect();
    let target = target(containers, container, networks)?;
    if let Some(target) = target.filter(|_| !publications.is_empty()) {
        // Of a run that ended by a kill.
        unpublish(containers, &id)?;
        let published = {
            let _more = MoreDescriptors::allow();
            let _lock = record::lock(&containers.state_folder(&id))?;
            bound(containers, container, &target, &publications)
                .and_then(|bound| begin(containers, &id, bound))
        };
        for (port, host) in published.or_else(|error| undone(containers, &id, error))? {
            let binding = PortBinding { host_ip: host.ip().to_string(), host_port: host.port().to_string() };
            ports.entry(port.to_string()).or_default().get_or_insert_default().push(binding);
        }
    }
    if ports.is_empty() {
        return Ok(());
    }
    let recorded = containers.update_state(&id, false, |state| state.ports.clone_from(&ports));
    recorded.or_else(|error| undone(containers, &id, error))
}

fn undone<T>(containers: &Containers, id: &ContainerId, error: Error) -> Result<T> {
    Err(match unpublish(containers, id) {
        Ok(()) => error,
        Err(clean_up) => error.and(&clean_up),
    })
}

/// Takes back what is published of a container: nothing is led to it any more, and its ports are free.
///
/// # Errors
/// A proxy that does not even end by SIGKILL; the system's reason.
pub fn unpublish(containers: &Containers, id: &ContainerId) -> Result<()> {
    let folder = containers.state_folder(id);
    if record::read(&folder)?.is_none() {
        return Ok(());
    }
    let _lock = record::lock(&folder)?;
    let Some(Record { forwards, proxy }) = record::read(&folder)? else { return Ok(()) };
    rules::change(containers, id, &forwards, &[], || {
        // The table is made of all records: this one must not be among them.
        record::write(&folder, &Record { forwards: Vec::new(), proxy })
    })?;
    end(proxy)?;
    forget_flows(containers, &forwards)?;
    record::remove(&folder)
}

/// Ends a proxy, and waits for it: only then are its ports free.
fn end(proxy: Option<ProcessId>) -> Result<()> {
    let pidfd = proxy.map(ProcessId::open).transpose()?.flatten();
    pidfd.map_or(Ok(()), |pidfd| kill(pidfd.as_fd()))
}

/// The same of a process that is known to be a proxy of ours.
///
/// # Errors
/// It does not even end by SIGKILL; the system's reason.
pub fn kill(pidfd: BorrowedFd) -> Result<()> {
    process::end(pidfd).during(|| "end the proxy of published ports".to_owned())
}

/// Has what is published of a container that runs lead to where it is by now, after it was put into these networks or before
/// it is taken out of others. Its ports of the host stay.
///
/// # Errors
/// As of [`publish`] and [`unpublish`].
pub fn follow(
    containers: &Containers,
    container: &Container,
    networks: &BTreeMap<String, EndpointState>,
) -> Result<()> {
    let id = ContainerId::parse(&container.id)?;
    let folder = containers.state_folder(&id);
    let target = target(containers, container, networks)?;
    if record::read(&folder)?.is_none() {
        return if target.is_some() { publish(containers, container, networks) } else { Ok(()) };
    }
    let Some(target) = target else {
        unpublish(containers, &id)?;
        return containers
            .update_state(&id, false, |state| state.ports.values_mut().for_each(|at| *at = None));
    };
    let _lock = record::lock(&folder)?;
    let Some(Record { forwards: before, proxy }) = record::read(&folder)? else { return Ok(()) };
    let dropped = dropped(containers)?;
    let leads = |forward: &Forward| target.leads(forward.host, forward.protocol, forward.to.port(), dropped);
    let forwards: Vec<Forward> = before.iter().filter_map(leads).collect();
    if forwards == before {
        return Ok(());
    }
    // First of all: one that leads elsewhere is never there beside a record of what it should do. The monitor starts
    // another one, when this is done.
    end(proxy)?;
    record::write(&folder, &Record { forwards: forwards.clone(), proxy: None })?;
    rules::change(containers, &id, &before, &forwards, || Ok(()))?;
    forget_flows(containers, &before)
}

/// Starts a proxy in the place of one that was killed, on the same ports.
///
/// # Errors
/// A port that somebody else has by now; the system's reason.
pub fn mend(containers: &Containers, container: &Container) -> Result<()> {
    let id = ContainerId::parse(&container.id)?;
    let folder = containers.state_folder(&id);
    let _lock = record::lock(&folder)?;
    let Some(Record { forwards, proxy }) = record::read(&folder)? else { return Ok(()) };
    if proxy.is_some_and(ProcessId::is_alive) {
        return Ok(());
    }
    let _more = MoreDescriptors::allow();
    let mut bound = Vec::new();
    for forward in forwards {
        let again = bind::address(forward.host, forward.protocol);
        let Bound { socket, .. } =
            again.map_err(|refused| told(containers, container, None, &forward, &refused))?;
        bound.push((forward, socket));
    }
    start(containers, &id, bound).map(drop)
}

/// What others' rules drop on the way to containers.
fn dropped(containers: &Containers) -> Result<Dropped> {
    host_network::inside_if_there(containers.state_root(), others::dropped).map(Option::unwrap_or_default)
}

fn forget_flows(containers: &Containers, forwards: &[Forward]) -> Result<()> {
    host_network::inside_if_there(containers.state_root(), || flows::forget(forwards)).map(drop)
}

/// Is anything of it published?
///
/// # Errors
/// A damaged record; the system's reason.
pub fn is_published(containers: &Containers, id: &ContainerId) -> Result<bool> {
    Ok(record::read(&containers.state_folder(id))?.is_some_and(|record| !record.forwards.is_empty()))
}

/// The proxy of a container that runs: readable when it has ended.
///
/// # Errors
/// A damaged record; the system's reason.
pub fn proxy(containers: &Containers, id: &ContainerId) -> Result<Option<OwnedFd>> {
    let recorded = record::read(&containers.state_folder(id))?.and_then(|record| record.proxy);
    Ok(recorded.map(ProcessId::open).transpose()?.flatten())
}

/// What the record asks for; with `--publish-all`, a port of the host's choice for each that is exposed besides.
fn wanted(container: &Container) -> Result<Vec<Publication>> {
    let config = &container.host_config;
    let mut all = Vec::new();
    for (port, bindings) in &config.port_bindings {
        for binding in bindings {
            all.push(Publication::of_record(port, binding)?);
        }
    }
    if config.publish_all_ports {
        let exposed = container.config.exposed_ports.keys();
        for port in exposed.filter(|port| !config.port_bindings.contains_key(*port)) {
            let host = config.hardened.then_some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
            // An image may say anything.
            let port = port.parse::<Port>().during(|| "exposed port of the image".to_owned())?;
            all.push(Publication { host, ports: (0, 0), port });
        }
    }
    // Those that are certain first: a port of the kernel's choice must not be one that is asked for.
    all.sort_by_key(|publication| (publication.is_random(), publication.ports.1 - publication.ports.0));
    Ok(all)
}

/// Of each family the address in the network whose gateway is the container's; None where nothing leads outside.
fn target(
    containers: &Containers,
    container: &Container,
    networks: &BTreeMap<String, EndpointState>,
) -> Result<Option<Target>> {
    let priority = |name: &str| container.endpoints.get(name).map_or(0, |endpoint| endpoint.gw_priority);
    let mut ordered: Vec<_> = networks.iter().collect();
    ordered.sort_by_key(|(name, _)| std::cmp::Reverse(priority(name)));
    let first = |gateway: fn(&EndpointState) -> &str, address: fn(&EndpointState) -> &str| {
        let found = ordered.iter().find(|(_, state)| !gateway(state).is_empty())?;
        address(found.1).parse::<IpAddr>().ok()
    };
    let four = first(|state| &state.gateway, |state| &state.ip_address);
    let six = first(|state| &state.ipv6_gateway, |state| &state.global_ipv6_address);
    let outside = ordered
        .iter()
        .find(|(_, state)| !state.gateway.is_empty())
        .or_else(|| ordered.iter().find(|(_, state)| !state.ipv6_gateway.is_empty()));
    let Some((_, state)) = outside else { return Ok(None) };
    let network = Networks::of(containers).get(&state.network_id)?.unwrap_or_default();
    let host = network.options.get(OPTION_HOST_ADDRESS).and_then(|address| address.parse().ok());
    let host = host.filter(|host: &IpAddr| !host.is_unspecified());
    Ok(Some(Target { endpoint: state.endpoint_id.clone(), four, six, host }))
}

/// A port of the host with the container's behind it.
type Held = (Forward, OwnedFd);

/// Binds all that is asked for, or nothing.
fn bound(
    containers: &Containers,
    container: &Container,
    target: &Target,
    publications: &[Publication],
) -> Result<Vec<Held>> {
    let dropped = dropped(containers)?;
    let mut all = Vec::new();
    for publication in publications {
        let publication = &Publication { host: publication.host.or(target.host), ..*publication };
        let Port { number, protocol } = publication.port;
        let leads = |host| target.leads(host, protocol, number, dropped);
        let bound = bind::publication(publication).map_err(|refused| match leads(refused.host) {
            Some(forward) => told(containers, container, Some(target), &forward, &refused),
            None => Error::invalid("no address"),
        })?;
        all.extend(bound.into_iter().filter_map(|Bound { host, socket }| Some((leads(host)?, socket))));
    }
    Ok(all)
}

/// Why a port cannot be had, in Docker's words: it makes a difference whether the other one is a container.
fn told(
    containers: &Containers,
    container: &Container,
    target: Option<&Target>,
    forward: &Forward,
    refused: &Refused,
) -> Error {
    let Forward { protocol, host, to, is_proxied: _ } = forward;
    let reason = match refused.errno {
        Errno::ADDRINUSE if is_ours(containers, &container.id, forward) => {
            format!("Bind for {host} failed: port is already allocated")
        }
        errno => {
            let reason = Error::from(errno).to_string().to_lowercase();
            let failed = format!("failed to bind host port for {host}:{to}/{protocol}: {reason}");
            if errno == Errno::ACCESS { format!("{}{failed}", privileged(host.port())) } else { failed }
        }
    };
    let (name, endpoint) = (&container.name, target.map_or("", |target| &target.endpoint));
    Error::conflict(format!(
        "driver failed programming external connectivity on endpoint {name} ({endpoint}): {reason}"
    ))
}

/// What of an ordinary user's port may be root's alone, as Docker tells it; what can be done about that.
fn privileged(port: u16) -> String {
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let first = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let Some(first) = first.filter(|first| port < *first) else { return String::new() };
    format!(
        "cannot expose privileged port {port}, you can add 'net.ipv4.ip_unprivileged_port_start={port}' to \
         /etc/sysctl.conf (currently {first}), or choose a larger port number (>= {first}): "
    )
}

/// Is it another container of ours that has the port, or this one already?
fn is_ours(containers: &Containers, own: &str, wanted: &Forward) -> bool {
    let others = containers.ids().unwrap_or_default();
    let mut records = others.iter().filter_map(|id| {
        let record = record::read(&containers.state_folder(id)).ok()??;
        (id.as_str() != own).then_some(record)
    });
    records.any(|record| {
        record.forwards.iter().any(|other| {
            let meet = other.host.ip() == wanted.host.ip()
                || other.host.ip().is_unspecified()
                || wanted.host.ip().is_unspecified();
            meet && (other.protocol, other.host.port()) == (wanted.protocol, wanted.host.port())
        })
    })
}

/// Has all of it take effect.
fn begin(containers: &Containers, id: &ContainerId, bound: Vec<Held>) -> Result<Vec<(Port, SocketAddr)>> {
    let forwards = start(containers, id, bound)?;
    rules::change(containers, id, &[], &forwards, || Ok(()))?;
    // Whoever went on sending while nothing was published is led by the new rules.
    forget_flows(containers, &forwards)?;
    let told = forwards.into_iter().map(|forward| {
        let port = Port { number: forward.to.port(), protocol: forward.protocol };
        (port, forward.host)
    });
    Ok(told.collect())
}

/// Starts a proxy that holds these ports, and records both.
fn start(containers: &Containers, id: &ContainerId, bound: Vec<Held>) -> Result<Vec<Forward>> {
    let words = || "start the proxy of published ports".to_owned();
    let ways: Vec<Way> = bound
        .iter()
        .map(|(forward, socket)| Way {
            descriptor: socket.as_raw_fd(),
            protocol: forward.protocol,
            to: forward.to,
        })
        .collect();
    let forwards: Vec<Forward> = bound.iter().map(|(forward, _)| *forward).collect();
    let folder = containers.state_folder(id);
    record::write(&folder, &Record { forwards: forwards.clone(), proxy: None })?;
    let mut child = spawn(containers, id, &ways).during(words)?;
    let begun = own_program::begin(&mut child, &ways, |proxy| {
        record::write(&folder, &Record { forwards: forwards.clone(), proxy: Some(proxy) })
    });
    begun.during(words).map(|_| forwards)
}

fn spawn(containers: &Containers, id: &ContainerId, ways: &[Way]) -> std::io::Result<Child> {
    let mut command = own_program::command();
    command.args(processes::words(containers)).arg(id.as_str());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    sys::spawn::inherit_only(&mut command, ways.iter().map(|way| way.descriptor).collect(), true);
    sys::spawn::lead_session(&mut command);
    command.spawn()
}
