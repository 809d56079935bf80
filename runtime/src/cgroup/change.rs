//! A change of the limits of a cgroup in use: all of it, or none.

use super::{Cgroup, Hierarchy, controllers, file};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::{CgroupPlan, Otherwise};

/// What stood in the files before a change.
#[derive(Debug, Default)]
pub struct Before(Vec<Noted>);

/// One file.
#[derive(Debug)]
struct Noted {
    file: String,
    /// What was, or is to be, written.
    value: String,
    /// All of the file's text before.
    text: String,
}

impl Cgroup {
    /// Writes the limits of `plan` in the place of those that are there; controllers that they need are
    /// switched on first. Devices are not touched.
    ///
    /// # Errors
    /// As [`Self::create`]. The limits are then as they were; what could not be put back is named. A controller
    /// that was switched on stays on.
    pub fn change(&self, plan: &CgroupPlan) -> Result<Before> {
        let needed = plan.controllers();
        if !needed.is_empty() {
            let Some(hierarchy) = Hierarchy::open(&self.record.mount)? else {
                bail!("cgroup {:?} is gone: {:?} is no mount any more", self.path, self.record.mount)
            };
            let names: Vec<String> = self.record.names()?.into_iter().map(str::to_owned).collect();
            controllers::enable(&hierarchy, &names, &needed)?;
        }
        let before = self.note(plan).context(|| format!("read the limits of cgroup {:?}", self.path))?;
        match self.apply(plan) {
            Ok(()) => Ok(before),
            Err(mut error) => {
                self.restore(&before, &mut error);
                Err(error)
            }
        }
    }

    /// Reads what the plan's writes will replace. A file that cannot be read cannot be put back either: the
    /// kernel's answer to the write decides what becomes of it.
    fn note(&self, plan: &CgroupPlan) -> Result<Before> {
        let mut noted = Vec::new();
        for write in &plan.writes {
            let other = match &write.otherwise {
                Otherwise::Write { file, value } => Some((file, value)),
                Otherwise::Fail | Otherwise::Skip => None,
            };
            for (name, value) in [(&write.file, &write.value)].into_iter().chain(other) {
                match file::read(self.fd(), name) {
                    Ok(text) => noted.push(Noted { file: name.to_string(), value: value.clone(), text }),
                    Err(error) if matches!(error.errno, libc::ENOENT | libc::EACCES | libc::EINVAL) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(Before(noted))
    }

    /// Puts the limits back, the last one first; what that fails with is attached to `cause`.
    pub fn restore(&self, before: &Before, cause: &mut Error) {
        for noted in before.0.iter().rev() {
            if file::read(self.fd(), &noted.file).is_ok_and(|now| now == noted.text) {
                continue;
            }
            let done = match noted.old_value() {
                Some(value) => file::write(self.fd(), &noted.file, &value).map_err(Error::from),
                None => Err(Error::other("what it was is not known")),
            };
            if let Err(failed) = done.context(|| format!("put {:?} back", noted.file)) {
                cause.attach(&failed);
            }
        }
    }
}

impl Noted {
    /// What has to be written for the file to say again what it said; `None` where that cannot be known.
    ///
    /// Files with one line for each device or name show all, and take one (cgroup-v2.rst "Format").
    fn old_value(&self) -> Option<String> {
        let key = self.value.split_whitespace().next().unwrap_or_default();
        let by_device = key.contains(':');
        let by_name = matches!(self.file.as_str(), "rdma.max" | "misc.max");
        let weight = matches!(self.file.as_str(), "io.weight" | "io.bfq.weight");
        if by_device || by_name {
            let line = self.text.lines().find(|line| line.split_whitespace().next() == Some(key));
            return match (line, self.file.as_str()) {
                (Some(line), _) => Some(line.to_owned()),
                (None, "io.max") => Some(format!("{key} rbps=max wbps=max riops=max wiops=max")),
                (None, _) if weight => Some(format!("{key} default")),
                (None, _) => None,
            };
        }
        // The weight of all devices is the first line, `default 100`.
        let text = if weight { self.text.lines().next().unwrap_or_default() } else { self.text.trim() };
        Some(if text.is_empty() { "\n".to_owned() } else { text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_put_a_file_back() {
        let io = "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=2 wbps=3 riops=max wiops=max\n";
        let cases = [
            ("pids.max", "7", "max\n", Some("max")),
            ("cpu.max", "5000 20000", "max 100000\n", Some("max 100000")),
            ("cpuset.cpus", "0", "\n", Some("\n")),
            ("io.max", "8:16 rbps=9", io, Some("8:16 rbps=2 wbps=3 riops=max wiops=max")),
            ("io.max", "8:1 rbps=9", io, Some("8:1 rbps=max wbps=max riops=max wiops=max")),
            ("io.weight", "200", "default 100\n8:0 50\n", Some("default 100")),
            ("io.weight", "8:0 200", "default 100\n8:0 50\n", Some("8:0 50")),
            ("io.bfq.weight", "8:1 200", "default 100\n8:0 50\n", Some("8:1 default")),
            (
                "rdma.max",
                "mlx hca_handle=1",
                "mlx hca_handle=max hca_object=5\n",
                Some("mlx hca_handle=max hca_object=5"),
            ),
            ("misc.max", "res_a 1", "res_a max\nres_b 4\n", Some("res_a max")),
            ("misc.max", "res_c 1", "res_a max\n", None),
            ("io.latency", "8:0 target=1", "", None),
        ];
        for (file, value, text, wanted) in cases {
            let noted = Noted { file: file.into(), value: value.into(), text: text.into() };
            assert_eq!(noted.old_value().as_deref(), wanted, "{file} {value}");
        }
    }
}
