//! The birth of a container on the disk, step by step, each undone when a later one fails.
//!
//! Until its record is written it is a draft that nobody else sees and that whoever collects garbage takes away when its
//! command was killed. Then it gets name and place at once. Nothing runs yet: the kernel's part of namespaces, cgroup and
//! process is the runtime's, at each start, by the document that is written here.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use crate::bundle::options::{Options, SharedMemory};
use crate::bundle::spec::{Mount, Spec};
use crate::bundle::{self, account, process, resources};
use crate::catalog::summary::Summary;
use crate::container::config::Config;
use crate::container::host_config::HostConfig;
use crate::container::hosts::{self, Extra, Resolver};
use crate::container::limits::{self, Controllers};
use crate::container::modes::{Mode, Modes};
use crate::container::record::Container;
use crate::container::store::{Containers, Draft};
use crate::container::volumes::{self, Placed, Wanted};
use crate::container::{self, ContainerId, configure, init, labels, remove, root, sweep};
use crate::error::{Context, Error, Kind, Result};
use crate::network::{self, EndpointConfig};
use crate::root::lookup;
use crate::store::Store;
use crate::store::record::Lock;
use crate::{event, host, rootless};

/// The document's name in a container's folder.
pub const DOCUMENT: &str = "config.json";
/// The same before descriptions of devices change it, which is done at each start anew.
pub const PLAIN_DOCUMENT: &str = "config.plain.json";
/// Who runs a hardened container whose image says root: `nobody` and `nogroup` of most systems.
const NOBODY: &str = "65534:65534";

