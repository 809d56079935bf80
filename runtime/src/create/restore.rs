//! The birth of a container from images: CRIU makes the processes, the runtime what is around them.
//!
//! What the runtime does is what it does in [`super::parent`]: folder, record, cgroup with its limits, network
//! devices, hooks, pid file. CRIU is put into the container's cgroup before it is asked for anything, so that
//! whatever it makes is born there. The root is mounted in the container's folder meanwhile, because CRIU wants a
//! mount point. docs/create-flow.md lists the steps.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use oci_spec::runtime::ContainerState;
use rustix::process::PidfdFlags;

use super::parent::{self, Born, Bundle};
use super::{handover, mountpoints};
use crate::bail;
use crate::cgroup::{Cgroup, Hierarchy};
use crate::cli;
use crate::container::checkpoint::{Folders, NETWORK_KEY, PID_KEY, common_options, require_root};
use crate::container::group::Files;
use crate::container::{ContainerId, Locked, ProcessId, Record, Store, delete, external};
use crate::criu::rpc::{self, option};
use crate::criu::{self, Criu, Features, Kind, Manner, Notice, Options, Server, Version, images};
use crate::error::{Call, Context, Error, Result};
use crate::hooks;
use crate::kernel::namespace::{self, Opened};
use crate::kernel::{idmap, mount, net_device, network, rootfs, tty};
use crate::plan::mount::What;
use crate::plan::namespace::Namespace;
use crate::report::Log;
use crate::signals::Signals;

const LOG: &str = "restore.log";
/// The name by which images know what masked paths are covered with.
const NULL: &str = "/dev/null";

/// What `restore` asks for.
#[derive(Debug)]
pub struct Request<'a> {
    /// Folder of all containers' state.
    pub state_root: &'a cli::StateRoot,
    /// The command's own arguments.
    pub args: &'a cli::Restore,
    /// Connected socket that the terminal goes to.
    pub console: Option<OwnedFd>,
}

/// What was opened before anything is made.
struct Prepared {
    criu: Criu,
    folders: Folders,
    options: Options,
    /// What CRIU inherits.
    inherited: Vec<OwnedFd>,
}

/// Makes the container of `request` from `bundle` and images.
///
/// # Errors
/// Whatever step fails, with CRIU's log where CRIU has failed; nothing is left behind then.
pub fn restore(request: &Request<'_>, bundle: &Bundle, signals: &mut Signals, log: &mut Log) -> Result<Born> {
    require_root()?;
    let id = ContainerId::parse(&request.args.id)?;
    if request.args.no_pivot {
        log.warning("--no-pivot: criu enters the root by pivot_root all the same");
    }
    let prepared = prepare(request.args, bundle, signals)?;
    let store = Store::open(&request.state_root.path, true)?;
    let locked = store.create(&id)?;
    let mut record = parent::first_record(bundle, id)?;
    match birth(request, bundle, prepared, &locked, signals, &mut record, log) {
        Ok(pidfd) => Ok(Born { store, locked, record, pidfd }),
        Err(mut error) => {
            for note in undo(&store, locked, &record) {
                error.attach(&note);
            }
            Err(error)
        }
    }
}

/// Takes away what was made. CRIU may have been killed with processes half made: they are in the cgroup.
fn undo(store: &Store, locked: Locked, record: &Record) -> Vec<Error> {
    let mut notes = Vec::new();
    if let Some(Ok(Some(cgroup))) = record.cgroup.as_ref().map(Cgroup::open)
        && let Err(error) = cgroup.kill()
    {
        notes.push(error);
    }
    if let Err(error) = delete::destroy(store, locked, record, &Files, &mut |note| notes.push(note)) {
        notes.push(error);
    }
    notes
}

