//! The container's first process: sets itself up from inside and becomes the program.
//!
//! It is a clone of the runtime and starts with the runtime's memory, so the plan and everything that was
//! opened before need no transport. It must not return into the runtime's code: [`run`] never returns.
//! The steps and their order are those of docs/create-flow.md.

use std::borrow::Cow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use oci_spec::runtime::ContainerState;
use rustix::fs::Mode;

use super::channel::{Channel, ToInit, ToParent};
use super::handover::Inherited;
use super::identity;
use super::program::Program;
use super::sources::Sources;
use crate::bail;
use crate::cgroup;
use crate::container::gate::Gate;
use crate::error::{Call, Context, Error, Result};
use crate::kernel::mount::Detached;
use crate::kernel::namespace::{self, Opened};
use crate::kernel::procfs::{Need, Procfs};
use crate::kernel::root::{RootFd, Target};
use crate::kernel::{device, keyring, lsm, mask, mount, network, rootfs, scheduler, sysctl, tty};
use crate::plan::Plan;
use crate::plan::mount::{Mount, What};
use crate::plan::namespace::Namespace;

/// Everything init needs beside the plan, opened by the runtime before the clone.
#[derive(Debug)]
pub struct Prepared {
    /// The container's id, for the names of things.
    pub id: String,
    /// The root, the sources of bind mounts, device nodes of the host.
    pub sources: Sources,
    /// Namespaces that init joins itself.
    pub join: Vec<Opened>,
    /// Where the terminal goes.
    pub console: Option<OwnedFd>,
    /// The start gate; none in `run`, which starts at once.
    pub gate: Option<Gate>,
    /// Whether the container has a cgroup of its own, or will have.
    pub has_cgroup: bool,
    /// Path of the cgroup to mount where cgroup2 cannot be, if init has to open that itself.
    pub cgroup_folder: Option<String>,
    /// Whether systemd makes the cgroup around init, which waits for that.
    pub awaits_scope: bool,
    /// Whether init tells that it is ready, and waits, though nothing else demands it: the runtime has something to
    /// say before the program does.
    pub announces: bool,
    /// Descriptors from 3 on that the program inherits.
    pub inherited: Inherited,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// The state document on the standard input of hooks that init runs.
    pub state: Option<oci_spec::runtime::State>,
    /// Working directory of those hooks that run before pivot_root.
    pub bundle: String,
}

/// Sets the container up and becomes its program.
pub fn run(plan: &Plan, prepared: Prepared, channel: &Channel) -> ! {
    let mut state = Progress::Making;
    let Err((error, gate)) = birth(plan, prepared, channel, &mut state);
    let result = match (&gate, state) {
        // After Go the runtime that made us may be gone: `start` listens at the gate.
        (Some(gate), Progress::Hooks) => gate.report_hook(&error.bounded()),
        (Some(gate), Progress::Released) => gate.report(&error.bounded()),
        _ => channel.send(&ToParent::Failed(error.bounded())),
    };
    sys::process::exit_now(if result.is_ok() { 1 } else { 2 })
}

/// Who is to hear of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The runtime that made us.
    Making,
    /// `start`, and a startContainer hook is to blame.
    Hooks,
    /// `start`.
    Released,
}

type Failure = (Error, Option<Gate>);

fn birth(
    plan: &Plan,
    mut prepared: Prepared,
    channel: &Channel,
    progress: &mut Progress,
) -> std::result::Result<std::convert::Infallible, Failure> {
    let gate = prepared.gate.take();
    // step 13: close what the runtime had open and init has no use for
    let result = drop_the_rest(&prepared, channel, gate.as_ref())
        .and_then(|()| enter(plan, &mut prepared, channel))
        .and_then(|inside| furnish(plan, &mut prepared, channel, inside))
        .and_then(|inside| settle(plan, &prepared, inside))
        .and_then(|program| {
            wait_for_start(&prepared, channel, gate.as_ref())?;
            become_program(plan, &prepared, channel, gate.as_ref(), &program, progress)
        });
    match result {
        Ok(never) => match never {},
        Err(error) => Err((error, gate)),
    }
}

/// What later steps need of earlier ones.
struct Inside {
    /// Opened while the host's or a private procfs could still be had; none where nothing needs it.
    procfs: Option<Procfs>,
    terminal: Option<tty::Pair>,
}

