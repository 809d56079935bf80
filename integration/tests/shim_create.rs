//! Containers made on the disk: what `create` writes, tells, refuses, and leaves nothing of.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use integration::{Call, ImageMaker, Shim, Value, is_root, json, requires};

const ROOT: &str = "containers need root";

fn create(shim: &Shim, words: &[&str]) -> String {
    let output = shim.call(&["create"]).args(words).output().expect_ok();
    let id = output.stdout.trim_end().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    id
}

/// Names in a folder of the shim's.
fn names(shim: &Shim, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(shim.root().join(folder)).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is_mounted(shim: &Shim) -> bool {
    fs::read_to_string("/proc/self/mounts").unwrap().contains(shim.root().to_str().unwrap())
}

/// The mount at this place in the document.
fn mount_at(document: &Value, place: &str) -> Value {
    let mounts = document["mounts"].as_array().unwrap();
    mounts.iter().find(|mount| mount["destination"] == place).cloned().unwrap_or_default()
}

#[test]
fn a_container_is_made_with_its_files_and_nothing_is_mounted() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let words =
        ["--name", "web", "-e", "A=1", "-l", "team=blue", "-w", "/srv/new/deep", "--add-host", "db:10.1.2.3"];
    let id = create(&shim, &[&words[..], &["busybox", "echo", "hi"]].concat());
    assert_eq!(names(&shim, "containers"), [id.as_str()]);
    assert_eq!(fs::read_to_string(shim.root().join("names/web")).unwrap(), id);
    assert!(!is_mounted(&shim) && names(&shim, "ingest").is_empty());
    let folder = shim.container_folder(&id);
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
    let record = shim.record(&id);
    assert_eq!((record["Name"].as_str(), record["Path"].as_str()), (Some("web"), Some("echo")));
    assert_eq!(record["Args"], json!(["hi"]));
    assert_eq!(record["Config"]["Env"], json!(["A=1", "PATH=/bin"]));
    assert_eq!(record["Config"]["Labels"], json!({"team": "blue"}));
    assert_eq!(record["Config"]["Hostname"], json!(id[..12]));
    assert_eq!(record["HostConfig"]["NetworkMode"], "none");
    assert_eq!(shim.recorded_state(&id)["status"], "created");

    let document = shim.document(&id);
    assert_eq!(document["process"]["args"], json!(["echo", "hi"]));
    assert_eq!(document["process"]["cwd"], "/srv/new/deep");
    assert!(document.get("annotations").is_none(), "labels are no annotations: {document}");
    assert!(folder.join("upper/srv/new/deep").is_dir(), "its folder was made");
    for (file, content) in [
        ("hostname", format!("{}\n", &id[..12])),
        ("hosts", "ff02::2\tip6-allrouters\n10.1.2.3\tdb\n".to_owned()),
    ] {
        let mount = mount_at(&document, &format!("/etc/{file}"));
        assert_eq!(mount["source"], folder.join(file).to_str().unwrap(), "{document}");
        assert!(fs::read_to_string(folder.join(file)).unwrap().ends_with(&content), "{file}");
        assert_eq!(fs::metadata(folder.join(file)).unwrap().mode() & 0o777, 0o644, "{file}");
    }
    assert!(mount_at(&document, "/etc/resolv.conf")["source"].is_string());
    shim.cli(&["rm", "web"]).expect_ok().expect_stdout("web\n");
    for folder in ["containers", "names", "ingest"] {
        assert!(names(&shim, folder).is_empty(), "{folder}");
    }
}

