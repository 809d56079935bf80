use super::*;
use crate::image::platform::Platform;
use crate::import::{Description, import};
use crate::reference::Reference;
use crate::store::folder::Folders;
use crate::store::scratch::Scratch;
use crate::unpack::written::{file, link, owned};
use std::path::PathBuf;

struct Case {
    scratch: Scratch,
    store: Store,
    id: Digest,
}

impl Case {
    /// A store with one image of one layer.
    fn new() -> Case {
        let scratch = Scratch::new();
        let folders = Folders::open(Some(&scratch.join("root")), Some(&scratch.join("state"))).unwrap();
        let store = Store::open(folders).unwrap();
        let archive = [
            owned(b'5', "bin", 0o755, (0, 0)),
            file("bin/sh", "#!"),
            link(b'1', "bin/hard", "bin/sh"),
            link(b'2', "bin/soft", "sh"),
            file("implied/x", "x"),
            owned(b'0', "bin/.wh.gone", 0o644, (0, 0)),
            vec![0; 1024],
        ];
        let description = Description {
            name: Some(Reference::parse("box:1").unwrap()),
            message: String::new(),
            platform: Platform::host(),
            execution: crate::image::config::Execution::default(),
        };
        let id = import(&store, &archive.concat()[..], description, As::Root).unwrap();
        Case { scratch, store, id }
    }

    fn image(&self) -> Image {
        self.store.images.read().unwrap().get(&self.id).unwrap().clone()
    }

    fn tree(&self, path: &str) -> PathBuf {
        self.store.layers.tree(&self.image().layers[0]).join(path)
    }

    fn problems(&self) -> Vec<String> {
        let report = check(&self.store, As::Root).unwrap();
        report.problems.into_iter().map(|problem| problem.words).collect()
    }

    fn repaired(&self) -> Repaired {
        let report = check(&self.store, As::Root).unwrap();
        repair(&self.store, &report, As::Root).unwrap()
    }

    fn is_clean(&self) -> bool {
        let report = check(&self.store, As::Root).unwrap();
        report.problems.is_empty() && report.leftovers.is_empty()
    }
}

#[test]
fn a_store_that_is_as_it_should_be_has_no_problems() {
    let case = Case::new();
    let report = check(&case.store, As::Root).unwrap();
    assert_eq!((report.images, report.layers, report.content), (1, 1, 3));
    assert!(case.is_clean(), "{report:?}");
    assert_eq!(case.repaired(), Repaired::default());
}

#[test]
fn a_tree_that_was_changed_is_noticed_and_unpacked_again() {
    type Change = fn(&Case);
    let table: [(&str, Change, &str); 9] = [
        (
            "a file's content",
            |case| rewrite(&case.tree("bin/sh"), b"!#"),
            "\"bin/hard\": its content is another",
        ),
        (
            "its length",
            |case| rewrite(&case.tree("bin/sh"), b"longer"),
            "\"bin/hard\": its length is another",
        ),
        (
            "a file more",
            |case| fs::write(case.tree("implied/new"), "").unwrap(),
            "\"implied/new\": it should not be there",
        ),
        (
            "a file less",
            |case| fs::remove_file(case.tree("bin/soft")).unwrap(),
            "\"bin/soft\": it is not there",
        ),
        (
            "its mode",
            |case| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
                fs::set_permissions(case.tree("bin/sh"), mode).unwrap();
            },
            "\"bin/hard\": its mode is another",
        ),
        (
            "a folder's owner",
            |case| std::os::unix::fs::chown(case.tree("bin"), Some(7), None).unwrap(),
            "\"bin\": its owner is another",
        ),
        (
            "a link's target",
            |case| {
                let time = fs::metadata(case.tree("bin")).unwrap().modified().unwrap();
                fs::remove_file(case.tree("bin/soft")).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", case.tree("bin/soft")).unwrap();
                fs::File::open(case.tree("bin")).unwrap().set_modified(time).unwrap();
            },
            "\"bin/soft\": its",
        ),
        (
            "a folder for a file",
            |case| {
                fs::remove_file(case.tree("implied/x")).unwrap();
                fs::create_dir(case.tree("implied/x")).unwrap();
            },
            "\"implied/x\": it is directory, not regularfile",
        ),
        ("no tree", |case| fs::remove_dir_all(case.tree("")).unwrap(), "No such file or directory"),
    ];
    for (what, change, words) in table {
        let case = Case::new();
        change(&case);
        let problems = case.problems();
        assert!(problems.len() == 1 && problems[0].contains(words), "{what}: {problems:?}");
        let layer = case.image().layers[0].clone();
        let done = [format!("removed layer {layer}"), format!("unpacked layer {layer} again")];
        assert_eq!(case.repaired(), Repaired { done: done.to_vec(), left: vec![] }, "{what}");
        assert!(case.is_clean(), "{what}");
        assert_eq!(fs::read(case.tree("bin/hard")).unwrap(), b"#!", "{what}");
    }
}

