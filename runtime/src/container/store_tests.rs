use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::container::record::tests::record;
use crate::container::tests::{TempDir, id};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_root_is_made_private_with_its_parents() {
    let dir = TempDir::new();
    let root = dir.path().join("a/b");
    assert_eq!(Store::open(&root, false).unwrap_err().kind(), Kind::NotFound);
    let store = Store::open(&root, true).unwrap();
    assert_eq!((mode(&root), mode(root.parent().unwrap())), (0o700, 0o700));
    store.keep_from_cleaning().unwrap();
    assert_eq!(mode(&root), 0o1700);
    store.keep_from_cleaning().unwrap();
    assert_eq!(mode(&root), 0o1700);
    Store::open(&root, false).unwrap();
}

#[test]
fn a_root_that_others_control_is_refused() {
    let dir = TempDir::new();
    let root = dir.path().join("state");
    drop(dir.store());
    for bad in [0o720, 0o702, 0o1777] {
        set_mode(&root, bad);
        let error = Store::open(&root, true).unwrap_err().to_string();
        assert!(error.ends_with(&format!("has mode {bad:04o}: others may write to it")), "{error}");
    }
    set_mode(&root, 0o700);
    std::os::unix::fs::chown(&root, Some(12345), None).unwrap();
    let error = Store::open(&root, true).unwrap_err().to_string();
    assert!(error.contains("belongs to user 12345"), "{error}");
}

#[test]
fn a_link_is_no_root_also_with_a_slash_behind_it() {
    let dir = TempDir::new();
    drop(dir.store());
    symlink(dir.path().join("state"), dir.path().join("link")).unwrap();
    for name in ["link", "link/", "link/."] {
        let error = Store::open(&dir.path().join(name), true).unwrap_err().to_string();
        assert!(error.ends_with("is a symbolic link"), "{name}: {error}");
    }
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(&dir.path().join("file"), true).unwrap_err().to_string();
    assert!(error.ends_with("not a directory (ENOTDIR)"), "{error}");
    for name in ["", "/", "//"] {
        assert_eq!(Store::open(Path::new(name), true).unwrap_err().kind(), Kind::Usage, "{name:?}");
    }
}

