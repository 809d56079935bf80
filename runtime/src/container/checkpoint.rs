//! `checkpoint`: CRIU writes the container's processes to images; then the container is deleted, unless it is to
//! run on.
//!
//! What is asked and how is runc's: external mounts by their mount points, namespaces that were joined, the pipes of
//! standard input and output in `descriptors.json`. The container is locked meanwhile. Where the dump fails, CRIU lets
//! the processes run on as if nothing had been; it is therefore never killed in the midst of one.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::fs::OFlags;

use super::delete::destroy;
use super::external::External;
use super::{Cgroups, Entry, Locked, Pidfd, Record, Status, Store, group, lock_in};
use crate::bail;
use crate::cgroup::Cgroup;
use crate::cli;
use crate::criu::rpc::{self, option};
use crate::criu::{
    self, Criu, Features, Folder, Kind, Manner, Notice, Options, Server, Timeout, Version, images,
};
use crate::error::{Call, Context, Error, Result};
use crate::kernel::procfs::Procfs;
use crate::plan::namespace::Namespace;
use crate::signals::Signals;
use crate::spec;

const LOG: &str = "dump.log";
/// Much is told, and only looked at where something fails.
const LOG_LEVEL: i32 = 4;

/// How long CRIU has to stop all processes, in seconds, when it is asked first. It takes milliseconds.
const FIRST_TIMEOUT_S: i32 = 3;
/// How long a moment is waited for at which it can.
const MOMENT_WAIT: Duration = Duration::from_secs(10);

/// Dumps a running or paused container.
///
/// # Errors
/// Kind `Status` "container cannot be checkpointed in STATUS state"; what CRIU says, with the path of its log.
pub fn checkpoint(
    store: &Store,
    entry: Entry,
    args: &cli::Checkpoint,
    cgroups: &dyn Cgroups,
    signals: &mut Signals,
    warn: &mut dyn FnMut(Error),
    debug: &mut dyn FnMut(String),
) -> Result<()> {
    require_root()?;
    let status = Status::of(&entry, &entry.record()?)?;
    let phrase = format!("container cannot be checkpointed in {status} state");
    let alive = |status| matches!(status, Status::Running | Status::Paused);
    let (locked, record) = lock_in(store, entry, alive, &phrase)?;
    let Some(init) = record.init.map(|init| init.open()).transpose()?.flatten() else {
        bail!("container cannot be checkpointed in stopped state");
    };
    let criu = Criu::find(signals)?;
    let mut dump = Dump::prepare(args, &locked, &record, &init, &criu, signals)?;
    dump.run(status == Status::Paused, &criu, signals, debug)?;
    if args.leave_running || args.pre_dump {
        return Ok(());
    }
    destroy(store, locked, &record, cgroups, warn).context(|| "the images are written")
}

/// CRIU needs rights that no user namespace gives.
///
/// # Errors
/// For anyone but root of the first user namespace.
pub fn require_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() || Procfs::shared()?.in_user_namespace()? {
        bail!("checkpoint and restore need root of the first user namespace: criu cannot do without");
    }
    Ok(())
}

/// The options that both directions have.
#[must_use]
pub fn common_options(flags: &cli::CriuFlags, folders: &Folders, log: &str, config: Option<&str>) -> Options {
    let mut options = Options::default();
    options
        .number(option::IMAGES_DIR_FD, folders.images_number())
        .number(option::LOG_LEVEL, LOG_LEVEL)
        .text(option::LOG_FILE, log)
        .switch(option::NOTIFY_SCRIPTS, true)
        .switch(option::MANAGE_CGROUPS, true)
        .number(option::MANAGE_CGROUPS_MODE, flags.cgroups_mode as i32)
        .switch(option::TCP_ESTABLISHED, flags.tcp_established)
        .switch(option::EXT_UNIX_SK, flags.ext_unix_sk)
        .switch(option::SHELL_JOB, flags.shell_job)
        .switch(option::FILE_LOCKS, flags.file_locks)
        .switch(option::LAZY_PAGES, flags.lazy_pages)
        .switch(option::AUTO_DEDUP, flags.auto_dedup)
        .switch(option::ORPHAN_PTS_MASTER, true)
        // As runc: network devices and addresses are the engine's to make.
        .number(option::EMPTY_NS, libc::CLONE_NEWNET);
    if folders.work.is_some() || folders.shown.is_some() {
        options.number(option::WORK_DIR_FD, folders.logs().number());
    }
    if let Some(config) = config {
        options.text(option::CONFIG_FILE, config);
    }
    options
}

/// Where CRIU reads and writes.
#[derive(Debug)]
pub struct Folders {
    /// The images.
    pub images: Folder,
    /// Logs; beside the images where there is none.
    pub work: Option<Folder>,
    /// The images as CRIU sees them, where that is not through [`Self::images`].
    pub shown: Option<OwnedFd>,
}

