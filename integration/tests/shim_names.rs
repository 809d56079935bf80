//! Names of containers in networks: who finds whom, and who else is asked.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::UdpSocket;

use integration::{Output, Process, Shim, inside_network, requires, wait_for};

const NFT: &str = "networks need root and nftables (scripts/install-deps test)";

fn are_possible() -> bool {
    integration::is_root() && std::path::Path::new("/usr/sbin/nft").exists()
}

fn asleep(shim: &Shim, name: &str, words: &[&str]) -> String {
    shim.detached(&[&["--name", name], words, &["busybox", "sleep", "600"]].concat())
}

fn address(shim: &Shim, name: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    shim.stdout(&["inspect", "--format", &format, name]).trim_end().to_owned()
}

/// What a container's resolver says of a name.
fn asked(shim: &Shim, from: &str, name: &str) -> Output {
    shim.cli(&["exec", from, "nslookup", name])
}

/// The addresses that a container finds for a name, IPv4's.
fn found(shim: &Shim, from: &str, name: &str) -> Vec<String> {
    let told = asked(shim, from, name).stdout;
    let (_, answers) = told.split_once("\n\n").unwrap_or_default();
    let mut found: Vec<String> = answers
        .lines()
        .filter_map(|line| line.strip_prefix("Address: ").filter(|address| address.contains('.')))
        .map(str::to_owned)
        .collect();
    found.sort();
    found
}

#[test]
fn containers_of_a_network_find_one_another_also_with_a_new_address() {
    requires!(are_possible(), "{NFT}");
    let shim = Shim::networked();
    shim.cli(&["network", "create", "mine"]).expect_ok();
    shim.cli(&["network", "create", "other"]).expect_ok();
    let web = asleep(&shim, "web", &["--network", "mine", "--network-alias", "www", "--hostname", "host1"]);
    asleep(&shim, "box", &["--network", "mine"]);
    asleep(&shim, "far", &["--network", "other", "--network-alias", "www"]);
    let first = address(&shim, "web", "mine");
    for name in ["web", "WEB", "www", &web[..12], "host1", "web.mine", "web."] {
        assert_eq!(found(&shim, "box", name), [first.as_str()], "{name}");
    }
    shim.cli(&["exec", "box", "ping", "-c", "1", "-W", "2", "web"]).expect_ok();
    let servers = shim.stdout(&["exec", "box", "cat", "/etc/resolv.conf"]);
    assert!(servers.contains("\nnameserver 127.0.0.11\n") && servers.contains("ndots:0"), "{servers}");
    let reverse = asked(&shim, "box", &first).expect_ok().stdout;
    assert!(reverse.contains("name = web.mine"), "{reverse}");
    // Of another network nothing is known, until one is in it too.
    assert_eq!(found(&shim, "box", "far"), [] as [&str; 0]);
    shim.cli(&["network", "connect", "other", "box"]).expect_ok();
    assert_eq!(found(&shim, "box", "far"), [address(&shim, "far", "other")]);
    assert_eq!(found(&shim, "box", "www").len(), 2, "an alias may be that of several");
    shim.cli(&["network", "disconnect", "other", "box"]).expect_ok();
    assert_eq!(found(&shim, "box", "far"), [] as [&str; 0]);
    // Its address becomes another one's; its name leads to its new one.
    shim.cli(&["stop", "--time", "0", "web"]).expect_ok();
    assert_eq!(found(&shim, "box", "web"), [] as [&str; 0]);
    asleep(&shim, "thief", &["--network", "mine", "--ip", &first]);
    shim.cli(&["start", "web"]).expect_ok();
    let second = address(&shim, "web", "mine");
    assert_ne!(second, first);
    assert_eq!(found(&shim, "box", "web"), [second.as_str()]);
    shim.cli(&["rename", "web", "site"]).expect_ok();
    assert_eq!(found(&shim, "box", "site"), [second.as_str()]);
    assert_eq!(found(&shim, "box", "web"), [] as [&str; 0]);
}

/// A name server of the host's at 127.0.0.1, which knows one name and answers to that alone.
fn serve(shim: &Shim, name: &'static [u8], address: [u8; 4]) {
    let netns = fs::File::open(shim.host().path()).unwrap();
    let (sender, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // This thread alone; it ends with the test.
        nix::sched::setns(&netns, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        sender.send(()).unwrap();
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            let question = &packet[12..length];
            let end = question.windows(name.len()).position(|part| part == name);
            // A (RFC 1035), and not AAAA.
            let is_known =
                end.is_some_and(|at| question.get(at + name.len()..at + name.len() + 3) == Some(&[0, 0, 1]));
            let mut answer = packet[..length].to_vec();
            answer[2] |= 0x80;
            answer[7] = u8::from(is_known);
            answer[10..12].fill(0);
            if is_known {
                answer.extend([&[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4], &address[..]].concat());
            }
            let _ = socket.send_to(&answer, client);
        }
    });
    ready.recv().unwrap();
}

