//! Command lines as people write them in tutorials and manuals, with `shim` for `docker`, typed into a shell: every one of
//! them does what its text says. What is still missing is refused by its name.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use integration::{
    Call, ImageMaker, Output, Server, Shim, Terminal, cgroup2_mount, has_controller, is_root, requires,
    shim_under_test, wait_for,
};

const ROOT: &str = "containers need root";
/// Ends by itself when it is asked to.
const SERVER: &str = "trap 'exit 0' TERM; echo listening; while :; do sleep 0.1; done";

/// A shell in which `shim` is ours, with images of these names: each serves, and has what the lines call.
struct Tutorial {
    shim: Shim,
}

impl Tutorial {
    fn new(images: &[&str]) -> Tutorial {
        let shim = Shim::networked_without_images();
        let program = |folder: &Path, name: &str, text: &str| {
            let path = folder.join("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let maker = ImageMaker::busybox().layer("what the lines call", |folder| {
            fs::create_dir(folder.join("bin")).unwrap();
            program(folder, "bash", "exec sh \"$@\"");
            program(folder, "apk", "echo \"OK: $*\"");
            program(folder, "curl", "echo HTTP/2 200");
            program(folder, "ss", "echo State Recv-Q");
            program(folder, "serve", SERVER);
        });
        let config = integration::json!({"Env": ["PATH=/bin"], "Cmd": ["serve"]});
        let maker = images.iter().fold(maker.with("config", config), |maker, name| maker.named(name));
        shim.load(&maker.docker_archive(&shim.folder().join("archive.tar")));
        let bin = shim.folder().join("bin");
        fs::create_dir(&bin).unwrap();
        let (root, state) = (shim.root(), shim.state());
        let (ours, root, state) = (shim_under_test().display(), root.display(), state.display());
        let wrapper = format!("#!/bin/sh\nexec '{ours}' --root '{root}' --state '{state}' \"$@\"\n");
        fs::write(bin.join("shim"), wrapper).unwrap();
        fs::set_permissions(bin.join("shim"), fs::Permissions::from_mode(0o755)).unwrap();
        Tutorial { shim }
    }

    fn call(&self, line: &str) -> Call {
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.shim.folder().join("bin").display());
        self.shim.host().call("sh").args(["-c", line]).env("PATH", path).current_dir(self.shim.folder())
    }

    /// A line that has to succeed; what it prints.
    #[track_caller]
    fn line(&self, line: &str) -> String {
        self.call(line).output().expect_ok().stdout
    }

    /// A line that is refused.
    #[track_caller]
    fn refused(&self, line: &str, reason: &str) -> Output {
        self.call(line).output().expect_fail().expect_stderr(reason)
    }

    /// A line that is typed at a terminal, on which then something else is typed; all that is seen.
    #[track_caller]
    fn at_terminal(&self, line: &str, prompt: &str, typed: &str) -> String {
        let (mut terminal, other) = Terminal::pair();
        terminal.resize(30, 120);
        let running = self.call(line).on_terminal(other).spawn();
        if !prompt.is_empty() {
            terminal.read_until(prompt);
        }
        terminal.send(typed);
        let seen = terminal.read_to_end();
        running.wait().expect_ok();
        seen
    }

    /// What listens on this port in the container, is reached there from the host.
    #[track_caller]
    fn serves(&self, name: &str, port: u16, address: &str) {
        let id = self.shim.inspect(name)["Id"].as_str().unwrap().to_owned();
        let netns = self.shim.process(&id).path("ns/net").to_string_lossy().into_owned();
        Server::tcp(&netns, &format!("0.0.0.0:{port}")).is_reached(&self.shim.host().path(), address);
    }

    fn is_up(&self, name: &str) -> bool {
        self.shim.cli(&["inspect", "-f", "{{.State.Status}}", name]).stdout == "running\n"
    }
}

