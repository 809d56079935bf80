//! Volumes: made, filled, used by several containers, told, removed; from outside and from inside.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use integration::tree::Tree;
use integration::{Call, ImageMaker, Shim, Value, is_root, json, requires, wait_for};

const ROOT: &str = "containers need root";

fn data(shim: &Shim, name: &str) -> PathBuf {
    shim.root().join("volumes").join(name).join("_data")
}

/// Names of all volumes, in order.
fn volumes(shim: &Shim) -> Vec<String> {
    shim.stdout(&["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Loads an image of busybox with one more layer; `volumes` are its `VOLUME`s.
fn load(shim: &Shim, name: &str, volumes: &[&str], fill: impl FnOnce(&Path)) {
    let places: serde_json::Map<String, Value> =
        volumes.iter().map(|place| ((*place).to_owned(), json!({}))).collect();
    let config = json!({"Env": ["PATH=/bin"], "Volumes": places});
    let maker = ImageMaker::busybox().layer_with_owners("fill", fill).named(name).with("config", config);
    let folder = shim.folder().join(format!("image-{name}"));
    shim.load(&maker.docker_archive(&folder));
    fs::remove_file(folder).unwrap();
}

fn mounts_below(shim: &Shim, folder: &str) -> usize {
    let folder = shim.root().join(folder);
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with(folder.to_str().unwrap())).count()
}

#[test]
fn a_volume_outlives_containers_and_is_told_as_docker_tells_it() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    assert_eq!(shim.stdout(&["volume", "create", "--label", "a=1", "data"]), "data\n");
    assert_eq!(shim.stdout(&["volume", "create", "data"]), "data\n", "it is there");
    shim.run(&["--rm", "-v", "data:/srv/data", "busybox", "sh", "-c", "echo kept > /srv/data/file"])
        .expect_ok();
    let mount = "type=volume,src=data,dst=/d,readonly";
    let script = "cat /d/file; touch /d/new";
    let output = shim.run(&["--rm", "--mount", mount, "busybox", "sh", "-c", script]).expect_fail();
    assert_eq!(output.stdout, "kept\n", "{output}");
    assert!(output.stderr.contains("Read-only file system"), "{output}");

    let told: Value = shim.cli(&["volume", "inspect", "data"]).expect_ok().json();
    let keys: Vec<&String> = told[0].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 7, "{told}");
    assert_eq!(told[0]["Mountpoint"], json!(data(&shim, "data")));
    assert_eq!((&told[0]["Labels"], &told[0]["Options"]), (&json!({"a": "1"}), &Value::Null));
    assert_eq!(
        (&told[0]["Driver"], &told[0]["Scope"], &told[0]["Name"]),
        (&json!("local"), &json!("local"), &json!("data"))
    );
    assert_eq!(shim.inspect("data"), told[0], "inspect finds volumes too");
    assert_eq!(shim.stdout(&["volume", "ls"]), "DRIVER    VOLUME NAME\nlocal     data\n");
    let format = "{{.Name}} {{.Driver}} {{.Labels}} {{.Label \"a\"}} {{.Size}}";
    assert_eq!(shim.stdout(&["volume", "ls", "--format", format]), "data local a=1 1 N/A\n");
    let line = shim.stdout(&["volume", "ls", "--format", "json"]);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["Availability"], &line["Links"]), (&json!("N/A"), &json!("N/A")), "{line}");

    let id = shim.stdout(&["create", "--name", "web", "-v", "data:/d", "-v", "/anon", "busybox", "true"]);
    let id = id.trim_end();
    let container = shim.inspect("web");
    let mounts = container["Mounts"].as_array().unwrap();
    let of = |place: &str| mounts.iter().find(|mount| mount["Destination"] == place).unwrap();
    assert_eq!(
        of("/d"),
        &json!({"Type": "volume", "Name": "data", "Source": data(&shim, "data"), "Destination": "/d",
            "Driver": "local", "Mode": "z", "RW": true, "Propagation": ""})
    );
    assert!(is_anonymous(of("/anon")["Name"].as_str().unwrap()), "{container}");
    assert_eq!((&of("/anon")["Mode"], &of("/anon")["RW"]), (&json!(""), &json!(true)));
    assert_eq!(container["HostConfig"]["Binds"], json!(["data:/d"]));
    assert_eq!(container["Config"]["Volumes"], json!({"/anon": {}}));
    let ps = ["ps", "-aq", "--no-trunc", "--filter", "volume=data"];
    assert_eq!(shim.stdout(&ps), format!("{id}\n"));
    assert_eq!(shim.stdout(&["ps", "-a", "--format", "{{.LocalVolumes}}"]), "2\n");

    let used = shim.cli(&["volume", "rm", "data"]).expect_code(1);
    assert_eq!(used.stderr, format!("remove data: volume is in use - [{id}]\n"));
    shim.stdout(&["rm", "web"]);
    assert_eq!(shim.stdout(&["volume", "rm", "data"]), "data\n");
    let gone = shim.cli(&["volume", "rm", "data"]).expect_code(1);
    assert_eq!(gone.stderr, "get data: no such volume\n");
    assert_eq!(shim.stdout(&["volume", "rm", "--force", "data"]), "data\n");
    assert!(shim.cli(&["volume", "inspect", "data"]).expect_code(1).stdout.starts_with("[]"));
    assert_eq!(volumes(&shim).len(), 1, "the one without a name stays, without -v");
    let pruned = shim.stdout(&["volume", "prune", "-f"]);
    assert!(
        pruned.starts_with("Deleted Volumes:\n") && pruned.ends_with("Total reclaimed space: 0B\n"),
        "{pruned}"
    );
    assert!(volumes(&shim).is_empty());
}

