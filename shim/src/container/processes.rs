//! A container's processes as the host's ps(1) shows them. No program of the container is run for it.

use std::fs;
use std::process::{Command, Stdio};

use serde::Deserialize as _;

use crate::container::store::Containers;
use crate::container::{self, ContainerId, attend};
use crate::error::{Context, Error, Kind, Result};
use crate::escape::one_line;
use crate::rootless;

/// Options of ps(1) where nobody gives any, as in Docker.
const USUAL: &str = "-ef";

/// Lines of cells with tabs between, the names of the columns first.
///
/// # Errors
/// A container that does not run, in Docker's words; options by which ps tells no process ids; what ps says.
pub fn top(containers: &Containers, id: &ContainerId, options: &[&str]) -> Result<String> {
    let found = attend::attend(containers, id)?.ok_or_else(|| container::missing(id))?;
    if !found.state.status.has_process() {
        return Err(Error::conflict(format!("container {id} is not running")));
    }
    let runtime = containers.runtime(&found.container);
    let pids = match runtime.call(&["ps", "--format", "json", id.as_str()]) {
        Ok(output) => read_pids(&output.stdout).during(|| "ps of the runtime".into())?,
        // An ordinary user's container may have no cgroup by which a runtime could know them.
        Err(error) => {
            let own = found.container.host_config.pid_mode.is_empty() && rootless::is_in_user_namespace();
            match found.state.process.filter(|process| own && process.is_alive()) {
                Some(process) => in_namespace_of(process.pid)?,
                None => return Err(error),
            }
        }
    };
    let options = if options.is_empty() { &[USUAL] } else { options };
    // Some options do not go with a list; then ps tells of all processes that they mean, as in Docker.
    let list = format!("-q{}", pids.iter().map(i32::to_string).collect::<Vec<_>>().join(","));
    let listed = ps(&[options, &[&list]].concat()).or_else(|_| ps(options))?;
    select(&listed, &pids)
}

/// The processes in the PID namespace of this one, which has one of its own (pid_namespaces(7)).
fn in_namespace_of(first: i32) -> Result<Vec<i32>> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid"));
    let wanted = namespace(first).during(|| format!("namespaces of process {first}"))?;
    let entries = fs::read_dir("/proc").during(|| "read \"/proc\"".into())?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // Those that have ended meanwhile, and other users', are none of them.
    Ok(pids.filter(|pid| namespace(*pid).is_ok_and(|found| found == wanted)).collect())
}

/// A list of numbers; null where there is none.
fn read_pids(bytes: &[u8]) -> Result<Vec<i32>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let pids =
        Option::<Vec<i32>>::deserialize(&mut reader).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(pids.unwrap_or_default())
}

/// What the host's ps prints.
fn ps(options: &[&str]) -> Result<String> {
    let mut command = Command::new("ps");
    command.args(options).stdin(Stdio::null());
    sys::spawn::inherit_nothing(&mut command);
    let output = command.output().during(|| "ps".into())?;
    let said =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().lines().next().unwrap_or_default().to_owned();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = Some(said(&output.stderr)).filter(|reason| !reason.is_empty());
    Err(Error::new(Kind::System, reason.unwrap_or_else(|| "it failed without a word".to_owned())))
        .during(|| "error running ps".into())
}

/// The lines of these processes. The last column has all that is left of a line.
fn select(listed: &str, pids: &[i32]) -> Result<String> {
    let mut lines = listed.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let column = titles.iter().position(|title| *title == "PID");
    let column = column.ok_or_else(|| Error::usage("couldn't find PID field in ps output"))?;
    let mut text = titles.join("\t");
    for line in lines {
        let mut rest = line;
        let mut cells = Vec::with_capacity(titles.len());
        for _ in 1..titles.len() {
            rest = rest.trim_ascii_start();
            let end = rest.find(|char: char| char.is_ascii_whitespace()).unwrap_or(rest.len());
            cells.push(&rest[..end]);
            rest = &rest[end..];
        }
        cells.push(rest.trim());
        let pid = cells.get(column).and_then(|cell| cell.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push('\n');
            // Whatever a container calls its processes, it is one line and commands no terminal.
            let cells: Vec<_> = cells.iter().map(|cell| one_line(cell)).collect();
            text.push_str(&cells.join("\t"));
        }
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_containers_processes_are_chosen() {
        let listed = "UID   PID  PPID CMD\nroot    1     0 /sbin/init\nroot   77     1 sh -c  a b\nroot   78    77 sleep 1\u{1b}[2J\n";
        assert_eq!(select(listed, &[77]).unwrap(), "UID\tPID\tPPID\tCMD\nroot\t77\t1\tsh -c  a b\n");
        let harmless = "UID\tPID\tPPID\tCMD\nroot\t78\t77\tsleep 1\\u{1b}[2J\n";
        assert_eq!(select(listed, &[78, 5]).unwrap(), harmless);
        assert!(select("COMMAND\nsh\n", &[1]).is_err());
        assert_eq!(read_pids(b"[1,2]\n").unwrap(), [1, 2]);
        assert_eq!(read_pids(b"null").unwrap(), [0; 0]);
        assert!(read_pids(b"{}").is_err());
    }
}
