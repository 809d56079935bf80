//! What is there, and what of it nobody needs.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{ImageMaker, Shim, is_root, requires};

const ROOT: &str = "containers need root";

#[test]
fn unused_things_go_together_and_what_is_used_stays() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::networked();
    shim.load(&ImageMaker::empty().named("unused:1").docker_archive(&shim.folder().join("unused.tar")));
    shim.detached(&["--name", "up", "-v", "/data", "busybox", "sleep", "1000"]);
    let down = shim.stdout(&["create", "--name", "down", "-v", "/data", "busybox"]).trim_end().to_owned();
    let labelled =
        shim.stdout(&["create", "--name", "labelled", "-l", "keep", "busybox"]).trim_end().to_owned();
    shim.stdout(&["network", "create", "idle"]);
    shim.stdout(&["volume", "create", "named"]);
    // Nobody says yes: nothing goes.
    let asked =
        shim.call(&["system", "prune", "--volumes", "--filter", "label!=keep"]).stdin_bytes("n\n").output();
    let question = "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  \
        - all anonymous volumes not used by at least one container\n  - all dangling images\n\n  Items to be pruned will be filtered \
        with:\n  - label!=keep\n\nAre you sure you want to continue? [y/N] ";
    asked.expect_ok().expect_stdout(question);
    assert_eq!(shim.container_ids().len(), 3);
    shim.cli(&["system", "prune", "-f", "--volumes", "--filter", "until=1h"])
        .expect_code(1)
        .expect_stderr("is not supported with \"--volumes\"");
    shim.cli(&["system", "prune", "-f", "--filter", "foo=1"])
        .expect_code(1)
        .expect_stderr("invalid filter 'foo'");
    let said = shim.stdout(&["system", "prune", "--force", "--filter", "label!=keep"]);
    assert!(
        said.starts_with(&format!("Deleted Containers:\n{down}\n\nDeleted Networks:\nidle\n\n")),
        "{said}"
    );
    assert!(said.contains("\nTotal reclaimed space: ") && !said.contains("Volumes"), "{said}");
    assert!(shim.container_ids().contains(&labelled));
    let said = shim.stdout(&["system", "prune", "-af", "--volumes"]);
    assert!(said.contains(&format!("Deleted Containers:\n{labelled}\n")), "{said}");
    assert!(said.contains("Deleted Images:\nuntagged: unused:1\ndeleted: sha256:"), "{said}");
    // Of the removed container's; the other one's is used, and one has a name.
    assert_eq!(said.split("Deleted Volumes:\n").nth(1).unwrap().lines().next().unwrap().len(), 64, "{said}");
    assert_eq!(shim.stdout(&["volume", "ls", "-q"]).lines().count(), 2);
    assert_eq!(shim.stdout(&["ps", "--format", "{{.Names}}"]), "up\n");
    assert_eq!(shim.stdout(&["images", "--format", "{{.Repository}}"]), "busybox\n");
    assert_eq!(shim.stdout(&["system", "prune", "-f"]), "Total reclaimed space: 0B\n");
    let events = [
        "events",
        "--since",
        "1",
        "--until",
        "0s",
        "-f",
        "event=prune",
        "-f",
        "type=image",
        "--format",
        "{{.Type}}",
    ];
    assert_eq!(shim.stdout(&events), "image\nimage\nimage\n");
}

#[test]
fn what_is_there_is_counted_with_its_volumes() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    shim.stdout(&["volume", "create", "unused"]);
    shim.detached(&[
        "--name",
        "up",
        "-v",
        "used:/data",
        "busybox",
        "sh",
        "-c",
        "head -c 5000 /dev/zero > /data/x; echo ready; sleep 1000",
    ]);
    integration::wait_for("the file", || shim.stdout(&["logs", "up"]).contains("ready").then_some(()));
    let rows = shim.stdout(&[
        "system",
        "df",
        "--format",
        "{{.Type}}:{{.TotalCount}}:{{.Active}}:{{.Size}}:{{.Reclaimable}}",
    ]);
    assert!(rows.contains("Local Volumes:2:1:5kB:0B (0%)\n"), "{rows}");
    assert!(rows.contains("Containers:1:1:") && rows.contains("Images:1:1:"), "{rows}");
}
