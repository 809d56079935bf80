//! Checkpoints: whether CRIU can do its part on this machine, containers that it can dump, and their two commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::{Bundle, Call, Container, Output, wait_for};

/// Why there can be no checkpoint here, by the word of `criu check`; `None` where there can.
#[must_use]
pub fn criu_lacks() -> Option<&'static str> {
    static LACKS: OnceLock<Option<String>> = OnceLock::new();
    LACKS
        .get_or_init(|| match Command::new("criu").arg("check").output() {
            Err(error) => Some(format!("criu: {error}")),
            Ok(output) if output.status.success() => None,
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                Some(format!("criu check: {}", said.lines().last().unwrap_or("failed")))
            }
        })
        .as_deref()
}

/// A script that counts, in its own memory alone, and says in the root's /count how far it is.
pub const COUNTING: &str =
    "i=0; while :; do i=$((i + 1)); echo $i >/new; mv /new /count; usleep 200000; done";

impl Container {
    /// `run --detach` without input and output: CRIU cannot dump a container that writes to files of the host.
    #[must_use]
    pub fn run_unheard(&self) -> Call {
        self.birth_by(&["sh", "-c", "exec \"$0\" \"$@\" >/dev/null 2>&1"], "run", &["--detach"])
    }

    /// The folder of this container's images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.bundle().scratch().join("images")
    }

    /// The folder of CRIU's logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.bundle().scratch().join("logs")
    }

    /// The call of `checkpoint` into [`Container::images`].
    #[must_use]
    pub fn checkpoint_call(&self, options: &[&str]) -> Call {
        self.call("checkpoint")
            .args(["--image-path".as_ref(), self.images().as_os_str()])
            .args(["--work-path".as_ref(), self.logs().as_os_str()])
            .args(options)
            .args([self.id()])
    }

    /// `checkpoint` into [`Container::images`].
    #[track_caller]
    pub fn checkpoint(&self, options: &[&str]) -> Output {
        self.checkpoint_call(options).output()
    }

    /// The arguments of `restore` from [`Container::images`], after the command.
    fn restore_options<'a>(&self, options: &'a [&'a str]) -> Vec<String> {
        let paths = [("--image-path", self.images()), ("--work-path", self.logs())];
        let paths = paths.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]);
        paths.chain(options.iter().map(|option| (*option).to_owned())).collect()
    }

    /// The call of `restore` in the foreground.
    #[must_use]
    pub fn restore_call(&self, options: &[&str]) -> Call {
        let options = self.restore_options(options);
        self.birth("restore", &options.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `restore --detach` without input and output. What the runtime says goes to a file that nobody inherits.
    #[track_caller]
    pub fn restore(&self, options: &[&str]) -> Output {
        let mut all = self.restore_options(options);
        all.push("--detach".to_owned());
        self.birth("restore", &all.iter().map(String::as_str).collect::<Vec<_>>()).output()
    }

    /// How far a container that is [`COUNTING`] has come.
    #[must_use]
    pub fn count(&self) -> u64 {
        count_in(&self.bundle().rootfs().join("count"))
    }

    /// Waits until it has come further than `count`; how far.
    #[track_caller]
    pub fn wait_count(&self, count: u64) -> u64 {
        wait_for(&format!("{} to count beyond {count}", self.id()), || {
            Some(self.count()).filter(|now| *now > count)
        })
    }
}

/// The number in a file; 0 where there is none.
#[must_use]
pub fn count_in(file: &Path) -> u64 {
    std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// A container that is [`COUNTING`], and has begun to.
#[track_caller]
#[must_use]
pub fn counting(bundle: Bundle) -> Container {
    let container = bundle.sh(COUNTING).container();
    container.run_unheard().output().expect_ok();
    container.wait_count(2);
    container
}

/// A `criu` that serves until the value goes.
#[derive(Debug)]
pub struct CriuServer(std::process::Child);

impl CriuServer {
    /// Starts `criu` with these arguments.
    #[must_use]
    #[track_caller]
    pub fn start(args: &[&str]) -> CriuServer {
        let mut command = Command::new("criu");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        CriuServer(command.spawn().expect("start criu"))
    }

    /// Waits for its own end.
    #[track_caller]
    pub fn wait(&mut self) {
        let status = wait_for("the end of criu", || self.0.try_wait().expect("wait for criu"));
        assert!(status.success(), "criu: {status}");
    }
}

impl Drop for CriuServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
