//! `ps`: the container's processes, by its cgroup.
//!
//! What ps(1) of the host says of all processes is cut down to the container's. Which of its columns has the
//! process id is told by its own heading, wherever the caller's options have put it.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use super::{Cgroups, Entry, has_ended};
use crate::bail;
use crate::error::{Call, Context, Error, Kind, Result};

/// The process ids of a container, as this process id namespace numbers them, in order; none of a stopped one.
///
/// # Errors
/// Where it has no cgroup, or lives and its cgroup is gone.
pub fn pids(entry: &Entry, cgroups: &dyn Cgroups) -> Result<Vec<i32>> {
    let record = entry.record()?;
    let cgroup = super::own_cgroup(&record)?;
    let mut pids = cgroups.pids(cgroup)?;
    pids.sort_unstable();
    pids.dedup(); // the kernel lists one that moves twice
    // Who dies has left its cgroup before it has ended.
    if pids.is_empty() && !has_ended(&record)? {
        let path = &cgroup.path;
        bail!("its processes are not in its cgroup {path:?} any more: somebody else has moved them");
    }
    Ok(pids)
}

/// The heading of ps(1) and the lines of these processes.
///
/// # Errors
/// Where there is no ps(1), where it fails, with what it says, and where it shows no process ids.
pub fn table(pids: &[i32], options: &[OsString]) -> Result<String> {
    let mut command = Command::new("ps");
    if options.is_empty() {
        command.arg("-ef");
    } else {
        command.args(options);
    }
    sys::spawn::inherit_nothing(&mut command);
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("ps(1) is not in PATH: install procps, or use --format json")
        }
        output => output.call("execve", || "\"ps\"")?,
    };
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        return Err(Error::new(Kind::Other, format!("{said:?}")))
            .context(|| format!("ps: {}", output.status));
    }
    select(&String::from_utf8_lossy(&output.stdout), pids)
}

/// The heading and those lines whose process id is one of `pids`.
fn select(text: &str, pids: &[i32]) -> Result<String> {
    let heading = text.lines().next().unwrap_or_default();
    let Some(column) = Column::find(heading) else {
        bail!("ps shows no column PID: {heading:?}");
    };
    let mut selected = format!("{heading}\n");
    for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
        let Some(pid) = column.read(line) else { bail!("ps shows no process id in {line:?}") };
        if pids.contains(&pid) {
            selected.push_str(line);
            selected.push('\n');
        }
    }
    Ok(selected)
}

/// Where the process id stands.
struct Column {
    /// Number of columns before it.
    index: usize,
    /// Characters before the end of its heading, to which its numbers reach: they stand at the right.
    end: usize,
}

impl Column {
    fn find(heading: &str) -> Option<Self> {
        let index = heading.split_whitespace().position(|word| word == "PID")?;
        // The same word as found above: the first that is exactly this.
        let starts = heading.match_indices("PID").map(|(start, _)| start);
        let bounded = |start: &usize| {
            let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
            blank(heading[..*start].chars().next_back()) && blank(heading[start + 3..].chars().next())
        };
        let start = starts.into_iter().find(bounded)?;
        Some(Self { index, end: heading[..start + 3].chars().count() })
    }

    /// The process id of a line.
    fn read(&self, line: &str) -> Option<i32> {
        // By place first: other columns may have blanks in them, as a time of start has. A place that has been
        // pushed away by a long entry holds no whole number, or none at all; then by count.
        self.at_place(line).or_else(|| line.split_whitespace().nth(self.index)?.parse().ok())
    }

