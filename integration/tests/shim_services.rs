//! Services as people run them: nginx, PostgreSQL and Redis from Debian's packages as images, on a bridge, with their data
//! in volumes; asked from the host, ended, and begun anew.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use integration::{Call, ImageMaker, Output, Shim, Value, is_root, json, requires, wait_for};

/// Who runs them, where root does not.
const USER: u32 = 999;

/// Why they cannot run here, if so.
fn obstacle(programs: &[&str]) -> Option<String> {
    let missing = programs.iter().find(|program| !Path::new(program).exists());
    match missing {
        _ if !is_root() => Some("networks are root's".to_owned()),
        Some(program) => Some(format!("no {program} (scripts/install-deps services)")),
        None if !Path::new("/usr/sbin/nft").exists() => Some("no nft (scripts/install-deps test)".to_owned()),
        None => None,
    }
}

/// Copies a program or library of the host's, and all that it is linked with.
fn copy_program(root: &Path, program: &Path) {
    let mut files = BTreeSet::from([program.to_owned()]);
    let linked = Call::of("ldd").args([program]).output().expect_ok().stdout;
    files.extend(linked.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
    for file in files {
        let place = root.join(file.strip_prefix("/").unwrap());
        if !place.exists() {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(&file, &place).unwrap();
        }
    }
}

/// Loads an image of busybox with these programs; `data` is its volume, which belongs to [`USER`].
fn load(shim: &Shim, name: &str, programs: &[&Path], data: &str, config: Value, fill: impl FnOnce(&Path)) {
    let layer = |root: &Path| {
        for program in programs {
            copy_program(root, program);
        }
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nservice:x:999:999::/tmp:/bin/sh\n")
            .unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nservice:x:999:\n").unwrap();
        let data = root.join(data.trim_start_matches('/'));
        fs::create_dir_all(&data).unwrap();
        chown(&data, Some(USER), Some(USER)).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        fill(root);
    };
    let mut config = config;
    config["Env"] = json!(["PATH=/usr/sbin:/usr/bin:/bin"]);
    config["Volumes"] = json!({data: {}});
    let maker = ImageMaker::busybox().layer_with_owners(name, layer).named(name).with("config", config);
    let archive = shim.folder().join(name);
    shim.load(&maker.docker_archive(&archive));
    fs::remove_file(archive).unwrap();
}

/// The address of a container in its only network.
fn address(shim: &Shim, name: &str) -> String {
    let told = shim.inspect(name);
    told["NetworkSettings"]["IPAddress"].as_str().unwrap().to_owned()
}

/// Asks until there is an answer.
fn answer(shim: &Shim, name: &str, ask: impl Fn() -> Output) -> String {
    let mut last = None;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("an answer", || {
            let output = ask();
            let answer = (output.code() == 0).then(|| output.stdout.clone());
            last = Some(output);
            answer
        })
    }));
    found.unwrap_or_else(|_| panic!("{}\n{}", last.unwrap(), shim.cli(&["logs", name])))
}

#[test]
fn redis_keeps_what_it_was_told() {
    let server = "/usr/bin/redis-server";
    let obstacle = obstacle(&[server, "/usr/bin/redis-cli"]);
    requires!(obstacle.is_none(), "{}", obstacle.unwrap_or_default());
    let shim = Shim::networked();
    let words = [server, "--dir", "/data", "--appendonly", "yes", "--protected-mode", "no"];
    let config = json!({"Cmd": words, "User": "service", "WorkingDir": "/data"});
    load(&shim, "redis", &[Path::new(server)], "/data", config, |_| {});
    shim.detached(&["--name", "cache", "-v", "cache:/data", "redis"]);
    let ask = |words: &[&str]| {
        let address = address(&shim, "cache");
        let call = || shim.host().call("redis-cli").args(["-e", "-h", &address]).args(words).output();
        answer(&shim, "cache", call)
    };
    assert_eq!(ask(&["set", "key", "kept"]), "OK\n");
    shim.stdout(&["restart", "cache"]);
    assert_eq!(ask(&["get", "key"]), "kept\n");
    // Another container with the same data, after an end without warning.
    shim.stdout(&["rm", "--force", "cache"]);
    shim.detached(&["--name", "cache", "-v", "cache:/data", "redis"]);
    assert_eq!(ask(&["incr", "key2"]), "1\n");
    assert_eq!(ask(&["get", "key"]), "kept\n");
    assert_eq!(shim.stdout(&["volume", "ls", "-q"]), "cache\n");
}

