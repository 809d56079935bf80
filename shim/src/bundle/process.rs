//! `process`: what is run, with which environment, where. Pure.

use crate::bundle::account::Account;
use crate::bundle::defaults;
use crate::bundle::options::Options;
use crate::error::{Error, Result};
use crate::image::config::Execution;

/// The command line: `ENTRYPOINT` and `CMD` of the image, and what the user says instead.
///
/// # Errors
/// Docker's `no command specified`.
pub fn args(image: &Execution, options: &Options) -> Result<Vec<String>> {
    let command = match (&options.entrypoint, options.command.is_empty()) {
        // The image's CMD are the words for the image's ENTRYPOINT.
        (Some(_), true) => &[][..],
        (None, true) => image.cmd.as_deref().unwrap_or_default(),
        (_, false) => &options.command,
    };
    let entrypoint = match &options.entrypoint {
        Some(word) if word.is_empty() => &[][..],
        Some(word) => std::slice::from_ref(word),
        None => image.entrypoint.as_deref().unwrap_or_default(),
    };
    let args: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    match args.first() {
        None => Err(Error::usage("no command specified")),
        Some(program) if program.is_empty() => {
            Err(Error::usage("no command specified: its first word is empty"))
        }
        Some(_) => refuse_nul("command", &args).map(|()| args),
    }
}

/// The environment: Docker's, then the image's, then the user's.
///
/// # Errors
/// A variable of the image without a name.
pub fn env(image: &Execution, options: &Options, account: &Account, hostname: &str) -> Result<Vec<String>> {
    let mut env = vec![defaults::PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if options.terminal {
        env.push("TERM=xterm".to_owned());
    }
    for variable in image.env.iter().flatten() {
        match variable.split_once('=') {
            Some(("", _)) => {
                return Err(Error::invalid(format!("env of the image: {variable:?} has no name")));
            }
            Some((name, value)) => set(&mut env, name, Some(value)),
            None => set(&mut env, variable, None),
        }
    }
    for (name, value) in &options.env {
        set(&mut env, name, value.as_deref());
    }
    // Runtimes look it up otherwise, in a file that by then the container may have changed.
    if !env.iter().any(|known| known.starts_with("HOME=")) {
        env.push(format!("HOME={}", account.home));
    }
    refuse_nul("env", &env).map(|()| env)
}

/// Sets a variable where it stands, or behind the others; without a value it is taken away.
fn set(env: &mut Vec<String>, name: &str, value: Option<&str>) {
    let at = env.iter().position(|known| known.split_once('=').is_some_and(|(known, _)| known == name));
    match (at, value) {
        (Some(at), Some(value)) => env[at] = format!("{name}={value}"),
        (Some(at), None) => drop(env.remove(at)),
        (None, Some(value)) => env.push(format!("{name}={value}")),
        (None, None) => {}
    }
}

/// The current folder, absolute and clean.
///
/// # Errors
/// A relative one of the user's, in Docker's words.
pub fn cwd(image: &Execution, options: &Options) -> Result<String> {
    let path = match (&options.workdir, image.working_dir.as_deref()) {
        (Some(path), _) if !path.starts_with('/') => {
            return Err(Error::usage(format!(
                "the working directory '{path}' is invalid, it needs to be an absolute path"
            )));
        }
        (Some(path), _) => path,
        (None, Some(path)) => path,
        (None, None) => "/",
    };
    refuse_nul("working directory", &[path.to_owned()])?;
    Ok(clean(path))
}

/// Absolute, without `.`, `..` and extra slashes, as Go's `path.Clean` has it.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The kernel would cut it off there.
fn refuse_nul(what: &str, words: &[String]) -> Result<()> {
    match words.iter().find(|word| word.contains('\0')) {
        Some(word) => Err(Error::invalid(format!("{what}: a NUL in {word:?}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn entrypoint_and_command_are_put_together_as_docker_does() {
        let image = Execution {
            entrypoint: Some(words(&["/entry", "-x"])),
            cmd: Some(words(&["serve"])),
            ..Execution::default()
        };
        let with = |entrypoint: Option<&str>, command: &[&str]| {
            let options = Options {
                entrypoint: entrypoint.map(str::to_owned),
                command: words(command),
                ..Options::default()
            };
            args(&image, &options).map_err(|error| error.to_string())
        };
        assert_eq!(with(None, &[]), Ok(words(&["/entry", "-x", "serve"])));
        assert_eq!(with(None, &["a", ""]), Ok(words(&["/entry", "-x", "a", ""])));
        assert_eq!(with(Some("/other"), &[]), Ok(words(&["/other"])));
        assert_eq!(with(Some("/other"), &["a"]), Ok(words(&["/other", "a"])));
        assert_eq!(with(Some(""), &["a"]), Ok(words(&["a"])));
        assert_eq!(with(Some(""), &[]), Err("no command specified".into()));
        assert!(with(Some(""), &["", "x"]).is_err());
        assert!(with(None, &["a\0b"]).unwrap_err().contains("NUL"));
        assert!(args(&Execution::default(), &Options::default()).is_err());
    }

    #[test]
    fn the_users_environment_goes_before_the_images_before_dockers() {
        let account = Account { uid: 0, gid: 0, groups: vec![], home: "/root".into() };
        let image = Execution {
            env: Some(words(&["PATH=/image", "A=1", "B=2", "C=x=y", "EMPTY=", "HOSTNAME"])),
            ..Execution::default()
        };
        let options = Options {
            env: vec![
                ("B".into(), Some("two".into())),
                ("A".into(), None),
                ("NEW".into(), Some(String::new())),
            ],
            terminal: true,
            ..Options::default()
        };
        let env = |image: &Execution, options: &Options| env(image, options, &account, "host").unwrap();
        assert_eq!(
            env(&image, &options),
            ["PATH=/image", "TERM=xterm", "B=two", "C=x=y", "EMPTY=", "NEW=", "HOME=/root"]
        );
        let home = Options { env: vec![("HOME".into(), Some("/h".into()))], ..Options::default() };
        assert_eq!(env(&Execution::default(), &home), [defaults::PATH, "HOSTNAME=host", "HOME=/h"]);
        let nameless = Execution { env: Some(words(&["=x"])), ..Execution::default() };
        assert!(super::env(&nameless, &Options::default(), &account, "h").is_err());
    }

    #[test]
    fn the_current_folder_is_absolute() {
        let with = |image: Option<&str>, user: Option<&str>| {
            let image = Execution { working_dir: image.map(str::to_owned), ..Execution::default() };
            let options = Options { workdir: user.map(str::to_owned), ..Options::default() };
            cwd(&image, &options).map_err(|error| error.to_string())
        };
        for (image, user, wanted) in [
            (None, None, "/"),
            (Some(""), None, "/"),
            (Some("srv/app"), None, "/srv/app"),
            (Some("/a/../../b/./c//"), None, "/b/c"),
            (Some("/a"), Some("/w"), "/w"),
        ] {
            assert_eq!(with(image, user), Ok(wanted.to_owned()));
        }
        let error = with(None, Some("w")).unwrap_err();
        assert_eq!(error, "the working directory 'w' is invalid, it needs to be an absolute path");
    }
}
