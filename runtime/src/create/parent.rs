//! The runtime's side of a container's birth.
//!
//! Everything that can fail without a container is opened first. After the clone the runtime works while
//! init mounts: network namespace, limits, record and pid file cost no time of their own. When a step
//! fails, what the steps before it made is undone, and failures of that are attached to the cause.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use nix::poll::{PollFd, PollFlags};
use oci_spec::runtime::ContainerState;
use rustix::fs::{Mode, OFlags};
use sys::process::Clone;

use super::channel::{Channel, ToInit, ToParent};
use super::handover::Inherited;
use super::init::{self, Prepared};
use super::scope::{self, Asked};
use super::sources::{Sources, joined};
use super::{handover, intermediate, mapping};
use crate::bail;
use crate::cgroup::{self, Cgroup, Hierarchy, Manager};
use crate::cli::StateRoot;
use crate::container::group::Files;
use crate::container::{
    self, CgroupRecord, ContainerId, Gate, Locked, ProcessId, RECORD_VERSION, Record, SeccompNotify, Store,
    death_before_exec, delete, notify,
};
use crate::error::{Call, Context, Error, Result};
use crate::hooks;
use crate::kernel::namespace::{self, Opened};
use crate::kernel::procfs::Procfs;
use crate::kernel::{capability, intel_rdt, lsm, mount, net_device, rlimit, scheduler, tty};
use crate::plan::mount::What;
use crate::plan::namespace::Namespace;
use crate::plan::{self, Facts, Plan};
use crate::report::Log;
use crate::seal::Protection;
use crate::signals::Signals;
use crate::spec::{self, Spec};

/// What `create` and `run` ask for.
#[derive(Debug)]
pub struct Request<'a> {
    /// Folder of all containers' state.
    pub state_root: &'a StateRoot,
    /// The new container's id, not yet checked.
    pub id: &'a str,
    /// The bundle's folder.
    pub bundle: &'a Path,
    /// Connected socket that the terminal goes to.
    pub console: Option<OwnedFd>,
    /// Socket that init's pidfd goes to.
    pub pidfd_socket: Option<&'a Path>,
    /// File that init's process id goes to.
    pub pid_file: Option<&'a Path>,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// Descriptors from 3 on that the program inherits.
    pub preserve_fds: u32,
    /// Whether the container waits for `start` (`create`) or not (`run`).
    pub gate: bool,
    /// Whether it may do without a cgroup where none can be made (`--rootless`).
    pub rootless: bool,
}

/// A container that waits at its gate or whose program runs.
#[derive(Debug)]
pub struct Born {
    /// Where its record is.
    pub store: Store,
    /// The record's lock.
    pub locked: Locked,
    /// The record.
    pub record: Record,
    /// init.
    pub pidfd: OwnedFd,
}

/// A bundle that has been read, found valid and planned.
#[derive(Debug)]
pub struct Bundle {
    pub(super) path: String,
    pub(super) spec: Spec,
    /// config.json as it was read, for `exec`.
    pub(super) config: Vec<u8>,
    pub(super) plan: Plan,
    /// The host's procfs, found to be one.
    pub(super) host: &'static Procfs,
    /// The scope, where systemd makes the cgroup.
    pub(super) scope: Option<Asked>,
}

