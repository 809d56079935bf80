//! Puts a container into a class of service of Intel Resource Director Technology.
//!
//! Folders of the resctrl file system are classes; what a container got made for it is removed with it.
//! Documentation/filesystems/resctrl.rst of the kernel.

mod stats;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::bail;
use crate::error::{Call, Context, Error, Result};
use crate::kernel::procfs::Procfs;
use crate::plan::intel_rdt::{Folder, IntelRdt, first_mismatch};
pub use stats::Stats;

/// Where resctrl is mounted in this mount namespace.
///
/// # Errors
/// It is mounted nowhere.
pub fn root() -> Result<PathBuf> {
    let table = Procfs::shared()?.read("self/mountinfo", 16 << 20)?;
    match mount_point(&String::from_utf8_lossy(&table)) {
        Some(path) => Ok(path),
        None => bail!("linux.intelRdt: no resctrl file system is mounted on this host"),
    }
}

/// The mount point of a whole resctrl in the text of mountinfo (proc_pid_mountinfo(5)).
fn mount_point(table: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let is_whole = filesystem.split(' ').next()? == "resctrl" && root == "/";
        is_whole.then(|| {
            let plain = point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
            PathBuf::from(plain.replace("\\134", "\\"))
        })
    })
}

/// Makes the class and its monitoring group, or finds that a present class is the one that is meant.
/// Returns the folders that are the container's own, relative to `root`, for [`remove`]: a class with a name
/// stays, as others may have joined it by then.
///
/// # Errors
/// A class that is missing, in the way, or different; ENOSPC where the hardware has no more. Nothing that
/// was made is left then.
pub fn prepare(root: &Path, rdt: &IntelRdt) -> Result<Vec<String>> {
    let mut made = Vec::new();
    match make(root, rdt, &mut made) {
        Ok(()) => {
            made.retain(|folder| rdt.folder == Folder::Own || *folder != rdt.group);
            Ok(made)
        }
        Err(mut error) => {
            if let Err(cleanup) = remove(root, &made) {
                error.attach(&cleanup);
            }
            Err(error.context("linux.intelRdt"))
        }
    }
}

fn make(root: &Path, rdt: &IntelRdt, made: &mut Vec<String>) -> Result<()> {
    let group = root.join(&rdt.group);
    let is_new = match rdt.folder {
        Folder::Own => make_folder(root, &rdt.group).map(|()| true)?,
        Folder::Shared => match make_folder(root, &rdt.group) {
            Err(error) if error.errno() == libc::EEXIST => false,
            result => result.map(|()| true)?,
        },
        Folder::Existing => {
            let is_folder = std::fs::metadata(&group).call("stat", || format!("{group:?}"))?.is_dir();
            if !is_folder {
                bail!("{group:?} is not a class of service");
            }
            false
        }
    };
    if is_new {
        made.push(rdt.group.clone());
        for text in &rdt.schemata {
            write(&group.join("schemata"), text).map_err(|error| explained(root, error))?;
        }
    } else {
        compare(&group, rdt)?;
    }
    if let Some(name) = &rdt.monitoring {
        let folder = if rdt.group.is_empty() {
            format!("mon_groups/{name}")
        } else {
            format!("{}/mon_groups/{name}", rdt.group)
        };
        make_folder(root, &folder)?;
        made.push(folder);
    }
    Ok(())
}

/// Makes a folder that was not there.
fn make_folder(root: &Path, folder: &str) -> Result<()> {
    let path = root.join(folder);
    std::fs::create_dir(&path).call("mkdir", || format!("{path:?}")).map_err(|error| explained(root, error))
}

/// A class that was there already must hold what is asked for.
fn compare(group: &Path, rdt: &IntelRdt) -> Result<()> {
    if rdt.schemata.is_empty() {
        return Ok(());
    }
    let path = group.join("schemata");
    let present = std::fs::read_to_string(&path).call("read", || format!("{path:?}"))?;
    match first_mismatch(&rdt.schemata, &present) {
        None => Ok(()),
        Some((wanted, found)) => bail!("{path:?} does not match: {wanted} is asked for, {found} is there"),
    }
}

