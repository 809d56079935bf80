//! Links in an image that lead out of it, at every place where the runtime mounts, makes or changes something.
//!
//! CVE-2019-18837, CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2024-45310,
//! CVE-2025-31133, CVE-2025-52565, CVE-2025-54867, CVE-2026-41579, CVE-2026-88264, CVE-2026-88265.
//! See docs/attacks.md.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs;
use std::os::unix::fs::symlink;

use attack::{Canary, FILE, FOLDER, replace_by_link, without_dev};
use integration::{Bundle, ConsoleSocket, Output, json};

/// Runs the attack in a fresh bundle once per link; each has to fail or to stay inside the root.
#[track_caller]
fn for_both_links(
    depth: usize,
    name: &str,
    attack: &str,
    run: impl Fn(Bundle, &Canary, &str) -> Output,
) -> Vec<Output> {
    let mut outputs = Vec::new();
    for position in 0..2 {
        let bundle = Bundle::new();
        let canary = Canary::of(&bundle);
        let link = canary.links(depth, name)[position].clone();
        let bundle = canary.watched(bundle);
        let output = run(bundle, &canary, &link);
        canary.assert_untouched(&format!("{attack}, link to {link}: {output}"));
        if output.status.success() {
            assert_ne!(canary.looks(), 0, "{attack}: the hook did not look: {output}");
        }
        outputs.push(output);
    }
    outputs
}

/// Runs a bundle whose scratch folder has to outlive the look at the canary.
fn run(bundle: Bundle, keep: &mut Option<integration::Container>) -> Output {
    let container = bundle.container();
    let output = container.run();
    *keep = Some(container);
    output
}

/// [`for_both_links`] where the container is kept until the canary has been looked at.
#[track_caller]
fn attack(depth: usize, name: &str, title: &str, prepare: impl Fn(Bundle, &str) -> Bundle) -> Vec<Output> {
    let kept = std::cell::RefCell::new(Vec::new());
    for_both_links(depth, name, title, |bundle, _, link| {
        let mut keep = None;
        let output = run(prepare(bundle, link), &mut keep);
        kept.borrow_mut().extend(keep);
        output
    })
}

#[test]
fn cve_2026_41579_a_link_at_dev_gets_no_nodes_or_links_on_the_host() {
    ours_only!();
    for name in ["", FOLDER] {
        attack(0, name, "/dev with its mounts", |bundle, link| {
            replace_by_link(&bundle, "/dev", link);
            bundle
        });
        let outputs = attack(0, name, "/dev without mounts", |bundle, link| {
            replace_by_link(&bundle, "/dev", link);
            without_dev(bundle).sh("ls -l /dev/; test -c /dev/null && test -L /dev/ptmx")
        });
        for output in outputs {
            output.expect_ok(); // the nodes are made where the link leads inside the root
        }
    }
}

#[test]
fn cve_2026_41579_a_link_at_dev_ptmx_is_not_followed() {
    ours_only!();
    attack(1, "ptmx", "/dev/ptmx", |bundle, link| {
        replace_by_link(&bundle, "/dev/ptmx", link);
        without_dev(bundle)
    });
}

#[test]
fn cve_2026_88264_a_link_at_dev_console_is_not_followed() {
    ours_only!();
    for readonly in [false, true] {
        for (place, depth) in [("/dev", 0), ("/dev/console", 1)] {
            let target = if depth == 0 { "" } else { "console" };
            let kept = std::cell::RefCell::new(Vec::new());
            for_both_links(depth, target, place, |bundle, _, link| {
                replace_by_link(&bundle, place, link);
                let path = bundle.scratch_file("console");
                let socket = ConsoleSocket::listen(path.as_ref());
                let container = without_dev(bundle)
                    .mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"])
                    .set("/process/terminal", json!(true))
                    .set("/root/readonly", json!(readonly))
                    .args(&["tty"])
                    .container();
                let output = container.create_with(&["--console-socket", &path]);
                kept.borrow_mut().push((container, socket));
                output
            });
        }
    }
}

#[test]
fn cve_2026_88265_a_link_at_dev_null_is_neither_used_nor_changed() {
    ours_only!();
    // The standard input of `run` in these tests is the host's null device, which the runtime exchanges.
    let outputs = attack(1, "null", "/dev/null without a mount of /dev", |bundle, link| {
        replace_by_link(&bundle, "/dev/null", link);
        without_dev(bundle).set("/process/user/uid", json!(1000)).remove("/linux/maskedPaths")
    });
    for output in outputs {
        output.expect_fail().expect_stderr("/dev/null");
    }
}

