//! The conversation with one of systemd's managers (org.freedesktop.systemd1(5)).

use super::socket::{Socket, sockets};
use crate::bail;
use crate::cgroup::dbus::{Connection, Method, Refused, Value, Wait};
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::systemd::Property;

const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SCOPE: &str = "org.freedesktop.systemd1.Scope";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const BUS_OBJECT: &str = "/org/freedesktop/DBus";
const JOB_REMOVED: &str = "JobRemoved";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// A job takes the place of one that contradicts it.
const REPLACE: &str = "replace";

/// A manager that answers.
#[derive(Debug)]
pub struct Manager {
    connection: Connection,
    is_bus: bool,
    version: u32,
    control_group: String,
}

type Answer = std::result::Result<Vec<Value>, Refused>;

impl Manager {
    /// Connects to the manager of the system, or of a user.
    ///
    /// # Errors
    /// Where none answers, with what would help.
    pub fn connect(user: Option<u32>, wait: &mut Wait<'_>) -> Result<Self> {
        Self::connect_to(&sockets(user), wait).map_err(|error| match (error.errno(), user) {
            (libc::ENOENT | libc::ECONNREFUSED, None) => error.context("systemd does not run here"),
            (libc::ENOENT | libc::ECONNREFUSED, Some(user)) => error.context(format!(
                "user {user} has no systemd of their own here (`loginctl enable-linger {user}` starts one)"
            )),
            _ => error.context("systemd does not answer"),
        })
    }

