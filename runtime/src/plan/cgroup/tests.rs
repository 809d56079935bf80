//! Tables: fields to files, refused fields, places, owners.

use super::*;
use crate::spec::Spec;

/// The plan of resources written as in config.json.
fn planned(json: &str) -> Result<CgroupPlan> {
    plan(Some(&serde_json::from_str(json).unwrap()))
}

/// The writes as `file=value`, with what follows where the file is missing.
fn lines(json: &str) -> Vec<String> {
    let text = |write: &Write| match &write.otherwise {
        Otherwise::Fail => format!("{}={}", write.file, write.value),
        Otherwise::Skip => format!("{}={}?", write.file, write.value),
        Otherwise::Write { file, value } => format!("{}={}|{file}={value}", write.file, write.value),
    };
    planned(json).unwrap().writes.iter().map(text).collect()
}

#[test]
fn weights_follow_the_curve_of_runc_and_crun() {
    let cases = [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 4),
        (100, 17),
        (102, 17),
        (512, 59),
        (1023, 100),
        (1024, 100),
        (1025, 101),
        (2000, 170), // as runc's maintainers published it
        (2048, 174),
        (10_000, 627),
        (22_000, 1204),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ];
    for (shares, weight) in cases {
        assert_eq!(cpu::weight(shares), weight, "{shares}");
    }
    for shares in 2..262_144 {
        assert!(cpu::weight(shares) <= cpu::weight(shares + 1), "{shares}");
    }
}

#[test]
fn io_weights_meet_both_ends() {
    for (blkio, io) in [(10, 1), (11, 11), (100, 910), (500, 4950), (1000, 10_000)] {
        assert_eq!(io::io_weight(blkio), io, "{blkio}");
    }
}

