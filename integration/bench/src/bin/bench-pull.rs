//! Measures `shim pull` beside docker, podman and containerd, in one run and interleaved, from the same docker-registry
//! on loopback: an image of five layers from nothing, and one of which four layers are there. What the machine allows at
//! best stands beside it. `docs/benchmarks.md` explains the figures.
#![forbid(unsafe_code)]
// It is made of the tests' harness, whose way of reporting is a panic with the whole story.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use integration::engine::World;
use integration::registry::docker::store;
use integration::{ImageMaker, Layout, Process, Running, Scratch};

#[path = "../peers.rs"]
#[allow(dead_code, reason = "the other benchmarks' too")]
mod peers;
#[path = "../statistics.rs"]
#[allow(dead_code, reason = "the other benchmark's too")]
mod statistics;
use statistics::Sample;

const USAGE: &str = "usage: bench-pull SHIM ROUNDS PLACE [DOCUMENT]
PLACE is `disk` or `memory`; DOCUMENT takes the table between its lines <!-- pull PLACE --> and <!-- /pull PLACE -->
";
/// Where the registry is in the world.
const REGISTRY: &str = "127.0.0.1:5000";
/// Unpacked length of a layer, in bytes.
const LAYER: usize = 40 << 20;
/// Files of a layer.
const FILES: usize = 400;

/// One that pulls.
struct Contestant {
    name: &'static str,
    pull: Vec<String>,
    /// Takes all images away, and what they were made of.
    clear: String,
    /// Programs that work for it meanwhile, by their names.
    daemons: &'static [&'static str],
    cold: Sample,
    warm: Sample,
    memory: Sample,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shim, rounds, place, ..] = &arguments[..] else {
        print!("{USAGE}");
        return;
    };
    let rounds: usize = rounds.parse().expect("ROUNDS is a number");
    let document = arguments.get(3).map(Path::new);
    let scratch = Scratch::new();
    let images = make_images(scratch.path());
    let world = World::new();
    let _registry = start_registry(&world, &images);
    let root = match place.as_str() {
        "disk" => "/run/world/disk",
        "memory" => "/dev/shm/kept",
        _ => panic!("{USAGE}"),
    };
    world.sh(&format!("mkdir -p {root}")).output().expect_ok();
    let _daemons = start_daemons(&world, root);
    let starter = std::env::current_exe().unwrap().with_file_name("bench-starter");
    let mut contestants = contestants(shim, root);
    for round in 0..=rounds {
        // Each begins once as often as the others.
        contestants.rotate_left(1);
        for contestant in &mut contestants {
            world.sh(&contestant.clear).output().expect_ok();
            let (cold, peak) = pull(&world, &starter, contestant, "cold");
            let (warm, _) = pull(&world, &starter, contestant, "warm");
            if round > 0 {
                contestant.cold.add(cold.as_secs_f64());
                contestant.warm.add(warm.as_secs_f64());
                contestant.memory.add(peak);
            }
        }
    }
    let text = report(rounds, place, &mut contestants, &images, &world.folder().join("limit"));
    print!("{text}");
    if let Some(document) = document {
        peers::write_into(document, &format!("pull {place}"), &text);
    }
}

fn contestants(shim: &str, root: &str) -> Vec<Contestant> {
    let contestant = |name, pull: &str, clear: String, daemons| Contestant {
        name,
        pull: pull.split(' ').map(str::to_owned).collect(),
        clear,
        daemons,
        cold: Sample::default(),
        warm: Sample::default(),
        memory: Sample::default(),
    };
    let shim = format!("{shim} --root {root}/shim --state {root}/state");
    let podman = format!("podman --root {root}/podman --runroot {root}/podman-run");
    vec![
        contestant(
            "shim",
            &format!("{shim} pull -q {REGISTRY}/"),
            format!("for id in $({shim} images -q --no-trunc); do {shim} rmi -f $id; done"),
            &[],
        ),
        contestant(
            "docker",
            &format!("docker pull -q {REGISTRY}/"),
            "for id in $(docker images -q --no-trunc); do docker rmi -f $id; done".to_owned(),
            &["dockerd"],
        ),
        contestant(
            "podman",
            &format!("{podman} pull -q --tls-verify=false {REGISTRY}/"),
            format!("{podman} rmi -a -f"),
            &[],
        ),
        contestant(
            "containerd",
            &format!("ctr images pull --plain-http {REGISTRY}/"),
            "for name in $(ctr images list -q); do ctr images rm --sync $name; done".to_owned(),
            &["containerd"],
        ),
    ]
}

/// Pulls one of the two images: the time, and the largest process in MiB, with daemons.
fn pull(world: &World, starter: &Path, contestant: &Contestant, image: &str) -> (Duration, f64) {
    let mut words: Vec<String> = vec![starter.display().to_string(), "/run/world/peak".to_owned()];
    words.extend(contestant.pull.clone());
    words.last_mut().unwrap().push_str(&format!("{image}:1"));
    let begin = Instant::now();
    world.call(&words).output().expect_ok();
    let took = begin.elapsed();
    let client: f64 = fs::read_to_string(world.folder().join("peak")).unwrap().trim().parse().unwrap();
    let processes = contestant.daemons.iter().flat_map(|name| world.named(name));
    let daemons: f64 = processes.map(|process: Process| kib(&process.status("VmHWM"))).sum();
    (took, (client + daemons) / 1024.0)
}

fn kib(text: &str) -> f64 {
    text.trim_end_matches("kB").trim().parse().expect("a number of kB")
}

