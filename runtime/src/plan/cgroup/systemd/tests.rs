//! Configurations to properties: the names, types and values that systemd takes.

use serde_json::{Value as Json, json};

use super::*;
use crate::error::Kind;

fn spec(fields: Json) -> Spec {
    let mut whole = json!({"ociVersion": "1.0.2"});
    for (key, value) in fields.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

/// The properties of these resources, one after the other, as `Name=value` in the notation of busctl(1).
fn limits_of(resources: Json, version: u32) -> Vec<String> {
    let spec = spec(json!({"linux": {"resources": resources}}));
    let plan = crate::plan::cgroup::plan(spec.linux.resources.as_ref()).unwrap();
    let mut properties = limits(&plan, version);
    properties.extend(limits::at_start(&plan, version));
    shown(&properties)
}

fn shown(properties: &[Property]) -> Vec<String> {
    properties.iter().map(|(name, value)| format!("{name}={} {}", value.signature(), show(value))).collect()
}

fn show(value: &Value) -> String {
    match value {
        Value::Array(_, items) => items.iter().map(show).collect::<Vec<_>>().join(","),
        Value::Struct(items) => items.iter().map(show).collect::<Vec<_>>().join(" "),
        Value::Byte(byte) => format!("{byte:02x}"),
        Value::U64(u64::MAX) => "infinity".into(),
        Value::U64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => other.as_text().unwrap().to_owned(),
    }
}

/// (resources, properties for systemd 252)
fn table() -> Vec<(Json, Vec<&'static str>)> {
    vec![
        (json!({}), vec![]),
        (json!({"memory": {"limit": 1_048_576}}), vec!["MemoryMax=t 1048576"]),
        (json!({"memory": {"limit": -1}}), vec!["MemorySwapMax=t infinity", "MemoryMax=t infinity"]),
        (
            json!({"memory": {"limit": 1000, "swap": 1500, "reservation": 500}}),
            vec!["MemorySwapMax=t 500", "MemoryMax=t 1000", "MemoryLow=t 500"],
        ),
        (json!({"memory": {"limit": 1000, "swap": 1000}}), vec!["MemorySwapMax=t 0", "MemoryMax=t 1000"]),
        (json!({"cpu": {"shares": 1024}}), vec!["CPUWeight=t 100"]),
        (json!({"cpu": {"idle": 1, "shares": 2048}}), vec!["CPUWeight=t 0"]),
        (json!({"cpu": {"idle": 0, "shares": 1024}}), vec!["CPUWeight=t 100"]),
        (
            json!({"cpu": {"quota": 50_000, "period": 200_000}}),
            vec!["CPUQuotaPeriodUSec=t 200000", "CPUQuotaPerSecUSec=t 250000"],
        ),
        (json!({"cpu": {"quota": 50_000}}), vec!["CPUQuotaPerSecUSec=t 500000"]),
        // A third of a percent is rounded up; the file says it exactly.
        (
            json!({"cpu": {"quota": 33_333, "period": 100_000}}),
            vec!["CPUQuotaPeriodUSec=t 100000", "CPUQuotaPerSecUSec=t 340000"],
        ),
        (
            json!({"cpu": {"quota": 1000, "period": 1_000_000}}),
            vec!["CPUQuotaPeriodUSec=t 1000000", "CPUQuotaPerSecUSec=t 10000"],
        ),
        (
            json!({"cpu": {"quota": -1, "period": 50_000}}),
            vec!["CPUQuotaPeriodUSec=t 50000", "CPUQuotaPerSecUSec=t infinity"],
        ),
        (json!({"cpu": {"burst": 1000}}), vec![]),
        (
            json!({"cpu": {"cpus": "0,2-3,8", "mems": "0"}}),
            vec!["AllowedCPUs=ay 0d,01", "AllowedMemoryNodes=ay 01"],
        ),
        (json!({"cpu": {"cpus": "0-15"}}), vec!["AllowedCPUs=ay ff,ff"]),
        (json!({"pids": {"limit": 7}}), vec!["TasksMax=t 7"]),
        (json!({"pids": {"limit": -1}}), vec!["TasksMax=t infinity"]),
        (json!({"blockIO": {"weight": 10}}), vec!["IOWeight=t 1"]),
        (
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 1000}]}}),
            vec!["IODeviceWeight=a(st) /dev/block/8:16 10000"],
        ),
        (
            json!({"blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 16, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 4}],
            }}),
            vec![
                "IOReadBandwidthMax=a(st) /dev/block/8:0 100",
                "IOWriteBandwidthMax=a(st) /dev/block/8:0 infinity",
                "IOWriteIOPSMax=a(st) /dev/block/8:0 4",
                "IOReadIOPSMax=a(st) /dev/block/8:16 3",
            ],
        ),
        // systemd knows neither of them.
        (
            json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 9}], "rdma": {"mlx5_1": {"hcaHandles": 3}}}),
            vec![],
        ),
    ]
}