#[test]
fn fields_become_files() {
    let cases: &[(&str, &[&str])] = &[
        ("{}", &[]),
        (r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":" ","realtimeRuntime":0}}"#, &[]),
        (r#"{"cpu":{"shares":1024}}"#, &["cpu.weight=100"]),
        (r#"{"cpu":{"quota":50000}}"#, &["cpu.max=50000"]),
        (r#"{"cpu":{"quota":50000,"period":20000}}"#, &["cpu.max=50000 20000"]),
        (r#"{"cpu":{"quota":-1,"period":20000}}"#, &["cpu.max=max 20000"]),
        (r#"{"cpu":{"quota":-7}}"#, &["cpu.max=max"]),
        (r#"{"cpu":{"period":20000}}"#, &["cpu.max=max 20000"]),
        (r#"{"cpu":{"burst":1000,"quota":2000}}"#, &["cpu.max=2000", "cpu.max.burst=1000"]),
        (r#"{"cpu":{"burst":0}}"#, &["cpu.max.burst=0?"]),
        (r#"{"cpu":{"idle":0,"shares":2}}"#, &["cpu.idle=0?", "cpu.weight=1"]),
        (r#"{"cpu":{"idle":1,"shares":2}}"#, &["cpu.weight=1", "cpu.idle=1"]),
        (r#"{"cpu":{"cpus":"0-1,3","mems":"0"}}"#, &["cpuset.cpus=0-1,3", "cpuset.mems=0"]),
        (r#"{"memory":{"limit":0,"reservation":0,"swap":0,"kernel":0}}"#, &[]),
        (r#"{"memory":{"limit":8192}}"#, &["memory.max=8192"]),
        (r#"{"memory":{"limit":-1}}"#, &["memory.swap.max=max?", "memory.max=max"]),
        (r#"{"memory":{"limit":8192,"swap":8192}}"#, &["memory.swap.max=0?", "memory.max=8192"]),
        (r#"{"memory":{"limit":8192,"swap":12288}}"#, &["memory.swap.max=4096", "memory.max=8192"]),
        (r#"{"memory":{"limit":8192,"swap":-1}}"#, &["memory.swap.max=max?", "memory.max=8192"]),
        (r#"{"memory":{"swap":-1}}"#, &["memory.swap.max=max?"]),
        (r#"{"memory":{"reservation":4096}}"#, &["memory.low=4096"]),
        (r#"{"memory":{"reservation":-1}}"#, &["memory.low=max"]),
        (r#"{"memory":{"disableOOMKiller":false,"useHierarchy":true}}"#, &[]),
        (r#"{"pids":{}}"#, &[]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max=1"]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]),
        (r#"{"pids":{"limit":7}}"#, &["pids.max=7"]),
        (r#"{"blockIO":{"weight":0}}"#, &[]),
        (r#"{"blockIO":{"weight":1000}}"#, &["io.bfq.weight=1000|io.weight=10000"]),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10},{"major":8,"minor":1}]}}"#,
            &["io.bfq.weight=8:0 10|io.weight=8:0 1"],
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":0}],
              "throttleWriteBpsDevice":[{"major":8,"minor":16,"rate":18446744073709551615}],
              "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],
              "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4}]}}"#,
            &["io.max=8:0 rbps=1 riops=3 wiops=4", "io.max=8:16 rbps=max wbps=18446744073709551615"],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":9223372036854775808},{"pageSize":"64KB","limit":0}]}"#,
            &[
                "hugetlb.2MB.max=9223372036854775808",
                "hugetlb.2MB.rsvd.max=9223372036854775808?",
                "hugetlb.64KB.max=0",
                "hugetlb.64KB.rsvd.max=0?",
            ],
        ),
        (
            r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1}}}"#,
            &["rdma.max=mlx4_0 hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
        ),
        (r#"{"network":{"classID":0,"priorities":[]}}"#, &[]),
        (
            r#"{"unified":{"memory.high":"9000","io.max":"8:0 rbps=1\n8:16 rbps=2\n","cgroup.max.depth":"3","cpuset.cpus":""},
              "memory":{"limit":8192}}"#,
            &[
                "memory.max=8192",
                "cgroup.max.depth=3",
                "cpuset.cpus=\n",
                "io.max=8:0 rbps=1",
                "io.max=8:16 rbps=2",
                "memory.high=9000",
            ],
        ),
    ];
    for (json, wanted) in cases {
        assert_eq!(lines(json), *wanted, "{json}");
    }
}

#[test]
fn what_cannot_be_honoured_names_its_field() {
    let v1 = "cgroup v2 has no such limit";
    let cases = [
        (r#"{"cpu":{"realtimeRuntime":1}}"#, format!("cpu.realtimeRuntime: {v1}")),
        (r#"{"cpu":{"realtimePeriod":1}}"#, format!("cpu.realtimePeriod: {v1}")),
        (r#"{"cpu":{"idle":2}}"#, "cpu.idle: 2 is neither 0 nor 1".into()),
        (r#"{"memory":{"swappiness":0}}"#, format!("memory.swappiness: {v1}")),
        (r#"{"memory":{"disableOOMKiller":true}}"#, format!("memory.disableOOMKiller: {v1}")),
        (
            r#"{"memory":{"limit":-2}}"#,
            "memory.limit: -2 is neither a number from 0 on nor -1 for no limit".into(),
        ),
        (
            r#"{"memory":{"swap":-2}}"#,
            "memory.swap: -2 is neither a number from 0 on nor -1 for no limit".into(),
        ),
        (
            r#"{"memory":{"swap":1}}"#,
            "memory.swap: 1 includes memory, but linux.resources.memory.limit is not set".into(),
        ),
        (
            r#"{"memory":{"limit":-1,"swap":1}}"#,
            "memory.swap: 1 includes memory, but linux.resources.memory.limit is not set".into(),
        ),
        (
            r#"{"memory":{"limit":2,"swap":1}}"#,
            "memory.swap: 1 is below linux.resources.memory.limit, 2, which it includes".into(),
        ),
        (
            r#"{"memory":{"reservation":-9}}"#,
            "memory.reservation: -9 is neither a number from 0 on nor -1 for no limit".into(),
        ),
        (
            r#"{"pids":{"limit":-2}}"#,
            "pids.limit: -2 is neither a number from 0 on nor -1 for no limit".into(),
        ),
        (r#"{"blockIO":{"weight":9}}"#, "blockIO.weight: 9 is not between 10 and 1000".into()),
        (r#"{"blockIO":{"leafWeight":10}}"#, format!("blockIO.leafWeight: {v1}")),
        (
            r#"{"blockIO":{"weightDevice":[{"major":1,"minor":1,"leafWeight":10}]}}"#,
            format!("blockIO.weightDevice[0].leafWeight: {v1}"),
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":1,"minor":1,"weight":1001}]}}"#,
            "blockIO.weightDevice[0].weight: 1001 is not between 10 and 1000".into(),
        ),
        (
            r#"{"blockIO":{"throttleReadIOPSDevice":[{"major":-1,"minor":1}]}}"#,
            "blockIO.throttleReadIOPSDevice[0].major: -1 is not between 0 and 4095".into(),
        ),
        (
            r#"{"blockIO":{"throttleWriteBpsDevice":[{"major":1,"minor":1048576}]}}"#,
            "blockIO.throttleWriteBpsDevice[0].minor: 1048576 is not between 0 and 1048575".into(),
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2M","limit":1}]}"#,
            "hugepageLimits[0].pageSize: \"2M\" is not a size such as \"2MB\"".into(),
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"../2MB","limit":1}]}"#,
            "hugepageLimits[0].pageSize: \"../2MB\" is not a size such as \"2MB\"".into(),
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"MB","limit":1}]}"#,
            "hugepageLimits[0].pageSize: \"MB\" is not a size such as \"2MB\"".into(),
        ),
        (r#"{"rdma":{"a b":{"hcaHandles":3}}}"#, "rdma: \"a b\" is not the name of a device".into()),
        (r#"{"rdma":{"mlx":{}}}"#, "rdma.mlx: neither hcaHandles nor hcaObjects is given".into()),
        (r#"{"network":{"classID":1048577}}"#, format!("network.classID: {v1}")),
        (r#"{"network":{"priorities":[{"name":"eth0","priority":1}]}}"#, format!("network.priorities: {v1}")),
    ];
    for (json, message) in cases {
        let error = planned(json).unwrap_err();
        assert_eq!(error.to_string(), format!("linux.resources.{message}"));
        assert_eq!(error.kind(), Kind::Spec, "{json}");
    }
}

#[test]
fn unified_takes_plain_names_of_limits_only() {
    for name in [
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.freeze",
        "cgroup.kill",
        "cgroup.type",
        "cgroup.subtree_control",
        "cgroup.pressure",
        "irq.pressure",
        "memory.reclaim",
        "memory.peak",
    ] {
        let error = planned(&format!(r#"{{"unified":{{"{name}":"1"}}}}"#)).unwrap_err();
        assert_eq!(error.to_string(), format!("linux.resources.unified[{name:?}]: this file is not a limit"));
    }
    for name in ["cgroup.max.depth", "cgroup.max.descendants", "memory.oom.group", "cpu.max"] {
        assert!(planned(&format!(r#"{{"unified":{{"{name}":"1"}}}}"#)).is_ok(), "{name}");
    }
    for name in
        ["", ".", "..", "tasks", "a/memory.max", "../memory.max", ".max", "memory.", "memory.max\\n", "a b.c"]
    {
        let error = planned(&format!(r#"{{"unified":{{"{name}":"1"}}}}"#)).unwrap_err();
        assert!(
            error.to_string().ends_with("this is not the name of a cgroup v2 file, such as \"memory.high\""),
            "{error}"
        );
    }
}

#[test]
fn what_means_nothing_is_warned_of() {
    let plan = planned(r#"{"memory":{"kernel":1,"kernelTCP":1,"useHierarchy":false}}"#).unwrap();
    assert_eq!(plan.writes, []);
    let fields: Vec<&str> = plan.warnings.iter().map(|text| text.split(':').next().unwrap()).collect();
    assert_eq!(
        fields,
        ["kernel", "kernelTCP", "useHierarchy"].map(|field| format!("linux.resources.memory.{field}"))
    );
    assert_eq!(planned(r#"{"memory":{"kernel":-1,"kernelTCP":0}}"#).unwrap().warnings, [""; 0]);
}

#[test]
fn usage_is_checked_on_request() {
    let check = |json| planned(json).unwrap().check_usage;
    assert_eq!(check(r#"{"memory":{"limit":8192}}"#), None);
    assert_eq!(
        check(r#"{"memory":{"limit":8192,"swap":12288,"checkBeforeUpdate":true}}"#),
        Some(CheckUsage { memory: Some(8192), swap: Some(4096) })
    );
    assert_eq!(check(r#"{"memory":{"limit":-1,"checkBeforeUpdate":true}}"#), Some(CheckUsage::default()));
}

#[test]
fn each_controller_is_named_with_its_first_field() {
    let plan = planned(
        r#"{"cpu":{"shares":2,"quota":1,"cpus":"0"},"pids":{"limit":1},"blockIO":{"weight":10},
          "unified":{"memory.high":"1","misc.max":"res_a 1","cgroup.max.depth":"1","pids.max":"2"}}"#,
    )
    .unwrap();
    assert_eq!(
        plan.controllers(),
        [
            ("cpu", "linux.resources.cpu.shares"),
            ("cpuset", "linux.resources.cpu.cpus"),
            ("pids", "linux.resources.pids.limit"),
            ("io", "linux.resources.blockIO.weight"),
            ("memory", "linux.resources.unified[\"memory.high\"]"),
            ("misc", "linux.resources.unified[\"misc.max\"]"),
        ]
    );
}

#[test]
fn devices_are_limited_even_without_resources() {
    let bare = plan(None).unwrap();
    assert!(bare.devices.is_some() && !bare.device_rules && bare.writes.is_empty());
    assert_eq!(planned("{}").unwrap(), bare);
    let open = planned(r#"{"devices":[{"allow":true}]}"#).unwrap();
    assert!(open.devices.is_none() && open.device_rules);
}

#[test]
fn places() {
    let absolute = |names: &[&str]| Place::Absolute(names.iter().map(|name| (*name).into()).collect());
    let beside = |names: &[&str]| Place::BesideRuntime(names.iter().map(|name| (*name).into()).collect());
    let cases = [
        ("", beside(&["web"])),
        ("/docker/web", absolute(&["docker", "web"])),
        ("//docker/./x/../web//", absolute(&["docker", "web"])),
        ("/../../docker", absolute(&["docker"])),
        ("a/b", beside(&["a", "b"])),
        ("../b", beside(&["b"])),
        ("system.slice:docker:web", beside(&["system.slice:docker:web"])),
        ("/...", absolute(&["..."])),
    ];
    for (path, wanted) in cases {
        assert_eq!(Place::parse(path, "web").unwrap(), wanted, "{path}");
    }
    for path in ["/", "//", "/.", "/..", "/a/..", ".", "..", "a/.."] {
        let wanted = format!(
            "linux.cgroupsPath: {path:?} is the root of the hierarchy, which cannot be a container's"
        );
        assert_eq!(Place::parse(path, "web").unwrap_err().to_string(), wanted);
    }
    for path in ["/a\nb", "/a\0b", &format!("/{}", "x".repeat(256))] {
        Place::parse(path, "web").unwrap_err();
    }
}

#[test]
fn relative_places_are_beside_the_runtime() {
    let below = |place: &str, own: &str| Place::parse(place, "web").unwrap().below(|| Ok(own.to_owned()));
    assert_eq!(below("/a/b", "/user.slice/x").unwrap(), ["a", "b"]);
    assert_eq!(below("", "/").unwrap(), ["web"]);
    assert_eq!(below("", "/shell").unwrap(), ["web"]);
    assert_eq!(below("a/b", "/user.slice/x").unwrap(), ["user.slice", "a", "b"]);
    assert!(below("", "/../x").unwrap_err().to_string().contains("outside the hierarchy"));
    // Where it does not matter nobody asks.
    let place = Place::parse("/a", "web").unwrap();
    assert_eq!(place.below(|| panic!("asked for the own cgroup")).unwrap(), ["a"]);
    let failing = Place::parse("", "web").unwrap().below(|| Err(Error::other("no line")));
    assert_eq!(failing.unwrap_err(), Error::other("no line"));
}

fn spec(namespaces: &str, mount: &str, user: &str) -> Spec {
    let text = format!(
        r#"{{"process":{{"user":{{"uid":{user}}}}},"mounts":[{mount}],"linux":{{"namespaces":[{namespaces}],
          "uidMappings":[{{"containerID":0,"hostID":100000,"size":10}},{{"containerID":10,"hostID":0,"size":2}}]}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn owners() {
    let mount = |options: &str| {
        format!(r#"{{"destination":"/sys/fs/cgroup/","type":"cgroup","options":[{options}]}}"#)
    };
    let (new, joined, user) =
        (r#"{"type":"cgroup"}"#, r#"{"type":"cgroup","path":"/x"}"#, r#"{"type":"cgroup"},{"type":"user"}"#);
    let cases = [
        (new, mount(""), "1000", Some(1000)),
        (new, mount(r#""ro","rw""#), "1000", Some(1000)),
        (new, mount(r#""nosuid","ro""#), "1000", None),
        (new, mount(r#""rro""#), "1000", None),
        (new, mount(""), "0", None),
        (joined, mount(""), "1000", None),
        ("", mount(""), "1000", None),
        (new, String::new(), "1000", None),
        (new, r#"{"destination":"/sys/fs/cgroup","type":"tmpfs"}"#.to_owned(), "1000", None),
        (new, r#"{"destination":"/mnt","type":"cgroup"}"#.to_owned(), "1000", None),
        (user, mount(""), "0", Some(100_000)),
        (user, mount(""), "9", Some(100_009)),
        (user, mount(""), "10", None), // root of the host
        (user, mount(""), "11", Some(1)),
        (user, mount(""), "12", None), // nobody
    ];
    for (namespaces, mount, uid, wanted) in cases {
        let spec = spec(namespaces, &mount, uid);
        assert_eq!(owner(&spec, &spec.linux.uid_mappings), wanted, "{namespaces} {mount} {uid}");
    }
}