#[test]
fn a_container_comes_and_goes() {
    let dir = TempDir::new();
    let store = dir.store();
    let record = record("web");
    let locked = store.create(&record.id).unwrap();
    assert_eq!(mode(locked.path()), 0o700);
    let error = store.create(&record.id).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Exists, "container with given ID already exists")
    );
    locked.write(&record).unwrap();
    assert_eq!(mode(&locked.path().join(RECORD)), 0o600);
    assert_eq!(locked.record().unwrap(), record);
    let mut changed = record.clone();
    changed.creating = true;
    locked.write(&changed).unwrap();
    // Readers need no lock, and see the new record whole.
    assert_eq!(store.entry(&record.id).unwrap().record().unwrap(), changed);
    let left: Vec<_> =
        std::fs::read_dir(locked.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left, [RECORD]);
    let reader = store.entry(&record.id).unwrap();
    locked.remove(&store).unwrap();
    assert_eq!(store.entry(&record.id).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(reader.record().unwrap_err().kind(), Kind::NotFound);
    assert_eq!(reader.lock(&store, LOCK_WAIT).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn ids_are_sorted_and_only_folders_of_valid_names() {
    let dir = TempDir::new();
    let store = dir.store();
    for name in ["b", "a", "c"] {
        store.create(&id(name)).unwrap();
    }
    std::fs::write(dir.path().join("state/file"), "").unwrap();
    std::fs::create_dir(dir.path().join("state/no:id")).unwrap();
    symlink("a", dir.path().join("state/link")).unwrap();
    assert_eq!(store.ids().unwrap(), [id("a"), id("b"), id("c")]);
    assert_eq!(Store::open(&dir.path().join("state"), false).unwrap().ids().unwrap().len(), 3);
    let error = store.entry(&id("link")).unwrap_err();
    assert!(matches!(error.errno(), libc::ENOTDIR | libc::ELOOP), "{error}");
}

#[test]
fn one_lock_at_a_time() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let begun = Instant::now();
    let error =
        store.entry(&id("web")).unwrap().lock(&store, Duration::from_millis(50)).unwrap_err().to_string();
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert_eq!(error, "container is locked by another process; gave up after 0 s");
    let mut record = record("web");
    record.creating = true;
    locked.write(&record).unwrap();
    let error = store.entry(&id("web")).unwrap().lock(&store, Duration::ZERO).unwrap_err().to_string();
    let creator = format!("container is locked by process {}, which creates it", std::process::id());
    assert!(error.starts_with(&creator), "{error}");
    // A copy of the descriptor, as a cloned child has it, does not keep the lock.
    let copy = locked.as_fd().try_clone_to_owned().unwrap();
    drop(locked);
    store.entry(&id("web")).unwrap().lock(&store, Duration::ZERO).unwrap();
    drop(copy);
}

#[test]
fn a_lock_on_a_container_of_yesterday_is_none() {
    let dir = TempDir::new();
    let store = dir.store();
    drop(store.create(&id("web")).unwrap());
    let old = store.entry(&id("web")).unwrap();
    store.entry(&id("web")).unwrap().lock(&store, LOCK_WAIT).unwrap().remove(&store).unwrap();
    drop(store.create(&id("web")).unwrap());
    assert_eq!(old.lock(&store, LOCK_WAIT).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_folder_without_a_record_says_what_it_is() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let entry = store.entry(&id("web")).unwrap();
    let error = entry.record().unwrap_err().to_string();
    assert_eq!(
        error,
        "container does not exist yet, or not any more: another process is making or deleting it"
    );
    assert!(locked.record().unwrap_err().to_string().starts_with("container is stale"));
    drop(locked);
    assert_eq!(entry.record().unwrap_err().to_string(), error, "it could be locked the next moment");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(10);
    std::fs::File::open(entry.path()).unwrap().set_modified(long_ago).unwrap();
    let error = entry.record().unwrap_err().to_string();
    assert!(error.starts_with("container is stale (delete --force removes it): "), "{error}");
    assert!(error.ends_with("/web has no state.json"), "{error}");
}

#[test]
fn a_record_is_only_taken_from_a_file_of_its_own() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    locked.write(&record("other")).unwrap();
    let error = locked.record().unwrap_err().to_string();
    assert!(error.ends_with("state.json is of container \"other\""), "{error}");
    let path = locked.path().join(RECORD);
    std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), &path).unwrap();
    assert_eq!(locked.record().unwrap_err().errno(), libc::ELOOP);
    // Nor is a link written through.
    let canary = dir.path().join("canary");
    std::fs::write(&canary, "alive").unwrap();
    symlink(&canary, locked.path().join(NEW_RECORD)).unwrap();
    assert_eq!(locked.write(&record("web")).unwrap_err().errno(), libc::ELOOP);
    assert_eq!(std::fs::read(&canary).unwrap(), b"alive");
}

#[test]
fn whatever_is_in_the_folder_goes_and_nothing_behind_a_link() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("canary"), "alive").unwrap();
    let inside = locked.path().to_owned();
    std::fs::create_dir_all(inside.join("state.json/a/b")).unwrap();
    std::fs::create_dir_all(inside.join("gate")).unwrap();
    std::fs::write(inside.join("state.json/a/file"), "").unwrap();
    std::fs::write(inside.join("state.json.new"), "").unwrap();
    symlink(&outside, inside.join("state.json/a/b/link")).unwrap();
    symlink("/", inside.join("root")).unwrap();
    symlink(&outside, inside.join("report")).unwrap();
    rustix::fs::mkfifoat(&*locked, "fifo", Mode::RUSR).unwrap();
    locked.remove(&store).unwrap();
    assert!(!inside.exists());
    assert_eq!(std::fs::read(outside.join("canary")).unwrap(), b"alive");
    assert!(store.ids().unwrap().is_empty());
}

#[test]
fn a_folder_too_deep_is_an_error_and_not_an_overflow() {
    let dir = TempDir::new();
    let store = dir.store();
    let locked = store.create(&id("web")).unwrap();
    std::fs::create_dir_all(locked.path().join("d/".repeat(100))).unwrap();
    let error = locked.remove(&store).unwrap_err().to_string();
    assert!(error.ends_with("lies more than 64 folders deep"), "{error}");
}