/// Other bytes at the same time.
fn rewrite(path: &std::path::Path, bytes: &[u8]) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn an_image_that_lacks_something_goes_and_says_what_to_pull() {
    type Change = fn(&Case);
    let table: [(&str, Change, &str); 6] = [
        ("a damaged layer's archive", |case| spoil(case, &case.image().content[0]), "its digest is sha256:"),
        ("a damaged configuration", |case| spoil(case, &case.id), "its digest is sha256:"),
        (
            "no manifest",
            |case| drop(fs::remove_file(case.store.content.path(&case.image().manifest))),
            "No such file",
        ),
        (
            "another image's layers",
            |case| {
                change(case, |image| image.layers.push(Digest::of(b"other")));
            },
            "its layers are not those of its configuration",
        ),
        (
            "another's content",
            |case| {
                change(case, |image| image.content.clear());
            },
            "its content is not that of its manifest",
        ),
        (
            "a bad name",
            |case| {
                change(case, |image| image.tags.extend(["../../x".to_owned()]));
            },
            "invalid reference format",
        ),
    ];
    for (what, change, words) in table {
        let case = Case::new();
        change(&case);
        let problems = case.problems();
        assert!(problems.iter().any(|problem| problem.contains(words)), "{what}: {problems:?}");
        let repaired = case.repaired();
        let told = |line: &String| {
            line.starts_with("removed image") && line.contains("pull") && line.contains("box:1")
        };
        assert!(repaired.done.iter().any(told) && repaired.left.is_empty(), "{what}: {repaired:?}");
        assert!(case.is_clean(), "{what}: {:?}", case.problems());
        assert!(case.store.images.read().unwrap().iter().next().is_none(), "{what}");
        assert_eq!(case.store.content.list().unwrap(), [], "{what}");
    }
}

fn spoil(case: &Case, digest: &Digest) {
    fs::write(case.store.content.path(digest), "spoilt").unwrap();
}

fn change(case: &Case, with: impl FnOnce(&mut Image)) {
    let change = |images: &mut Images| {
        let mut image = images.remove(&case.id).unwrap();
        with(&mut image);
        images.add(&case.id, image);
        Ok(())
    };
    case.store.images.change(change).unwrap();
}

#[test]
fn what_is_in_use_is_not_touched() {
    let case = Case::new();
    let source = case.image().content[0].clone();
    spoil(&case, &source);
    let mut lease = case.store.leases.begin().unwrap();
    lease.claim(&[&source]).unwrap();
    let left = case.repaired().left;
    assert!(left.len() == 1 && left[0].ends_with("it is in use"), "{left:?}");
    assert!(case.store.content.has(&source).unwrap());
}