/// What is asked for.
#[derive(Debug)]
pub struct Request {
    /// A name, or empty for a generated one.
    pub name: String,
    /// What shapes the document.
    pub options: Options,
    /// Whose namespaces, with other containers as the user names them.
    pub modes: Modes,
    /// `Config`, as far as flags say.
    pub config: Config,
    /// `HostConfig`, likewise; limits and modes are told by this module.
    pub host_config: HostConfig,
    /// What is mounted, and which volumes there have to be.
    pub mounts: Vec<Wanted>,
    /// Its networks by name, if it is to be in any.
    pub endpoints: BTreeMap<String, EndpointConfig>,
    /// `--add-host`.
    pub hosts: Vec<Extra>,
    /// `--dns` and its kin.
    pub resolver: Resolver,
    /// The runtime's binary.
    pub runtime: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub struct Created {
    /// The container.
    pub container: Container,
    /// What cannot be as it was asked for, in Docker's words.
    pub warnings: Vec<String>,
    /// Its lock of operations, for who starts it at once: nobody else has started, removed or renamed it.
    pub operation: Option<Lock>,
}

/// Makes a container of an image. `to_start` has its root mounted and the container locked already, for who starts it at
/// once.
///
/// # Errors
/// What was asked for and cannot be, in Docker's words; the system's reason. Nothing is left of it then.
pub fn create(
    store: &Store,
    containers: &Containers,
    image: &Summary,
    mut request: Request,
    to_start: bool,
) -> Result<Created> {
    sweep::after_crash(containers)?;
    // What it stands on stays, from here until its record says so.
    let mut lease = store.leases.begin()?;
    let parts = image.image.content.iter().chain(&image.image.layers);
    lease.claim(&parts.chain([&image.id]).collect::<Vec<_>>())?;
    let warnings = limit(&mut request)?;
    let draft = containers.draft()?;
    let lasting = !request.host_config.auto_remove;
    let execution = image.config.config.clone().unwrap_or_default();
    configure::merge(&mut request.config, &execution);
    let kept = volumes::keep(containers, &request.mounts, &request.config, &request.host_config)?;
    let mut placed = Placed::default();
    let made = (|| {
        let folder = draft.path();
        let layers = &image.image.layers;
        // Who only looks into the root does not wait for the disk when it goes.
        let passing = !lasting || !to_start;
        let label = labels::choose(containers, &draft.id, &mut request.options)?;
        let mounted = root::make(containers.root(), folder, &draft.id, layers, (passing, label))?;
        let container = fill(containers, &draft, mounted.as_fd(), image, request, &mut placed)?;
        let mounted = if to_start { Some(mounted) } else { None };
        if mounted.is_none() {
            root::renew_work(folder)?;
        }
        // Before anybody else can find it.
        let operation = to_start.then(|| draft.operation()).transpose()?;
        Ok((containers.publish(&draft, container, lasting)?, mounted, operation))
    })();
    // Its record says what it has, or nobody has it.
    drop(kept);
    let (container, mounted, operation) = made.map_err(|error: Error| {
        let undone = [volumes::give_up(containers, draft.id.as_str(), &placed), draft.discard()];
        undone.into_iter().filter_map(Result::err).fold(error, |error, clean_up| error.and(&clean_up))
    })?;
    event::emit(containers.state_root(), "create", &container, &[]);
    if let Some(mounted) = mounted
        && let Err(error) = root::place(containers, &ContainerId::parse(&container.id)?, mounted.as_fd())
    {
        return Err(match remove::discard(containers, &container) {
            Ok(()) => error,
            Err(clean_up) => error.and(&clean_up),
        });
    }
    Ok(Created { container, warnings, operation })
}

/// Leaves out what this host cannot limit, and warns.
fn limit(request: &mut Request) -> Result<Vec<String>> {
    let limits = &mut request.options.limits;
    if *limits == crate::bundle::options::Limits::default() {
        return Ok(Vec::new());
    }
    // What contradicts itself does so too where it would be left out.
    resources::of_limits(limits, host::read(None, false)?.cpus)?;
    // An ordinary user has none until somebody delegates a cgroup to him.
    let controllers =
        if rootless::is_in_user_namespace() { Controllers::default() } else { Controllers::read() };
    let warnings = limits::discard(limits, controllers);
    configure::tell_limits(&mut request.host_config, limits);
    Ok(warnings)
}

/// All of the container but its name: files, document, record.
fn fill(
    containers: &Containers,
    draft: &Draft,
    root: BorrowedFd,
    image: &Summary,
    request: Request,
    placed: &mut Placed,
) -> Result<Container> {
    let Request {
        name,
        mut options,
        modes,
        mut config,
        mut host_config,
        mounts,
        mut endpoints,
        hosts,
        resolver,
        runtime,
    } = request;
    let id = draft.id.clone();
    config.healthcheck.as_ref().map_or(Ok(()), configure::check_health)?;
    let host = host::read(rootless::mappings_of_containers()?, options.privileged)?;

    // Namespaces: those of others by their ids, which stay when names change.
    let joined = Joined::find(containers, &modes)?;
    joined.tell(&modes, &mut host_config);
    if matches!(modes.network, Mode::Network(_)) {
        endpoints = network::resolve(containers, endpoints, &mut host_config)?;
    }
    options.namespaces = modes.namespaces();
    options.shared_memory = match (&modes.ipc, &joined.ipc) {
        (Mode::Nothing, _) => SharedMemory::Nothing,
        (Mode::Shareable, _) => SharedMemory::Folder(text(&containers.folder(&id).join(root::SHM))?),
        (_, Some(other)) => {
            SharedMemory::Folder(text(&containers.folder(&ContainerId::parse(&other.id)?).join(root::SHM))?)
        }
        _ => SharedMemory::Own,
    };

    // Network: names, and the files that tell them.
    let lasting = !host_config.auto_remove;
    let other = joined.network.as_ref();
    let names = Names { containers, draft, joined: other, host_name: &host.hostname, lasting };
    names.choose(&modes, &mut options, &mut config);
    options.files = names.files(&modes, &options, &hosts, &resolver)?;
    if host_config.init == Some(true) {
        options.files.push(init::mount()?);
        options.init = Some(init::INSIDE.to_owned());
    }

    // Environment, user and folder of the program, by the image's own files.
    let account = account(root, image, &mut options, host_config.hardened, &mut config)?;
    volumes::place(containers, root, (&config, &host_config), mounts, placed)?;
    options.mounts.append(&mut placed.mounts);
    let spec = bundle::spec(&image.config, &options, &host, &account, id.as_str())?;
    if let Some(label) = &spec.linux.mount_label {
        volumes::relabel(placed, label)?;
        labels::label_files(draft.path(), label)?;
    }
    lookup::make_folders(root, &spec.process.cwd)?;
    let document = serde_json::to_vec(&spec).map_err(|error| Error::invalid(error.to_string()));
    let document = document.during(|| DOCUMENT.into())?;
    write(&draft.path().join(DOCUMENT), &document, 0o600, lasting)?;
    if host_config.device_requests.is_some() || endpoints.values().any(|config| !config.linked.is_empty()) {
        write(&draft.path().join(PLAIN_DOCUMENT), &document, 0o600, lasting)?;
    }

    tell_paths(&mut host_config, &spec);
    let execution = image.config.config.clone().unwrap_or_default();
    let mut words = process::args(&execution, &options)?.into_iter();
    Ok(Container {
        id: id.to_string(),
        name,
        created: jiff::Timestamp::now().to_string(),
        image: image.id.clone(),
        layers: image.image.layers.clone(),
        path: words.next().unwrap_or_default(),
        args: words.collect(),
        config,
        host_config,
        mounts: placed.points.clone(),
        endpoints,
        runtime_path: runtime,
        mount_label: spec.linux.mount_label.unwrap_or_default(),
        process_label: spec.process.selinux_label.unwrap_or_default(),
        app_armor_profile: spec.process.apparmor_profile.unwrap_or_default(),
    })
}

/// Who runs it; a hardened container's user is not root unless the user says so.
fn account(
    root: BorrowedFd,
    image: &Summary,
    options: &mut Options,
    hardened: bool,
    config: &mut Config,
) -> Result<account::Account> {
    let files = (lookup::read_accounts(root, "/etc/passwd")?, lookup::read_accounts(root, "/etc/group")?);
    let files = account::Files { passwd: &files.0, group: &files.1 };
    let found = account::resolve(bundle::user(&image.config, options), &options.groups, files)?;
    if !hardened || found.uid != 0 || options.user.is_some() {
        return Ok(found);
    }
    options.user = Some(NOBODY.to_owned());
    NOBODY.clone_into(&mut config.user);
    account::resolve(NOBODY, &options.groups, files)
}

/// The containers whose namespaces it has.
#[derive(Default)]
struct Joined {
    network: Option<Container>,
    pid: Option<Container>,
    ipc: Option<Container>,
}

impl Joined {
    fn find(containers: &Containers, modes: &Modes) -> Result<Joined> {
        let mut joined = Joined::default();
        for (flag, word) in modes.joined() {
            let id = containers.find(word)?;
            let other = containers.get(&id)?.ok_or_else(|| container::missing(word))?;
            match flag {
                "network" => joined.network = Some(other),
                "pid" => joined.pid = Some(other),
                _ => {
                    check_shareable(&other)?;
                    joined.ipc = Some(other);
                }
            }
        }
        Ok(joined)
    }