/// The kernel's own words on the last refusal, where it has some.
fn explained(root: &Path, error: Error) -> Error {
    match std::fs::read_to_string(root.join("info/last_cmd_status")) {
        Ok(text) if !matches!(text.trim(), "" | "ok") => error.context(format!("{:?}", text.trim())),
        _ => error,
    }
}

/// Moves process `pid` into the class and its monitoring group.
///
/// # Errors
/// ESRCH for a process that has ended.
pub fn assign(root: &Path, rdt: &IntelRdt, pid: i32) -> Result<()> {
    let group = root.join(&rdt.group);
    let text = format!("{pid}\n");
    write(&group.join("tasks"), &text).context(|| "linux.intelRdt")?;
    if let Some(name) = &rdt.monitoring {
        // After the class: a monitoring group takes only tasks of its own class.
        write(&group.join("mon_groups").join(name).join("tasks"), &text).context(|| "linux.intelRdt")?;
    }
    Ok(())
}

/// Removes the folders that [`prepare`] made; one that is gone already is no error.
///
/// # Errors
/// The kernel's, after all were tried.
pub fn remove(root: &Path, made: &[String]) -> Result<()> {
    let mut result = Ok(());
    for folder in made.iter().rev() {
        let path = root.join(folder);
        match std::fs::remove_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                result = result.and(Err(error).call("rmdir", || format!("{path:?}")));
            }
            _ => {}
        }
    }
    result.context(|| "linux.intelRdt")
}

/// Other schemata for a class that is a container's own.
#[derive(Debug)]
pub struct Change {
    file: PathBuf,
    before: String,
}

/// Writes `schemata` to the class `group`.
///
/// # Errors
/// What the kernel refuses, in its own words; the class is then as it was.
pub fn change(root: &Path, group: &str, schemata: &[String]) -> Result<Change> {
    let file = root.join(group).join("schemata");
    let step = || "linux.intelRdt";
    let before = std::fs::read_to_string(&file).call("read", || format!("{file:?}")).context(step)?;
    let change = Change { file, before };
    for text in schemata {
        if let Err(error) = write(&change.file, text) {
            let mut error = explained(root, error).context(step());
            if let Err(failed) = change.restore() {
                error.attach(&failed);
            }
            return Err(error);
        }
    }
    Ok(change)
}

impl Change {
    /// Puts the schemata back that were there before.
    ///
    /// # Errors
    /// Of writing them.
    pub fn restore(&self) -> Result<()> {
        write(&self.file, &self.before).context(|| "put the schemata back")
    }
}

