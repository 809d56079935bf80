//! Who we are at a registry: Docker's `config.json`, and Podman's `auth.json` where that has nothing.
//!
//! Docker's file (docs.docker.com, "docker login") is read and written so that both programs can share it: what is
//! not known here stays as it is. A password has no `Debug` and is in no error.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::error::{Context, Error, Result};
use crate::reference::DEFAULT_REGISTRY;
use crate::registry::helper::{Entry, Helper};
use crate::store::record;

/// Under this address Docker keeps what belongs to docker.io.
pub const HUB: &str = "https://index.docker.io/v1/";
/// Longest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// The name under which helpers keep identity tokens.
const TOKEN_USER: &str = "<token>";

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Name and password.
    Password(String, String),
    /// What the token server gave at `login` in a password's place.
    IdentityToken(String),
    /// A token for the registry itself.
    RegistryToken(String),
}

/// Under which address the credentials of a registry are kept.
#[must_use]
pub fn key_of(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY { HUB } else { registry }
}

/// A file of Docker's form.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl ConfigFile {
    /// Docker's, of this user.
    ///
    /// # Errors
    /// A file that is no JSON object, or the system's reason.
    pub fn of_user() -> Result<ConfigFile> {
        let folder = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
        let folder = folder.ok_or_else(|| Error::usage("HOME is not set: set it, or DOCKER_CONFIG"))?;
        ConfigFile::open(&folder.join("config.json"))
    }

    /// The one with this path; it need not be there.
    ///
    /// # Errors
    /// As above.
    pub fn open(path: &Path) -> Result<ConfigFile> {
        Ok(ConfigFile { path: path.to_owned(), content: read(path)? })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The program that keeps the credentials of this address, if one does.
    ///
    /// # Errors
    /// A name that is none.
    pub fn helper(&self, key: &str) -> Result<Option<Helper>> {
        let text = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        let own = self.content.get("credHelpers").and_then(|helpers| helpers.get(key)).and_then(text);
        let name = own.or_else(|| self.content.get("credsStore").and_then(text));
        name.map(|name| Helper::new(&name)).transpose().during(|| format!("read {:?}", self.path))
    }

    /// What is known of a registry.
    ///
    /// # Errors
    /// What is there is damaged; a helper's failure.
    pub fn get(&self, registry: &str) -> Result<Option<Credentials>> {
        let key = key_of(registry);
        if let Some(helper) = self.helper(key)?
            && let Some(entry) = helper.get(key)?
        {
            return Ok(Some(of_entry(entry)));
        }
        let Some(auths) = self.content.get("auths").and_then(Value::as_object) else { return Ok(None) };
        // Older files have addresses where newer ones have hosts.
        let found = auths.get(key).or_else(|| {
            auths.iter().find(|(known, _)| host_of_key(known) == host_of_key(key)).map(|(_, value)| value)
        });
        found.map_or(Ok(None), of_value).during(|| format!("{:?}: auths of {key:?}", self.path))
    }

    /// What Podman's form of the file knows of a repository: the longest beginning of its name counts.
    fn get_for(&self, registry: &str, repository: &str) -> Result<Option<Credentials>> {
        let Some(auths) = self.content.get("auths").and_then(Value::as_object) else {
            return self.get(registry);
        };
        let full = format!("{registry}/{repository}");
        let ends = full.char_indices().filter(|(_, char)| *char == '/').map(|(at, _)| at);
        let mut beginnings: Vec<&str> = ends.map(|end| &full[..end]).chain([full.as_str()]).collect();
        beginnings.reverse();
        for beginning in beginnings.iter().filter(|beginning| beginning.contains('/')) {
            if let Some(value) = auths.get(*beginning) {
                return of_value(value).during(|| format!("{:?}: auths of {beginning:?}", self.path));
            }
        }
        let by_host = auths.get(registry).map_or(Ok(None), of_value);
        match by_host.during(|| format!("{:?}: auths of {registry:?}", self.path))? {
            Some(found) => Ok(Some(found)),
            None => self.get(registry),
        }
    }

    /// Changes the file: read again and replaced whole, under a lock.
    fn change(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
        // Where the file is a link, what it leads to is replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let words = || format!("write {path:?}");
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !folder.exists() {
            crate::store::folder::make_private(folder)?;
        }
        let lock = File::open(folder).during(words)?;
        lock.lock().during(words)?;
        let mut content = read(&path)?;
        let before = content.clone();
        change(&mut content);
        if content == before {
            return Ok(());
        }
        // As Docker writes it.
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        serde::Serialize::serialize(&content, &mut serializer)
            .map_err(|error| Error::invalid(error.to_string()))
            .during(words)?;
        record::write_bytes(&path, &bytes).during(words)
    }

    /// Keeps credentials. True if they are in the file, where whoever reads it can read them.
    ///
    /// # Errors
    /// A helper's failure, or the system's reason.
    pub fn store(&self, registry: &str, user: &str, credentials: &Credentials) -> Result<bool> {
        let key = key_of(registry);
        let (name, secret) = match credentials {
            Credentials::Password(_, password) => (user, password),
            Credentials::IdentityToken(token) | Credentials::RegistryToken(token) => (TOKEN_USER, token),
        };
        if let Some(helper) = self.helper(key)? {
            helper.store(&Entry {
                server: key.to_owned(),
                username: name.to_owned(),
                secret: secret.clone(),
            })?;
            // Docker keeps an empty note that there is something.
            self.change(|content| {
                if let Some(auths) = object(content, "auths") {
                    auths.insert(key.to_owned(), Value::Object(Map::new()));
                }
            })?;
            return Ok(false);
        }
        let mut value = Map::new();
        let pair = match credentials {
            Credentials::Password(..) => format!("{user}:{secret}"),
            Credentials::IdentityToken(_) | Credentials::RegistryToken(_) => {
                let field = if matches!(credentials, Credentials::IdentityToken(_)) {
                    "identitytoken"
                } else {
                    "registrytoken"
                };
                value.insert(field.to_owned(), Value::String(secret.clone()));
                format!("{user}:")
            }
        };
        value.insert("auth".to_owned(), Value::String(BASE64_STANDARD.encode(pair)));
        self.change(|content| {
            if let Some(auths) = object(content, "auths") {
                auths.insert(key.to_owned(), Value::Object(value));
            }
        })?;
        Ok(true)
    }

    /// Forgets a registry; false if nothing was known.
    ///
    /// # Errors
    /// As for [`ConfigFile::store`].
    pub fn erase(&self, registry: &str) -> Result<bool> {
        let key = key_of(registry);
        let mut is_known = false;
        if let Some(helper) = self.helper(key)? {
            is_known = helper.get(key)?.is_some();
            if is_known {
                helper.erase(key)?;
            }
        }
        self.change(|content| {
            if let Some(auths) = content.get_mut("auths").and_then(Value::as_object_mut) {
                let keys: Vec<String> =
                    auths.keys().filter(|known| host_of_key(known) == host_of_key(key)).cloned().collect();
                for known in keys {
                    is_known |= auths.remove(&known).is_some();
                }
            }
        })?;
        Ok(is_known)
    }
}

