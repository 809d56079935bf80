//! `shim system check` compares what the kernel has of networks and published ports with what is on disk and runs; and two
//! stores on one host do not take each other's rules away.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use integration::{Host, Process, Server, Shim, Value, is_unreachable, requires, wait_for};

/// Why there can be no networks here, if so.
fn obstacle() -> Option<&'static str> {
    match () {
        () if !integration::is_root() => Some("networks are root's"),
        () if !std::path::Path::new("/usr/sbin/nft").exists() => {
            Some("nftables is not installed (scripts/install-deps test)")
        }
        () => None,
    }
}

/// Tables of ours on a host, in order.
fn tables(host: &Host) -> Vec<String> {
    let all = host.sh("nft list tables");
    let own = all.lines().filter_map(|line| line.strip_prefix("table inet "));
    own.filter(|name| name.starts_with("caisson")).map(str::to_owned).collect()
}

/// All rules of a host: their words in order, as nft has elements of a set in no order.
fn rules(host: &Host) -> Vec<String> {
    let listed = host.sh("nft list ruleset");
    let mut words: Vec<String> =
        listed.split_whitespace().map(|word| word.trim_end_matches(',').to_owned()).collect();
    words.sort();
    words
}

/// Processes of a store that have this word in their command line.
fn with(shim: &Shim, word: &str) -> Vec<Process> {
    let line = |process: &Process| fs::read(process.path("cmdline")).unwrap_or_default();
    let is_one =
        |process: &Process| line(process).split(|byte| *byte == 0).any(|part| part == word.as_bytes());
    shim.processes().into_iter().filter(is_one).collect()
}

/// Nothing is wrong, and nothing is left.
#[track_caller]
fn is_clean(shim: &Shim) {
    let told = shim.stdout(&["system", "check"]);
    assert!(told.lines().count() == 1 && told.ends_with(": nothing is wrong\n"), "{told}");
}

/// `system check` tells of these, `--repair` puts them right, and then nothing is left.
#[track_caller]
fn is_mended(shim: &Shim, code: i32, phrases: &[&str]) {
    let found = shim.cli(&["system", "check"]).expect_code(code).expect_no_stderr().stdout;
    let mended = shim.cli(&["system", "check", "--repair"]).expect_ok().stdout;
    for phrase in phrases {
        assert!(found.contains(phrase), "{phrase}: {found}");
    }
    assert_eq!(found.lines().count(), phrases.len() + 1, "{found}");
    assert!(mended.contains("repair: put right: "), "{mended}");
    is_clean(shim);
}

fn asleep(shim: &Shim, words: &[&str]) -> String {
    shim.detached(&[words, &["busybox", "sleep", "600"]].concat())
}

fn reaches(shim: &Shim, from: &str, to: &str) -> bool {
    shim.cli(&["exec", from, "ping", "-c", "1", "-W", "2", to]).code() == 0
}

fn netns_of(shim: &Shim, id: &str) -> String {
    shim.process(id).path("ns/net").to_string_lossy().into_owned()
}

