//! `--init`: a small init of the host's, bound into the container, that forwards signals and reaps processes.
//!
//! It runs inside, where no library of the host's is: it has to be linked statically.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::bundle::spec::Mount;
use crate::error::{Context, Error, Kind, Result};

/// Where it is inside.
pub const INSIDE: &str = "/sbin/docker-init";
/// Names of such programs, which all take `-- COMMAND`: Docker's, tini's, Podman's.
const NAMES: [&str; 3] = ["docker-init", "tini-static", "catatonit"];
/// Where they are.
const FOLDERS: [&str; 7] = [
    "/usr/local/bin",
    "/usr/bin",
    "/usr/local/libexec/docker",
    "/usr/libexec/docker",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/libexec/podman",
];

/// The mount that shows the host's init inside.
///
/// # Errors
/// There is none, in Docker's words.
pub fn mount() -> Result<Mount> {
    let path = find(&FOLDERS.map(PathBuf::from))?;
    Ok(Mount {
        destination: INSIDE.to_owned(),
        kind: "bind".to_owned(),
        source: path.to_string_lossy().into_owned(),
        options: ["bind", "ro"].map(str::to_owned).to_vec(),
    })
}

fn find(folders: &[PathBuf]) -> Result<PathBuf> {
    for name in NAMES {
        for path in folders.iter().map(|folder| folder.join(name)) {
            let is_program =
                path.metadata().is_ok_and(|stat| stat.is_file() && stat.permissions().mode() & 0o111 != 0);
            if is_program && is_static(&path)? {
                return Ok(path);
            }
        }
    }
    let reason = "executable file not found in $PATH: install tini or catatonit";
    Err(Error::not_found(format!("--init: exec: \"{}\": {reason}", NAMES[0])))
}

/// Needs a program no interpreter? (elf(5): no header of the kind `PT_INTERP`, in files of this machine's class.)
fn is_static(path: &Path) -> Result<bool> {
    const PT_INTERP: u32 = 3;
    const HEADER: usize = 64;
    let words = || format!("read {path:?}");
    let file = File::open(path).during(words)?;
    let mut header = [0; HEADER];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
        result => result.during(words)?,
    }
    if !header.starts_with(b"\x7fELF\x02") {
        return Ok(false);
    }
    let number = |bytes: &[u8]| -> u64 {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        u64::from_ne_bytes(whole)
    };
    // Only little-endian hosts pad at the end; elsewhere the fields are read as what they are not, and refused.
    let (at, size, count) = (number(&header[32..40]), number(&header[54..56]), number(&header[56..58]));
    for index in 0..count {
        let mut kind = [0; 4];
        let place = index.checked_mul(size).and_then(|offset| offset.checked_add(at));
        let place = place.ok_or_else(|| Error::new(Kind::Invalid, "not an ELF file")).during(words)?;
        file.read_exact_at(&mut kind, place).during(words)?;
        if u32::from_ne_bytes(kind) == PT_INTERP {
            return Ok(false);
        }
    }
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn only_a_program_that_needs_no_interpreter_is_taken() {
        let scratch = Scratch::new();
        let folders = [scratch.path().to_owned()];
        let words = find(&folders).unwrap_err().to_string();
        assert!(words.contains("exec: \"docker-init\": executable file not found in $PATH"), "{words}");
        let put = |name: &str, content: &[u8]| {
            let path = scratch.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        put("docker-init", b"#!/bin/sh\n");
        put("tini-static", &std::fs::read("/bin/ls").unwrap());
        assert!(find(&folders).is_err(), "one is a script, one needs libraries");
        // This test itself is linked statically (.cargo/config.toml).
        let own = std::env::current_exe().unwrap();
        if is_static(&own).unwrap() {
            put("catatonit", &std::fs::read(&own).unwrap());
            assert_eq!(find(&folders).unwrap(), scratch.join("catatonit"));
        }
    }
}