/// Finds CRIU and opens folders and namespaces.
fn prepare(args: &cli::Restore, bundle: &Bundle, signals: &mut Signals) -> Result<Prepared> {
    let plan = &bundle.plan;
    external::refuse(&plan.mounts, &plan.namespaces)?;
    let criu = Criu::find(signals)?;
    let folders = open_folders(args, bundle)?;
    let config = external::config_file(&bundle.spec);
    let mut options = common_options(&args.criu, &folders, LOG, config.as_deref());
    options.switch(option::EVASIVE_DEVICES, true).switch(option::RST_SIBLING, true);
    // CRIU's newer way with mounts cannot give several files of one file system the same master, as devices are that
    // are bound from the host.
    options.switch(option::MNTNS_COMPAT_MODE, plan.namespaces.binds_devices());
    for (option, flag, value) in [
        (option::LSM_PROFILE, "--lsm-profile", &args.lsm_profile),
        (option::LSM_MOUNT_CONTEXT, "--lsm-mount-context", &args.lsm_mount_context),
    ] {
        if let Some(value) = value {
            criu.require(Version(3, 16, 0), flag)?;
            options.text(option, value);
        }
    }
    if args.criu.lazy_pages {
        let wanted = Features { lazy_pages: true, ..Features::default() };
        criu.require_features(wanted, "--lazy-pages", signals)?;
    }
    let mut inherited = Vec::new();
    join_namespaces(bundle, &criu, &mut options, &mut inherited)?;
    let foreign = images::read_foreign(&folders.images)?;
    for (name, own) in
        foreign.into_iter().zip([rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()])
    {
        if let Some(name) = name {
            let copy = own.try_clone_to_owned().call("dup", || "")?;
            options.text_with_number(option::INHERIT_FD, &name, copy.as_raw_fd());
            inherited.push(copy);
        }
    }
    name_mounts(bundle, &mut options)?;
    Ok(Prepared { criu, folders, options, inherited })
}

/// Opens the folders. The root of a user namespace has to read images too: it gets them as its own, by an id-mapped
/// mount that nobody else sees, where the file system can do that (mount_setattr(2)).
fn open_folders(args: &cli::Restore, bundle: &Bundle) -> Result<Folders> {
    let mut folders = Folders::open(&args.criu, false)?;
    let namespaces = &bundle.plan.namespaces;
    if namespaces.is_new(Namespace::User) {
        let ids = idmap::user_namespace(bundle.host, &namespaces.uid_mappings, &namespaces.gid_mappings)?;
        let tree = mount::clone_tree(folders.images.as_fd(), false).context(|| "--image-path")?;
        match idmap::map_mount(tree.as_fd(), ids.as_fd(), false) {
            Ok(()) => {
                // CRIU's first process reads the clocks while its namespace may not have its mappings yet: it is the
                // host's root then, to whom nothing belongs in this mount. Clocks are no secret.
                folders.images.publish("timens-").context(|| "--image-path")?;
                folders.shown = Some(tree);
            }
            // Then the images' own permissions decide.
            Err(error) if matches!(error.errno(), libc::EINVAL | libc::EPERM) => {}
            Err(error) => return Err(error.context("--image-path")),
        }
    }
    Ok(folders)
}

/// Namespaces to join: those that were external to the images go to CRIU as descriptors, the others by name.
fn join_namespaces(
    bundle: &Bundle,
    criu: &Criu,
    options: &mut Options,
    inherited: &mut Vec<OwnedFd>,
) -> Result<()> {
    for join in &bundle.plan.namespaces.join {
        let opened = Opened::open(join)?;
        let fd = opened.as_fd().try_clone_to_owned().call("dup", || "")?;
        let (key, oldest) = match join.kind {
            Namespace::Network => (NETWORK_KEY, Version(3, 11, 0)),
            Namespace::Pid => (PID_KEY, Version(3, 15, 0)),
            kind => {
                let name = match kind {
                    Namespace::User => "user",
                    Namespace::Uts => "uts",
                    Namespace::Ipc => "ipc",
                    Namespace::Time => "time",
                    _ => bail!("linux.namespaces[{}]: criu cannot join it", join.index),
                };
                // The one that was opened: its path may lead elsewhere by then.
                let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
                options.pair(option::JOIN_NS, name, &path);
                inherited.push(fd);
                continue;
            }
        };
        criu.require(oldest, &format!("linux.namespaces[{}]", join.index))?;
        options.text_with_number(option::INHERIT_FD, key, fd.as_raw_fd());
        inherited.push(fd);
    }
    Ok(())
}