#[test]
fn every_resource_is_the_property_that_systemd_has_for_it() {
    for (resources, wanted) in table() {
        assert_eq!(limits_of(resources.clone(), 252), wanted, "{resources}");
    }
}

#[test]
fn unified_keys_are_properties_where_there_are_any() {
    let cases = [
        ("cpu.idle", "1", vec!["CPUWeight=t 0"]),
        ("cpu.idle", "0", vec!["CPUWeight=t infinity"]),
        ("cpu.max", "max", vec!["CPUQuotaPerSecUSec=t infinity"]),
        ("cpu.max", "20000 40000", vec!["CPUQuotaPeriodUSec=t 40000", "CPUQuotaPerSecUSec=t 500000"]),
        ("cpu.weight", "77", vec!["CPUWeight=t 77"]),
        ("cpuset.cpus", "1", vec!["AllowedCPUs=ay 02"]),
        ("cpuset.mems", "0-1", vec!["AllowedMemoryNodes=ay 03"]),
        ("memory.high", "max", vec!["MemoryHigh=t infinity"]),
        ("memory.low", "0", vec!["MemoryLow=t 0"]),
        ("memory.min", "5", vec!["MemoryMin=t 5"]),
        ("memory.max", "6", vec!["MemoryMax=t 6"]),
        ("memory.swap.max", "0", vec!["MemorySwapMax=t 0"]),
        ("pids.max", "max", vec!["TasksMax=t infinity"]),
        ("io.weight", "default 50", vec!["IOWeight=t 50"]),
        ("io.weight", "8:0 60", vec!["IODeviceWeight=a(st) /dev/block/8:0 60"]),
        ("io.bfq.weight", "60", vec![]),
        ("hugetlb.2MB.max", "1", vec![]),
        ("cgroup.max.depth", "5", vec![]),
    ];
    for (file, value, wanted) in cases {
        let mut unified = serde_json::Map::new();
        unified.insert(file.into(), value.into());
        assert_eq!(limits_of(json!({"unified": unified}), 252), wanted, "{file} {value}");
    }
    // Both are what the configuration says; of the same property systemd takes the last.
    let both = json!({"memory": {"limit": 1000}, "unified": {"memory.max": "2000"}});
    assert_eq!(limits_of(both, 252), ["MemoryMax=t 1000", "MemoryMax=t 2000"]);
}

/// What systemd would refuse is left to the file, which the kernel judges.
#[test]
fn values_that_systemd_refuses_are_no_properties() {
    for (file, value) in [
        ("memory.max", "0"),
        ("memory.max", "1M"),
        ("pids.max", "0"),
        ("cpu.weight", "0"),
        ("cpu.weight", "10001"),
        ("cpu.weight", "max"),
        ("cpu.max", "0"),
        ("cpu.max", "x 1"),
        ("cpu.max", "1000 0"),
        ("cpuset.cpus", "1-"),
        ("cpuset.cpus", "3-1"),
        ("cpuset.cpus", "99999999999"),
        ("cpuset.cpus", "100000"),
        ("io.weight", "0"),
        ("io.weight", "8 50"),
        ("io.weight", "default 1 2"),
        ("io.max", "8:0"),
        ("io.max", "sda rbps=1"),
        ("io.max", "8:0 rbps=0 xbps=1"),
        ("memory.oom.group", "2"),
    ] {
        let mut unified = serde_json::Map::new();
        unified.insert(file.into(), value.into());
        assert_eq!(limits_of(json!({"unified": unified}), 300), [""; 0], "{file} {value}");
    }
}

#[test]
fn an_older_systemd_is_not_asked_for_what_it_does_not_have() {
    let quota = json!({"cpu": {"quota": 50_000, "period": 200_000}});
    assert_eq!(limits_of(quota, 241), ["CPUQuotaPerSecUSec=t 250000"]);
    assert_eq!(limits_of(json!({"cpu": {"cpus": "0", "mems": "0"}}), 243), [""; 0]);
    let idle = json!({"cpu": {"idle": 1, "shares": 1024}});
    assert_eq!(limits_of(idle, 251), ["CPUWeight=t 100"]);
    let group = |value: &str| json!({"unified": {"memory.oom.group": value}});
    assert_eq!(limits_of(group("1"), 252), [""; 0]);
    assert_eq!(limits_of(group("1"), 253), ["OOMPolicy=s kill"]);
    assert_eq!(limits_of(group("0"), 253), ["OOMPolicy=s continue"]);
}

