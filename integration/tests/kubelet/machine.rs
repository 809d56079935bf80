//! containerd with its CRI plugin as a service of systemd, as a node of Kubernetes has it, and this file in kubelet's
//! place: pods and containers that end with their values.
//!
//! It works on the whole machine, so only where that is thrown away afterwards: `CAISSON_TEST_MACHINE`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use integration::engine::{image, manual};
use integration::{Call, Process, Scratch, mark, runtime_under_test, wait_for};

use crate::kubelet::client::{Client, Refused};
use crate::kubelet::messages::*;

/// The name of the runtime handler, to which a RuntimeClass refers.
pub const HANDLER: &str = "caisson";
const PAUSE: &str = "caisson.test/pause:1";
/// Where docs/engines.md has the runtime.
const INSTALLED: &str = "/usr/local/sbin/runtime";
/// The addresses of all pods begin so; then come the node's number and the pod's.
pub const ADDRESSES: &str = "10.88.";

/// Why there can be no CRI here, if so.
pub fn obstacle() -> Option<&'static str> {
    if std::env::var_os("CAISSON_TEST_MACHINE").is_none() || !Path::new("/run/systemd/private").exists() {
        return Some("not in the virtual machine with systemd (make test-vm FLAVOUR=engines)");
    }
    let there = ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/usr/bin/catatonit"];
    (!there.iter().all(|path| Path::new(path).exists()))
        .then_some("no containerd, CNI plugins or catatonit (make test-vm FLAVOUR=engines)")
}

/// Leaves the test as skipped where there can be no CRI; else the node.
#[macro_export]
macro_rules! node {
    () => {
        $crate::node!(shared)
    };
    ($which:ident) => {{
        if let Some(obstacle) = $crate::kubelet::machine::obstacle() {
            integration::skip!("{obstacle}");
        }
        $crate::kubelet::machine::Node::$which()
    }};
}

/// A node: one containerd for all tests that run at the same time.
pub struct Node {
    client: Mutex<Arc<Client>>,
    unit: String,
    bridge: String,
    scratch: Scratch,
}

impl Node {
    /// The node that is there, or a new one.
    pub fn shared() -> Arc<Node> {
        static NODE: Mutex<Weak<Node>> = Mutex::new(Weak::new());
        let mut node = NODE.lock().unwrap_or_else(PoisonError::into_inner);
        node.upgrade().unwrap_or_else(|| {
            let new = Node::alone();
            *node = Arc::downgrade(&new);
            new
        })
    }

    /// A node of the test's own, whose containerd it may kill.
    pub fn alone() -> Arc<Node> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let scratch = Scratch::new();
        if number == 0 {
            let _ = fs::remove_file(INSTALLED);
            std::os::unix::fs::symlink(runtime_under_test(), INSTALLED).unwrap();
        }
        let folder = scratch.path().to_str().unwrap();
        fs::write(format!("{folder}/config.toml"), config(folder)).unwrap();
        fs::create_dir(format!("{folder}/net.d")).unwrap();
        fs::write(format!("{folder}/net.d/pods.conflist"), network(folder, number)).unwrap();
        let unit = format!("{}cri-{number}", mark());
        start(&unit, folder);
        let client = Client::connect(&scratch.path().join("socket")).expect("containerd listens");
        let bridge = bridge(number);
        let node = Node { client: Mutex::new(Arc::new(client)), unit, bridge, scratch };
        node.import();
        Arc::new(node)
    }

    /// The images: catatonit(1), Podman's own pause, and busybox.
    fn import(&self) {
        let folder = Scratch::new();
        let (pause, busybox) =
            (image::pause_archive(folder.path(), PAUSE), image::oci_archive(folder.path()));
        for archive in [pause, busybox] {
            self.ctr(&["-n", "k8s.io", "images", "import"]).args([archive]).output().expect_ok();
        }
    }

    /// A call of containerd's own client.
    pub fn ctr(&self, args: &[&str]) -> Call {
        Call::of("ctr")
            .args(["--address".as_ref(), self.scratch.path().join("socket").as_os_str()])
            .args(args)
    }

    /// One call of the runtime service.
    pub fn call<Answer: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<Answer, Refused> {
        let client = Arc::clone(&self.client.lock().unwrap_or_else(PoisonError::into_inner));
        client.call(&format!("RuntimeService/{method}"), request)
    }

    /// One call that has to succeed.
    #[track_caller]
    pub fn ask<Answer: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
    ) -> Answer {
        self.call(method, request).unwrap_or_else(|refused| panic!("{method}: {refused}"))
    }

    /// Kills containerd with SIGKILL and waits until systemd has started it again.
    pub fn murder(&self) {
        let pid = || systemd_says(&self.unit, "MainPID");
        let before = pid();
        let kill = ["kill", "--kill-whom=main", "--signal=KILL", &self.unit];
        Call::of("systemctl").args(kill).output().expect_ok();
        wait_for("another containerd", || {
            (pid() != before && systemd_says(&self.unit, "ActiveState") == "active").then_some(())
        });
        let client = Client::connect(&self.scratch.path().join("socket")).expect("containerd listens again");
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(client);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(60)..].join("\n");
            let _ = writeln!(std::io::stderr(), "--- the end of containerd's log\n{last}");
        }
        Call::of("systemctl").args(["stop", &self.unit]).output();
        Call::of("systemctl").args(["reset-failed", &self.unit]).output();
        Call::of("ip").args(["link", "delete", &self.bridge]).output();
    }
}

