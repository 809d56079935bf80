//! `shim info`

use std::fs;

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, VERSION, Verb};
use crate::command::inspect::FORMAT;
use crate::command::{containers, store};
use crate::container::attend::attend;
use crate::container::init;
use crate::container::limits::Controllers;
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::error::Result;
use crate::host;
use crate::output;
use crate::output::template::Template;
use crate::output::value::Value;
use crate::root::record::Bundles;
use crate::runtime;

pub(super) const VERB: Verb = Verb {
    names: &["system info", "info"],
    about: "Display system-wide information",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[FORMAT]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

const TEXT: &str = " Containers: {{.Containers}}\n  Running: {{.ContainersRunning}}\n  Paused: {{.ContainersPaused}}\n  \
    Stopped: {{.ContainersStopped}}\n Images: {{.Images}}\n Bundles: {{.Bundles}}\n Shim Version: {{.ServerVersion}}\n \
    Storage Driver: {{.Driver}}\n Logging Driver: {{.LoggingDriver}}\n Cgroup Driver: {{.CgroupDriver}}\n \
    Cgroup Version: {{.CgroupVersion}}\n Plugins:\n  Volume:{{range .Plugins.Volume}} {{.}}{{end}}\n  \
    Network:{{range .Plugins.Network}} {{.}}{{end}}\n  Log:{{range .Plugins.Log}} {{.}}{{end}}\n \
    Swarm: {{.Swarm.LocalNodeState}}\n \
    Runtimes:{{range $name, $of := .Runtimes}} {{$name}}{{end}}\n Default Runtime: {{.DefaultRuntime}}\n \
    Init Binary: {{.InitBinary}}\n Security Options:\n{{range .SecurityOptions}}  {{.}}\n{{end}} \
    Kernel Version: {{.KernelVersion}}\n Operating System: {{.OperatingSystem}}\n OSType: {{.OSType}}\n \
    Architecture: {{.Architecture}}\n CPUs: {{.NCPU}}\n Total Memory: {{.Memory}}\n Name: {{.Name}}\n \
    Root Dir: {{.DockerRootDir}}\n State Dir: {{.StateDir}}";

/// Docker's names, as far as they mean something here.
fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let format = given.text("format")?.filter(|format| !format.is_empty());
    let (value, warnings) = tell(globals)?;
    let text = match format {
        None => Template::parse(TEXT)?.render(&value)?,
        Some("json") => value.to_json(),
        Some(format) => Template::parse(format)?.render(&value)?,
    };
    output::print(&format!("{text}\n"))?;
    if format.is_none() {
        warnings.iter().for_each(|warning| output::complain(warning));
    }
    Ok(0)
}

fn tell(globals: &Globals) -> Result<(Value, Vec<String>)> {
    let (store, containers) = (store(globals)?, containers(globals)?);
    let [running, paused, stopped] = counts(&containers)?;
    let kernel = rustix::system::uname();
    let text = |text: &std::ffi::CStr| Value::Text(text.to_string_lossy().into_owned());
    let path = |path: &std::path::Path| Value::Text(path.to_string_lossy().into_owned());
    let controllers = Controllers::read();
    let warnings = warnings(controllers);
    let memory = memory_total();
    #[allow(clippy::cast_precision_loss)] // some digits are shown
    let gibibytes = format!("{:.3}GiB", memory as f64 / f64::from(1 << 30));
    let runtimes = runtimes();
    let default = runtimes.first().map(|(name, _)| name.clone()).unwrap_or_default();
    let init = init::mount().map(|mount| mount.source).unwrap_or_default();
    let members = vec![
        ("Containers", count(running + paused + stopped)),
        ("ContainersRunning", count(running)),
        ("ContainersPaused", count(paused)),
        ("ContainersStopped", count(stopped)),
        ("Images", count(store.images.read()?.iter().count())),
        ("Bundles", count(Bundles::open(store.folders.root())?.list()?.len())),
        ("Driver", "overlay2".into()),
        ("Plugins", plugins()),
        ("LoggingDriver", "json-file".into()),
        ("CgroupDriver", "cgroupfs".into()),
        ("CgroupVersion", if controllers == Controllers::default() { "" } else { "2" }.into()),
        ("MemoryLimit", controllers.memory.into()),
        ("SwapLimit", controllers.swap.into()),
        ("CPUShares", controllers.cpu.into()),
        ("CpuCfsQuota", controllers.cpu.into()),
        ("CPUSet", controllers.cpuset.into()),
        ("PidsLimit", controllers.pids.into()),
        ("IPv4Forwarding", forwards().into()),
        ("Runtimes", Value::Dictionary(runtimes)),
        ("DefaultRuntime", default.into()),
        ("InitBinary", init.into()),
        ("SecurityOptions", security()?.into()),
        ("KernelVersion", text(kernel.release())),
        ("OperatingSystem", operating_system().into()),
        ("OSType", std::env::consts::OS.into()),
        ("Architecture", text(kernel.machine())),
        ("NCPU", count(std::thread::available_parallelism().map_or(1, usize::from))),
        ("MemTotal", memory.into()),
        ("Memory", Value::Aside(Box::new(gibibytes.into()))),
        ("Name", text(kernel.nodename())),
        ("DockerRootDir", path(store.folders.root())),
        ("StateDir", path(store.folders.state())),
        ("ServerVersion", VERSION.into()),
        // Scripts ask before they try.
        ("Swarm", Value::Object("swarm", vec![("NodeID", "".into()), ("LocalNodeState", "inactive".into())])),
        // Nothing that could stop has to run for containers to go on.
        ("LiveRestoreEnabled", true.into()),
        ("Warnings", warnings.clone().into()),
    ];
    Ok((Value::Object("info", members), warnings))
}