#[test]
fn what_cannot_be_is_refused_in_dockers_words_and_leaves_no_volume() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    for (words, told, code) in [
        (
            &["-v", "a/b:/x"][..],
            "create a/b: \"a/b\" includes invalid characters for a local volume name",
            125,
        ),
        (&["-v", "x:/y"], "volume name is too short", 125),
        (&["-v", "data:/"], "destination can't be '/'", 125),
        (&["-v", "data:/x", "--mount", "src=data,dst=/x/"], "Duplicate mount point: /x", 125),
        (&["--volumes-from", "nobody"], "No such container: nobody", 125),
        (
            &["-v", "/anon", "-v", "data:/bin/busybox"],
            "cannot mount volume over existing file, file exists /bin/busybox",
            125,
        ),
        (&["--mount", "src=data3,dst=/x,volume-opt=foo=1"], "create data3: invalid option: \"foo\"", 125),
        (
            &["--mount", "src=data3,dst=/x,volume-opt=type=tmpfs"],
            "create data3: missing required option: \"device\"",
            125,
        ),
        (&["--volume-driver", "nfs", "-v", "/x"], "only local is there", 125),
    ] {
        let output =
            shim.call(&["run", "--rm"]).args(words).args(["busybox", "true"]).output().expect_code(code);
        assert!(output.stderr.contains(told), "{output}");
    }
    let left: Vec<String> = volumes(&shim).into_iter().filter(|name| is_anonymous(name)).collect();
    assert!(left.is_empty(), "{left:?}: volumes that nobody has named go with what came to nothing");
    assert!(shim.container_ids().is_empty());
    for (words, told) in [
        (&["volume", "create", "-d", "nfs", "data2"][..], "error looking up volume plugin nfs"),
        (&["volume", "create", "--opt", "x=1", "data2"], "create data2: invalid option: \"x\""),
        (&["volume", "ls", "--filter", "x=1"], "invalid filter 'x'"),
        (
            &["volume", "prune", "-a", "--filter", "all=1"],
            "conflicting options: cannot specify both --all and",
        ),
        (&["bundle", "-v", "data:/x", "busybox", "/nowhere"], "/x: a bundle has no volumes"),
    ] {
        let output = shim.cli(words).expect_fail();
        assert!(output.stderr.contains(told), "{output}");
    }
}

