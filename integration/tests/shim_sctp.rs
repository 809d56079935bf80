//! Published ports of SCTP, where the kernel has it (`make test-vm T=shim_sctp`): from another host, from the host itself,
//! by its loopback, from other containers; by one-to-one sockets (sctp(7)).
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{Host, Server, Shim, has_sctp, is_root, is_unreachable, is_unreachable_by_sctp, requires};

/// Addresses of the shim's host on the link to its neighbour, and the neighbour's.
const HOST: &str = "192.0.2.1";
const OUTSIDE: &str = "192.0.2.2";
const HOST6: &str = "2001:db8::1";
const OUTSIDE6: &str = "2001:db8::2";

/// A shim on a host with a neighbour.
fn neighbours() -> (Shim, Host) {
    let (shim, outside) = (Shim::networked(), Host::new());
    shim.host().sh(&format!(
        "ip link add wire type veth peer name wire netns {}
         ip address add {HOST}/24 dev wire
         ip address add {HOST6}/64 dev wire nodad
         ip link set wire up",
        outside.path()
    ));
    outside.sh(&format!(
        "ip address add {OUTSIDE}/24 dev wire
         ip address add {OUTSIDE6}/64 dev wire nodad
         ip link set wire up"
    ));
    (shim, outside)
}

/// A container that sleeps, with these flags; its id and its network namespace.
#[track_caller]
fn container(shim: &Shim, flags: &[&str]) -> (String, String) {
    let id = shim.detached(&[flags, &["busybox", "sleep", "1000"]].concat());
    let netns = shim.process(&id).path("ns/net").to_string_lossy().into_owned();
    (id, netns)
}

#[test]
fn a_published_port_of_sctp_is_reached_from_everywhere() {
    requires!(is_root(), "containers need root");
    requires!(has_sctp(), "this kernel has no SCTP");
    let (shim, outside) = neighbours();
    let published = ["-p", "5000:5000/sctp", "-p", "127.0.0.1:5001:5001/sctp", "-p", "5000:5000"];
    let (id, web) = container(&shim, &published);
    let (_, other) = container(&shim, &[]);
    let server = Server::sctp(&web, "0.0.0.0:5000");
    let (host, outside) = (shim.host().path(), outside.path());

    // From outside, with the client's own address; by IPv6 to a container that has none.
    let at_host = format!("{HOST}:5000");
    assert_eq!(server.is_reached(&outside, &at_host).ip().to_string(), OUTSIDE);
    server.is_reached(&outside, &format!("[{HOST6}]:5000"));
    // From the host and other containers, and from itself.
    for address in [&at_host, "127.0.0.1:5000", "[::1]:5000"] {
        server.is_reached(&host, address);
    }
    server.is_reached(&other, &at_host);
    server.is_reached(&web, &at_host);
    // What is the loopback's stays there.
    let local = Server::sctp(&web, "0.0.0.0:5001");
    local.is_reached(&host, "127.0.0.1:5001");
    assert!(is_unreachable_by_sctp(&outside, &format!("{HOST}:5001")));
    // The same port of another protocol leads where that was published.
    assert!(is_unreachable(&outside, &format!("{HOST}:5001")));
    Server::tcp(&web, "0.0.0.0:5000").is_reached(&outside, &at_host);
    assert_eq!(
        shim.stdout(&["port", &id]),
        "5000/sctp -> 0.0.0.0:5000\n5000/sctp -> [::]:5000\n5000/tcp -> 0.0.0.0:5000\n5000/tcp -> [::]:5000\n\
         5001/sctp -> 127.0.0.1:5001\n"
    );

    // Who has a port has it alone: a container, and a program of the host's.
    let words = ["run", "--rm", "-p", "5000:5000/sctp", "busybox", "true"];
    let refused = shim.cli(&words).expect_code(125);
    assert!(refused.stderr.contains("Bind for 0.0.0.0:5000 failed: port is already allocated"), "{refused}");
    drop(server);
    shim.stdout(&["rm", "-f", &id]);
    let taken = Server::sctp(&host, "0.0.0.0:5000");
    let refused = shim.cli(&words).expect_code(125);
    assert!(refused.stderr.contains("0.0.0.0:5000"), "{refused}");
    drop(taken);
    shim.cli(&words).expect_ok();
}

#[test]
fn a_container_that_has_ipv6_sees_clients_of_sctp_by_it() {
    requires!(is_root(), "containers need root");
    requires!(has_sctp(), "this kernel has no SCTP");
    let (shim, outside) = neighbours();
    shim.stdout(&["network", "create", "--ipv6", "six"]);
    let (_, web) = container(&shim, &["--network", "six", "-p", "5000:5000/sctp"]);
    let server = Server::sctp(&web, "[::]:5000");
    let seen = server.is_reached(&outside.path(), &format!("[{HOST6}]:5000"));
    assert_eq!(seen.ip().to_string(), OUTSIDE6);
    server.is_reached(&shim.host().path(), "[::1]:5000");
}