/// The drivers that there are, by docker's names.
fn plugins() -> Value {
    let names = |names: &[&str]| Value::List(names.iter().map(|name| (*name).into()).collect());
    Value::Object(
        "plugins",
        vec![
            ("Volume", names(&["local"])),
            ("Network", names(&["bridge", "host", "null"])),
            ("Authorization", Value::NoList),
            ("Log", names(&["journald", "json-file", "none"])),
        ],
    )
}

/// Does the host pass packets on (ip(7), `ip_forward`)?
fn forwards() -> bool {
    fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() != "0")
}

fn count(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// How many run, stand still, and do neither. One that cannot be read is told of by `ps`.
fn counts(containers: &Containers) -> Result<[usize; 3]> {
    let mut counts = [0; 3];
    for id in containers.ids()? {
        let Ok(Some(found)) = attend(containers, &id) else { continue };
        counts[match found.state.status {
            Status::Running | Status::Restarting => 0,
            Status::Paused => 1,
            _ => 2,
        }] += 1;
    }
    Ok(counts)
}

/// The OCI runtimes that are found by their names, the one of those who do not ask first.
fn runtimes() -> Vec<(String, Value)> {
    let known = [runtime::DEFAULT, "crun", "runc"].into_iter();
    let found = known.filter_map(|name| Some((name, runtime::find(Some(name)).ok()?)));
    found
        .map(|(name, path)| {
            let path = Value::Text(path.to_string_lossy().into_owned());
            (name.to_owned(), Value::Object("runtime", vec![("path", path)]))
        })
        .collect()
}

fn security() -> Result<Vec<String>> {
    let host = host::read(None, false)?;
    let mut options = vec!["name=seccomp,profile=builtin".to_owned(), "name=cgroupns".to_owned()];
    if host.apparmor {
        options.insert(0, "name=apparmor".to_owned());
    }
    if host.selinux {
        options.push("name=selinux".to_owned());
    }
    Ok(options)
}

/// Docker's words for what cannot be limited here.
fn warnings(can: Controllers) -> Vec<String> {
    let all = [
        (can.memory, "memory limit"),
        (can.swap, "swap limit"),
        (can.cpu, "cpu cfs quota"),
        (can.cpu, "cpu shares"),
        (can.cpuset, "cpuset"),
        (can.pids, "pids limit"),
        (can.io, "io.max"),
    ];
    all.into_iter().filter(|(can, _)| !can).map(|(_, what)| format!("WARNING: No {what} support")).collect()
}

/// Bytes (proc_meminfo(5)).
fn memory_total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or_default().saturating_mul(1024)
}

/// As it calls itself (os-release(5)).
fn operating_system() -> String {
    let text =
        ["/etc/os-release", "/usr/lib/os-release"].into_iter().find_map(|path| fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches(['"', '\'']).to_owned()
}
