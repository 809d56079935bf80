//! systemd's driver: `--systemd-cgroup` puts a container into a transient scope (org.freedesktop.systemd1(5),
//! systemd.scope(5); runc, docs/systemd.md, for the names that engines rely on).
//!
//! Needs systemd as init and pure cgroup v2: see `make test-vm` (its machine `systemd`). Units are looked at with
//! systemctl(1), which asks systemd itself.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::{Path, PathBuf};

use integration::{
    Bundle, Call, Container, Flavour, Output, Scratch, Value, flavour, json, known_gap, requires, wait_for,
};

const NO_SYSTEMD: &str = "systemd is not init here, or cgroups are not all v2";
const HIERARCHY: &str = "/sys/fs/cgroup";

fn has_systemd() -> bool {
    Path::new("/run/systemd/private").exists() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A name that no other test has.
fn name(bundle: &Bundle) -> String {
    bundle.scratch().file_name().unwrap().to_str().unwrap().to_owned()
}

/// A container that sleeps, whose cgroup systemd makes; `path` is its cgroupsPath, with the test's name for `N`.
struct Scoped {
    container: Container,
    name: String,
}

impl Scoped {
    fn new(bundle: Bundle, path: &str) -> Scoped {
        let name = name(&bundle);
        let bundle = bundle.set("/linux/cgroupsPath", json!(path.replace('N', &name)));
        let container = bundle.container().with_globals(&["--systemd-cgroup"]);
        Scoped { container, name }
    }

    #[track_caller]
    fn running(bundle: Bundle, path: &str) -> Scoped {
        // One process and no more: some limits leave no room for another.
        let scoped = Scoped::new(bundle.sh("exec sleep 600"), path);
        scoped.container.run_detached().expect_ok();
        scoped
    }

    /// `p-NAME.scope`.
    fn unit(&self) -> String {
        format!("p-{}.scope", self.name)
    }

    #[track_caller]
    fn property(&self, property: &str) -> String {
        property_of(&self.unit(), property)
    }

    #[track_caller]
    fn file(&self, name: &str) -> String {
        self.container.init().cgroup_file(name).trim_end().to_owned()
    }
}

#[track_caller]
fn systemctl(args: &[&str]) -> Output {
    Call::of("systemctl").args(args).output()
}

#[track_caller]
fn property_of(unit: &str, property: &str) -> String {
    systemctl(&["show", "--value", "-p", property, unit]).expect_ok().stdout.trim_end().to_owned()
}

/// Waits until systemd knows no unit of that name and its cgroup is gone.
#[track_caller]
fn wait_gone(unit: &str, folder: &Path) {
    wait_for(&format!("{unit} to be gone"), || {
        (property_of(unit, "LoadState") == "not-found" && !folder.exists()).then_some(())
    });
}

#[test]
fn without_a_path_the_scope_has_the_name_that_runc_gives_it() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Crun, "its scopes are named crun-ID.scope");
    let bundle = Bundle::new().sleeping();
    let container = bundle.container().with_globals(&["--systemd-cgroup"]);
    container.run_detached().expect_ok();
    let unit = format!("runc-{}.scope", container.id());
    assert_eq!(container.init().cgroup(), format!("/system.slice/{unit}"));
    let folder = container.init().cgroup_folder();
    for (property, wanted) in [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("Transient", "yes"),
        ("MemoryAccounting", "yes"),
        ("TasksAccounting", "yes"),
    ] {
        assert_eq!(property_of(&unit, property), wanted, "{property}");
    }
    container.delete_force().expect_ok();
    wait_gone(&unit, &folder);
}

