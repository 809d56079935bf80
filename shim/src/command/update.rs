//! `shim update`

use crate::cli::flags::{Arity, Flag, Form, Given, value};
use crate::cli::spec_flags::{bytes, decimal, integer, swap};
use crate::cli::{Globals, Verb};
use crate::command::create_options::restart_policy;
use crate::command::{containers, report, spec_options};
use crate::container::update::{Wanted, update};
use crate::error::{Error, Result};
use crate::host;
use crate::output;

const FLAGS: [Flag; 15] = [
    value(
        "blkio-weight",
        "uint16",
        "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    ),
    value("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period").checked(integer),
    value("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota").checked(integer),
    value("cpu-rt-period", "int", OF_VERSION_1).hidden(),
    value("cpu-rt-runtime", "int", OF_VERSION_1).hidden(),
    value("cpu-shares", "int", "CPU shares (relative weight)").short('c').checked(integer),
    value("cpus", "decimal", "Number of CPUs").checked(decimal),
    value("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    value("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    value("kernel-memory", "bytes", OF_VERSION_1).hidden(),
    value("memory", "bytes", "Memory limit").short('m').checked(bytes),
    value("memory-reservation", "bytes", "Memory soft limit").checked(bytes),
    value("memory-swap", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap")
        .checked(swap),
    value("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)").checked(integer),
    value("restart", "string", "Restart policy to apply when a container exits"),
];
const OF_VERSION_1: &str = "is of cgroup v1 alone, which is not supported";

pub(super) const VERB: Verb = Verb {
    names: &["container update", "update"],
    about: "Update configuration of one or more containers",
    form: Form {
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        flags: &[&FLAGS],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    if given.pairs().next().is_none() {
        return Err(Error::usage("you must provide one or more flags when using this command"));
    }
    for (name, _) in given.pairs() {
        if let Some(flag) = FLAGS.iter().find(|flag| flag.name == name && flag.hidden) {
            return Err(Error::usage(format!("--{name} {}", flag.help)));
        }
    }
    let restart = given.text("restart")?.filter(|restart| !restart.is_empty());
    let wanted =
        Wanted { limits: spec_options::limits(given)?, restart: restart.map(restart_policy).transpose()? };
    let (containers, cpus) = (containers(globals)?, host::read(None, false)?.cpus);
    let (mut code, mut warnings) = (0, Vec::new());
    for word in given.words()? {
        match containers.find(word).and_then(|id| update(&containers, &id, &wanted, cpus)) {
            Ok(more) => {
                output::print(&format!("{word}\n"))?;
                warnings.extend(more);
            }
            Err(error) => code = report(&error),
        }
    }
    warnings.sort();
    warnings.dedup();
    for warning in warnings {
        output::complain(&format!("WARNING: {warning}"));
    }
    Ok(code)
}
