//! What runtimes leave among CRIU's images for each other: `descriptors.json`, in runc's form.

use crate::bail;
use crate::criu::Folder;
use crate::error::{Context, Error, Result};

const NAME: &str = "descriptors.json";
/// Three links of proc_pid_fd(5); a longer file is none of a runtime's.
const LARGEST: usize = 64 * 1024;

/// Writes what standard input, output and error were: the links of proc_pid_fd(5).
///
/// # Errors
/// As openat(2) and write(2).
pub fn write_descriptors(images: &Folder, links: &[String; 3]) -> Result<()> {
    images.write(NAME, &serde_json::to_vec(links).map_err(Error::other)?)
}

/// The pipes and foreign terminals among standard input, output and error, as CRIU names them; `None` for what was
/// neither.
///
/// # Errors
/// Where the file is missing or is not of a runtime: images come from anywhere.
pub fn read_foreign(images: &Folder) -> Result<[Option<String>; 3]> {
    let bytes = images.read(NAME, LARGEST).context(|| "the images are of no container")?;
    let step = || format!("{:?}", images.path().join(NAME));
    let links: Vec<String> = serde_json::from_slice(&bytes).map_err(Error::other).context(step)?;
    if links.len() > 3 {
        bail!("{}: more than three descriptors", step());
    }
    let mut foreign = [const { None }; 3];
    for (foreign, link) in foreign.iter_mut().zip(links) {
        if is_pipe(&link) || is_terminal(&link) {
            *foreign = Some(link);
        }
    }
    Ok(foreign)
}

fn is_pipe(link: &str) -> bool {
    let number = link.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

fn is_terminal(link: &str) -> bool {
    let numbers = link.strip_prefix("tty[").and_then(|rest| rest.strip_suffix(']')?.split_once(':'));
    numbers.is_some_and(|(rdev, dev)| [rdev, dev].iter().all(|hex| u64::from_str_radix(hex, 16).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::tests::TempDir;

    #[test]
    fn pipes_and_terminals_are_told_from_files() {
        let dir = TempDir::new();
        let folder = Folder::open(dir.path()).unwrap();
        let error = read_foreign(&folder).unwrap_err().to_string();
        assert!(error.starts_with("the images are of no container: open("), "{error}");
        let links = ["/dev/null", "pipe:[17]", "pipe:[x]"].map(str::to_owned);
        write_descriptors(&folder, &links).unwrap();
        assert_eq!(folder.read(NAME, 100).unwrap(), br#"["/dev/null","pipe:[17]","pipe:[x]"]"#);
        assert_eq!(read_foreign(&folder).unwrap(), [None, Some("pipe:[17]".to_owned()), None]);
        let links = ["tty[8800:1a]", "tty[8800]", "tty[x:1]"].map(str::to_owned);
        write_descriptors(&folder, &links).unwrap();
        assert_eq!(read_foreign(&folder).unwrap(), [Some("tty[8800:1a]".to_owned()), None, None]);
    }

    #[test]
    fn a_file_that_is_made_up_is_refused() {
        let dir = TempDir::new();
        let folder = Folder::open(dir.path()).unwrap();
        for content in ["", "{}", r#"["a","b","c","d"]"#, "[1]"] {
            folder.write(NAME, content.as_bytes()).unwrap();
            let error = read_foreign(&folder).unwrap_err().to_string();
            assert!(error.contains("descriptors.json"), "{content}: {error}");
        }
    }
}
