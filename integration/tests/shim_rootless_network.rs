//! Networks and published ports of an ordinary user: his containers reach the world by pasta or slirp4netns, and the world
//! reaches them by the ports that they publish; nothing of it is the host's, and nothing of it is left.
//!
//! Clients and servers are sockets that the test opens in the network namespaces of containers, of the host that the user is
//! on, and of another one that a veth(4) pair joins to it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use integration::{
    Bundle, Call, Container, Host, ImageMaker, Ordinary, Process, Server, inside_network, is_root,
    is_unreachable, requires, runtime_under_test, sender, shim_under_test, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};

/// Addresses of the user's host on the link, and of the other host; one of that which is not on the link.
const HOST: &str = "192.0.2.1";
const HOST6: &str = "2001:db8::1";
const FAR: &str = "203.0.113.9";
/// As a user finds it: on Debian /dev/net/tun is everybody's.
const WITH_TUN: &str = "mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200";
/// What hides a program: a device is none.
const WITHOUT_PASTA: &str = "mount --bind /dev/null /usr/bin/passt";
const WITHOUT_SLIRP4NETNS: &str = "mount --bind /dev/null /usr/bin/slirp4netns";

/// Why an ordinary user can have no networks here, if so.
fn obstacle() -> Option<String> {
    if !is_root() {
        return Some("becoming another user needs root".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("no /dev/net/tun".to_owned());
    }
    let needed = ["/usr/sbin/nft", "/usr/bin/pasta", "/usr/bin/slirp4netns", "/usr/bin/newuidmap"];
    let missing = needed.into_iter().find(|path| !Path::new(path).exists())?;
    Some(format!("{missing} is not installed (scripts/install-deps test)"))
}

/// An ordinary user with a shim of his own, on a host that has a neighbour.
struct User {
    /// Never created: it has the folder, and the script that becomes the user.
    place: Container,
    host: Host,
    far: Host,
}

impl User {
    fn new() -> User {
        User::with(WITH_TUN)
    }

    /// `before` is what is done in the mount namespace in which the user begins.
    fn with(before: &str) -> User {
        let place = Bundle::new();
        for (name, program) in [("shim", shim_under_test()), ("runtime", runtime_under_test())] {
            let copy = place.scratch_file(name);
            fs::copy(program, &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
        }
        let _ = ImageMaker::busybox().named("busybox").docker_archive(&place.scratch().join("image.tar"));
        for name in ["home", "run"] {
            fs::create_dir(place.scratch().join(name)).unwrap();
        }
        let place = Ordinary::NOBODYS.container_from(place, before, "exec \"$@\"");
        let (host, far) = (Host::new(), Host::new());
        host.sh(&format!(
            "ip link add wire type veth peer name wire netns {}
             ip address add {HOST}/24 dev wire
             ip address add {HOST6}/64 dev wire nodad
             ip link set wire up",
            far.path()
        ));
        far.sh(&format!(
            "ip address add 192.0.2.254/24 dev wire
             ip address add 2001:db8::fe/64 dev wire nodad
             ip address add {FAR}/32 dev lo
             ip link set wire up"
        ));
        host.sh("ip route add default via 192.0.2.254; ip -6 route add default via 2001:db8::fe");
        let user = User { place, host, far };
        let archive = user.path("image.tar");
        user.call(&["load", "-qi", archive.to_str().unwrap()]).output().expect_ok();
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.bundle().scratch().join(name)
    }

    fn call(&self, words: &[&str]) -> Call {
        let folders =
            [("--root", "root"), ("--state", "state")].map(|(flag, name)| [flag.into(), self.path(name)]);
        let call = self.host.call(self.path("as-user")).args([self.path("shim")]).args(folders.concat());
        // Wherever the tests are run, an ordinary user may not get there.
        let call = call.args(words).current_dir(Path::new("/"));
        call.env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env_remove("DOCKER_CONFIG")
    }

    #[track_caller]
    fn stdout(&self, words: &[&str]) -> String {
        self.call(words).output().expect_ok().expect_no_stderr().stdout.trim_end().to_owned()
    }

    /// A container that sleeps; the path of its network namespace.
    #[track_caller]
    fn asleep(&self, name: &str, words: &[&str]) -> String {
        self.stdout(&[&["run", "-d", "--name", name], words, &["busybox", "sleep", "1000"]].concat());
        self.netns(name)
    }

    #[track_caller]
    fn netns(&self, name: &str) -> String {
        format!("/proc/{}/ns/net", self.stdout(&["inspect", "-f", "{{.State.Pid}}", name]))
    }

    #[track_caller]
    fn address(&self, name: &str, network: &str) -> String {
        let told = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        self.stdout(&["inspect", "-f", &told, name])
    }

    /// The user's processes that have this word in their command line.
    fn processes(&self, word: &str) -> Vec<i32> {
        let mark = format!("{}/", self.place.bundle().scratch().display());
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            Process::new(u32::try_from(*pid).unwrap()).is_alive()
                && line.contains(&mark)
                && line.contains(word)
        })
        .collect()
    }

    /// The only one.
    #[track_caller]
    fn process(&self, word: &str) -> i32 {
        let found = self.processes(word);
        assert_eq!(found.len(), 1, "{word}: {found:?}");
        found[0]
    }

    /// Ends a process, and waits for that.
    fn kill(&self, pid: i32) {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        wait_for("its end", || (!self.processes("").contains(&pid)).then_some(()));
    }

    /// All containers are removed: what of their processes is there still.
    #[track_caller]
    fn left(&self) -> Vec<i32> {
        let ids = self.stdout(&["ps", "-aq"]);
        let ids: Vec<&str> = ids.lines().collect();
        if !ids.is_empty() {
            self.stdout(&[&["rm", "-f"], &ids[..]].concat());
        }
        // Monitors that have nothing to do any more are on their way out.
        wait_for("the end of monitors", || self.processes(" monitor ").is_empty().then_some(()));
        let holder = self.processes(" hold");
        self.processes("").into_iter().filter(|pid| !holder.contains(pid)).collect()
    }
}

