//! Published ports, from everywhere: from another host, which a veth(4) pair joins to the one that the shim is on, from
//! that itself, by its loopback, from other containers and from the container itself; and what is not published, from
//! nowhere.
//!
//! Servers are sockets that the test opens in the container's network namespace, so what they see of a client is known.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use integration::{
    Host, Process, Server, Shim, inside_network, is_root, is_unreachable, requires, sender, wait_for,
};

const ROOT: &str = "containers need root";

/// A shim on a host with a neighbour, who routes to the containers' networks by it.
struct Neighbours {
    shim: Shim,
    outside: Host,
}

/// Addresses of the shim's host on the link, and the neighbour's.
const HOST: &str = "192.0.2.1";
const OUTSIDE: &str = "192.0.2.2";
const HOST6: &str = "2001:db8::1";
const OUTSIDE6: &str = "2001:db8::2";

impl Neighbours {
    fn new() -> Neighbours {
        let (shim, outside) = (Shim::networked(), Host::new());
        let there = outside.path();
        shim.host().sh(&format!(
            "ip link add wire type veth peer name wire netns {there}
             ip address add {HOST}/24 dev wire
             ip address add {HOST6}/64 dev wire nodad
             ip link set wire up"
        ));
        outside.sh(&format!(
            "ip address add {OUTSIDE}/24 dev wire
             ip address add {OUTSIDE6}/64 dev wire nodad
             ip link set wire up
             ip route add 172.16.0.0/12 via {HOST}
             ip -6 route add fd00::/8 via {HOST6}"
        ));
        Neighbours { shim, outside }
    }

    /// A container that sleeps, with these flags; its network namespace.
    #[track_caller]
    fn container(&self, flags: &[&str]) -> Container {
        let id = self.shim.detached(&[flags, &["busybox", "sleep", "1000"]].concat());
        let process = self.shim.process(&id);
        Container { netns: process.path("ns/net").to_string_lossy().into_owned(), id }
    }

    fn host(&self) -> String {
        self.shim.host().path()
    }

    fn address(&self, container: &Container) -> String {
        let told = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        self.shim.stdout(&["inspect", "-f", told, &container.id]).trim_end().to_owned()
    }
}

struct Container {
    id: String,
    netns: String,
}

#[test]
fn a_published_port_is_reached_from_everywhere_and_sees_its_clients() {
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    let web = here.container(&["-p", "8080:80", "-p", "8053:53/udp"]);
    let other = here.container(&[]);
    let (tcp, udp) = (Server::tcp(&web.netns, "0.0.0.0:80"), Server::udp(&web.netns, "0.0.0.0:53"));
    let (host, outside) = (here.host(), here.outside.path());
    for (server, port) in [(&tcp, 8080), (&udp, 8053)] {
        let v4 = |address: &str| format!("{address}:{port}");
        let v6 = |address: &str| format!("[{address}]:{port}");
        // From outside, with the client's own address.
        assert_eq!(server.is_reached(&outside, &v4(HOST)).ip().to_string(), OUTSIDE);
        // By IPv6 to a container that has none.
        server.is_reached(&outside, &v6(HOST6));
        // From the host: its address, its loopback, in both families.
        assert_eq!(server.is_reached(&host, &v4(HOST)).ip().to_string(), HOST);
        for address in [v4("127.0.0.1"), v4("127.0.0.9"), v6("::1"), v6(HOST6)] {
            server.is_reached(&host, &address);
        }
        // From another container, and from itself.
        server.is_reached(&other.netns, &v4(HOST));
        server.is_reached(&web.netns, &v4(HOST));
    }
    // Freed by its end, and had again by the next run.
    here.shim.stdout(&["stop", "-t", "0", &web.id]);
    for address in ["0.0.0.0:8080", "[::]:8080"] {
        drop(inside_network(&host, || TcpListener::bind(address)).unwrap());
    }
    assert!(is_unreachable(&outside, &format!("{HOST}:8080")));
    here.shim.stdout(&["start", &web.id]);
    let netns = here.shim.process(&web.id).path("ns/net").to_string_lossy().into_owned();
    let tcp = Server::tcp(&netns, "0.0.0.0:80");
    assert_eq!(tcp.is_reached(&outside, &format!("{HOST}:8080")).ip().to_string(), OUTSIDE);
}