#[test]
fn a_new_volume_gets_what_the_image_has_there_and_keeps_what_is_written() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    load(&shim, "filled", &["/srv/data"], |root| {
        let data = root.join("srv/data");
        fs::create_dir_all(data.join("deep/er")).unwrap();
        fs::write(data.join("deep/file"), "of the image").unwrap();
        fs::set_permissions(data.join("deep/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        chown(data.join("deep/file"), Some(12), Some(34)).unwrap();
        fs::set_permissions(data.join("deep/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(data.join("deep/file"), data.join("again")).unwrap();
        symlink("/nowhere", data.join("link")).unwrap();
        let sparse = fs::File::create(data.join("sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        sparse.write_all_at(b"end", (64 << 20) - 3).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o1770)).unwrap();
        chown(&data, Some(7), Some(8)).unwrap();
    });
    // By the image's own VOLUME, under a name, and at another place under another name.
    let id = shim.stdout(&["create", "-v", "named:/srv/data", "filled", "true"]);
    let named = data(&shim, "named");
    let stat = fs::metadata(&named).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (7, 8, 0o1770));
    let file = fs::metadata(named.join("deep/file")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777, file.nlink()), (12, 34, 0o4751, 2));
    assert_eq!(fs::read_link(named.join("link")).unwrap(), Path::new("/nowhere"));
    let image = shim.inspect(id.trim_end())["GraphDriver"]["Data"]["LowerDir"].as_str().unwrap().to_owned();
    let top = Path::new(image.split(':').next().unwrap()).join("srv/data");
    let blocks = |folder: &Path| fs::metadata(folder.join("sparse")).unwrap().blocks();
    assert!(blocks(&named) <= blocks(&top), "holes stay holes");
    let differences = Tree::read(&top).differences(&Tree::read(&named));
    assert!(differences.is_empty(), "{differences:?}");
    shim.stdout(&["rm", id.trim_end()]);

    // It is not filled a second time, and never where it is not to be.
    shim.run(&["--rm", "-v", "named:/srv/data", "filled", "rm", "-rf", "/srv/data/deep"]).expect_ok();
    let kept = shim.run(&["--rm", "-v", "named:/srv/data", "filled", "ls", "/srv/data"]).expect_ok();
    assert_eq!(kept.stdout, "again\nlink\nsparse\n");
    for mount in ["src=empty,dst=/srv/data,volume-nocopy", "src=empty2,dst=/srv/data,volume-nocopy=true"] {
        assert_eq!(
            shim.run(&["--rm", "--mount", mount, "filled", "ls", "-A", "/srv/data"]).expect_ok().stdout,
            ""
        );
    }
    assert_eq!(
        shim.run(&["--rm", "-v", "empty3:/srv/data:nocopy", "filled", "ls", "/srv/data"]).expect_ok().stdout,
        ""
    );
    assert_eq!(shim.run(&["--rm", "-v", "/srv/data:/srv/data:ro", "filled", "true"]).code(), 0);

    // Without a name it goes with a container of --rm, or with -v.
    let before = volumes(&shim);
    assert_eq!(
        shim.run(&["--rm", "filled", "cat", "/srv/data/deep/file"]).expect_ok().stdout,
        "of the image"
    );
    assert_eq!(volumes(&shim), before);
    let id = shim.stdout(&["create", "filled", "true"]);
    let own: Vec<String> = volumes(&shim).into_iter().filter(|name| !before.contains(name)).collect();
    assert!(own.len() == 1 && is_anonymous(&own[0]), "{own:?}");
    assert_eq!(shim.inspect(&own[0])["Labels"], json!({"com.docker.volume.anonymous": ""}));
    shim.stdout(&["rm", "-v", id.trim_end()]);
    assert_eq!(volumes(&shim), before);
}

#[test]
fn an_image_does_not_say_what_is_copied_from_where() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let secret = shim.folder().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "of the host").unwrap();
    load(&shim, "links", &["/../../etc", "/out", "/up"], |root| {
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/inside"), "").unwrap();
        symlink(&secret, root.join("out")).unwrap();
        symlink("../../../../../etc", root.join("up")).unwrap();
    });
    let id = shim.stdout(&["create", "links", "true"]);
    let told = shim.inspect(id.trim_end());
    let mut seen = Vec::new();
    for mount in told["Mounts"].as_array().unwrap() {
        let folder = PathBuf::from(mount["Source"].as_str().unwrap());
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        seen.push((
            mount["Destination"].as_str().unwrap().to_owned(),
            names.contains(&"inside".to_owned()),
            names.contains(&"key".to_owned()),
        ));
    }
    seen.sort();
    let of = |place: &str, inside: bool| (place.to_owned(), inside, false);
    assert_eq!(
        seen,
        [of("/etc", true), of("/out", false), of("/up", true)],
        "links lead where they would inside"
    );
    shim.stdout(&["rm", "-v", id.trim_end()]);
    for place in ["/proc", "/proc/sys", "/sys/kernel", "/dev", "/"] {
        load(&shim, "kernel", &[place], |_| {});
        let output = shim.cli(&["create", "kernel", "true"]).expect_fail();
        assert!(output.stderr.contains(&format!("volume \"{place}\" of the image: ")), "{output}");
    }
    assert!(volumes(&shim).is_empty());
}

#[test]
fn volumes_from_others_are_theirs_and_go_with_the_last() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let bound = shim.folder().join("bound");
    fs::create_dir(&bound).unwrap();
    let bind = format!("{}:/bound:ro", bound.display());
    let words =
        ["create", "--name", "donor", "-v", "/anon", "-v", "data:/data", "-v", &bind, "busybox", "true"];
    shim.stdout(&words);
    let script = "echo x > /anon/file; echo x > /data/file; echo x > /bound/file";
    let output = shim.run(&["--name", "heir", "--volumes-from", "donor", "busybox", "sh", "-c", script]);
    assert!(output.stderr.contains("/bound/file: Read-only file system"), "{output}");
    assert!(data(&shim, "data").join("file").exists());
    let script = "cat /anon/file; touch /anon/new";
    let read = shim.run(&["--rm", "--volumes-from", "donor:ro", "busybox", "sh", "-c", script]);
    assert!(read.stdout == "x\n" && read.stderr.contains("Read-only file system"), "{read}");
    let heir = shim.inspect("heir");
    assert_eq!(heir["HostConfig"]["VolumesFrom"], json!(["donor"]));
    assert_eq!(heir["Mounts"].as_array().unwrap().len(), 3);
    let own = shim
        .run(&["--rm", "--volumes-from", "donor", "--tmpfs", "/data", "busybox", "ls", "/data"])
        .expect_ok();
    assert_eq!(own.stdout, "", "what the user says counts");

    shim.stdout(&["rm", "-v", "donor"]);
    assert_eq!(volumes(&shim).len(), 2, "the heir has it still");
    shim.stdout(&["rm", "-v", "heir"]);
    assert_eq!(volumes(&shim), ["data"]);
}

