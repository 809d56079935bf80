//! Devices that really move, between throw-away network namespaces.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use super::*;
use crate::kernel::throwaway::alone;

/// Another network namespace than that of the test.
struct Inside(OwnedFd);

impl Inside {
    fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            own_network().unwrap()
        });
        Self(made.join().unwrap())
    }

    fn ip(&self, words: &str) -> Value {
        std::thread::scope(|scope| {
            let run = || {
                enter(self.0.as_fd()).unwrap();
                ip(words)
            };
            scope.spawn(run).join().unwrap()
        })
    }

    fn take(&self, pairs: &[(&str, &str)]) -> Result<()> {
        let device = |(host, container): &(&str, &str)| NetDevice {
            host: (*host).to_owned(),
            container: (*container).to_owned(),
        };
        let devices: Vec<_> = pairs.iter().map(device).collect();
        move_devices(&devices, self.0.as_fd())
    }

    fn has(&self, name: &str) -> bool {
        names(&self.ip("link show")).iter().any(|known| known == name)
    }
}

fn ip(words: &str) -> Value {
    let output = Command::new("ip").arg("-j").args(words.split(' ')).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "ip {words}: {err}");
    if out.trim().is_empty() { Value::Null } else { serde_json::from_str(&out).unwrap() }
}

fn names(links: &Value) -> Vec<String> {
    links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
}

fn has(name: &str) -> bool {
    names(&ip("link show")).iter().any(|known| known == name)
}

fn pair(one: &str, other: &str) {
    ip(&format!("link add {one} type veth peer name {other}"));
}

/// Addresses of a device as `local/prefix scope label`.
fn shown(links: &Value) -> Vec<String> {
    let mut shown: Vec<_> = links[0]["addr_info"]
        .as_array()
        .unwrap()
        .iter()
        .map(|address| {
            let text = |key: &str| address[key].as_str().unwrap_or("-").to_owned();
            format!("{}/{} {} {}", text("local"), address["prefixlen"], text("scope"), text("label"))
        })
        .collect();
    shown.sort();
    shown
}

macro_rules! in_a_network_of_its_own {
    ($name:literal) => {
        if !alone(concat!("kernel::net_device::tests::", $name), &["--net"]) {
            return;
        }
    };
}

#[test]
fn a_device_moves_with_its_name_addresses_and_properties() {
    in_a_network_of_its_own!("a_device_moves_with_its_name_addresses_and_properties");
    let inside = Inside::new();
    let own = rustix::fs::fstat(own_network().unwrap()).unwrap().st_ino;
    pair("host0", "peer0");
    ip("link set host0 mtu 1400 address 02:00:00:00:00:42 up");
    ip("link set peer0 up");
    ip("addr add 192.0.2.1/24 brd 192.0.2.255 label host0:one dev host0");
    ip("addr add 192.0.2.2/24 dev host0 noprefixroute");
    ip("addr add 198.51.100.7/32 peer 198.51.100.8 dev host0");
    ip("addr add 2001:db8::1/64 dev host0 nodad");
    ip("addr add 169.254.7.7/16 scope link dev host0");
    ip("addr add 192.0.2.99/24 dev host0 valid_lft 1000 preferred_lft 1000");
    inside.take(&[("host0", "eth0")]).unwrap();
    assert!(!has("host0") && has("peer0"));
    assert_eq!(rustix::fs::fstat(own_network().unwrap()).unwrap().st_ino, own, "back in its own namespace");
    let link = inside.ip("addr show dev eth0");
    assert_eq!(
        (link[0]["mtu"].as_u64(), link[0]["address"].as_str()),
        (Some(1400), Some("02:00:00:00:00:42"))
    );
    let flags: Vec<_> = link[0]["flags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(flags.contains(&"UP"), "{flags:?}");
    // The address of link scope that is there is IPv6's, which the kernel made when the device went up.
    let addresses = shown(&link);
    let (own, given): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.starts_with("fe80:"));
    assert!(own.len() <= 1, "{own:?}");
    assert_eq!(
        given,
        [
            "192.0.2.1/24 global eth0:one",
            "192.0.2.2/24 global eth0",
            "198.51.100.7/32 global eth0",
            "2001:db8::1/64 global -"
        ]
    );
    let of = |local: &str| {
        let addresses = link[0]["addr_info"].as_array().unwrap().clone();
        addresses.into_iter().find(|address| address["local"] == local).unwrap()
    };
    assert_eq!(of("192.0.2.1")["broadcast"], "192.0.2.255");
    assert_eq!(of("192.0.2.2")["noprefixroute"], true);
    assert_eq!(of("198.51.100.7")["address"], "198.51.100.8");
    assert_eq!(of("2001:db8::1")["nodad"], true);
}

