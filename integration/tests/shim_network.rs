//! Networks of the shim's containers: bridges, addresses and routes, and that nothing of them is left.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use integration::{Shim, Value, requires, wait_for};

/// Why there can be no networks here, if so.
fn obstacle() -> Option<&'static str> {
    match () {
        () if !integration::is_root() => Some("networks are root's"),
        () if !["/usr/sbin/nft", "/sbin/nft"].iter().any(|path| std::path::Path::new(path).exists()) => {
            Some("nftables is not installed (scripts/install-deps test)")
        }
        () => None,
    }
}

/// A container that sleeps in this network; its id.
fn asleep(shim: &Shim, name: &str, words: &[&str]) -> String {
    let all = [&["--name", name], words, &["busybox", "sleep", "600"]].concat();
    shim.detached(&all)
}

/// Its address in a network.
fn address(shim: &Shim, name: &str, network: &str) -> String {
    let told = shim.inspect(name);
    let address = &told["NetworkSettings"]["Networks"][network]["IPAddress"];
    address.as_str().unwrap_or_else(|| panic!("an address in {network}: {told}")).to_owned()
}

/// Does an address answer to a container?
fn reaches(shim: &Shim, from: &str, to: &str) -> bool {
    shim.cli(&["exec", from, "ping", "-c", "1", "-W", "2", to]).code() == 0
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}

#[test]
fn the_default_network_is_a_bridge_with_a_way_out() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    let one = asleep(&shim, "one", &[]);
    let told = shim.inspect("one");
    assert_eq!(told["HostConfig"]["NetworkMode"], "bridge");
    let settings = &told["NetworkSettings"];
    let (ip, gateway) = (text(&settings["IPAddress"]), text(&settings["Gateway"]));
    assert_eq!((ip, gateway, &settings["IPPrefixLen"]), ("172.30.0.2", "172.30.0.1", &16.into()));
    assert_eq!(settings["MacAddress"], "02:42:ac:1e:00:02");
    let inside = shim.stdout(&["exec", "one", "ip", "route"]);
    assert_eq!(
        inside,
        "default via 172.30.0.1 dev eth0 \n172.30.0.0/16 dev eth0 scope link  src 172.30.0.2 \n"
    );
    // Itself, the host, and another one of the same network.
    asleep(&shim, "two", &[]);
    for to in ["127.0.0.1", "172.30.0.1", "172.30.0.3", &one[..12]] {
        assert!(reaches(&shim, "one", to));
    }
    shim.host().sh("busybox ping -c 1 -W 2 172.30.0.2");
    // On the default network there are no names, as with docker.
    assert!(!reaches(&shim, "one", "two"));
    let told: Value = shim.cli(&["network", "inspect", "bridge"]).expect_ok().json();
    assert_eq!(told[0]["Containers"][&one]["IPv4Address"], "172.30.0.2/16");
    assert_eq!(told[0]["Containers"].as_object().unwrap().len(), 2);
    let devices = shim.host().devices();
    assert_eq!((devices.len(), devices[0].as_str()), (3, "caisson0"), "{devices:?}");
    shim.cli(&["rm", "--force", "one", "two"]).expect_ok();
    assert_eq!(shim.host().devices(), ["caisson0"]);
    let told: Value = shim.cli(&["network", "inspect", "bridge"]).expect_ok().json();
    assert_eq!(told[0]["Containers"], serde_json::json!({}));
}

