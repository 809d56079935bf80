use super::*;
use crate::store::scratch::Scratch;
use crate::unpack::archive::Archive;
use crate::unpack::tree;
use crate::unpack::written::{file, folder, header, link, owned};

fn id(number: u8) -> Digest {
    Digest::of(&[number])
}

fn layer(number: u8) -> Layer {
    Layer { diff_id: id(number), parent: None, size: 0, hides_all_below: false, lost: vec![] }
}

/// Makes a layer of these entries on top of those.
fn make(layers: &Layers, number: u8, entries: &[Vec<u8>], below: &[u8]) {
    let making = layers.begin(&id(number)).unwrap().expect("it is not there");
    let bytes = entries.concat();
    let unpacked = tree::unpack(&mut Archive::new(&bytes[..]), making.tree(), As::Root).unwrap();
    let below: Vec<PathBuf> = below.iter().map(|number| layers.tree(&id(*number))).collect();
    making.complete(&layer(number), &unpacked, &below).unwrap();
}

fn description(layers: &Layers, number: u8, path: &str) -> (u32, u32, u32) {
    let stat = layers.tree(&id(number)).join(path).symlink_metadata().unwrap();
    (stat.mode() & 0o7777, stat.uid(), stat.gid())
}

#[test]
fn a_layer_is_there_when_it_is_complete() {
    let scratch = Scratch::new();
    let layers = Layers::open(scratch.path()).unwrap();
    let making = layers.begin(&id(1)).unwrap().unwrap();
    fs::openat(making.tree(), "half", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    assert_eq!(layers.get(&id(1)).unwrap(), None);
    // As after a kill: nobody cleans up, the lock is gone.
    drop(making);
    make(&layers, 1, &[file("whole", "1")], &[]);
    assert_eq!(layers.get(&id(1)).unwrap(), Some(layer(1)));
    let names: Vec<_> =
        std_fs::read_dir(layers.tree(&id(1))).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["whole"], "what was half made is gone");
    assert!(layers.begin(&id(1)).unwrap().is_none());
    assert_eq!(std_fs::read_dir(scratch.join("ingest")).unwrap().count(), 0);
    layers.remove(&id(1)).unwrap();
    layers.remove(&id(1)).unwrap();
    assert_eq!(layers.get(&id(1)).unwrap(), None);
    layers.begin(&id(2)).unwrap().unwrap().abandon().unwrap();
    assert_eq!(std_fs::read_dir(scratch.join("ingest")).unwrap().count(), 0);
}

#[test]
fn a_root_that_a_layer_does_not_describe_is_as_in_the_layers_below() {
    let scratch = Scratch::new();
    let layers = Layers::open(scratch.path()).unwrap();
    make(&layers, 1, &[owned(b'5', "./", 0o1710, (7, 8))], &[]);
    make(&layers, 2, &[file("a", "1")], &[1]);
    make(&layers, 3, &[header(b'0', ".wh..wh..opq", 0)], &[2, 1]);
    let seconds = |number| layers.tree(&id(number)).metadata().unwrap().mtime();
    for number in [1, 2, 3] {
        assert_eq!((description(&layers, number, ""), seconds(number)), ((0o1710, 7, 8), 10), "{number}");
    }
    make(&layers, 4, &[owned(b'5', "/", 0o700, (0, 0))], &[3, 2, 1]);
    assert_eq!(description(&layers, 4, ""), (0o700, 0, 0));
    make(&layers, 5, &[file("a", "1")], &[]);
    assert_eq!((description(&layers, 5, ""), seconds(5)), ((0o755, 0, 0), 0), "nobody says anything");
}