#[test]
fn rules_that_are_nobodys_or_missing_are_told_and_mended() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.stdout(&["network", "create", "--subnet", "10.7.0.0/24", "--subnet", "fd07::/64", "--ipv6", "mine"]);
    shim.stdout(&["network", "create", "--internal", "--subnet", "10.8.0.0/25", "inner"]);
    let words = ["--network", "mine", "-p", "8080:80", "-p", "127.0.0.1:8053:53/udp", "-p", "[::1]:81:81"];
    asleep(&shim, &words);
    asleep(&shim, &[]);
    is_clean(&shim);
    let [table] = &tables(shim.host())[..] else { panic!("one table") };
    let before = rules(shim.host());
    let nft = |words: &str| drop(shim.host().sh(&format!("nft '{}'", words.replace("TABLE", table))));

    nft("add element inet TABLE any4 { tcp . 9999 : 10.7.0.77 . 80 }");
    nft("add element inet TABLE published4 { 10.7.0.77 . tcp . 80 }");
    nft("add element inet TABLE bridges { \"gone0\" }");
    nft("add element inet TABLE subnets4 { \"gone0\" . 10.99.0.0/24 }");
    nft("add element inet TABLE masquerade6 { fd99::/64 }");
    is_mended(
        &shim,
        1,
        &[
            "firewall: any4 { tcp . 9999 : 10.7.0.77 . 80 } is of no network and no container\n",
            "firewall: published4 { 10.7.0.77 . tcp . 80 } is of no",
            "firewall: bridges { gone0 } is of no",
            "firewall: subnets4 { gone0 . 10.99.0.0/24 } is of no",
            "firewall: masquerade6 { fd99::/64 } is of no",
        ],
    );
    assert_eq!(rules(shim.host()), before);

    nft("delete element inet TABLE any4 { tcp . 8080 }");
    nft("delete element inet TABLE loopback4 { 127.0.0.1 . udp . 8053 }");
    nft("delete element inet TABLE subnets4 { \"caisson0\" . 172.30.0.0/16 }");
    is_mended(
        &shim,
        1,
        &[
            "firewall: any4 { tcp . 8080 : 10.7.0.2 . 80 } is missing\n",
            "firewall: loopback4 { 127.0.0.1 . udp . 8053 } is missing",
            "firewall: subnets4 { caisson0 . 172.30.0.0/16 } is missing",
        ],
    );
    assert_eq!(rules(shim.host()), before);

    // What leads elsewhere is one that is nobody's, and one that is missing.
    nft("delete element inet TABLE any4 { tcp . 8080 }");
    nft("add element inet TABLE any4 { tcp . 8080 : 10.7.0.9 . 80 }");
    is_mended(
        &shim,
        1,
        &["10.7.0.9 . 80 } is of no network", "any4 { tcp . 8080 : 10.7.0.2 . 80 } is missing"],
    );
    nft("flush ruleset");
    is_mended(&shim, 1, &[&format!("firewall: table inet {table} is missing\n")]);
    assert_eq!(rules(shim.host()), before);
}

#[test]
fn ports_and_proxies_of_nobody_are_told_and_mended() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    let id = asleep(&shim, &["-p", "8080:80"]);
    let idle = shim.stdout(&["create", "-p", "9090:90", "busybox", "true"]).trim_end().to_owned();
    let gone = "0123456789abcdef".repeat(4);
    let [table] = &tables(shim.host())[..] else { panic!("one table") };
    let before = rules(shim.host());
    let folder = |id: &str| shim.state().join("containers").join(id);

    // Of a container that does not run, and of one that is gone.
    let record = fs::read_to_string(folder(&id).join("ports.json")).unwrap();
    let mut record: Value = serde_json::from_str(&record).unwrap();
    for (port, id) in [(9090, &idle), (9191, &gone)] {
        record["forwards"].as_array_mut().unwrap().truncate(1);
        record["forwards"][0]["host"] = format!("0.0.0.0:{port}").into();
        record["proxy"] = Value::Null;
        fs::create_dir_all(folder(id)).unwrap();
        fs::write(folder(id).join("ports.json"), record.to_string()).unwrap();
        shim.host().sh(&format!("nft 'add element inet {table} any4 {{ tcp . {port} : 172.30.0.2 . 80 }}'"));
    }
    let told = [
        format!("state of container {gone}, which is gone"),
        format!("container {idle} has published ports, and does not run"),
        format!("container {gone} has published ports, and does not run"),
    ];
    is_mended(&shim, 0, &told.each_ref().map(String::as_str));
    assert!(!folder(&idle).join("ports.json").exists() && !folder(&gone).exists());
    assert_eq!(rules(shim.host()), before);

    // Proxies that are on no record: of a container that runs, of one that does not, of one that is gone. A program that
    // only says the same of itself is left alone.
    let mut strays: Vec<_> = [&id, &idle, &gone]
        .map(|id| shim.call(&["port-proxy", id]).stdin_pipe().spawn())
        .into_iter()
        .collect();
    let copy = shim.folder().join("copy");
    fs::copy(integration::shim_under_test(), &copy).unwrap();
    let (root, state) = (shim.root(), shim.state());
    let words = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap(), "port-proxy", &id];
    let mut stranger = shim.host().call(&copy).args(words).stdin_pipe().spawn();
    wait_for("five proxies", || (with(&shim, "port-proxy").len() == 5).then_some(()));
    let told: Vec<String> = strays
        .iter()
        .zip([&id, &idle, &gone])
        .map(|(stray, id)| {
            format!("process {} has published ports of container {id}, and nobody needs it", stray.pid())
        })
        .collect();
    is_mended(&shim, 0, &told.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(strays.iter_mut().all(|stray| !stray.is_running()) && stranger.is_running());
    drop(stranger);

    // One that is missing, and whose monitor stands still.
    let monitors = with(&shim, "monitor");
    let signal = |signal| {
        for monitor in &monitors {
            let pid = rustix::process::Pid::from_raw(monitor.pid().cast_signed()).unwrap();
            rustix::process::kill_process(pid, signal).unwrap();
        }
    };
    signal(rustix::process::Signal::STOP);
    let killed = with(&shim, "port-proxy");
    assert!(killed.len() == 1 && killed[0].kill());
    let told = format!("container {id}: the proxy of its published ports is gone");
    is_mended(&shim, 1, &[&told]);
    signal(rustix::process::Signal::CONT);
    // From then on the monitor looks after that one.
    let [second] = &with(&shim, "port-proxy")[..] else { panic!("one proxy") };
    let second = second.pid();
    wait_for("a third proxy", || {
        with(&shim, "port-proxy").iter().filter(|proxy| proxy.pid() == second).for_each(|proxy| {
            let _ = proxy.kill();
        });
        with(&shim, "port-proxy").iter().any(|proxy| proxy.pid() != second).then_some(())
    });
    is_clean(&shim);
}