#[test]
fn a_network_has_what_it_was_made_with() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    let words = "network create --subnet 10.9.0.0/24 --gateway 10.9.0.254 --ip-range 10.9.0.128/28 \
        --aux-address printer=10.9.0.129 --subnet fd00:9::/64 --ipv6 --label a=1 --opt com.docker.network.driver.mtu=1400 \
        --opt com.docker.network.bridge.name=lan0 mine";
    let id = shim.stdout(&words.split_whitespace().collect::<Vec<_>>()).trim_end().to_owned();
    asleep(&shim, "first", &["--network", "mine"]);
    let fixed =
        ["--network", "mine", "--ip", "10.9.0.7", "--ip6", "fd00:9::7", "--mac-address", "02:00:00:00:00:07"];
    asleep(&shim, "fixed", &[&fixed[..], &["--network-alias", "seven"]].concat());
    let told: Value = shim.cli(&["network", "inspect", "mine"]).expect_ok().json();
    let told = &told[0];
    assert_eq!(
        (text(&told["Id"]), &told["EnableIPv6"], text(&told["Labels"]["a"])),
        (&*id, &true.into(), "1")
    );
    let ipam = &told["IPAM"]["Config"];
    assert_eq!(ipam[0]["IPRange"], "10.9.0.128/28");
    assert_eq!((text(&ipam[1]["Subnet"]), text(&ipam[1]["Gateway"])), ("fd00:9::/64", "fd00:9::1"));
    let first = shim.inspect("first");
    let first = &first["NetworkSettings"]["Networks"]["mine"];
    // The range without what is kept back.
    assert_eq!((text(&first["IPAddress"]), text(&first["GlobalIPv6Address"])), ("10.9.0.128", "fd00:9::2"));
    let link = shim.stdout(&["exec", "fixed", "ip", "addr", "show", "eth0"]);
    for part in
        ["mtu 1400", "link/ether 02:00:00:00:00:07", "inet 10.9.0.7/24 brd 10.9.0.255", "inet6 fd00:9::7/64"]
    {
        assert!(link.contains(part), "{part}: {link}");
    }
    for to in ["10.9.0.254", "10.9.0.128", "fd00:9::1", "fd00:9::2"] {
        assert!(reaches(&shim, "fixed", to));
    }
    let routes = shim.stdout(&["exec", "fixed", "ip", "-6", "route", "show", "default"]);
    assert!(routes.starts_with("default via fd00:9::1 dev eth0"), "{routes}");
    assert!(shim.host().sh("ip link show lan0").contains("mtu 1400"));
    let taken = shim.cli(&["run", "--rm", "--network", "mine", "--ip", "10.9.0.7", "busybox", "true"]);
    taken.expect_code(125).expect_stderr("Address already in use");
    let refused = shim.cli(&["network", "rm", "mine"]).expect_code(1);
    refused.expect_stderr("network mine has active endpoints (name:\"f");
    shim.cli(&["rm", "--force", "first", "fixed"]).expect_ok();
    assert_eq!(shim.stdout(&["network", "rm", "mine"]), "mine\n");
    assert_eq!(shim.host().devices(), [] as [&str; 0]);
    assert!(!shim.state().join("networks").join(&id).exists());
}

#[test]
fn networks_do_not_reach_one_another_and_an_internal_one_reaches_nothing() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    for words in [&["one"][..], &["two"], &["--internal", "in"]] {
        shim.cli(&[&["network", "create"], words].concat()).expect_ok();
    }
    for (name, network) in [("aa", "one"), ("bb", "one"), ("cc", "two"), ("dd", "in"), ("ee", "in")] {
        asleep(&shim, name, &["--network", network]);
    }
    assert!(reaches(&shim, "aa", &address(&shim, "bb", "one")));
    assert!(reaches(&shim, "dd", &address(&shim, "ee", "in")));
    assert!(!reaches(&shim, "aa", &address(&shim, "cc", "two")));
    assert!(!reaches(&shim, "aa", &address(&shim, "dd", "in")));
    assert!(!shim.stdout(&["exec", "dd", "ip", "route"]).contains("default"));
    assert_eq!(shim.inspect("dd")["NetworkSettings"]["Networks"]["in"]["Gateway"], "");
    // Not even with a way that somebody has made.
    let script = format!("ip route add default via {}", address(&shim, "ee", "in"));
    shim.cli(&["exec", "--privileged", "dd", "sh", "-c", &script]).expect_ok();
    assert!(!reaches(&shim, "dd", &address(&shim, "aa", "one")));
}