#[test]
fn others_are_asked_for_what_is_no_containers_but_not_from_an_internal_network() {
    requires!(are_possible(), "{NFT}");
    let shim = Shim::networked();
    serve(&shim, b"\x03far\x07example", [192, 0, 2, 9]);
    shim.cli(&["network", "create", "mine"]).expect_ok();
    shim.cli(&["network", "create", "--internal", "in"]).expect_ok();
    // The first one does not answer.
    let dns = ["--dns", "127.0.0.2", "--dns", "127.0.0.1"];
    asleep(&shim, "box", &[&["--network", "mine"], &dns[..]].concat());
    asleep(&shim, "inner", &[&["--network", "in"], &dns[..]].concat());
    assert_eq!(found(&shim, "box", "far.example"), ["192.0.2.9"]);
    assert_eq!(found(&shim, "inner", "far.example"), [] as [&str; 0]);
    assert_eq!(found(&shim, "inner", "inner"), [address(&shim, "inner", "in")]);
    // A program of the container has port 53, and the resolver answers all the same.
    let busy = ["exec", "--detach", "box", "nc", "-l", "-p", "53"];
    shim.cli(&busy).expect_ok();
    assert_eq!(found(&shim, "box", "box"), [address(&shim, "box", "mine")]);
}

#[test]
fn the_resolver_comes_back_when_its_monitor_was_killed() {
    requires!(are_possible(), "{NFT}");
    let shim = Shim::networked();
    shim.cli(&["network", "create", "mine"]).expect_ok();
    asleep(&shim, "box", &["--network", "mine"]);
    let own = address(&shim, "box", "mine");
    assert_eq!(found(&shim, "box", "box"), [own.as_str()]);
    // The worker is the keeper's child: the younger of the two.
    let youngest = |shim: &Shim| shim.processes().into_iter().map(|process| process.pid()).max().unwrap();
    let worker = youngest(&shim);
    integration::Process::new(worker).kill();
    wait_for("another worker", || (youngest(&shim) != worker).then_some(()));
    wait_for("names", || (found(&shim, "box", "box") == [own.as_str()]).then_some(()));
    for process in shim.processes() {
        process.kill();
    }
    wait_for("their end", || shim.processes().is_empty().then_some(()));
    assert_eq!(found(&shim, "box", "box"), [own.as_str()], "the next command has brought a monitor");
}

#[test]
fn idle_connections_keep_neither_the_resolver_nor_others_busy() {
    requires!(are_possible(), "{NFT}");
    let shim = Shim::networked();
    shim.cli(&["network", "create", "mine"]).expect_ok();
    let id = shim.detached(&["--name", "web", "--network", "mine", "busybox", "sleep", "1000"]);
    let netns = shim.process(&id).path("ns/net").to_string_lossy().into_owned();
    let open = || std::net::TcpStream::connect("127.0.0.11:53");
    let idle: Vec<_> = (0..40).map(|_| inside_network(&netns, open).unwrap()).collect();
    let ticks = || shim.processes().iter().map(Process::ticks).sum::<u64>();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(800));
    // Hundredths of a second: one that asks again and again has them all.
    assert!(ticks() - before < 20, "the supervisor rests");
    assert_eq!(found(&shim, "web", "web").len(), 1, "datagrams are answered meanwhile");
    drop(idle);
}

#[test]
fn the_host_has_a_name_where_the_user_wants_one() {
    requires!(are_possible(), "{NFT}");
    let shim = Shim::networked();
    let words = ["--add-host", "host.docker.internal:host-gateway", "busybox"];
    let gateway = shim.stdout(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge"]);
    let hosts = shim.run(&[&["--rm"], &words[..], &["cat", "/etc/hosts"]].concat()).expect_ok().stdout;
    assert!(hosts.contains(&format!("\n{}\thost.docker.internal\n", gateway.trim_end())), "{hosts}");
    let refused = shim.run(&[&["--network", "none"], &words[..], &["true"]].concat()).expect_code(125);
    refused.expect_stderr("--add-host host.docker.internal:host-gateway: it is in no network with a gateway");
}
