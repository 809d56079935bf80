//! Images on this host: loaded, listed, looked at.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::process::{Command, Stdio};

use integration::{Call, ImageMaker, Shim, is_root, json, requires, shim_under_test};

#[test]
fn images_of_every_kind_of_archive_are_loaded_and_listed() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let maker = ImageMaker::busybox()
        .layer("a file", |folder| std::fs::write(folder.join("hello"), "hello\n").unwrap())
        .named("box:1")
        .named("localhost:5000/me/box:2");
    let id = maker.id();
    let archives = [
        maker.oci_archive(&shim.folder().join("layout.tar")),
        maker.docker_archive(&shim.folder().join("saved.tar")),
    ];
    for archive in &archives {
        let load = ["load".as_ref(), "-qi".as_ref(), archive.as_os_str()];
        let printed = "Loaded image: box:1\nLoaded image: localhost:5000/me/box:2\n";
        shim.cli(&load).expect_ok().expect_no_stderr().expect_stdout(printed);
        assert_eq!(shim.stdout(&["images", "-q", "--no-trunc"]), format!("{id}\n{id}\n"));
    }
    // On standard input too.
    let input = std::fs::File::open(&archives[1]).unwrap();
    shim.call(&["image", "load"]).stdin_from(input).output().expect_ok();

    let listed = shim.stdout(&["images"]);
    let lines: Vec<&str> = listed.lines().collect();
    let short = &id["sha256:".len()..][..12];
    assert_eq!(lines.len(), 3, "{listed}");
    assert_eq!(lines[0], "REPOSITORY              TAG       IMAGE ID       CREATED       SIZE");
    assert!(
        lines[1].starts_with(&format!("box                     1         {short}   2 years ago   ")),
        "{listed}"
    );
    let format = "{{.Repository}} {{.Tag}} {{.ID}} {{.Digest}}";
    let printed = format!("box 1 {short} <none>\nlocalhost:5000/me/box 2 {short} <none>\n");
    assert_eq!(shim.stdout(&["images", "--format", format]), printed);
    let json = shim.stdout(&["image", "ls", "--format=json"]);
    assert!(json.starts_with("{\"Containers\":\"N/A\",\"CreatedAt\":\"2024-05-01 "), "{json}");
}

#[test]
fn a_command_line_that_cannot_be_read_is_answered_as_docker_does() {
    let shim = Shim::new();
    let usage = "\n\nUsage:  shim images [OPTIONS]";
    shim.cli(&["images", "--foo"]).expect_code(125).expect_stderr(&format!("unknown flag: --foo{usage}"));
    shim.cli(&["load", "x"]).expect_code(1).expect_stderr("shim: 'shim load' accepts no arguments\n");
    shim.cli(&["nothing"]).expect_code(1).expect_stderr("shim: unknown command: shim nothing\n");
    let output = shim.cli(&["images", "--format", "{{.Nope"]).expect_code(1);
    assert_eq!(output.stderr, "template parsing error: template: :1: unclosed action\n");
    shim.cli(&["load", "-i", "/nowhere/x"])
        .expect_code(1)
        .expect_stderr("open \"/nowhere/x\": No such file or directory");
    assert!(shim.stdout(&["--help"]).contains("images"));
    assert!(shim.stdout(&["--version"]).starts_with("Caisson shim version "));
}

/// Three images: one with labels and two names, a later one, and one without a name.
fn three(shim: &Shim) -> [String; 3] {
    let makers = [
        ImageMaker::empty()
            .layer("a", |folder| std::fs::write(folder.join("a"), [b'a'; 1000]).unwrap())
            .with(
                "config",
                json!({"Labels": {"team": "blue", "x": ""}, "Cmd": ["a"], "ExposedPorts": {"80/tcp": {}}}),
            )
            .named("one:1")
            .named("registry.example/me/one:2"),
        ImageMaker::empty()
            .layer("a", |folder| std::fs::write(folder.join("a"), [b'a'; 1000]).unwrap())
            .layer("b\twith a tab and more than forty-five characters in it", |folder| {
                std::fs::write(folder.join("b"), [b'b'; 234]).unwrap();
            })
            .with("created", json!("2025-01-01T00:00:00Z"))
            .with("author", json!("somebody"))
            .named("two:latest"),
        ImageMaker::empty()
            .layer("c", |folder| std::fs::write(folder.join("c"), "c").unwrap())
            .with("created", json!(null))
            .with("config", json!({"Labels": {"team": "red"}})),
    ];
    for (number, maker) in makers.iter().enumerate() {
        shim.load(&maker.oci_archive(&shim.folder().join(format!("{number}.tar"))));
    }
    makers.map(|maker| maker.id())
}