/// More than the proxy's pipes hold at first, both ways at once, with one who reads slowly, and half-closed.
#[test]
fn what_the_proxy_carries_arrives_whole_and_in_order() {
    const WORDS: u64 = 6 << 20;
    fn send(stream: &TcpStream) {
        let mut stream = BufWriter::with_capacity(100_003, stream);
        (0..WORDS).for_each(|word| stream.write_all(&word.to_le_bytes()).unwrap());
        stream.flush().unwrap();
        stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }
    fn receive(stream: &TcpStream) {
        let mut stream = BufReader::with_capacity(300_007, stream);
        for expected in 0..WORDS {
            let mut word = [0; 8];
            stream.read_exact(&mut word).unwrap();
            assert_eq!(u64::from_le_bytes(word), expected);
            if expected % (WORDS / 8) == 0 {
                // Everything on the way fills up.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end, and nothing behind it");
    }
    fn both(stream: &TcpStream) {
        std::thread::scope(|scope| {
            scope.spawn(|| send(stream));
            receive(stream);
        });
    }
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    let web = here.container(&["-p", "8080:80"]);
    let listener = inside_network(&web.netns, || TcpListener::bind("0.0.0.0:80")).unwrap();
    let server = std::thread::spawn(move || both(&listener.accept().unwrap().0));
    both(&inside_network(&here.host(), || TcpStream::connect("127.0.0.1:8080")).unwrap());
    server.join().unwrap();
}

#[test]
fn clients_by_ipv6_are_seen_by_a_container_that_has_it() {
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    here.shim.stdout(&["network", "create", "--ipv6", "six"]);
    let web = here.container(&["--network", "six", "-p", "80:80", "-p", "[::1]:81:80"]);
    let server = Server::tcp(&web.netns, "[::]:80");
    let (host, outside) = (here.host(), here.outside.path());
    assert_eq!(server.is_reached(&outside, &format!("[{HOST6}]:80")).ip().to_string(), OUTSIDE6);
    let seen = server.is_reached(&outside, &format!("{HOST}:80")).ip().to_string();
    assert_eq!(seen, format!("::ffff:{OUTSIDE}"));
    for address in ["[::1]:80", "[::1]:81", "127.0.0.1:80"] {
        server.is_reached(&host, address);
    }
    assert!(is_unreachable(&outside, &format!("[{HOST6}]:81")));
    server.is_reached(&web.netns, &format!("[{HOST6}]:80"));
    // Nobody gets there directly.
    let told = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
    let own = here.shim.stdout(&["inspect", "-f", told, &web.id]).trim_end().to_owned();
    assert!(is_unreachable(&outside, &format!("[{own}]:80")));
}

#[test]
fn what_is_not_published_is_not_reached() {
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    let on_host = format!("{HOST}:8081:81");
    let web = here.container(&["-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8053:53/udp", "-p", &on_host]);
    let (host, outside) = (here.host(), here.outside.path());
    let servers = [80, 81, 82].map(|port| Server::tcp(&web.netns, &format!("0.0.0.0:{port}")));
    let own = here.address(&web);
    // The worst that a host can be set to: it believes packets for its loopback, wherever they come from.
    here.shim.host().sh("for all in /proc/sys/net/ipv4/conf/*/route_localnet; do echo 1 >$all; done");
    here.outside.sh(&format!(
        "echo 1 >/proc/sys/net/ipv4/conf/wire/route_localnet
         ip route del local 127.0.0.0/8 dev lo
         ip route del local 127.0.0.1 dev lo
         ip route add 127.0.0.0/8 via {HOST} dev wire src {OUTSIDE}"
    ));
    assert!(is_unreachable(&outside, "127.0.0.1:8080"));
    // A server of the host's own is reached like that; answers would not come back.
    let (own_udp, published) = (Server::udp(&host, "127.0.0.1:8054"), Server::udp(&web.netns, "0.0.0.0:53"));
    let (Server::Udp(own_udp), Server::Udp(udp)) = (&own_udp, &published) else { panic!() };
    for port in [8053, 8054] {
        sender(&outside, &format!("127.0.0.1:{port}")).send(b"outside").unwrap();
    }
    let mut bytes = [0; 16];
    assert_eq!(own_udp.recv(&mut bytes).unwrap(), 7, "the ground of this test");
    sender(&host, "127.0.0.1:8053").send(b"in").unwrap();
    assert_eq!(udp.recv(&mut bytes).unwrap(), 2, "the first that comes is the host's own");
    servers[0].is_reached(&host, "127.0.0.1:8080");
    assert!(
        is_unreachable(&host, &format!("{HOST}:8080")) && is_unreachable(&outside, &format!("{HOST}:8080"))
    );
    servers[1].is_reached(&outside, &format!("{HOST}:8081"));
    assert!(is_unreachable(&host, "127.0.0.1:8081"));
    // Nor does anybody get to the container's own address: whatever is published of it, and by whom.
    for port in 80..83 {
        assert!(is_unreachable(&outside, &format!("{own}:{port}")), "{port}");
    }
    servers[2].is_reached(&host, &format!("{own}:82"));
}

#[test]
fn networks_are_apart_and_meet_by_published_ports_alone() {
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    for network in [&["one"][..], &["--internal", "inner"]] {
        here.shim.stdout(&[&["network", "create"], network].concat());
    }
    let web = here.container(&["-p", "8080:80"]);
    let (other, one) = (here.container(&[]), here.container(&["--network", "one"]));
    let inner = here.container(&["--network", "inner", "-p", "8090:80"]);
    let neighbour = here.container(&["--network", "inner"]);
    let server = Server::tcp(&web.netns, "0.0.0.0:80");
    let own = here.address(&web);
    server.is_reached(&other.netns, &format!("{own}:80"));
    assert!(is_unreachable(&one.netns, &format!("{own}:80")));
    server.is_reached(&one.netns, &format!("{HOST}:8080"));
    // Nothing leaves an internal network, and nothing gets in.
    let outer = Server::tcp(&here.outside.path(), &format!("{OUTSIDE}:9000"));
    let seen = outer.is_reached(&web.netns, &format!("{OUTSIDE}:9000"));
    assert_eq!(seen.ip().to_string(), HOST, "what leaves has the host's address");
    // Also not with a route of its own.
    let gateway = here.address(&inner).rsplit_once('.').unwrap().0.to_owned() + ".1";
    let route = format!("--net={}", inner.netns);
    let routed =
        integration::Call::of("nsenter").args([&route, "ip", "route", "add", "default", "via", &gateway]);
    routed.output().expect_ok();
    assert!(is_unreachable(&inner.netns, &format!("{OUTSIDE}:9000")));
    // Nor does a packet get out that needs no answer.
    let outer = Server::udp(&here.outside.path(), &format!("{OUTSIDE}:9000"));
    let Server::Udp(outer) = &outer else { panic!() };
    sender(&inner.netns, &format!("{OUTSIDE}:9000")).send(b"inner").unwrap();
    sender(&web.netns, &format!("{OUTSIDE}:9000")).send(b"web").unwrap();
    assert_eq!(outer.recv(&mut [0; 16]).unwrap(), 3, "the first that comes is the other's");
    assert!(is_unreachable(&inner.netns, &format!("{own}:80")));
    assert!(is_unreachable(&inner.netns, &format!("{HOST}:8080")));
    let inside = Server::tcp(&inner.netns, "0.0.0.0:80");
    inside.is_reached(&neighbour.netns, &format!("{}:80", here.address(&inner)));
    assert!(is_unreachable(&here.outside.path(), &format!("{}:80", here.address(&inner))));
    assert_eq!(here.shim.stdout(&["port", &inner.id]), "", "nothing leads to an internal network");
}

#[test]
fn a_taken_port_is_an_error_before_the_start() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::networked();
    let host = shim.host().path();
    let own = inside_network(&host, || TcpListener::bind("127.0.0.1:8080").unwrap());
    let run = |ports: &[&str]| {
        shim.call(&["run", "-d"]).args(ports).args(["--name", "late", "busybox", "touch", "/ran"]).output()
    };
    let refused = run(&["-p", "8080:80"]).expect_code(125);
    assert!(
        refused.stderr.contains("driver failed programming external connectivity on endpoint late (")
            && refused.stderr.contains("): failed to bind host port for 0.0.0.0:8080:")
            && refused.stderr.contains(":80/tcp: address already in use"),
        "{refused}"
    );
    // It is there as docker leaves it, and has nothing.
    assert_eq!(shim.stdout(&["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Ports}}"]), "late created \n");
    assert_eq!(shim.recorded_state(&shim.container_ids()[0])["started_at"], "0001-01-01T00:00:00Z");
    drop(own);
    shim.stdout(&["rm", "late"]);

    let first = shim.detached(&["-p", "8080:80", "-p", "9000-9002:9000", "busybox", "sleep", "1000"]);
    for words in [&["-p", "8080:80"][..], &["-p", "127.0.0.1:8080:90"], &["-p", "[::1]:8080:80"]] {
        let refused = run(words).expect_code(125);
        assert!(refused.stderr.contains(":8080 failed: port is already allocated"), "{refused}");
        shim.stdout(&["rm", "late"]);
    }
    // Another one of a range is had; the same number of another protocol is free.
    let second = shim.detached(&["-p", "9000-9002:9000", "-p", "8080:80/udp", "busybox", "sleep", "1000"]);
    assert_eq!(shim.stdout(&["port", &second, "9000"]), "0.0.0.0:9001\n[::]:9001\n");
    // One of two that want the same gets it.
    let race =
        |name| shim.call(&["run", "-d", "--name", name, "-p", "7000:80", "busybox", "sleep", "1000"]).spawn();
    let mut codes = [race("one"), race("two")].map(|running| running.wait().code());
    codes.sort_unstable();
    assert_eq!(codes, [0, 125]);
    // A whole set is had or none of it.
    run(&["-p", "6000:80", "-p", "8080:81"]).expect_code(125);
    drop(inside_network(&host, || TcpListener::bind("0.0.0.0:6000").unwrap()));
    // Killed from under everybody: the next look frees what it had.
    for process in shim.processes() {
        if process.cmdline().contains(&first) {
            process.kill();
        }
    }
    shim.process(&first).kill();
    wait_for("the end of what was killed", || {
        shim.stdout(&["ps", "-q", "--no-trunc"]).lines().all(|line| line != first).then_some(())
    });
    drop(inside_network(&host, || TcpListener::bind("0.0.0.0:8080").unwrap()));
}

#[test]
fn ports_are_told_as_docker_does() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::networked();
    let format = "{{.Ports}}";
    let id = shim.detached(&[
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1:8443:443",
        "-p",
        "53:53/udp",
        "--expose",
        "90-91",
        "busybox",
        "sleep",
        "1000",
    ]);
    let told = "0.0.0.0:53->53/udp, [::]:53->53/udp, 90-91/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, \
                127.0.0.1:8443->443/tcp\n";
    assert_eq!(shim.stdout(&["ps", "--no-trunc", "--format", format]), told);
    let lines = "53/udp -> 0.0.0.0:53\n53/udp -> [::]:53\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n\
                 443/tcp -> 127.0.0.1:8443\n";
    assert_eq!(shim.stdout(&["port", &id]), lines);
    for (filter, is_it) in [
        ("8080", true),
        ("80/tcp", true),
        ("8400-8500", true),
        ("53/udp", true),
        ("53", false),
        ("81", false),
    ] {
        let found = shim.stdout(&["ps", "-q", "--no-trunc", "-f", &format!("publish={filter}")]);
        assert_eq!(!found.is_empty(), is_it, "{filter}");
    }
    assert_eq!(shim.stdout(&["port", &id, "443/tcp"]), "127.0.0.1:8443\n");
    let refused = shim.cli(&["port", &id, "90"]).expect_code(1);
    assert!(refused.stderr.contains(&format!("no public port '90/tcp' published for {id}")), "{refused}");
    let inspected = shim.inspect(&id);
    let binding = |address: &str, port: &str| integration::json!({"HostIp": address, "HostPort": port});
    let ports = integration::json!({
        "80/tcp": [binding("0.0.0.0", "8080"), binding("::", "8080")],
        "443/tcp": [binding("127.0.0.1", "8443")],
        "53/udp": [binding("0.0.0.0", "53"), binding("::", "53")],
        "90/tcp": null, "91/tcp": null,
    });
    assert_eq!(inspected.pointer("/NetworkSettings/Ports"), Some(&ports));
    let asked = integration::json!({
        "80/tcp": [binding("", "8080")], "443/tcp": [binding("127.0.0.1", "8443")], "53/udp": [binding("", "53")],
    });
    assert_eq!(inspected.pointer("/HostConfig/PortBindings"), Some(&asked));
    shim.stdout(&["kill", &id]);
    assert_eq!(shim.stdout(&["port", &id]), "");
    assert_eq!(shim.inspect(&id).pointer("/NetworkSettings/Ports"), Some(&integration::json!({})));

    // Any port of the host, for all that is exposed; a hardened one keeps to the host.
    for (flags, addresses) in
        [(&["-P"][..], &["0.0.0.0", "[::]"][..]), (&["-P", "--hardened"], &["127.0.0.1"])]
    {
        let words = [flags, &["--expose", "70", "-p", "71", "busybox", "sleep", "1000"]].concat();
        // Of limits that cannot be had here it may warn.
        let id = shim.call(&["run", "-d"]).args(&words).output().expect_ok().stdout.trim_end().to_owned();
        for port in ["70", "71"] {
            let told = shim.stdout(&["port", &id, port]);
            let (told, numbers): (Vec<&str>, Vec<u16>) = told
                .lines()
                .map(|line| line.rsplit_once(':').unwrap())
                .map(|(at, port)| (at, port.parse::<u16>().unwrap()))
                .unzip();
            assert_eq!(told, addresses);
            assert!(numbers.iter().all(|number| *number == numbers[0] && *number > 1024), "{numbers:?}");
        }
    }
    // More ports than descriptors are usual.
    let words =
        ["run", "-d", "-p", "20000-20199:20000-20199", "busybox", "sh", "-c", "ulimit -n; sleep 1000"];
    let many = shim.call(&words).through(&["prlimit", "--nofile=256:4096"]).output().expect_ok().stdout;
    let many = many.trim_end();
    let told = shim.stdout(&["ps", "--no-trunc", "--format", format, "--filter", &format!("id={many}")]);
    assert_eq!(told, "0.0.0.0:20000-20199->20000-20199/tcp, [::]:20000-20199->20000-20199/tcp\n");
    wait_for("its limit", || (shim.stdout(&["logs", many]) == "256\n").then_some(()));
    let warned =
        shim.cli(&["run", "--rm", "--network", "host", "-p", "80:80", "busybox", "true"]).expect_ok();
    assert_eq!(warned.stderr, "WARNING: Published ports are discarded when using host network mode\n");
}