#[test]
fn start_and_run() {
    requires!(is_root(), "{ROOT}");
    let here = Tutorial::new(&["nginx:alpine", "ubuntu:latest"]);
    here.line("shim create --name legacy_db_instance nginx:alpine");
    assert_eq!(here.line("shim start legacy_db_instance"), "legacy_db_instance\n");
    let listed = here.line("shim ps -a --filter \"name=legacy_db_instance\"");
    assert!(listed.contains(" Up ") && listed.contains("legacy_db_instance"), "{listed}");
    here.line("shim run -d --name web_frontend -p 8080:80 nginx:alpine");
    assert!(here.is_up("web_frontend"));
    here.serves("web_frontend", 80, "127.0.0.1:8080");
    assert!(here.line("shim ps").contains(" 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp "));
    let seen =
        here.at_terminal("shim run --rm -it ubuntu:latest /bin/bash", "# ", "echo in$((40+2)); exit\n");
    assert!(seen.contains("in42"), "{seen}");
    assert_eq!(here.line("shim ps -aq | wc -l").trim(), "2");
}

#[test]
fn creation_and_names() {
    requires!(is_root(), "{ROOT}");
    let here = Tutorial::new(&["nginx:latest", "ubuntu:22.04"]);
    here.line("shim run -d --name web-server nginx:latest");
    here.line("shim create --name staging-box ubuntu:22.04 bash");
    let listed = here.line("shim ps");
    let columns: Vec<&str> =
        listed.lines().next().unwrap().split("  ").map(str::trim).filter(|name| !name.is_empty()).collect();
    assert_eq!(columns, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]);
    assert!(listed.contains("web-server") && !listed.contains("staging-box"), "{listed}");
    let listed = here.line("shim ps -a");
    let line = listed.lines().find(|line| line.ends_with("staging-box")).unwrap();
    assert!(line.contains("ubuntu:22.04   \"bash\"") && line.contains(" Created "), "{listed}");
    let told = here.line("shim inspect web-server");
    for key in ["Id", "Created", "Path", "Args", "State", "Image", "Mounts", "NetworkSettings", "HostConfig"]
    {
        assert!(told.contains(&format!("\n        \"{key}\": ")), "{key}: {told}");
    }
    // By name, by full id, by the beginning of an id.
    let id = here.line("shim inspect -f '{{.Id}}' web-server").trim_end().to_owned();
    assert_eq!(id.len(), 64);
    assert_eq!(here.line("shim stop web-server"), "web-server\n");
    for word in [&id[..], &id[..8]] {
        here.line("shim start web-server");
        assert_eq!(here.line(&format!("shim stop {word}")), format!("{word}\n"));
        assert!(!here.is_up("web-server"));
    }
    // A name that nobody gave is an adjective and a scientist.
    let other = here.line("shim create nginx:latest");
    let name = here.line(&format!("shim inspect -f '{{{{.Name}}}}' {other}"));
    assert!(name.starts_with('/') && name.split('_').count() == 2, "{name}");
}