impl Folders {
    /// Opens both; what is missing is made, the images' only with `make`.
    ///
    /// # Errors
    /// With the flag that named the folder.
    pub fn open(flags: &cli::CriuFlags, make: bool) -> Result<Self> {
        let images = if make { Folder::make(&flags.image_path) } else { Folder::open(&flags.image_path) };
        let work = flags.work_path.as_deref().map(Folder::make).transpose();
        Ok(Self {
            images: images.context(|| "--image-path")?,
            work: work.context(|| "--work-path")?,
            shown: None,
        })
    }

    /// The number by which CRIU finds the images among what this process has open.
    fn images_number(&self) -> RawFd {
        self.shown.as_ref().map_or_else(|| self.images.number(), AsRawFd::as_raw_fd)
    }

    /// The folder of the logs.
    pub fn logs(&self) -> &Folder {
        self.work.as_ref().unwrap_or(&self.images)
    }
}

/// One dump, ready to be asked for.
struct Dump {
    /// Where it is told that pages can be asked for.
    status_fd: Option<OwnedFd>,
    folders: Folders,
    options: Options,
    kind: Kind,
    /// The cgroup that CRIU freezes while it stops the processes.
    cgroup: Option<Cgroup>,
}

impl Dump {
    fn prepare(
        args: &cli::Checkpoint,
        locked: &Locked,
        record: &Record,
        init: &Pidfd,
        criu: &Criu,
        signals: &mut Signals,
    ) -> Result<Self> {
        if record.seccomp_notify.is_some() {
            bail!("linux.seccomp.listenerPath: criu cannot dump a filter whose calls somebody answers");
        }
        let mut status_fd = args.status_fd.map(take_status_fd).transpose()?;
        let spec = spec::parse(&locked.config()?)?;
        let external = External::of(&spec, &record.bundle.to_string_lossy())?;
        let folders = Folders::open(&args.criu, true)?;
        let mut options = common_options(&args.criu, &folders, LOG, external.config_file.as_deref());
        options
            .number(option::PID, init.pid())
            .text(option::ROOT, &record.rootfs.to_string_lossy())
            .switch(option::LEAVE_RUNNING, args.leave_running)
            .switch(option::TCP_SKIP_IN_FLIGHT, args.tcp_skip_in_flight)
            .switch(option::LINK_REMAP, args.link_remap);
        if let Some(parent) = &args.parent_path {
            folders.images.check_folder(parent).context(|| "invalid --parent-path")?;
            options.text(option::PARENT_IMG, &parent.to_string_lossy()).switch(option::TRACK_MEM, true);
        }
        if let Some((address, port)) = &args.page_server {
            options.text_with_number(option::PAGE_SERVER, address, (*port).into());
        }
        let cgroup = record.cgroup.as_ref().filter(|_| criu.version() >= Version(3, 14, 0));
        let cgroup = cgroup.map(group::open).transpose()?;
        if let Some(cgroup) = &cgroup {
            options.text(option::FREEZE_CGROUP, cgroup.path());
        }
        add_namespaces(&mut options, &external, init, criu)?;
        let kind = if args.pre_dump { Kind::PreDump } else { Kind::Dump };
        if args.pre_dump {
            let wanted = Features { mem_track: true, ..Features::default() };
            criu.require_features(wanted, "--pre-dump", signals)?;
        } else {
            let host = Procfs::shared()?;
            for (point, name) in external.mounts(host, init.pid())? {
                options.pair(option::EXT_MNT, &point, &name);
            }
            let mut links = descriptors(host, init.pid(), record.pipes)?;
            if args.criu.shell_job {
                for (link, terminal) in links.iter_mut().zip(external.terminals(host, init.pid())?) {
                    if let Some(terminal) = terminal {
                        options.text(option::EXTERNAL, &terminal);
                        *link = terminal;
                    }
                }
            }
            images::write_descriptors(&folders.images, &links)?;
        }
        if args.criu.lazy_pages {
            let wanted = Features { lazy_pages: true, ..Features::default() };
            criu.require_features(wanted, "--lazy-pages", signals)?;
            // Before, CRIU opens it by its number here and writes itself.
            if let Some(fd) = status_fd.take_if(|_| criu.version() < Version(3, 15, 0)) {
                options.number(option::STATUS_FD, fd.as_raw_fd());
                std::mem::forget(fd); // open for as long as this process lives
            }
        }
        Ok(Self { status_fd, folders, options, kind, cgroup })
    }

