//! The container of `runc spec`'s configuration, step by step. This must not grow anything that the kernel
//! does not demand: no configuration is read, no path is distrusted, nothing is recorded. Three things that
//! runtimes do beside it are left out because the configuration does not ask for them: the device rules of
//! the cgroup (a bpf program), bringing up `lo`, and a session keyring.

use std::ffi::{CStr, c_ulong};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::kernel;
use crate::marks::Marks;

/// The host name of the container.
const HOST_NAME: &CStr = c"runc";
/// The environment of the program.
const ENVIRONMENT: [&CStr; 2] =
    [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", c"TERM=xterm"];
/// CAP_KILL (5), CAP_NET_BIND_SERVICE (10) and CAP_AUDIT_WRITE (29).
const CAPABILITIES: u32 = 1 << 5 | 1 << 10 | 1 << 29;
const OPEN_FILES: u64 = 1024;

const MASKED: [&CStr; 10] = [
    c"proc/acpi",
    c"proc/asound",
    c"proc/kcore",
    c"proc/keys",
    c"proc/latency_stats",
    c"proc/timer_list",
    c"proc/timer_stats",
    c"proc/sched_debug",
    c"sys/firmware",
    c"proc/scsi",
];
const READ_ONLY: [&CStr; 5] = [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"];
const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"dev/null", 1, 3),
    (c"dev/zero", 1, 5),
    (c"dev/full", 1, 7),
    (c"dev/random", 1, 8),
    (c"dev/urandom", 1, 9),
    (c"dev/tty", 5, 0),
];
const LINKS: [(&CStr, &CStr); 6] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"/proc/kcore", c"dev/core"),
    (c"pts/ptmx", c"dev/ptmx"),
];

const NEW_NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
const PLAIN: c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