#[test]
fn a_bridge_that_somebody_has_removed_comes_back_with_all_of_its_ports() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.stdout(&["network", "create", "--opt", "com.docker.network.bridge.name=mine0", "mine"]);
    for name in ["one", "two"] {
        asleep(&shim, &["--name", name, "--network", "mine"]);
    }
    assert!(reaches(&shim, "one", "two"));
    let network = shim.stdout(&["network", "inspect", "-f", "{{.Id}}", "mine"]);
    let network = &network[..12];
    let ports = || shim.host().sh("ip -o link show master mine0").lines().count();
    let detail = || shim.host().sh("bridge -d link show | grep -o 'hairpin [a-z]*' | sort | uniq -c");
    let before = detail();

    shim.host().sh("ip link delete mine0");
    assert!(!reaches(&shim, "one", "two"));
    is_mended(&shim, 1, &[&format!("network {network}: its bridge is gone, and containers are in it\n")]);
    assert!(reaches(&shim, "one", "two") && ports() == 2);
    assert_eq!(detail(), before);

    let veth = shim.host().devices().into_iter().find(|name| name.starts_with("veth")).unwrap();
    shim.host().sh(&format!("ip link set {veth} nomaster"));
    assert!(!reaches(&shim, "one", "two"));
    is_mended(&shim, 1, &["is no port of its bridge\n"]);
    assert!(reaches(&shim, "one", "two"));
    assert_eq!(detail(), before);

    // The next container that starts in it has all of it made anew, too.
    shim.host().sh("ip link delete mine0");
    asleep(&shim, &["--name", "three", "--network", "mine"]);
    assert!(reaches(&shim, "one", "two") && reaches(&shim, "three", "one") && ports() == 3);
    is_clean(&shim);
}