/// Starts containerd and waits until it says that it is ready. A node's unit has these properties.
fn start(unit: &str, folder: &str) {
    let log = format!("StandardError=append:{folder}/log");
    let properties =
        ["Type=notify", "Restart=always", "Delegate=yes", "KillMode=process", "OOMScoreAdjust=-999", &log];
    let properties = properties.iter().flat_map(|property| ["--property", property]);
    let call = Call::of("systemd-run").args(["--quiet", "--unit", unit]).args(properties);
    call.args(["containerd", "--config", &format!("{folder}/config.toml")]).output().expect_ok();
}

/// A property of a unit.
#[track_caller]
pub fn systemd_says(unit: &str, property: &str) -> String {
    let output = Call::of("systemctl").args(["show", "--value", "-p", property, unit]).output();
    output.expect_ok().stdout.trim_end().to_owned()
}

/// What docs/engines.md tells its reader to paste, and what is of this machine: its folders, its images, its network.
fn config(folder: &str) -> String {
    let pasted = manual::block("/etc/containerd/config.toml of a node");
    let mut config = String::new();
    let folders = format!(
        "root = \"{folder}/root\"\nstate = \"{folder}/state\"\n\
         disabled_plugins = [\"io.containerd.nri.v1.nri\", \"io.containerd.snapshotter.v1.btrfs\"]\n"
    );
    config.push_str(&pasted.replacen("version = 2\n", &format!("version = 2\n{folders}"), 1));
    assert!(config.contains(&folders), "the manual's lines do not begin with their version");
    config.push_str(&format!(
        "[grpc]\naddress = \"{folder}/socket\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{PAUSE}\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/usr/lib/cni\"\nconf_dir = \"{folder}/net.d\"\n"
    ));
    // An emulated machine needs longer than containerd has patience for.
    config.push_str("[timeouts]\n");
    for name in ["shim.cleanup", "shim.load", "shim.shutdown", "task.state"] {
        config.push_str(&format!("\"io.containerd.timeout.{name}\" = \"120s\"\n"));
    }
    config
}

fn bridge(number: u32) -> String {
    format!("caisson{number}")
}

fn network(folder: &str, number: u32) -> String {
    let (bridge, subnet) = (bridge(number), format!("{ADDRESSES}{number}.0/24"));
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "pods", "plugins": [{{
            "type": "bridge", "bridge": "{bridge}", "isGateway": true,
            "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{subnet}"}}]], "dataDir": "{folder}/leases"}}
        }}]}}"#
    )
}