/// The sources of external mounts by the names that images know them by: the path in config.json, and what that is
/// in the root where it leads through links.
fn name_mounts(bundle: &Bundle, options: &mut Options) -> Result<()> {
    let plan = &bundle.plan;
    let root = crate::kernel::root::RootFd::from(rootfs::open(&plan.root.path)?);
    let mut name = |destination: &str, source: &str| -> Result<()> {
        let plain = format!("/{}", destination.trim_matches('/'));
        options.pair(option::EXT_MNT, &plain, source);
        if let Ok(target) = root.resolve(destination)
            && let Ok(resolved) = bundle.host.path_of(target.as_fd())
            && let Some(resolved) = resolved.to_str().filter(|resolved| *resolved != plain)
        {
            options.pair(option::EXT_MNT, resolved, source);
        }
        Ok(())
    };
    for entry in &plan.mounts {
        if let What::Bind { source, .. } = &entry.what {
            name(&entry.destination, source)?;
        }
    }
    for device in plan.devices.iter().flatten() {
        name(&device.path, &device.path)?;
    }
    if !plan.masked_paths.is_empty() {
        options.pair(option::EXT_MNT, NULL, NULL);
    }
    Ok(())
}

/// The steps from the first trace on the host to processes that run.
fn birth(
    request: &Request<'_>,
    bundle: &Bundle,
    prepared: Prepared,
    locked: &Locked,
    signals: &mut Signals,
    record: &mut Record,
    log: &mut Log,
) -> Result<OwnedFd> {
    let (plan, hierarchy) = (&bundle.plan, Hierarchy::find()?);
    let (mut cgroup, scope) = match &bundle.scope {
        Some(asked) => (None, Some(asked.prepare(hierarchy, locked, record, signals)?)),
        None => (parent::make_cgroup(bundle, locked, hierarchy, false, record, log)?, None),
    };
    mountpoints::make(plan)?;
    let root = locked.hold_root(rootfs::open(&plan.root.path)?.as_fd())?;
    let Prepared { criu, folders, mut options, inherited } = prepared;
    let keep: Vec<BorrowedFd<'_>> = inherited.iter().map(AsFd::as_fd).collect();
    // A terminal of the caller's is found there, and its foreground is our process group.
    let shell_job = request.args.criu.shell_job;
    let mut server = criu.start(Manner {
        stdin: if shell_job { Stdio::inherit() } else { Stdio::null() },
        keep: &keep,
        own_group: !shell_job,
        // Not in the images of every version of CRIU; it is inherited.
        no_new_privileges: plan.process.no_new_privileges,
    })?;
    let pid = server.pid();
    if let Some(mut scope) = scope {
        let job = scope.request(pid, &plan.cgroup, signals)?;
        record.cgroup = Some(scope.record().clone());
        cgroup = Some(scope.finish(pid, &job, &plan.cgroup, signals)?);
        record.cgroup = cgroup.as_ref().map(|cgroup| cgroup.record().clone());
    } else if let Some(cgroup) = &cgroup {
        cgroup.add_process(pid.unsigned_abs())?;
    }
    parent::limit(bundle, cgroup.as_ref(), pid, false, record, log)?;
    locked.write(record)?;
    if let Some(cgroup) = &record.cgroup {
        options.pair(option::CG_ROOT, "", &format!("/{}", cgroup.path));
    }
    options.text(option::ROOT, &root.to_string_lossy());
    let mut birth = Birth { request, bundle, locked, pidfd: None };
    let asked = rpc::request(Kind::Restore, &options);
    let answer = {
        let mut heed = |server: &mut Server, notice: Notice, signals: &mut Signals| {
            log.debug(|| format!("criu: {}", notice.script));
            birth.heed(notice, record, signals)?;
            if birth.pidfd.is_some() {
                server.hold_signals(); // they are for the program from here on
            }
            Ok(())
        };
        server.ask(&asked, signals, &mut heed)
    };
    let explain = |error| criu::explain(error, folders.logs(), LOG);
    answer.and_then(|_| server.end()).map_err(explain)?;
    locked.release_root()?;
    match birth.pidfd {
        Some(pidfd) => Ok(pidfd),
        None => bail!("criu has restored without a word"),
    }
}