impl Bundle {
    /// Reads `config.json`, finds all that is wrong with it, and plans.
    ///
    /// # Errors
    /// Kind `Spec`, each violation with its JSON pointer.
    pub fn load(path: &Path, id: &str, log: &mut Log) -> Result<Self> {
        // step 1: read config.json, find all that is wrong with it, plan
        let host = Procfs::shared()?;
        host.check_process_ids()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).call("chdir", || format!("{path:?}"))?;
        let absolute = host.path_of(folder.as_fd()).context(|| format!("bundle {path:?}"))?;
        let Some(bundle) = absolute.to_str().map(str::to_owned) else {
            bail!("bundle {path:?} is not UTF-8")
        };
        let config = spec::read(&absolute)?;
        let spec = spec::parse(&config)?;
        let mut warnings = spec::validate(&spec)?;
        let plan = plan::build(&spec, &bundle, id, facts(host)?, &mut warnings)?;
        for warning in warnings {
            log.warning(warning);
        }
        check_host(&plan)?;
        Ok(Self { path: bundle, spec, config, plan, host, scope: None })
    }

    /// Lets systemd make the cgroup of container `id` (`--systemd-cgroup`).
    ///
    /// # Errors
    /// Kind `Spec` for what systemd cannot have, `linux.cgroupsPath` first of all.
    pub fn use_systemd(&mut self, id: &str) -> Result<()> {
        self.scope = Some(Asked::plan(&self.spec, id)?);
        Ok(())
    }

    /// Whether the container has a pid namespace of its own.
    pub fn has_own_pid_namespace(&self) -> bool {
        self.plan.namespaces.is_own(Namespace::Pid)
    }

    /// Whether the runtime itself is in a user namespace.
    pub fn is_made_in_user_namespace(&self) -> bool {
        self.plan.namespaces.runtime_is_inside
    }

    /// Whether the program has a terminal.
    pub fn has_terminal(&self) -> bool {
        self.plan.process.terminal
    }

    /// The program's terminal is shown on our own: it gets the size of that, if there is one, in place of
    /// `process.consoleSize`, before the program asks.
    pub fn take_terminal(&mut self, own_size: Option<(u16, u16)>) {
        self.plan.process.take_terminal(own_size);
    }
}

/// What the plan has to know of the host.
///
/// # Errors
/// Of asking it.
pub fn facts(host: &Procfs) -> Result<Facts> {
    Ok(Facts {
        grantable: capability::grantable(false)?,
        grantable_in_user_namespace: capability::grantable(true)?,
        in_user_namespace: host.in_user_namespace()?,
    })
}

/// What a process asks of the host's security modules and the host does not have.
///
/// # Errors
/// The field, and what is missing.
pub fn check_labels(process: &plan::Process) -> Result<()> {
    if !process.apparmor_profile.is_empty() {
        lsm::check_apparmor(&process.apparmor_profile)?;
    }
    if !process.selinux_label.is_empty() {
        lsm::check_selinux("process.selinuxLabel", &process.selinux_label)?;
    }
    Ok(())
}

/// What the plan asks of the host and the host does not have.
fn check_host(plan: &Plan) -> Result<()> {
    check_labels(&plan.process)?;
    if !plan.mount_label.is_empty() {
        lsm::check_selinux("linux.mountLabel", &plan.mount_label)?;
    }
    Ok(())
}

/// Makes the container of `request` from `bundle`.
///
/// # Errors
/// Whatever step fails, on either side of the clone; nothing is left behind then.
///
/// A signal that asks this process to end is such a failure; the others wait in `signals`.
pub fn create(
    request: &Request<'_>,
    bundle: &Bundle,
    protection: Protection,
    signals: &mut Signals,
    log: &mut Log,
) -> Result<Born> {
    let id = ContainerId::parse(request.id)?;
    let inherited = handover::inherited(request.preserve_fds)?;
    // step 2: open the root, the sources of bind mounts and the namespaces to join
    let prepared = prepare(request, bundle, inherited)?;
    let store = Store::open(&request.state_root.path, true)?;
    if request.state_root.runtime_folder.is_some() {
        store.keep_from_cleaning()?;
    }
    // step 3: make the container's folder and lock it
    let locked = store.create(&id)?;
    let hierarchy = Hierarchy::find()?;
    let mut record = first_record(bundle, id)?;
    record.keeps_keyring = request.no_new_keyring;
    let made = birth(request, bundle, prepared, protection, &locked, hierarchy, signals, &mut record, log);
    match made {
        Ok(pidfd) => {
            log.debug(|| {
                let id = &record.id;
                let cgroup = record.cgroup.as_ref().map_or("no cgroup".to_owned(), |cgroup| {
                    format!("cgroup {:?} below {:?}", cgroup.path, cgroup.mount)
                });
                format!(
                    "{:?}: init is process {}, in {cgroup}",
                    id.as_str(),
                    record.init.map_or(0, |init| init.pid)
                )
            });
            Ok(Born { store, locked, record, pidfd })
        }
        Err(mut error) => {
            let mut notes = Vec::new();
            if let Err(failed) =
                delete::destroy(&store, locked, &record, &Files, &mut |note| notes.push(note))
            {
                notes.push(failed);
            }
            notes.iter().for_each(|note| error.attach(note));
            Err(error)
        }
    }
}