impl Drop for User {
    /// The holder of the user's namespaces, and whatever a test that failed has left.
    fn drop(&mut self) {
        wait_for("the end of the user's processes", || {
            let ours = self.processes("");
            for pid in &ours {
                let _ = kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL);
            }
            ours.is_empty().then_some(())
        });
    }
}

#[test]
fn containers_reach_the_world_and_are_reached_by_their_ports() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let user = User::new();
    let (host, far) = (user.host.path(), user.far.path());
    let rules = || user.host.sh("nft list ruleset; cat /proc/sys/net/ipv4/ip_forward");
    let before = rules();
    let web = user.asleep("web", &["-p", "8080:80", "-p", "8053:53/udp"]);
    let other = user.asleep("other", &[]);
    assert_eq!(user.stdout(&["inspect", "-f", "{{.HostConfig.NetworkMode}}", "other"]), "bridge");
    // The way out: to another host by both protocols, and to this one by its address.
    for server in [Server::tcp(&far, "203.0.113.9:81"), Server::udp(&far, "203.0.113.9:81")] {
        let client = server.is_reached(&other, &format!("{FAR}:81"));
        assert_eq!(client.ip().to_string(), HOST);
    }
    Server::tcp(&host, "0.0.0.0:82").is_reached(&other, &format!("{HOST}:82"));
    // What listens on the host's loopback alone is not for containers, by whatever address.
    let local = Server::tcp(&host, "127.0.0.1:83");
    local.is_reached(&host, "127.0.0.1:83");
    for address in ["127.0.0.1", "10.0.2.2", "10.0.2.3", "172.30.0.1", HOST] {
        assert!(is_unreachable(&other, &format!("{address}:83")), "{address}");
    }
    // The ways in.
    for (server, port) in [(Server::tcp(&web, "0.0.0.0:80"), 8080), (Server::udp(&web, "0.0.0.0:53"), 8053)] {
        for (from, address) in [
            (&far, HOST),
            (&far, "[2001:db8::1]"),
            (&host, HOST),
            (&host, "127.0.0.1"),
            (&host, "[::1]"),
            // By the host's address, by the gateway's, and straight.
            (&other, HOST),
            (&other, "172.30.0.1"),
            (&web, HOST),
        ] {
            let client = server.is_reached(from, &format!("{address}:{port}"));
            // Never the loopback: a program may trust that (CVE-2021-20199 of Podman).
            assert_eq!(client.ip().to_string(), "172.30.0.1", "{address}:{port}");
        }
    }
    let server = Server::tcp(&web, "0.0.0.0:90");
    let direct = server.is_reached(&other, &format!("{}:90", user.address("web", "bridge")));
    assert_eq!(direct.ip().to_string(), user.address("other", "bridge"));
    // Not published: from nowhere else.
    assert!(is_unreachable(&far, &format!("{HOST}:90")) && is_unreachable(&host, "127.0.0.1:90"));
    // Ports that cannot be had.
    let taken = user.call(&["run", "--rm", "-p", "8080:80", "busybox", "true"]).output().expect_code(125);
    taken.expect_stderr("Bind for 0.0.0.0:8080 failed: port is already allocated");
    let low = user.call(&["run", "--rm", "-p", "80:80", "busybox", "true"]).output().expect_code(125);
    low.expect_stderr(
        "cannot expose privileged port 80, you can add 'net.ipv4.ip_unprivileged_port_start=80'",
    );
    // Nothing of it is the host's, and nothing is left.
    assert_eq!(user.host.devices(), ["wire"]);
    assert_eq!(rules(), before);
    assert_eq!((user.processes("/pasta ").len(), user.processes("port-proxy").len()), (1, 1));
    assert_eq!(user.left(), [] as [i32; 0]);
    assert!(is_unreachable(&host, "127.0.0.1:8080"));
}