#[test]
fn a_proxy_that_is_killed_is_replaced_and_one_that_nobody_needs_ends() {
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    let shim = &here.shim;
    let web = here.container(&["-p", "127.0.0.1:8080:80"]);
    let (host, server) = (here.host(), Server::tcp(&web.netns, "0.0.0.0:80"));
    let with = |word: &'static str| -> Vec<Process> {
        // One that ends meanwhile is none of them.
        let line = |process: &Process| std::fs::read(process.path("cmdline")).unwrap_or_default();
        let is_one =
            |process: &Process| line(process).split(|byte| *byte == 0).any(|part| part == word.as_bytes());
        shim.processes().into_iter().filter(is_one).collect()
    };
    let [proxy] = &with("port-proxy")[..] else { panic!("one proxy") };
    assert_eq!(proxy.status("CapEff"), "0000000000000000");
    let first = proxy.pid();
    proxy.kill();
    wait_for("another proxy", || with("port-proxy").iter().any(|proxy| proxy.pid() != first).then_some(()));
    // Its socket was there before it.
    server.is_reached(&host, "127.0.0.1:8080");
    // Without a monitor it goes on for as long as the container does.
    for monitor in with("monitor") {
        monitor.kill();
    }
    server.is_reached(&host, "127.0.0.1:8080");
    shim.process(&web.id).kill();
    wait_for("the end of the proxy", || with("port-proxy").is_empty().then_some(()));
    drop(inside_network(&host, || TcpListener::bind("127.0.0.1:8080").unwrap()));
}

