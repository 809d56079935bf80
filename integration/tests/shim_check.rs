//! `shim system check`: what is broken is told, and repaired.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration::{ImageMaker, Shim, is_root, requires};
use rustix::process::Signal;

#[test]
fn what_is_broken_is_told_and_repaired() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let maker = ImageMaker::busybox()
        .layer("a file", |folder| {
            fs::create_dir(folder.join("etc")).unwrap();
            fs::write(folder.join("etc/hello"), "hello\n").unwrap();
        })
        .named("box:1");
    let archive = maker.oci_archive(&shim.folder().join("made.tar"));
    shim.load(&archive);
    let clean = "1 images, 2 layers, 4 parts of content: nothing is wrong\n";
    assert_eq!(shim.stdout(&["system", "check"]), clean);

    // A file of the lower layer is another: the layer is unpacked again.
    let format = "{{.GraphDriver.Data.LowerDir}}";
    let lower = shim.stdout(&["image", "inspect", "-f", format, "box:1"]).trim_end().to_owned();
    fs::write(format!("{lower}/etc/passwd"), "root::0:0::/:/bin/sh\n").unwrap();
    let output = shim.cli(&["system", "check", "-q"]).expect_code(1).expect_no_stderr();
    assert!(output.stdout.ends_with(": \"etc/passwd\": its length is another\n"), "{output}");
    let output = shim.cli(&["system", "check", "--repair"]).expect_ok();
    assert!(output.stdout.contains("repair: unpacked layer sha256:"), "{output}");
    assert!(fs::read_to_string(format!("{lower}/etc/passwd")).unwrap().contains("root:x:0:0"));
    assert_eq!(shim.stdout(&["system", "check"]), clean);

    // What is kept of it is broken: the image goes, and comes again.
    let content = shim.root().join("content/sha256");
    let largest = fs::read_dir(content).unwrap().map(|entry| entry.unwrap().path());
    let largest = largest.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    fs::write(&largest, "spoilt").unwrap();
    let output = shim.cli(&["system", "check", "--repair", "--quiet"]).expect_ok();
    assert!(output.stdout.contains(": pull box:1 again\n"), "{output}");
    assert_eq!(shim.stdout(&["images", "-q"]), "");
    shim.load(&archive);
    assert_eq!(shim.stdout(&["system", "check"]), clean);
}

#[test]
fn a_check_disturbs_no_other_command_and_is_not_disturbed() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let make = |number: u32| {
        ImageMaker::empty()
            .layer("common", |folder| fs::write(folder.join("common"), vec![b'c'; 1 << 20]).unwrap())
            .layer("own", |folder| fs::write(folder.join("own"), number.to_string()).unwrap())
            .named(&format!("box:{number}"))
            .oci_archive(&shim.folder().join(format!("{number}.tar")))
    };
    let archives = [make(0), make(1)];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let checks = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                let output = shim.cli(&["system", "check", "--repair", "-q"]).expect_ok().expect_no_stderr();
                // Garbage that `rmi` has just made, or a file that `load` has just made and not locked yet, and makes
                // again: nothing else.
                assert!(output.stdout.lines().all(|line| line.starts_with("repair: removed ")), "{output}");
                assert!(!output.stdout.contains("image sha256:"), "{output}");
                count += 1;
            }
            count
        });
        let work = |number: usize| {
            for _ in 0..6 {
                shim.load(&archives[number]);
                let name = format!("box:{number}");
                let saved = shim.folder().join(format!("saved-{number}.tar"));
                shim.cli(&["save", "-o", saved.to_str().unwrap(), &name]).expect_ok();
                shim.cli(&["rmi", &name]).expect_ok();
            }
        };
        let workers = [scope.spawn(move || work(0)), scope.spawn(move || work(1))];
        let ended = workers.map(|worker| worker.join());
        done.store(true, Ordering::SeqCst);
        assert!(checks.join().unwrap() > 0);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
    assert_eq!(
        shim.stdout(&["system", "check"]),
        "0 images, 0 layers, 0 parts of content: nothing is wrong\n"
    );
}

#[test]
fn what_is_kept_is_counted() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let empty = "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
        Images          0         0         0B        0B\n\
        Containers      0         0         0B        0B\n\
        Local Volumes   0         0         0B        0B\n\
        Build Cache     0         0         0B        0B\n";
    assert_eq!(shim.stdout(&["system", "df"]), empty);
    let maker = ImageMaker::empty()
        .layer("a file", |folder| fs::write(folder.join("file"), vec![0; 50_000]).unwrap());
    shim.load(&maker.oci_archive(&shim.folder().join("made.tar")));
    let format = "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}";
    let counted = shim.stdout(&["system", "df", "--format", format]);
    assert!(
        counted.starts_with("Images 1 0 5")
            && counted.contains(
                "kB (100%)\nContainers 0 0 0B 0B\nLocal Volumes 0 0 0B 0B\nBuild Cache 0 0 0B 0B\n"
            ),
        "{counted}"
    );
    assert_eq!(shim.stdout(&["info", "-f", "{{.Images}} {{.Driver}} {{.OSType}}"]), "1 overlay2 linux\n");
    // What this host cannot limit is told apart from it.
    let output = shim.cli(&["system", "info"]).expect_ok();
    assert!(output.stderr.lines().all(|line| line.starts_with("WARNING: No ")), "{}", output.stderr);
    let told = output.stdout;
    assert!(told.contains(&format!("\n Root Dir: {}\n", shim.root().display())), "{told}");
}

#[test]
fn no_kill_leaves_anything_broken() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::new();
    let mut maker = ImageMaker::empty().named("box:1");
    for layer in ["one", "two", "three"] {
        maker = maker.layer(layer, |folder| {
            for number in 0..100 {
                fs::write(folder.join(format!("{layer}-{number}")), vec![b'x'; 10_000]).unwrap();
            }
        });
    }
    let archive = maker.oci_archive(&shim.folder().join("made.tar"));
    let load = ["load", "-i", archive.to_str().unwrap()];
    // How long it takes here, when nobody kills it.
    let begun = Instant::now();
    shim.cli(&load).expect_ok();
    let whole = begun.elapsed();
    let killed = |words: &[&str], after: Duration| {
        let running = shim.call(words).spawn();
        std::thread::sleep(after);
        running.signal(Signal::KILL);
        running.wait();
    };
    for moment in 0..5 {
        killed(&["rmi", "-f", "box:1"], whole * moment / 20);
        shim.cli(&["system", "check", "-q"]).expect_ok().expect_stdout("");
        shim.cli(&["rmi", "-f", "box:1"]).expect_ok();
        killed(&load, whole * moment / 5);
        shim.cli(&["system", "check", "-q"]).expect_ok().expect_stdout("");
        // It goes on from whatever is there.
        shim.cli(&load).expect_ok();
    }
    shim.cli(&["system", "check", "--repair"]).expect_ok();
    let clean = "1 images, 3 layers, 5 parts of content: nothing is wrong\n";
    assert_eq!(shim.stdout(&["system", "check"]), clean);
    for folder in ["ingest", "leases"] {
        assert_eq!(fs::read_dir(shim.root().join(folder)).unwrap().count(), 0, "{folder}");
    }
    assert_eq!(shim.stdout(&["images", "-q", "--no-trunc"]), format!("{}\n", maker.id()));
}