#[test]
fn images_are_filtered() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    three(&shim);
    for (filters, listed) in [
        (&[][..], "two:latest one:1 registry.example/me/one:2 <none>:<none>"),
        (&["dangling=true"], "<none>:<none>"),
        (&["dangling=false"], "two:latest one:1 registry.example/me/one:2"),
        (&["label=team"], "one:1 registry.example/me/one:2 <none>:<none>"),
        (&["label=team=blue"], "one:1 registry.example/me/one:2"),
        (&["label=team=blue", "label=y"], ""),
        (&["reference=o*"], "one:1"),
        (&["reference=*/*/*:2"], "registry.example/me/one:2"),
        (&["before=two"], "one:1 registry.example/me/one:2 <none>:<none>"),
        (&["since=one:1"], "two:latest"),
        (&["until=2024-12-31"], "one:1 registry.example/me/one:2 <none>:<none>"),
    ] {
        let mut words = vec!["images", "--format", "{{.Repository}}:{{.Tag}}"];
        filters.iter().for_each(|filter| words.extend(["-f", filter]));
        let printed: Vec<String> = shim.stdout(&words).lines().map(str::to_owned).collect();
        assert_eq!(printed.join(" "), listed, "{filters:?}");
    }
    assert_eq!(shim.stdout(&["images", "--format", "{{.Tag}}", "registry.example/me/one"]), "2\n");
    shim.cli(&["images", "-f", "dangling=maybe"])
        .expect_code(1)
        .expect_stderr("invalid filter 'dangling=[maybe]'\n");
    shim.cli(&["images", "-f", "nothing=1"]).expect_code(1).expect_stderr("invalid filter 'nothing'\n");
    let bad =
        "invalid argument \"x\" for \"-f, --filter\" flag: bad format of filter (expected name=value)\n";
    shim.cli(&["images", "-f", "x"]).expect_code(125).expect_stderr(bad);
    shim.cli(&["images", "-f", "since=none"]).expect_code(1).expect_stderr("No such image: none:latest\n");
}

#[test]
fn an_image_is_looked_at_by_inspect_and_history() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let [one, two, _] = three(&shim);
    let all = shim.cli(&["image", "inspect", "one:1", "two", "nothing"]).expect_code(1);
    assert_eq!(all.stderr, "No such image: nothing:latest\n");
    let list = all.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["Id"], one);
    assert_eq!(list[0]["RepoTags"], json!(["one:1", "registry.example/me/one:2"]));
    assert_eq!(list[0]["Config"]["Labels"], json!({"team": "blue", "x": ""}));
    assert_eq!(list[0]["Size"], 1000);
    assert_eq!((&list[1]["Author"], &list[1]["Size"]), (&json!("somebody"), &json!(1234)));
    // The layers are where it says, the highest above all others.
    let of_driver = |name: &str| list[1]["GraphDriver"]["Data"][name].as_str().unwrap().to_owned();
    assert_eq!(std::fs::read(format!("{}/b", of_driver("UpperDir"))).unwrap(), [b'b'; 234]);
    assert_eq!(std::fs::read(format!("{}/a", of_driver("LowerDir"))).unwrap(), [b'a'; 1000]);
    let format = "{{.Os}} {{index .Config.Labels \"team\"}} {{join .Config.Cmd \",\"}} {{len .RootFS.Layers}} {{json .Config.Volumes}}";
    assert_eq!(shim.stdout(&["image", "inspect", "-f", format, "one:1"]), "linux blue a 1 null\n");
    let short = &two["sha256:".len()..][..12];
    assert_eq!(shim.stdout(&["image", "inspect", "--format={{.Id}}", short]), format!("{two}\n"));
    shim.cli(&["image", "inspect", "-f", "{{.Nope}}", "two"])
        .expect_code(1)
        .expect_stderr("can't evaluate field Nope");
    shim.cli(&["image", "inspect", "-f", "{{.", "two"])
        .expect_code(64)
        .expect_stderr("template parsing error");
    shim.cli(&["image", "inspect", "nothing"]).expect_code(1).expect_stdout("[]\n");

    let history = shim.stdout(&["history", "two"]);
    let lines = [
        "IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT"
            .to_owned(),
        format!("{short}   2 years ago   b with a tab and more than forty-five charac…   234B      "),
        "<missing>      2 years ago   a                                               1kB       ".to_owned(),
    ];
    assert_eq!(history.lines().collect::<Vec<_>>(), lines);
    let format = "{{.ID}} {{.CreatedAt}} {{.CreatedSince}} {{.Size}}";
    let raw = shim
        .call(&["history", "-H=false", "--no-trunc", "--format", format, "two"])
        .env("TZ", "UTC")
        .output();
    let made = "2024-05-01T10:00:00Z 2024-05-01T10:00:00Z";
    raw.expect_ok().expect_stdout(&format!("{two} {made} 234\n<missing> {made} 1000\n"));
    assert_eq!(shim.stdout(&["history", "-q", "two"]), format!("{short}\n<missing>\n"));
}

