//! The data of a file into another: holes stay holes, and where the file system can, the data is shared
//! (copy_file_range(2), lseek(2) with SEEK_DATA).

use std::os::fd::OwnedFd;

use rustix::fs::{self, SeekFrom};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// What is copied at once where the kernel does not do it, in bytes.
const BUFFER: usize = 1 << 17;
/// What the kernel is asked for at once, in bytes.
const AT_ONCE: usize = 1 << 30;

/// Copies the first `size` bytes into an empty file, which has that size then; how many there were, if somebody has made
/// the file shorter meanwhile.
///
/// # Errors
/// The system's reason.
pub fn copy(from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<u64> {
    fs::ftruncate(to, size).during(|| "ftruncate".into())?;
    let mut end = 0;
    while end < size {
        let begin = match fs::seek(from, SeekFrom::Data(end)) {
            Ok(begin) => begin.min(size),
            // Nothing but a hole is left, or nothing at all.
            Err(Errno::NXIO) => {
                let now = fs::fstat(from).during(|| "fstat".into())?.st_size;
                return cut(to, u64::try_from(now).unwrap_or_default().clamp(end, size));
            }
            // A file system that does not know its holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => end,
            Err(errno) => return Err(errno).during(|| "lseek".into()),
        };
        let hole = match fs::seek(from, SeekFrom::Hole(begin)) {
            Ok(hole) => hole.min(size),
            Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => size,
            Err(errno) => return Err(errno).during(|| "lseek".into()),
        };
        let reached = range(from, to, begin, hole)?;
        if reached < hole {
            return cut(to, reached);
        }
        end = hole.max(begin);
    }
    Ok(size)
}

fn cut(to: &OwnedFd, size: u64) -> Result<u64> {
    fs::ftruncate(to, size).during(|| "ftruncate".into())?;
    Ok(size)
}

/// Up to where there was something.
fn range(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> Result<u64> {
    let mut buffer = Vec::new();
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(AT_ONCE);
        let (mut off_in, mut off_out) = (at, at);
        let copied = if buffer.is_empty() {
            fs::copy_file_range(from, Some(&mut off_in), to, Some(&mut off_out), wanted)
        } else {
            Err(Errno::XDEV)
        };
        let count = match copied {
            Ok(count) => count,
            // Not between these file systems, or not by this kernel.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                buffer.resize(BUFFER, 0);
                let wanted = wanted.min(buffer.len());
                let count = rustix::io::pread(from, &mut buffer[..wanted], at).during(|| "read".into())?;
                let mut written = 0;
                while written < count {
                    written += rustix::io::pwrite(to, &buffer[written..count], at + written as u64)
                        .during(|| "write".into())?;
                }
                count
            }
            Err(errno) => return Err(errno).during(|| "copy_file_range".into()),
        };
        if count == 0 {
            break;
        }
        at += count as u64;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::fs::File;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    #[test]
    fn holes_stay_holes_and_a_file_that_became_shorter_is_told() {
        let scratch = Scratch::new();
        let make = |name: &str| {
            let path = scratch.join(name);
            File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap()
        };
        let source = make("source");
        source.write_all_at(b"begin", 0).unwrap();
        source.write_all_at(b"middle", 1 << 30).unwrap();
        source.set_len(4 << 30).unwrap();
        let source = OwnedFd::from(source);
        let target = OwnedFd::from(make("target"));
        assert_eq!(copy(&source, &target, 4 << 30).unwrap(), 4 << 30);
        let target = File::from(target);
        let mut text = [0; 6];
        target.read_exact_at(&mut text, 1 << 30).unwrap();
        assert_eq!(&text, b"middle");
        let stat = target.metadata().unwrap();
        assert!(stat.len() == 4 << 30 && stat.blocks() < 1 << 10, "{} blocks", stat.blocks());
        let short = make("short");
        short.write_all_at(b"abc", 0).unwrap();
        assert_eq!(copy(&short.into(), &make("shorter").into(), 10).unwrap(), 3);
        assert_eq!(std::fs::read(scratch.join("shorter")).unwrap(), b"abc");
    }
}