    /// Writes the modes into the record, in Docker's words.
    fn tell(&self, modes: &Modes, host_config: &mut HostConfig) {
        let word = |mode: &Mode, other: &Option<Container>, own: &str| match other {
            Some(other) => format!("container:{}", other.id),
            None => mode.word(own),
        };
        host_config.network_mode = word(&modes.network, &self.network, "none");
        host_config.pid_mode = word(&modes.pid, &self.pid, "");
        host_config.ipc_mode = word(&modes.ipc, &self.ipc, "private");
        host_config.uts_mode = modes.uts.word("");
        host_config.cgroupns_mode = modes.cgroup.word("private");
    }
}

/// May others have this container's IPC?
///
/// # Errors
/// Docker's words if not.
pub fn check_shareable(other: &Container) -> Result<()> {
    if other.host_config.ipc_mode == "shareable" {
        return Ok(());
    }
    let hint = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)";
    Err(Error::conflict(format!("container {}: {hint}", other.id)))
}

/// What the container and others are called in it.
struct Names<'a> {
    containers: &'a Containers,
    draft: &'a Draft,
    /// Whose network it has.
    joined: Option<&'a Container>,
    host_name: &'a str,
    lasting: bool,
}

impl Names<'_> {
    /// Its host's name: the user's, that of whose network it is in, or its id.
    fn choose(&self, modes: &Modes, options: &mut Options, config: &mut Config) {
        if let Some(other) = self.joined {
            options.hostname = Some(other.config.hostname.clone());
            options.domainname = Some(other.config.domainname.clone()).filter(|name| !name.is_empty());
        } else if modes.network == Mode::Host && modes.uts != Mode::Host && options.hostname.is_none() {
            options.hostname = Some(self.host_name.to_owned());
        }
        config.hostname = self.name(modes, options);
        config.domainname = options.domainname.clone().unwrap_or_default();
    }

    fn name(&self, modes: &Modes, options: &Options) -> String {
        match &options.hostname {
            Some(name) => name.clone(),
            None if modes.uts == Mode::Host => self.host_name.to_owned(),
            None => self.draft.id.as_str().chars().take(12).collect(),
        }
    }

    /// The mounts of its files, which are written where they are its own.
    fn files(
        &self,
        modes: &Modes,
        options: &Options,
        extra: &[Extra],
        resolver: &Resolver,
    ) -> Result<Vec<Mount>> {
        let folder = match self.joined {
            Some(other) => owner_of_files(self.containers, other.clone())?,
            None => {
                self.write(modes, options, extra, resolver)?;
                self.containers.folder(&self.draft.id)
            }
        };
        let mount = |name: &str| -> Result<Mount> {
            let mut mount_options = vec!["rbind".to_owned(), "rprivate".to_owned()];
            mount_options.extend(options.read_only.then(|| "ro".to_owned()));
            Ok(Mount {
                destination: format!("/etc/{name}"),
                kind: "bind".to_owned(),
                source: text(&folder.join(name))?,
                options: mount_options,
            })
        };
        ["resolv.conf", "hostname", "hosts"].into_iter().map(mount).collect()
    }

    fn write(&self, modes: &Modes, options: &Options, extra: &[Extra], resolver: &Resolver) -> Result<()> {
        let of_host = modes.network == Mode::Host;
        let name = self.name(modes, options);
        let known = if of_host { Some(host_file("/etc/hosts")?) } else { None };
        let mut servers = host_file("/etc/resolv.conf")?;
        if !of_host {
            servers = name_servers(servers)?;
        }
        for (file, content) in [
            ("hostname", format!("{name}\n")),
            ("hosts", hosts::hosts(known.as_deref(), extra, None)),
            ("resolv.conf", resolver.file(&servers, of_host)),
        ] {
            write(&self.draft.path().join(file), content.as_bytes(), 0o644, self.lasting)?;
        }
        Ok(())
    }
}