#[test]
fn a_server_from_its_start_to_its_end() {
    requires!(is_root(), "{ROOT}");
    let here = Tutorial::new(&["myorg/api-server:v2.4.1", "ubuntu:24.04", "alpine:3.20"]);
    here.line(
        "shim run -d \\\n --name api-server \\\n --restart unless-stopped \\\n --memory 512m \\\n --cpus 1.5 \\\n \
         -p 8080:8080 \\\n -e DATABASE_URL=postgres://user:pass@db:5432/app \\\n --user 1000:1000 \\\n \
         myorg/api-server:v2.4.1",
    );
    here.serves("api-server", 8080, "127.0.0.1:8080");
    wait_for("the server", || here.line("shim logs api-server").contains("listening").then_some(()));
    let seen = here.at_terminal("shim run --rm -it ubuntu:24.04 bash", "# ", "echo in$((40+2)); exit\n");
    assert!(seen.contains("in42"), "{seen}");
    let line = "shim run --rm alpine:3.20 sh -c \"apk add --no-cache curl && curl -sI https://example.com\"";
    assert_eq!(here.line(line), "OK: add --no-cache curl\nHTTP/2 200\n");

    // Files in and out, at first into a folder that is not there.
    fs::write(here.shim.folder().join("debug.conf"), "debug=1\n").unwrap();
    let into = "shim cp ./debug.conf api-server:/app/config/debug.conf";
    here.refused(into, "Could not find the file /app/config/debug.conf in container api-server");
    here.line("shim exec -u root api-server mkdir -p /app/config");
    here.line(into);
    here.line("shim exec -u root api-server cp /app/config/debug.conf /app/config/settings.json");
    here.line("shim cp api-server:/app/config/settings.json ./local-settings.json");
    assert_eq!(fs::read(here.shim.folder().join("local-settings.json")).unwrap(), b"debug=1\n");

    // Logs.
    assert_eq!(here.line("shim logs --tail 100 api-server"), "listening\n");
    assert_eq!(here.line("shim logs --since 10m api-server"), "listening\n");
    assert_eq!(here.line("shim logs --since \"2025-10-01T08:00:00\" api-server"), "listening\n");
    assert!(here.line("shim logs -t api-server").ends_with("Z listening\n"));
    // Commands inside.
    for line in ["shim exec -it api-server bash", "shim exec -it api-server sh"] {
        let seen = here.at_terminal(line, "$ ", "id -u; exit\n");
        assert!(seen.contains("1000"), "{seen}");
    }
    assert!(here.line("shim exec api-server env | grep DATABASE").starts_with("DATABASE_URL=postgres://"));
    assert!(here.line("shim exec api-server ps aux").contains("serve"));
    assert!(here.line("shim exec -u root api-server cat /etc/passwd").starts_with("root:"));
    assert!(here.at_terminal("shim exec -it api-server ss -tlnp", "", "").contains("State"));
    if cgroup2_mount().is_some() && has_controller("memory") {
        let used = here.line("shim exec api-server cat /sys/fs/cgroup/memory.current");
        assert!(used.trim().parse::<u64>().is_ok(), "{used}");
    }
    // Its state.
    assert!(here.line("shim inspect api-server").contains("\"RestartPolicy\""));
    assert_eq!(here.line("shim inspect --format '{{.State.Status}}' api-server"), "running\n");
    assert_eq!(here.line("shim inspect --format '{{.State.ExitCode}}' api-server"), "0\n");
    let addresses =
        "shim inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' api-server";
    assert_eq!(here.line(addresses), "172.30.0.2\n");
    let resources =
        here.line("shim inspect --format '{{json .HostConfig.Resources}}' api-server | tee resources.json");
    assert!(resources.contains("\"CpuShares\":0"), "{resources}");
    if Path::new("/usr/bin/python3").exists() {
        here.line("shim inspect --format '{{json .HostConfig.Resources}}' api-server | python3 -m json.tool");
    }
    life_of(&here);
}

/// The lines about a container's life, in their order.
fn life_of(here: &Tutorial) {
    assert_eq!(here.line("shim stop api-server"), "api-server\n");
    assert_eq!(here.line("shim start api-server"), "api-server\n");
    assert_eq!(here.line("shim stop --time 30 api-server"), "api-server\n");
    assert_eq!(here.line("shim restart api-server"), "api-server\n");
    assert!(here.is_up("api-server"));
    assert_eq!(here.line("shim pause api-server"), "api-server\n");
    assert!(here.line("shim ps").contains("(Paused)"));
    assert_eq!(here.line("shim unpause api-server"), "api-server\n");
    // Who follows sees the end.
    let follows = [
        here.call("shim logs -f api-server").spawn(),
        here.call("shim logs -ft --tail 50 api-server").spawn(),
    ];
    assert_eq!(here.line("shim kill api-server"), "api-server\n");
    for running in follows {
        assert!(running.wait().expect_ok().stdout.contains("listening"));
    }
    assert_eq!(here.line("shim ps -q"), "");
    assert!(here.line("shim ps -a").contains("Exited (137)"));
    assert!(here.line("shim ps --filter status=exited --filter name=api").contains("api-server"));
    assert_eq!(here.line("shim rm api-server"), "api-server\n");
    here.line("shim run -d --name api-server myorg/api-server:v2.4.1");
    assert_eq!(here.line("shim rm -f api-server"), "api-server\n");
    let id = here.line("shim create myorg/api-server:v2.4.1");
    let pruned = here.line("echo y | shim container prune");
    assert!(pruned.contains("remove all stopped containers") && pruned.contains(id.trim_end()), "{pruned}");
    assert_eq!(here.line("shim ps -aq"), "");
}

