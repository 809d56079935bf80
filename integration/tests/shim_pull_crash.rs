//! A pull that ends half-way, by kill -9 or by Ctrl-C: the next one makes what a first one would have made, and nothing
//! else is left.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod pulled;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use integration::{Answer, Body, Fake, ImageMaker, Layout, Shim, is_root, requires, wait_for};
use pulled::{contents, layout, shim_call};
use rustix::process::Signal;

/// Moments of the pull at which it is killed.
const MOMENTS: u32 = 50;

fn image(folder: &std::path::Path) -> Layout {
    let files = |name: &'static str| {
        move |folder: &std::path::Path| {
            for number in 0..40 {
                std::fs::write(folder.join(format!("{name}-{number}")), vec![b'x'; 5000 * (number % 7)])
                    .unwrap();
            }
        }
    };
    layout(folder, &ImageMaker::busybox().layer("one", files("one")).layer("two", files("two")))
}

/// What is in the store, without when it came.
fn store(shim: &Shim) -> (BTreeMap<String, String>, String) {
    let mut contents = contents(&shim.root());
    contents.remove("images.json");
    // Filled again by the next one that changes the list; a pull that finds everything there does not.
    contents.remove("images.reserve");
    (
        contents,
        shim.stdout(&[
            "images",
            "--digests",
            "--no-trunc",
            "--format",
            "{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}",
        ]),
    )
}

/// Numbers that look like chance and are the same in every run.
fn noise(seed: u32) -> u32 {
    seed.wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519)
}

#[test]
fn a_pull_that_was_killed_is_made_good_by_the_next_one() {
    requires!(is_root(), "unpacking layers needs root");
    let fresh = Shim::in_memory();
    let layout = image(&fresh.folder().join("layout"));
    let registry = Fake::start(move |request| layout.answer(request));
    let name = format!("{}/box:1", registry.host());
    let begin = Instant::now();
    shim_call(&fresh, &["pull", &name]).output().expect_ok();
    let whole = begin.elapsed();
    let wanted = store(&fresh);
    let next = AtomicUsize::new(0);
    let killed = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = u32::try_from(next.fetch_add(1, Ordering::SeqCst)).unwrap();
            if number >= MOMENTS {
                return;
            }
            let shim = Shim::in_memory();
            let mut pull = shim_call(&shim, &["pull", &name]).spawn();
            // Spread over the time that a pull takes, each somewhere in its own part of it.
            let part = whole * 12 / 10 / MOMENTS;
            std::thread::sleep(part * number + part * (noise(number) % 100) / 100);
            if pull.is_running() {
                pull.signal(Signal::KILL);
                killed.fetch_add(1, Ordering::SeqCst);
            }
            let output = pull.wait();
            let again = shim_call(&shim, &["pull", &name]).output().expect_ok().expect_no_stderr();
            assert_eq!(store(&shim), wanted, "moment {number} of {whole:?}: {output}; then {again}");
            // Slower than the pull itself.
            if number.is_multiple_of(10) {
                shim.cli(&["system", "check"]).expect_ok();
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    assert!(killed.into_inner() >= MOMENTS as usize / 3, "most pulls had ended before they were killed");
}

#[test]
fn ctrl_c_ends_a_pull_at_once_and_what_has_come_is_kept_for_the_next() {
    requires!(is_root(), "unpacking layers needs root");
    for signal in [Signal::INT, Signal::TERM] {
        let shim = Shim::in_memory();
        let layout = image(&shim.folder().join("layout"));
        let (layer, size) = layout.layers[0].clone();
        let stalls = Arc::new(AtomicUsize::new(0));
        let (stalled, digest) = (Arc::clone(&stalls), layer.clone());
        let registry = Fake::start(move |request| {
            if request.target.ends_with(&digest) && stalled.fetch_add(1, Ordering::SeqCst) == 0 {
                // Half of it, and then nothing for as long as anybody waits.
                return Answer::status(200)
                    .body(Body::Stalled(layout.blob(&digest)[..size / 2].to_vec(), size));
            }
            layout.answer(request)
        });
        let name = format!("{}/box:1", registry.host());
        let pull = shim_call(&shim, &["pull", &name]).spawn();
        let part = shim.root().join(format!("ingest/{}", layer.replace(':', "-")));
        // And all of the others: what is unfinished then is this one.
        wait_for("half of the layer", || {
            let length = part.metadata().ok()?.len();
            let begun = std::fs::read_dir(shim.root().join("ingest")).ok()?.flatten();
            let begun = begun.filter(|entry| entry.file_name().to_string_lossy().starts_with("sha256-"));
            (length == size as u64 / 2 && begun.count() == 1).then_some(())
        });
        let begin = Instant::now();
        pull.signal(signal);
        let output = pull.wait().expect_code(130).expect_stderr("interrupted");
        assert!(begin.elapsed() < Duration::from_secs(30), "it waited for the registry: {output}");
        let left: Vec<String> = contents(&shim.root()).into_keys().collect();
        let unfinished: Vec<&String> =
            left.iter().filter(|path| path.starts_with("ingest/") || path.starts_with("leases/")).collect();
        assert_eq!(unfinished, [&format!("ingest/{}", layer.replace(':', "-"))], "{left:?}");
        shim_call(&shim, &["pull", "-q", &name]).output().expect_ok();
        let asked: Vec<Option<usize>> = registry
            .requests()
            .iter()
            .filter(|request| request.target.ends_with(&layer))
            .map(integration::Request::from)
            .collect();
        assert_eq!(asked, [None, Some(size / 2)], "the rest, and not all of it again");
    }
}

#[test]
fn a_signal_that_the_caller_has_it_ignore_does_not_end_a_pull() {
    requires!(is_root(), "unpacking layers needs root");
    let shim = Shim::in_memory();
    let layout = image(&shim.folder().join("layout"));
    let (asked, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (is_asked, is_told) = (Arc::clone(&asked), Arc::clone(&told));
    let registry = Fake::start(move |request| {
        if request.target.contains("/manifests/") {
            is_asked.store(1, Ordering::SeqCst);
            wait_for("the signal", || (is_told.load(Ordering::SeqCst) == 1).then_some(()));
        }
        layout.answer(request)
    });
    // As nohup does.
    let pull = shim_call(&shim, &["pull", "-q", &format!("{}/box:1", registry.host())]);
    let pull = pull.through(&["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""]).spawn();
    wait_for("the first question", || (asked.load(Ordering::SeqCst) == 1).then_some(()));
    pull.signal(Signal::HUP);
    told.store(1, Ordering::SeqCst);
    pull.wait().expect_ok();
}
