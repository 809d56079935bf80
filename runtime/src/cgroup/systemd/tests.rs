//! The conversation with a manager that this test plays, as it should be and as it should not.

use std::time::Duration;

use super::manager::Manager;
use super::*;
use crate::cgroup::dbus::tests::{Peer, wait};
use crate::cgroup::dbus::{Value, Wait};
use crate::plan::cgroup::systemd::Property;

const LONG: Duration = Duration::from_secs(30);
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const JOB: &str = "/org/freedesktop/systemd1/job/7";
const NAME: &str = "runc-web.scope";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Answers what every caller asks first.
fn introduce(peer: &mut Peer) {
    let (version, name) = peer.expect("Get");
    assert_eq!(name, [Value::text(MANAGER), Value::text("Version")]);
    let (group, name) = peer.expect("Get");
    assert_eq!(name, [Value::text(MANAGER), Value::text("ControlGroup")]);
    peer.reply(version, &[Value::text("v252.39-1~deb12u2").boxed()]);
    peer.reply(group, &[Value::text("/user.slice/user-7.slice/user@7.service").boxed()]);
}

fn job_removed(peer: &mut Peer, job: &str, result: &str) {
    let body = [Value::U32(7), Value::Path(job.into()), Value::text(NAME), Value::text(result)];
    peer.signal(MANAGER, "JobRemoved", &body);
}