/// into every namespace.
fn enter(plan: &Plan, prepared: &mut Prepared, channel: &Channel) -> Result<RootFd> {
    rustix::process::umask(Mode::empty());
    // step 14: wait until systemd has made the scope around this process; all CPUs of the cgroup
    if prepared.awaits_scope {
        wait_for_scope(prepared, channel)?;
    }
    reset_affinity(channel)?;
    // step 15: open what the runtime could not, wait for the mappings, become root of the user namespace
    if prepared.sources.by_init {
        prepared.sources.open_in_init(plan)?;
    }
    enter_user_namespace(plan, channel)?;
    // step 16: join namespaces
    for namespace in &prepared.join {
        namespace.join()?;
    }
    // step 17: a session and a keyring of its own
    rustix::process::setsid().call("setsid", || "")?;
    if !prepared.no_new_keyring {
        if !plan.process.selinux_label.is_empty() {
            lsm::label_keys(&Procfs::private(Need::Processes)?, &plan.process.selinux_label)?;
        }
        keyring::join_session(&prepared.id, plan.namespaces.is_own(Namespace::User))?;
    }
    // step 18: make the cgroup namespace and a time namespace with offsets
    if plan.namespaces.is_new(Namespace::Cgroup) {
        // After the birth in the cgroup: the namespace's root is where its maker is.
        sys::process::unshare(Namespace::Cgroup.flag()).context(|| "make the cgroup namespace")?;
    }
    enter_time_namespace(plan, channel)?;
    // step 19: cut the mounts off from the host's, attach the root
    let Some(root) = prepared.sources.root.take() else { bail!("the root file system was not opened") };
    if plan.namespaces.is_own(Namespace::Mount) {
        if plan.namespaces.is_new(Namespace::Mount) {
            let private = plan.root.propagation.is_some_and(|p| p.flag == libc::MS_PRIVATE);
            rootfs::isolate(private)?;
        }
        rootfs::place(root, &plan.root.path)
    } else {
        Ok(root.into())
    }
}

/// Nobody has asked for it, so that a sandbox around the runtime that forbids it keeps no container from running.
///
/// # Errors
/// Of the channel.
pub fn reset_affinity(channel: &Channel) -> Result<()> {
    match scheduler::reset_affinity() {
        Err(error) => channel.send(&ToParent::Warning(error.to_string())),
        Ok(()) => Ok(()),
    }
}

/// Init has done nothing yet: all that it makes and uses from here on is the scope's.
fn wait_for_scope(prepared: &mut Prepared, channel: &Channel) -> Result<()> {
    loop {
        match channel.receive_with::<ToInit>()? {
            Some((ToInit::Placed, None)) => return Ok(()),
            Some((ToInit::CgroupMount(index), Some(tree))) => match prepared.sources.binds.get_mut(index) {
                Some(bind) => *bind = Some(Detached { tree, target: Target::Folder }),
                None => bail!("the runtime sent a mount for mounts[{index}], which is none"),
            },
            Some((ToInit::CgroupFolder(path), None)) => prepared.cgroup_folder = Some(path),
            Some((other, _)) => bail!("the runtime sent {other:?} out of turn"),
            None => bail!("the runtime ended while the container was being made"),
        }
    }
}

fn enter_user_namespace(plan: &Plan, channel: &Channel) -> Result<()> {
    if !plan.namespaces.is_own(Namespace::User) {
        return Ok(());
    }
    if plan.namespaces.is_new(Namespace::User) {
        expect(channel, |message| matches!(message, ToInit::Mapped))?;
    }
    namespace::become_root()
}

fn enter_time_namespace(plan: &Plan, channel: &Channel) -> Result<()> {
    if !plan.namespaces.is_new(Namespace::Time) || plan.namespaces.time_offsets.is_empty() {
        return Ok(());
    }
    sys::process::unshare(Namespace::Time.flag()).context(|| "make the time namespace")?;
    channel.send(&ToParent::TimeNamespace)?;
    expect(channel, |message| matches!(message, ToInit::Continue))?;
    let host = Procfs::host()?;
    let made = namespace::own(&host, "time_for_children")?;
    namespace::enter(made.as_fd(), Namespace::Time).context(|| "enter the time namespace")
}

fn expect(channel: &Channel, wanted: impl Fn(&ToInit) -> bool) -> Result<()> {
    match channel.receive::<ToInit>()? {
        Some(message) if wanted(&message) => Ok(()),
        Some(other) => bail!("the runtime sent {other:?} out of turn"),
        None => bail!("the runtime ended while the container was being made"),
    }
}