    /// The first of these sockets at which a manager answers.
    pub fn connect_to(sockets: &[Socket], wait: &mut Wait<'_>) -> Result<Self> {
        let mut first = None;
        for socket in sockets {
            match Connection::open(&socket.path, wait) {
                Ok(connection) => return Self::greet(connection, socket.is_bus, wait),
                // Not there, or not for us: there may be another way. Whoever does not answer at all is.
                Err(error) if error.errno() != 0 => {
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first.unwrap_or_else(|| Error::other("no socket is known")))
    }

    /// A manager at the other end of a socket that is connected already.
    #[cfg(test)]
    pub fn over(socket: std::os::fd::OwnedFd, is_bus: bool, wait: &mut Wait<'_>) -> Result<Self> {
        Self::greet(Connection::over(socket, wait)?, is_bus, wait)
    }

    /// Asks who is there; all at once, since no answer decides what is asked next.
    fn greet(connection: Connection, is_bus: bool, wait: &mut Wait<'_>) -> Result<Self> {
        let mut manager = Self { connection, is_bus, version: 0, control_group: String::new() };
        manager.connection.listen(MANAGER, JOB_REMOVED);
        let mut asked = Vec::new();
        if is_bus {
            let bus = |member| Method { destination: Some(BUS), path: BUS_OBJECT, interface: BUS, member };
            let rule = format!("type='signal',sender='{NAME}',interface='{MANAGER}',member='{JOB_REMOVED}'");
            asked.push(("Hello", manager.connection.send(&bus("Hello"), &[], wait)?));
            let matching = manager.connection.send(&bus("AddMatch"), &[Value::text(rule)], wait)?;
            asked.push(("AddMatch", matching));
            asked.push(("Subscribe", manager.send(OBJECT, MANAGER, "Subscribe", &[], wait)?));
        }
        let get = |name| [Value::text(MANAGER), Value::text(name)];
        let version = manager.send(OBJECT, PROPERTIES, "Get", &get("Version"), wait)?;
        let group = manager.send(OBJECT, PROPERTIES, "Get", &get("ControlGroup"), wait)?;
        for (member, serial) in asked {
            manager.connection.answer(serial, wait)?.map_err(|refused| explain(member, "", &refused))?;
        }
        let text = manager.property(version, "Version", wait)?;
        manager.version = version_number(&text)
            .ok_or_else(|| Error::other(format!("systemd says that its version is {text:?}")))?;
        manager.control_group = manager.property(group, "ControlGroup", wait)?;
        Ok(manager)
    }

    /// Its version, such as 252.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The cgroup below which all its units are; empty for the root.
    pub fn control_group(&self) -> &str {
        &self.control_group
    }

    fn send(
        &mut self,
        path: &str,
        interface: &str,
        member: &str,
        arguments: &[Value],
        wait: &mut Wait<'_>,
    ) -> Result<u32> {
        let destination = self.is_bus.then_some(NAME);
        self.connection.send(&Method { destination, path, interface, member }, arguments, wait)
    }

    /// Calls a method of the manager itself.
    fn call(&mut self, member: &str, arguments: &[Value], wait: &mut Wait<'_>) -> Result<Answer> {
        let serial = self.send(OBJECT, MANAGER, member, arguments, wait)?;
        self.connection.answer(serial, wait).context(|| format!("systemd: {member}"))
    }

    /// The text in a variant that answers to a call of `Get`.
    fn property(&mut self, serial: u32, name: &str, wait: &mut Wait<'_>) -> Result<String> {
        let answer = self.connection.answer(serial, wait).context(|| format!("systemd: Get {name}"))?;
        match answer.map_err(|refused| explain("Get", name, &refused))?.as_slice() {
            [Value::Variant(value)] if value.as_text().is_some() => {
                Ok(value.as_text().unwrap_or_default().to_owned())
            }
            other => bail!("systemd: Get {name}: it answered {other:?}"),
        }
    }

    /// The object of a unit that systemd knows; `None` where it knows none.
    pub fn unit(&mut self, name: &str, wait: &mut Wait<'_>) -> Result<Option<String>> {
        match self.call("GetUnit", &[Value::text(name)], wait)? {
            Ok(body) => only_path("GetUnit", &body).map(Some),
            Err(refused) if refused.name == NO_SUCH_UNIT => Ok(None),
            Err(refused) => Err(explain("GetUnit", name, &refused)),
        }
    }

    /// The cgroup of a scope; empty where it has none any more.
    pub fn cgroup_of_unit(&mut self, object: &str, wait: &mut Wait<'_>) -> Result<String> {
        let arguments = [Value::text(SCOPE), Value::text("ControlGroup")];
        let serial = self.send(object, PROPERTIES, "Get", &arguments, wait)?;
        self.property(serial, "ControlGroup", wait)
    }

    /// Takes a failed unit off systemd's list; one that is not there, or has not failed, is fine.
    pub fn reset_failed(&mut self, name: &str, wait: &mut Wait<'_>) -> Result<()> {
        match self.call("ResetFailedUnit", &[Value::text(name)], wait)? {
            Err(refused) if refused.name != NO_SUCH_UNIT => Err(explain("ResetFailedUnit", name, &refused)),
            _ => Ok(()),
        }
    }

    /// Asks for a transient unit; the answer is the job's object.
    pub fn start(&mut self, name: &str, properties: Vec<Property>, wait: &mut Wait<'_>) -> Result<String> {
        let arguments = [
            Value::text(name),
            Value::text(REPLACE),
            Value::Array("(sv)".to_owned(), list(properties)),
            Value::Array("(sa(sv))".to_owned(), Vec::new()), // further units
        ];
        match self.call("StartTransientUnit", &arguments, wait)? {
            Ok(body) => only_path("StartTransientUnit", &body),
            Err(refused) => Err(explain("StartTransientUnit", name, &refused)),
        }
    }

    /// Sets properties of a unit, until it ends; when this is done, they stand in the cgroup's files.
    pub fn set(&mut self, name: &str, properties: Vec<Property>, wait: &mut Wait<'_>) -> Result<()> {
        let arguments = [
            Value::text(name),
            Value::Bool(true), // not for the time after a reboot
            Value::Array("(sv)".to_owned(), list(properties)),
        ];
        match self.call("SetUnitProperties", &arguments, wait)? {
            // systemd answers first and writes the files then, but before it takes the next call: without one
            // in between it would write over what the caller is about to.
            Ok(_) => self.unit(name, wait).map(drop),
            Err(refused) => Err(explain("SetUnitProperties", name, &refused)),
        }
    }

    /// Moves process `pid` into a unit's cgroup, or with `below`, which begins with a slash, into one inside that. A
    /// user's manager asks the system's where its own rights do not reach.
    pub fn attach(&mut self, name: &str, below: &str, pid: u32, wait: &mut Wait<'_>) -> Result<()> {
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid)]);
        match self.call("AttachProcessesToUnit", &[Value::text(name), Value::text(below), pids], wait)? {
            Ok(_) => Ok(()),
            Err(refused) => Err(explain("AttachProcessesToUnit", name, &refused)),
        }
    }

    /// Stops a unit and waits until it has; one that is not there is fine.
    pub fn stop(&mut self, name: &str, wait: &mut Wait<'_>) -> Result<()> {
        match self.call("StopUnit", &[Value::text(name), Value::text(REPLACE)], wait)? {
            Ok(body) => {
                let job = only_path("StopUnit", &body)?;
                self.finish("stop", name, &job, wait)
            }
            Err(refused) if refused.name == NO_SUCH_UNIT => Ok(()),
            Err(refused) => Err(explain("StopUnit", name, &refused)),
        }
    }

    /// Waits until a job is done.
    ///
    /// # Errors
    /// Another end than a good one, in words; a unit that has failed is taken off systemd's list then.
    pub fn finish(&mut self, verb: &str, name: &str, job: &str, wait: &mut Wait<'_>) -> Result<()> {
        let ours = |body: &[Value]| body.get(1).and_then(Value::as_text) == Some(job);
        let body =
            self.connection.signal(wait, ours).context(|| format!("wait for systemd to {verb} {name:?}"))?;
        let result = body.get(3).and_then(Value::as_text).unwrap_or_default();
        if result == "done" {
            return Ok(());
        }
        let mut error =
            Error::other(format!("systemd did not {verb} {name:?}: result {result:?}, {}", meaning(result)));
        if let Err(cleanup) = self.reset_failed(name, wait) {
            error.attach(&cleanup);
        }
        Err(error)
    }
}

fn list(properties: Vec<Property>) -> Vec<Value> {
    let pair = |(name, value): Property| Value::Struct(vec![Value::Text(name.into_owned()), value.boxed()]);
    properties.into_iter().map(pair).collect()
}

/// What a job's result means (org.freedesktop.systemd1(5), JobRemoved).
fn meaning(result: &str) -> &'static str {
    match result {
        "canceled" => "another job took its place, or somebody canceled it",
        "timeout" => "it took longer than systemd allows",
        "failed" => "`systemctl status` and the journal may say why",
        "dependency" => "a unit that it depends on failed, such as its slice",
        "skipped" => "the job does not apply to the unit as it is",
        _ => "which is not known here",
    }
}

fn explain(member: &str, name: &str, refused: &Refused) -> Error {
    Error::other(format!("systemd: {member}({name:?}): {} ({})", refused.text, refused.name))
}

fn only_path(member: &str, body: &[Value]) -> Result<String> {
    match body {
        [Value::Path(path)] => Ok(path.clone()),
        other => bail!("systemd: {member}: it answered {other:?}"),
    }
}

/// The first number of `252.39-1~deb12u2` or `v257`.
fn version_number(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}
