//! Who this program is.

/// The program's version (SemVer) with its name as build metadata, which no comparison of versions counts.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+caisson");

/// The program's own name.
pub const NAME: &str = "caisson";

/// The commit it was built from, "unknown" where the build could not tell.
pub const COMMIT: &str = env!("CAISSON_COMMIT");

/// What `--version` prints.
///
/// The form is what three readers can use. go-runc (containerd, BuildKit) takes the version only from a
/// first line that begins with `runc version `, then `commit: ` and `spec: `; dockerd splits every line
/// that contains the word "version" into name and version, so no other line may contain it; nerdctl shows
/// the first lines as they are. What the program really is stands in the version itself and below.
pub fn version_text() -> String {
    format!(
        "runc version {VERSION}\ncommit: {COMMIT}\nspec: {}\nruntime: {NAME} (takes runc's place, shares no code with it)\n",
        crate::spec::VERSION
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_runc_and_dockerd_can_read_it() {
        let text = version_text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].strip_prefix("runc version ").is_some_and(|rest| rest.starts_with("0.")));
        assert!(lines[1].starts_with("commit: "));
        assert_eq!(lines[2], "spec: 1.3.0");
        assert_eq!(lines.iter().filter(|line| line.contains("version")).count(), 1);
    }
}
