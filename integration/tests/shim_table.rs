//! The table of the packet filter, which the shim gives the kernel without nft(8): what nft says of it, and that it works where
//! there is no nft.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::engine::World;
use integration::{Host, ImageMaker, Server, Shim, is_root, requires, shim_under_test, skip};

const ROOT: &str = "containers need root";

/// What the kernel is to have, in nft's language: with a bridge, and each kind of published port.
const TABLE: &str = r#"
table inet caisson {
  set bridges { type ifname; elements = { "caisson0" } }
  set internal { type ifname; }
  set same { type ifname . ifname; elements = { "caisson0" . "caisson0" } }
  set subnets4 { type ifname . ipv4_addr; flags interval; elements = { "caisson0" . 172.30.0.0/16 } }
  set subnets6 { type ifname . ipv6_addr; flags interval; }
  set masquerade4 { type ipv4_addr; flags interval; elements = { 172.30.0.0/16 } }
  set masquerade6 { type ipv6_addr; flags interval; }
  set loopback4 { type ipv4_addr . inet_proto . inet_service; elements = { 127.0.0.1 . tcp . 8082 } }
  set published4 { type ipv4_addr . inet_proto . inet_service; elements = { 172.30.0.2 . udp . 53 } }
  set published6 { type ipv6_addr . inet_proto . inet_service; }
  map at4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map at6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
  map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; elements = { udp . 8053 : 172.30.0.2 . 53 } }
  map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  chain guard {
    type filter hook prerouting priority -300; policy accept;
    iifname != "lo" ip daddr . meta l4proto . th dport @loopback4 drop
  }
  chain publish {
    ip daddr != 127.0.0.0/8 dnat ip to ip daddr . meta l4proto . th dport map @at4
    ip daddr != 127.0.0.0/8 dnat ip to meta l4proto . th dport map @any4
    ip6 daddr != ::1 dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6
    ip6 daddr != ::1 dnat ip6 to meta l4proto . th dport map @any6
  }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname . oifname @same accept
    iifname @internal drop
    oifname @internal drop
    oifname @bridges jump arrive
  }
  chain arrive {
    ct state related accept
    ct direction original ct status & dnat == dnat ip daddr . meta l4proto . th dport @published4 accept
    ct direction original ct status & dnat == dnat ip6 daddr . meta l4proto . th dport @published6 accept
    ct direction original ct status & dnat == dnat drop
    ct state established accept
    drop
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ct status & dnat == dnat oifname . ip saddr @subnets4 masquerade
    ct status & dnat == dnat oifname . ip6 saddr @subnets6 masquerade
    ip saddr @masquerade4 oifname . ip saddr != @subnets4 masquerade
    ip6 saddr @masquerade6 oifname . ip6 saddr != @subnets6 masquerade
  }
}"#;
/// In a container's own network namespace.
const NAMES: &str = "
table ip caisson {
  chain names {
    type nat hook output priority -100; policy accept;
    ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:1
    ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:2
  }
}";

/// What nft lists of all tables in a network namespace, as it lists what it has loaded itself; names of tables and ports
/// that are anybody's choice are left out.
fn listed(host: &Host) -> String {
    let text = host.sh("nft -s list ruleset");
    let plain = |line: &str| match line.split_once("dnat to 127.0.0.11:") {
        Some((rule, _)) => format!("{rule}dnat to 127.0.0.11:PORT"),
        None if line.starts_with("table ") => {
            line.split('-').next().unwrap().trim_end_matches([' ', '{']).to_owned()
        }
        None => line.to_owned(),
    };
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

fn loaded_by_nft(script: &str) -> String {
    let host = Host::new();
    host.sh(&format!("nft -f - <<'END'\n{script}\nEND"));
    listed(&host)
}

#[test]
fn nft_tells_the_table_as_if_it_had_loaded_it() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::networked();
    shim.detached(&["-p", "8053:53/udp", "-p", "127.0.0.1:8082:82", "busybox", "sleep", "1000"]);
    assert_eq!(listed(shim.host()), loaded_by_nft(TABLE));
}

#[test]
fn nft_tells_where_questions_for_names_are_led() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::networked();
    shim.stdout(&["network", "create", "own"]);
    let id = shim.detached(&["--network", "own", "busybox", "sleep", "1000"]);
    let netns = shim.process(&id).path("ns/net");
    let inside = || shim.host().sh(&format!("nsenter --net={} nft -s list ruleset", netns.display()));
    let told: Vec<_> = inside().lines().map(|line| line.trim().to_owned()).collect();
    let expected = loaded_by_nft(NAMES);
    for line in expected.lines().map(|line| line.trim().trim_end_matches("PORT")) {
        assert!(told.iter().any(|told| told.starts_with(line)), "{line:?} in {told:#?}");
    }
    assert_eq!(told.len(), expected.lines().count());
}