/// Opens everything that init takes along.
fn prepare(request: &Request<'_>, bundle: &Bundle, inherited: Inherited) -> Result<Prepared> {
    let (plan, host) = (&bundle.plan, bundle.host);
    let console = request.console.as_ref().map(|fd| fd.try_clone().call("dup", || "")).transpose()?;
    let join = plan.namespaces.join.iter().map(Opened::open).collect::<Result<Vec<_>>>()?;
    namespace::spare_the_host(plan, &join, host)?;
    Ok(Prepared {
        id: request.id.to_owned(),
        sources: Sources::open(plan, &join, host)?,
        join,
        console,
        gate: None,
        has_cgroup: false,
        cgroup_folder: None,
        awaits_scope: bundle.scope.is_some(),
        announces: init::asks_before_go(plan),
        inherited,
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        state: None,
        bundle: bundle.path.clone(),
    })
}

/// The record of a container that is about to be made.
pub(super) fn first_record(bundle: &Bundle, id: ContainerId) -> Result<Record> {
    let spec = &bundle.spec;
    let filter = bundle.plan.seccomp.as_ref().and_then(|filter| filter.notify.as_ref());
    Ok(Record {
        version: RECORD_VERSION,
        id,
        oci_version: spec::VERSION.to_owned(),
        bundle: PathBuf::from(&bundle.path),
        rootfs: PathBuf::from(&bundle.plan.root.path),
        created: crate::time::rfc3339_nano(SystemTime::now()),
        annotations: spec.annotations.clone(),
        creating: true,
        creator: ProcessId::current()?,
        init: None,
        cgroup: None,
        resources: spec.linux.resources.clone(),
        intel_rdt: Vec::new(),
        shares_pid_namespace: !bundle.plan.namespaces.is_own(Namespace::Pid),
        keeps_keyring: false,
        hooks: spec::Hooks {
            poststart: spec.hooks.poststart.clone(),
            poststop: spec.hooks.poststop.clone(),
            ..spec::Hooks::default()
        },
        pipes: if bundle.plan.process.terminal { [0; 3] } else { tty::own_pipes()? },
        restored: false,
        seccomp_notify: filter.map(|notify| SeccompNotify {
            listener_path: PathBuf::from(&notify.listener_path),
            listener_metadata: (!notify.metadata.is_empty()).then(|| notify.metadata.clone()),
        }),
        owner: rustix::process::geteuid().as_raw(),
    })
}

/// The host's side of one birth: what the steps share.
struct Birth<'a> {
    request: &'a Request<'a>,
    bundle: &'a Bundle,
    locked: &'a Locked,
    channel: Channel,
    pid: i32,
    pidfd: OwnedFd,
    cgroup: Option<Cgroup>,
    /// The network namespace that init joins, where devices are to be moved into it.
    network: Option<OwnedFd>,
    /// Whether init tells that it is ready.
    announces: bool,
}