/// A pod, stopped and removed with the value.
pub struct Pod {
    pub node: Arc<Node>,
    pub id: String,
    pub config: PodConfig,
    /// The slice that kubelet would have made for it.
    pub slice: String,
}

impl Pod {
    /// A pod of nothing but its sandbox, on the runtime under test.
    #[track_caller]
    pub fn run(node: &Arc<Node>) -> Pod {
        Pod::with(node, |_| ())
    }

    /// A pod whose configuration was changed.
    #[track_caller]
    pub fn with(node: &Arc<Node>, change: impl FnOnce(&mut PodConfig)) -> Pod {
        let (name, slice, mut config) = Pod::config(node);
        change(&mut config);
        let request = RunPod { config: Some(config.clone()), runtime_handler: HANDLER.to_owned() };
        let id = node.ask::<Id>("RunPodSandbox", &request).id;
        assert!(!id.is_empty(), "{name}");
        Pod { node: Arc::clone(node), id, config, slice }
    }

    /// Its name, its slice and its configuration before it is run.
    pub fn config(node: &Node) -> (String, String, PodConfig) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pod{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let logs = node.scratch.path().join("logs").join(&name);
        fs::create_dir_all(&logs).unwrap();
        // As kubelet names it: a Burstable pod with this uid.
        let slice = format!("kubepods-burstable-{name}.slice");
        let config = PodConfig {
            metadata: Some(PodMetadata {
                name: name.clone(),
                uid: name.clone(),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            hostname: format!("host-of-{name}"),
            log_directory: logs.to_str().unwrap().to_owned(),
            linux: Some(LinuxPod {
                cgroup_parent: format!("/kubepods.slice/kubepods-burstable.slice/{slice}"),
                security_context: Some(PodSecurity {
                    namespace_options: Some(own_pids()),
                    ..PodSecurity::default()
                }),
                ..LinuxPod::default()
            }),
            ..PodConfig::default()
        };
        (name, slice, config)
    }

    /// A container of this pod, created.
    #[track_caller]
    pub fn create(&self, script: &str, change: impl FnOnce(&mut ContainerConfig)) -> Container<'_> {
        self.try_create(script, change).unwrap_or_else(|refused| panic!("CreateContainer: {refused}"))
    }

    /// The same, which may be refused.
    pub fn try_create(
        &self,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig),
    ) -> Result<Container<'_>, Refused> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("c{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut config = ContainerConfig {
            metadata: Some(Metadata { name: name.clone(), attempt: 0 }),
            image: Some(ImageSpec { image: image::REFERENCE.to_owned() }),
            command: words(&["sh", "-c", script]),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainer {
                resources: Some(Resources::default()),
                security_context: Some(Security {
                    namespace_options: Some(own_pids()),
                    ..Security::default()
                }),
            }),
            ..ContainerConfig::default()
        };
        change(&mut config);
        let request = CreateContainer {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let id = self.node.call::<Id>("CreateContainer", &request)?.id;
        let log = Path::new(&self.config.log_directory).join(format!("{name}.log"));
        Ok(Container { pod: self, id, log })
    }

    /// A container of this pod, started.
    #[track_caller]
    pub fn start(&self, script: &str, change: impl FnOnce(&mut ContainerConfig)) -> Container<'_> {
        let container = self.create(script, change);
        container.start();
        container
    }

    /// What a container of its own printed; panics unless it ended with 0.
    #[track_caller]
    pub fn printed(&self, script: &str, change: impl FnOnce(&mut Security)) -> String {
        let container = self.start(script, |config| change(security(config)));
        let status = container.ended();
        assert_eq!(status.exit_code, 0, "{status:?}\n{}", container.log());
        let log = container.log();
        container.remove();
        log
    }

    /// Its status, and the kernel's process of its sandbox.
    #[track_caller]
    pub fn status(&self) -> (PodStatus, Option<Process>) {
        let request = StatusRequest { id: self.id.clone(), verbose: true };
        let answer: PodStatusResponse = self.node.ask("PodSandboxStatus", &request);
        (answer.status.expect("a status"), pid(answer.info.get("info")))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let id = Id { id: self.id.clone() };
        let stopped = self.node.call::<Empty>("StopPodSandbox", &id);
        let removed = self.node.call::<Empty>("RemovePodSandbox", &id);
        if !std::thread::panicking() {
            stopped.unwrap_or_else(|refused| panic!("StopPodSandbox: {refused}"));
            removed.unwrap_or_else(|refused| panic!("RemovePodSandbox: {refused}"));
        }
        // Made by systemd for the first scope in it; kubelet removes it so too.
        Call::of("systemctl").args(["stop", &self.slice]).output();
    }
}