/// The two images; four layers are the same.
fn make_images(folder: &Path) -> [(&'static str, Layout); 2] {
    ["cold", "warm"].map(|name| {
        let mut maker = ImageMaker::empty();
        for layer in 0..5_u64 {
            let seed = if layer == 4 && name == "warm" { 99 } else { layer + 1 };
            maker = maker.layer("files", |folder| fill(folder, seed));
        }
        let folder = folder.join(name);
        maker.oci_layout(&folder);
        (name, Layout::open(&folder))
    })
}

/// Files of which half is noise and half is words.
fn fill(folder: &Path, seed: u64) {
    const WORDS: [&str; 16] = [
        "the",
        "of",
        "layer",
        "image",
        "registry",
        "a",
        "and",
        "digest",
        "to",
        "in",
        "is",
        "folder",
        "container",
        "that",
        "\n",
        "runtime",
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for number in 0..FILES {
        let mut bytes = Vec::with_capacity(LAYER / FILES);
        while bytes.len() < LAYER / FILES {
            if number % 2 == 0 {
                bytes.extend(next().to_le_bytes());
            } else {
                bytes.extend(WORDS[usize::try_from(next() % 16).unwrap()].as_bytes());
                bytes.push(b' ');
            }
        }
        let part = folder.join(format!("part-{seed}-{}", number % 20));
        fs::create_dir_all(&part).unwrap();
        fs::write(part.join(format!("file-{number}")), bytes).unwrap();
    }
}

fn start_registry(world: &World, images: &[(&str, Layout)]) -> Running {
    for (name, layout) in images {
        store(&world.folder().join("registry"), layout, name, "1");
    }
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: /run/world/registry}}}}\nhttp: {{addr: '{REGISTRY}'}}\n"
    );
    fs::write(world.folder().join("registry.yml"), config).unwrap();
    world.daemon("registry", &["docker-registry", "serve", "/run/world/registry.yml"])
}

fn start_daemons(world: &World, root: &str) -> Vec<Running> {
    world.write("/etc/containerd/config.toml", &format!("version = 2\nroot = \"{root}/containerd\"\n"));
    world.write("/etc/docker/daemon.json", "{\"iptables\": false, \"bridge\": \"none\"}\n");
    peers::daemons(world, root)
}

/// What the machine allows at best, in seconds: writing what is unpacked and having it on the disk, and unpacking on all
/// processors.
fn limits(layout: &Layout, file: &Path) -> (f64, f64) {
    let packed: Vec<Vec<u8>> = layout.layers.iter().map(|(digest, _)| layout.blob(digest)).collect();
    let block = vec![b'x'; 1 << 20];
    let begin = Instant::now();
    let mut output = File::create(file).unwrap();
    (0..5 * LAYER / block.len()).for_each(|_| output.write_all(&block).unwrap());
    output.sync_all().unwrap();
    let disk = begin.elapsed().as_secs_f64();
    fs::remove_file(file).unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let begin = Instant::now();
    let inflate = || {
        while let Some(bytes) = packed.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let mut decoder = flate2::bufread::MultiGzDecoder::new(&bytes[..]);
            let mut buffer = vec![0; 1 << 17];
            while decoder.read(&mut buffer).unwrap() > 0 {}
        }
    };
    let processors = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(inflate))));
    (disk, begin.elapsed().as_secs_f64())
}

fn report(
    rounds: usize,
    place: &str,
    contestants: &mut [Contestant],
    images: &[(&str, Layout)],
    file: &Path,
) -> String {
    let mut text = String::new();
    let packed: usize = images[0].1.layers.iter().map(|(_, size)| size).sum();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load = load.split(' ').next().unwrap();
    let (disk, inflate) = limits(&images[0].1, file);
    let _ = writeln!(
        text,
        "{rounds} rounds; {} MiB in 5 layers, {} MiB packed; images are kept on {place}; load at the end {load}.\n",
        (5 * LAYER) >> 20,
        packed >> 20
    );
    let _ = writeln!(text, "| | cold (s) | × shim | 4 of 5 layers there (s) | × shim | peak memory (MiB) |");
    let _ = writeln!(text, "|---|--:|--:|--:|--:|--:|");
    contestants.sort_by_key(|contestant| contestant.name != "shim");
    let (cold, warm) = (contestants[0].cold.median(), contestants[0].warm.median());
    for contestant in contestants.iter() {
        let Contestant { name, cold: its_cold, warm: its_warm, memory, .. } = contestant;
        let _ = writeln!(
            text,
            "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |",
            its_cold.median(),
            its_cold.median() / cold,
            its_warm.median(),
            its_warm.median() / warm,
            memory.median()
        );
    }
    let fastest =
        |of: &dyn Fn(&Contestant) -> f64| contestants[1..].iter().map(of).fold(f64::INFINITY, f64::min);
    let _ = writeln!(
        text,
        "\nBeside the fastest of the others (goal: at most 0.7): cold {:.2}, 4 of 5 layers there {:.2}.",
        cold / fastest(&|contestant| contestant.cold.median()),
        warm / fastest(&|contestant| contestant.warm.median())
    );
    let noise: Vec<String> = contestants
        .iter()
        .map(|contestant| format!("{} {:.2}", contestant.name, contestant.cold.noise()))
        .collect();
    let _ = writeln!(text, "Noise (90th over 10th percentile, cold): {}.", noise.join(", "));
    let _ = writeln!(
        text,
        "At best: {disk:.2} s to write what is unpacked and sync it, {inflate:.2} s to inflate on all processors."
    );
    text
}