/// everything that is mounted, and into the root.
fn furnish(plan: &Plan, prepared: &mut Prepared, channel: &Channel, root: RootFd) -> Result<Inside> {
    let own_mounts = plan.namespaces.is_own(Namespace::Mount);
    // step 20: make the mounts, detached
    let mut made = make_mounts(plan, prepared)?;
    // step 21: attach them in order, in the network namespace from the first that shows it on
    place_mounts(plan, prepared, channel, &root, &mut made)?;
    // step 22: device nodes, links, the working directory, the terminal
    if let Some(devices) = &plan.devices {
        device::make_nodes(&root, devices, &prepared.sources.devices)?;
        device::make_links(&root)?;
    }
    root.ensure(&plan.process.cwd, Target::Folder).context(|| "process.cwd")?;
    let terminal = if plan.process.terminal {
        let pair = tty::open(&root, plan.process.console_size)?;
        if plan.process.terminal_is_ours {
            tty::pass_newlines(&pair)?;
        }
        tty::place_console(&root, pair.slave.as_fd())?;
        Some(pair)
    } else {
        None
    };
    // step 23: read-only and masked paths
    if own_mounts {
        mask::make_readonly(&root, &plan.readonly_paths)?;
        mask::mask(&root, &plan.masked_paths, &plan.mount_label)?;
    }
    // step 24: hooks: prestart and createRuntime by the runtime, createContainer by init
    run_hooks_before_pivot(plan, prepared, channel)?;
    // step 25: enter the root by pivot_root, let go of the old one
    let procfs = open_procfs(plan)?;
    if !own_mounts || plan.namespaces.is_joined(Namespace::Mount) {
        rootfs::change_root(&root)?;
    } else if prepared.no_pivot {
        let mountinfo = Procfs::host()?.read("self/mountinfo", 16 << 20)?;
        rootfs::move_root(&root, &String::from_utf8_lossy(&mountinfo))?;
    } else {
        rootfs::pivot(&root)?;
    }
    if own_mounts {
        rootfs::finish(root.as_fd(), plan.root.readonly, plan.root.propagation)?;
    }
    Ok(Inside { procfs, terminal })
}

type Made = Vec<Option<Detached>>;

/// All but those that show the network namespace, which the runtime may still be making.
fn make_mounts(plan: &Plan, prepared: &mut Prepared) -> Result<Made> {
    plan.mounts
        .iter()
        .enumerate()
        .map(|(index, entry)| match &entry.what {
            _ if shows_network(entry) => Ok(None),
            What::Cgroup => {
                let folder = prepared.sources.binds.get_mut(index).and_then(Option::take);
                make_cgroup_mount(entry, folder, prepared)
            }
            _ => mount::make(entry).context(|| entry.describe()),
        })
        .collect()
}

/// cgroup2 or, where the cgroup namespace belongs to somebody else, the folder of the cgroup that init is in. What
/// is not the container's own is the caller's, and not for the container to change (CVE-2023-25809).
fn make_cgroup_mount(
    entry: &Mount,
    folder: Option<Detached>,
    prepared: &Prepared,
) -> Result<Option<Detached>> {
    let entry =
        if prepared.has_cgroup { Cow::Borrowed(entry) } else { Cow::Owned(entry.clone().read_only()) };
    let open = || match (folder, &prepared.cgroup_folder) {
        (Some(folder), _) => Ok(Some(folder)),
        (None, Some(path)) => mount::open_cgroup(&entry, cgroup::open_folder(path)?.as_fd()).map(Some),
        (None, None) => Ok(None),
    };
    match mount::make(&entry) {
        Err(error) if error.errno() == libc::EPERM => match open() {
            Ok(None) => Err(error),
            opened => opened,
        },
        made => made,
    }
    .context(|| entry.describe())
}

fn shows_network(entry: &Mount) -> bool {
    matches!(&entry.what, What::Filesystem { fstype, .. } if fstype == "sysfs")
}

fn enter_network(plan: &Plan, channel: &Channel) -> Result<()> {
    if plan.namespaces.network_by_parent() {
        match channel.receive_with::<ToInit>()? {
            Some((ToInit::Network, Some(fd))) => {
                namespace::enter(fd.as_fd(), Namespace::Network).context(|| "enter the network namespace")?;
            }
            Some((other, _)) => bail!("the runtime sent {other:?} out of turn"),
            None => bail!("the runtime ended while the container was being made"),
        }
    }
    if plan.namespaces.is_new(Namespace::Network) && !plan.namespaces.network_by_parent() {
        network::loopback_up()?;
    }
    Ok(())
}

