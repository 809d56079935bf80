//! All that is known of containers and images, by `inspect`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod recorded;

use integration::{ImageMaker, is_root, json, requires};
use recorded::Recorded;

/// A running container and an image of the same name, and another image.
fn some() -> (Recorded, String, String) {
    let mut all = Recorded::new();
    for name in ["web:latest", "other:1"] {
        let maker = ImageMaker::empty()
            .layer(name, |folder| std::fs::write(folder.join("f"), name).unwrap())
            .named(name);
        all.shim.load(&maker.oci_archive(&all.shim.folder().join("archive.tar")));
    }
    let image = all.shim.stdout(&["image", "inspect", "-f", "{{.Id}}", "other:1"]).trim_end().to_owned();
    let host = json!({"Memory": 536_870_912, "NetworkMode": "none", "Binds": ["/srv:/data"]});
    let id = all.add_running(7, "web", &json!({"HostConfig": host}), &json!({"restart_count": 2}));
    (all, id, image)
}

#[test]
fn containers_and_images_are_told_of_with_dockers_keys() {
    requires!(is_root(), "unpacking layers needs root");
    let (all, id, image) = some();
    let told = all.shim.cli(&["inspect", "web", "other:1", &id[..6]]).expect_ok().json();
    assert_eq!((&told[0]["Id"], &told[1]["Id"], &told[2]["Id"]), (&json!(id), &json!(image), &json!(id)));
    let web = &told[0];
    assert_eq!(
        (&web["Name"], &web["RestartCount"], &web["Driver"]),
        (&json!("/web"), &json!(2), &json!("overlay2"))
    );
    assert_eq!(web["State"]["Status"], "running");
    assert_eq!(web["State"]["Pid"], std::process::id());
    assert_eq!(web["HostConfig"]["Binds"], json!(["/srv:/data"]));
    assert_eq!(web["NetworkSettings"]["Networks"]["none"]["IPAddress"], "");
    assert!(web["LogPath"].as_str().unwrap().ends_with(&format!("containers/{id}/{id}-json.log")));
    assert!(web.get("SizeRw").is_none());
    let sized = all.shim.cli(&["container", "inspect", "--size", "web"]).expect_ok().json();
    assert_eq!((&sized[0]["SizeRw"], &sized[0]["SizeRootFs"]), (&json!(0), &json!(0)));
    // By type, the same name is another thing.
    let digest = all.shim.stdout(&["inspect", "--type", "image", "-f", "{{.Id}}", "web"]);
    assert!(digest.starts_with("sha256:"), "{digest}");
    assert_eq!(all.shim.stdout(&["inspect", "--type=container", "-f", "{{.Id}}", "web"]), format!("{id}\n"));
}

#[test]
fn fields_are_taken_out_by_templates() {
    requires!(is_root(), "unpacking layers needs root");
    let (all, _, _) = some();
    for (format, told) in [
        ("{{.State.Status}}", "running"),
        ("{{.State.ExitCode}}", "0"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", ""),
        ("{{.HostConfig.Memory}} {{json .HostConfig.Binds}}", "536870912 [\"/srv:/data\"]"),
        ("{{if .State.Health}}checked{{else}}unchecked{{end}}", "unchecked"),
        ("{{index .Args 0}} {{len .Mounts}} {{.Config.Image}}", "-c 0 box:1"),
    ] {
        assert_eq!(all.shim.stdout(&["inspect", "--format", format, "web"]), format!("{told}\n"), "{format}");
    }
    let resources =
        all.shim.cli(&["inspect", "-f", "{{json .HostConfig.Resources}}", "web"]).expect_ok().json();
    assert_eq!(resources["Memory"], 536_870_912);
    let json = all.shim.stdout(&["inspect", "-f", "json", "web"]);
    assert!(json.starts_with("[{\"Id\":\"0007") && json.lines().count() == 1, "{json}");
    all.shim
        .cli(&["inspect", "-f", "{{.Nope}}", "web"])
        .expect_code(1)
        .expect_stderr("can't evaluate field Nope");
    all.shim.cli(&["inspect", "-f", "{{.", "web"]).expect_code(64).expect_stderr("template parsing error");
}

#[test]
fn what_is_not_there_is_told_behind_the_rest() {
    requires!(is_root(), "unpacking layers needs root");
    let (all, id, _) = some();
    let output = all.shim.cli(&["inspect", "-f", "{{.Id}}", "nothing", "web"]).expect_code(1);
    assert_eq!(
        (output.stdout, output.stderr),
        (format!("{id}\n"), "Error: No such object: nothing\n".to_owned())
    );
    let output = all.shim.cli(&["container", "inspect", "other:1"]).expect_code(1);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("[]\n", "No such container: other:1\n"));
    let output = all.shim.cli(&["inspect", "--type", "image", "nothing"]).expect_code(1);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("[]\n", "No such image: nothing:latest\n"));
    all.shim
        .cli(&["inspect", "--type", "foo", "web"])
        .expect_code(1)
        .expect_stderr("unknown type: \"foo\"\n");
    all.shim
        .cli(&["inspect", "--type", "network", "web"])
        .expect_code(1)
        .expect_stderr("network web not found");
}

#[test]
fn the_whole_is_told_by_info_and_version() {
    let mut all = Recorded::new();
    all.add(1, "made", &json!({}), &json!({}));
    all.add_running(2, "web", &json!({}), &json!({}));
    all.add_running(3, "still", &json!({}), &json!({"status": "paused"}));
    let format = "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}} {{.Images}} {{.Driver}}";
    assert_eq!(all.shim.stdout(&["info", "--format", format]), "3 1 1 1 0 overlay2\n");
    let told = all.shim.cli(&["info"]).expect_ok();
    for line in [" Containers: 3\n  Running: 1\n", "\n Default Runtime: runtime\n", "\n Security Options:\n"]
    {
        assert!(told.stdout.contains(line), "{line}: {told}");
    }
    // What cannot be limited here is told as docker tells it.
    let has_memory = integration::has_controller("memory");
    assert_eq!(told.stderr.contains("WARNING: No memory limit support\n"), !has_memory, "{told}");
    let json = all.shim.cli(&["info", "-f", "json"]).expect_ok().expect_no_stderr().json();
    assert_eq!((&json["ContainersPaused"], &json["MemoryLimit"]), (&json!(1), &json!(has_memory)));
    let version = all.shim.stdout(&["version", "-f", "{{.Client.Version}} {{.Server.Version}}"]);
    let (client, server) = version.trim_end().split_once(' ').unwrap();
    assert_eq!(client, server);
    assert!(all.shim.stdout(&["version"]).contains("\nRuntime: /"), "{version}");
}