/// A name server of the host's on its loopback, which knows one address for everything; it ends with the test.
fn serve_names(host: &Host) {
    let socket = inside_network(&host.path(), || UdpSocket::bind("127.0.0.1:53")).unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            // The question again, with an address behind it (RFC 1035).
            let mut answer = packet[..length].to_vec();
            answer[2] |= 0x80;
            answer[7] = 1;
            answer[10..12].fill(0);
            answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 203, 0, 113, 9]);
            let _ = socket.send_to(&answer, client);
        }
    });
}

#[test]
fn networks_have_names_and_are_apart() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let user = User::new();
    let far = Server::tcp(&user.far.path(), "0.0.0.0:81");
    serve_names(&user.host);
    assert_eq!(user.stdout(&["network", "ls", "--format", "{{.Name}}"]), "bridge\nhost\nnone");
    // Before any container has run, and so before there is a place for bridges; and after.
    user.stdout(&["network", "create", "one"]);
    let inner = user.stdout(&["network", "create", "--internal", "in"]);
    let box_ = user.asleep("box", &["--network", "in"]);
    assert_eq!(user.processes("/pasta "), [] as [i32; 0], "nobody has a way out");
    assert!(is_unreachable(&box_, &format!("{FAR}:81")));
    user.stdout(&["network", "create", "--subnet", "10.9.0.0/24", "--ipv6", "two"]);
    user.asleep("web", &["--network", "one", "--network-alias", "www", "--dns", "127.0.0.1"]);
    user.asleep("away", &["--network", "two", "--ip", "10.9.0.9"]);
    user.stdout(&["network", "connect", "one", "box"]);
    far.is_reached(&box_, &format!("{FAR}:81"));
    let ping = |to: &str| user.call(&["exec", "box", "ping", "-c", "1", "-W", "2", to]).output().code();
    assert_eq!((ping("web"), ping("www")), (0, 0));
    assert_ne!((ping("10.9.0.9"), ping("away")), (0, 0));
    assert_ne!(ping("10.9.0.9"), 0);
    // What is no container's is asked of the host's name server, on its loopback too.
    let looked_up = user.stdout(&["exec", "web", "nslookup", "far.example."]);
    assert!(looked_up.contains(FAR), "{looked_up}");
    user.stdout(&["network", "disconnect", "one", "box"]);
    assert!(is_unreachable(&box_, &format!("{FAR}:81")));
    let refused = user.call(&["network", "rm", "in"]).output().expect_code(1);
    refused.expect_stderr("network in has active endpoints (name:\"box\" id:");
    // IPv6 has a way out too, but none to what is IPv4's in disguise: whoever carries it would come to the host's loopback.
    let six = Server::tcp(&user.far.path(), "[2001:db8::fe]:81");
    six.is_reached(&user.netns("away"), "[2001:db8::fe]:81");
    let pin = user.path("state/network-namespace");
    let holder = user.process(" hold").to_string();
    let words = ["-t", &holder, "--user", "--mount", "nsenter", &format!("--net={}", pin.display())];
    let route =
        Call::of("nsenter").args(words).args(["ip", "-6", "route", "get", "::ffff:127.0.0.1"]).output();
    assert!(route.stderr.contains("No route to host"), "{route}");
    // Nor to ::, which leads there too; ip(8) asks for everywhere by it, so it is looked for among the routes.
    let routes = Call::of("nsenter").args(words).args(["ip", "-6", "route", "show"]).output().expect_ok();
    assert!(routes.stdout.lines().any(|line| line.starts_with("unreachable :: ")), "{routes}");
    assert_eq!(user.left(), [] as [i32; 0]);
    user.stdout(&["network", "rm", "one", "two", &inner]);
    assert_eq!(user.stdout(&["network", "ls", "--format", "{{.Name}}"]), "bridge\nhost\nnone");
}

