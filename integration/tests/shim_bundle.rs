//! Bundles of images: what `shim bundle` writes runs on every runtime, and goes away again.
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use integration::{Call, ImageMaker, Output, Shim, Value, is_root, json, mark, requires, runtime_under_test};

const ROOT: &str = "unpacking layers needs root";

/// A bundle, whose mount would keep its folder from being removed.
struct Bundle<'a> {
    shim: &'a Shim,
    folder: PathBuf,
}

impl<'a> Bundle<'a> {
    #[track_caller]
    fn make(shim: &'a Shim, name: &str, flags: &[&str], words: &[&str]) -> Bundle<'a> {
        let bundle = Bundle { shim, folder: shim.folder().join(name) };
        let call = shim.call(&["bundle"]).args(flags).args(["box"]).args([&bundle.folder]).args(words);
        call.output().expect_ok().expect_no_stderr().expect_stdout("");
        bundle
    }

    fn config(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.folder.join("config.json")).unwrap()).unwrap()
    }

    /// Runs it to its end on a runtime.
    #[track_caller]
    fn run_on(&self, runtime: Call, id: &str) -> Output {
        let id = format!("{}{id}", mark());
        let state = self.shim.folder().join("state-of-runtime");
        runtime
            .args(["--root"])
            .args([state])
            .args(["run", "--bundle"])
            .args([&self.folder])
            .args([id])
            .output()
    }

    /// What it prints on the runtime under test.
    #[track_caller]
    fn printed(&self) -> String {
        self.run_on(Call::runtime(), &format!("bundle-{}", std::process::id())).expect_ok().stdout
    }
}

impl Drop for Bundle<'_> {
    fn drop(&mut self) {
        if self.folder.exists() {
            let removed = self.shim.call(&["bundle", "--rm"]).args([&self.folder]).output();
            if !std::thread::panicking() {
                removed.expect_ok();
            }
        }
    }
}

fn rm(shim: &Shim, folder: &Path) -> Output {
    shim.call(&["bundle", "--rm"]).args([folder]).output()
}