#[test]
fn a_pattern_is_counted_on_and_a_taken_number_replaced() {
    in_a_network_of_its_own!("a_pattern_is_counted_on_and_a_taken_number_replaced");
    let inside = Inside::new();
    for (host, peer) in [("host0", "peer0"), ("host1", "peer1")] {
        pair(host, peer);
    }
    // The same numbers, and one of the same names, are in use inside.
    for (one, other) in [("eth0", "eth1"), ("host0", "x"), ("gone", "y")] {
        inside.ip(&format!("link add {one} type veth peer name {other}"));
    }
    // Left to itself the kernel would count on from here, and not from the highest number in use.
    inside.ip("link del gone");
    let before = names(&inside.ip("link show"));
    inside.take(&[("host0", "eth%d"), ("host1", "host1")]).unwrap();
    assert!(!has("host0") && !has("host1"));
    let after = names(&inside.ip("link show"));
    assert!(before.iter().all(|name| after.contains(name)), "{after:?}");
    assert!(after.contains(&"host1".to_owned()), "{after:?}");
    let counted: Vec<_> =
        after.iter().filter(|name| name.starts_with("eth") && !before.contains(name)).collect();
    assert_eq!((counted.len(), after.len()), (1, before.len() + 2), "{after:?}");
}

#[test]
fn nothing_moves_when_a_name_is_taken_inside() {
    in_a_network_of_its_own!("nothing_moves_when_a_name_is_taken_inside");
    let inside = Inside::new();
    pair("host0", "host1");
    inside.ip("link add eth1 type veth peer name x");
    assert_eq!(
        inside.take(&[("host0", "eth0"), ("host1", "eth1")]).unwrap_err().to_string(),
        "linux.netDevices[\"host1\"]: the name \"eth1\" is taken in the container's network namespace"
    );
    assert!(has("host0") && has("host1") && !inside.has("eth0"));
}

#[test]
fn nothing_moves_when_a_device_is_missing() {
    in_a_network_of_its_own!("nothing_moves_when_a_device_is_missing");
    let inside = Inside::new();
    pair("host0", "peer0");
    assert_eq!(
        inside.take(&[("host0", "eth0"), ("host9", "eth9")]).unwrap_err().to_string(),
        "linux.netDevices[\"host9\"]: the host has no network device \"host9\""
    );
    assert!(has("host0") && !inside.has("eth0"));
}

#[test]
fn a_device_that_stays_is_an_error_with_the_kernel_s_words() {
    in_a_network_of_its_own!("a_device_that_stays_is_an_error_with_the_kernel_s_words");
    let error = Inside::new().take(&[("lo", "lo0")]).unwrap_err();
    assert_eq!(error.errno(), libc::EINVAL);
    let text = error.to_string();
    assert!(text.starts_with("linux.netDevices[\"lo\"]: "), "{text}");
    assert!(text.ends_with("netlink(RTM_NEWLINK, move): invalid argument (EINVAL)"), "{text}");
    assert!(has("lo"));
}

#[test]
fn without_the_right_nothing_is_entered() {
    in_a_network_of_its_own!("without_the_right_nothing_is_entered");
    let inside = Inside::new();
    let user = rustix::fs::Uid::from_raw(65534);
    rustix::thread::set_thread_res_uid(user, user, user).unwrap();
    assert_eq!(
        inside.take(&[("lo", "lo")]).unwrap_err().to_string(),
        "enter the container's network namespace: setns(CLONE_NEWNET): operation not permitted (EPERM)"
    );
}

#[test]
fn messages_of_wrong_length_are_no_address() {
    let message = |scope: u8, index: i32, flags: u8| {
        let mut bytes = vec![2, 24, flags, scope];
        bytes.extend(index.to_ne_bytes());
        bytes.extend([8, 0, 2, 0, 192, 0, 2, 1]);
        bytes
    };
    let whole = message(0, 5, 0x80);
    let address = Address::parse(&whole, 5).unwrap();
    assert_eq!((address.describe().as_str(), address.flags), ("192.0.2.1/24", 0x80));
    assert_eq!(Address::parse(&whole, 6), None, "another device's");
    assert_eq!(Address::parse(&message(0, 5, 0), 5), None, "not permanent");
    assert_eq!(Address::parse(&message(253, 5, 0x80), 5), None, "not global");
    for cut in 0..8 {
        assert_eq!(Address::parse(&whole[..cut], 5), None, "{cut}");
    }
    let mut short_flags = whole;
    short_flags.extend([6, 0, 8, 0, 0x80, 0, 0, 0]);
    assert_eq!(Address::parse(&short_flags, 5), None, "flags of two bytes");
}
