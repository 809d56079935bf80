//! Published ports beside ufw and firewalld themselves, as Debian packages them, each in a world of its own: what is published
//! is reached by whom they let, and nothing else is opened.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::engine::World;
use integration::{ImageMaker, Output, Running, shim_under_test, skip, wait_for};

/// The world's address on its link with another host, and that one's.
const HOST: &str = "192.0.2.1";
const OUTSIDE: &str = "192.0.2.2";
/// Seconds for an answer that comes, and for one that must not: of dropped packets nobody tells.
const PATIENCE: u32 = 3;
const SILENCE: u32 = 1;

/// A world with a shim, beside another host that routes to the containers by it.
struct Here {
    /// A server of the other host's.
    _far: Running,
    world: World,
}

impl Here {
    fn new() -> Here {
        let world = World::new();
        let archive = ImageMaker::busybox().named("box").docker_archive(&world.folder().join("image"));
        let name = archive.file_name().unwrap().to_string_lossy().into_owned();
        let link = format!(
            "ip netns add outside
             ip link add wire type veth peer name wire netns outside
             ip address add {HOST}/24 dev wire; ip link set wire up
             ip -n outside address add {OUTSIDE}/24 dev wire; ip -n outside link set wire up
             ip -n outside link set lo up; ip -n outside route add 172.16.0.0/12 via {HOST}"
        );
        world.sh(&link).output().expect_ok();
        let far = "mkdir -p /run/far; echo far >/run/far/index; exec ip netns exec outside busybox httpd -f -p 9000 -h /run/far";
        let here = Here { _far: world.sh(far).spawn(), world };
        here.shim(&format!("load -i /run/world/{name}")).expect_ok();
        here
    }

    fn shim(&self, words: &str) -> Output {
        let own = shim_under_test().display();
        self.world.sh(&format!("{own} --root /run/shim --state /run/shim-state {words}")).output()
    }

    /// A container that serves its name at port 80, and at 81, with these flags; its address.
    fn serve(&self, flags: &str) -> String {
        let serve = "echo web >/index; httpd -p 81 -h /; exec httpd -f -p 80 -h /";
        self.shim(&format!("run -d --name web {flags} box sh -c '{serve}'")).expect_ok();
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        self.shim(&format!("inspect -f '{address}' web")).expect_ok().stdout.trim().to_owned()
    }

    /// What comes of asking there; `within` goes before the words of a command and says where.
    fn answer(&self, within: &str, at: &str, seconds: u32) -> String {
        let ask = format!(
            "exec 3<>/dev/tcp/{}; printf \"GET /index HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3",
            at.replace(':', "/")
        );
        let words = format!("{within} timeout {seconds} bash -c '{ask}' 2>/dev/null");
        self.world.sh(&words).output().stdout
    }

    /// Is it served there, to the other host or to this one?
    fn is_answered(&self, from_outside: bool, at: &str, seconds: u32) -> bool {
        let within = if from_outside { "ip netns exec outside" } else { "" };
        self.answer(within, at, seconds).ends_with("web\n")
    }

    /// It is served there; in the end, as servers need a moment to begin.
    #[track_caller]
    fn is_reached(&self, from_outside: bool, at: &str) {
        wait_for(&format!("an answer from {at}"), || {
            self.is_answered(from_outside, at, PATIENCE).then_some(())
        });
    }

    /// Nobody answers the other host there.
    #[track_caller]
    fn is_closed(&self, at: &str) {
        assert!(!self.is_answered(true, at, SILENCE), "{at} is closed to others");
    }

    /// Something of the host's own that nobody has published or allowed.
    fn listens(&self) -> Running {
        self.world
            .sh("mkdir -p /run/own; echo web >/run/own/index; exec busybox httpd -f -p 9090 -h /run/own")
            .spawn()
    }

    /// Does the container get an answer from the other host?
    fn has_way_out(&self) -> bool {
        let pid = self.shim("inspect -f '{{.State.Pid}}' web").expect_ok().stdout;
        let within = format!("nsenter --net=/proc/{}/ns/net", pid.trim());
        self.answer(&within, &format!("{OUTSIDE}:9000"), PATIENCE).ends_with("far\n")
    }
}

#[test]
fn ufw_says_who_reaches_a_published_port() {
    if let Some(obstacle) = World::obstacle(&["ufw", "busybox"]) {
        skip!("{obstacle}");
    }
    let here = Here::new();
    here.world.sh("ufw --force enable").output().expect_ok();
    let _own = here.listens();
    let address = here.serve("-p 8080:80 -p 127.0.0.1:8081:81");
    let rules =
        || here.world.sh("iptables-save -t filter; ip6tables-save -t filter").output().expect_ok().stdout;
    let plain = |rules: String| {
        rules.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    for open in ["127.0.0.1:8080", "127.0.0.1:8081", "192.0.2.1:8080"] {
        here.is_reached(false, open);
    }
    let closed =
        [format!("{HOST}:8080"), format!("{HOST}:8081"), format!("{HOST}:9090"), format!("{address}:80")];
    for closed in &closed {
        here.is_closed(closed);
    }
    assert!(!here.has_way_out(), "what passes through is denied");

    // What docs/network.md says.
    here.world.sh("ufw allow 8080/tcp; ufw route allow in on caisson0").output().expect_ok();
    let before = plain(rules());
    here.is_reached(true, &format!("{HOST}:8080"));
    assert!(here.has_way_out());
    for closed in &closed[1..] {
        here.is_closed(closed);
    }
    here.shim("rm -f web").expect_ok();
    let before = before.iter().filter(|line| !line.starts_with(':')).collect::<Vec<_>>();
    let after = plain(rules());
    let after = after.iter().filter(|line| !line.starts_with(':')).collect::<Vec<_>>();
    assert_eq!(after, before, "nobody else's rules are touched");
}

#[test]
fn firewalld_lets_pass_what_is_published_and_nothing_else() {
    if let Some(obstacle) = World::obstacle(&["firewalld", "dbus-daemon", "busybox"]) {
        skip!("{obstacle}");
    }
    let here = Here::new();
    here.world.sh("mkdir -p /run/dbus; dbus-daemon --system --fork --nopidfile").output().expect_ok();
    let _firewalld = here.world.sh("exec firewalld --nofork --nopid").spawn();
    wait_for("firewalld", || (here.world.sh("firewall-cmd --state").output().code() == 0).then_some(()));
    let _own = here.listens();
    let address = here.serve("-p 8080:80 -p 127.0.0.1:8081:81");
    let closed =
        [format!("{HOST}:8081"), format!("{HOST}:9090"), format!("{address}:80"), format!("{address}:81")];
    let holds = || {
        for open in ["127.0.0.1:8080", "127.0.0.1:8081", "192.0.2.1:8080"] {
            here.is_reached(false, open);
        }
        here.is_reached(true, &format!("{HOST}:8080"));
        for closed in &closed {
            here.is_closed(closed);
        }
    };
    holds();
    assert!(!here.has_way_out(), "the bridge is in no zone that lets it pass");
    here.world.sh("firewall-cmd --zone=trusted --add-interface=caisson0").output().expect_ok();
    assert!(here.has_way_out());
    // firewalld makes its own table anew, and no other.
    here.world.sh("firewall-cmd --reload").output().expect_ok();
    holds();
    here.shim("rm -f web").expect_ok();
}
