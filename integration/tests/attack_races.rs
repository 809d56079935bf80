//! Links that come and go while the runtime works: a volume shared with an attacker who exchanges a folder and
//! a link without pause (renameat2(2), RENAME_EXCHANGE).
//!
//! CVE-2021-30465, CVE-2024-45310, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881. See docs/attacks.md. Every
//! loop is bounded by a count; the thread is joined before the folders go.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use attack::{Canary, FILE, FOLDER};
use integration::{Bundle, Container, json};
use rustix::fs::{RenameFlags, renameat_with};

/// How often each race is run, once per kind of link.
const ROUNDS: usize = 25;
/// More exchanges than fit in the rounds of the slowest machine; the thread ends with the value before that.
const EXCHANGES: u64 = 100_000_000;

/// A thread that exchanges two entries of a folder.
struct Exchanger {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Exchanger {
    fn of(folder: &Path, one: &'static str, other: &'static str) -> Exchanger {
        let folder = File::open(folder).unwrap();
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            for _ in 0..EXCHANGES {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                renameat_with(&folder, one, &folder, other, RenameFlags::EXCHANGE).unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Exchanger { stop, done, thread: Some(thread) }
    }

    /// Exchanges so far.
    fn exchanges(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

impl Drop for Exchanger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(joined, Some(Ok(()))), "the exchanging thread failed");
    }
}

/// A volume at `/shared` with `entry`, which is a folder or file by turns with a link to `link`.
struct Volume {
    path: PathBuf,
}

impl Volume {
    fn new(bundle: &Bundle, is_folder: bool, link: &str) -> Volume {
        let path = bundle.scratch().join("shared");
        fs::create_dir(&path).unwrap();
        let entry = path.join("entry");
        if is_folder {
            fs::create_dir(entry).unwrap()
        } else {
            fs::write(entry, "").unwrap()
        }
        symlink(link, path.join("link")).unwrap();
        Volume { path }
    }

    fn mounted(&self, bundle: Bundle) -> Bundle {
        bundle.bind(self.path.to_str().unwrap(), "/shared", &["rbind", "rw"])
    }
}

/// Runs the container of `prepare` again and again while `/shared/entry` is exchanged with a link to the
/// canary. Whether a run succeeds is luck; what it may never do is touch the canary.
#[track_caller]
fn race(title: &str, is_folder: bool, name: &str, prepare: impl Fn(Bundle) -> Bundle) {
    for position in 0..2 {
        let bundle = Bundle::new();
        let canary = Canary::of(&bundle);
        let link = match position {
            0 => canary.at(name),
            // From the volume's place on the host, and from that in the root: both climb out far enough.
            _ => format!("../../../../../../..{}", canary.at(name)),
        };
        let volume = Volume::new(&bundle, is_folder, &link);
        let bundle = canary.watched(prepare(volume.mounted(bundle)));
        let container = bundle.container();
        let (succeeded, exchanges) = rounds(&container, &volume, title, &canary);
        assert!(exchanges > 0, "{title}: nothing was exchanged");
        // A race that always fails at its first step shows nothing of the later ones.
        assert!(succeeded > 0, "{title}: no run succeeded");
        assert!(canary.looks() >= succeeded, "{title}: the hook did not look");
    }
}

/// How many runs succeeded, and how often the entries were exchanged meanwhile.
#[track_caller]
fn rounds(container: &Container, volume: &Volume, title: &str, canary: &Canary) -> (usize, u64) {
    let exchanger = Exchanger::of(&volume.path, "entry", "link");
    let mut succeeded = 0;
    for _ in 0..ROUNDS {
        let output = container.run();
        succeeded += usize::from(output.status.success());
        canary.assert_untouched(&format!("{title}: {output}"));
    }
    let exchanges = exchanger.exchanges();
    drop(exchanger);
    (succeeded, exchanges)
}

#[test]
fn cve_2021_30465_a_folder_mounted_through_an_exchanged_link_stays_inside() {
    ours_only!();
    race("tmpfs on the entry", true, FOLDER, |bundle| bundle.mount("/shared/entry", "tmpfs", "tmpfs", &[]));
    race("bind mount below the entry", true, FOLDER, |bundle| {
        let source = bundle.scratch_file("source");
        fs::create_dir(&source).unwrap();
        bundle.bind(&source, "/shared/entry/target", &["rbind"])
    });
}

#[test]
fn cve_2021_30465_a_file_mounted_through_an_exchanged_link_stays_inside() {
    ours_only!();
    race("bind mount on the entry", false, FILE, |bundle| {
        let source = bundle.scratch_file("source");
        fs::write(&source, "").unwrap();
        bundle.bind(&source, "/shared/entry", &["bind"])
    });
}

#[test]
fn cve_2024_45310_missing_folders_are_made_inside_whatever_is_exchanged() {
    ours_only!();
    race("folders below the entry", true, FOLDER, |bundle| {
        bundle.mount("/shared/entry/one/two/three", "tmpfs", "tmpfs", &[])
    });
    race("a file below the entry", true, FOLDER, |bundle| {
        let source = bundle.scratch_file("source");
        fs::write(&source, "").unwrap();
        bundle.bind(&source, "/shared/entry/one/file", &["bind"])
    });
    race("the working directory", true, FOLDER, |bundle| {
        bundle.set("/process/cwd", json!("/shared/entry/work/deep"))
    });
}

#[test]
fn cve_2025_31133_and_52881_paths_are_masked_inside_whatever_is_exchanged() {
    ours_only!();
    race("masked", false, FILE, |bundle| bundle.set("/linux/maskedPaths", json!(["/shared/entry"])));
    race("masked folder", true, FOLDER, |bundle| bundle.set("/linux/maskedPaths", json!(["/shared/entry"])));
    race("read-only", true, FOLDER, |bundle| bundle.set("/linux/readonlyPaths", json!(["/shared/entry"])));
}

#[test]
fn cve_2025_52881_a_procfs_is_mounted_inside_whatever_is_exchanged() {
    ours_only!();
    race("a second procfs", true, FOLDER, |bundle| bundle.mount("/shared/entry", "proc", "proc", &[]));
}

#[test]
fn devices_are_made_inside_whatever_is_exchanged() {
    ours_only!();
    race("linux.devices", true, FOLDER, |bundle| {
        let device = json!({"path": "/shared/entry/zero", "type": "c", "major": 1, "minor": 5, "uid": 7});
        bundle.push("/linux/devices", device)
    });
}

#[test]
fn tmpcopyup_copies_nothing_from_outside_whatever_is_exchanged() {
    ours_only!();
    race("tmpcopyup", true, FOLDER, |bundle| {
        bundle.mount("/shared/entry", "tmpfs", "tmpfs", &["tmpcopyup"]).sh("! grep -r canary /shared/entry/")
    });
}