/// One write to a file that is there: resctrl takes each write as one request.
fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).call("open", || format!("{path:?}"))?;
    match file.write(text.as_bytes()).call("write", || format!("{path:?}, {:?}", text.trim_end()))? {
        length if length == text.len() => Ok(()),
        _ => bail!("write({path:?}): only a part was taken"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain folder in resctrl's place, whose files must be put there by hand.
    struct Fake(PathBuf);

    impl Fake {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("caisson-rdt-{}-{test}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn put(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn text(&self, file: &str) -> String {
            std::fs::read_to_string(self.0.join(file)).unwrap()
        }

        fn has(&self, file: &str) -> bool {
            self.0.join(file).exists()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn rdt(group: &str, folder: Folder, schemata: &[&str], monitoring: bool) -> IntelRdt {
        IntelRdt {
            group: group.to_owned(),
            folder,
            schemata: schemata.iter().map(|text| (*text).to_owned()).collect(),
            monitoring: monitoring.then(|| "web".to_owned()),
        }
    }

    /// As a process that `exec` adds does it for itself: 0 is whoever writes it.
    #[test]
    fn a_process_puts_itself_into_class_and_monitoring_group() {
        let fake = Fake::new("itself");
        fake.put("gold/tasks", "");
        fake.put("gold/mon_groups/web/tasks", "");
        assign(&fake.0, &rdt("gold", Folder::Existing, &[], true), 0).unwrap();
        assert_eq!(
            (fake.text("gold/tasks"), fake.text("gold/mon_groups/web/tasks")),
            ("0\n".into(), "0\n".into())
        );
        let missing = assign(&fake.0, &rdt("silver", Folder::Existing, &[], false), 0).unwrap_err();
        assert_eq!(missing.errno(), libc::ENOENT);
    }

    fn refused(fake: &Fake, rdt: &IntelRdt) -> String {
        prepare(&fake.0, rdt).unwrap_err().to_string().replace(fake.0.to_str().unwrap(), "ROOT")
    }

    #[test]
    fn the_mount_is_found_and_its_name_decoded() {
        let table = "36 28 0:32 / /sys/fs/resctrl rw,nosuid shared:9 - resctrl resctrl rw\n";
        assert_eq!(mount_point(table), Some(PathBuf::from("/sys/fs/resctrl")));
        let table = "36 28 0:32 /web /a rw - resctrl r rw\n37 28 0:32 / /b\\040c\\134040 rw - resctrl r rw\n";
        assert_eq!(mount_point(table), Some(PathBuf::from("/b c\\040")));
        assert_eq!(mount_point("36 28 0:32 / /resctrl rw - tmpfs resctrl rw\n"), None);
    }

    #[test]
    fn an_own_class_is_made_and_removed() {
        let fake = Fake::new("own");
        let made = prepare(&fake.0, &rdt("web", Folder::Own, &[], false)).unwrap();
        assert_eq!(made, ["web"]);
        fake.put("web/tasks", "");
        assign(&fake.0, &rdt("web", Folder::Own, &[], false), 4711).unwrap();
        assert_eq!(fake.text("web/tasks"), "4711\n");
        std::fs::remove_file(fake.0.join("web/tasks")).unwrap(); // as resctrl does
        remove(&fake.0, &made).unwrap();
        assert!(!fake.has("web"));
        remove(&fake.0, &made).unwrap();
    }

    #[test]
    fn a_class_in_the_way_of_an_own_one_is_refused_and_stays() {
        let fake = Fake::new("way");
        fake.put("web/schemata", "L3:0=f\n");
        assert_eq!(
            refused(&fake, &rdt("web", Folder::Own, &[], false)),
            "linux.intelRdt: mkdir(\"ROOT/web\"): file exists (EEXIST)"
        );
        assert_eq!(fake.text("web/schemata"), "L3:0=f\n");
    }

    #[test]
    fn nothing_is_left_of_a_class_whose_schemata_are_refused() {
        let fake = Fake::new("undo");
        fake.put("info/last_cmd_status", "Mask 0 out of range\n");
        // A plain folder gets no schemata file, so that the write fails.
        assert_eq!(
            refused(&fake, &rdt("web", Folder::Own, &["L3:0=0\n"], true)),
            "linux.intelRdt: \"Mask 0 out of range\": open(\"ROOT/web/schemata\"): no such file or directory (ENOENT)"
        );
        assert!(!fake.has("web"));
    }

    #[test]
    fn a_shared_class_must_hold_what_is_asked_for_and_is_not_written() {
        let fake = Fake::new("shared");
        fake.put("gold/schemata", "    L3:0=ff;1=ff\n    MB:0=100;1=100\n");
        assert_eq!(prepare(&fake.0, &rdt("gold", Folder::Shared, &["L3:0=0ff\n"], false)).unwrap(), [""; 0]);
        assert_eq!(
            refused(&fake, &rdt("gold", Folder::Shared, &["L3:0=f\n"], false)),
            "linux.intelRdt: \"ROOT/gold/schemata\" does not match: L3:0=f is asked for, ff is there"
        );
        assert_eq!(fake.text("gold/schemata"), "    L3:0=ff;1=ff\n    MB:0=100;1=100\n");
        let error = refused(&fake, &rdt("new", Folder::Shared, &["L3:0=f\n"], false));
        assert!(error.contains("open(\"ROOT/new/schemata\")"), "a missing one is made and written: {error}");
    }

    #[test]
    fn a_shared_class_is_made_and_stays() {
        let fake = Fake::new("stays");
        let shared = rdt("gold", Folder::Shared, &[], false);
        assert_eq!(prepare(&fake.0, &shared).unwrap(), [""; 0]);
        assert!(fake.has("gold"));
        assert_eq!(prepare(&fake.0, &shared).unwrap(), [""; 0]);
    }

    #[test]
    fn an_existing_class_must_be_there() {
        let fake = Fake::new("existing");
        assert_eq!(
            refused(&fake, &rdt("gold", Folder::Existing, &[], false)),
            "linux.intelRdt: stat(\"ROOT/gold\"): no such file or directory (ENOENT)"
        );
        fake.put("file", "");
        let error = refused(&fake, &rdt("file", Folder::Existing, &[], false));
        assert_eq!(error, "linux.intelRdt: \"ROOT/file\" is not a class of service");
        fake.put("schemata", "L3:0=ff\n");
        let default = rdt("", Folder::Existing, &["L3:0=f\n"], false);
        assert!(refused(&fake, &default).ends_with("L3:0=f is asked for, ff is there"));
    }

    #[test]
    fn a_monitoring_group_is_made_in_the_class_and_joined_after_it() {
        let fake = Fake::new("monitor");
        fake.put("gold/tasks", "");
        fake.put("mon_groups/other/tasks", "");
        std::fs::create_dir(fake.0.join("gold/mon_groups")).unwrap();
        let gold = rdt("gold", Folder::Existing, &[], true);
        assert_eq!(prepare(&fake.0, &gold).unwrap(), ["gold/mon_groups/web"]);
        fake.put("gold/mon_groups/web/tasks", "");
        assign(&fake.0, &gold, 12).unwrap();
        assert_eq!(
            (fake.text("gold/tasks"), fake.text("gold/mon_groups/web/tasks")),
            ("12\n".into(), "12\n".into())
        );
        let default = rdt("", Folder::Existing, &[], true);
        let made = prepare(&fake.0, &default).unwrap();
        assert_eq!(made, ["mon_groups/web"]);
        remove(&fake.0, &made).unwrap();
        assert!(!fake.has("mon_groups/web") && fake.has("mon_groups/other"));
    }

    #[test]
    fn schemata_are_changed_and_put_back() {
        let fake = Fake::new("change");
        fake.put("web/schemata", "L3:0=ff\n");
        let changed = change(&fake.0, "web", &["L3:0=0f\n".to_owned()]).unwrap();
        assert_eq!(fake.text("web/schemata"), "L3:0=0f\n");
        changed.restore().unwrap();
        assert_eq!(fake.text("web/schemata"), "L3:0=ff\n");
        let error = change(&fake.0, "gone", &[]).unwrap_err().to_string();
        assert!(error.starts_with("linux.intelRdt: read(") && error.ends_with("(ENOENT)"), "{error}");
    }

    #[test]
    fn texts_are_written_as_they_are() {
        let fake = Fake::new("write");
        fake.put("schemata", "");
        write(&fake.0.join("schemata"), "L3:0=f\nMB:0=20\n").unwrap();
        assert_eq!(fake.text("schemata"), "L3:0=f\nMB:0=20\n");
    }

    #[test]
    fn a_host_without_it_is_named() {
        if std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ") {
            assert!(root().unwrap().is_dir());
        } else {
            let error = root().unwrap_err().to_string();
            assert_eq!(error, "linux.intelRdt: no resctrl file system is mounted on this host");
        }
    }
}
