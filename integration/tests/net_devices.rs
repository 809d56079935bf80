//! `linux.netDevices`: devices of the host become the container's. Each test runs the runtime in a network
//! namespace of its own, which is the host for it. (runtime-spec config-linux.md "Network Devices".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{Bundle, Call, Container, Output, is_root, json, known_gap, requires, runtime_under_test};

/// `run` in a throwaway network namespace, after `setup` and before `look`, two shell scripts. The exit status
/// is the runtime's.
fn run_in(container: &Container, setup: &str, look: &str) -> Output {
    let script = format!("set -e; {setup}; set +e; \"$@\"; code=$?; {look}; exit $code");
    let call = Call::of("unshare").args(["--net", "sh", "-c", &script, "sh"]).args([runtime_under_test()]);
    let call = call.args(["--root".as_ref(), container.state_root().as_os_str()]);
    let call = call.args(["run", "--bundle"]).args([container.bundle().path()]);
    call.args([container.id()]).output()
}

const PAIR: &str = "ip link add v0 type veth peer name v1";
/// The devices of the namespace but lo.
const NAMES: &str = "echo host $(ls /proc/sys/net/ipv4/conf | grep -vE '^(all|default|lo)$')";
const INSIDE: &str = "echo inside $(ls /sys/class/net | grep -vx lo)";

#[test]
fn a_device_is_moved_under_its_name() {
    requires!(is_root(), "making network devices needs root");
    known_gap!(Runc, Crun, "these versions do not know the field");
    let bundle = Bundle::new().set("/linux/netDevices", json!({"v0": {}})).sh(INSIDE);
    // With the container's namespace the kernel removes what is in it, and the other ends, in its own time.
    let look = format!("{NAMES} | grep -o 'v0'; true");
    let output = run_in(&bundle.container(), PAIR, &look);
    output.expect_ok().expect_no_stderr().expect_stdout("inside v0\n");
}

#[test]
fn the_hosts_other_devices_stay() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let bundle = Bundle::new().set("/linux/netDevices", json!({"v0": {}}));
    let bundle = bundle.sh("ip link show v0 | grep -c 'v0@if'");
    let setup = format!("{PAIR}; ip link add w0 type veth peer name w1");
    let output = run_in(&bundle.container(), &setup, &format!("{NAMES} | sed 's/ v1 / /'"));
    output.expect_ok().expect_stdout("1\nhost w0 w1\n");
}

#[test]
fn a_device_is_renamed_on_the_way() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let bundle = Bundle::new().set("/linux/netDevices", json!({"v0": {"name": "eth0"}})).sh(INSIDE);
    run_in(&bundle.container(), PAIR, "true").expect_ok().expect_stdout("inside eth0\n");
}

#[test]
fn two_devices_may_exchange_their_names() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let devices = json!({"v0": {"name": "w0"}, "w0": {"name": "v0"}});
    let script = "cat /sys/class/net/v0/mtu /sys/class/net/w0/mtu";
    let setup =
        format!("{PAIR} mtu 1400; ip link set v0 mtu 1400; ip link add w0 mtu 1300 type veth peer name w1");
    let container = Bundle::new().set("/linux/netDevices", devices).sh(script).container();
    run_in(&container, &setup, "true").expect_ok().expect_stdout("1300\n1400\n");
}

#[test]
fn what_the_device_was_given_stays_and_it_is_up() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let setup = format!(
        "{PAIR}; ip link set v0 address 02:00:00:00:00:07 mtu 1400; ip addr add 10.9.8.7/24 brd + dev v0; \
         ip addr add 10.9.8.8/32 dev v0; ip -6 addr add fd00::7/64 dev v0 nodad"
    );
    let script = "cd /sys/class/net/eth0; cat address mtu flags; \
                  ip addr show eth0 | grep -oE 'inet6? [^ ]* ' | grep -v fe80";
    let bundle = Bundle::new().set("/linux/netDevices", json!({"v0": {"name": "eth0"}})).sh(script);
    let output = run_in(&bundle.container(), &setup, "true").expect_ok();
    let lines: Vec<&str> = output.stdout.lines().map(str::trim).collect();
    assert_eq!(lines[..2], ["02:00:00:00:00:07", "1400"]);
    let flags = u32::from_str_radix(lines[2].trim_start_matches("0x"), 16).unwrap();
    assert_eq!(flags & 1, 1, "IFF_UP is missing: {}", lines[2]);
    assert_eq!(lines[3..], ["inet 10.9.8.7/24", "inet 10.9.8.8/32", "inet6 fd00::7/64"]);
}