fn place_mounts(
    plan: &Plan,
    prepared: &mut Prepared,
    channel: &Channel,
    root: &RootFd,
    made: &mut Made,
) -> Result<()> {
    let mut in_network = false;
    for (index, entry) in plan.mounts.iter().enumerate() {
        if shows_network(entry) {
            if !in_network {
                enter_network(plan, channel)?;
                in_network = true;
            }
            made[index] = make_sysfs(plan, channel, entry).context(|| entry.describe())?;
        }
        let placed = match &entry.what {
            What::Remount { parameters } => mount::remount(root, entry, parameters),
            What::Bind { .. } => match prepared.sources.binds.get_mut(index).and_then(Option::take) {
                Some(bind) => mount::place(root, entry, &bind),
                None => Err(Error::other("its source was not opened")),
            },
            _ => match made.get_mut(index).and_then(Option::take) {
                Some(made) => mount::place(root, entry, &made),
                None => Err(Error::other("it was not made")),
            },
        };
        placed.context(|| entry.describe())?;
    }
    if in_network { Ok(()) } else { enter_network(plan, channel) }
}

/// sysfs or, at /sys of a container in a user namespace that does not own its network namespace, the host's, as crun
/// has it: the network is the one that shows there.
fn make_sysfs(plan: &Plan, channel: &Channel, entry: &Mount) -> Result<Option<Detached>> {
    let namespaces = &plan.namespaces;
    let is_at_its_place = Path::new(&entry.destination).components().eq(Path::new(mount::SYSFS).components());
    match mount::make(entry) {
        Err(error)
            if error.errno() == libc::EPERM
                && is_at_its_place
                && namespaces.is_in_user_namespace()
                && namespaces.is_new(Namespace::Mount) =>
        {
            let bound = mount::open_host_sysfs(entry).map_err(|mut failed| {
                failed.attach(&error);
                failed
            })?;
            let warn = |why| channel.send(&ToParent::Warning(format!("{}: {why}", entry.describe())));
            if !entry.is_read_only() {
                warn("read-only, as it shows the host's")?;
            }
            if namespaces.is_joined(Namespace::Network) {
                warn("it shows the host's network, as the container does not own the one that it joins")?;
            }
            Ok(Some(bound))
        }
        made => made,
    }
}

fn run_hooks_before_pivot(plan: &Plan, prepared: &Prepared, channel: &Channel) -> Result<()> {
    let hooks = &plan.hooks;
    if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && hooks.create_container.is_empty() {
        return Ok(());
    }
    channel.send(&ToParent::Mounted)?;
    expect(channel, |message| matches!(message, ToInit::Continue))?;
    run_own_hooks(
        "createContainer",
        ContainerState::Creating,
        &hooks.create_container,
        prepared,
        &prepared.bundle,
    )
}

/// Hooks in the container's namespaces; they are told init's id as it is seen there (runtime.md "State").
fn run_own_hooks(
    kind: &str,
    status: ContainerState,
    hooks: &[crate::spec::Hook],
    prepared: &Prepared,
    cwd: &str,
) -> Result<()> {
    match (&prepared.state, hooks.is_empty()) {
        (Some(state), false) => {
            let mut state = state.clone();
            state.set_status(status).set_pid(Some(nix::unistd::getpid().as_raw()));
            crate::hooks::run(kind, hooks, &state, Path::new(cwd))
        }
        _ => Ok(()),
    }
}

/// procfs for labels and kernel parameters, of this pid namespace and attached nowhere.
fn open_procfs(plan: &Plan) -> Result<Option<Procfs>> {
    let process = &plan.process;
    if !plan.sysctls.is_empty() {
        return Procfs::private(Need::Everything).map(Some);
    }
    if !process.apparmor_profile.is_empty() || !process.selinux_label.is_empty() {
        return Procfs::private(Need::Processes).map(Some);
    }
    Ok(None)
}

/// names, parameters, terminal, limits, user. Returns the program, found as that user.
fn settle(plan: &Plan, prepared: &Prepared, mut inside: Inside) -> Result<Program> {
    let process = &plan.process;
    // step 26: host name, kernel parameters, labels
    if !plan.hostname.is_empty() {
        nix::unistd::sethostname(&plan.hostname).call("sethostname", || format!("{:?}", plan.hostname))?;
    }
    if !plan.domainname.is_empty() {
        rustix::system::setdomainname(plan.domainname.as_bytes())
            .call("setdomainname", || format!("{:?}", plan.domainname))?;
    }
    if let Some(procfs) = &inside.procfs {
        sysctl::apply(procfs, &plan.sysctls)?;
        if !process.apparmor_profile.is_empty() {
            lsm::apply_apparmor(procfs, &process.apparmor_profile)?;
        }
        if !process.selinux_label.is_empty() {
            lsm::apply_selinux(procfs, &process.selinux_label)?;
        }
    }
    // step 27: terminal, standard input and output
    if let Some(pair) = inside.terminal.take() {
        if let Some(console) = &prepared.console {
            tty::send(console.as_fd(), pair.master.as_fd())?;
        }
        tty::become_terminal(pair.slave)?;
    }
    tty::settle_stdio(process.user.uid, process.terminal)?;
    // step 28: personality, memory policy, priorities, no_new_privs
    identity::schedule(process)?;
    drop(inside);
    // step 29: working directory, capabilities, groups, user; find the program as that user
    identity::assume(process, plan.seccomp.is_some(), prepared.inherited.listen)
}