/// A container of a pod, which removes what is left of it.
pub struct Container<'pod> {
    pub pod: &'pod Pod,
    pub id: String,
    log: PathBuf,
}

impl Container<'_> {
    #[track_caller]
    pub fn start(&self) {
        self.pod.node.ask::<Empty>("StartContainer", &self.request());
    }

    /// The request that only names it.
    pub fn request(&self) -> Id {
        Id { id: self.id.clone() }
    }

    #[track_caller]
    pub fn status(&self) -> ContainerStatus {
        self.pod
            .node
            .ask::<ContainerStatusResponse>("ContainerStatus", &self.request())
            .status
            .expect("a status")
    }

    /// Its init, as the host counts.
    #[track_caller]
    pub fn init(&self) -> Process {
        let request = StatusRequest { id: self.id.clone(), verbose: true };
        let answer: ContainerStatusResponse = self.pod.node.ask("ContainerStatus", &request);
        pid(answer.info.get("info")).expect("the pid of a container that runs")
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&self) -> ContainerStatus {
        wait_for("the end of a container", || {
            let status = self.status();
            (status.state() == ContainerState::Exited).then_some(status)
        })
    }

    /// Waits until it has printed this.
    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        wait_for(&format!("{text:?} in its log"), || self.log().contains(text).then_some(()));
    }

    /// What it printed: the lines of its log without time, stream and mark (logging.md of the CRI).
    pub fn log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut text = String::new();
        for line in log.lines() {
            let mut parts = line.splitn(4, ' ').skip(2);
            let (mark, part) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            text.push_str(part);
            if mark == "F" {
                text.push('\n');
            }
        }
        text
    }

    /// Asks it to end, and kills it when the time is over.
    #[track_caller]
    pub fn stop(&self, timeout: i64) -> ContainerStatus {
        let request = StopContainer { container_id: self.id.clone(), timeout };
        self.pod.node.ask::<Empty>("StopContainer", &request);
        self.status()
    }

    #[track_caller]
    pub fn remove(&self) {
        self.pod.node.ask::<Empty>("RemoveContainer", &self.request());
    }

    /// Runs a shell script in it.
    #[track_caller]
    pub fn exec(&self, script: &str) -> ExecSyncResponse {
        let request = self.exec_request(script, 0);
        self.pod.node.ask("ExecSync", &request)
    }

    /// The request for such a script, with a time limit in seconds unless it is 0.
    pub fn exec_request(&self, script: &str, timeout: i64) -> ExecSync {
        ExecSync { container_id: self.id.clone(), cmd: words(&["sh", "-c", script]), timeout }
    }
}

/// The pod's network and IPC, and pids of its own: what kubelet asks for unless the pod says otherwise.
pub fn own_pids() -> NamespaceOption {
    NamespaceOption { pid: NamespaceMode::Container.into(), ..NamespaceOption::default() }
}

/// The security context of a container.
pub fn security(config: &mut ContainerConfig) -> &mut Security {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

/// The limits of a container.
pub fn resources(config: &mut ContainerConfig) -> &mut Resources {
    config.linux.get_or_insert_default().resources.get_or_insert_default()
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The pid in the verbose part of a status.
fn pid(info: Option<&String>) -> Option<Process> {
    let info: integration::Value = serde_json::from_str(info?).expect("verbose information is JSON");
    let pid = info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())?;
    (pid != 0).then(|| Process::new(pid))
}