#[test]
fn a_running_container_is_put_into_networks_and_taken_out() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    for name in ["one", "two"] {
        shim.cli(&["network", "create", name]).expect_ok();
    }
    let id = asleep(&shim, "box", &["--network", "one"]);
    asleep(&shim, "other", &["--network", "two"]);
    let to = address(&shim, "other", "two");
    assert!(!reaches(&shim, "box", &to));
    assert_eq!(shim.stdout(&["network", "connect", "--alias", "b", "two", "box"]), "");
    assert!(reaches(&shim, "box", &to));
    assert_eq!(
        shim.stdout(&["ps", "--no-trunc", "--quiet", "--filter", "network=two", "--filter", "name=box"])
            .trim_end(),
        id
    );
    assert_eq!(shim.stdout(&["ps", "--filter", "name=box", "--format", "{{.Networks}}"]), "one,two\n");
    let twice = shim.cli(&["network", "connect", "two", "box"]).expect_code(1);
    twice.expect_stderr("endpoint with name box already exists in network two");
    // The way out is the first network's, by name, until that is gone.
    let route = |inside: &str| shim.stdout(&["exec", inside, "ip", "route", "show", "default"]);
    assert!(route("box").contains("dev eth0"), "{}", route("box"));
    shim.stdout(&["network", "disconnect", "one", "box"]);
    assert!(route("box").contains("dev eth1"), "{}", route("box"));
    assert!(reaches(&shim, "box", &to));
    let hosts = shim.stdout(&["exec", "box", "cat", "/etc/hosts"]);
    let own = address(&shim, "box", "two");
    assert!(hosts.ends_with(&format!("{own}\t{}\n", &id[..12])), "{hosts}");
    let not = shim.cli(&["network", "disconnect", "one", "box"]).expect_code(1);
    not.expect_stderr(&format!("container {id} is not connected to network one"));
    let not = shim.cli(&["network", "disconnect", "--force", "one", "box"]).expect_code(1);
    not.expect_stderr(&format!("container {id} is not connected to network one"));
    // What was changed holds at the next start, and for one that does not run.
    shim.cli(&["restart", "--time", "0", "box"]).expect_ok();
    assert!(reaches(&shim, "box", &to));
    shim.cli(&["stop", "--time", "0", "box"]).expect_ok();
    shim.stdout(&["network", "connect", "--ip", "172.18.0.77", "one", "box"]);
    shim.cli(&["start", "box"]).expect_ok();
    assert_eq!(address(&shim, "box", "one"), "172.18.0.77");
    assert_eq!(shim.stdout(&["exec", "box", "ls", "/sys/class/net"]), "eth0\neth1\nlo\n");
    assert_eq!(shim.stdout(&["network", "prune", "--force"]), "");
    shim.cli(&["rm", "--force", "box", "other"]).expect_ok();
    assert_eq!(shim.stdout(&["network", "prune", "--force"]), "Deleted Networks:\none\ntwo\n\n");
    assert_eq!(shim.host().devices(), [] as [&str; 0]);
}