#[test]
fn the_scope_lies_in_the_slice_of_the_path_and_the_slices_above() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Crun, "it makes a cgroup inside the scope, and 1.8 wants a slice");
    // A name without a dash: each dash is a slice of its own.
    let plain = name(&Bundle::new()).replace('-', "_");
    let slice = format!("{plain}-a-b.slice");
    let scoped = Scoped::running(Bundle::new(), &format!("{slice}:p:N"));
    let folder = format!("/{plain}.slice/{plain}-a.slice/{slice}/{}", scoped.unit());
    assert_eq!(scoped.container.init().cgroup(), folder);
    let root = Scoped::running(Bundle::new(), "-.slice:p:N");
    assert_eq!(root.container.init().cgroup(), format!("/{}", root.unit()));
    let usual = Scoped::running(Bundle::new(), ":p:N");
    assert_eq!(usual.container.init().cgroup(), format!("/system.slice/{}", usual.unit()));
    for scoped in [scoped, root, usual] {
        let folder = scoped.container.init().cgroup_folder();
        scoped.container.delete_force().expect_ok();
        wait_gone(&scoped.unit(), &folder);
    }
    // systemd lets go of slices that nobody is in; they are started by name only here.
    systemctl(&["stop", &format!("{plain}.slice")]).expect_ok();
}

#[test]
fn a_path_of_another_form_is_refused() {
    known_gap!(Crun, "it takes any path");
    for path in ["/a/b", "a.slice:b", "a.slice:b:c:d"] {
        let container = Bundle::new()
            .set("/linux/cgroupsPath", json!(path))
            .container()
            .with_globals(&["--systemd-cgroup"]);
        container.create().expect_fail().expect_stderr("expected cgroupsPath to be of format");
        container.state_output().expect_fail();
    }
}

#[test]
fn without_systemd_the_flag_is_an_error_that_says_so() {
    requires!(!Path::new("/run/systemd/private").exists(), "systemd is here");
    known_gap!(Runc, Crun, "they say it in other words");
    let container = Bundle::new().container().with_globals(&["--systemd-cgroup"]);
    container.create().expect_fail().expect_stderr("--systemd-cgroup: systemd does not run here: ");
    container.state_output().expect_fail();
}

/// (resources, properties, files)
#[allow(clippy::type_complexity)] // a table
fn limits() -> Vec<(Value, Vec<(&'static str, &'static str)>, Vec<(&'static str, &'static str)>)> {
    vec![
        (
            json!({"memory": {"limit": 104_857_600, "reservation": 52_428_800, "swap": 209_715_200}}),
            vec![("MemoryMax", "104857600"), ("MemoryLow", "52428800"), ("MemorySwapMax", "104857600")],
            vec![("memory.max", "104857600"), ("memory.low", "52428800"), ("memory.swap.max", "104857600")],
        ),
        // systemd counts in whole percent; the file is exact.
        (
            json!({"cpu": {"shares": 1024, "quota": 33_333, "period": 100_000, "cpus": "0", "mems": "0"}}),
            vec![
                ("CPUWeight", "100"),
                ("CPUQuotaPerSecUSec", "340ms"),
                ("CPUQuotaPeriodUSec", "100ms"),
                ("AllowedCPUs", "0"),
                ("AllowedMemoryNodes", "0"),
            ],
            vec![
                ("cpu.weight", "100"),
                ("cpu.max", "33333 100000"),
                ("cpuset.cpus", "0"),
                ("cpuset.mems", "0"),
            ],
        ),
        (json!({"cpu": {"idle": 1}}), vec![("CPUWeight", "idle")], vec![("cpu.idle", "1")]),
        (json!({"pids": {"limit": 1}}), vec![("TasksMax", "1")], vec![("pids.max", "1")]),
        (json!({"pids": {"limit": -1}}), vec![("TasksMax", "infinity")], vec![("pids.max", "max")]),
        (
            json!({"unified": {"memory.high": "80000000", "memory.min": "4096", "pids.max": "9"}}),
            vec![("MemoryHigh", "80000000"), ("MemoryMin", "4096"), ("TasksMax", "9")],
            // The kernel keeps whole pages.
            vec![("memory.high", "79998976"), ("memory.min", "4096"), ("pids.max", "9")],
        ),
        // Nothing that systemd knows.
        (
            json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 2_097_152}],
                "unified": {"cgroup.max.depth": "3"}}),
            vec![],
            vec![("hugetlb.2MB.max", "2097152"), ("cgroup.max.depth", "3")],
        ),
    ]
}