/// Images load under this name.
fn load(maker: ImageMaker) -> Shim {
    let shim = Shim::new();
    let maker = maker.named("box");
    shim.load(&maker.docker_archive(&shim.folder().join("image.tar")));
    shim
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

#[test]
fn a_bundle_runs_alike_on_every_runtime_and_is_removed() {
    requires!(is_root(), "{ROOT}");
    let config = json!({"Env": ["PATH=/bin", "LANG=C"], "Entrypoint": ["sh", "-c"],
        "Cmd": ["id; pwd; echo $HOME $LANG; hostname; cat /over; grep -E 'Cap(Bnd|Inh)|NoNew|Seccomp:' /proc/self/status"],
        "User": "user", "WorkingDir": "/srv/made"});
    let upper = |folder: &Path| fs::write(folder.join("over"), "over\n").unwrap();
    let shim = load(ImageMaker::busybox().layer("a file", upper).with("config", config));
    let overlay = Bundle::make(&shim, "overlay", &[], &[]);
    let copy = Bundle::make(&shim, "copy", &["--copy"], &[]);
    assert!(mounts().contains(overlay.folder.to_str().unwrap()));
    assert!(!mounts().contains(copy.folder.to_str().unwrap()));
    for bundle in [&overlay, &copy] {
        let name = bundle.config()["hostname"].as_str().unwrap().to_owned();
        let wanted = format!(
            "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)\n/srv/made\n/home/user C\n{name}\nover\n\
             CapInh:\t0000000000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n"
        );
        let mut runtimes = vec![Call::runtime()];
        for path in ["/usr/bin/crun", "/usr/sbin/runc"].map(Path::new) {
            if path.exists() && path != runtime_under_test() {
                runtimes.push(if path.ends_with("crun") { Call::crun(path) } else { Call::of(path) });
            }
        }
        for (number, runtime) in runtimes.into_iter().enumerate() {
            let id = format!("runtimes-{}-{number}", std::process::id());
            bundle.run_on(runtime, &id).expect_ok().expect_stdout(&wanted);
        }
    }
    let folders = [overlay.folder.clone(), copy.folder.clone()];
    drop((overlay, copy));
    assert!(!folders.iter().any(|folder| folder.exists()));
    assert!(!mounts().contains(shim.folder().to_str().unwrap()));
    for folder in ["bundles", "ingest"] {
        assert_eq!(fs::read_dir(shim.root().join(folder)).unwrap().count(), 0, "{folder}");
    }
    assert!(shim.stdout(&["images"]).contains("box"), "the image is as it was");
}

#[test]
fn flags_of_run_shape_what_runs() {
    requires!(is_root(), "{ROOT}");
    let shim = load(ImageMaker::busybox());
    let source = shim.folder().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "bound\n").unwrap();
    let env = shim.folder().join("env");
    fs::write(&env, "# comment\nFROM_FILE=1\n").unwrap();
    let volume = format!("{}:/data:ro", source.display());
    let script = "echo $A $FROM_FILE; id -u; id -G; pwd; hostname; cat /data/file; touch /data/x 2>&1; touch /x 2>&1; \
        touch /t/x && echo made; grep CapBnd /proc/self/status; ulimit -n; df -k /dev/shm | tail -n1 | awk '{print $2}'; \
        grep NoNew /proc/self/status; cat /proc/sys/net/ipv4/ip_forward; ls -l /dev/nothing | cut -c1-10";
    let flags = [
        "-eA=1",
        "--env-file",
        env.to_str().unwrap(),
        "-u",
        "7:8",
        "--group-add=extra",
        "-w",
        "/home/new",
        "-h",
        "name",
        "-v",
        &volume,
        "--read-only",
        "--tmpfs",
        "/t:size=1m",
        "--cap-drop=ALL",
        "--cap-add",
        "chown",
        "--ulimit",
        "nofile=100:200",
        "--shm-size=1m",
        "--security-opt",
        "no-new-privileges",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--device=/dev/null:/dev/nothing",
        "--entrypoint",
        "sh",
    ];
    let bundle = Bundle::make(&shim, "bundle", &flags, &["-c", script]);
    let wanted = "1 1\n7\n8 2000\n/home/new\nname\nbound\ntouch: /data/x: Read-only file system\n\
        touch: /x: Read-only file system\nmade\nCapBnd:\t0000000000000001\n100\n1024\nNoNewPrivs:\t1\n1\ncrw-rw-rw-\n";
    assert_eq!(bundle.printed(), wanted);
    assert_eq!(fs::read_dir(&source).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_done_is_refused_by_name_and_leaves_nothing() {
    requires!(is_root(), "{ROOT}");
    let shim = load(ImageMaker::busybox());
    let folder = shim.folder().join("bundle");
    for (flags, code, reason) in [
        (&["--init"][..], 1, "--init is for containers, not for bundles"),
        (
            &["--network=bridge"],
            1,
            "--network bridge: a bundle's network is none or host: who runs it makes others",
        ),
        (&["--pid=container:x"], 1, "--pid container:x: a bundle joins no container"),
        (&["-v", "name:/x"], 1, "a bundle has no volumes: name a path"),
        (&["--dns", "1.1.1.1"], 1, "--dns is for containers, not for bundles"),
        (&["--oom-kill-disable"], 1, "cgroup v1"),
        (
            &["--mount", "type=bind,src=/no/such/thing,dst=/x"],
            1,
            "bind source path does not exist: /no/such/thing",
        ),
        (&["-u", "4294967296"], 1, "uids and gids must be in range"),
        (&["-u", "nobody"], 1, "unable to find user nobody"),
        (&["-m", "1m"], 1, "Minimum memory limit allowed is 6MB"),
        (&["--cpu-shares", "x"], 125, "invalid argument \"x\" for \"-c, --cpu-shares\" flag"),
        (&["--security-opt", "foo=bar"], 1, "Invalid --security-opt: \"foo=bar\""),
        (&["--platform", "linux/s390x"], 1, "does not match the specified platform: wanted linux/s390x"),
        (&["-w", "relative"], 1, "it needs to be an absolute path"),
        (&["--nope"], 125, "unknown flag: --nope"),
    ] {
        let output = shim.call(&["bundle"]).args(flags).args(["box"]).args([&folder]).output();
        output.expect_code(code).expect_stderr(reason);
        assert!(!folder.exists(), "{flags:?}");
    }
    shim.call(&["bundle", "nothing"])
        .args([&folder])
        .output()
        .expect_code(1)
        .expect_stderr("No such image: nothing");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine"), "").unwrap();
    shim.call(&["bundle", "box"]).args([&folder]).output().expect_code(1).expect_stderr("it is not empty");
    rm(&shim, &folder).expect_code(1).expect_stderr("not a bundle of this store");
    assert!(folder.join("mine").exists());
    assert_eq!(fs::read_dir(shim.root().join("bundles")).unwrap().count(), 0);
}

#[test]
fn only_what_was_made_is_removed_and_nothing_by_a_link() {
    requires!(is_root(), "{ROOT}");
    let shim = load(ImageMaker::busybox());
    let bundle = Bundle::make(&shim, "bundle", &[], &[]);
    let (link, copy) = (shim.folder().join("link"), shim.folder().join("copy"));
    symlink(&bundle.folder, &link).unwrap();
    rm(&shim, &link).expect_code(1);
    fs::create_dir(&copy).unwrap();
    fs::copy(bundle.folder.join(".caisson-bundle"), copy.join(".caisson-bundle")).unwrap();
    rm(&shim, &copy).expect_code(1).expect_stderr("not the folder itself");
    // Moved, with its mount, and with something of the user's beside it.
    let moved = shim.folder().join("moved");
    fs::rename(&bundle.folder, &moved).unwrap();
    fs::write(moved.join("mine"), "").unwrap();
    fs::write(moved.join("rootfs/changed"), "").unwrap();
    rm(&shim, &moved).expect_ok().expect_stderr("other files in it stay");
    let left: Vec<_> = fs::read_dir(&moved).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"]);
    rm(&shim, &moved).expect_code(1).expect_stderr("not a bundle of this store");
    // What is in use stays, and is removed later.
    let busy = Bundle::make(&shim, "busy", &[], &[]);
    let sleeper = Call::of("sleep").args(["600"]).current_dir(&busy.folder.join("rootfs")).spawn();
    rm(&shim, &busy.folder).expect_code(1).expect_stderr("Device or resource busy");
    fs::write(busy.folder.join("rootfs/since"), "of the user's").unwrap();
    sleeper.signal(rustix::process::Signal::KILL);
    let _ = sleeper.wait();
    // Nobody else ends what was refused.
    shim.cli(&["image", "prune", "--force"]).expect_ok();
    assert!(busy.folder.join("rootfs/since").exists());
    rm(&shim, &busy.folder).expect_ok();
    // So is a copy in which something is mounted: neither is that harmed, nor the copy half gone.
    let copy = Bundle::make(&shim, "copy of it", &["--copy"], &[]);
    let inside = copy.folder.join("rootfs/of the user");
    fs::create_dir(&inside).unwrap();
    Call::of("mount").args(["-t", "tmpfs", "mine"]).args([&inside]).output().expect_ok();
    fs::write(inside.join("file"), "").unwrap();
    let refused = rm(&shim, &copy.folder);
    let whole = inside.join("file").exists() && copy.folder.join("rootfs/bin/busybox").exists();
    Call::of("umount").args([&inside]).output().expect_ok();
    refused.expect_code(1).expect_stderr("something is mounted in its rootfs");
    assert!(whole);
    rm(&shim, &copy.folder).expect_ok();
    // A folder that was there before is left as it was.
    let there = shim.folder().join("there");
    fs::create_dir(&there).unwrap();
    drop(Bundle::make(&shim, "there", &["--copy"], &[]));
    assert_eq!(fs::read_dir(&there).unwrap().count(), 0);
}

#[test]
fn layers_stay_as_long_as_a_bundle_stands_on_them() {
    requires!(is_root(), "{ROOT}");
    let shim = load(ImageMaker::busybox());
    let layers = || fs::read_dir(shim.root().join("layers")).unwrap().count();
    let bundle = Bundle::make(&shim, "bundle", &[], &["echo", "still here"]);
    shim.cli(&["rmi", "box"]).expect_ok();
    assert_eq!(layers(), 1);
    assert_eq!(bundle.printed(), "still here\n");
    shim.cli(&["image", "prune", "-f"]).expect_ok();
    assert_eq!(layers(), 1);
    drop(bundle);
    assert_eq!(layers(), 0, "nobody needs it any more");
}

#[test]
fn a_command_that_is_interrupted_leaves_nothing_and_what_a_killed_one_left_is_swept() {
    requires!(is_root(), "{ROOT}");
    let fill = |folder: &Path| {
        for number in 0..1000 {
            fs::write(folder.join(format!("file-{number}")), "x").unwrap();
        }
    };
    let shim = load(ImageMaker::busybox().layer("many", fill));
    let folder = shim.folder().join("bundle");
    let begun = || {
        let running = shim.call(&["bundle", "--copy", "box"]).args([&folder]).spawn();
        integration::wait_for("a part of a bundle", || folder.join("rootfs").exists().then_some(()));
        running
    };
    let running = begun();
    running.signal(rustix::process::Signal::INT);
    // It may have been done by then.
    if running.wait().code() == 0 {
        rm(&shim, &folder).expect_ok();
    }
    assert!(!folder.exists());
    assert_eq!(fs::read_dir(shim.root().join("bundles")).unwrap().count(), 0);
    let running = begun();
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    // It may have been done by then; else what there is of it is in nobody's way.
    if folder.join("config.json").exists() {
        rm(&shim, &folder).expect_ok();
    }
    let bundle = Bundle::make(&shim, "bundle", &[], &["echo", "whole"]);
    assert_eq!(bundle.printed(), "whole\n");
    assert_eq!(fs::read_dir(shim.root().join("bundles")).unwrap().count(), 1);
}

#[test]
fn an_image_leads_nowhere_out_of_its_root() {
    requires!(is_root(), "{ROOT}");
    let outside = integration::Scratch::new();
    let target = outside.path().to_owned();
    let evil = |folder: &Path| {
        symlink(&target, folder.join("out")).unwrap();
        fs::create_dir(folder.join("etc")).unwrap();
        symlink("/proc/self/root/etc/passwd", folder.join("etc/passwd")).unwrap();
    };
    // The host's /etc/passwd knows daemon; the image's is a link that leads nowhere inside.
    let config = json!({"Cmd": ["true"], "User": "daemon", "WorkingDir": "/out/made"});
    let shim = load(ImageMaker::busybox().layer("evil", evil).with("config", config));
    let folder = shim.folder().join("bundle");
    let refused = shim.call(&["bundle", "box"]).args([&folder]).output();
    refused.expect_code(1).expect_stderr("unable to find user daemon");
    let refused = shim.call(&["bundle", "-u0", "box"]).args([&folder]).output();
    refused.expect_code(1).expect_stderr("working directory \"/out/made\": ");
    assert!(!folder.exists());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);

    let pipe = |folder: &Path| {
        fs::create_dir(folder.join("etc")).unwrap();
        Call::of("mkfifo").args([folder.join("etc/group")]).output().expect_ok();
    };
    let shim = load(ImageMaker::busybox().layer("pipe", pipe));
    let refused = shim.call(&["bundle", "box"]).args([&shim.folder().join("bundle")]).output();
    refused.expect_code(1).expect_stderr("/etc/group of the image: not a file");
}

#[test]
fn what_an_image_says_of_itself_steers_nothing() {
    requires!(is_root(), "{ROOT}");
    // CVE-2024-40635: a number beyond the range, which the image's own file calls root.
    let accounts = |folder: &Path| {
        fs::create_dir(folder.join("etc")).unwrap();
        fs::write(folder.join("etc/passwd"), "4294967296:x:0:0::/:/bin/sh\n7:x:0:0::/:/bin/sh\n").unwrap();
    };
    let config = json!({"Cmd": ["id", "-u"], "User": "4294967296", "StopSignal": "SIGEVIL", "Volumes": {"/../../etc": {}},
        "Labels": {"run.oci.hooks.stderr": "/evil", "io.containerd.restart.loguri": "binary:///evil"}});
    let shim = load(ImageMaker::busybox().layer("accounts", accounts).with("config", config));
    let folder = shim.folder().join("bundle");
    let refused = shim.call(&["bundle", "box"]).args([&folder]).output();
    refused.expect_code(1).expect_stderr("4294967296: uids and gids must be in range 0-2147483647");
    assert!(!folder.exists());
    let bundle = Bundle::make(&shim, "bundle", &["-u", "7"], &[]);
    let text = bundle.config().to_string();
    for trace in ["evil", "EVIL", "annotations", "../etc", "hooks"] {
        assert!(!text.contains(trace), "{trace}: {text}");
    }
    assert_eq!(bundle.printed(), "7\n", "digits are no name");
}

#[test]
fn an_image_of_many_layers_under_a_long_path_is_mounted() {
    requires!(is_root(), "{ROOT}");
    let mut maker = ImageMaker::busybox();
    for number in 0..60 {
        maker = maker.layer("one more", |folder| fs::write(folder.join(format!("f{number}")), "").unwrap());
    }
    let shim = Shim::new();
    let archive = maker.named("box").docker_archive(&shim.folder().join("image.tar"));
    // With a colon and a comma, which overlayfs would read as ends of a path, and longer than one parameter may be.
    let root = shim.folder().join(format!("a:b,c\\d {}", "x".repeat(200)));
    let call = |words: &[&str]| {
        let folders = ["--root".into(), root.clone(), "--state".into(), shim.state()];
        Call::of(integration::shim_under_test()).args(folders).args(words)
    };
    call(&["load", "-qi"]).args([&archive]).output().expect_ok();
    let folder = shim.folder().join("bundle");
    call(&["bundle", "box"]).args([&folder]).output().expect_ok();
    let files = fs::read_dir(folder.join("rootfs")).unwrap();
    let count =
        files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with('f')).count();
    call(&["bundle", "--rm"]).args([&folder]).output().expect_ok();
    assert_eq!(count, 60);
}