/// More than goes into one message, and more than a socket holds unsent.
#[test]
fn thousands_of_ports_are_published_at_once_and_taken_back() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::networked();
    let id = shim.detached(&["-p", "20000-23999:20000-23999", "busybox", "sleep", "1000"]);
    let told = shim.host().sh("nft list ruleset");
    // A port of the host's, and that of the container: in a map, and in a set.
    assert_eq!(told.matches("tcp . 2").count(), 8000);
    let netns = shim.process(&id).path("ns/net").to_string_lossy().into_owned();
    Server::tcp(&netns, "0.0.0.0:23999").is_reached(&shim.host().path(), "127.0.0.1:23999");
    shim.stdout(&["rm", "-f", &id]);
    let left = shim.host().sh("nft list ruleset");
    assert!(!left.contains("23999"), "{left}");
}

/// A host that has iptables-nft, and no nft.
#[test]
fn ports_are_published_where_there_is_no_nft() {
    if let Some(obstacle) = World::obstacle(&["iptables-nft", "nft"]) {
        skip!("{obstacle}");
    }
    let world = World::new();
    let archive = ImageMaker::busybox().named("box").docker_archive(&world.folder().join("image"));
    let name = archive.file_name().unwrap().to_string_lossy().into_owned();
    world
        .sh("mount --bind /dev/null \"$(readlink -f /usr/sbin/nft)\"
             ! nft --version 2>/dev/null
             iptables-nft -A FORWARD -p tcp --dport 9 -j DROP
             ip netns add outside
             ip link add wire type veth peer name wire netns outside
             ip address add 192.0.2.1/24 dev wire; ip link set wire up
             ip -n outside address add 192.0.2.2/24 dev wire; ip -n outside link set wire up")
        .output()
        .expect_ok();
    let shim = |words: &str| {
        let own = shim_under_test().display();
        world.sh(&format!("{own} --root /run/shim --state /run/shim-state {words}")).output()
    };
    shim(&format!("load -i /run/world/{name}")).expect_ok();
    shim("network create own").expect_ok();
    let run = "run -d --name web --network own -p 8080:80 box sh -c 'echo hello >/index; httpd -f -h /'";
    shim(run).expect_ok();
    let fetch = r#"ip netns exec outside timeout 20 bash -c 'until exec 3<>/dev/tcp/192.0.2.1/8080; do sleep 0.1; done
        printf "GET /index HTTP/1.0\r\n\r\n" >&3; cat <&3' 2>/dev/null"#;
    let fetched = world.sh(fetch).output().expect_ok().stdout;
    assert!(fetched.ends_with("hello\n"), "{fetched}");
    let found = shim("run --rm --network own box wget -q -O - http://web/index");
    assert_eq!(found.expect_ok().stdout, "hello\n");
    shim("rm -f web").expect_ok();
    shim("network rm own").expect_ok();
}

/// Subnets that meet, as those of docker's pools do: the whole table is made of all of them at once.
#[test]
fn a_table_that_is_gone_is_made_anew_where_subnets_meet() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::networked();
    for (name, subnet, six) in [
        ("one", "172.18.0.0/16", "fd01:1::/64"),
        ("two", "172.19.0.0/16", "fd01:1:0:1::/64"),
        ("three", "172.20.0.0/16", "fd01:2::/64"),
    ] {
        shim.stdout(&["network", "create", "--ipv6", "--subnet", subnet, "--subnet", six, name]);
        shim.stdout(&["run", "--rm", "--network", name, "busybox", "true"]);
    }
    // The kernel lists elements in any order.
    let words = || {
        let mut words: Vec<_> = listed(shim.host())
            .split([' ', ',', '\n', '\t'])
            .map(str::to_owned)
            .filter(|word| !word.is_empty())
            .collect();
        words.sort();
        words
    };
    let before = words();
    shim.host().sh("nft flush ruleset");
    let id = shim.detached(&["--network", "two", "-p", "8080:80", "busybox", "sleep", "1000"]);
    let netns = shim.process(&id).path("ns/net").to_string_lossy().into_owned();
    Server::tcp(&netns, "0.0.0.0:80").is_reached(&shim.host().path(), "127.0.0.1:8080");
    shim.stdout(&["rm", "-f", &id]);
    assert_eq!(words(), before);
    shim.stdout(&["system", "check"]);
    for name in ["two", "one", "three"] {
        shim.stdout(&["network", "rm", name]);
    }
    let left = shim.host().sh("nft list ruleset");
    assert!(!left.contains("elements"), "{left}");
}