#[test]
fn limits_are_properties_of_the_scope_and_stand_in_its_files() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, Crun, "they convert shares by an older curve, or know fewer properties");
    for (resources, properties, files) in limits() {
        let scoped =
            Scoped::running(Bundle::new().set("/linux/resources", resources.clone()), "system.slice:p:N");
        for (property, wanted) in properties {
            assert_eq!(scoped.property(property), wanted, "{property} of {resources}");
        }
        for (file, wanted) in files {
            assert_eq!(scoped.file(file), wanted, "{file} of {resources}");
        }
        scoped.container.delete_force().expect_ok();
    }
}

/// Block devices have a name to systemd where udev gave them one; the kernel needs none.
#[test]
fn limits_of_block_devices_are_properties_and_files() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, Crun, "they tell systemd nothing of them");
    let disk = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
    let disk = disk.filter(|path| path.join("device").exists()).min();
    let Some(disk) = disk else { integration::skip!("no disk here") };
    let number = fs::read_to_string(disk.join("dev")).unwrap().trim().to_owned();
    let (major, minor) = number.split_once(':').unwrap();
    let (major, minor): (i64, i64) = (major.parse().unwrap(), minor.parse().unwrap());
    let device = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let limits = json!({"weight": 500, "throttleReadBpsDevice": device(1 << 20),
        "throttleWriteIOPSDevice": device(77)});
    let scoped = Scoped::running(Bundle::new().set("/linux/resources/blockIO", limits), "system.slice:p:N");
    assert_eq!(scoped.property("IOWeight"), "4950");
    assert_eq!(scoped.property("IOReadBandwidthMax"), format!("/dev/block/{number} 1048576"));
    assert_eq!(scoped.property("IOWriteIOPSMax"), format!("/dev/block/{number} 77"));
    assert_eq!(scoped.file("io.max"), format!("{number} rbps=1048576 wbps=max riops=max wiops=77"));
}

#[test]
fn devices_are_allowed_by_systemd_and_denied_by_the_rules() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    let deny = json!({"allow": false, "access": "rwm"});
    let kmsg = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"});
    let with = |rules: Value| {
        let script = "mknod /dev/k c 1 11; (: </dev/k) && echo read; (: >/dev/k) && echo written; : >/dev/null && echo null";
        let bundle = Bundle::new()
            .set("/linux/resources/devices", rules)
            .capabilities(&["CAP_MKNOD", "CAP_SYSLOG"])
            .sh(script);
        Scoped::new(bundle, "system.slice:p:N").container.run().expect_ok().stdout
    };
    assert_eq!(with(json!([{"allow": true, "access": "rwm"}])), "read\nwritten\nnull\n");
    assert_eq!(with(json!([deny, kmsg])), "read\nnull\n");
    assert_eq!(with(json!([deny])), "null\n");

    let rules = json!([deny, {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rw"}]);
    let scoped = Scoped::running(Bundle::new().set("/linux/resources/devices", rules), "system.slice:p:N");
    if flavour() != Flavour::Crun {
        assert_eq!(scoped.property("DevicePolicy"), "strict"); // crun tells systemd nothing of devices
    }
    if flavour() == Flavour::Ours {
        let allowed = scoped.property("DeviceAllow");
        for entry in ["/dev/char/10:200 rwm", "/dev/char/1:3 rwm", "char-136 rwm", "char-* m", "block-* m"] {
            assert!(allowed.lines().any(|line| line == entry), "{entry} in {allowed}");
        }
    }
}

#[test]
fn annotations_are_properties() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Crun, "1.8 does not turn seconds into microseconds");
    let bundle = Bundle::new()
        .set("/annotations/org.systemd.property.TimeoutStopUSec", json!("uint64 123456789"))
        .set("/annotations/org.systemd.property.CollectMode", json!("'inactive'"))
        .set("/annotations/org.systemd.property.RuntimeMaxSec", json!("600"));
    let scoped = Scoped::running(bundle, "system.slice:p:N");
    assert_eq!(scoped.property("TimeoutStopUSec"), "2min 3.456789s");
    assert_eq!(scoped.property("CollectMode"), "inactive");
    assert_eq!(scoped.property("RuntimeMaxUSec"), "10min");
}

