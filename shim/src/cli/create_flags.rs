//! The flags of `create` and `run` beside those that shape the document (`spec_flags`), with Docker's names, in their
//! order.

use crate::cli::flags::{Flag, list, switch, value};
use crate::cli::spec_flags::integer;
use crate::time;

/// Of both.
pub const CREATE_FLAGS: [Flag; 42] = [
    list("add-host", "list", "Add a custom host-to-IP mapping (host:ip)"),
    list("attach", "list", "Attach to STDIN, STDOUT or STDERR").short('a').checked(stream),
    value("cidfile", "string", "Write the container ID to the file"),
    switch("disable-content-trust", "Skip image verification: signatures are never looked at"),
    list("dns", "list", "Set custom DNS servers").checked(address),
    list("dns-opt", "list", "Set DNS options").hidden(),
    list("dns-option", "list", "Set DNS options"),
    list("dns-search", "list", "Set custom DNS search domains"),
    list("expose", "list", "Expose a port or a range of ports"),
    list("gpus", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)"),
    switch(
        "hardened",
        "Least rights: read-only root with tmpfs on /tmp and /run, no capabilities, no-new-privileges, no root, limits of \
         memory and pids (each is loosened by its own flag)",
    ),
    value("health-cmd", "string", "Command to run to check health"),
    value("health-interval", "duration", "Time between running the check (ms|s|m|h) (default 0s)")
        .checked(duration),
    value("health-retries", "int", "Consecutive failures needed to report unhealthy").checked(integer),
    value(
        "health-start-interval",
        "duration",
        "Time between running the check during the start period (ms|s|m|h) (default 0s)",
    )
    .checked(duration),
    value(
        "health-start-period",
        "duration",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)",
    )
    .checked(duration),
    value("health-timeout", "duration", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)")
        .checked(duration),
    switch("init", "Run an init inside the container that forwards signals and reaps processes"),
    switch("interactive", "Keep STDIN open even if not attached").short('i'),
    value("ip", "string", "IPv4 address (e.g., 172.30.100.104)").checked(ipv4),
    value("ip6", "string", "IPv6 address (e.g., 2001:db8::33)").checked(ipv6),
    value("kernel-memory", "bytes", "Kernel memory limit: of cgroup v1 alone").hidden(),
    list("link", "list", "Add link to another container").checked(link),
    value("log-driver", "string", "Logging driver for the container"),
    list("log-opt", "list", "Log driver options"),
    value("mac-address", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)").checked(mac),
    value("memory-swappiness", "int", "Tune container memory swappiness: of cgroup v1 alone")
        .hidden()
        .checked(integer),
    value("name", "string", "Assign a name to the container"),
    list("network-alias", "list", "Add network-scoped alias for the container"),
    switch("no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    switch("oom-kill-disable", "Disable OOM Killer: of cgroup v1 alone").hidden(),
    list("publish", "list", "Publish a container's port(s) to the host").short('p'),
    switch("publish-all", "Publish all exposed ports to random ports").short('P'),
    value("pull", "string", "Pull image before running (\"always\", \"missing\", \"never\") (default \"missing\")"),
    switch("quiet", "Suppress the pull output").short('q'),
    value("restart", "string", "Restart policy to apply when a container exits (default \"no\")"),
    switch("rm", "Automatically remove the container when it exits"),
    value("runtime", "string", "OCI runtime to use for this container: a name or an absolute path"),
    value("stop-timeout", "int", "Timeout (in seconds) to stop a container").checked(integer),
    // Docker for Windows has these; this is what Linux has.
    value("isolation", "string", "Container isolation technology").hidden().checked(isolation),
    value("volume-driver", "string", "Optional volume driver for the container").checked(driver),
    list("volumes-from", "list", "Mount volumes from the specified container(s)"),
];

/// `--detach` of `run`; what else it has alone, it shares with `attach`.
pub const DETACH: Flag = switch("detach", "Run container in background and print container ID").short('d');

/// What is refused by name, and why.
pub const CREATE_REFUSED: [Flag; 9] = [
    value("cpu-count", "int", WINDOWS).hidden(),
    value("cpu-percent", "int", WINDOWS).hidden(),
    value("cpu-rt-period", "int", REALTIME).hidden(),
    value("cpu-rt-runtime", "int", REALTIME).hidden(),
    value("io-maxbandwidth", "bytes", WINDOWS).hidden(),
    value("io-maxiops", "uint", WINDOWS).hidden(),
    list("link-local-ip", "list", "is not supported: addresses are of the network's subnets (--ip, --ip6)")
        .hidden(),
    list("storage-opt", "list", "is not supported: overlays have no options").hidden(),
    switch("use-api-socket", "is not supported: there is no daemon").hidden(),
];

const WINDOWS: &str = "is of Windows alone";
const REALTIME: &str = "is of cgroup v1 alone, which is not supported";

fn stream(text: &str) -> Result<(), String> {
    match text.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

fn address(text: &str) -> Result<(), String> {
    match text.trim().parse::<std::net::IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{text} is not an ip address")),
    }
}

fn ipv4(text: &str) -> Result<(), String> {
    text.parse::<std::net::Ipv4Addr>().map(drop).map_err(|_| format!("invalid IPv4 address: {text}"))
}

fn ipv6(text: &str) -> Result<(), String> {
    text.parse::<std::net::Ipv6Addr>().map(drop).map_err(|_| format!("invalid IPv6 address: {text}"))
}

fn mac(text: &str) -> Result<(), String> {
    crate::network::netlink::mac(text).map(drop).map_err(|error| error.to_string())
}

/// `CONTAINER[:ALIAS]`.
pub fn link(text: &str) -> Result<(), String> {
    crate::network::link::parse(text).map(drop).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<(), String> {
    // Go takes a zero without a unit.
    match text {
        "0" => Ok(()),
        text if time::duration(text).is_some() => Ok(()),
        text => Err(format!("time: invalid duration {text:?}")),
    }
}

fn isolation(text: &str) -> Result<(), String> {
    if matches!(text, "" | "default") { Ok(()) } else { Err("only default is there".to_owned()) }
}

fn driver(text: &str) -> Result<(), String> {
    if matches!(text, "" | "local") { Ok(()) } else { Err("only local is there".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::spec_flags::{SPEC_FLAGS, refusal};
    use std::collections::BTreeSet;

    #[test]
    fn every_flag_stands_once() {
        let tables = [&SPEC_FLAGS[..], &CREATE_FLAGS, &[DETACH], &CREATE_REFUSED];
        let all: Vec<&Flag> = tables.into_iter().flatten().collect();
        let names: BTreeSet<&str> = all.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), all.len());
        let shorts: Vec<char> = all.iter().filter_map(|flag| flag.short).collect();
        assert_eq!(shorts.iter().collect::<BTreeSet<_>>().len(), shorts.len());
        assert_eq!(refusal(&CREATE_REFUSED, "isolation"), None);
        assert!(CREATE_REFUSED.iter().all(|flag| flag.hidden));
    }

    #[test]
    fn values_are_checked_as_dockers_are() {
        assert!(stream("STDIN").is_ok() && stream("x").is_err());
        assert!(address("127.0.0.53").is_ok() && address("::1").is_ok() && address("host").is_err());
        assert!(duration("1m30s").is_ok() && duration("0").is_ok() && duration("5").is_err());
    }
}