#[test]
fn a_hardened_server() {
    requires!(is_root(), "{ROOT}");
    let here = Tutorial::new(&["myorg/payments-api:sha256-abc123"]);
    fs::write(here.shim.folder().join("payments.env"), "KEY=secret\n# none\n").unwrap();
    here.line(
        "shim run -d \\\n --name payments-api \\\n --restart unless-stopped \\\n --memory 1g --memory-swap 1g \\\n --cpus 2 \\\n \
         --pids-limit 200 \\\n --read-only \\\n --tmpfs /tmp:size=100m \\\n --cap-drop ALL \\\n --cap-add NET_BIND_SERVICE \\\n \
         --security-opt no-new-privileges \\\n -p 127.0.0.1:8080:8080 \\\n --env-file payments.env \\\n --user 1001:1001 \\\n \
         myorg/payments-api:sha256-abc123",
    );
    here.serves("payments-api", 8080, "127.0.0.1:8080");
    assert_eq!(here.line("shim port payments-api"), "8080/tcp -> 127.0.0.1:8080\n");
    let inside = "id -u; echo $KEY; grep -E 'CapBnd|NoNewPrivs' /proc/1/status; touch /x 2>&1; touch /tmp/x && echo written";
    let told = here.line(&format!("shim exec payments-api sh -c \"{}\"", inside.replace('$', "\\$")));
    let expected = "1001\nsecret\nCapBnd:\t0000000000000400\nNoNewPrivs:\t1\ntouch: /x: Read-only file system\nwritten\n";
    assert_eq!(told, expected);
}

#[test]
fn images_and_containers() {
    requires!(is_root(), "{ROOT}");
    // As if `shim pull nginx` had brought it, which the tests of pull do from registries of their own.
    let here = Tutorial::new(&["nginx:latest"]);
    here.line("shim run -d --name webserver nginx");
    here.line("shim run -d --name webserver2 nginx");
    let pids = here.line("shim inspect -f '{{.State.Pid}} {{.Image}}' webserver webserver2");
    let (one, other) = pids.trim_end().split_once('\n').unwrap();
    assert_ne!(one, other);
    assert_eq!(one.split_once(' ').unwrap().1, other.split_once(' ').unwrap().1);
    assert!(here.line("shim images").contains("nginx"));
    assert_eq!(here.line("shim ps -q").lines().count(), 2);
    here.line("shim stop webserver webserver2");
    assert_eq!(here.line("shim images -q").lines().count(), 1);
}

#[test]
fn live_figures() {
    requires!(is_root(), "{ROOT}");
    let here = Tutorial::new(&["myorg/api-server:v2.4.1"]);
    here.line("shim run -d --name api-server myorg/api-server:v2.4.1");
    // Until Ctrl-C.
    let (mut terminal, other) = Terminal::pair();
    terminal.resize(30, 120);
    let running = here.call("exec shim stats api-server").on_terminal(other).spawn();
    let seen = terminal.read_until("api-server ");
    assert!(seen.contains("CONTAINER ID   NAME         CPU %     MEM USAGE / LIMIT"), "{seen}");
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.wait().code(), 130);
    let once = here.line("shim stats --no-stream api-server");
    assert!(once.lines().count() == 2 && once.contains(" api-server "), "{once}");
    let line = "shim stats --no-stream --format \"table {{.Name}}\\t{{.CPUPerc}}\\t{{.MemUsage}}\"";
    let table = here.line(line);
    assert!(table.starts_with("NAME         CPU %     MEM USAGE / LIMIT\napi-server   "), "{table}");
}

#[test]
fn what_is_not_there_is_refused_by_its_name() {
    requires!(is_root(), "{ROOT}");
    let here = Tutorial::new(&["myorg/api-server:v2.4.1"]);
    here.refused("shim build .", "shim: 'shim build' is docker's, and is not supported\n");
}