#[test]
fn a_property_that_systemd_refuses_leaves_nothing() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, Crun, "they say it in other words");
    let bundle = Bundle::new().set("/annotations/org.systemd.property.NoSuchThing", json!("true"));
    let scoped = Scoped::new(bundle, "system.slice:p:N");
    let unit = scoped.unit();
    let refused = scoped.container.create().expect_fail();
    let refused = refused.expect_stderr(&format!("systemd: StartTransientUnit({unit:?}): "));
    refused.expect_stderr("NoSuchThing");
    scoped.container.state_output().expect_fail();
    assert_eq!(scoped.property("LoadState"), "not-found");

    let bundle = Bundle::new().set("/annotations/org.systemd.property.MemoryMax", json!("lots"));
    let scoped = Scoped::new(bundle, "system.slice:p:N");
    let failed = scoped.container.create().expect_fail();
    failed.expect_stderr(
        "annotations[\"org.systemd.property.MemoryMax\"]: \"lots\": \"lots\" is neither a value nor a type",
    );
}

/// A unit file of the test's own, below /run, until the end of the test.
struct UnitFile(PathBuf);

impl UnitFile {
    fn new(name: &str, text: &str) -> UnitFile {
        let path = Path::new("/run/systemd/system").join(name);
        fs::write(&path, text).unwrap();
        systemctl(&["daemon-reload"]).expect_ok();
        UnitFile(path)
    }
}

impl Drop for UnitFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
        let name = self.0.file_name().unwrap().to_str().unwrap();
        systemctl(&["reset-failed", name]);
        systemctl(&["daemon-reload"]);
    }
}

#[test]
fn a_job_that_fails_says_how_and_leaves_nothing() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, Crun, "they say it in other words");
    let bundle = Bundle::new();
    let needed = format!("{}.service", name(&bundle));
    let _file = UnitFile::new(&needed, "[Service]\nType=oneshot\nExecStart=/bin/false\n");
    let list = json!(format!("['{needed}']"));
    let bundle = bundle
        .set("/annotations/org.systemd.property.Requires", list.clone())
        .set("/annotations/org.systemd.property.After", list);
    let scoped = Scoped::new(bundle, "system.slice:p:N");
    let unit = scoped.unit();
    let wanted = format!(
        "systemd did not start {unit:?}: result \"dependency\", a unit that it depends on failed, such as its slice"
    );
    scoped.container.create().expect_fail().expect_stderr(&wanted);
    scoped.container.state_output().expect_fail();
    let folder = Path::new(HIERARCHY).join("system.slice").join(&unit);
    wait_gone(&unit, &folder);
}

#[test]
fn a_unit_of_that_name_stays_as_it_is() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, Crun, "they say it in other words");
    let other = Scoped::running(Bundle::new(), "system.slice:p:N");
    let scoped = Scoped::new(Bundle::new(), &format!(":p:{}", other.name));
    let unit = other.unit();
    let wanted = format!("systemd has a unit {unit:?} already; give another linux.cgroupsPath");
    scoped.container.create().expect_fail().expect_stderr(&wanted);
    scoped.container.state_output().expect_fail();
    assert_eq!(other.property("ActiveState"), "active");
    assert_eq!(other.container.status(), "running");
}

#[test]
fn a_failed_unit_of_that_name_is_cleaned_up() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, "runc 1.1 starts nothing and says nothing");
    let scoped = Scoped::new(Bundle::new().sleeping(), "system.slice:p:N");
    let unit = scoped.unit();
    // A scope that outstays its time fails, and stays until somebody takes note of it.
    let mut leftover = Call::of("systemd-run")
        .args(["--scope", "--quiet", "--property=RuntimeMaxSec=1", &format!("--unit={unit}"), "sleep", "600"])
        .spawn();
    wait_for("the scope to fail", || (scoped.property("ActiveState") == "failed").then_some(()));
    assert!(!leftover.is_running() || !leftover.wait().status.success());
    scoped.container.run_detached().expect_ok();
    assert_eq!(scoped.property("ActiveState"), "active");
}

#[test]
fn a_scope_that_ran_out_of_memory_leaves_no_failed_unit() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, Crun, "a failed scope stays until delete");
    let bundle = Bundle::new()
        .set("/linux/resources/memory", json!({"limit": 16 << 20, "swap": 16 << 20}))
        .sh("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    let scoped = Scoped::new(bundle, "system.slice:p:N");
    scoped.container.run_detached().expect_ok();
    scoped.container.wait_status("stopped");
    wait_gone(&scoped.unit(), &Path::new(HIERARCHY).join("system.slice").join(scoped.unit()));
    scoped.container.delete().expect_ok();
}