#[test]
fn cve_2025_31133_only_the_null_device_masks_files() {
    ours_only!();
    let (fifo, zero, folder) = ("mkfifo null", "mknod null c 1 5", "mkdir null");
    for make in [fifo, zero, folder, "ln -s ../../outside/null null", "ln -s OUTSIDE/null null", "touch null"]
    {
        let bundle = Bundle::new();
        let canary = Canary::of(&bundle);
        // The attacker's own folder as /dev: no node is made in it, and its null masks.
        let dev = bundle.scratch_file("dev");
        fs::create_dir(&dev).unwrap();
        let make = make.replace("OUTSIDE", canary.path().to_str().unwrap());
        let made = std::process::Command::new("sh").args(["-c", &make]).current_dir(&dev).status().unwrap();
        assert!(made.success(), "{make}");
        let bundle = without_dev(bundle.file("/secret", 0o644, b"secret"))
            .bind(&dev, "/dev", &["rbind", "rw"])
            .set("/linux/maskedPaths", json!(["/secret"]))
            .sh("cat /secret");
        let container = canary.watched(bundle).container();
        container.run().expect_fail().expect_stderr("linux.maskedPaths[0]");
        canary.assert_untouched(&make);
    }
}

#[test]
fn cve_2025_52565_a_terminal_comes_from_a_real_devpts_only() {
    ours_only!();
    for make in ["mkfifo ptmx", "touch ptmx", "mknod ptmx c 5 2", "ln -s OUTSIDE/ptmx ptmx", "mkdir ptmx"] {
        let bundle = Bundle::new();
        let canary = Canary::of(&bundle);
        let pts = bundle.scratch_file("pts");
        fs::create_dir(&pts).unwrap();
        let make = make.replace("OUTSIDE", canary.path().to_str().unwrap());
        let made = std::process::Command::new("sh").args(["-c", &make]).current_dir(&pts).status().unwrap();
        assert!(made.success(), "{make}");
        let path = bundle.scratch_file("console");
        let _socket = ConsoleSocket::listen(path.as_ref());
        let bundle = bundle
            .remove_mount("/dev/pts")
            .bind(&pts, "/dev/pts", &["bind", "rw"])
            .set("/process/terminal", json!(true))
            .sh("true");
        let container = canary.watched(bundle).container();
        container.create_with(&["--console-socket", &path]).expect_fail().expect_stderr("/dev/pts");
        canary.assert_untouched(&make);
    }
}

#[test]
fn cve_2023_27561_and_28642_and_2025_54867_links_at_proc_and_sys_are_refused() {
    ours_only!();
    for place in ["/proc", "/sys"] {
        let outputs = attack(0, FOLDER, place, |bundle, link| {
            replace_by_link(&bundle, place, link);
            bundle
        });
        for output in outputs {
            output.expect_fail().expect_stderr("must be mounted on ordinary directory");
        }
        // Also where the link stays inside: what is masked and read-only below would be another folder's.
        let bundle = Bundle::new();
        fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
        replace_by_link(&bundle, place, "/elsewhere");
        bundle.run().expect_fail().expect_stderr("must be mounted on ordinary directory");
        let bundle = Bundle::new();
        fs::remove_dir(bundle.rootfs().join(place.trim_start_matches('/'))).unwrap();
        fs::write(bundle.rootfs().join(place.trim_start_matches('/')), "").unwrap();
        bundle.run().expect_fail().expect_stderr("must be mounted on ordinary directory");
    }
}

#[test]
fn cve_2023_28642_a_link_above_a_pseudo_file_system_is_refused() {
    ours_only!();
    let outputs = attack(0, FOLDER, "a link above", |bundle, link| {
        replace_by_link(&bundle, "/above", link);
        bundle.mount("/above/proc", "proc", "proc", &[])
    });
    for output in outputs {
        output.expect_fail().expect_stderr("must be mounted on ordinary directory");
    }
}

#[test]
fn cve_2019_18837_links_at_mount_targets_stay_inside() {
    ours_only!();
    for (kind, options, name) in [
        ("tmpfs", &["mode=755"][..], FOLDER),
        ("mqueue", &[], FOLDER),
        ("cgroup", &["ro"], FOLDER),
        ("bind-folder", &["rbind"], FOLDER),
        ("bind-file", &["bind"], FILE),
    ] {
        for below in ["", "/new/deep"] {
            attack(0, name, kind, |bundle, link| {
                replace_by_link(&bundle, "/target", link);
                let source = bundle.scratch_file(kind);
                let destination = format!("/target{below}");
                match kind {
                    "bind-folder" => {
                        fs::create_dir(&source).unwrap();
                        bundle.bind(&source, &destination, options)
                    }
                    "bind-file" => {
                        fs::write(&source, "").unwrap();
                        bundle.bind(&source, &destination, options)
                    }
                    kind => bundle.mount(&destination, kind, kind, options),
                }
            });
        }
    }
}

#[test]
fn cve_2024_45310_dangling_links_are_completed_inside() {
    ours_only!();
    for name in ["missing", "missing/deeper", "folder/missing"] {
        let outputs = attack(0, name, "a dangling link", |bundle, link| {
            replace_by_link(&bundle, "/target", link);
            bundle.mount("/target", "tmpfs", "tmpfs", &[])
        });
        for output in outputs {
            output.expect_ok();
        }
        attack(0, name, "a dangling link to a file", |bundle, link| {
            replace_by_link(&bundle, "/target", link);
            let source = bundle.scratch_file("source");
            fs::write(&source, "").unwrap();
            bundle.bind(&source, "/target", &["bind"])
        });
    }
}