/// What `talk` gets from a manager that does `script` after the introduction.
fn with<T>(
    script: impl FnOnce(&mut Peer) + Send + 'static,
    patience: Duration,
    talk: impl FnOnce(&mut Manager, &mut Wait<'_>) -> T,
) -> T {
    let (socket, peer) = Peer::talk(|peer| {
        introduce(peer);
        script(peer);
    });
    let mut manager = Manager::over(socket, false, &mut wait(LONG)).unwrap();
    let result = talk(&mut manager, &mut wait(patience));
    drop(manager);
    peer.join().unwrap();
    result
}

fn properties() -> Vec<Property> {
    vec![("Delegate".into(), Value::Bool(true)), ("MemoryMax".into(), Value::U64(1 << 20))]
}

fn start(manager: &mut Manager, wait: &mut Wait<'_>) -> Result<()> {
    let job = manager.start(NAME, properties(), wait)?;
    manager.finish("start", NAME, &job, wait)
}

#[test]
fn a_manager_says_who_it_is() {
    with(
        |_| {},
        LONG,
        |manager, _| {
            assert_eq!(manager.version(), 252);
            assert_eq!(manager.control_group(), "/user.slice/user-7.slice/user@7.service");
        },
    );
}

#[test]
fn a_scope_is_asked_for_and_its_job_waited_for() {
    let script = |peer: &mut Peer| {
        let (serial, body) = peer.expect("StartTransientUnit");
        let pair = |name: &str, value: Value| Value::Struct(vec![Value::text(name), value.boxed()]);
        let properties = vec![pair("Delegate", Value::Bool(true)), pair("MemoryMax", Value::U64(1 << 20))];
        assert_eq!(
            body,
            [
                Value::text(NAME),
                Value::text("replace"),
                Value::Array("(sv)".into(), properties),
                Value::Array("(sa(sv))".into(), vec![]),
            ]
        );
        // Jobs of others, and ours before its answer: the order is the manager's own.
        job_removed(peer, "/org/freedesktop/systemd1/job/6", "failed");
        job_removed(peer, JOB, "done");
        peer.reply(serial, &[Value::Path(JOB.into())]);
    };
    with(script, LONG, start).unwrap();
}

#[test]
fn a_job_that_ends_badly_says_how_and_leaves_no_failed_unit() {
    for (result, meaning) in [
        ("canceled", "another job took its place, or somebody canceled it"),
        ("timeout", "it took longer than systemd allows"),
        ("failed", "`systemctl status` and the journal may say why"),
        ("dependency", "a unit that it depends on failed, such as its slice"),
        ("skipped", "the job does not apply to the unit as it is"),
        ("frozen", "which is not known here"),
    ] {
        let script = move |peer: &mut Peer| {
            let serial = peer.expect("StartTransientUnit").0;
            peer.reply(serial, &[Value::Path(JOB.into())]);
            job_removed(peer, JOB, result);
            let (serial, name) = peer.expect("ResetFailedUnit");
            assert_eq!(name, [Value::text(NAME)]);
            peer.refuse(serial, NO_SUCH_UNIT, "it is gone already");
        };
        assert_eq!(
            with(script, LONG, start).unwrap_err().to_string(),
            format!("systemd did not start \"runc-web.scope\": result {result:?}, {meaning}")
        );
    }
}

#[test]
fn what_fails_while_cleaning_up_is_attached() {
    let script = |peer: &mut Peer| {
        let serial = peer.expect("StartTransientUnit").0;
        peer.reply(serial, &[Value::Path(JOB.into())]);
        job_removed(peer, JOB, "timeout");
        let serial = peer.expect("ResetFailedUnit").0;
        peer.refuse(serial, "a.Error", "no");
    };
    let error = with(script, LONG, start).unwrap_err().to_string();
    let note = "(then, while cleaning up: systemd: ResetFailedUnit(\"runc-web.scope\"): no (a.Error))";
    assert!(error.ends_with(note), "{error}");
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_manager() {
    let script = |peer: &mut Peer| {
        let serial = peer.expect("StartTransientUnit").0;
        peer.refuse(serial, "org.freedesktop.DBus.Error.PropertyReadOnly", "Cannot set property Foo.");
    };
    assert_eq!(
        with(script, LONG, start).unwrap_err().to_string(),
        "systemd: StartTransientUnit(\"runc-web.scope\"): Cannot set property Foo. \
         (org.freedesktop.DBus.Error.PropertyReadOnly)"
    );
}

#[test]
fn a_job_without_an_end_is_not_waited_for_without_end() {
    let script = |peer: &mut Peer| {
        let serial = peer.expect("StartTransientUnit").0;
        peer.reply(serial, &[Value::Path(JOB.into())]);
        job_removed(peer, "/org/freedesktop/systemd1/job/8", "done");
        assert_eq!(peer.call(), None);
    };
    assert_eq!(
        with(script, Duration::from_millis(100), start).unwrap_err().to_string(),
        "wait for systemd to start \"runc-web.scope\": no answer within 0.1 s"
    );
}

#[test]
fn a_manager_that_goes_away_is_an_error() {
    let before = |peer: &mut Peer| drop(peer.expect("StartTransientUnit"));
    assert_eq!(
        with(before, LONG, start).unwrap_err().to_string(),
        "systemd: StartTransientUnit: the other side closed the connection"
    );
    let after = |peer: &mut Peer| {
        let serial = peer.expect("StartTransientUnit").0;
        peer.reply(serial, &[Value::Path(JOB.into())]);
    };
    assert_eq!(
        with(after, LONG, start).unwrap_err().to_string(),
        "wait for systemd to start \"runc-web.scope\": the other side closed the connection"
    );
}

#[test]
fn answers_of_another_form_are_errors() {
    let script = |peer: &mut Peer| {
        let serial = peer.expect("StartTransientUnit").0;
        peer.reply(serial, &[Value::U32(7)]);
    };
    assert_eq!(
        with(script, LONG, start).unwrap_err().to_string(),
        "systemd: StartTransientUnit: it answered [U32(7)]"
    );
    for (version, wanted) in [
        (Value::text("252"), "systemd: Get Version: it answered [Text(\"252\")]"),
        (Value::text("next").boxed(), "systemd says that its version is \"next\""),
    ] {
        let (socket, peer) = Peer::talk(move |peer| {
            let serial = peer.expect("Get").0;
            peer.reply(serial, &[version]);
            let _ = (peer.call(), peer.call());
        });
        let error = Manager::over(socket, false, &mut wait(LONG)).map(drop).unwrap_err();
        assert_eq!(error.to_string(), wanted);
        peer.join().unwrap();
    }
}

#[test]
fn on_a_bus_signals_are_asked_for() {
    let (socket, peer) = Peer::talk(|peer| {
        let hello = peer.expect("Hello").0;
        let (matching, rule) = peer.expect("AddMatch");
        assert_eq!(
            rule,
            [Value::text(
                "type='signal',sender='org.freedesktop.systemd1',\
                 interface='org.freedesktop.systemd1.Manager',member='JobRemoved'"
            )]
        );
        let subscribe = peer.expect("Subscribe").0;
        peer.reply(hello, &[Value::text(":1.7")]);
        peer.signal("org.freedesktop.DBus", "NameAcquired", &[Value::text(":1.7")]);
        peer.reply(matching, &[]);
        peer.reply(subscribe, &[]);
        introduce(peer);
    });
    Manager::over(socket, true, &mut wait(LONG)).unwrap();
    peer.join().unwrap();

    let (socket, peer) = Peer::talk(|peer| {
        let hello = peer.expect("Hello").0;
        peer.reply(hello, &[Value::text(":1.7")]);
        let matching = peer.expect("AddMatch").0;
        peer.reply(matching, &[]);
        let subscribe = peer.expect("Subscribe").0;
        peer.refuse(subscribe, "org.freedesktop.DBus.Error.ServiceUnknown", "no such name");
        while peer.call().is_some() {}
    });
    let error = Manager::over(socket, true, &mut wait(LONG)).map(drop).unwrap_err().to_string();
    assert_eq!(error, "systemd: Subscribe(\"\"): no such name (org.freedesktop.DBus.Error.ServiceUnknown)");
    peer.join().unwrap();
}

#[test]
fn a_unit_that_is_not_there_is_as_good_as_stopped() {
    let script = |peer: &mut Peer| {
        for method in ["GetUnit", "StopUnit", "ResetFailedUnit"] {
            let serial = peer.expect(method).0;
            peer.refuse(serial, NO_SUCH_UNIT, "Unit runc-web.scope not loaded.");
        }
    };
    with(script, LONG, |manager, wait| {
        assert_eq!(manager.unit(NAME, wait).unwrap(), None);
        manager.stop(NAME, wait).unwrap();
        manager.reset_failed(NAME, wait).unwrap();
    });
}

#[test]
fn a_unit_is_stopped_and_its_job_waited_for() {
    let script = |peer: &mut Peer| {
        let serial = peer.expect("GetUnit").0;
        peer.reply(serial, &[Value::Path("/unit".into())]);
        let (serial, body) = peer.expect("Get");
        assert_eq!(body, [Value::text("org.freedesktop.systemd1.Scope"), Value::text("ControlGroup")]);
        peer.reply(serial, &[Value::text("/system.slice/runc-web.scope").boxed()]);
        let (serial, body) = peer.expect("StopUnit");
        assert_eq!(body, [Value::text(NAME), Value::text("replace")]);
        peer.reply(serial, &[Value::Path(JOB.into())]);
        job_removed(peer, JOB, "done");
    };
    with(script, LONG, |manager, wait| {
        let object = manager.unit(NAME, wait).unwrap().unwrap();
        assert_eq!(manager.cgroup_of_unit(&object, wait).unwrap(), "/system.slice/runc-web.scope");
        manager.stop(NAME, wait).unwrap();
    });
}

#[test]
fn a_process_is_moved_into_a_unit_or_the_refusal_told() {
    let script = |peer: &mut Peer| {
        let (serial, body) = peer.expect("AttachProcessesToUnit");
        let pids = Value::Array("u".into(), vec![Value::U32(4711)]);
        assert_eq!(body, [Value::text(NAME), Value::text("/a/b"), pids]);
        peer.reply(serial, &[]);
        let serial = peer.expect("AttachProcessesToUnit").0;
        peer.refuse(serial, "org.freedesktop.DBus.Error.AccessDenied", "Process 4711 is not yours.");
    };
    with(script, LONG, |manager, wait| {
        manager.attach(NAME, "/a/b", 4711, wait).unwrap();
        let error = manager.attach(NAME, "", 4711, wait).unwrap_err().to_string();
        let wanted = "systemd: AttachProcessesToUnit(\"runc-web.scope\"): Process 4711 is not yours. \
                      (org.freedesktop.DBus.Error.AccessDenied)";
        assert_eq!(error, wanted);
    });
}

#[test]
fn properties_of_a_unit_are_set_until_it_ends() {
    let script = |peer: &mut Peer| {
        let (serial, body) = peer.expect("SetUnitProperties");
        let pair = |name: &str, value: Value| Value::Struct(vec![Value::text(name), value.boxed()]);
        let list = vec![pair("Delegate", Value::Bool(true)), pair("MemoryMax", Value::U64(1 << 20))];
        assert_eq!(body, [Value::text(NAME), Value::Bool(true), Value::Array("(sv)".into(), list)]);
        peer.reply(serial, &[]);
        // By the answer to this one the files are written.
        let serial = peer.expect("GetUnit").0;
        peer.reply(serial, &[Value::Path("/unit".into())]);
    };
    with(script, LONG, |manager, wait| manager.set(NAME, properties(), wait)).unwrap();
}

#[test]
fn where_no_manager_listens_the_first_way_tells_why() {
    let folder = crate::container::tests::TempDir::new();
    let at = |name: &str, is_bus| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        socket::Socket { path, is_bus }
    };
    let sockets = [at("private", false), at("bus", true)];
    let error = Manager::connect_to(&sockets, &mut wait(LONG)).map(drop).unwrap_err();
    assert_eq!(error.errno(), libc::ENOENT);
    assert!(error.to_string().contains("/private"), "{error}");
    // A manager behind the second way is found.
    let listener = std::os::unix::net::UnixListener::bind(&sockets[1].path).unwrap();
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(b"REJECTED\r\n").unwrap();
        peer.read_to_end(&mut Vec::new()).unwrap(); // until the caller has gone
    });
    let error = Manager::connect_to(&sockets, &mut wait(LONG)).map(drop).unwrap_err().to_string();
    assert!(error.contains("/bus") && error.contains("does not take this user"), "{error}");
    server.join().unwrap();
}

#[test]
fn the_record_knows_the_manager_and_older_ones_know_none() {
    let record = Record {
        mount: "/sys/fs/cgroup".into(),
        path: "system.slice/runc-web.scope".into(),
        created: 0,
        manager: Kept::Systemd(Unit { name: NAME.into(), user: Some(1000) }),
    };
    let text = serde_json::to_string(&record).unwrap();
    assert!(text.ends_with(r#""manager":{"systemd":{"name":"runc-web.scope","user":1000}}}"#), "{text}");
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    let files = Record { manager: Kept::Files, ..record };
    let text = serde_json::to_string(&files).unwrap();
    assert_eq!(text, r#"{"mount":"/sys/fs/cgroup","path":"system.slice/runc-web.scope","created":0}"#);
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), files);
}