#[test]
fn a_container_may_begin_in_several_networks() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.cli(&["network", "create", "one"]).expect_ok();
    shim.cli(&["network", "create", "--subnet", "10.7.0.0/16", "two"]).expect_ok();
    let words = ["--network", "name=two,ip=10.7.0.9,alias=x,gw-priority=1", "--network", "one"];
    asleep(&shim, "box", &words);
    let links = shim.stdout(&["exec", "box", "sh", "-c", "ip -o -4 addr; ip route show default"]);
    assert!(
        links.contains("eth0    inet 10.7.0.9/16") && links.contains("default via 10.7.0.1 dev eth0"),
        "{links}"
    );
    let told = shim.inspect("box");
    assert_eq!(told["HostConfig"]["NetworkMode"], "two");
    let two = &told["NetworkSettings"]["Networks"]["two"];
    assert_eq!((&two["Aliases"], &two["GwPriority"]), (&serde_json::json!(["x"]), &1.into()));
    assert_eq!(two["IPAMConfig"], serde_json::json!({"IPv4Address": "10.7.0.9"}));
    // Whoever joins its namespace has all of it.
    let joined =
        shim.run(&["--rm", "--network", "container:box", "busybox", "ip", "-o", "-4", "addr"]).expect_ok();
    assert!(joined.stdout.contains("10.7.0.9/16"), "{}", joined.stdout);
    // Started again: the same addresses, and nothing twice.
    let before = shim.host().devices();
    shim.cli(&["restart", "--time", "0", "box"]).expect_ok();
    assert_eq!(shim.host().devices(), before);
    assert_eq!(address(&shim, "box", "two"), "10.7.0.9");
}

#[test]
fn what_cannot_be_is_refused_in_dockers_words() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.cli(&["network", "create", "--subnet", "10.7.0.0/16", "mine"]).expect_ok();
    for (words, reason) in [
        (&["create", "mine"][..], "network with name mine already exists"),
        (&["create", "host"], "operation is not permitted on predefined host network"),
        (&["create", "bridge"], "operation is not permitted on predefined bridge network"),
        (&["create", "-x"], "unknown shorthand flag"),
        (&["create", "a/b"], "invalid network name \"a/b\""),
        (&["create", "--subnet", "10.7.5.0/24", "x1"], "Pool overlaps with other one on this address space"),
        (
            &["create", "--subnet", "10.8.0.1/16", "x1"],
            "invalid subnet 10.8.0.1/16: it should be 10.8.0.0/16",
        ),
        (&["create", "--subnet", "127.0.0.0/33", "x1"], "invalid CIDR address: 127.0.0.0/33"),
        (
            &["create", "--subnet", "10.8.0.0/16", "--gateway", "10.9.0.1", "x1"],
            "no matching subnet for gateway 10.9.0.1",
        ),
        (
            &["create", "--subnet", "10.8.0.0/16", "--ip-range", "10.9.0.0/24", "x1"],
            "no matching subnet for range",
        ),
        (&["create", "--driver", "overlay", "x1"], "could not find plugin overlay"),
        (&["create", "--scope", "swarm", "x1"], "--scope swarm: local alone is there"),
        (&["create", "--opt", "x=y", "x1"], "--opt x is not supported"),
        (
            &["create", "--opt", "com.docker.network.bridge.name=lo", "x1"],
            "network device lo is there, and is not this network's",
        ),
        (&["create", "--ipv4=false", "x1"], "IPv4 or IPv6 must be enabled"),
        (&["rm", "bridge"], "bridge is a pre-defined network and cannot be removed"),
        (&["rm", "nothing"], "network nothing not found"),
        (&["inspect", "nothing"], "network nothing not found"),
        (&["connect", "nothing", "box"], "network nothing not found"),
        (&["connect", "mine", "nobody"], "No such container: nobody"),
        (&["connect", "mine", "alone"], "with one of the networks in private (none) mode"),
        (&["connect", "mine", "hosts"], "cannot connect to a network: container is in the host's network"),
        (
            &["connect", "host", "alone"],
            "container cannot be disconnected from host network or connected to host network",
        ),
        (
            &["connect", "--link", "x", "bridge", "alone"],
            "links are only supported for user-defined networks",
        ),
    ] {
        if words.contains(&"alone") && shim.container_ids().is_empty() {
            shim.cli(&["create", "--name", "alone", "--network", "none", "busybox"]).expect_ok();
            shim.cli(&["create", "--name", "hosts", "--network", "host", "busybox"]).expect_ok();
        }
        shim.cli(&[&["network"], words].concat()).expect_fail().expect_stderr(reason);
    }
    for (words, reason) in [
        (&["--network", "nothing"][..], "network nothing not found"),
        (
            &["--network", "mine", "--network", "none"],
            "cannot attach both user-defined and non-user-defined network-modes",
        ),
        (&["--network", "mine", "--network", "mine"], "network \"mine\" is specified multiple times"),
        (&["--ip", "172.30.0.9"], "user specified IP address is supported on user defined networks only"),
        (
            &["--network-alias", "x"],
            "network-scoped alias is supported only for containers in user defined networks",
        ),
        (&["--network", "mine", "--ip", "10.8.0.9"], "no configured subnet contains IP address 10.8.0.9"),
        (&["--network", "mine", "--ip", "10.7.0.1"], "Address already in use"),
        (
            &["--network", "name=mine,ip=10.7.0.9", "--ip", "10.7.0.8"],
            "cannot specify both --ip and per-network IPv4 address",
        ),
        (
            &["--network", "none", "--mac-address", "02:00:00:00:00:01"],
            "conflicting options: mac-address and the network mode",
        ),
        (&["--link-local-ip", "169.254.0.9"], "--link-local-ip is not supported"),
        (&["--link", "xx"], "could not get container for xx: No such container: xx"),
    ] {
        let refused = shim.run(&[words, &["busybox", "true"]].concat());
        refused.expect_code(125).expect_stderr(reason);
    }
    // Nothing of it is left.
    let devices = shim.host().devices();
    assert!(devices.iter().all(|name| name.starts_with("br-") || name == "caisson0"), "{devices:?}");
    let names = shim.stdout(&["network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"]);
    assert_eq!(names, "bridge bridge local\nhost host local\nmine bridge local\nnone null local\n");
}

