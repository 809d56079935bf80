//! What is said to CRIU and what it answers (criu.org/RPC; images/rpc.proto of its source, which is under the MIT
//! licence): the requests and options that the runtime uses, by their numbers there.

use super::wire::{Reader, Writer};
use crate::error::{Error, Result};

/// `criu_req_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Dump, then end or leave running.
    Dump = 1,
    /// Restore.
    Restore = 2,
    /// Dump memory only; the processes run on.
    PreDump = 4,
    /// CRIU tells where it is, and waits for an answer.
    Notify = 6,
    /// Which of the features asked for CRIU and the kernel have.
    FeatureCheck = 9,
    /// Which version it is.
    Version = 10,
}

/// Numbers of the fields of `criu_opts`.
pub mod option {
    #![allow(missing_docs)] // the names are CRIU's
    pub const IMAGES_DIR_FD: u32 = 1;
    pub const PID: u32 = 2;
    pub const LEAVE_RUNNING: u32 = 3;
    pub const EXT_UNIX_SK: u32 = 4;
    pub const TCP_ESTABLISHED: u32 = 5;
    pub const EVASIVE_DEVICES: u32 = 6;
    pub const SHELL_JOB: u32 = 7;
    pub const FILE_LOCKS: u32 = 8;
    pub const LOG_LEVEL: u32 = 9;
    pub const LOG_FILE: u32 = 10;
    pub const PAGE_SERVER: u32 = 11;
    pub const NOTIFY_SCRIPTS: u32 = 12;
    pub const ROOT: u32 = 13;
    pub const PARENT_IMG: u32 = 14;
    pub const TRACK_MEM: u32 = 15;
    pub const AUTO_DEDUP: u32 = 16;
    pub const WORK_DIR_FD: u32 = 17;
    pub const LINK_REMAP: u32 = 18;
    pub const EXT_MNT: u32 = 23;
    pub const MANAGE_CGROUPS: u32 = 24;
    pub const CG_ROOT: u32 = 25;
    pub const RST_SIBLING: u32 = 26;
    pub const INHERIT_FD: u32 = 27;
    pub const MANAGE_CGROUPS_MODE: u32 = 34;
    pub const EXTERNAL: u32 = 37;
    pub const EMPTY_NS: u32 = 38;
    pub const JOIN_NS: u32 = 39;
    pub const FREEZE_CGROUP: u32 = 44;
    pub const TIMEOUT: u32 = 45;
    pub const TCP_SKIP_IN_FLIGHT: u32 = 46;
    pub const LAZY_PAGES: u32 = 48;
    pub const STATUS_FD: u32 = 49;
    pub const ORPHAN_PTS_MASTER: u32 = 50;
    pub const CONFIG_FILE: u32 = 51;
    pub const LSM_PROFILE: u32 = 53;
    pub const LSM_MOUNT_CONTEXT: u32 = 63;
    pub const MNTNS_COMPAT_MODE: u32 = 65;
}

/// `criu_opts` under construction.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Options(Writer);

impl Options {
    /// Sets a switch that is on; an absent one is off.
    pub fn switch(&mut self, option: u32, on: bool) -> &mut Self {
        if on {
            self.0.truth(option, true);
        }
        self
    }

    /// Sets a number.
    pub fn number(&mut self, option: u32, value: impl Into<i64>) -> &mut Self {
        self.0.number(option, value.into());
        self
    }

    /// Sets a text, or adds it to a list of texts.
    pub fn text(&mut self, option: u32, value: &str) -> &mut Self {
        self.0.text(option, value);
        self
    }

    /// Adds a pair of texts: `ext_mount_map`, `cgroup_root`, `join_namespace`.
    pub fn pair(&mut self, option: u32, first: &str, second: &str) -> &mut Self {
        let mut pair = Writer::default();
        pair.text(1, first).text(2, second);
        self.0.message(option, &pair);
        self
    }

    /// Adds a text with a number: `inherit_fd`, `criu_page_server_info`.
    pub fn text_with_number(&mut self, option: u32, text: &str, number: i32) -> &mut Self {
        let mut pair = Writer::default();
        pair.text(1, text).number(2, number.into());
        self.0.message(option, &pair);
        self
    }
}

/// Features of CRIU and the kernel together (`criu_features`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Memory that was written since the last dump can be told from the rest.
    pub mem_track: bool,
    /// Pages can be delivered when they are used (userfaultfd(2)).
    pub lazy_pages: bool,
}

/// A request with options.
pub fn request(kind: Kind, options: &Options) -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, kind as i64).message(2, &options.0);
    request.into_bytes()
}

/// The question after the version.
pub fn ask_version() -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, Kind::Version as i64);
    request.into_bytes()
}