/// A failed step: its name and the kernel's reason.
pub type Failure = (&'static str, io::Error);

/// Runs `arguments` in a container whose root is `root`, inside the new cgroup `cgroup`; the program's exit
/// status. `marks` takes the time after each step.
pub fn run(cgroup: &CStr, root: &CStr, arguments: &[&CStr], marks: &Marks) -> Result<i32, Failure> {
    kernel::make_folder(cgroup, 0o755).map_err(|error| ("mkdir cgroup", error))?;
    let status = run_inside(cgroup, root, arguments, marks);
    let removed = kernel::remove_folder(cgroup).map_err(|error| ("rmdir cgroup", error));
    marks.set("rmdir cgroup");
    let status = status?;
    removed.map(|()| status)
}

fn run_inside(cgroup: &CStr, root: &CStr, arguments: &[&CStr], marks: &Marks) -> Result<i32, Failure> {
    let folder = kernel::open_folder(cgroup).map_err(|error| ("open cgroup", error))?;
    marks.set("mkdir, open cgroup");
    let Some(child) = kernel::clone3(NEW_NAMESPACES, folder.as_fd()).map_err(|error| ("clone3", error))?
    else {
        let (step, error) = enter(root, arguments, marks);
        crate::report(&format!("floor: {step}: {error}"));
        kernel::exit_now(111);
    };
    let status = kernel::wait(child.as_fd()).map_err(|error| ("waitid", error))?;
    marks.set("execve, program, exit, waitid");
    Ok(status)
}

/// The child's part; returns only when a step failed.
fn enter(root: &CStr, arguments: &[&CStr], marks: &Marks) -> Failure {
    marks.set("clone3 until the child runs");
    let mut steps = Steps { marks, failure: None };
    steps.step("setsid", kernel::new_session);
    steps.step("unshare cgroup namespace", || kernel::unshare(libc::CLONE_NEWCGROUP));
    steps.step("propagation", || kernel::mount(c"", c"/", c"", libc::MS_REC | libc::MS_SLAVE, c""));
    steps.step("bind root, chdir", || {
        kernel::mount(root, root, c"", libc::MS_BIND | libc::MS_REC, c"")?;
        kernel::change_folder(root)
    });
    file_systems(&mut steps);
    steps.step("devices", || {
        DEVICES.iter().try_for_each(|(path, major, minor)| kernel::make_device(path, *major, *minor))
    });
    steps.step("umask", || {
        kernel::set_umask(0o022);
        Ok(())
    });
    steps.step("symlinks", || LINKS.iter().try_for_each(|(target, path)| kernel::link(target, path)));
    steps.step("read-only paths", || READ_ONLY.iter().try_for_each(|path| make_read_only(path)));
    steps.step("masked paths", mask);
    steps.step("read-only root", || {
        let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
        kernel::mount(c"", c".", c"", flags, c"")
    });
    steps.step("pivot_root", kernel::pivot_root_here);
    steps.step("umount2 old root, chdir", || {
        kernel::unmount(c".", libc::MNT_DETACH)?;
        kernel::change_folder(c"/")
    });
    steps.step("sethostname, setrlimit", || {
        kernel::set_host_name(HOST_NAME)?;
        kernel::limit_open_files(OPEN_FILES)
    });
    steps.step("bounding set", drop_bounding_set);
    steps.step("setgroups, setresgid, setresuid", kernel::become_root);
    steps.step("capset, no_new_privs", || {
        kernel::set_capabilities(CAPABILITIES)?;
        kernel::no_new_privileges()
    });
    steps.failure.unwrap_or_else(|| ("execve", execute(arguments)))
}

fn file_systems(steps: &mut Steps) {
    steps.step("proc", || kernel::mount(c"proc", c"proc", c"proc", 0, c""));
    steps.step("tmpfs /dev", || {
        kernel::set_umask(0);
        let flags = libc::MS_NOSUID | libc::MS_STRICTATIME;
        kernel::mount(c"tmpfs", c"dev", c"tmpfs", flags, c"mode=755,size=65536k")
    });
    steps.step("devpts", || {
        kernel::make_folder(c"dev/pts", 0o755)?;
        let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
        kernel::mount(c"devpts", c"dev/pts", c"devpts", flags, c"newinstance,ptmxmode=0666,mode=0620,gid=5")
    });
    steps.step("shm", || {
        kernel::make_folder(c"dev/shm", 0o755)?;
        kernel::mount(c"shm", c"dev/shm", c"tmpfs", PLAIN, c"mode=1777,size=65536k")
    });
    steps.step("mqueue", || {
        kernel::make_folder(c"dev/mqueue", 0o755)?;
        kernel::mount(c"mqueue", c"dev/mqueue", c"mqueue", PLAIN, c"")
    });
    steps.step("sysfs", || kernel::mount(c"sysfs", c"sys", c"sysfs", PLAIN | libc::MS_RDONLY, c""));
    steps.step("cgroup2", || {
        let flags = PLAIN | libc::MS_RDONLY | libc::MS_RELATIME;
        kernel::mount(c"cgroup", c"sys/fs/cgroup", c"cgroup2", flags, c"")
    });
}

/// A clone of the mount at `path`, made read-only, over `path`; nothing where there is no such path. By the
/// descriptor calls, which are the quicker ones here (36 µs for five against 45 of bind and remount).
fn make_read_only(path: &CStr) -> io::Result<()> {
    let Some(clone) = present(kernel::clone_mount(libc::AT_FDCWD, path))? else { return Ok(()) };
    kernel::set_attributes(clone.as_fd(), libc::MOUNT_ATTR_RDONLY)?;
    kernel::attach(clone.as_fd(), path)
}

/// Files lie under /dev/null, folders under one empty read-only tmpfs, of which all but the first are
/// clones: a tmpfs for each would cost half as much again.
fn mask() -> io::Result<()> {
    let mut empty: Option<OwnedFd> = None;
    for path in MASKED {
        let Some(folder) = present(kernel::is_folder(path))? else { continue };
        let cover = match &empty {
            _ if !folder => kernel::clone_mount(libc::AT_FDCWD, c"dev/null")?,
            Some(first) => kernel::clone_mount(first.as_raw_fd(), c"")?,
            None => kernel::file_system(c"tmpfs", libc::MOUNT_ATTR_RDONLY)?,
        };
        kernel::attach(cover.as_fd(), path)?;
        if folder {
            empty.get_or_insert(cover);
        }
    }
    Ok(())
}

/// Nothing at all is not an error.
fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Everything but the three; the kernel says where its capabilities end.
fn drop_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        if capability < 32 && CAPABILITIES & (1 << capability) != 0 {
            continue;
        }
        match kernel::drop_bounding(capability) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            done => done?,
        }
    }
    Ok(())
}

fn execute(arguments: &[&CStr]) -> io::Error {
    let Some(program) = arguments.first() else { return io::ErrorKind::InvalidInput.into() };
    kernel::execute(program, &kernel::Pointers::of(arguments), &kernel::Pointers::of(&ENVIRONMENT))
}

/// Steps until the first that fails; the time is taken after each.
struct Steps<'a> {
    marks: &'a Marks,
    failure: Option<Failure>,
}

impl Steps<'_> {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> io::Result<()>) {
        if self.failure.is_some() {
            return;
        }
        match work() {
            Ok(()) => self.marks.set(name),
            Err(error) => self.failure = Some((name, error)),
        }
    }
}