#[test]
fn a_scope_has_what_every_container_gets_then_annotations_then_limits() {
    let spec = spec(json!({
        "annotations": {
            "org.systemd.property.TimeoutStopSec": "5",
            "org.systemd.property.MemoryMax": "uint64 9",
            "other": "nothing",
        },
        "linux": {"cgroupsPath": "a-b.slice:p:n", "resources": {
            "memory": {"limit": 1_048_576},
            "devices": [{"allow": true, "access": "rwm"}],
        }},
    }));
    let plan = plan(&spec, "web", false).unwrap();
    assert_eq!(plan.unit, Unit { name: "p-n.scope".into(), slice: "a-b.slice".into() });
    let limits = crate::plan::cgroup::plan(spec.linux.resources.as_ref()).unwrap();
    assert_eq!(
        shown(&plan.properties(4711, &limits, 252)),
        [
            "Description=s caisson container web",
            "Slice=s a-b.slice",
            "Delegate=b true",
            "PIDs=au 4711",
            "MemoryAccounting=b true",
            "CPUAccounting=b true",
            "IOAccounting=b true",
            "TasksAccounting=b true",
            "DefaultDependencies=b false",
            "CollectMode=s inactive-or-failed",
            "MemoryMax=t 9",
            "TimeoutStopUSec=t 5000000",
            "DevicePolicy=s auto",
            "DeviceAllow=a(ss) ",
            "MemoryMax=t 1048576",
        ]
    );
}

#[test]
fn devices_are_listed_for_systemd() {
    let spec = spec(json!({"linux": {"resources": {"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "r"},
    ]}}}));
    let plan = plan(&spec, "web", true).unwrap();
    assert_eq!(plan.unit.slice, "user.slice");
    let shown = shown(&plan.devices);
    assert_eq!(shown[..2], ["DevicePolicy=s strict", "DeviceAllow=a(ss) "]);
    assert!(
        shown[2].starts_with("DeviceAllow=a(ss) /dev/block/8:0 rm,block-* m,char-* m,/dev/char/1:3 rwm,"),
        "{shown:?}"
    );
    assert_eq!(shown.len(), 3);
}

#[test]
fn annotations_are_properties_with_their_types() {
    let properties = |name: &str, text: &str| {
        let key = format!("org.systemd.property.{name}");
        let mut annotations = serde_json::Map::new();
        annotations.insert(key, text.into());
        plan(&spec(json!({"annotations": annotations})), "web", false).map(|plan| shown(&plan.annotations))
    };
    for (name, text, wanted) in [
        ("CollectMode", "'inactive-or-failed'", "CollectMode=s inactive-or-failed"),
        ("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec=t 123456789"),
        ("TimeoutStopSec", "uint64 2", "TimeoutStopUSec=t 2000000"),
        ("TimeoutStopSec", "1.5", "TimeoutStopUSec=t 1500000"),
        ("TimeoutStopSec", "byte 7", "TimeoutStopUSec=t 7000000"),
        ("TimeoutStopSec", "int16 7", "TimeoutStopUSec=t 7000000"),
        ("TimeoutStopSec", "uint16 7", "TimeoutStopUSec=t 7000000"),
        ("TimeoutStopSec", "uint32 7", "TimeoutStopUSec=t 7000000"),
        ("TimeoutStopSec", "int64 7", "TimeoutStopUSec=t 7000000"),
        // Not a time: no small letter before it.
        ("FOOSec", "true", "FOOSec=b true"),
        ("After", "['a.service', 'b.service']", "After=as a.service,b.service"),
        ("IOReadIOPSMax", "@a(st) [('/dev/sda', 5)]", "IOReadIOPSMax=a(st) /dev/sda 5"),
    ] {
        assert_eq!(properties(name, text).unwrap(), [wanted], "{name}={text}");
    }
    for (name, text, why) in [
        ("", "1", "the name of a property has letters only, and at least three"),
        ("ab", "1", "the name of a property has letters only, and at least three"),
        ("Memory.Max", "1", "the name of a property has letters only, and at least three"),
        ("MemoryMax", "uint64", "\"uint64\": the value is missing"),
        ("TimeoutStopSec", "'5'", "\"'5'\": a time in seconds is a number from 0 on"),
        ("TimeoutStopSec", "-5", "\"-5\": a time in seconds is a number from 0 on"),
        (
            "TimeoutStopSec",
            "uint64 18446744073709551615",
            "\"uint64 18446744073709551615\": a time in seconds is a number from 0 on",
        ),
    ] {
        let error = properties(name, text).unwrap_err();
        assert_eq!(error.kind(), Kind::Spec);
        assert_eq!(error.to_string(), format!("annotations[\"org.systemd.property.{name}\"]: {why}"));
    }
}