#[test]
fn postgresql_makes_its_database_in_a_volume_and_finds_it_again() {
    let version =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let version = version.max().unwrap_or_default().into_string().unwrap();
    let [programs, shared] = ["lib", "share"].map(|kind| format!("/usr/{kind}/postgresql/{version}"));
    let [server, initdb, psql] = ["postgres", "initdb", "psql"].map(|name| format!("{programs}/bin/{name}"));
    let obstacle = obstacle(&[&server, &initdb, &psql]);
    requires!(obstacle.is_none(), "{}", obstacle.unwrap_or_default());
    let shim = Shim::networked();
    let data = "/var/lib/postgresql/data";
    let script = format!(
        "set -e; if [ ! -s {data}/PG_VERSION ]; then {initdb} -D {data} --auth trust --locale C --no-sync; \
         echo host all all all trust >> {data}/pg_hba.conf; fi; \
         exec {server} -D {data} -c listen_addresses='*' -c unix_socket_directories=/tmp"
    );
    let config = json!({"Cmd": ["sh", "-c", script], "User": "service", "StopSignal": "SIGINT"});
    let modules =
        ["plpgsql.so", "dict_snowball.so"].map(|name| PathBuf::from(format!("{programs}/lib/{name}")));
    let all: Vec<&Path> =
        [&server, &initdb].into_iter().map(Path::new).chain(modules.iter().map(PathBuf::as_path)).collect();
    load(&shim, "postgres", &all, data, config, |root| {
        let place = root.join(shared.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        Call::of("cp")
            .args(["-rL".as_ref(), Path::new(&shared).as_os_str(), place.as_os_str()])
            .output()
            .expect_ok();
        // Debian's own has its sample where its programs look for it.
        fs::create_dir_all(root.join("tmp")).unwrap();
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    });
    shim.detached(&["--name", "db", "-v", "db:/var/lib/postgresql/data", "postgres"]);
    let ask = |query: &str| {
        let address = address(&shim, "db");
        let words = ["-h", &address, "-U", "service", "-d", "postgres", "-tAqc", query];
        answer(&shim, "db", || shim.host().call(&psql).args(words).output())
    };
    assert_eq!(ask("select 6 * 7"), "42\n");
    assert_eq!(ask("create table notes (word text); insert into notes values ('kept')"), "");
    shim.stdout(&["restart", "db"]);
    assert_eq!(ask("select word from notes"), "kept\n");
    shim.stdout(&["rm", "--force", "db"]);
    shim.detached(&["--name", "db", "-v", "db:/var/lib/postgresql/data", "postgres"]);
    assert_eq!(ask("select word from notes"), "kept\n", "also after an end without warning");
}

#[test]
fn nginx_serves_what_lies_in_a_volume() {
    let server = "/usr/sbin/nginx";
    let obstacle = obstacle(&[server]);
    requires!(obstacle.is_none(), "{}", obstacle.unwrap_or_default());
    let shim = Shim::networked();
    let config = "daemon off; error_log stderr; pid /tmp/nginx.pid; events {} http { access_log /dev/stdout; \
        client_body_temp_path /tmp/1; proxy_temp_path /tmp/2; fastcgi_temp_path /tmp/3; uwsgi_temp_path /tmp/4; \
        scgi_temp_path /tmp/5; server { listen 80; listen [::]:80; root /srv/www; } }";
    let image = json!({"Cmd": [server, "-c", "/etc/nginx.conf"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT"});
    load(&shim, "nginx", &[Path::new(server)], "/srv/www", image, |root| {
        fs::write(root.join("etc/nginx.conf"), config).unwrap();
        fs::create_dir_all(root.join("var/log/nginx")).unwrap();
        fs::write(root.join("srv/www/index.html"), "of the image\n").unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nnobody:x:999:999::/:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:999:\n").unwrap();
    });
    shim.detached(&["--name", "web", "-v", "site:/srv/www", "nginx"]);
    let ask = |path: &str| {
        let url = format!("http://{}/{path}", address(&shim, "web"));
        answer(&shim, "web", || shim.host().call("busybox").args(["wget", "-q", "-O", "-", &url]).output())
    };
    assert_eq!(ask(""), "of the image\n", "what the image has there was copied");
    let script = "echo of the volume > /www/new.html; chmod 644 /www/new.html";
    shim.run(&["--rm", "-v", "site:/www", "busybox", "sh", "-c", script]).expect_ok();
    assert_eq!(ask("new.html"), "of the volume\n");
    shim.stdout(&["restart", "web"]);
    assert_eq!(ask("new.html"), "of the volume\n");
    let logs = shim.stdout(&["logs", "web"]);
    assert!(logs.contains("\"GET /new.html HTTP/1."), "{logs}");
    shim.stdout(&["stop", "web"]);
    assert_eq!(shim.inspect("web")["State"]["ExitCode"], 0, "it ends by its own signal");
}
