//! Archives to standard output or into a file, as `save` and `export` write them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::{Context, Error, Kind, Result};
use crate::store::record::unique_name;

/// Written at once.
const BUFFER: usize = 1 << 17;

/// Has an archive written: to this path, or to standard output, unless that is a terminal. A file gets its name only when it
/// is whole; what is there and no file (a pipe, a device) is written to.
///
/// # Errors
/// Those of `write`; a terminal; the system's reason.
pub fn write<T>(path: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    match path.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => to_file(path, write),
        None if std::io::stdout().is_terminal() => {
            Err(Error::usage("cowardly refusing to save to a terminal. Use the -o flag or redirect"))
        }
        None => buffered(Stdout(std::io::stdout().lock()), write),
    }
}

/// Standard output, which somebody may not read any more: that is no failure to tell of.
struct Stdout<W>(W);

impl<W: Write> Write for Stdout<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(unread)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unread)
    }
}

fn unread(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::from(error).of(Kind::Unread).into(),
        _ => error,
    }
}

fn buffered<T>(out: impl Write, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let mut out = BufWriter::with_capacity(BUFFER, out);
    let written = write(&mut out)?;
    out.flush().during(|| "write the archive".into())?;
    Ok(written)
}

fn to_file<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let opened = || format!("open {path:?}");
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => return Err(Error::usage("Is a directory")).during(opened),
        Ok(there) if !there.is_file() => {
            return buffered(OpenOptions::new().write(true).open(path).during(opened)?, write);
        }
        _ => {}
    }
    // Through a link, the file that it leads to is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = folder.join(format!(".caisson-save-{}", unique_name()));
    let file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).during(opened)?;
    let written = buffered(file, write).and_then(|written| {
        fs::rename(&new, path).during(|| format!("rename {new:?} to {path:?}"))?;
        Ok(written)
    });
    written.inspect_err(|_| {
        // Nothing half-made stays; why it failed is what counts.
        let _ = fs::remove_file(&new);
    })
}