#[test]
fn a_part_of_a_volume_is_looked_up_at_each_start_and_no_link_leads_out() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let script = "mkdir -p /d/a/b; echo part > /d/a/b/file; ln -s /etc /d/out; ln -s a/b /d/inner";
    shim.run(&["--rm", "-v", "data:/d", "busybox", "sh", "-c", script]).expect_ok();
    for part in ["a/b", "inner"] {
        let mount = format!("src=data,dst=/p,volume-subpath={part}");
        let output = shim.run(&["--rm", "--mount", &mount, "busybox", "cat", "/p/file"]).expect_ok();
        assert_eq!(output.stdout, "part\n");
    }
    for (part, reason) in [("out", "Invalid cross-device link"), ("missing", "No such file or directory")] {
        let mount = format!("src=data,dst=/p,volume-subpath={part}");
        let output = shim.run(&["--rm", "--mount", &mount, "busybox", "true"]).expect_code(125);
        assert!(output.stderr.contains("cannot access path") && output.stderr.contains(reason), "{output}");
    }
    // A name that leads elsewhere by the time of the start.
    let id = shim.stdout(&["create", "--mount", "src=data,dst=/p,volume-subpath=a", "busybox", "ls", "/p"]);
    shim.run(&["--rm", "-v", "data:/d", "busybox", "sh", "-c", "mv /d/a /d/old; ln -s /etc /d/a"])
        .expect_ok();
    let output = shim.cli(&["start", "-a", id.trim_end()]).expect_fail();
    assert!(output.stderr.contains("Invalid cross-device link"), "{output}");
}

