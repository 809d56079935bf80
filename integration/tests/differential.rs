//! The same resources through this runtime, runc and crun: what then stands in the files of the three cgroups is
//! the same, but for the deviations that docs/conformance.md lists with their reasons.
//!
//! The list is about the runc and crun of Debian trixie, which are in the machine of `make test-vm
//! FLAVOUR=systemd`. Each deviation has to be there still: one that is gone goes from the list.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use integration::{
    Bundle, Call, Container, Controllers, Flavour, Scratch, Value, cgroup2_mount, flavour, has_controller,
    json, requires, runtime_under_test,
};

/// The other runtimes, and the versions that the list is about.
const PEERS: [(&str, &str); 2] = [("runc", "runc version 1.1.15"), ("crun", "crun version 1.21")];

const CONTROLLERS: [&str; 8] = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"];

/// What stands for a container that was refused, in the place of a file.
const REFUSED: &str = "(container)";

/// A difference: runtime, configuration, file, what this runtime makes of it, what the other one does.
type Deviation = [String; 5];

/// The table in the document: `| runtimes | configuration | file | ours | theirs | reason |`.
fn listed() -> BTreeSet<Deviation> {
    let document = include_str!("../../docs/conformance.md");
    let (_, table) = document.split_once("| runtime | configuration | file |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        assert!(cells.len() == 6 && !cells[5].is_empty(), "{row}");
        for runtime in cells[0].split(", ") {
            let words = [runtime, cells[1], cells[2], cells[3], cells[4]];
            listed.insert(words.map(str::to_owned));
        }
    }
    listed
}

/// Configurations of `linux.resources` by name; `disk` is a block device as `major:minor`.
fn configurations((major, minor): (u64, u64)) -> Vec<(&'static str, Value)> {
    let mib = |count: u64| count << 20;
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    vec![
        ("nothing", json!({})),
        ("memory", json!({"memory": {"limit": mib(64)}})),
        ("memory, swap", json!({"memory": {"limit": mib(64), "swap": mib(96)}})),
        ("memory, no swap", json!({"memory": {"limit": mib(64), "swap": mib(64)}})),
        ("memory, swap unlimited", json!({"memory": {"limit": mib(64), "swap": -1}})),
        ("memory unlimited", json!({"memory": {"limit": -1}})),
        ("memory, odd number", json!({"memory": {"limit": mib(64) + 1}})),
        ("reservation", json!({"memory": {"reservation": mib(16)}})),
        ("memory, reservation", json!({"memory": {"limit": mib(64), "reservation": mib(16)}})),
        ("kernel memory", json!({"memory": {"limit": mib(64), "kernel": mib(16), "kernelTCP": mib(8)}})),
        ("shares 1024", json!({"cpu": {"shares": 1024}})),
        ("shares 2", json!({"cpu": {"shares": 2}})),
        ("shares 512", json!({"cpu": {"shares": 512}})),
        ("shares 262144", json!({"cpu": {"shares": 262_144}})),
        ("quota, period", json!({"cpu": {"quota": 20_000, "period": 50_000}})),
        ("quota", json!({"cpu": {"quota": 20_000}})),
        ("quota unlimited", json!({"cpu": {"quota": -1, "period": 50_000}})),
        ("period", json!({"cpu": {"period": 50_000}})),
        ("burst", json!({"cpu": {"quota": 20_000, "period": 50_000, "burst": 10_000}})),
        ("idle", json!({"cpu": {"idle": 1}})),
        ("processor", json!({"cpu": {"cpus": "0"}})),
        ("processors, memory nodes", json!({"cpu": {"cpus": "0-1", "mems": "0"}})),
        ("pids", json!({"pids": {"limit": 77}})),
        ("pids unlimited", json!({"pids": {"limit": -1}})),
        ("pids 0", json!({"pids": {"limit": 0}})),
        ("weight of disks", json!({"blockIO": {"weight": 100}})),
        ("rate of writes", json!({"blockIO": {"throttleWriteBpsDevice": rate(1_048_576)}})),
        (
            "all rates",
            json!({"blockIO": {
                "throttleReadBpsDevice": rate(2_097_152), "throttleWriteBpsDevice": rate(1_048_576),
                "throttleReadIOPSDevice": rate(200), "throttleWriteIOPSDevice": rate(100),
            }}),
        ),
        ("huge pages", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": mib(4)}]})),
        ("unified memory", json!({"unified": {"memory.high": "50331648", "memory.min": "1048576"}})),
        ("unified over pids", json!({"pids": {"limit": 77}, "unified": {"pids.max": "99"}})),
        ("unified io.max", json!({"unified": {"io.max": format!("{major}:{minor} rbps=4194304 wiops=50")}})),
        ("unified oom group", json!({"unified": {"memory.oom.group": "1"}})),
        (
            "as Docker has it",
            json!({
                "memory": {"limit": mib(128), "swap": mib(256), "reservation": mib(64)},
                "cpu": {"shares": 512, "quota": 150_000, "period": 100_000, "cpus": "0-1"},
                "pids": {"limit": 200}, "blockIO": {"weight": 500},
            }),
        ),
        (
            "zeroes",
            json!({
                "memory": {"limit": 0, "swap": 0, "reservation": 0},
                "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
                "blockIO": {"weight": 0},
            }),
        ),
    ]
}

/// A cgroup that passes every controller on, so that all have the same files; removed when the value goes.
struct Level {
    path: PathBuf,
    name: String,
    _scratch: Scratch,
}

impl Level {
    fn new() -> Level {
        let scratch = Scratch::new();
        let name = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
        let root = cgroup2_mount().unwrap();
        let level = Level { path: root.join(&name), name, _scratch: scratch };
        fs::create_dir(&level.path).unwrap();
        for folder in [&root, &level.path] {
            for controller in CONTROLLERS.iter().filter(|name| has_controller(name)) {
                fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
            }
        }
        level
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.path);
        assert!(removed.is_ok() || std::thread::panicking(), "{}: {removed:?}", self.path.display());
    }
}