/// The object of this name, made if there is none; None where something else has the name.
fn object<'a>(content: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    content.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    use std::io::Read as _;
    let words = || format!("read {path:?}");
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        open => open.during(words)?.take(FILE_MAX + 1).read_to_end(&mut bytes).during(words)?,
    };
    if bytes.len() as u64 > FILE_MAX {
        return Err(Error::invalid(format!("it is longer than {FILE_MAX} bytes"))).during(words);
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| {
            // The place, not the text: a password may stand there.
            let (line, column) = (error.line(), error.column());
            Error::invalid(format!("it is no JSON object (line {line}, column {column})"))
        })
        .during(words)
}

/// `https://host/v1/` → `host`.
fn host_of_key(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    bare.split('/').next().unwrap_or_default()
}

fn of_entry(entry: Entry) -> Credentials {
    if entry.username == TOKEN_USER {
        Credentials::IdentityToken(entry.secret)
    } else {
        Credentials::Password(entry.username, entry.secret)
    }
}

/// Credentials of one entry of `auths`.
fn of_value(value: &Value) -> Result<Option<Credentials>> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::IdentityToken(token.to_owned())));
    }
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credentials::RegistryToken(token.to_owned())));
    }
    let Some(auth) = text("auth") else {
        return Ok(match (text("username"), text("password")) {
            (Some(user), Some(password)) => Some(Credentials::Password(user.to_owned(), password.to_owned())),
            _ => None,
        });
    };
    let pair = BASE64_STANDARD.decode(auth).ok().and_then(|pair| String::from_utf8(pair).ok());
    let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
    let (user, password) = pair.ok_or_else(|| Error::invalid("auth is no base64 of name:password"))?;
    // Some writers end the password with NULs.
    Ok(Some(Credentials::Password(user.to_owned(), password.trim_end_matches('\0').to_owned())))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Podman's files, in the order in which it reads them.
