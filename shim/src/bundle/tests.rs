//! Whole documents: the same image and flags give the bytes that were looked at once (`shim/golden`).

use super::*;
use crate::bundle::host::Host;
use crate::bundle::spec::{IdMapping, Mount, Rlimit};
use crate::image::config::Execution;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn image() -> ImageConfig {
    let config = Execution {
        env: Some(words(&["PATH=/bin", "LANG=C"])),
        entrypoint: Some(words(&["/entry"])),
        cmd: Some(words(&["serve", "-v"])),
        working_dir: Some("/srv".into()),
        // None of these may leave a trace.
        labels: Some([("run.oci.keep_original_groups".to_owned(), "1".to_owned())].into()),
        stop_signal: Some("SIGQUIT".into()),
        volumes: Some([("/../etc".to_owned(), crate::image::config::Empty {})].into()),
        ..Execution::default()
    };
    ImageConfig { config: Some(config), ..ImageConfig::default() }
}

fn root() -> Account {
    Account { uid: 0, gid: 0, groups: vec![], home: "/root".into() }
}

/// Without the rules of seccomp's default profile, which have tests of their own.
fn document(options: &Options, host: &Host, account: &Account) -> serde_json::Value {
    let spec = spec(&image(), options, host, account, ID).unwrap();
    let mut document = serde_json::to_value(spec).unwrap();
    if let Some(rules) = document.pointer_mut("/linux/seccomp/syscalls") {
        *rules = serde_json::json!(format!("{} rules", rules.as_array().unwrap().len()));
    }
    document
}

#[track_caller]
fn same(document: &serde_json::Value, golden: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(golden);
    let text = serde_json::to_string_pretty(document).unwrap() + "\n";
    if std::env::var_os("CAISSON_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, golden, "{}: CAISSON_WRITE_GOLDEN=1 writes it", path.display());
}

#[test]
fn a_plain_document_is_dockers() {
    same(&document(&Options::default(), &Host::plain(), &root()), "plain.json");
}

#[test]
fn flags_shape_the_document() {
    let bind = Mount {
        destination: "/data".into(),
        kind: "bind".into(),
        source: "/srv/data".into(),
        options: words(&["rbind", "rro", "rslave"]),
    };
    let device = Device {
        kind: 'c',
        path: "/dev/fuse".into(),
        major: 10,
        minor: 229,
        file_mode: 0o666,
        uid: 0,
        gid: 0,
    };
    let mut options = Options {
        env: vec![("A".into(), Some("1".into()))],
        workdir: Some("/work".into()),
        command: words(&["run"]),
        terminal: true,
        hostname: Some("box".into()),
        domainname: Some("example.org".into()),
        cap_add: words(&["SYS_ADMIN"]),
        cap_drop: words(&["NET_RAW"]),
        read_only: true,
        mounts: vec![bind],
        devices: vec![(device, "rw".into())],
        ulimits: vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 1024, hard: 2048 }],
        sysctls: [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
        shm_size: Some(1 << 20),
        oom_score_adj: Some(300),
        cgroup_parent: Some("/tests".into()),
        annotations: [("team".to_owned(), "a".to_owned())].into(),
        stop_signal: Some("SIGINT".into()),
        ..Options::default()
    };
    options.security.no_new_privileges = true;
    options.limits.memory = Some(64 << 20);
    options.limits.nano_cpus = Some(500_000_000);
    options.limits.pids = Some(100);
    let account = Account { uid: 1000, gid: 100, groups: vec![27], home: "/home/web".into() };
    same(&document(&options, &Host::plain(), &account), "flags.json");
}

#[test]
fn a_privileged_document_has_everything() {
    let device =
        Device { kind: 'b', path: "/dev/vda".into(), major: 254, minor: 0, file_mode: 0o660, uid: 0, gid: 6 };
    let host = Host { devices: vec![device], apparmor: true, apparmor_has_default: true, ..Host::plain() };
    let options = Options {
        privileged: true,
        namespaces: options::Namespaces { pid: Whose::Host, network: Whose::Host, ..Default::default() },
        ..Options::default()
    };
    same(&document(&options, &host, &root()), "privileged.json");
}

#[test]
fn an_ordinary_users_document_maps_his_ids() {
    let ids = vec![
        IdMapping { container_id: 0, host_id: 1000, size: 1 },
        IdMapping { container_id: 1, host_id: 100_000, size: 65_536 },
    ];
    let user = UserMappings { uids: ids.clone(), gids: ids, is_entered: false };
    let host = Host { user: Some(user), ..Host::plain() };
    same(&document(&Options::default(), &host, &root()), "user.json");

    let account = Account { uid: 70_000, ..root() };
    let error = spec(&image(), &Options::default(), &host, &account, ID).unwrap_err().to_string();
    assert!(error.starts_with("user 70000 has no id outside"), "{error}");
    let account = Account { groups: vec![5, 70_000], ..root() };
    let error = spec(&image(), &Options::default(), &host, &account, ID).unwrap_err().to_string();
    assert!(error.starts_with("group 70000 has no id outside"), "{error}");
}

#[test]
fn the_image_decides_nothing_but_defaults() {
    let text = document(&Options::default(), &Host::plain(), &root()).to_string();
    for trace in ["keep_original_groups", "SIGQUIT", "/../etc", "annotations"] {
        assert!(!text.contains(trace), "{trace}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let uts = options::Namespaces { uts: Whose::Host, ..Default::default() };
    let refused =
        |options: &Options| spec(&image(), options, &Host::plain(), &root(), ID).unwrap_err().to_string();
    let hostname =
        |name: &str, namespaces| Options { hostname: Some(name.into()), namespaces, ..Options::default() };
    assert_eq!(refused(&hostname("a", uts)), "conflicting options: hostname and the UTS mode");
    assert!(refused(&hostname("a b", Default::default())).starts_with("invalid hostname format"));
    assert!(refused(&hostname(&"a".repeat(65), Default::default())).starts_with("invalid hostname format"));
    let domain = Options { domainname: Some("a".into()), namespaces: uts, ..Options::default() };
    assert!(refused(&domain).starts_with("conflicting options: domainname"));
    assert!(refused(&Options { oom_score_adj: Some(1001), ..Options::default() }).contains("oom score adj"));
    let spec =
        spec(&image(), &Options { namespaces: uts, ..Options::default() }, &Host::plain(), &root(), ID)
            .unwrap();
    assert_eq!(spec.hostname, None);
    assert!(spec.process.env.contains(&"HOSTNAME=outside".to_owned()));
}

#[test]
fn a_parent_of_systemds_has_a_scope_in_it() {
    assert_eq!(cgroups_path("/a/../b/", "id"), "/b/id");
    assert_eq!(cgroups_path("user.slice", "id"), "user.slice:caisson:id");
    assert_eq!(cgroups_path("/sys.slice/a-b.slice", "id"), "a-b.slice:caisson:id");
}

#[test]
fn the_users_user_goes_before_the_images() {
    let execution = Execution { user: Some("web".into()), ..Execution::default() };
    let image = ImageConfig { config: Some(execution), ..ImageConfig::default() };
    assert_eq!(user(&image, &Options::default()), "web");
    assert_eq!(user(&image, &Options { user: Some("7".into()), ..Options::default() }), "7");
    assert_eq!(user(&ImageConfig::default(), &Options::default()), "");
}
