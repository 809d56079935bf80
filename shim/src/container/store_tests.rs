use super::*;
use crate::container::config::Config;
use crate::container::host_config::HostConfig;
use crate::container::process::ProcessId;
use crate::store::scratch::Scratch;

fn open(scratch: &Scratch) -> Containers {
    let folders = Folders::open(Some(&scratch.join("root")), Some(&scratch.join("state"))).unwrap();
    Containers::open(&folders).unwrap()
}

/// A record, for tests.
pub(crate) fn container(id: &ContainerId, name: &str) -> Container {
    Container {
        id: id.to_string(),
        name: name.to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        image: Digest::of(b"image"),
        layers: vec![Digest::of(b"layer")],
        path: "sh".to_owned(),
        args: Vec::new(),
        config: Config::default(),
        host_config: HostConfig::default(),
        mounts: Vec::new(),
        endpoints: std::collections::BTreeMap::new(),
        runtime_path: "/usr/bin/runtime".into(),
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: String::new(),
    }
}

fn make(containers: &Containers, name: &str) -> Result<ContainerId> {
    let draft = containers.draft()?;
    let made = containers.publish(&draft, container(&draft.id, name), true);
    match made {
        Ok(_) => Ok(draft.id),
        Err(error) => {
            draft.discard()?;
            Err(error)
        }
    }
}

#[test]
fn a_container_is_found_by_name_id_and_the_beginning_of_its_id() {
    let scratch = Scratch::new();
    let containers = open(&scratch);
    let (one, two) = (make(&containers, "one").unwrap(), make(&containers, "").unwrap());
    let generated = containers.get(&two).unwrap().unwrap().name;
    assert!(generated.contains('_'), "{generated}");
    for (word, id) in
        [("one", &one), ("/one", &one), (one.as_str(), &one), (&one.as_str()[..12], &one), (&generated, &two)]
    {
        assert_eq!(containers.find(word).unwrap(), *id, "{word}");
    }
    for word in ["", "three", "..", "../names/one", &"0".repeat(64), "zz"] {
        let error = containers.find(word).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (Kind::NotFound, format!("No such container: {word}")));
    }
    // Two of seventeen begin with the same digit.
    let all: Vec<_> = (0..15).map(|_| make(&containers, "").unwrap()).chain([one, two]).collect();
    let first = |id: &ContainerId| id.as_str()[..1].to_owned();
    let shared =
        all.iter().map(first).find(|digit| all.iter().filter(|id| first(id) == *digit).count() > 1).unwrap();
    let error = containers.find(&shared).unwrap_err().to_string();
    assert_eq!(error, format!("multiple IDs found with provided prefix: {shared}"));
}