#[test]
fn what_a_volume_is_to_mount_is_mounted_from_the_first_container_to_the_last() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let bound = shim.folder().join("bound");
    fs::create_dir(&bound).unwrap();
    fs::write(bound.join("file"), "of the host").unwrap();
    let device = format!("device={}", bound.display());
    shim.stdout(&["volume", "create", "-o", "type=none", "-o", &device, "-o", "o=bind,ro", "bound"]);
    shim.stdout(&[
        "volume",
        "create",
        "-o",
        "type=tmpfs",
        "-o",
        "device=tmpfs",
        "-o",
        "o=size=1m,uid=7",
        "memory",
    ]);
    let output = shim.run(&["--rm", "-v", "bound:/b", "busybox", "sh", "-c", "cat /b/file; touch /b/new"]);
    assert!(output.stdout == "of the host" && output.stderr.contains("Read-only file system"), "{output}");
    assert_eq!(mounts_below(&shim, "volumes"), 0);

    let script = "stat -c %u /m; df -k /m | tail -1; echo shared > /m/file; read x";
    let one = shim.detached(&["-i", "-v", "memory:/m", "busybox", "sh", "-c", script]);
    let two = shim.detached(&["-i", "-v", "memory:/m", "busybox", "cat"]);
    wait_for("a file", || data(&shim, "memory").join("file").exists().then_some(()));
    let logs = shim.stdout(&["logs", &one]);
    assert!(logs.starts_with("7\n") && logs.contains(" 1024 "), "{logs}");
    assert_eq!(shim.stdout(&["exec", &two, "cat", "/m/file"]), "shared\n");
    assert_eq!(mounts_below(&shim, "volumes"), 1);
    shim.stdout(&["rm", "-f", &one]);
    assert_eq!(shim.stdout(&["exec", &two, "cat", "/m/file"]), "shared\n", "the other one has it still");
    assert_eq!(mounts_below(&shim, "volumes"), 1);
    shim.stdout(&["stop", "-t", "0", &two]);
    wait_for("the unmount", || (mounts_below(&shim, "volumes") == 0).then_some(()));
    shim.stdout(&["rm", &two]);

    shim.stdout(&[
        "volume",
        "create",
        "-o",
        "type=nosuch",
        "-o",
        "device=x",
        "-o",
        "o=password=hidden,ro",
        "broken",
    ]);
    let output = shim.run(&["--rm", "-v", "broken:/b", "busybox", "true"]).expect_code(125);
    assert!(output.stderr.contains("failed to mount local volume: mount x:"), "{output}");
    assert!(output.stderr.contains("No such device") && !output.stderr.contains("hidden"), "{output}");
    for name in ["bound", "memory", "broken"] {
        shim.stdout(&["volume", "rm", name]);
    }
    assert_eq!(fs::read_to_string(bound.join("file")).unwrap(), "of the host");
}

#[test]
fn volumes_are_filtered_and_pruned_as_docker_does() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    for (label, name) in [("a=1", "one"), ("a=2", "two"), ("b", "used")] {
        shim.stdout(&["volume", "create", "--label", label, name]);
    }
    let nameless = shim.stdout(&["volume", "create"]);
    let nameless = nameless.trim_end();
    assert!(is_anonymous(nameless));
    shim.stdout(&["create", "--name", "web", "-v", "used:/x", "busybox", "true"]);
    let listed = |filters: &[&str]| {
        let flags = filters.iter().flat_map(|filter| ["--filter", filter]);
        let words: Vec<&str> = ["volume", "ls", "-q"].into_iter().chain(flags).collect();
        shim.stdout(&words).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["dangling=false"]), ["used"]);
    assert_eq!(listed(&["dangling=true", "name=o"]), ["one", "two"]);
    assert_eq!(listed(&["label=a=2"]), ["two"]);
    assert_eq!(listed(&["label=a", "name=^o"]), ["one"]);
    assert!(listed(&["driver=nfs"]).is_empty());

    let asked = shim.call(&["volume", "prune"]).stdin_bytes("n\n").output().expect_ok();
    assert!(
        asked.stdout.starts_with(
            "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
        ),
        "{asked}"
    );
    fs::write(data(&shim, nameless).join("file"), "x".repeat(2000)).unwrap();
    let pruned = shim.stdout(&["volume", "prune", "-f"]);
    assert_eq!(pruned, format!("Deleted Volumes:\n{nameless}\n\nTotal reclaimed space: 2kB\n"));
    let pruned = shim.stdout(&["volume", "prune", "-af", "--filter", "label!=a=2"]);
    assert_eq!(pruned, "Deleted Volumes:\none\n\nTotal reclaimed space: 0B\n");
    assert_eq!(volumes(&shim), ["two", "used"]);
}

/// An image with so many files that its copying takes a while.
fn load_many(shim: &Shim) -> usize {
    const COUNT: usize = 1500;
    load(shim, "many", &[], |root| {
        fs::create_dir(root.join("data")).unwrap();
        for number in 0..COUNT {
            fs::write(root.join(format!("data/{number}")), "x".repeat(100)).unwrap();
        }
    });
    COUNT
}