#[test]
fn whatever_is_killed_is_there_again_or_found() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let user = User::new();
    let (host, far) = (user.host.path(), Server::tcp(&user.far.path(), "0.0.0.0:81"));
    let web = user.asleep("web", &["-p", "8080:80"]);
    let server = Server::tcp(&web, "0.0.0.0:80");
    server.is_reached(&host, "127.0.0.1:8080");
    // What leads in and out.
    for word in ["/pasta ", "port-proxy"] {
        let old = user.process(word);
        user.kill(old);
        wait_for("another one", || user.processes(word).first().filter(|pid| **pid != old).copied());
    }
    wait_for("the way in", || (!is_unreachable(&host, "127.0.0.1:8080")).then_some(()));
    // That it was tried is in the server's queue.
    drop(server);
    let server = Server::tcp(&web, "0.0.0.0:80");
    wait_for("the way out", || (!is_unreachable(&web, &format!("{FAR}:81"))).then_some(()));
    drop(far);
    let far = Server::tcp(&user.far.path(), "0.0.0.0:81");
    // What keeps the namespaces: a later container is where the first one is.
    user.kill(user.process(" hold"));
    let other = user.asleep("other", &[]);
    far.is_reached(&other, &format!("{FAR}:81"));
    server.is_reached(&other, &format!("{}:80", user.address("web", "bridge")));
    server.is_reached(&host, "127.0.0.1:8080");
    assert_eq!((user.processes("/pasta ").len(), user.processes(" hold").len()), (1, 0));
    // All but the way out: the next one who looks at the containers ends it.
    let killed = |names: &[&str]| {
        let told = |name: &&str| user.stdout(&["inspect", "-f", "{{.State.Pid}}", name]).parse().unwrap();
        let programs: Vec<i32> = names.iter().map(told).collect();
        let way_out = user.process("/pasta ");
        for pid in user.processes(" monitor ").into_iter().chain(programs) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        wait_for("the end of all others", || {
            let others = user.processes("").into_iter().filter(|pid| *pid != way_out);
            (others.count() == user.processes(" hold").len()).then_some(())
        });
    };
    killed(&["web", "other"]);
    let listed = user.stdout(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(listed, "other exited\nweb exited");
    wait_for("the end of the way out", || user.processes("/pasta ").is_empty().then_some(()));
    // All of it anew, and of these containers nothing is known any more: `system check` finds it.
    user.stdout(&["rm", "other"]);
    user.stdout(&["start", "web"]);
    far.is_reached(&user.netns("web"), &format!("{FAR}:81"));
    killed(&["web"]);
    for folder in ["root/containers", "state/containers"] {
        fs::remove_dir_all(user.path(folder)).unwrap();
    }
    let told = user.call(&["system", "check"]).output();
    assert!(told.stdout.contains("the process that leads out of networks, which nobody is in"), "{told}");
    user.process("/pasta ");
    user.call(&["system", "check", "--repair"]).output();
    assert_eq!(user.left(), [] as [i32; 0]);
}

#[test]
fn what_there_is_leads_out_and_without_any_the_error_says_so() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let user = User::with(&format!("{WITH_TUN} && {WITHOUT_PASTA}"));
    let (host, far) = (user.host.path(), user.far.path());
    let web = user.asleep("web", &["-p", "8080:80"]);
    user.process("/slirp4netns ");
    for server in [Server::tcp(&far, "203.0.113.9:81"), Server::udp(&far, "203.0.113.9:81")] {
        server.is_reached(&web, &format!("{FAR}:81"));
    }
    Server::tcp(&web, "0.0.0.0:80").is_reached(&far, &format!("{HOST}:8080"));
    let local = Server::tcp(&host, "127.0.0.1:83");
    for address in ["10.0.2.2", "10.0.2.3"] {
        assert!(is_unreachable(&web, &format!("{address}:83")), "{address}");
        let question = sender(&web, &format!("{address}:53"));
        question.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let _ = question.send(b"question");
        assert!(question.recv(&mut [0; 16]).is_err(), "{address}");
    }
    local.is_reached(&host, "127.0.0.1:83");
    assert_eq!(user.left(), [] as [i32; 0]);
    let user = User::with(&format!("{WITH_TUN} && {WITHOUT_PASTA} && {WITHOUT_SLIRP4NETNS}"));
    let refused = user.call(&["run", "--rm", "busybox", "true"]).output().expect_code(125);
    refused.expect_stderr(
        "the way out of networks without root: it needs pasta (Debian: passt) or slirp4netns, and neither is installed; \
         --network none and --network host do without",
    );
    for network in ["none", "host"] {
        user.stdout(&["run", "--rm", "--network", network, "busybox", "true"]);
    }
    assert_eq!(user.left(), [] as [i32; 0]);
    let user = User::with("mount -t tmpfs tmpfs /dev/net && mknod -m 600 /dev/net/tun c 10 200");
    let refused = user.call(&["run", "--rm", "busybox", "true"]).output().expect_code(125);
    refused.expect_stderr(
        "the way out of networks without root: open /dev/net/tun, which pasta and slirp4netns need (",
    );
    assert_eq!(user.left(), [] as [i32; 0]);
}