    /// Has CRIU do it.
    ///
    /// CRIU freezes the cgroup at any moment, and waits in vain where a thread waits in vfork(2) just then. It is asked
    /// again at a better one, which the runtime holds for it: a container that is left frozen by whoever kills the
    /// runtime then is paused and can be resumed. The first time nothing can leave it so.
    fn run(
        &mut self,
        paused: bool,
        criu: &Criu,
        signals: &mut Signals,
        debug: &mut dyn FnMut(String),
    ) -> Result<()> {
        let Some(cgroup) = self.cgroup.take() else {
            return self.ask(&self.options.clone(), criu, signals, debug);
        };
        if paused {
            if let Some(waiting) = cgroup.vfork_waiters()?.first() {
                bail!(
                    "process {waiting} waits in vfork(2), where criu cannot stop it; resume the container first"
                );
            }
            return self.ask(&self.options.clone(), criu, signals, debug);
        }
        let mut first = self.options.clone();
        first.number(option::TIMEOUT, FIRST_TIMEOUT_S);
        let failed = match self.ask(&first, criu, signals, debug) {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        match criu::timeout(self.folders.logs(), LOG) {
            None => Err(failed),
            Some(Timeout::Slow) => self.ask(&self.options.clone(), criu, signals, debug),
            Some(Timeout::Unseizable) => {
                debug(format!("once more, outside of vfork(2): {failed}"));
                cgroup.freeze_outside_vfork(MOMENT_WAIT)?;
                let mut done = self.ask(&self.options.clone(), criu, signals, debug);
                // CRIU leaves the cgroup as it found it, whether or not it has left processes in it.
                let thawed = cgroup.thaw(MOMENT_WAIT);
                match (&mut done, thawed) {
                    (Err(error), Err(failed)) => error.attach(&failed),
                    (Ok(()), Err(failed)) => return Err(failed),
                    (_, Ok(())) => {}
                }
                done
            }
        }
    }

    /// Asks it once.
    fn ask(
        &mut self,
        options: &Options,
        criu: &Criu,
        signals: &mut Signals,
        debug: &mut dyn FnMut(String),
    ) -> Result<()> {
        let mut server = criu.start(Manner::default())?;
        server.set_expendable(false);
        let status_fd = &mut self.status_fd;
        let mut heed = |server: &mut Server, notice: Notice, _: &mut Signals| {
            debug(format!("criu: {}", notice.script));
            if notice.script == "status-ready" {
                // Everything but memory is in the images, and now it waits for whoever fetches that. Killed, it
                // lets the processes run on.
                server.set_expendable(true);
                if let Some(fd) = status_fd.take() {
                    rustix::io::write(&fd, &[0]).call("write", || "--status-fd")?;
                }
            }
            Ok(())
        };
        let answer = server.ask(&rpc::request(self.kind, options), signals, &mut heed);
        let explain = |error| criu::explain(error, self.folders.logs(), LOG);
        answer.map_err(explain)?;
        match (self.kind, server.end()) {
            // It waits for the next pre-dump, and takes the end of the conversation for a failure.
            (Kind::PreDump, _) => Ok(()),
            (_, ended) => ended.map_err(explain),
        }
    }
}

/// Namespaces that were joined: they are there again when the container is restored.
fn add_namespaces(options: &mut Options, external: &External, init: &Pidfd, criu: &Criu) -> Result<()> {
    let host = Procfs::shared()?;
    for (kind, file, name, key, oldest) in [
        (Namespace::Network, "net", "net", NETWORK_KEY, Version(3, 11, 0)),
        (Namespace::Pid, "pid", "pid", PID_KEY, Version(3, 15, 0)),
    ] {
        if external.namespaces.is_joined(kind) {
            criu.require(oldest, &format!("linux.namespaces: a joined {name} namespace"))?;
            // The one that it is in, whatever the path leads to by now.
            let namespace = crate::kernel::namespace::of_process(host, init.pid(), file)?;
            let inode = rustix::fs::fstat(&namespace).call("fstat", || name)?.st_ino;
            options.text(option::EXTERNAL, &format!("{name}[{inode}]:{key}"));
        }
    }
    Ok(())
}

/// The name of a joined network namespace in images, as runc has it.
pub const NETWORK_KEY: &str = "extRootNetNS";
/// The name of a joined pid namespace in images, as runc has it.
pub const PID_KEY: &str = "extRootPidNS";

/// What standard input, output and error were when the container was made: the pipes are known, since the program may
/// have put others in their place; anything else does not matter to `restore`.
fn descriptors(host: &Procfs, pid: i32, pipes: [u64; 3]) -> Result<[String; 3]> {
    let mut links = [const { String::new() }; 3];
    let folder = host.open(&format!("{pid}/fd"), OFlags::PATH | OFlags::DIRECTORY)?;
    for (fd, (link, pipe)) in links.iter_mut().zip(pipes).enumerate() {
        *link = if pipe != 0 {
            format!("pipe:[{pipe}]")
        } else {
            let now = rustix::fs::readlinkat(&folder, fd.to_string(), Vec::new());
            let now = now.map(|now| now.to_string_lossy().into_owned()).unwrap_or_default();
            // Made by the program, and inside the images.
            if now.starts_with("pipe:") { String::new() } else { now }
        };
    }
    Ok(links)
}

/// Takes over a descriptor that was handed over and can be written to.
fn take_status_fd(number: u32) -> Result<OwnedFd> {
    let step = || format!("invalid --status-fd argument {number}");
    sys::fd::check_inherited(number).context(step)?;
    let fd = sys::fd::adopt(i32::try_from(number).map_err(Error::other).context(step)?);
    let flags = rustix::fs::fcntl_getfl(&fd).call("fcntl", || format!("{number}, F_GETFL"))?;
    if !flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
        bail!("{}: not writable", step());
    }
    Ok(fd)
}