fn podmans() -> Vec<PathBuf> {
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let uid = rustix::process::geteuid().as_raw();
    let runtime = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from(format!("/run/user/{uid}")));
    let mut files = vec![runtime.join("containers/auth.json")];
    // Root's own, not that of a user who is root inside of a namespace.
    if uid == 0 && !crate::rootless::is_in_user_namespace() {
        files.push(PathBuf::from("/run/containers/0/auth.json"));
    }
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    files.extend(config.map(|config| config.join("containers/auth.json")));
    files
}

/// What is known of a registry, in whatever file.
///
/// # Errors
/// A damaged file, or a helper's failure.
pub fn find(registry: &str, repository: &str) -> Result<Option<Credentials>> {
    let has_file = variable("DOCKER_CONFIG").is_some() || variable("HOME").is_some();
    if has_file && let Some(found) = ConfigFile::of_user()?.get(registry)? {
        return Ok(Some(found));
    }
    for path in podmans() {
        if let Some(found) = ConfigFile::open(&path)?.get_for(registry, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt as _;

    fn told(credentials: Option<Credentials>) -> String {
        match credentials {
            None => "nothing".to_owned(),
            Some(Credentials::Password(user, password)) => format!("{user}/{password}"),
            Some(Credentials::IdentityToken(token)) => format!("identity {token}"),
            Some(Credentials::RegistryToken(token)) => format!("registry {token}"),
        }
    }

    fn file(scratch: &Scratch, text: &str) -> ConfigFile {
        fs::write(scratch.join("config.json"), text).unwrap();
        ConfigFile::open(&scratch.join("config.json")).unwrap()
    }

    #[test]
    fn credentials_are_found_as_docker_finds_them() {
        let scratch = Scratch::new();
        let (colon, nul) = (BASE64_STANDARD.encode("a:b:c"), BASE64_STANDARD.encode("n:p\0\0"));
        let hub = BASE64_STANDARD.encode("hub:word");
        let text = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{hub}"}},"r:5000":{{"auth":"{colon}"}},
            "https://old.org/v1/":{{"auth":"{nul}"}},"t.org":{{"auth":"{hub}","identitytoken":"tok"}},
            "g.org":{{"registrytoken":"raw"}},"plain.org":{{"username":"u","password":"p"}},
            "empty.org":{{}},"bad.org":{{"auth":"%%"}}}}}}"#
        );
        let config = file(&scratch, &text);
        let get = |registry: &str| told(config.get(registry).unwrap());
        for (registry, credentials) in [
            ("docker.io", "hub/word"),
            ("r:5000", "a/b:c"),
            ("r", "nothing"),
            ("old.org", "n/p"),
            ("t.org", "identity tok"),
            ("g.org", "registry raw"),
            ("plain.org", "u/p"),
            ("empty.org", "nothing"),
            ("sub.plain.org", "nothing"),
        ] {
            assert_eq!(get(registry), credentials, "{registry}");
        }
        let error = config.get("bad.org").map(drop).unwrap_err().to_string();
        assert!(error.contains("bad.org") && !error.contains("%%"), "{error}");
    }

    #[test]
    fn podmans_files_have_repositories_too() {
        let scratch = Scratch::new();
        let auth = |pair: &str| format!(r#"{{"auth":"{}"}}"#, BASE64_STANDARD.encode(pair));
        let text = format!(
            r#"{{"auths":{{"q.io":{},"q.io/a":{},"q.io/a/b":{}}}}}"#,
            auth("host:1"),
            auth("space:2"),
            auth("repository:3")
        );
        let config = file(&scratch, &text);
        let get = |repository: &str| told(config.get_for("q.io", repository).unwrap());
        for (repository, credentials) in [
            ("a/b", "repository/3"),
            ("a/c", "space/2"),
            ("a/bb", "space/2"),
            ("ab", "host/1"),
            ("x/a", "host/1"),
        ] {
            assert_eq!(get(repository), credentials, "{repository}");
        }
    }

    #[test]
    fn what_is_stored_is_found_and_forgotten_and_the_rest_stays() {
        let scratch = Scratch::new();
        let config = file(
            &scratch,
            r#"{"psFormat":"x","auths":{"o.org":{"auth":"bzpw","email":"e"}},"HttpHeaders":{"A":"b"}}"#,
        );
        let password = Credentials::Password("u".into(), "p:q".into());
        assert!(config.store("r:5000", "u", &password).unwrap());
        assert!(config.store("docker.io", "u", &Credentials::IdentityToken("tok".into())).unwrap());
        let config = ConfigFile::open(config.path()).unwrap();
        assert_eq!(told(config.get("r:5000").unwrap()), "u/p:q");
        assert_eq!(told(config.get("docker.io").unwrap()), "identity tok");
        assert_eq!(fs::metadata(config.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(config.erase("r:5000").unwrap() && config.erase("docker.io").unwrap());
        assert!(!config.erase("r:5000").unwrap());
        let left: Value = serde_json::from_slice(&fs::read(config.path()).unwrap()).unwrap();
        let whole: Value = serde_json::from_str(
            r#"{"psFormat":"x","auths":{"o.org":{"auth":"bzpw","email":"e"}},"HttpHeaders":{"A":"b"}}"#,
        )
        .unwrap();
        assert_eq!(left, whole);
    }

    #[test]
    fn a_damaged_file_is_told_without_what_is_in_it() {
        let scratch = Scratch::new();
        fs::write(scratch.join("config.json"), r#"{"auths":{"r":{"auth":"secret"}}"#).unwrap();
        let error = ConfigFile::open(&scratch.join("config.json")).unwrap_err().to_string();
        assert!(error.contains("config.json") && !error.contains("secret"), "{error}");
        fs::write(scratch.join("config.json"), "[1]").unwrap();
        assert!(ConfigFile::open(&scratch.join("config.json")).is_err());
        fs::write(scratch.join("config.json"), "\n").unwrap();
        assert!(ConfigFile::open(&scratch.join("config.json")).unwrap().get("r").unwrap().is_none());
    }

    #[test]
    fn helpers_come_first_and_their_names_are_words() {
        let scratch = Scratch::new();
        let config = file(&scratch, r#"{"credsStore":"all","credHelpers":{"r":"one"}}"#);
        assert_eq!(config.helper("r").unwrap(), Some(Helper::new("one").unwrap()));
        assert_eq!(config.helper("q").unwrap(), Some(Helper::new("all").unwrap()));
        let config = file(&scratch, r#"{"credsStore":"../../bin/sh"}"#);
        assert!(config.get("q").map(drop).unwrap_err().to_string().contains("has to be a word"));
    }
}