#[test]
fn many_containers_of_one_network_have_an_address_each_and_leave_nothing() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    shim.cli(&["network", "create", "many"]).expect_ok();
    let count: usize = std::env::var("CAISSON_NETWORK_CONTAINERS").map_or(12, |text| text.parse().unwrap());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let each = |act: &(dyn Fn(&str) + Sync)| {
        next.store(0, std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        act(&format!("c{number}"));
                    }
                });
            }
        });
    };
    each(&|name| drop(asleep(&shim, name, &["--network", "many"])));
    let told: Value = shim.cli(&["network", "inspect", "many"]).expect_ok().json();
    let containers = told[0]["Containers"].as_object().unwrap();
    let addresses: std::collections::BTreeSet<&str> =
        containers.values().map(|one| text(&one["IPv4Address"])).collect();
    assert_eq!((containers.len(), addresses.len()), (count, count), "{addresses:?}");
    assert_eq!(shim.host().devices().len(), 1 + count);
    each(&|name| drop(shim.cli(&["rm", "--force", name]).expect_ok()));
    assert_eq!(shim.host().devices().len(), 1);
    let told: Value = shim.cli(&["network", "inspect", "many"]).expect_ok().json();
    assert_eq!(told[0]["Containers"], serde_json::json!({}));
}

#[test]
fn what_was_killed_leaves_no_address_taken() {
    requires!(obstacle().is_none(), "{}", obstacle().unwrap_or_default());
    let shim = Shim::networked();
    // Room for one.
    shim.cli(&["network", "create", "--subnet", "10.7.0.0/30", "small"]).expect_ok();
    asleep(&shim, "box", &["--network", "small"]);
    let full = shim.run(&["--rm", "--network", "small", "busybox", "true"]);
    full.expect_code(125).expect_stderr("no available IPv4 addresses on this network's address pools: small");
    // Its monitor first, both processes; then itself.
    for process in shim.processes() {
        process.kill();
    }
    shim.process(&shim.container_ids()[0]).kill();
    wait_for("room", || {
        let run = shim.run(&["--rm", "--network", "small", "busybox", "true"]);
        (run.code() == 0).then_some(())
    });
    assert_eq!(shim.host().devices().len(), 1);
}
