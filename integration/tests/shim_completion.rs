//! Tab completion in real shells, and the help that people find their way by.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use integration::{Call, ImageMaker, Running, Shim, Terminal, is_root, requires, shim_under_test};

/// A shim with an image, and a folder in which `shim` is found.
fn with_image() -> (Shim, String) {
    let shim = Shim::in_memory();
    let maker =
        ImageMaker::empty().layer("a", |folder| fs::write(folder.join("a"), "a").unwrap()).named("box:1");
    shim.load(&maker.oci_archive(&shim.folder().join("archive.tar")));
    fs::create_dir(shim.folder().join("bin")).unwrap();
    symlink(shim_under_test(), shim.folder().join("bin/shim")).unwrap();
    (shim, maker.id())
}

fn has(program: &str) -> bool {
    Path::new("/usr/bin").join(program).exists()
}

/// A shell in a session of its own, in the shim's folder.
fn shell(shim: &Shim, words: &[&str]) -> (Terminal, Running) {
    let (terminal, other) = Terminal::pair();
    terminal.resize(50, 200);
    let path = format!("{}:/usr/bin:/bin", shim.folder().join("bin").display());
    let call = Call::of(words[0]).args(&words[1..]).env("PATH", path).env("HOME", shim.folder());
    let call = call
        .env("TERM", "dumb")
        .env("SHIM", format!("shim --root {} --state {}", shim.root().display(), shim.state().display()));
    let running = call.current_dir(shim.folder()).on_terminal(other).spawn();
    (terminal, running)
}

/// Types what people type in bash and zsh alike.
fn types_and_completes(terminal: &mut Terminal, shim: &Shim, id: &str) {
    let line = format!("shim --root {} --state {}", shim.root().display(), shim.state().display());
    // A command and the name of an image: what runs is what was completed.
    terminal.send(&format!("{line} image insp\t-f 'ID {{{{.Id}}}}' bo\t\n"));
    terminal.read_until(&format!("ID {id}"));
    // The value behind an equals sign, and what stands behind another one in it.
    terminal.send(&format!("{line} images --no-tr\t-q --filter=dangl\tf\t | sed s/^/GOT/\n"));
    terminal.read_until(&format!("GOT{id}"));
    // Files where files are meant.
    terminal.send(&format!("{line} load --inp\tarch\t\n"));
    terminal.read_until("Loaded image: box:1");
    // All that it may be.
    terminal.send(&format!("{line} image h\t"));
    terminal.read_until("image history ");
    terminal.send("\u{15}exit\n");
}

#[test]
fn bash_completes_commands_flags_values_and_names() {
    requires!(is_root(), "unpacking layers needs root");
    let (shim, id) = with_image();
    let (mut terminal, running) = shell(&shim, &["bash", "--norc", "--noprofile", "-i"]);
    terminal.send("PS1='> '; source <(shim completion bash); echo rea''dy\n");
    terminal.read_until("ready\r\n");
    types_and_completes(&mut terminal, &shim, &id);
    running.wait();
}

#[test]
fn zsh_completes_commands_flags_values_and_names() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(has("zsh"), "no zsh");
    let (shim, id) = with_image();
    let (mut terminal, running) = shell(&shim, &["zsh", "-f", "-i"]);
    terminal
        .send("PS1='> '; autoload -Uz compinit; compinit -D; source <(shim completion zsh); echo rea''dy\n");
    terminal.read_until("ready\r\n");
    types_and_completes(&mut terminal, &shim, &id);
    running.wait();
}

#[test]
fn fish_completes_commands_flags_values_and_names() {
    requires!(is_root(), "unpacking layers needs root");
    requires!(has("fish"), "no fish");
    let (shim, _) = with_image();
    let line = format!("shim --root {} --state {}", shim.root().display(), shim.state().display());
    let path = format!("{}:/usr/bin:/bin", shim.folder().join("bin").display());
    let script = "shim completion fish | source; for line in $argv; echo \"[$line]\"; complete --do-complete $line; end";
    let lines = ["image insp", "rmi bo", "images --filter=dangl", "load --input arch", "--debug tag box:1 "];
    let lines = lines.map(|words| format!("{line} {words}"));
    let call = Call::of("fish").args(["--no-config", "--command", script]).args(&lines);
    let call = call.env("PATH", path).env("HOME", shim.folder()).current_dir(shim.folder());
    let printed = call.output().expect_ok().stdout.replace(&line, "shim");
    let expected = "[shim image insp]\ninspect\tDisplay detailed information on one or more images\n[shim rmi bo]\nbox:1\n\
        [shim images --filter=dangl]\n--filter=dangling=\n[shim load --input arch]\narchive.tar\n[shim --debug tag box:1 ]\n";
    assert_eq!(printed, expected);
}

#[test]
fn scripts_for_packages_are_what_the_program_prints() {
    let shim = Shim::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging/completions");
    for (shell, file) in [("bash", "shim.bash"), ("zsh", "_shim"), ("fish", "shim.fish")] {
        let packaged = fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(shim.stdout(&["completion", shell]), packaged, "make it anew: shim completion {shell}");
    }
    let other = "no completion for the shell \"csh\": bash, fish, zsh\n";
    shim.cli(&["completion", "csh"]).expect_code(1).expect_stderr(other);
}

#[test]
fn help_is_in_dockers_groups_and_a_wrong_command_is_answered_by_a_guess() {
    let shim = Shim::new();
    let help = shim.stdout(&["--help"]);
    let at = |title: &str| help.find(title).unwrap_or_else(|| panic!("{title}: {help}"));
    let titles =
        ["\nCommon Commands:\n", "\nManagement Commands:\n", "\nCommands:\n", "\nGlobal Options:\n"].map(at);
    assert!(titles.is_sorted(), "{help}");
    assert!(!help.contains("__complete"), "{help}");
    let guess = "shim: unknown command: shim imagse\n\nDid you mean this?\n  image\n  images\n\nRun 'shim --help' for more information\n";
    assert_eq!(shim.cli(&["imagse"]).expect_code(1).stderr, guess);
    let guess = "shim: unknown command: shim image prnue\n\nUsage:  shim image\n\nDid you mean this?\n  prune\n\n\
        Run 'shim image --help' for more information\n";
    assert_eq!(shim.cli(&["image", "prnue"]).expect_code(1).stderr, guess);
}