#[test]
fn what_crashes_have_left_is_found_and_swept_but_not_what_is_under_way() {
    let case = Case::new();
    let ingest = case.scratch.join("root/ingest");
    let (partial, layer) = (Digest::of(b"partial"), Digest::of(b"layer"));
    let mut going_on = case.store.content.ingest(&Digest::of(b"going on")).unwrap();
    going_on.write(b"going").unwrap();
    let making = case.store.layers.begin(&Digest::of(b"making")).unwrap();
    let draft = crate::store::draft::Draft::new(case.store.folders.root(), "load-").unwrap();
    fs::write(ingest.join(format!("sha256-{}", partial.hex())), "part").unwrap();
    for name in
        [format!("layer-{}", layer.hex()), "gone-4294967295-1".into(), "load-1-1".into(), "import-1-1".into()]
    {
        fs::create_dir_all(ingest.join(name).join("diff")).unwrap();
    }
    let garbage = case.store.content.put(b"garbage").unwrap();
    fs::write(case.scratch.join("root/content/sha256/stranger"), "").unwrap();

    let report = check(&case.store, As::Root).unwrap();
    assert_eq!(report.leftovers.len(), 6, "{report:?}");
    assert!(
        report.leftovers.iter().any(|line| line.starts_with("a download that stopped after 4B")),
        "{report:?}"
    );
    let words: Vec<&str> = report.problems.iter().map(|problem| problem.words.as_str()).collect();
    assert_eq!(words, ["\"content/sha256/stranger\": its name is no digest"]);

    let repaired = case.repaired();
    assert_eq!(repaired.left, [""; 0]);
    assert!(!case.store.content.has(&garbage).unwrap());
    assert_eq!(fs::read_dir(&ingest).unwrap().count(), 3, "what is under way stays");
    going_on.write(b" on").unwrap();
    going_on.commit(8).unwrap();
    assert!(draft.path().exists());
    draft.end(Ok(())).unwrap();
    making.unwrap().abandon().unwrap();
    assert_eq!(fs::read_dir(&ingest).unwrap().count(), 0);
}

#[test]
fn a_bundle_whose_folder_is_gone_is_forgotten_and_holds_no_layers_any_more() {
    use crate::root::record::{BundleId, Bundles, Record};
    use std::os::unix::fs::MetadataExt as _;
    let case = Case::new();
    let bundles = Bundles::open(case.store.folders.root()).unwrap();
    let (id, folder) = (BundleId::random().unwrap(), case.scratch.join("bundle"));
    fs::create_dir(&folder).unwrap();
    let stat = fs::metadata(&folder).unwrap();
    let record = Record {
        folder: folder.clone(),
        device: stat.dev(),
        inode: stat.ino(),
        made_folder: true,
        image: case.id.clone(),
        layers: case.image().layers,
        is_overlay: true,
        complete: true,
    };
    drop(bundles.begin(&id, &record).unwrap());
    assert!(case.is_clean(), "its folder is there");
    // A layer that a bundle stands on is not taken from under it.
    fs::write(case.tree("implied/new"), "").unwrap();
    let left = case.repaired().left;
    assert!(left.len() == 1 && left[0].ends_with("it is in use"), "{left:?}");

    fs::remove_dir(&folder).unwrap();
    assert_eq!(case.problems().len(), 2);
    let repaired = case.repaired();
    assert_eq!(repaired.done[0], format!("forgot bundle {id}"));
    assert!(repaired.done.len() == 3 && repaired.left.is_empty(), "the layer too: {repaired:?}");
    assert!(case.is_clean());
}

#[test]
fn a_damaged_record_is_told_and_nothing_is_thrown_away() {
    let case = Case::new();
    fs::write(case.scratch.join("root/images.json"), "[").unwrap();
    assert!(case.problems()[0].contains("images.json"), "{:?}", case.problems());
    let repaired = case.repaired();
    assert!(repaired.done.is_empty() && repaired.left[0].contains("cannot be repaired"), "{repaired:?}");
    assert_eq!(case.store.content.list().unwrap().len(), 3);
}