#[test]
fn a_name_is_one_containers_until_that_is_removed_or_renamed() {
    let scratch = Scratch::new();
    let containers = open(&scratch);
    let one = make(&containers, "web").unwrap();
    let error = make(&containers, "web").unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "Conflict. The container name \"/web\" is already in use by container \"{one}\"."
        )),
        "{error}"
    );
    assert_eq!(fs::read_dir(scratch.join("root/ingest")).unwrap().count(), 0);
    assert_eq!(containers.rename(&one, "old").unwrap(), "web");
    let two = make(&containers, "web").unwrap();
    assert!(containers.rename(&two, "old").is_err() && containers.rename(&two, "web").is_err());
    assert_eq!(
        (containers.find("old").unwrap(), containers.find("web").unwrap()),
        (one.clone(), two.clone())
    );
    containers.remove(&one).unwrap();
    containers.remove(&one).unwrap();
    assert_eq!(containers.rename(&two, "old").unwrap(), "web");
    assert_eq!(containers.ids().unwrap(), std::slice::from_ref(&two));
    assert!(containers.operation(&one).is_err() && containers.update_state(&one, true, |_| ()).is_err());
    // A name that a crash has left.
    fs::write(scratch.join("root/names/left"), "0".repeat(64)).unwrap();
    let three = make(&containers, "left").unwrap();
    assert_eq!(containers.held().unwrap(), BTreeSet::from([Digest::of(b"image"), Digest::of(b"layer")]));
    containers.remove(&two).unwrap();
    containers.remove(&three).unwrap();
    for folder in ["root/containers", "root/names", "root/ingest", "state/containers"] {
        assert_eq!(fs::read_dir(scratch.join(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[test]
fn of_many_that_want_a_name_one_gets_it() {
    let scratch = Scratch::new();
    let containers = open(&scratch);
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| make(&containers, "web").is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|ok| *ok).count()
    });
    assert_eq!((made, containers.ids().unwrap().len()), (1, 1));
}

#[test]
fn what_nobody_recorded_is_recorded_when_somebody_looks() {
    let scratch = Scratch::new();
    let containers = open(&scratch);
    let id = make(&containers, "web").unwrap();
    let own = ProcessId::own().unwrap();
    let dead = ProcessId { start_time: own.start_time + 1, ..own };
    let running = |process: ProcessId, boot: &str| {
        containers
            .update_state(&id, true, |state| {
                *state = State {
                    status: Status::Running,
                    process: Some(process),
                    boot: boot.to_owned(),
                    ..State::default()
                };
            })
            .unwrap();
    };
    let boot = boot_id().unwrap();
    let seen = || {
        let found = containers.look(&id).unwrap().unwrap();
        (found.state.status, found.state.exit_code, found.is_orphan)
    };
    assert_eq!(seen(), (Status::Created, 0, false));
    running(own, &boot);
    assert_eq!(seen(), (Status::Running, 0, true));
    // Somebody looks after it.
    make_private(&containers.state_folder(&id)).unwrap();
    let lock = Lock::exclusive(&containers.state_folder(&id).join("monitor.lock")).unwrap();
    running(dead, &boot);
    assert_eq!(seen(), (Status::Running, 0, false));
    drop(lock);
    // What has become of it finds out who takes it over.
    assert_eq!(seen(), (Status::Running, 0, true));
    // The same number after the host began anew.
    running(own, "another uptime");
    assert_eq!(seen(), (Status::Exited, 255, false));
    let state = containers.state(&id).unwrap();
    assert_eq!((state.status, state.process), (Status::Exited, None));
    assert_ne!(state.finished_at, crate::container::NEVER);
    // A start that was under way, or an end that was not finished.
    let left = |state: &mut State| {
        state.boot.clone_from(&boot);
        state.monitor = Some(dead);
    };
    containers.update_state(&id, false, left).unwrap();
    assert_eq!(seen(), (Status::Exited, 255, true));
}

#[test]
fn what_killed_commands_have_left_goes_and_what_others_make_stays() {
    let scratch = Scratch::new();
    let containers = open(&scratch);
    let id = make(&containers, "web").unwrap();
    let draft = containers.draft().unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let dead = child.id();
    let gone = "0".repeat(64);
    for folder in [
        format!("root/ingest/container-{dead}-0"),
        format!("root/ingest/gone-{dead}-1"),
        format!("state/containers/{gone}"),
        "root/leases".to_owned(),
    ] {
        make_private(&scratch.join(&folder)).unwrap();
    }
    fs::write(scratch.join("root/names/.new-x"), "").unwrap();
    fs::write(scratch.join(&format!("root/leases/{dead}-0")), "").unwrap();
    crate::container::sweep::after_crash(&containers).unwrap();
    let names = |folder: &str| {
        let entries = fs::read_dir(scratch.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names("root/ingest"), [draft.path().file_name().unwrap().to_str().unwrap()]);
    assert_eq!(names("root/names"), ["web"]);
    assert_eq!(names("root/containers"), [id.as_str()]);
    assert!(names("root/leases").is_empty() && names("state/containers").is_empty());
    // Nothing is looked for where nobody was killed.
    fs::write(scratch.join("root/names/.new-x"), "").unwrap();
    crate::container::sweep::after_crash(&containers).unwrap();
    assert_eq!(names("root/names").len(), 2);
    draft.discard().unwrap();
}