#[test]
fn later_commands_need_no_flag() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    let scoped = Scoped::new(Bundle::new().sleeping(), "system.slice:p:N");
    let container = &scoped.container;
    container.create().expect_ok();
    let folder = container.init().cgroup_folder();
    let plain = |command: &str, rest: &[&str]| {
        Call::runtime()
            .args(["--root".as_ref(), container.state_root().as_os_str()])
            .args([command])
            .args(rest)
            .args([container.id()])
            .output()
    };
    plain("start", &[]).expect_ok();
    assert_eq!(plain("state", &[]).expect_ok().json()["status"], "running");
    // Frozen by somebody, it is paused, and still deleted by force.
    fs::write(folder.join("cgroup.freeze"), "1").unwrap();
    wait_for("paused", || (plain("state", &[]).json()["status"] == "paused").then_some(()));
    plain("delete", &["--force"]).expect_ok();
    wait_gone(&scoped.unit(), &folder);
}

#[test]
fn an_update_is_told_to_systemd_and_outlives_its_reload() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, Crun, "they lose the exact quota when systemd reloads, or tell it less");
    let limits = json!({"memory": {"limit": 104_857_600}, "cpu": {"shares": 1024}, "pids": {"limit": 20}});
    let scoped = Scoped::running(Bundle::new().set("/linux/resources", limits), "system.slice:p:N");
    let change = json!({"memory": {"limit": 209_715_200}, "cpu": {"quota": 33_333, "period": 100_000, "idle": 1},
        "pids": {"limit": 21}});
    let update = |change: &Value| {
        // Without --systemd-cgroup: the record knows.
        Call::runtime()
            .args(["--root".as_ref(), scoped.container.state_root().as_os_str()])
            .args(["update", "--resources", "-", scoped.container.id()])
            .stdin_bytes(change.to_string())
            .output()
    };
    update(&change).expect_ok();
    let properties = |idle| {
        [("MemoryMax", "209715200"), ("CPUQuotaPerSecUSec", "340ms"), ("TasksMax", "21"), ("CPUWeight", idle)]
    };
    let check = |idle, cpu_idle| {
        for (property, wanted) in properties(idle) {
            assert_eq!(scoped.property(property), wanted, "{property}");
        }
        for (file, wanted) in [("memory.max", "209715200"), ("pids.max", "21"), ("cpu.idle", cpu_idle)] {
            assert_eq!(scoped.file(file), wanted, "{file}");
        }
    };
    check("idle", "1");
    assert_eq!(scoped.file("cpu.max"), "33333 100000");
    systemctl(&["daemon-reload"]).expect_ok();
    check("idle", "1");
    update(&json!({"cpu": {"idle": 0}})).expect_ok();
    check("100", "0");
    // All or nothing: what the kernel refuses is undone in systemd's mind too.
    let refused = json!({"pids": {"limit": 30}, "unified": {"memory.high": "no number"}});
    update(&refused).expect_fail();
    check("100", "0");
    systemctl(&["daemon-reload"]).expect_ok();
    check("100", "0");
}

#[test]
fn processes_that_init_leaves_behind_go_with_the_scope() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    let bundle = Bundle::new().remove_namespace("pid").sh("sleep 600 & sleep 600 & exec sleep 600");
    let scoped = Scoped::new(bundle, "system.slice:p:N");
    scoped.container.run_detached().expect_ok();
    let folder = scoped.container.init().cgroup_folder();
    let members = || fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines().count();
    wait_for("three processes", || (members() == 3).then_some(()));
    scoped.container.delete_force().expect_ok();
    wait_gone(&scoped.unit(), &folder);
    assert_eq!(members(), 0);
}