#[test]
fn names_belong_to_one_container_at_a_time() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = create(&shim, &["--name", "web", "busybox"]);
    let taken = format!(
        "Conflict. The container name \"/web\" is already in use by container \"{id}\". You have to remove (or rename) \
         that container to be able to reuse that name.\n"
    );
    let refused = shim.cli(&["create", "--name", "web", "busybox"]).expect_code(1);
    assert_eq!(refused.stderr, taken);
    assert!(names(&shim, "ingest").is_empty(), "nothing is left of what was refused");
    shim.cli(&["rename", "web", "shop"]).expect_ok().expect_stdout("").expect_no_stderr();
    assert_eq!(names(&shim, "names"), ["shop"]);
    assert_eq!(shim.record(&id)["Name"], "shop");
    let other = create(&shim, &["--name", "web", "busybox"]);
    shim.cli(&["rename", &other[..12], "shop"])
        .expect_code(1)
        .expect_stderr("The container name \"/shop\" is already");
    let same = "Renaming a container with the same name as its current name";
    shim.cli(&["rename", "shop", "shop"]).expect_code(1).expect_stderr(same);
    shim.cli(&["rename", "nothing", "x1"]).expect_code(1).expect_stderr("No such container: nothing");
    shim.cli(&["container", "rename", "shop", "a/b"])
        .expect_code(1)
        .expect_stderr("Invalid container name (a/b)");
    // One that nobody named has two words.
    let third = create(&shim, &["busybox"]);
    let generated = shim.record(&third)["Name"].as_str().unwrap().to_owned();
    assert!(generated.split('_').count() == 2, "{generated}");
    shim.cli(&["rm", &generated, &id[..10], "/web"]).expect_ok();
    assert!(names(&shim, "names").is_empty());
}

#[test]
fn what_cannot_be_is_refused_in_dockers_words_and_leaves_nothing() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let cidfile = shim.folder().join("cid");
    let cidfile = cidfile.to_str().unwrap();
    for (words, code, reason) in [
        (&["localhost:1/nothing"][..], 1, "Unable to find image 'localhost:1/nothing:latest' locally\n"),
        (&["--pull=never", "nothing"], 1, "No such image: nothing:latest"),
        (&["--pull=sometimes", "busybox"], 125, "invalid pull option: 'sometimes'"),
        (&["UPPER"], 125, "invalid reference format"),
        (
            &["--platform", "linux/s390x", "--pull=never", "busybox"],
            1,
            "does not match the specified platform",
        ),
        (&["--rm", "--restart", "always", "busybox"], 125, "conflicting options: cannot specify both"),
        (&["--restart", "sometimes", "busybox"], 125, "invalid restart policy: unknown policy 'sometimes'"),
        (&["-p", "80:x", "busybox"], 125, "invalid containerPort: x"),
        (&["--gpus", "some", "busybox"], 125, "invalid count (some): value must be either"),
        (&["--network", "mine", "busybox"], 1, "network mine not found"),
        (&["--network", "container:nothing", "busybox"], 1, "No such container: nothing"),
        (&["--runtime", "no-such-runtime", "busybox"], 1, "unknown or invalid runtime name: no-such-runtime"),
        (
            &["-u", "stranger", "busybox"],
            125,
            "unable to find user stranger: no matching entries in passwd file",
        ),
        (&["-v", "data:/", "busybox"], 1, "destination can't be '/'"),
        (&["--entrypoint", "", "busybox"], 125, "no command specified"),
        (
            &["--health-interval", "1us", "busybox"],
            125,
            "Interval in Healthcheck cannot be less than one millisecond",
        ),
        (&["--log-driver", "fluentd", "busybox"], 125, "fluentd"),
        (&["--use-api-socket", "busybox"], 125, "--use-api-socket is not supported"),
        (&["--cidfile", cidfile, "-u", "stranger", "busybox"], 125, "unable to find user"),
    ] {
        let output = shim.call(&["create"]).args(words).output();
        output.expect_code(code).expect_stderr(reason).expect_stdout("");
        for folder in ["containers", "names", "ingest"] {
            assert!(names(&shim, folder).is_empty(), "{words:?}: {folder}");
        }
        assert!(!is_mounted(&shim) && !Path::new(cidfile).exists(), "{words:?}");
    }
    fs::write(cidfile, "mine").unwrap();
    let refused = shim.call(&["create", "--cidfile", cidfile, "busybox"]).output().expect_code(125);
    refused.expect_stderr("container ID file found, make sure the other container isn't running or delete");
    assert_eq!(fs::read_to_string(cidfile).unwrap(), "mine");
    fs::remove_file(cidfile).unwrap();
    let id = create(&shim, &["--cidfile", cidfile, "busybox"]);
    assert_eq!(fs::read_to_string(cidfile).unwrap(), id);
}