/// The lines of the block below this heading of the README, without comments.
fn block(heading: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("README.md");
    let text = fs::read_to_string(readme).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let block = section.split("```\n").nth(1).unwrap();
    block.lines().map(|line| line.split("  #").next().unwrap().trim_end().to_owned()).collect()
}

#[test]
fn the_readme() {
    requires!(is_root(), "{ROOT}");
    let here = Tutorial::new(&["other"]);
    let folder = here.shim.folder();
    let wrapper = format!(
        "#!/bin/sh\nexec '{}' --root '{}' \"$@\"\n",
        integration::runtime_under_test().display(),
        folder.join("runtime").display()
    );
    fs::write(folder.join("bin/runtime"), wrapper).unwrap();
    fs::set_permissions(folder.join("bin/runtime"), fs::Permissions::from_mode(0o755)).unwrap();
    let place = folder.join("box").to_string_lossy().into_owned();
    let line = |line: &str| line.replace("/tmp/box", &place);
    // The first two lines of it are one: what is run is run in the bundle's folder.
    let by_hand = block("Run a bundle by hand");
    let [build, lines @ .., run] = &by_hand[..] else { panic!("{by_hand:?}") };
    assert_eq!((build.as_str(), run.as_str()), ("make build", "runtime run box"));
    let lines: Vec<String> = lines.iter().map(|text| line(text)).collect();
    here.line(&lines.join(" && "));
    let seen = here.at_terminal(&format!("cd {place} && {run}"), "# ", "echo in$((40+2)); exit\n");
    assert!(seen.contains("in42"), "{seen}");

    let of_image = block("Run an image");
    assert_eq!(of_image.iter().filter(|line| line.contains("shim ")).count(), of_image.len());
    let printed: Vec<String> = of_image
        .iter()
        .map(|text| match text.contains(" -it ") {
            true => here.at_terminal(text, "# ", "echo in$((40+2)); exit\n"),
            false => here.line(&line(text)),
        })
        .collect();
    let of = |word: &str| &printed[of_image.iter().position(|line| line.contains(word)).unwrap()];
    assert!(of(" -it ").contains("in42"));
    assert!(of("shim ps").contains("web") && of("shim ps").contains(" Up "));
    assert_eq!(of("shim port"), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n");
    assert_eq!(of("shim logs"), "up\n");
    assert_eq!((of("shim inspect").as_str(), of("shim rm").as_str()), ("running\n", "web\n"));
    assert_eq!(of("--hardened"), "1\n");
    assert_eq!(here.line("shim ps -aq"), "");
}

#[test]
fn every_command_that_a_document_names_is_there_and_every_command_is_in_the_manual() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let shim = Shim::new();
    let mut count = 0;
    for document in
        ["README.md", "docs/shim.md", "docs/benchmarks.md", "docs/attacks.md", "docs/kernel-features.md"]
    {
        let text = fs::read_to_string(repository.join(document)).unwrap();
        for named in text.split('`').skip(1).step_by(2).filter_map(|text| text.strip_prefix("shim ")) {
            let mut words = named
                .split_whitespace()
                .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
            let first = words.next().unwrap_or_default();
            let groups = ["image", "container", "network", "system", "volume"];
            let second = words.next().filter(|_| groups.contains(&first));
            // Commands of the shim's own processes have no help.
            if !first.is_empty() && first != "help" {
                let line: Vec<&str> = [Some(first), second, Some("--help")].into_iter().flatten().collect();
                shim.cli(&line).expect_ok();
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count}");
    let manual = fs::read_to_string(repository.join("docs/shim.md")).unwrap();
    let help = shim.stdout(&["--help"]);
    let (_, commands) = help.split_once("Common Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\nGlobal Options:").unwrap();
    for line in commands.lines().filter(|line| line.starts_with("  ")) {
        let name = line.split_whitespace().next().unwrap();
        assert!(manual.contains(&format!("shim {name}")), "{name} is not in the manual");
    }
}