#[test]
fn who_is_in_a_network_that_was_made_again_and_who_is_told_to_be_in_one_that_he_has_left() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.stdout(&["network", "create", "mine"]);
    shim.stdout(&["network", "create", "other"]);
    let id = shim.stdout(&["create", "--network", "mine", "busybox", "sleep", "600"]).trim_end().to_owned();
    shim.stdout(&["network", "rm", "mine"]);
    shim.stdout(&["network", "create", "mine"]);
    shim.stdout(&["start", &id]);
    is_clean(&shim);

    // `network disconnect` was killed before it had noted that it was done.
    shim.stdout(&["network", "connect", "other", &id]);
    let path = shim.container_folder(&id).join("state.json");
    let before = fs::read(&path).unwrap();
    shim.stdout(&["network", "disconnect", "other", &id]);
    fs::write(&path, before).unwrap();
    is_mended(&shim, 0, &["is in it, and is not to be\n"]);
    let told = shim.inspect(&id);
    let networks = told["NetworkSettings"]["Networks"].as_object().unwrap();
    assert_eq!(networks.keys().collect::<Vec<_>>(), ["mine"], "{told}");
}

#[test]
fn two_stores_on_one_host_leave_each_others_rules_alone_and_keep_their_containers_apart() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    let one = asleep(&shim, &["-p", "8080:80"]);
    let other_shim = Shim::beside(&shim);
    let other = asleep(&other_shim, &["-p", "8081:80"]);
    let address =
        |shim: &Shim, id: &str| shim.inspect(id)["NetworkSettings"]["IPAddress"].as_str().unwrap().to_owned();
    let (one_net, other_net) = (netns_of(&shim, &one), netns_of(&other_shim, &other));
    let (one_at, other_at) = (address(&shim, &one), address(&other_shim, &other));
    let servers = [Server::tcp(&one_net, "0.0.0.0:80"), Server::tcp(&other_net, "0.0.0.0:80")];
    let host = shim.host();
    host.sh("ip address add 192.0.2.1/32 dev lo");
    let hold_apart = || {
        // By rules, and not by the proxy: a client in a container is seen by the bridge's address, and the host by its own.
        assert_eq!(servers[0].is_reached(&host.path(), "192.0.2.1:8080").ip().to_string(), "192.0.2.1");
        assert_eq!(servers[1].is_reached(&host.path(), "192.0.2.1:8081").ip().to_string(), "192.0.2.1");
        servers[0].is_reached(&other_net, "192.0.2.1:8080");
        servers[1].is_reached(&one_net, "192.0.2.1:8081");
        assert!(is_unreachable(&one_net, &format!("{other_at}:80")));
        assert!(is_unreachable(&other_net, &format!("{one_at}:80")));
    };
    hold_apart();
    let both = tables(host);
    assert_eq!(both.len(), 2, "{both:?}");
    let before = rules(host);
    for table in &both {
        host.sh(&format!("nft delete table inet {table}"));
        // Whoever's it is makes it anew; the other's stands.
        for shim in [&shim, &other_shim] {
            shim.stdout(&["run", "--rm", "busybox", "true"]);
        }
        hold_apart();
    }
    assert_eq!(rules(host), before);
    is_clean(&shim);
    is_clean(&other_shim);
    other_shim.stdout(&["rm", "-f", &other]);
    assert!(!rules(host).iter().any(|word| word == "8081"));
    servers[0].is_reached(&one_net, "192.0.2.1:8080");
}

#[test]
fn a_port_of_a_container_that_was_killed_with_all_that_looked_after_it_is_anybodys() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    asleep(&shim, &["--name", "first", "-p", "8080:80"]);
    let first = shim.process(&shim.container_ids()[0]);
    for process in shim.processes() {
        let _ = process.kill();
    }
    first.kill();
    wait_for("their end", || (shim.processes().is_empty() && !first.is_alive()).then_some(()));
    // Its rules lead to an address that nobody has, or that the next one has.
    let second = asleep(&shim, &["--name", "second", "-p", "8080:80"]);
    let netns = netns_of(&shim, &second);
    let server = Server::tcp(&netns, "0.0.0.0:80");
    let host = shim.host().path();
    shim.host().sh("ip address add 192.0.2.1/32 dev lo");
    assert_eq!(server.is_reached(&host, "192.0.2.1:8080").ip().to_string(), "192.0.2.1");
    // What is taken back of the first one later is not the second one's.
    shim.stdout(&["rm", "-f", "first"]);
    assert_eq!(server.is_reached(&host, "192.0.2.1:8080").ip().to_string(), "192.0.2.1");
    is_clean(&shim);
}