#[test]
fn packets_pass() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let setup = format!(
        "{PAIR}; ip addr add 10.9.8.7/24 dev v0; ip addr add 10.9.8.1/24 dev v1; ip link set v1 up; ip link set lo up"
    );
    let bundle = Bundle::new().set("/linux/netDevices", json!({"v0": {"name": "eth0"}}));
    let bundle = bundle.capabilities(&["CAP_NET_RAW"]).sh("ping -c 1 -W 20 10.9.8.1 | grep -c 'bytes from'");
    run_in(&bundle.container(), &setup, "true").expect_ok().expect_stdout("1\n");
}

#[test]
fn a_container_in_a_user_namespace_gets_its_devices() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let bundle = Bundle::new().user_namespace(100_000, 65_536);
    let bundle = bundle.set("/linux/netDevices", json!({"v0": {"name": "eth0"}})).sh(INSIDE);
    run_in(&bundle.container(), PAIR, "true").expect_ok().expect_stdout("inside eth0\n");
}

#[test]
fn a_joined_namespace_gets_the_devices_too() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let holder = Bundle::new().sleeping().container();
    holder.create().expect_ok();
    let network = holder.init().path("ns/net");
    let bundle = Bundle::new().set("/linux/netDevices", json!({"v0": {"name": "eth7"}}));
    let bundle = bundle.join_namespace("network", network.to_str().unwrap()).sh(INSIDE);
    run_in(&bundle.container(), PAIR, NAMES).expect_ok().expect_stdout("inside eth7\nhost v1\n");
}

/// `run` fails with the words, and the host still has both ends of the pair.
fn refused(bundle: Bundle, words: &[&str]) {
    let container = bundle.sh("echo ran").container();
    let output = run_in(&container, PAIR, NAMES).expect_code(1).expect_stdout("host v0 v1\n");
    for words in words {
        assert!(output.stderr.contains(words), "{words}: {output}");
    }
    container.state_output().expect_code(1);
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_nothing_is_moved() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let devices = json!({"v0": {"name": "eth0"}, "zz0": {}});
    refused(
        Bundle::new().set("/linux/netDevices", devices),
        &["linux.netDevices[\"zz0\"]", "no network device"],
    );
}

#[test]
fn a_name_that_is_taken_inside_is_an_error() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let bundle = Bundle::new().set("/linux/netDevices", json!({"v0": {"name": "lo"}}));
    refused(bundle, &["linux.netDevices[\"v0\"]", "lo"]);
    let bundle = Bundle::new().set("/linux/netDevices", json!({"v0": {"name": "x"}, "v1": {"name": "x"}}));
    refused(bundle, &["linux.netDevices"]);
}

#[test]
fn names_no_device_can_have_are_refused() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    for name in ["a/b", "sixteen-letters-", "a b", "..", "a:b"] {
        let bundle = Bundle::new().set("/linux/netDevices/v0", json!({"name": name}));
        refused(bundle, &["linux.netDevices[\"v0\"]"]);
    }
}

#[test]
fn a_container_without_a_network_namespace_of_its_own_gets_none() {
    known_gap!(Runc, Crun, "these versions do not know the field");
    let devices = json!({"v0": {"name": "eth0"}});
    let bundle = Bundle::new().set("/linux/netDevices", devices.clone()).remove_namespace("network");
    refused(bundle, &["linux.netDevices", "network namespace"]);
    let bundle = Bundle::new().set("/linux/netDevices", devices);
    refused(bundle.join_namespace("network", "/proc/self/ns/net"), &["linux.netDevices"]);
}

#[test]
fn the_loopback_device_is_up_in_every_new_namespace() {
    let output =
        Bundle::new().sh("cat /sys/class/net/lo/flags; ip addr show lo | grep -c 'inet 127.0.0.1/8'").run();
    output.expect_ok().expect_stdout("0x9\n1\n");
}