#[test]
fn datagrams_follow_a_container_to_its_new_address() {
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    let first = here.container(&["--name", "first", "-p", "53:53/udp"]);
    let server = Server::udp(&first.netns, "0.0.0.0:53");
    let client = sender(&here.outside.path(), &format!("{HOST}:53"));
    let Server::Udp(socket) = &server else { panic!() };
    let mut bytes = [0; 8];
    client.send(b"one").unwrap();
    assert_eq!(socket.recv(&mut bytes).unwrap(), 3);
    here.shim.stdout(&["rm", "-f", "first"]);
    // Somebody else has the old address, and publishes nothing.
    let heir = here.container(&[]);
    let silent = Server::udp(&heir.netns, "0.0.0.0:53");
    let second = here.container(&["-p", "53:53/udp"]);
    let server = Server::udp(&second.netns, "0.0.0.0:53");
    let Server::Udp(socket) = &server else { panic!() };
    client.send(b"three").unwrap();
    assert_eq!(socket.recv(&mut bytes).unwrap(), 5);
    let Server::Udp(silent) = &silent else { panic!() };
    silent.set_nonblocking(true).unwrap();
    assert!(silent.recv(&mut bytes).is_err());
}

#[test]
fn published_ports_follow_a_container_from_network_to_network() {
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    let shim = &here.shim;
    shim.stdout(&["network", "create", "other"]);
    shim.stdout(&["network", "create", "--internal", "inner"]);
    let web = here.container(&["-p", "8080:80", "-p", "8053:53/udp"]);
    let (tcp, udp) = (Server::tcp(&web.netns, "0.0.0.0:80"), Server::udp(&web.netns, "0.0.0.0:53"));
    let (host, outside) = (here.host(), here.outside.path());
    let is_reached = || {
        assert_eq!(tcp.is_reached(&outside, &format!("{HOST}:8080")).ip().to_string(), OUTSIDE);
        assert_eq!(udp.is_reached(&outside, &format!("{HOST}:8053")).ip().to_string(), OUTSIDE);
        // The proxy was replaced a moment ago.
        wait_for("the host's own way", || (!is_unreachable(&host, "127.0.0.1:8080")).then_some(()));
        tcp.is_reached(&host, "127.0.0.1:8080");
    };
    is_reached();
    let told = shim.stdout(&["port", &web.id]);
    shim.stdout(&["network", "connect", "other", &web.id]);
    is_reached();
    shim.stdout(&["network", "disconnect", "bridge", &web.id]);
    is_reached();
    assert_eq!(shim.stdout(&["port", &web.id]), told);
    shim.stdout(&["network", "connect", "inner", &web.id]);
    shim.stdout(&["network", "disconnect", "other", &web.id]);
    assert_eq!(shim.stdout(&["port", &web.id]), "");
    assert!(is_unreachable(&outside, &format!("{HOST}:8080")) && is_unreachable(&host, "127.0.0.1:8080"));
    shim.stdout(&["network", "connect", "bridge", &web.id]);
    is_reached();
}

#[test]
fn a_table_that_somebody_has_flushed_is_made_anew() {
    requires!(is_root(), "{ROOT}");
    let here = Neighbours::new();
    let web = here.container(&["-p", "8080:80"]);
    let server = Server::tcp(&web.netns, "0.0.0.0:80");
    let before = here.shim.host().sh("nft list ruleset");
    here.shim.host().sh("nft flush ruleset");
    let other = here.container(&[]);
    assert_eq!(here.shim.host().sh("nft list ruleset"), before);
    assert_eq!(server.is_reached(&here.outside.path(), &format!("{HOST}:8080")).ip().to_string(), OUTSIDE);
    here.shim.stdout(&["rm", "-f", &other.id, &web.id]);
    let left = here.shim.host().sh("nft list ruleset");
    assert!(!left.contains("8080") && left.contains("table inet caisson"), "{left}");
}