#[test]
fn containers_that_begin_together_find_one_whole_volume() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let count = load_many(&shim);
    let script = "ls /data | wc -l; touch /data/mine-$HOSTNAME";
    let words = ["run", "--rm", "-v", "data:/data", "many", "sh", "-c", script];
    let running: Vec<_> = (0..6).map(|_| shim.call(&words).spawn()).collect();
    for one in running {
        let output = one.wait().expect_ok();
        let seen: usize = output.stdout.trim().parse().unwrap();
        assert!((count..count + 6).contains(&seen), "{output}");
    }
    let entries = fs::read_dir(data(&shim, "data")).unwrap().count();
    assert_eq!(entries, count + 6, "copied once, and what was written stays");
}

#[test]
fn a_volume_whose_filling_was_killed_is_whole_for_the_next() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let count = load_many(&shim);
    let mut halves = 0;
    for round in 0..5_u64 {
        let name = format!("data{round}");
        let volume = format!("{name}:/data");
        let mut killed = shim.call(&["create", "-v", &volume, "many", "true"]).spawn();
        let folder = shim.root().join("volumes").join(&name);
        let names = || ["copying", "copied"].map(|part| folder.join(format!(".caisson-{part}")));
        wait_for("the copy", || {
            (names().iter().any(|path| path.exists()) || !killed.is_running()).then_some(())
        });
        std::thread::sleep(std::time::Duration::from_millis(round * 10));
        killed.signal(rustix::process::Signal::KILL);
        killed.wait();
        let is_half = names().iter().any(|path| path.exists());
        halves += u32::from(is_half);
        if is_half {
            let told = shim.cli(&["system", "check"]);
            assert!(told.stdout.contains(&format!("volume \"{name}\": what fills it was killed")), "{told}");
        }
        if round % 2 == 0 {
            shim.cli(&["system", "check", "--repair"]).expect_ok();
            assert!(names().iter().all(|path| !path.exists()), "{name}");
        }
        let seen = shim.run(&["--rm", "-v", &volume, "many", "sh", "-c", "ls -A /data | wc -l"]).expect_ok();
        assert_eq!(seen.stdout, format!("{count}\n"), "{name}");
        assert!(names().iter().all(|path| !path.exists()));
    }
    assert!(halves > 0, "no copy was caught half way");
    assert_eq!(shim.container_ids().len(), 0, "what was killed came to nothing");
    let check = shim.cli(&["system", "check", "--repair"]).expect_ok();
    let again = shim.cli(&["system", "check"]).expect_ok();
    assert!(!again.stdout.contains("volume \""), "{check}{again}");
}

#[test]
fn a_volume_without_a_record_keeps_its_data() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    shim.run(&["--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept > /d/file"]).expect_ok();
    fs::write(shim.root().join("volumes/data/volume.json"), "{").unwrap();
    let told = shim.cli(&["system", "check"]).expect_code(1);
    assert!(told.stdout.contains("volume \"data\": it has no record that can be read"), "{told}");
    shim.cli(&["system", "check", "--repair"]).expect_ok();
    let kept = shim.run(&["--rm", "-v", "data:/d", "busybox", "cat", "/d/file"]).expect_ok();
    assert_eq!(kept.stdout, "kept\n");
}

#[test]
fn a_mount_that_a_killed_container_has_left_is_found_and_taken_away() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    shim.stdout(&["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory"]);
    let id = shim.detached(&["-v", "memory:/m", "busybox", "sleep", "1000"]);
    assert_eq!(mounts_below(&shim, "volumes"), 1);
    for process in shim.processes() {
        process.kill();
    }
    shim.process(&id).kill();
    wait_for("their end", || shim.processes().is_empty().then_some(()));
    // Who looks at the container takes it over, and tidies up after it.
    assert_eq!(shim.stdout(&["wait", &id]).trim_end(), "137");
    wait_for("the unmount", || {
        shim.cli(&["system", "check", "--repair"]);
        (mounts_below(&shim, "volumes") == 0).then_some(())
    });
    shim.stdout(&["rm", &id]);
    shim.stdout(&["volume", "rm", "memory"]);
}

#[test]
fn the_flags_are_those_of_the_manual() {
    for words in [&["volume"][..], &["volume", "create", "--help"], &["help", "volume", "ls"]] {
        Call::of(integration::shim_under_test()).args(words).output().expect_ok();
    }
}