/// Whether a file says what was asked for, and not what happens.
fn is_setting(name: &str) -> bool {
    let counters =
        [".current", ".stat", ".stat.local", ".events", ".events.local", ".pressure", ".peak", ".numa_stat"];
    !counters.iter().any(|end| name.ends_with(end))
        // Another view of cpu.weight; and what is only written to.
        && !matches!(name, "cgroup.procs" | "cgroup.threads" | "cgroup.kill" | "cpu.weight.nice" | "memory.reclaim")
}

fn settings(folder: &Path) -> BTreeMap<String, String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = names.filter(|entry| entry.file_type().unwrap().is_file());
    let names = files.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| is_setting(name));
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default().trim_end().to_owned();
    names.map(|name| (name.clone(), text(&name))).collect()
}

/// What a runtime makes of these resources: the files of the container's cgroup.
fn made_by(
    runtime: &Path,
    resources: &Value,
    level: &Level,
    container: &Container,
) -> BTreeMap<String, String> {
    let mut config = container.bundle().config().clone();
    config.set("/linux/resources", resources.clone());
    config.set("/linux/cgroupsPath", json!(format!("/{}/one", level.name)));
    let bundle = container.bundle().path();
    fs::write(bundle.join("config.json"), config.0.to_string()).unwrap();
    let root = container.bundle().scratch_file("differential");
    let call = |args: &[&str]| Call::of(runtime).args(["--root", &root]).args(args);
    let create = call(&["create", "--bundle", bundle.to_str().unwrap(), container.id()]);
    let created = create.output_in(container.bundle().scratch()).output();
    let files = match created.status.success() {
        true => settings(&level.path.join("one")),
        false => BTreeMap::from([(REFUSED.to_owned(), "refused".to_owned())]),
    };
    call(&["delete", "--force", container.id()]).output();
    integration::wait_for("the end of its cgroup", || {
        let _ = fs::remove_dir(level.path.join("one"));
        (!level.path.join("one").exists()).then_some(())
    });
    files
}

/// What is not the same; of a container that only one of them refused, that alone.
fn differences(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> Vec<[String; 3]> {
    if ours.contains_key(REFUSED) != theirs.contains_key(REFUSED) {
        let word =
            |files: &BTreeMap<String, String>| files.get(REFUSED).map_or("made", String::as_str).to_owned();
        return vec![[REFUSED.to_owned(), word(ours), word(theirs)]];
    }
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let text = |files: &BTreeMap<String, String>, name: &str| {
        files.get(name).map_or("(no file)", String::as_str).replace('\n', "; ")
    };
    // The weight of what is idle: kernels differ in what they show.
    let idle = [ours, theirs].iter().any(|files| files.get("cpu.idle").is_some_and(|idle| idle == "1"));
    let differing = names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name));
    let differing = differing.filter(|name| !(idle && *name == "cpu.weight"));
    differing.map(|name| [name.clone(), text(ours, name), text(theirs, name)]).collect()
}

fn found(program: &str, version: &str) -> Option<PathBuf> {
    let path = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(program));
    let path = path.into_iter().find(|path| path.is_file())?;
    let output = Call::of(&path).args(["--version"]).output();
    output.stdout.starts_with(version).then_some(path)
}

#[test]
fn the_files_of_the_cgroup_are_those_of_runc_and_crun() {
    requires!(flavour() == Flavour::Ours, "the comparison is with this runtime");
    for (program, version) in PEERS {
        requires!(found(program, version).is_some(), "no {version}");
    }
    for controller in ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"] {
        requires!(has_controller(controller), "no controller {controller} on cgroup v2");
    }
    let Some(disk) = std::env::var_os("CAISSON_TEST_DISK") else {
        integration::skip!("no CAISSON_TEST_DISK")
    };
    let disk = fs::metadata(disk).unwrap().rdev();
    let disk = (nix::sys::stat::major(disk), nix::sys::stat::minor(disk));
    let _controllers = Controllers::keep();
    let level = Level::new();
    let container = Bundle::new().container();
    let configurations = configurations(disk);
    assert!(configurations.len() >= 30);
    let mut seen: BTreeSet<Deviation> = BTreeSet::new();
    for (name, resources) in configurations {
        let ours = made_by(runtime_under_test(), &resources, &level, &container);
        for (program, version) in PEERS {
            let theirs = made_by(&found(program, version).unwrap(), &resources, &level, &container);
            for [file, ours, theirs] in differences(&ours, &theirs) {
                seen.insert([program.to_owned(), name.to_owned(), file, ours, theirs]);
            }
        }
    }
    let listed = listed();
    let unlisted: Vec<_> = seen.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&seen).collect();
    assert!(unlisted.is_empty() && gone.is_empty(), "not listed: {unlisted:#?}\ngone: {gone:#?}");
}