/// The folder with the files of the network that a container is in: its own, or of whose network it has.
fn owner_of_files(containers: &Containers, mut container: Container) -> Result<PathBuf> {
    use crate::container::modes;
    // Each was made after the one that it names: there is no circle.
    while let Some(id) = modes::container(&container.host_config.network_mode) {
        container = containers.get(&ContainerId::parse(id)?)?.ok_or_else(|| container::missing(id))?;
    }
    Ok(containers.folder(&ContainerId::parse(&container.id)?))
}

/// The host's resolv.conf(5) as it is of use in another network.
///
/// # Errors
/// The system's reason.
pub fn name_servers(of_host: String) -> Result<String> {
    if !hosts::is_stub(&of_host) {
        return Ok(of_host);
    }
    // What systemd-resolved asks itself.
    let real = host_file("/run/systemd/resolve/resolv.conf")?;
    Ok(if real.is_empty() { of_host } else { real })
}

/// A file of the host's, of bounded length; empty where there is none.
///
/// # Errors
/// The system's reason.
pub fn host_file(path: &str) -> Result<String> {
    use std::io::Read as _;
    let words = || format!("read {path}");
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        open => open.during(words)?,
    };
    let mut bytes = Vec::new();
    file.take(hosts::FILE_MAX).read_to_end(&mut bytes).during(words)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A new file with this mode, whatever the umask is: the folder around it is private, and those inside read it too.
/// `lasting` has it survive a crash of the host, once its folder is on the disk too.
fn write(path: &Path, bytes: &[u8], mode: u32, lasting: bool) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let words = || format!("write {path:?}");
    let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = open.during(words)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).during(words)?;
    file.write_all(bytes).during(words)?;
    if lasting { file.sync_all().during(words) } else { Ok(()) }
}

fn text(path: &Path) -> Result<String> {
    let not_text = || Error::new(Kind::Usage, format!("{path:?} is not UTF-8"));
    path.to_str().map(str::to_owned).ok_or_else(not_text)
}

/// What nobody sees or writes to, as the document has it.
fn tell_paths(host_config: &mut HostConfig, spec: &Spec) {
    let paths = |paths: &[String]| Some(paths.to_vec());
    host_config.masked_paths = paths(&spec.linux.masked_paths);
    host_config.readonly_paths = paths(&spec.linux.readonly_paths);
}