#[test]
fn cgroups_that_the_container_made_go_with_the_scope() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Crun, "its cgroup lies inside the scope");
    let bundle = Bundle::new()
        .remove_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "noexec", "nodev"])
        .sh("mkdir -p /sys/fs/cgroup/a/b && echo $$ >/sys/fs/cgroup/a/b/cgroup.procs && cat /proc/self/cgroup; \
             exec sleep 600");
    let scoped = Scoped::new(bundle, "system.slice:p:N");
    scoped.container.run_detached().expect_ok();
    // The container's cgroup namespace begins at its scope: init was in it when that was made.
    scoped.container.wait_stdout("0::/a/b\n");
    let folder = Path::new(HIERARCHY).join("system.slice").join(scoped.unit());
    assert!(folder.join("a/b").exists());
    scoped.container.delete_force().expect_ok();
    wait_gone(&scoped.unit(), &folder);
}

/// Without a cgroup namespace of its own, in a user namespace: nothing but the folder that the runtime opens
/// can be mounted, and there is a folder only after systemd has made it.
#[test]
fn the_scopes_folder_is_mounted_where_no_new_cgroup2_can_be() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Runc, Crun, "they bind the folder by other means");
    let bundle = Bundle::new()
        .user_namespace(100_000, 65536)
        .remove_namespace("cgroup")
        .remove_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"])
        .set("/linux/resources/pids", json!({"limit": 23}))
        .sh("cat /sys/fs/cgroup/pids.max");
    let scoped = Scoped::new(bundle, "system.slice:p:N");
    assert_eq!(scoped.container.run().expect_ok().stdout, "23\n");
}

#[test]
fn a_writable_cgroup_belongs_to_the_user_of_the_program() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    known_gap!(Crun, "1.8 leaves it to root");
    let bundle = Bundle::new()
        .remove_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "noexec", "nodev"])
        .set("/process/user", json!({"uid": 1234, "gid": 1234}));
    let scoped = Scoped::running(bundle, "system.slice:p:N");
    use std::os::unix::fs::MetadataExt;
    let folder = scoped.container.init().cgroup_folder();
    let owner = |file: &str| fs::metadata(folder.join(file)).unwrap().uid();
    let owners = [owner(""), owner("cgroup.procs"), owner("pids.max")];
    assert_eq!(owners, [1234, 1234, 0]);
}

/// The user of the test machine whose systemd runs without a login.
const USER: u32 = 1000;

/// Without a variable of a session: only where the sockets lie tells who is asked.
#[test]
fn a_users_own_systemd_is_asked_without_a_session() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    let private = format!("/run/user/{USER}/systemd/private");
    requires!(Path::new(&private).exists(), "user {USER} has no systemd of its own here");
    known_gap!(Runc, Crun, "they ask the environment");
    let scratch = Scratch::new();
    let bundle = Bundle::new()
        .set("/linux/resources", json!({"pids": {"limit": 7}}))
        .user_namespace(0, 1)
        .remove_mount("/dev/pts") // its group is not in the namespace
        .sh("exec sleep 600");
    let scoped = Scoped::new(bundle, ":p:N");
    let (name, bundle) = (scoped.name.as_str(), scoped.container.bundle());
    // As Podman calls: root of a user namespace in which nobody else is.
    let state = scratch.path().join("state");
    let own = |path: &Path| {
        Call::of("chown").args(["-R", &USER.to_string()]).args([path]).output().expect_ok();
    };
    own(scratch.path());
    own(bundle.scratch());
    let runtime = integration::runtime_under_test();
    let call = |args: &[&str]| {
        Call::of("setpriv")
            .args(["--reuid", &USER.to_string(), "--regid", &USER.to_string(), "--clear-groups", "env", "-i"])
            .args(["unshare", "--user", "--map-root-user", "--mount"])
            .args([runtime.as_os_str(), "--root".as_ref(), state.as_os_str()])
            .args(args)
    };
    let path = bundle.path();
    let path = path.to_str().unwrap();
    let run = ["--systemd-cgroup", "run", "--detach", "--bundle", path, name];
    call(&run).output_in(scratch.path()).output().expect_ok();
    let state = call(&["state", name]).output().expect_ok().json();
    let init = integration::Process::new(u32::try_from(state["pid"].as_u64().unwrap()).unwrap());
    let folder = init.cgroup_folder();
    assert_eq!(
        init.cgroup(),
        format!("/user.slice/user-{USER}.slice/user@{USER}.service/user.slice/p-{name}.scope")
    );
    assert_eq!(init.cgroup_file("pids.max"), "7");
    call(&["delete", "--force", name]).output().expect_ok();
    wait_for("the scope to be gone", || (!folder.exists()).then_some(()));
}