#[test]
fn a_hardened_container_has_the_least() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = create(&shim, &["--hardened", "busybox"]);
    let (document, host) = (shim.document(&id), shim.record(&id)["HostConfig"].clone());
    let process = &document["process"];
    assert_eq!(
        (document["root"]["readonly"].as_bool(), process["noNewPrivileges"].as_bool()),
        (Some(true), Some(true))
    );
    assert_eq!(process["capabilities"], json!({"bounding": []}));
    assert_eq!((&process["user"]["uid"], &process["user"]["gid"]), (&json!(65534), &json!(65534)));
    assert_eq!(mount_at(&document, "/tmp")["type"], "tmpfs");
    assert_eq!(mount_at(&document, "/run")["type"], "tmpfs");
    assert!(document["linux"]["seccomp"].is_object());
    assert!(mount_at(&document, "/etc/hosts")["options"].as_array().unwrap().contains(&json!("ro")));
    assert_eq!((&host["Hardened"], &host["ReadonlyRootfs"]), (&json!(true), &json!(true)));
    assert_eq!((&host["CapDrop"], &host["SecurityOpt"]), (&json!(["ALL"]), &json!(["no-new-privileges"])));
    assert_eq!(shim.record(&id)["Config"]["User"], "65534:65534");
    // Each part is loosened by its own flag.
    let loose = ["--hardened", "-u", "root", "--read-only=false", "--cap-add", "chown", "--security-opt"];
    let id = create(&shim, &[&loose[..], &["no-new-privileges=false", "busybox"]].concat());
    let document = shim.document(&id);
    assert!(
        document["root"].get("readonly").is_none() && document["process"].get("noNewPrivileges").is_none()
    );
    assert_eq!(document["process"]["capabilities"]["bounding"], json!(["CAP_CHOWN"]));
    assert_eq!(document["process"]["user"]["uid"], 0);
}

#[test]
fn limits_that_the_kernel_cannot_set_are_left_out_with_dockers_warnings() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let words =
        ["create", "--name", "box", "-m", "64m", "--pids-limit", "9", "--oom-kill-disable", "busybox"];
    let output = shim.cli(&words).expect_ok();
    let id = output.stdout.trim_end();
    let (host, resources) =
        (shim.record(id)["HostConfig"].clone(), shim.document(id)["linux"]["resources"].clone());
    assert!(
        output
            .stderr
            .contains("WARNING: Your kernel does not support OomKillDisable. OomKillDisable discarded.\n")
    );
    let memory = "WARNING: Your kernel does not support memory limit capabilities or the cgroup is not mounted. \
        Limitation discarded.\n";
    if integration::has_controller("memory") {
        assert!(!output.stderr.contains(memory), "{output}");
        assert_eq!((&resources["memory"]["limit"], &host["Memory"]), (&json!(64 << 20), &json!(64 << 20)));
    } else {
        assert!(output.stderr.contains(memory), "{output}");
        assert!(resources.get("memory").is_none() && host["Memory"] == 0, "{host}");
    }
    let pids = "WARNING: Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit \
        discarded.\n";
    assert_eq!(output.stderr.contains(pids), !integration::has_controller("pids"), "{output}");
}

#[test]
fn a_container_outlives_its_image_and_its_layers_are_held() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = create(&shim, &["--name", "box", "busybox"]);
    let refused = shim.cli(&["rmi", "busybox"]).expect_code(1);
    let image = shim.record(&id)["Image"].as_str().unwrap()["sha256:".len()..].to_owned();
    let words = format!(
        "conflict: unable to remove repository reference \"busybox\" (must force) - container {} is using its referenced \
         image {}\n",
        &id[..12],
        &image[..12]
    );
    assert_eq!(refused.stderr, words);
    let refused = shim.cli(&["rmi", &image[..12]]).expect_code(1);
    refused.expect_stderr(&format!(
        "conflict: unable to delete {} (must be forced) - image is being used by stopped container {}",
        &image[..12],
        &id[..12]
    ));
    shim.cli(&["image", "prune", "--all", "--force"]).expect_ok();
    assert!(shim.stdout(&["images"]).contains("busybox"), "it is in use");
    shim.cli(&["rmi", "--force", "busybox"]).expect_ok();
    assert!(!shim.stdout(&["images"]).contains("busybox"));
    shim.cli(&["image", "prune", "--all", "--force"]).expect_ok();
    assert_eq!(names(&shim, "layers").len(), 1, "the container stands on it");
    shim.cli(&["rm", "box"]).expect_ok();
    assert!(names(&shim, "layers").is_empty() && names(&shim, "content/sha256").is_empty());
}