/// What the answers to CRIU's notifications share.
struct Birth<'a> {
    request: &'a Request<'a>,
    bundle: &'a Bundle,
    locked: &'a Locked,
    /// The first process, once it is known.
    pidfd: Option<OwnedFd>,
}

impl Birth<'_> {
    fn heed(&mut self, notice: Notice, record: &mut Record, signals: &mut Signals) -> Result<()> {
        match notice.script.as_str() {
            "setup-namespaces" => self.set_up_namespaces(notice.pid, record, signals),
            "orphan-pts-master" => self.hand_over_terminal(&notice.fds),
            "post-restore" => self.finish(notice.pid, record),
            _ => Ok(()),
        }
    }

    /// The namespaces are there, the processes not yet.
    fn set_up_namespaces(&self, pid: i32, record: &mut Record, signals: &mut Signals) -> Result<()> {
        let plan = &self.bundle.plan;
        record.init = Some(ProcessId::of(pid)?);
        self.locked.write(record)?;
        if plan.namespaces.is_new(Namespace::Network) {
            let made = namespace::of_process(self.bundle.host, pid, "net")?;
            namespace::within(self.bundle.host, made.as_fd(), network::loopback_up)?;
        }
        if !plan.net_devices.is_empty() {
            let theirs = namespace::of_process(self.bundle.host, pid, "net")?;
            net_device::move_devices(&plan.net_devices, theirs.as_fd())?;
        }
        let state = record.state(ContainerState::Creating)?;
        let cwd = Path::new(&self.bundle.path);
        hooks::run_until_told("prestart", &plan.hooks.prestart, &state, cwd, signals)?;
        hooks::run_until_told("createRuntime", &plan.hooks.create_runtime, &state, cwd, signals)
    }

    /// A terminal whose master was outside of the images: CRIU has made a new pair.
    fn hand_over_terminal(&self, fds: &[OwnedFd]) -> Result<()> {
        match (&self.request.console, fds.first()) {
            (Some(console), Some(master)) => tty::send(console.as_fd(), master.as_fd()),
            (None, _) => bail!("the images have a terminal, and process.terminal is false"),
            (_, None) => bail!("criu sent no terminal"),
        }
    }

    /// Everything is restored and runs as soon as this is answered.
    fn finish(&mut self, pid: i32, record: &mut Record) -> Result<()> {
        let raw = rustix::process::Pid::from_raw(pid).ok_or_else(|| Error::other("criu names no process"))?;
        let pidfd =
            rustix::process::pidfd_open(raw, PidfdFlags::empty()).call("pidfd_open", || pid.to_string())?;
        record.init = Some(ProcessId::of(pid)?);
        if self.bundle.plan.root.readonly {
            mountpoints::make_root_readonly(self.bundle.host, pid).context(|| "root.readonly")?;
        }
        if let Some(path) = &self.request.args.pid_file {
            handover::write_pid_file(path, pid)?;
        }
        self.locked.keep_config(&self.bundle.config)?;
        (record.creating, record.restored) = (false, true);
        self.locked.write(record)?;
        self.pidfd = Some(pidfd);
        Ok(())
    }
}
