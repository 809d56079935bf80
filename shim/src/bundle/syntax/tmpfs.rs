//! `--tmpfs`, and the options of a file system in memory.

use crate::bundle::spec::Mount;
use crate::error::{Error, Result};

/// Reads `--tmpfs DESTINATION[:OPTIONS]`; Docker's `noexec,nosuid,nodev` hold where nothing else is said.
///
/// # Errors
/// An option that tmpfs(5) and mount(8) do not know.
pub fn tmpfs(text: &str) -> Result<Mount> {
    let (destination, given) = text.split_once(':').unwrap_or((text, ""));
    if !destination.starts_with('/') {
        return Err(Error::invalid(format!(
            "invalid mount path: '{destination}' mount path must be absolute"
        )));
    }
    // The last of two that contradict each other counts.
    let opposites = [
        ["ro", "rw"],
        ["nosuid", "suid"],
        ["nodev", "dev"],
        ["noexec", "exec"],
        ["sync", "async"],
        ["noatime", "atime"],
    ];
    let mut options = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
    for option in given.split(',').filter(|option| !option.is_empty()) {
        let replaced: Vec<&str> = match option.split_once('=') {
            None => opposites
                .iter()
                .find(|pair| pair.contains(&option))
                .map(|pair| pair.to_vec())
                .unwrap_or_default(),
            Some(_) => Vec::new(),
        };
        let known = match option.split_once('=') {
            None => {
                !replaced.is_empty()
                    || matches!(option, "strictatime" | "relatime" | "nodiratime" | "diratime")
            }
            Some((key, value)) => {
                let is_key = matches!(
                    key,
                    "size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge"
                );
                options.retain(|known| known.split_once('=').is_none_or(|(other, _)| other != key));
                is_key && !value.is_empty()
            }
        };
        if !known {
            return Err(Error::invalid(format!("Invalid tmpfs option {option:?}")));
        }
        options.retain(|known| !replaced.contains(&known.as_str()) && known != option);
        options.push(option.to_owned());
    }
    options.push("rprivate".to_owned());
    Ok(Mount {
        destination: destination.to_owned(),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tmpfs_has_dockers_options_unless_told_otherwise() {
        let options = |text: &str| tmpfs(text).map(|mount| mount.options.join(","));
        assert_eq!(options("/t").unwrap(), "noexec,nosuid,nodev,rprivate");
        assert_eq!(
            options("/t:exec,size=64m,mode=755,size=1m").unwrap(),
            "nosuid,nodev,exec,mode=755,size=1m,rprivate"
        );
        assert_eq!(options("/t:ro,rw,nosuid").unwrap(), "noexec,nodev,rw,nosuid,rprivate");
        for text in ["/t:foo", "/t:size=", "/t:lowerdir=/", "t"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }
}