#[test]
fn an_image_steers_nothing_and_leads_nowhere() {
    requires!(is_root(), "{ROOT}");
    let outside = integration::Scratch::new();
    let target = outside.path().to_owned();
    let evil = move |folder: &Path| {
        std::os::unix::fs::symlink(&target, folder.join("out")).unwrap();
        fs::create_dir(folder.join("etc")).unwrap();
        std::os::unix::fs::symlink("/proc/1/root/etc/passwd", folder.join("etc/passwd")).unwrap();
    };
    let config = json!({"Cmd": ["true"], "WorkingDir": "/out/made", "Volumes": {"/../../etc": {}},
        "Labels": {"run.oci.hooks.stderr": "/evil", "io.containerd.restart.loguri": "binary:///evil"},
        "StopSignal": "SIGEVIL"});
    let shim = Shim::in_memory();
    let maker = ImageMaker::busybox().layer("evil", evil).with("config", config).named("evil");
    shim.load(&maker.docker_archive(&shim.folder().join("image.tar")));
    shim.cli(&["create", "-u", "daemon", "evil"])
        .expect_code(125)
        .expect_stderr("unable to find user daemon");
    shim.cli(&["create", "evil"]).expect_fail().expect_stderr("working directory \"/out/made\": ");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    let id = create(&shim, &["-w", "/", "evil"]);
    let document = shim.document(&id).to_string();
    for trace in ["/evil", "SIGEVIL", "annotations", "../etc", "hooks"] {
        assert!(!document.contains(trace), "{trace}: {document}");
    }
}

#[test]
fn a_command_that_is_killed_leaves_no_container_and_nothing_that_is_not_swept() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    for round in 0..12_u64 {
        let mut running = shim.call(&["create", "--name", "box", "busybox"]).spawn();
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        if running.is_running() {
            running.signal(rustix::process::Signal::KILL);
        }
        let done = running.wait();
        let made = names(&shim, "containers");
        // Either all of it is there or nothing.
        assert!(done.code() == 0 || made.len() <= 1, "{made:?}");
        for id in made {
            assert_eq!(shim.record(&id)["Name"], "box");
            shim.cli(&["rm", "box"]).expect_ok();
        }
        let id = create(&shim, &["--name", "box", "busybox"]);
        shim.cli(&["rm", &id]).expect_ok();
    }
    shim.cli(&["image", "prune", "--force"]).expect_ok();
    for folder in ["containers", "names", "ingest", "leases"] {
        assert!(names(&shim, folder).is_empty(), "{folder}: {:?}", names(&shim, folder));
    }
    assert!(!is_mounted(&shim));
}

#[test]
fn an_init_is_the_hosts_and_first_in_line() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let has_init = ["docker-init", "tini-static", "catatonit"]
        .iter()
        .any(|name| Call::of("sh").args(["-c", "command -v \"$0\"", name]).output().code() == 0);
    requires!(has_init, "no docker-init, tini-static or catatonit here");
    let id = create(&shim, &["--init", "busybox", "true"]);
    let document = shim.document(&id);
    assert_eq!(document["process"]["args"], json!(["/sbin/docker-init", "--", "true"]));
    assert_eq!(mount_at(&document, "/sbin/docker-init")["options"], json!(["bind", "ro"]));
    assert_eq!(shim.record(&id)["Path"], "true");
    assert_eq!(shim.record(&id)["HostConfig"]["Init"], true);
}
