//! What docker(1) and podman(1) have in common: their command line.

use crate::engine::{World, image};
use crate::scratch::unique_name;
use crate::{Call, Output, wait_for};

/// The image that every engine has: busybox.
pub const IMAGE: &str = "box";

/// An engine with docker's command line.
pub trait Client {
    /// Its program.
    const PROGRAM: &str;

    /// The capabilities of a container that asks for nothing, as a mask.
    const USUAL_CAPABILITIES: u64;

    /// The capabilities that the engine knows of, and gives to a privileged container.
    const ALL_CAPABILITIES: u64;

    /// Where it runs.
    fn world(&self) -> &World;

    /// A call of its command line.
    fn call(&self, args: &[&str]) -> Call {
        self.world().call(&[Self::PROGRAM]).args(args)
    }

    /// A command, run to its end.
    #[track_caller]
    fn cli(&self, args: &[&str]) -> Output {
        self.call(args).output()
    }

    /// Imports [`IMAGE`].
    #[track_caller]
    fn import(&self) {
        let import = ["import", "--change", "ENV PATH=/bin", "--change", "CMD [\"sh\"]", "-", IMAGE];
        self.call(&import).stdin_from(image::open_archive()).output().expect_ok();
    }

    /// `run --rm OPTIONS box sh -c SCRIPT`.
    #[track_caller]
    fn sh(&self, options: &[&str], script: &str) -> Output {
        let words = [&["run", "--rm"], options, &[IMAGE, "sh", "-c", script]].concat();
        self.cli(&words)
    }

    /// What such a script printed, without the newline at its end; panics unless it ended with 0.
    #[track_caller]
    fn in_container(&self, options: &[&str], script: &str) -> String {
        self.sh(options, script).expect_ok().stdout.trim_end_matches('\n').to_owned()
    }

    /// `run --detach OPTIONS box sh -c SCRIPT`; the container's name.
    #[track_caller]
    fn detached(&self, options: &[&str], script: &str) -> String {
        let name = unique_name();
        let words = [&["run", "--detach", "--name", &name], options, &[IMAGE, "sh", "-c", script]].concat();
        self.cli(&words).expect_ok();
        name
    }

    /// A field of `inspect`, by a template such as `.State.Status`.
    #[track_caller]
    fn inspect(&self, name: &str, field: &str) -> String {
        let format = format!("{{{{{field}}}}}");
        self.cli(&["inspect", "--format", &format, name]).expect_ok().stdout.trim_end().to_owned()
    }

    /// Waits until a field of `inspect` has a value.
    #[track_caller]
    fn wait_inspect(&self, name: &str, field: &str, value: &str) {
        wait_for(&format!("{field} {value} of {name}"), || {
            (self.inspect(name, field) == value).then_some(())
        });
    }

    /// Waits until a container has logged this.
    #[track_caller]
    fn wait_logs(&self, name: &str, text: &str) {
        wait_for(&format!("{text:?} in the log of {name}"), || {
            self.cli(&["logs", name]).expect_ok().stdout.contains(text).then_some(())
        });
    }

    /// Panics unless there is no container.
    #[track_caller]
    fn expect_empty(&self) {
        self.cli(&["ps", "--all", "--quiet"]).expect_ok().expect_stdout("");
    }
}