/// The steps from the first trace on the host to a container that is ready.
#[allow(clippy::too_many_arguments)] // everything that was opened, once
fn birth(
    request: &Request<'_>,
    bundle: &Bundle,
    mut prepared: Prepared,
    protection: Protection,
    locked: &Locked,
    hierarchy: Option<Hierarchy>,
    signals: &mut Signals,
    record: &mut Record,
    log: &mut Log,
) -> Result<OwnedFd> {
    let plan = &bundle.plan;
    // step 4: write the first record, then make the cgroup with its limits, or find systemd
    let (cgroup, scope) = match &bundle.scope {
        Some(asked) => (None, Some(asked.prepare(hierarchy, locked, record, signals)?)),
        None => (make_cgroup(bundle, locked, hierarchy, request.rootless, record, log)?, None),
    };
    prepared.has_cgroup = cgroup.is_some() || scope.is_some();
    open_cgroup_mounts(plan, cgroup.as_ref(), &mut prepared, log)?;
    // step 5: make the gate, unless the program starts at once
    if request.gate {
        prepared.gate = Some(Gate::create(locked)?);
    }
    if !plan.hooks.create_container.is_empty() || !plan.hooks.start_container.is_empty() {
        prepared.state = Some(record.state(ContainerState::Creating)?);
    }
    // The one that was opened and checked: its path may lead elsewhere by now.
    let network = joined(&prepared.join, Namespace::Network).filter(|_| !plan.net_devices.is_empty());
    let network = network.map(|joined| joined.as_fd().try_clone_to_owned().call("dup", || "")).transpose()?;
    // Whoever runs a program at once is to have said before what there is to say; who made it wait says it at the end.
    prepared.announces |= log.has_warnings();
    let announces = prepared.announces;
    // step 6: clone init into the cgroup and the new namespaces; the steps of both go on side by side
    let by_init = prepared.sources.by_init;
    let (channel, init_end) = Channel::pair()?;
    let (pid, pidfd) = clone(plan, prepared, locked, &channel, init_end, cgroup.as_ref())?;
    let mut birth = Birth { request, bundle, locked, channel, pid, pidfd, cgroup, network, announces };
    record.init = Some(ProcessId::of(pid)?);
    // step 7: have systemd make the scope around init, which waits
    let place = |scope| scope::place(scope, pid, plan, &birth.channel, record, signals, by_init);
    let placed = scope.map(place);
    let placed = placed.transpose().map(|cgroup| birth.cgroup = cgroup.or(birth.cgroup.take()));
    // Init's own word about what went wrong is worth more than that its end of the channel is closed.
    let equipped = placed.and_then(|()| birth.equip(record, signals, log));
    drop(protection); // takes a while, in which init is busy anyway
    match equipped.and_then(|()| birth.converse(record, signals, log)) {
        Ok(()) => Ok(birth.pidfd),
        Err(error) if is_of_the_dead(&error) => Err(birth.last_words().unwrap_or(error)),
        Err(error) => Err(error),
    }
}

/// What the channel says when init has ended, and what its files in /proc say then or when it is about to.
fn is_of_the_dead(error: &Error) -> bool {
    let of_the_channel = matches!(error.errno(), libc::EPIPE | libc::ECONNRESET);
    of_the_channel || matches!(error.errno(), libc::EACCES | libc::ENOENT | libc::ESRCH)
}