/// Whether init waits for an answer of the runtime before it is ready. Otherwise `run` may send its Go as
/// soon as it likes, and init finds it there.
pub fn asks_before_go(plan: &Plan) -> bool {
    let hooks = &plan.hooks;
    let no_hooks =
        hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && hooks.create_container.is_empty();
    let offsets = plan.namespaces.is_new(Namespace::Time) && !plan.namespaces.time_offsets.is_empty();
    !no_hooks || offsets
}

/// `create` is done here, and waits for `start`; `run` goes on when the record is written.
fn wait_for_start(prepared: &Prepared, channel: &Channel, gate: Option<&Gate>) -> Result<()> {
    // step 30: tell the runtime, wait for its record, wait at the gate
    if gate.is_some() || prepared.announces {
        channel.send(&ToParent::Ready)?;
    }
    expect(channel, |message| matches!(message, ToInit::Go))?;
    if let Some(gate) = gate {
        // It may wait for long, and others may share its pid namespace: it holds what it needs, no more.
        keep_only(prepared, gate.raw_fds().to_vec())?;
        gate.wait()?;
    }
    Ok(())
}

/// Closes what the runtime had open and init has no use for: the state folder above all.
fn drop_the_rest(prepared: &Prepared, channel: &Channel, gate: Option<&Gate>) -> Result<()> {
    let binds = prepared.sources.binds.iter().flatten().map(|bind| bind.tree.as_raw_fd());
    let join = prepared.join.iter().map(|namespace| namespace.as_fd().as_raw_fd());
    let mut keep: Vec<RawFd> = vec![channel.as_fd().as_raw_fd()];
    keep.extend(prepared.sources.root.iter().map(AsRawFd::as_raw_fd));
    keep.extend(binds.chain(join).chain(prepared.sources.devices.iter().flatten().map(AsRawFd::as_raw_fd)));
    keep.extend(prepared.console.iter().map(AsRawFd::as_raw_fd));
    keep.extend(gate.iter().flat_map(|gate| gate.raw_fds()));
    keep_only(prepared, keep)
}

fn keep_only(prepared: &Prepared, mut keep: Vec<RawFd>) -> Result<()> {
    keep.extend((3..3 + prepared.inherited.total).filter_map(|fd| RawFd::try_from(fd).ok()));
    Ok(sys::fd::close_all_except(&keep)?)
}

/// startContainer hooks, the filter, execve.
fn become_program(
    plan: &Plan,
    prepared: &Prepared,
    channel: &Channel,
    gate: Option<&Gate>,
    program: &Program,
    progress: &mut Progress,
) -> Result<std::convert::Infallible> {
    // step 31: startContainer hooks
    *progress = Progress::Hooks;
    // The bundle is out of sight by now, and a folder of the image at its path would not be the bundle.
    run_own_hooks("startContainer", ContainerState::Created, &plan.hooks.start_container, prepared, "/")?;
    *progress = Progress::Released;
    // step 32: descriptors close-on-exec, signals as they were born, limits
    identity::strip(&plan.process, prepared.inherited.total)?;
    // Before the filter, which may forbid it.
    gate.map_or(Ok(()), Gate::announce)?;
    // step 33: load the system call filter as the last thing
    if let Some(filter) = &plan.seccomp {
        identity::load_filter(filter, &plan.process, |number| match gate {
            Some(gate) => gate.hand_over_seccomp_fd(number),
            None => hand_over_listener(channel, number),
        })?;
    }
    // step 34: become the program
    Err(program.exec())
}

/// Has the runtime take the seccomp listener `number`, and waits until it has.
///
/// # Errors
/// Of the channel, or that the runtime has ended.
pub fn hand_over_listener(channel: &Channel, number: RawFd) -> Result<()> {
    channel.send(&ToParent::SeccompListener(number))?;
    expect(channel, |message| matches!(message, ToInit::Continue))
}