#[test]
fn a_whiteout_stays_only_where_it_hides_something() {
    let scratch = Scratch::new();
    let layers = Layers::open(scratch.path()).unwrap();
    let empty = |path: &str| header(b'0', path, 0);
    let names = |number, path: &str| {
        let entries = std_fs::read_dir(layers.tree(&id(number)).join(path)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    make(&layers, 1, &[file("d/a", "1"), file("d/b", "1"), file("o/a", "1"), empty("d/.wh.base")], &[]);
    assert_eq!(names(1, "d"), ["a", "b"]);
    let second = [
        owned(b'5', "new", 0o755, (0, 0)),
        empty("new/.wh.x"),
        empty("d/.wh.a"),
        empty("d/.wh.gone"),
        empty("o/.wh..wh..opq"),
        empty("o/.wh.a"),
        empty(".wh.top"),
    ];
    make(&layers, 2, &second, &[1]);
    assert_eq!((names(2, "new"), names(2, "d"), names(2, "o")), (vec![], vec!["a".to_owned()], vec![]));
    assert_eq!(names(2, ""), ["d", "new", "o"]);
    // Not seen any more, so there is nothing to hide a second time.
    make(&layers, 3, &[empty("d/.wh.a"), empty("d/.wh.b"), empty("o/.wh.a"), empty(".wh.o")], &[2, 1]);
    assert_eq!((names(3, "d"), names(3, "o")), (vec!["b".to_owned()], vec![]));
}

#[test]
fn many_make_the_same_at_once_and_one_does_it() {
    let scratch = Scratch::new();
    let layers = Layers::open(scratch.path()).unwrap();
    let made = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..10 {
                    if let Some(making) = layers.begin(&id(number)).unwrap() {
                        making.complete(&layer(number), &Unpacked::default(), &[]).unwrap();
                        made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 10);
    assert_eq!(std_fs::read_dir(scratch.join("ingest")).unwrap().count(), 0);
}

#[test]
fn a_folder_that_a_layer_does_not_describe_is_as_it_was_below() {
    let scratch = Scratch::new();
    let layers = Layers::open(scratch.path()).unwrap();
    let described = |path: &str, mode| owned(b'5', path, mode, (7, 8));
    make(&layers, 1, &[described("tmp", 0o1777), described("a", 0o700), described("a/b", 0o750)], &[]);
    make(
        &layers,
        2,
        &[described("tmp", 0o1770), link(b'2', "link", "a"), folder("o"), described("g", 0o711)],
        &[1],
    );
    let empty = |path: &str| header(b'0', path, 0);
    make(
        &layers,
        3,
        &[file("tmp/x", "1"), file("a/b/x", "2"), file("link/x", "3"), file("new/x", "4"), empty(".wh.g")],
        &[2, 1],
    );
    assert_eq!(description(&layers, 3, "tmp"), (0o1777 & 0o1770, 7, 8), "the highest below");
    assert_eq!(description(&layers, 3, "a"), (0o700, 7, 8));
    assert_eq!(description(&layers, 3, "a/b"), (0o750, 7, 8));
    assert_eq!(description(&layers, 3, "link"), (0o755, 0, 0), "a link is no folder");
    assert_eq!(description(&layers, 3, "new"), (0o755, 0, 0));
    // Behind a whiteout and behind an opaque folder nothing is to be seen.
    make(
        &layers,
        4,
        &[file("g/x", "5"), folder("a"), empty("a/.wh..wh..opq"), file("a/b/y", "6")],
        &[3, 2, 1],
    );
    assert_eq!(description(&layers, 4, "g"), (0o755, 0, 0));
    make(&layers, 5, &[file("a/b/z", "7")], &[4, 3, 2, 1]);
    assert_eq!(description(&layers, 5, "a/b"), (0o755, 0, 0), "layer 4's own, not layer 1's");
}

#[test]
fn the_lowest_layer_may_be_named_by_sha512() {
    let scratch = Scratch::new();
    let layers = Layers::open(scratch.path()).unwrap();
    make(&layers, 1, &[file("a", "1")], &[]);
    let id = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap();
    let making = layers.begin(&id).unwrap().unwrap();
    making.complete(&layer(2), &Unpacked::default(), &[]).unwrap();
    assert_eq!(layers.list().unwrap(), [self::id(1), id.clone()]);
    layers.remove(&id).unwrap();
    assert_eq!(layers.list().unwrap(), [self::id(1)]);
}