#[test]
fn names_are_given_and_taken_and_images_go_with_their_last() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let [one, two, third] = three(&shim);
    shim.cli(&["tag", "two", "localhost/three:3"]).expect_ok().expect_no_stderr().expect_stdout("");
    shim.cli(&["tag", &third["sha256:".len()..][..12], "two"]).expect_ok();
    assert_eq!(shim.stdout(&["image", "inspect", "-f", "{{.Id}}", "two"]), format!("{third}\n"));
    shim.cli(&["tag", "nothing", "x"]).expect_code(1).expect_stderr("No such image: nothing:latest\n");
    let upper = "Error parsing reference: \"UP\" is not a valid repository/tag: invalid reference format: repository name \
        (UP) must be lowercase\n";
    shim.cli(&["tag", "two", "UP"]).expect_code(1).expect_stderr(upper);
    let digest = format!("x@{two}");
    shim.cli(&["tag", "two", &digest]).expect_code(1).expect_stderr("refusing to create a tag with a digest");

    let short = &one["sha256:".len()..][..12];
    let conflict = format!(
        "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories\n"
    );
    shim.cli(&["rmi", short]).expect_code(1).expect_stderr(&conflict);
    // The base layer is that of both: it stays with the other.
    let base = shim.stdout(&["image", "inspect", "-f", "{{index .RootFS.Layers 0}}", short]);
    let gone = format!("Untagged: one:1\nUntagged: registry.example/me/one:2\nDeleted: {one}\n");
    shim.cli(&["rmi", "--force", short]).expect_ok().expect_stdout(&gone);
    let output = shim.cli(&["rmi", "nothing", "localhost/three:3"]).expect_code(1);
    assert_eq!(output.stderr, "No such image: nothing:latest\n");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[..2], ["Untagged: localhost/three:3".to_owned(), format!("Deleted: {two}")]);
    assert_eq!(lines[3], format!("Deleted: {}", base.trim_end()), "the highest layer first, the base last");
    shim.cli(&["rmi", "-f", "nothing"]).expect_ok().expect_stderr("No such image: nothing:latest\n");

    // One image with a name is left: of what is dangling there is nothing.
    shim.cli(&["image", "prune", "-f"]).expect_ok().expect_stdout("Total reclaimed space: 0B\n");
    let asked = "WARNING! This will remove all images.\nAre you sure you want to continue? [y/N] ";
    shim.call(&["image", "prune", "-a"]).stdin_bytes("n\n").output().expect_ok().expect_stdout(asked);
    shim.cli(&["image", "prune", "-af", "--filter", "label!=team=red"])
        .expect_ok()
        .expect_stdout("Total reclaimed space: 0B\n");
    let output = shim.call(&["image", "prune", "--all"]).stdin_bytes("y\n").output().expect_ok();
    let deleted = format!("{asked}Deleted Images:\nuntagged: two:latest\ndeleted: {third}\ndeleted: sha256:");
    assert!(output.stdout.starts_with(&deleted), "{output}");
    let left = |folder: &str| std::fs::read_dir(shim.root().join(folder)).unwrap().count();
    assert_eq!((left("content/sha256"), left("layers"), left("ingest"), left("leases")), (0, 0, 0, 0));
}

#[test]
fn a_reader_that_goes_away_ends_a_list_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let call = Command::new(shim_under_test()).arg("--help").stdout(writer).stderr(Stdio::piped()).spawn();
    let output = call.unwrap().wait_with_output().unwrap();
    // 128 and SIGPIPE, as docker in a shell's pipe.
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}

#[test]
fn images_can_be_removed_from_a_full_disk() {
    requires!(is_root(), "a file system of its own is mounted");
    let shim = Shim::new();
    let archive = ImageMaker::busybox().named("box:1").oci_archive(&shim.folder().join("layout.tar"));
    let script = r#"
        shim=$1 disk=$2 archive=$3
        mkdir "$disk"
        mount -t tmpfs -o size=16m full "$disk"
        "$shim" --root "$disk/root" --state "$disk/state" load -qi "$archive"
        "$shim" --root "$disk/root" --state "$disk/state" tag box:1 box:2
        dd if=/dev/zero of="$disk/fill" bs=4096 2>/dev/null || true
        "$shim" --root "$disk/root" --state "$disk/state" rmi box:1 box:2 >&2
        "$shim" --root "$disk/root" --state "$disk/state" images -q
        ls "$disk/root/layers""#;
    let call = Call::of("unshare").args(["--mount", "sh", "-ec", script, "sh"]);
    let call = call.args([shim_under_test(), &shim.folder().join("disk"), &archive]);
    let output = call.output().expect_ok();
    assert_eq!(output.stdout, "Loaded image: box:1\n");
    assert!(output.stderr.contains("Untagged: box:2"), "{output}");
}