    /// The number that ends where the heading ends.
    fn at_place(&self, line: &str) -> Option<i32> {
        let chars: Vec<char> = line.chars().collect();
        if chars.get(self.end).is_some_and(|c| !c.is_whitespace()) {
            return None;
        }
        let before = chars.get(..self.end)?;
        let start = before.iter().rposition(|c| c.is_whitespace()).map_or(0, |blank| blank + 1);
        before[start..].iter().collect::<String>().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::record;
    use crate::container::tests::{Group, Init, TempDir, cgroup, id};

    #[test]
    fn who_lives_outside_of_the_cgroup_was_moved_and_who_dies_was_not() {
        let dir = TempDir::new();
        let store = dir.store();
        let locked = store.create(&id("web")).unwrap();
        let mut record = record("web");
        record.cgroup = Some(cgroup(dir.path()));
        locked.write(&record).unwrap();
        let group = Group::default();
        group.members.borrow_mut().extend([7, 3, 7]);
        assert_eq!(pids(&locked, &group).unwrap(), [3, 7]);
        let error = pids(&locked, &Group::default()).unwrap_err().to_string();
        let wanted = "its processes are not in its cgroup \"web\" any more: somebody else has moved them";
        assert_eq!(error, wanted);
        // It has left the cgroup on its way out; nobody has waited for it yet.
        let init = Init::bash(&locked, "exit 0");
        record.init = Some(init.id());
        while !init.id().is_ending().unwrap() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        locked.write(&record).unwrap();
        assert_eq!(pids(&locked, &Group::default()).unwrap(), [0; 0]);
    }

    #[test]
    fn the_heading_tells_where_the_process_id_is() {
        let ef = "UID        PID  PPID  C STIME TTY          TIME CMD\n\
                  root         1     0  0 12:39 ?        00:00:00 init\n\
                  root     12023     1  0 12:39 ?        00:00:00 sleep 1 12\n\
                  verylongname+ 12024 1  0 12:39 ?        00:00:00 sleep 2\n\
                  root        12     1  0 12:39 ?        00:00:00 PID 12023\n";
        let wanted = "UID        PID  PPID  C STIME TTY          TIME CMD\n\
                      root     12023     1  0 12:39 ?        00:00:00 sleep 1 12\n\
                      verylongname+ 12024 1  0 12:39 ?        00:00:00 sleep 2\n";
        assert_eq!(select(ef, &[12023, 12024]).unwrap(), wanted);
        let last = "COMMAND           PID\nsleep           12023\nother               7\n";
        assert_eq!(select(last, &[7]).unwrap(), "COMMAND           PID\nother               7\n");
        // Blanks in a column before it.
        let start = "                 STARTED     PID\nSat Nov 21 12:39:34 2026   12023\nSat Nov 21 12:39:34 2026       7\n";
        assert_eq!(
            select(start, &[12023]).unwrap(),
            "                 STARTED     PID\nSat Nov 21 12:39:34 2026   12023\n"
        );
        // Another column of a like name first.
        let parent = "   PPID     PID\n  12023       7\n      7   12023\n";
        assert_eq!(select(parent, &[7]).unwrap(), "   PPID     PID\n  12023       7\n");
        assert_eq!(select("    PID\n", &[7]).unwrap(), "    PID\n");
    }

    #[test]
    fn a_table_without_process_ids_is_refused() {
        let error = select("COMMAND  PIDX\nsleep  7\n", &[7]).unwrap_err().to_string();
        assert_eq!(error, "ps shows no column PID: \"COMMAND  PIDX\"");
        assert_eq!(select("", &[]).unwrap_err().to_string(), "ps shows no column PID: \"\"");
        let error = select("    PID\n    new\n", &[7]).unwrap_err().to_string();
        assert_eq!(error, "ps shows no process id in \"    new\"");
    }

    #[test]
    fn this_process_is_in_the_hosts_table() {
        let own = i32::try_from(std::process::id()).unwrap();
        for options in [&[][..], &["-e"], &["-eo", "comm,pid"], &["-e", "-o", "lstart,pid,args"]] {
            let options: Vec<OsString> = options.iter().map(OsString::from).collect();
            let table = table(&[own], &options).unwrap();
            assert_eq!(table.lines().count(), 2, "{table}");
            assert!(table.contains(&own.to_string()), "{table}");
        }
        let error = table(&[own], &["--no-such-option".into()]).unwrap_err().to_string();
        assert!(error.starts_with("ps: exit status: 1: \"error: "), "{error}");
    }
}
