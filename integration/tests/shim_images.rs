//! Images on this host: loaded, listed, looked at.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{ImageMaker, Shim, is_root, requires};

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
