//! Published ports beside the rules of others, in tables that are made as theirs are: nothing of theirs is opened, nothing
//! but what was asked for is, and what they let pass works.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{Host, Server, Shim, is_root, is_unreachable, requires};

const ROOT: &str = "containers need root";
const HOST: &str = "192.0.2.1";
const OUTSIDE: &str = "192.0.2.2";

/// What Docker leaves of iptables' table, when it was the one to switch forwarding on.
const DOCKER: &str = "
    table ip filter {
        chain DOCKER-USER { return; }
        chain DOCKER { }
        chain FORWARD {
            type filter hook forward priority 0; policy drop;
            jump DOCKER-USER
            oifname docker0 ct state related,established accept
            oifname docker0 jump DOCKER
            iifname docker0 oifname != docker0 accept
        }
    }";
/// ufw with its defaults: nothing comes in or passes through that nobody has allowed.
const UFW: &str = "
    table ip filter {
        chain ufw-user-input { }
        chain INPUT {
            type filter hook input priority 0; policy drop;
            iifname lo accept
            ct state related,established accept
            jump ufw-user-input
        }
        chain FORWARD {
            type filter hook forward priority 0; policy drop;
            ct state related,established accept
        }
    }";
/// firewalld's chains with a zone that allows ssh.
const FIREWALLD: &str = "
    table inet firewalld {
        chain filter_INPUT {
            type filter hook input priority 10; policy accept;
            ct state established,related accept
            ct status dnat accept
            iifname lo accept
            tcp dport 22 accept
            reject with icmpx admin-prohibited
        }
        chain filter_FORWARD {
            type filter hook forward priority 10; policy accept;
            ct state established,related accept
            ct status dnat accept
            iifname lo accept
            reject with icmpx admin-prohibited
        }
    }";

/// A shim beside these rules, and a neighbour who routes to the containers' network by its host.
fn beside(rules: &str) -> (Shim, Host) {
    let (shim, outside) = (Shim::networked(), Host::new());
    shim.host().sh(&format!(
        "ip link add wire type veth peer name wire netns {}
         ip address add {HOST}/24 dev wire
         ip link set wire up
         echo '{rules}' | nft -f -",
        outside.path()
    ));
    outside.sh(&format!(
        "ip address add {OUTSIDE}/24 dev wire
         ip link set wire up
         ip route add 172.16.0.0/12 via {HOST}"
    ));
    (shim, outside)
}

/// A container that sleeps, with these flags: its network namespace, and its address.
#[track_caller]
fn container(shim: &Shim, flags: &[&str]) -> (String, String) {
    let id = shim.detached(&[flags, &["busybox", "sleep", "1000"]].concat());
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = shim.stdout(&["inspect", "-f", address, &id]).trim_end().to_owned();
    (shim.process(&id).path("ns/net").to_string_lossy().into_owned(), address)
}

#[test]
fn where_what_passes_through_is_dropped_published_ports_are_reached_by_the_proxy() {
    requires!(is_root(), "{ROOT}");
    let (shim, outside) = beside(DOCKER);
    let rules = |shim: &Shim| shim.host().sh("nft list table ip filter");
    let before = rules(&shim);
    let (web, own) = container(&shim, &["-p", "8080:80", "-p", "8053:53/udp", "-p", "127.0.0.1:8081:81"]);
    let (other, _) = container(&shim, &[]);
    let (host, outside) = (shim.host().path(), outside.path());
    let tcp = Server::tcp(&web, "0.0.0.0:80");
    for server in [(&tcp, 8080), (&Server::udp(&web, "0.0.0.0:53"), 8053)] {
        for from in [&outside, &host, &other, &web] {
            server.0.is_reached(from, &format!("{HOST}:{}", server.1));
        }
    }
    let _hidden = Server::tcp(&web, "0.0.0.0:81");
    for closed in [format!("{HOST}:8081"), format!("{own}:80"), format!("{own}:81")] {
        assert!(is_unreachable(&outside, &closed), "{closed}");
    }
    assert_eq!(rules(&shim), before, "nobody else's rules are touched");
    // What is said about a container's way out: it is let through where Docker leaves room for that.
    let far = Server::tcp(&outside, &format!("{OUTSIDE}:9000"));
    assert!(is_unreachable(&web, &format!("{OUTSIDE}:9000")));
    shim.host().sh("nft insert rule ip filter DOCKER-USER iifname caisson0 accept
         nft insert rule ip filter DOCKER-USER oifname caisson0 accept");
    assert_eq!(far.is_reached(&web, &format!("{OUTSIDE}:9000")).ip().to_string(), HOST);
    for closed in [format!("{HOST}:8081"), format!("{own}:80"), format!("{own}:81")] {
        assert!(is_unreachable(&outside, &closed), "{closed}");
    }
}

#[test]
fn with_ufw_a_published_port_is_open_to_whom_it_is_allowed() {
    requires!(is_root(), "{ROOT}");
    let (shim, outside) = beside(UFW);
    let (web, own) = container(&shim, &["-p", "8080:80"]);
    let server = Server::tcp(&web, "0.0.0.0:80");
    let (host, outside) = (shim.host().path(), outside.path());
    server.is_reached(&host, "127.0.0.1:8080");
    assert!(is_unreachable(&outside, &format!("{HOST}:8080")));
    // `ufw allow 8080/tcp`
    shim.host().sh("nft add rule ip filter ufw-user-input tcp dport 8080 accept");
    server.is_reached(&outside, &format!("{HOST}:8080"));
    assert!(is_unreachable(&outside, &format!("{own}:80")));
}

#[test]
fn with_firewalld_what_is_published_is_open_and_nothing_else() {
    requires!(is_root(), "{ROOT}");
    let (shim, outside) = beside(FIREWALLD);
    let (web, own) = container(&shim, &["-p", "8080:80", "-p", "127.0.0.1:8081:81"]);
    let (server, hidden) = (Server::tcp(&web, "0.0.0.0:80"), Server::tcp(&web, "0.0.0.0:81"));
    let (host, outside) = (shim.host().path(), outside.path());
    let _of_host = Server::tcp(&host, "0.0.0.0:9090");
    assert_eq!(server.is_reached(&outside, &format!("{HOST}:8080")).ip().to_string(), OUTSIDE);
    hidden.is_reached(&host, "127.0.0.1:8081");
    for closed in [format!("{HOST}:8081"), format!("{HOST}:9090"), format!("{own}:80"), format!("{own}:81")] {
        assert!(is_unreachable(&outside, &closed), "{closed}");
    }
}