/// Makes the cgroup; the record knows of it before it exists, so that a crash leaves nothing unknown.
pub(super) fn make_cgroup(
    bundle: &Bundle,
    locked: &Locked,
    hierarchy: Option<Hierarchy>,
    rootless: bool,
    record: &mut Record,
    log: &mut Log,
) -> Result<Option<Cgroup>> {
    let plan = &bundle.plan.cgroup;
    let cgroups_path = &bundle.spec.linux.cgroups_path;
    let Some(hierarchy) = hierarchy else {
        log.warning(cgroup::go_without(plan, cgroups_path, None, rootless)?);
        locked.write(record)?;
        return Ok(None);
    };
    let place = plan::cgroup::Place::parse(cgroups_path, record.id.as_str())?;
    let names = place.below(cgroup::own_cgroup)?;
    // Levels that are there already are nobody's to kill or remove, whatever comes.
    record.cgroup = missing(&hierarchy, &names)?;
    locked.write(record)?;
    record.cgroup = None;
    match Cgroup::create(hierarchy, &names, plan) {
        Ok(cgroup) => {
            record.cgroup = Some(cgroup.record().clone());
            Ok(Some(cgroup))
        }
        Err(error) if rootless => {
            log.warning(cgroup::go_without(plan, cgroups_path, Some(&error), true)?);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The cgroup's folder for entries that mount it, where no cgroup namespace is made that init would own.
fn open_cgroup_mounts(
    plan: &Plan,
    cgroup: Option<&Cgroup>,
    prepared: &mut Prepared,
    log: &mut Log,
) -> Result<()> {
    let entries = || plan.mounts.iter().filter(|entry| entry.what == What::Cgroup);
    if !prepared.has_cgroup {
        for entry in entries().filter(|entry| !entry.is_read_only()) {
            log.warning(format!("{}: read-only, as it shows the caller's cgroup", entry.describe()));
        }
    }
    if plan.namespaces.is_new(Namespace::Cgroup) || prepared.awaits_scope || entries().next().is_none() {
        return Ok(());
    }
    let callers = || Hierarchy::find()?.map(|hierarchy| hierarchy.own_folder()).transpose();
    let path = match cgroup {
        Some(cgroup) => Some(cgroup.path().to_owned()),
        None => callers()?,
    };
    let Some(path) = path else { return Ok(()) };
    if prepared.sources.by_init {
        prepared.cgroup_folder = Some(path);
        return Ok(());
    }
    let opened;
    let folder = match cgroup {
        Some(cgroup) => cgroup.fd(),
        None => {
            opened = cgroup::open_folder(&path)?;
            opened.as_fd()
        }
    };
    for (entry, bind) in plan.mounts.iter().zip(&mut prepared.sources.binds) {
        if entry.what == What::Cgroup {
            let read_only = (!prepared.has_cgroup).then(|| entry.clone().read_only());
            let opened = mount::open_cgroup(read_only.as_ref().unwrap_or(entry), folder);
            *bind = Some(opened.context(|| entry.describe())?);
        }
    }
    Ok(())
}

/// The cgroup as its record will be if all levels that are missing now are made; `None` for none.
fn missing(hierarchy: &Hierarchy, names: &[String]) -> Result<Option<CgroupRecord>> {
    let mut created = 0;
    while created < names.len() && !hierarchy.has(&names[..names.len() - created])? {
        created += 1;
    }
    let mount = hierarchy.path().to_owned();
    Ok((created > 0).then(|| CgroupRecord { mount, path: names.join("/"), created, manager: Manager::Files }))
}

/// Makes init, through a process in between where the namespaces demand one.
fn clone(
    plan: &Plan,
    prepared: Prepared,
    locked: &Locked,
    channel: &Channel,
    init_end: Channel,
    cgroup: Option<&Cgroup>,
) -> Result<(i32, OwnedFd)> {
    let group = cgroup.map(Cgroup::fd);
    let explain = |error: sys::Error| {
        let error = Error::from(error);
        cgroup.map_or_else(|| error.clone(), |cgroup| cgroup.explain_birth(error.clone()))
    };
    if plan.namespaces.need_intermediate() {
        return match sys::process::clone3(0, None)? {
            Clone::Child => {
                locked.close_in_clone();
                intermediate::run(plan, prepared, &init_end, group)
            }
            Clone::Parent { pid, .. } => {
                drop((prepared, init_end));
                intermediate::made_by(pid, channel).map(|made| (made.pid, made.pidfd))
            }
        };
    }
    let flags = u64::from(plan.namespaces.clone_flags().unsigned_abs());
    let born = sys::process::clone3(flags, group).map_err(explain);
    match born.map_err(|error| explain_clone(error, plan)).context(|| "make the container's namespaces")? {
        Clone::Child => {
            locked.close_in_clone();
            init::run(plan, prepared, &init_end)
        }
        Clone::Parent { pid, pidfd } => Ok((pid, pidfd)),
    }
}

/// Device rules, ownership of the cgroup, and Intel RDT for process `pid`, which is in the cgroup.
pub(super) fn limit(
    bundle: &Bundle,
    cgroup: Option<&Cgroup>,
    pid: i32,
    rootless: bool,
    record: &mut Record,
    log: &mut Log,
) -> Result<()> {
    let plan = &bundle.plan;
    if let Some(cgroup) = cgroup {
        if let Some(program) = &plan.cgroup.devices {
            match cgroup::devices::load(program).and_then(|program| cgroup.attach_devices(program.as_fd())) {
                Ok(()) => {}
                Err(error) => {
                    let warning = cgroup::devices::go_without(error, rootless)?;
                    // What a container gets without having asked is no loss to anybody without root's rights.
                    if plan.cgroup.device_rules {
                        log.warning(warning);
                    }
                }
            }
        }
        give_cgroup(bundle, cgroup, pid, rootless, log)?;
    }
    if let Some(rdt) = &plan.intel_rdt {
        let root = intel_rdt::root()?;
        record.intel_rdt = intel_rdt::prepare(&root, rdt)?;
        intel_rdt::assign(&root, rdt, pid)?;
    }
    Ok(())
}

/// Gives the cgroup to the user who is to divide it further.
fn give_cgroup(bundle: &Bundle, cgroup: &Cgroup, pid: i32, rootless: bool, log: &mut Log) -> Result<()> {
    let (spec, namespaces) = (&bundle.spec, &bundle.plan.namespaces);
    let owner = if namespaces.is_joined(Namespace::User) && namespaces.is_new(Namespace::Cgroup) {
        let [users, _] = mapping::of_process(bundle.host, pid)?;
        plan::cgroup::owner(spec, &users)
    } else {
        plan::cgroup::owner(spec, &namespaces.uid_mappings)
    };
    match owner.map_or(Ok(()), |owner| cgroup.chown_delegate(owner)) {
        Err(error) if rootless && error.errno() == libc::EPERM => {
            log.warning(format!("the cgroup stays with its owner: {error}"));
            Ok(())
        }
        given => given,
    }
}

/// Says why there is no user namespace, where that is what the kernel refused.
fn explain_clone(error: Error, plan: &Plan) -> Error {
    if !plan.namespaces.is_new(Namespace::User) {
        return error;
    }
    match error.errno() {
        libc::EPERM if !nix::unistd::geteuid().is_root() => {
            error.context("this host gives ordinary users no user namespaces")
        }
        libc::ENOSPC => error.context("there may be no more (user.max_user_namespaces and the like of it)"),
        _ => error,
    }
}

impl Birth<'_> {
    /// What the host gives init while it mounts.
    fn equip(&mut self, record: &mut Record, signals: &mut Signals, log: &mut Log) -> Result<()> {
        let plan = &self.bundle.plan;
        let namespaces = &plan.namespaces;
        // step 8: raise hard limits and set the OOM score, with the runtime's rights.
        // Raised before init reaches its own limits, which may be lower but not higher than these.
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid) {
            rlimit::raise_hard(pid, &plan.process.rlimits)?;
        }
        if !intermediate::sets_oom_score(plan) {
            scheduler::set_oom_score(self.bundle.host, self.pid, plan.process.oom_score_adj)?;
        }
        // step 9: write the id mappings of a new user namespace
        if namespaces.is_new(Namespace::User) {
            mapping::write(self.bundle.host, self.pid, namespaces, signals)?;
            self.channel.send(&ToInit::Mapped)?;
            // Init has no right to them: their owner is no user of its namespace.
            if let Some(uid) = namespaces.host_uid(plan.process.user.uid).filter(|_| !plan.process.terminal) {
                tty::give_stdio(uid, false)?;
            }
        } else if namespaces.is_joined(Namespace::User) && !namespaces.uid_mappings.is_empty() {
            mapping::check_joined(namespaces, &mapping::of_process(self.bundle.host, self.pid)?)?;
        }
        // step 10: make the network namespace and move devices into it
        if namespaces.network_by_parent() {
            // Without devices to move, init may have it at once: `lo` comes on while init mounts.
            let tell = |network: BorrowedFd<'_>| self.channel.send_with(&ToInit::Network, network);
            let devices = !plan.net_devices.is_empty();
            let network =
                namespace::new_network(
                    self.bundle.host,
                    |network| if devices { Ok(()) } else { tell(network) },
                )?;
            if devices {
                self.move_devices(network.as_fd())?;
                tell(network.as_fd())?;
            }
        } else if !plan.net_devices.is_empty() {
            match &self.network {
                Some(joined) => self.move_devices(joined.as_fd())?,
                None => {
                    self.move_devices(namespace::of_process(self.bundle.host, self.pid, "net")?.as_fd())?
                }
            }
        }
        // step 11: device rules, ownership of the cgroup, Intel RDT
        limit(self.bundle, self.cgroup.as_ref(), self.pid, self.request.rootless, record, log)?;
        if let Some(path) = self.request.pidfd_socket {
            handover::send_pidfd(path, self.pidfd.as_fd())?;
        }
        if self.has_early_hooks() {
            self.locked.write(record)?; // hooks ask `state` for the process id
        }
        Ok(())
    }

    /// Moves the host's network devices into the container's namespace.
    fn move_devices(&self, network: BorrowedFd<'_>) -> Result<()> {
        match self.bundle.plan.net_devices.as_slice() {
            [] => Ok(()),
            devices => net_device::move_devices(devices, network),
        }
    }

    fn has_early_hooks(&self) -> bool {
        let hooks = &self.bundle.plan.hooks;
        !(hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && hooks.create_container.is_empty())
    }

    /// Answers init until it is ready (`create`) or has become the program (`run`).
    fn converse(&mut self, record: &mut Record, signals: &mut Signals, log: &mut Log) -> Result<()> {
        // Where init has nothing to ask, it need not wait for an answer either.
        if !self.request.gate && !self.announces {
            self.finish(record, log)?;
        }
        loop {
            self.wait(signals)?;
            match self.channel.receive::<ToParent>()? {
                Some(ToParent::Ready) => {
                    self.finish(record, log)?;
                    if self.request.gate {
                        return Ok(());
                    }
                }
                Some(ToParent::TimeNamespace) => {
                    let offsets = &self.bundle.plan.namespaces.time_offsets;
                    self.bundle
                        .host
                        .write(&format!("{}/timens_offsets", self.pid), offsets)
                        .context(|| "linux.timeOffsets")?;
                    self.channel.send(&ToInit::Continue)?;
                }
                Some(ToParent::Mounted) => {
                    self.run_early_hooks(record, signals)?;
                    self.channel.send(&ToInit::Continue)?;
                }
                Some(ToParent::SeccompListener(number)) => {
                    let status = ContainerState::Creating;
                    notify::pass_listener(record, status, self.pid, self.pidfd.as_fd(), number)?;
                    self.channel.send(&ToInit::Continue)?;
                }
                Some(ToParent::Warning(text)) => {
                    log.warning(text);
                    if !self.request.gate && !record.creating {
                        log.flush(); // it goes on already
                    }
                }
                Some(ToParent::Failed(error)) => return Err(error),
                Some(ToParent::Cloned { .. }) => bail!("init sent a message out of turn"),
                // The end of the channel is the program's beginning, unless `create` still waits for it.
                None if self.request.gate => bail!("the container's init ended without a word"),
                None => return self.check_executed(record),
            }
        }
    }

    /// Waits for init's next word, or for a signal that asks the runtime to end.
    fn wait(&self, signals: &mut Signals) -> Result<()> {
        loop {
            let mut fds = [
                PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            container::poll(&mut fds, None)?;
            let word = fds[0].any().unwrap_or(false);
            // First what init says: once its program runs, signals are for the program.
            if word {
                return Ok(());
            }
            if let Some(signal) = signals.next_to_end()? {
                bail!("interrupted by {signal}");
            }
        }
    }

    /// The record and the pid file say that the container is there; init may go on.
    fn finish(&self, record: &mut Record, log: &mut Log) -> Result<()> {
        // step 12: write the pid file, the configuration and the record, let init go on
        if let Some(path) = self.request.pid_file {
            handover::write_pid_file(path, self.pid)?;
        }
        self.locked.keep_config(&self.bundle.config)?;
        record.creating = false;
        self.locked.write(record)?;
        if !self.request.gate {
            log.flush(); // as soon as it goes on, stderr is the program's
        }
        self.channel.send(&ToInit::Go)
    }

    fn run_early_hooks(&self, record: &Record, signals: &mut Signals) -> Result<()> {
        let plan = &self.bundle.plan;
        let state = record.state(ContainerState::Creating)?;
        let cwd = Path::new(&self.bundle.path);
        hooks::run_until_told("prestart", &plan.hooks.prestart, &state, cwd, signals)?;
        hooks::run_until_told("createRuntime", &plan.hooks.create_runtime, &state, cwd, signals)
    }

    /// The channel also closes when init dies on its way: then its process never has executed a program.
    fn check_executed(&self, record: &Record) -> Result<()> {
        use rustix::process::{WaitId, WaitIdOptions};
        let Some(init) = record.init else { return Ok(()) };
        // Ours to wait for, so it is on the process table still.
        if init.dies_before_exec()? != Some(true) {
            return Ok(());
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended =
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options).call("waitid", || "")?;
        Err(death_before_exec(ended.and_then(|ended| ended.terminating_signal())))
    }

    /// What init said before it ended, if it has.
    fn last_words(&self) -> Option<Error> {
        loop {
            let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            if !container::poll(&mut fds, Some(Instant::now())).ok()? {
                return None;
            }
            match self.channel.receive::<ToParent>() {
                Ok(Some(ToParent::Failed(error))) => return Some(error),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}