#[test]
fn a_link_at_the_working_directory_stays_inside() {
    ours_only!();
    for below in ["", "/new/deep"] {
        let outputs = attack(0, FOLDER, "process.cwd", |bundle, link| {
            replace_by_link(&bundle, "/work", link);
            fs::create_dir_all(bundle.rootfs().join("outside")).unwrap();
            bundle.set("/process/cwd", json!(format!("/work{below}"))).sh("test ! -e inner; pwd")
        });
        for output in outputs {
            output.expect_ok();
        }
    }
}

#[test]
fn links_at_masked_and_read_only_paths_stay_inside() {
    ours_only!();
    for name in [FOLDER, FILE] {
        for field in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
            let outputs = attack(0, name, field, |bundle, link| {
                replace_by_link(&bundle, "/link", link);
                bundle.set(field, json!(["/link"]))
            });
            for output in outputs {
                output.expect_ok(); // nothing of that name is in the root
            }
        }
    }
}

#[test]
fn a_masked_path_behind_a_link_of_the_image_is_masked_where_the_link_leads() {
    ours_only!();
    let bundle = Bundle::new().file("/real/secret", 0o644, b"secret");
    symlink("/real", bundle.rootfs().join("link")).unwrap();
    let seen = bundle
        .set("/linux/maskedPaths", json!(["/link/secret"]))
        .in_container("cat /real/secret; cat /link/secret");
    assert_eq!(seen, "");
}

#[test]
fn a_link_above_a_device_stays_inside() {
    ours_only!();
    for (path, depth, name) in [("/link/device", 0, FOLDER), ("/dev/device", 1, FILE)] {
        let at = path.strip_suffix("/device").filter(|at| *at == "/link").unwrap_or(path);
        attack(depth, name, "linux.devices", |bundle, link| {
            replace_by_link(&bundle, at, link);
            without_dev(bundle).push(
                "/linux/devices",
                json!({"path": path, "type": "c", "major": 1, "minor": 5, "fileMode": 0o666, "uid": 7, "gid": 7}),
            )
        });
    }
}

#[test]
fn tmpcopyup_copies_links_and_not_what_they_lead_to() {
    ours_only!();
    let outputs = attack(1, FILE, "tmpcopyup", |bundle, link| {
        replace_by_link(&bundle, "/data/link", link);
        bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]).sh("readlink /data/link; cat /data/link")
    });
    for output in outputs {
        assert!(output.stdout.contains("outside/file"), "{output}");
        assert!(!output.stdout.contains("canary"), "{output}");
    }
    let outputs = attack(0, FOLDER, "tmpcopyup of a link", |bundle, link| {
        replace_by_link(&bundle, "/data", link);
        bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]).sh("ls -R /data/")
    });
    for output in outputs {
        assert!(!output.stdout.contains("inner"), "{output}");
    }
}

#[test]
fn cve_2019_16884_and_19921_a_forged_proc_swallows_no_kernel_parameter() {
    ours_only!();
    // A volume over /proc with the file that the runtime is about to write.
    let bundle = Bundle::new();
    let fake = bundle.scratch().join("fake");
    fs::create_dir_all(fake.join("sys/net/ipv4")).unwrap();
    let file = fake.join("sys/net/ipv4/ip_forward");
    fs::write(&file, "untouched").unwrap();
    let container = bundle
        .remove_mount("/proc")
        .bind(fake.to_str().unwrap(), "/proc", &["rbind", "rw"])
        .mount("/real", "proc", "proc", &[])
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .sh("cat /real/sys/net/ipv4/ip_forward")
        .container();
    container.run().expect_ok().expect_stdout("1\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "untouched");
}

#[test]
fn cve_2025_52881_one_file_of_proc_over_another_misleads_no_kernel_parameter() {
    ours_only!();
    let output = Bundle::new()
        .bind("/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward", &["bind"])
        .mount("/real", "proc", "proc", &[])
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .sh("cat /real/sys/net/ipv4/ip_forward; cat /real/sys/kernel/hostname")
        .run();
    output.expect_ok().expect_stdout("1\ncaisson\n");
}

#[test]
fn what_the_container_mounts_never_reaches_the_host() {
    ours_only!();
    for propagation in ["", "shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable"] {
        let bundle = Bundle::new();
        let canary = Canary::of(&bundle);
        let volume = bundle.scratch_file("volume");
        fs::create_dir(&volume).unwrap();
        let container = bundle
            .set("/linux/rootfsPropagation", json!(propagation))
            .capabilities(&["CAP_SYS_ADMIN"])
            .bind(&volume, "/volume", &["rbind", "rw"])
            .sh("mkdir /mnt/x; mount -t tmpfs x /mnt/x; mkdir /volume/y; mount -t tmpfs y /volume/y; echo ready; read line")
            .container();
        let mut run = container.spawn_run();
        container.wait_running(&mut run);
        integration::wait_for("the container's own mounts", || {
            let mounts = container.init().mounts();
            mounts.iter().any(|mount| mount.destination.as_os_str() == "/mnt/x").then_some(())
        });
        canary.assert_untouched(propagation);
        drop(run.stdin());
        run.wait();
        canary.assert_untouched(propagation);
    }
}
