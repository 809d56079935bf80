//! `shim login`

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::cli::flags::{Arity, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::error::{Context, Error, Kind, Result};
use crate::output;
use crate::reference::{DEFAULT_REGISTRY, registry_is_valid};
use crate::registry::cancel::Cancel;
use crate::registry::client::{Client, Network, Patience};
use crate::registry::credentials::{ConfigFile, Credentials};
use crate::registry::settings::{self, Settings};
use crate::signals;

pub(super) const VERB: Verb = Verb {
    names: &["login"],
    about: "Authenticate to a registry",
    form: Form {
        usage: "[OPTIONS] [SERVER]",
        flags: &[&[
            value("password", "string", "Password or Personal Access Token (PAT)").short('p'),
            switch("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
            value("username", "string", "Username").short('u'),
        ]],
        arity: Arity::AtMost(1),
        flags_end_at_argument: false,
    },
    run,
};

/// Longest password that is read, in bytes.
const PASSWORD_MAX: u64 = 1 << 20;

/// The registry that a word on the command line means: a host, or its address as Docker's files have it.
///
/// # Errors
/// It is neither.
pub(super) fn server(word: Option<&str>) -> Result<String> {
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(DEFAULT_REGISTRY.to_owned()) };
    let bare = word.strip_prefix("https://").or_else(|| word.strip_prefix("http://")).unwrap_or(word);
    let host = bare.split('/').next().unwrap_or_default();
    if !registry_is_valid(host) {
        return Err(Error::usage(format!("{word:?} is no name of a registry")));
    }
    let is_hub = matches!(host, "index.docker.io" | "registry-1.docker.io" | "docker.io");
    Ok(if is_hub { DEFAULT_REGISTRY.to_owned() } else { host.to_owned() })
}

fn run(_: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let server = server(words.first().copied())?;
    let (user, password) = (given.text("username")?, given.text("password")?);
    if given.is_on("password-stdin") {
        if password.is_some() {
            return Err(Error::usage("--password and --password-stdin are mutually exclusive"));
        }
        if user.is_none_or(str::is_empty) {
            return Err(Error::usage("Must provide --username with --password-stdin"));
        }
    } else if password.is_some() {
        output::complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let password = match password {
        None if given.is_on("password-stdin") => Some(from_stdin()?),
        password => password.map(str::to_owned),
    };
    let prompt = if given.is_on("password-stdin") { None } else { Prompt::open()? };
    let config = ConfigFile::of_user()?;
    let check = |credentials: &Credentials| check(&server, credentials);

    // What is known already will do, where nothing else was said.
    if user.is_none()
        && password.is_none()
        && let Some(known) = config.get(&server)?
    {
        output::print("Authenticating with existing credentials...\n")?;
        match check(&known) {
            Ok(_) => return succeed(),
            Err(error) if error.kind() == Kind::Denied => {
                output::complain("Login did not succeed with the existing credentials");
            }
            Err(error) => return Err(error),
        }
    }
    let user = match user.filter(|user| !user.is_empty()) {
        Some(user) => user.to_owned(),
        None => ask(prompt.as_ref(), "Username: ", Echo::On)?,
    };
    if user.is_empty() {
        return Err(Error::usage("username is empty"));
    }
    let password = match password {
        Some(password) => password,
        None => ask(prompt.as_ref(), "Password: ", Echo::Off)?,
    };
    if password.is_empty() {
        return Err(Error::usage("password is empty"));
    }
    let given = Credentials::Password(user.clone(), password);
    let instead = check(&given)?;
    if config.store(&server, &user, instead.as_ref().unwrap_or(&given))? {
        output::complain(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n",
            config.path().display()
        ));
    }
    succeed()
}

fn succeed() -> Result<u8> {
    output::print("Login Succeeded\n")?;
    Ok(0)
}

/// Asks the registry whether it takes them.
fn check(server: &str, credentials: &Credentials) -> Result<Option<Credentials>> {
    let cancel = Cancel::default();
    let network = Network::new(Settings::read(Path::new(settings::PATH))?, &cancel, Patience::default());
    let client = Client::new(&network, server, None, || Ok(None));
    network.retry(|| client.login(credentials)).during(|| format!("login to {server}"))
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    let words = || "read the password from standard input".to_owned();
    std::io::stdin().lock().take(PASSWORD_MAX).read_to_string(&mut text).during(words)?;
    // One end of a line, as echo makes it.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

enum Echo {
    On,
    Off,
}

/// Whoever sits at the terminal.
struct Prompt {
    /// The terminal as it was found.
    found: Termios,
}

impl Prompt {
    /// Where standard input is a terminal. Whoever gives up from now on gets it back as it was.
    ///
    /// To be called before anything is asked of the registry: that has threads, which would get the signals otherwise.
    fn open() -> Result<Option<Prompt>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let found = tcgetattr(&stdin).during(|| "terminal".to_owned())?;
        let shown = found.clone();
        signals::on_interrupt(move || {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &shown);
            // Without a lock: the thread that waits for an answer may hold it.
            let _ = rustix::io::write(std::io::stdout(), b"\n");
            std::process::exit(signals::INTERRUPTED);
        })?;
        Ok(Some(Prompt { found }))
    }

    fn ask(&self, question: &str, echo: Echo) -> Result<String> {
        let words = || "terminal".to_owned();
        let stdin = std::io::stdin();
        // Before the question is seen: whoever answers quickly is not to be shown. What was typed ahead stays.
        if matches!(echo, Echo::Off) {
            let mut silent = self.found.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            tcsetattr(&stdin, OptionalActions::Now, &silent).during(words)?;
        }
        let mut line = String::new();
        let read = output::print(question)
            .and_then(|()| stdin.lock().take(PASSWORD_MAX).read_line(&mut line).map(drop).during(words));
        if matches!(echo, Echo::Off) {
            tcsetattr(&stdin, OptionalActions::Now, &self.found).during(words)?;
            let _ = std::io::stdout().write_all(b"\n");
        }
        read?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn ask(prompt: Option<&Prompt>, question: &str, echo: Echo) -> Result<String> {
    let nobody = "Cannot perform an interactive login from a non TTY device";
    prompt.ok_or_else(|| Error::usage(nobody))?.ask(question, echo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_however_it_is_written() {
        for (word, host) in [
            (None, "docker.io"),
            (Some(""), "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("localhost:5000"), "localhost:5000"),
            (Some("https://quay.io/v2"), "quay.io"),
        ] {
            assert_eq!(server(word).unwrap(), host);
        }
        for word in ["../x", "a b", "user:pass@host", "h:port"] {
            assert!(server(Some(word)).is_err(), "{word}");
        }
    }
}
