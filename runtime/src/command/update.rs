//! `update`: changes the limits of a container.

use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::bail;
use crate::cli::{self, Globals};
use crate::container::group::Files;
use crate::container::{self, update};
use crate::error::{Call, Context, Result};
use crate::report::Log;
use crate::spec::{self, Resources};

/// Carries out `update`; the exit code is 0.
///
/// # Errors
/// Of reading `--resources`, and of [`update::update`], behind the name of the container.
pub fn execute(globals: &Globals, args: &cli::Update, log: &mut Log) -> Result<u8> {
    for flag in &args.obsolete {
        log.warning(format!("--{flag}: cgroup v2 counts it in the limit of memory"));
    }
    change(globals, args, log).context(|| format!("update {:?}", args.id))?;
    Ok(0)
}

fn change(globals: &Globals, args: &cli::Update, log: &mut Log) -> Result<()> {
    let (store, entry) = container::find(&globals.state_root().path, &args.id)?;
    let resources = match &args.file {
        Some(path) => read(path).context(|| "--resources")?,
        None => args.resources.clone(),
    };
    let wanted = update::Wanted { resources, intel_rdt: args.intel_rdt.clone() };
    update::update(&store, entry, &wanted, &Files, &mut |warning| log.warning(warning))
}

/// The limits in a file; in standard input, where it is called `-`.
fn read(path: &Path) -> Result<Resources> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let input = std::io::stdin().lock().take(spec::LARGEST + 1).read_to_end(&mut bytes);
        input.call("read", || "standard input")?;
    } else {
        let at = || format!("{path:?}");
        let file =
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call("open", at)?;
        std::fs::File::from(file).take(spec::LARGEST + 1).read_to_end(&mut bytes).call("read", at)?;
    }
    if bytes.len() as u64 > spec::LARGEST {
        bail!("more than {} bytes", spec::LARGEST);
    }
    spec::resources(&bytes)
}