/// What `systemctl show` says of the container's scope, but for what differs from one moment, process or name to
/// the next.
#[track_caller]
fn shown(unit: &str) -> Vec<(String, String)> {
    const OF_THE_MOMENT: [&str; 14] = [
        "Id",
        "Names",
        "Description",
        "ControlGroup",
        "ControlGroupId",
        "InvocationID",
        "FragmentPath",
        "DropInPaths",
        "NeedDaemonReload",
        "Controller",
        "CPUUsageNSec",
        "TasksCurrent",
        "ConditionTimestamp",
        "StateChangeTimestamp",
    ];
    let text = systemctl(&["show", unit]).expect_ok().stdout;
    let mut properties: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| {
            !OF_THE_MOMENT.contains(key)
                && !["Timestamp", "Monotonic", "Current", "Available", "Peak", "Bytes", "Operations"]
                    .iter()
                    .any(|part| key.contains(part))
        })
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    properties.sort();
    properties
}

/// Debian's runtimes and this one, one after the other, with the same configuration in the same machine.
#[test]
fn the_scope_is_the_one_that_runc_and_crun_make() {
    requires!(has_systemd(), "{NO_SYSTEMD}");
    requires!(flavour() == Flavour::Ours, "compares ours with the others");
    let resources = json!({
        "memory": {"limit": 104_857_600, "reservation": 52_428_800, "swap": 209_715_200},
        "cpu": {"shares": 1024, "quota": 30_000, "period": 100_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 77},
        "devices": [{"allow": false, "access": "rwm"}],
    });
    let show_with = |runtime: &str| {
        let bundle = Bundle::new().set("/linux/resources", resources.clone()).sh("exec sleep 600");
        let scoped = Scoped::new(bundle, "system.slice:p:N");
        let bundle = scoped.container.bundle();
        let state = bundle.scratch_file("state");
        let call = |args: &[&str]| Call::of(runtime).args(["--root", &state, "--systemd-cgroup"]).args(args);
        let path = bundle.path();
        let printed = Scratch::new();
        let run = call(&["run", "--detach", "--bundle", path.to_str().unwrap(), &scoped.name]);
        run.output_in(printed.path()).output().expect_ok();
        let properties = shown(&scoped.unit());
        call(&["delete", "--force", &scoped.name]).output().expect_ok();
        wait_gone(&scoped.unit(), &Path::new(HIERARCHY).join("system.slice").join(scoped.unit()));
        properties
    };
    let ours = show_with(integration::runtime_under_test().to_str().unwrap());
    for other in ["runc", "crun"] {
        let theirs = show_with(other);
        let of = |list: &[(String, String)], key: &str| -> Vec<String> {
            list.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
        };
        let keys: std::collections::BTreeSet<&String> =
            ours.iter().chain(&theirs).map(|(key, _)| key).collect();
        let differing: Vec<&str> =
            keys.into_iter().filter(|key| of(&ours, key) != of(&theirs, key)).map(String::as_str).collect();
        // docs/conformance.md has the reasons.
        let known: &[&str] = match other {
            "runc" => &["CPUWeight", "CollectMode", "DeviceAllow"],
            _ => &[
                "AllowedCPUs",
                "AllowedMemoryNodes",
                "CPUQuotaPerSecUSec",
                "MemoryMax",
                "MemorySwapMax",
                "TasksMax",
                "CPUAccounting",
                "CPUQuotaPeriodUSec",
                "CPUWeight",
                "CollectMode",
                "DefaultDependencies",
                "DeviceAllow",
                "DevicePolicy",
                "IOAccounting",
                "MemoryAccounting",
                "MemoryLow",
                "TasksAccounting",
            ],
        };
        let unknown: Vec<String> = differing
            .iter()
            .filter(|key| !known.contains(key))
            .map(|key| format!("{key}: ours {:?}, {other} {:?}", of(&ours, key), of(&theirs, key)))
            .collect();
        assert!(unknown.is_empty(), "{unknown:#?}");
    }
}