/// The question after features.
pub fn ask_features(wanted: Features) -> Vec<u8> {
    let (mut request, mut features) = (Writer::default(), Writer::default());
    features.truth(1, wanted.mem_track).truth(2, wanted.lazy_pages);
    request.number(1, Kind::FeatureCheck as i64).message(5, &features);
    request.into_bytes()
}

/// The answer to a notification: CRIU may go on.
pub fn go_on() -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, Kind::Notify as i64).truth(3, true);
    request.into_bytes()
}

/// A version of CRIU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub i64, pub i64, pub i64);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)?;
        if self.2 == 0 { Ok(()) } else { write!(f, ".{}", self.2) }
    }
}

/// `criu_resp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// `criu_req_type` as a number.
    pub kind: i64,
    /// Whether what was asked for is done, or goes well so far.
    pub success: bool,
    /// Where CRIU is, of a notification.
    pub script: String,
    /// The process that the notification or the restore is about, in the runtime's pid namespace.
    pub pid: i32,
    /// What went wrong, as errno.
    pub errno: i32,
    /// What went wrong, in words.
    pub message: String,
    /// What is there.
    pub features: Features,
    /// The version.
    pub version: Version,
}

impl Response {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is no answer.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut response = Self::default();
        let number = |value: i64| {
            i32::try_from(value).map_err(|_| Error::other(format!("criu: {value} is out of range")))
        };
        Reader(bytes).fields(|field, value| {
            match field {
                1 => response.kind = value.number(),
                2 => response.success = value.number() != 0,
                4 => Reader(value.bytes()).fields(|field, value| {
                    if field == 1 {
                        response.pid = number(value.number())?;
                    }
                    Ok(())
                })?,
                5 => Reader(value.bytes()).fields(|field, value| {
                    match field {
                        1 => response.script = value.text(),
                        2 => response.pid = number(value.number())?,
                        _ => {}
                    }
                    Ok(())
                })?,
                7 => response.errno = number(value.number())?,
                8 => Reader(value.bytes()).fields(|field, value| {
                    match field {
                        1 => response.features.mem_track = value.number() != 0,
                        2 => response.features.lazy_pages = value.number() != 0,
                        _ => {}
                    }
                    Ok(())
                })?,
                9 => response.message = value.text(),
                10 => Reader(value.bytes()).fields(|field, value| {
                    match field {
                        1 => response.version.0 = value.number(),
                        2 => response.version.1 = value.number(),
                        4 => response.version.2 = value.number(),
                        _ => {}
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_criu_is_read() {
        // As `criu swrk` 3.17.1 answers the question after the version.
        let bytes = b"\x08\x0a\x10\x01\x52\x06\x08\x03\x10\x11\x20\x01";
        let response = Response::parse(bytes).unwrap();
        assert_eq!((response.kind, response.success), (Kind::Version as i64, true));
        assert_eq!(response.version, Version(3, 17, 1));
        assert_eq!(response.version.to_string(), "3.17.1");
        assert!(response.version > Version(3, 14, 9));
        assert_eq!(Version(4, 0, 0).to_string(), "4.0");
    }

    #[test]
    fn a_notification_and_a_failure_are_read() {
        let mut inner = Writer::default();
        inner.text(1, "post-restore").number(2, 42);
        let mut outer = Writer::default();
        outer.number(1, 6).truth(2, true).message(5, &inner);
        let response = Response::parse(&outer.into_bytes()).unwrap();
        assert_eq!((response.script.as_str(), response.pid), ("post-restore", 42));
        let mut failed = Writer::default();
        failed.number(1, 1).truth(2, false).number(7, 13).text(9, "no way");
        let response = Response::parse(&failed.into_bytes()).unwrap();
        assert!(!response.success);
        assert_eq!((response.errno, response.message.as_str()), (13, "no way"));
        let mut wrong = Writer::default();
        wrong.number(7, 1 << 40);
        assert_eq!(
            Response::parse(&wrong.into_bytes()).unwrap_err().to_string(),
            "criu: 1099511627776 is out of range"
        );
    }

    #[test]
    fn requests_have_the_bytes_of_the_protocol() {
        let mut options = Options::default();
        options.number(option::PID, 7).switch(option::LEAVE_RUNNING, true).switch(option::SHELL_JOB, false);
        options.pair(option::EXT_MNT, "a", "b").text_with_number(option::INHERIT_FD, "k", 5);
        assert_eq!(
            request(Kind::Dump, &options),
            b"\x08\x01\x12\x15\x10\x07\x18\x01\xba\x01\x06\x0a\x01a\x12\x01b\xda\x01\x05\x0a\x01k\x10\x05"
        );
        assert_eq!(ask_version(), b"\x08\x0a");
        assert_eq!(go_on(), b"\x08\x06\x18\x01");
        let wanted = Features { mem_track: true, lazy_pages: false };
        assert_eq!(ask_features(wanted), b"\x08\x09\x2a\x04\x08\x01\x10\x00");
    }
}
