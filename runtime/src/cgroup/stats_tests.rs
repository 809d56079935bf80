use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

/// A plain folder in a cgroup's place.
struct Fake(PathBuf);

impl Fake {
    fn new(test: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("caisson-stats-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        files.iter().for_each(|(name, text)| fs::write(path.join(name), text).unwrap());
        Self(path)
    }

    fn stats(&self) -> Value {
        let record = super::super::Record { mount: "/nowhere".into(), path: "web".into(), created: 1 };
        let fd = fs::File::open(&self.0).unwrap().into();
        let stats = Cgroup { fd, path: "/nowhere/web".into(), record }.stats().unwrap();
        serde_json::to_value(stats).unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn cpuset() -> Value {
    json!({"cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
        "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0, "sched_load_balance": 0,
        "sched_relax_domain_level": 0})
}

/// The keys are those that runc 1.1.5 prints on cgroup v2 without controllers.
#[test]
fn without_controllers_there_are_the_keys_and_little_else() {
    let fake = Fake::new(
        "bare",
        &[("cpu.stat", "usage_usec 9281\nuser_usec 9281\nsystem_usec 0\n"), ("cgroup.procs", "12\n13\n")],
    );
    let none = json!({"limit": 0, "failcnt": 0});
    assert_eq!(
        fake.stats(),
        json!({
            "cpu": {"usage": {"total": 9_281_000, "kernel": 0, "user": 9_281_000}, "throttling": {}},
            "cpuset": cpuset(),
            "memory": {"usage": none, "swap": none, "kernel": none, "kernelTCP": none},
            "pids": {"current": 2}, "blkio": {}, "hugetlb": {},
        })
    );
}

#[test]
fn every_controller_has_its_place() {
    let pressure =
        "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
    let fake = Fake::new(
        "full",
        &[
            (
                "cpu.stat",
                "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnice_usec 1\nnr_periods 9\nnr_throttled 8\nthrottled_usec 6\n",
            ),
            ("cpu.pressure", pressure),
            ("memory.current", "4096\n"),
            ("memory.max", "8192\n"),
            ("memory.peak", "6144\n"),
            ("memory.swap.current", "100\n"),
            ("memory.swap.max", "200\n"),
            ("memory.swap.peak", "150\n"),
            ("memory.stat", "anon 11\nfile 22\nworkingset_refault_anon 0\n"),
            ("memory.pressure", pressure),
            ("pids.current", "3\n"),
            ("pids.max", "10\n"),
            (
                "io.stat",
                "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n253:0 rbytes=0 wbytes=9 rios=0 wios=1\n7:0\n",
            ),
            ("io.pressure", pressure),
            ("hugetlb.2MB.current", "2097152\n"),
            ("hugetlb.2MB.rsvd.current", "1\n"),
            ("hugetlb.2MB.events", "max 4\n"),
            ("hugetlb.1GB.current", "0\n"),
            ("hugetlb.1GB.events", "max 0\n"),
        ],
    );
    let psi = json!({"some": {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 77},
        "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 5}});
    let none = json!({"limit": 0, "failcnt": 0});
    assert_eq!(
        fake.stats(),
        json!({
            "cpu": {
                "usage": {"total": 7000, "kernel": 3000, "user": 4000},
                "throttling": {"periods": 9, "throttledPeriods": 8, "throttledTime": 6000},
                "psi": psi,
            },
            "cpuset": cpuset(),
            "memory": {
                "cache": 22,
                "usage": {"limit": 8192, "usage": 4096, "max": 6144, "failcnt": 0},
                "swap": {"limit": 8392, "usage": 4196, "failcnt": 0},
                "kernel": none, "kernelTCP": none,
                "raw": {"anon": 11, "file": 22, "workingset_refault_anon": 0},
                "psi": psi,
            },
            "pids": {"current": 3, "limit": 10},
            "blkio": {
                "ioServiceBytesRecursive": [
                    {"major": 8, "minor": 16, "op": "Read", "value": 1},
                    {"major": 8, "minor": 16, "op": "Write", "value": 2},
                    {"major": 253, "op": "Read"},
                    {"major": 253, "op": "Write", "value": 9},
                ],
                "ioServicedRecursive": [
                    {"major": 8, "minor": 16, "op": "Read", "value": 3},
                    {"major": 8, "minor": 16, "op": "Write", "value": 4},
                    {"major": 253, "op": "Read"},
                    {"major": 253, "op": "Write", "value": 1},
                ],
                "psi": psi,
            },
            "hugetlb": {"1GB": {"failcnt": 0}, "2MB": {"usage": 2_097_152, "failcnt": 4}},
        })
    );
}

#[test]
fn no_limit_is_the_largest_number_and_stays_it_with_swap() {
    let fake = Fake::new(
        "max",
        &[
            ("memory.current", "1\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "0\n"),
            ("memory.swap.max", "100\n"),
            ("pids.current", "1\n"),
            ("pids.max", "max\n"),
        ],
    );
    let stats = fake.stats();
    assert_eq!(stats["memory"]["usage"]["limit"], json!(u64::MAX));
    assert_eq!(stats["memory"]["swap"], json!({"limit": u64::MAX, "usage": 1, "failcnt": 0}));
    assert_eq!(stats["pids"], json!({"current": 1}));
}

#[test]
fn what_is_no_number_is_named() {
    let fake = Fake::new("odd", &[("memory.current", "lots\n")]);
    let folder = fs::File::open(&fake.0).unwrap();
    let error = Memory::read(folder.as_fd()).unwrap_err().to_string();
    assert_eq!(error, "\"memory.current\" holds no number: \"lots\"");
}
