//! A container on one line, in Docker's words: what it is doing, its command, its image. Pure.
//!
//! Docker's words are those of its daemon (`docker ps`, "Filtering" and "Format the output" of its manual).

use jiff::Timestamp;

use crate::container::record::Container;
use crate::container::state::{State, Status};
use crate::digest::Digest;
use crate::network::NAMES_ONLY;
use crate::output::human;
use crate::reference::Reference;
use crate::store::image::{Found, Images};

/// Characters of a command that are shown, with the sign for what is left out.
const COMMAND: usize = 20;
/// Characters of a mount.
const MOUNT: usize = 15;
/// Digits of an id.
const ID: usize = 12;

/// `Up 4 seconds (healthy)`, `Exited (0) 2 minutes ago`, …
#[must_use]
pub fn status(state: &State, now: Timestamp) -> String {
    let since = |moment: &str| {
        let moment: Option<Timestamp> = moment.parse().ok();
        human::duration(moment.map_or(0, |moment| now.as_second().saturating_sub(moment.as_second())))
    };
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => match state.health.as_ref().map(|health| health.status.as_str()) {
            None | Some("" | "none") => format!("Up {}", since(&state.started_at)),
            Some("starting") => format!("Up {} (health: starting)", since(&state.started_at)),
            Some(health) => format!("Up {} ({health})", since(&state.started_at)),
        },
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", state.exit_code, since(&state.finished_at))
        }
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(&state.finished_at)),
    }
}

/// The command in quotes, as Docker shows it.
#[must_use]
pub fn command(container: &Container, is_short: bool) -> String {
    let mut words = container.path.clone();
    for arg in &container.args {
        words.push(' ');
        if arg.contains(' ') {
            words.push_str(&format!("'{arg}'"));
        } else {
            words.push_str(arg);
        }
    }
    if is_short {
        words = shortened(&words, COMMAND);
    }
    quoted(&words)
}

/// The first characters, and a sign for what is left out.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// As Go's `strconv.Quote` has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            char if char.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(char))),
            char if char.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// The image's name as it was given, or its id if that name means another one by now.
#[must_use]
pub fn image(container: &Container, images: &Images, is_short: bool) -> String {
    let given = &container.config.image;
    let short = |id: &Digest| if is_short { id.short().to_owned() } else { id.to_string() };
    match images.find(given) {
        Ok(Found::Name(id, _)) if id != container.image => short(&container.image),
        Ok(Found::Name(..)) => match Reference::parse(given) {
            // A digest says nothing to people.
            Ok(name) if is_short && name.digest().is_some() => name.familiar_name(),
            _ => given.clone(),
        },
        Ok(Found::Id(_)) if is_short => short(&container.image),
        Ok(Found::Id(_)) => given.clone(),
        // The image is gone: whatever it was called, it is this one.
        Err(_) if is_hex(given) => short(&container.image),
        Err(_) => given.clone(),
    }
}

fn is_hex(word: &str) -> bool {
    let word = word.strip_prefix("sha256:").unwrap_or(word);
    word.len() >= ID && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The id, or its first digits.
#[must_use]
pub fn id(container: &Container, is_short: bool) -> &str {
    if is_short { container.id.get(..ID).unwrap_or(&container.id) } else { &container.id }
}

/// Volumes by their names and all else by where it is on the host.
#[must_use]
pub fn mounts(container: &Container, is_short: bool) -> String {
    let name = |mount: &crate::container::record::MountPoint| {
        let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
        if is_short { shortened(name, MOUNT) } else { name.clone() }
    };
    // A tmpfs is of no place.
    let shown = container.mounts.iter().map(name).filter(|name| !name.is_empty());
    shown.collect::<Vec<_>>().join(",")
}

/// `name=value`, in order.
#[must_use]
pub fn labels(container: &Container) -> String {
    let label = |(name, value): (&String, &String)| format!("{name}={value}");
    container.config.labels.iter().map(label).collect::<Vec<_>>().join(",")
}

/// What it is connected to, by name.
#[must_use]
pub fn networks(container: &Container) -> Vec<&str> {
    match container.host_config.network_mode.as_str() {
        // It has none of its own.
        mode if mode.starts_with("container:") => Vec::new(),
        "" => vec!["none"],
        mode if NAMES_ONLY.contains(&mode) => vec![mode],
        _ => container.endpoints.keys().map(String::as_str).collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::container::record::MountPoint;
    use crate::container::state::Health;

    /// A container of this name.
    pub(crate) fn container(name: &str) -> Container {
        Container {
            id: "ab".repeat(32),
            name: name.to_owned(),
            created: "2026-01-01T00:00:00Z".to_owned(),
            image: Digest::of(b"image"),
            layers: Vec::new(),
            path: "sh".to_owned(),
            args: Vec::new(),
            config: crate::container::config::Config { image: "box:1".to_owned(), ..Default::default() },
            host_config: crate::container::host_config::HostConfig::default(),
            mounts: Vec::new(),
            endpoints: std::collections::BTreeMap::new(),
            runtime_path: "/usr/bin/runtime".into(),
            mount_label: String::new(),
            process_label: String::new(),
            app_armor_profile: String::new(),
        }
    }

    #[test]
    fn what_it_is_doing_is_told_in_dockers_words() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut state = State {
            started_at: "2026-01-01T00:59:56Z".to_owned(),
            finished_at: "2026-01-01T00:58:00.5Z".to_owned(),
            exit_code: 7,
            ..State::default()
        };
        for (status, told) in [
            (Status::Created, "Created"),
            (Status::Running, "Up 4 seconds"),
            (Status::Paused, "Up 4 seconds (Paused)"),
            (Status::Restarting, "Restarting (7) 2 minutes ago"),
            (Status::Removing, "Removal In Progress"),
            (Status::Exited, "Exited (7) 2 minutes ago"),
            (Status::Dead, "Dead"),
        ] {
            state.status = status;
            assert_eq!(super::status(&state, now), told);
        }
        state.status = Status::Running;
        for (health, told) in [
            ("starting", "Up 4 seconds (health: starting)"),
            ("unhealthy", "Up 4 seconds (unhealthy)"),
            ("none", "Up 4 seconds"),
        ] {
            state.health = Some(Health { status: health.to_owned(), ..Health::default() });
            assert_eq!(super::status(&state, now), told);
        }
    }

    #[test]
    fn a_command_is_shown_as_docker_does() {
        let mut container = container("web");
        assert_eq!(command(&container, true), "\"sh\"");
        container.args = ["-c".to_owned(), "echo \"a\tb\"\n".to_owned()].to_vec();
        assert_eq!(command(&container, false), "\"sh -c 'echo \\\"a\\tb\\\"\\n'\"");
        assert_eq!(command(&container, true), "\"sh -c 'echo \\\"a\\tb\\\"\\n'\"");
        container.path = "/docker-entrypoint.sh".to_owned();
        assert_eq!(command(&container, true), "\"/docker-entrypoint.…\"");
    }

    #[test]
    fn mounts_and_labels_are_lists() {
        let mut container = container("web");
        let mount = |name: &str, source: &str| MountPoint {
            name: name.to_owned(),
            source: source.to_owned(),
            ..MountPoint::default()
        };
        container.mounts = vec![mount("", "/a/path/that/is/long"), mount("data", "/x"), mount("", "")];
        assert_eq!(mounts(&container, true), "/a/path/that/i…,data");
        assert_eq!(mounts(&container, false), "/a/path/that/is/long,data");
        container.config.labels = [("b".to_owned(), "2".to_owned()), ("a".to_owned(), String::new())].into();
        assert_eq!(labels(&container), "a=,b=2");
    }
}
