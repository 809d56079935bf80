//! Image names as people write them, and as registries and the store know them.
//!
//! The grammar is that of the distribution project (`reference` package, "Grammar" in its documentation) with
//! Docker's defaults: `docker.io`, `library/` and `latest`. Pure: nothing here asks a registry or the store. It is
//! read by hand, because a compiled regular expression of it costs more than a whole command may take.

use std::fmt;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// The registry of names that have none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag of names that have neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

/// Longest `registry/repository` (distribution: `NameTotalLengthMax`), in bytes.
const NAME_MAX: usize = 255;
/// Longest tag, in bytes.
const TAG_MAX: usize = 128;

/// A valid name of an image: `registry/repository[:tag][@digest]`, with the defaults of Docker filled in but for
/// the tag, which [`Reference::tag_or_default`] gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a name as `docker pull` does.
    ///
    /// # Errors
    /// Docker's words: `invalid reference format`, with what is wrong behind them.
    pub fn parse(text: &str) -> Result<Reference> {
        if is_full_id(text) {
            let reason = "cannot specify 64-byte hexadecimal strings";
            return Err(Error::usage(format!("invalid repository name ({text}), {reason}")));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                (name, Some(Digest::parse(digest).map_err(|reason| invalid(text, &reason.to_string()))?))
            }
            None => (text, None),
        };
        let (registry, rest) = split_registry(name);
        // A colon behind the registry begins the tag: no repository has one.
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if path.chars().any(char::is_uppercase) {
            let reason = format!("repository name ({path}) must be lowercase");
            return Err(Error::usage(format!("invalid reference format: {reason}")));
        }
        if !registry_is_valid(registry) {
            return Err(invalid(text, &format!("{registry:?} is no host name")));
        }
        if !path.split('/').all(component_is_valid) {
            return Err(invalid(text, &format!("{path:?} is no repository name")));
        }
        if let Some(tag) = tag.filter(|tag| !tag_is_valid(tag)) {
            return Err(invalid(text, &format!("{tag:?} is no tag")));
        }
        let repository = match registry {
            DEFAULT_REGISTRY if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        if registry.len() + 1 + repository.len() > NAME_MAX {
            let reason = format!("repository name must not be more than {NAME_MAX} characters");
            return Err(Error::usage(format!("invalid reference format: {reason}")));
        }
        Ok(Reference { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }

    /// The registry's host, and port where it has one; never empty.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in the registry, such as `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag that was written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that was written; it decides where there is a tag too.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The tag, `latest` where neither tag nor digest was written.
    #[must_use]
    pub fn tag_or_default(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some(DEFAULT_TAG),
            (None, Some(_)) => None,
        }
    }

    /// The name without tag and digest, in full: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name without tag and digest, as Docker shows it: `busybox`. It reads back as the same name, unlike Docker's
    /// of `docker.io/localhost/x`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        match self.repository.strip_prefix("library/") {
            Some(short) if !short.contains('/') => short.to_owned(),
            // What would be read as another registry's has to be named in full.
            _ if split_registry(&self.repository).1 != self.repository => self.name(),
            _ => self.repository.clone(),
        }
    }

    /// Name and tag or digest, as Docker shows them: `busybox:latest`, `busybox@sha256:…`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_rest(self.familiar_name())
    }

    /// The same name with this tag, without a digest.
    ///
    /// # Errors
    /// What is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Reference> {
        if !tag_is_valid(tag) {
            return Err(invalid(tag, "this is no tag"));
        }
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same name with this digest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn with_rest(&self, mut name: String) -> String {
        if let Some(tag) = self.tag_or_default() {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

/// In full: `docker.io/library/busybox:latest`. It reads back as the same image.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.with_rest(self.name()))
    }
}

/// Is this what a full image or container id looks like? No name may.
#[must_use]
pub fn is_full_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn invalid(text: &str, reason: &str) -> Error {
    Error::usage(format!("invalid reference format: {text:?}: {reason}"))
}

/// Registry and the rest. The first part is a registry only if it cannot be a part of a repository: with a dot, a
/// port or upper case, or `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    let Some((first, rest)) = name.split_once('/') else {
        return (DEFAULT_REGISTRY, name);
    };
    let is_host = first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase);
    match first {
        "index.docker.io" => (DEFAULT_REGISTRY, rest),
        _ if is_host => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    }
}

/// `host[:port]`: a host name, an IPv4 address, or an IPv6 address in brackets. What is so is safe as a file's name.
#[must_use]
pub fn registry_is_valid(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let Some((address, behind)) = rest.split_once(']') else { return false };
            if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') {
                return false;
            }
            match behind {
                "" => return true,
                _ => ("", behind.strip_prefix(':')),
            }
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    let port_is_valid = match port {
        // One that is none would be left out further down, and another server asked.
        Some(port) => {
            port.len() <= 5
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        // What follows a bracket and is no port.
        None => !registry.starts_with('['),
    };
    let host_is_valid = registry.starts_with('[') || host.split('.').all(label_is_valid);
    port_is_valid && host_is_valid
}

fn label_is_valid(label: &str) -> bool {
    let bytes = label.as_bytes();
    let is_alnum = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_alnum(bytes.first())
        && is_alnum(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Lower case letters and digits, between which stand `.`, `_`, `__` or any number of `-`.
fn component_is_valid(component: &str) -> bool {
    let is_alnum = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    is_alnum(*first)
        && is_alnum(*last)
        && bytes.split(|byte| is_alnum(*byte)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
        })
}

fn tag_is_valid(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    bytes.first().is_some_and(|byte| is_word(*byte))
        && bytes.len() <= TAG_MAX
        && bytes.iter().all(|byte| is_word(*byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn names_are_read_with_dockers_defaults() {
        // written, in full, as Docker shows it
        let table = [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("docker.io/localhost/a", "docker.io/localhost/a:latest", "docker.io/localhost/a:latest"),
            ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
            ("docker.io/docker.io/a", "docker.io/docker.io/a:latest", "docker.io/docker.io/a:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"),
            ("a.b:80/c/d/e:f", "a.b:80/c/d/e:f", "a.b:80/c/d/e:f"),
            ("Host/a", "Host/a:latest", "Host/a:latest"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("[fe80::1]/a", "[fe80::1]/a:latest", "[fe80::1]/a:latest"),
            ("a--b/c__d.e", "docker.io/a--b/c__d.e:latest", "a--b/c__d.e:latest"),
            ("a:_x.Y-1", "docker.io/library/a:_x.Y-1", "a:_x.Y-1"),
        ];
        for (written, full, familiar) in table {
            let reference = Reference::parse(written).unwrap();
            assert_eq!(
                (reference.to_string(), reference.familiar()),
                (full.into(), familiar.into()),
                "{written}"
            );
            assert_eq!(Reference::parse(full).unwrap().to_string(), full, "{written} again");
        }
    }

    #[test]
    fn a_digest_decides_and_needs_no_tag() {
        let reference = Reference::parse(&format!("busybox@{SHA}")).unwrap();
        assert_eq!(reference.to_string(), format!("docker.io/library/busybox@{SHA}"));
        assert_eq!(reference.tag_or_default(), None);
        let both = Reference::parse(&format!("busybox:1@{SHA}")).unwrap();
        assert_eq!((both.tag(), both.digest().unwrap().to_string()), (Some("1"), SHA.to_owned()));
    }

    #[test]
    fn what_is_no_name_is_refused_in_dockers_words() {
        let long_path = "a/".repeat(130) + "a";
        let long_tag = format!("a:{}", "b".repeat(129));
        for written in [
            "",
            ":",
            "@",
            "/",
            "a/",
            "/a",
            "a//b",
            "a:",
            "a:b:c",
            "a b",
            "a\n",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "ä",
            "a:ä",
            "a:-b",
            "a:.b",
            "a/../b",
            "../a",
            "a/./b",
            ".a/b",
            "a.b:port/c",
            "a.b:/c",
            "a.b:123456/c",
            "[::1/a",
            "[]/a",
            "[::1]x/a",
            "a@b",
            "a@sha256:",
            "a@sha256:ff",
            "a@md5:ffffffffffffffffffffffffffffffff",
            &long_path,
            &long_tag,
        ] {
            let error = Reference::parse(written).unwrap_err().to_string();
            assert!(error.starts_with("invalid reference format"), "{written:?}: {error}");
            assert!(!error.contains('\n'), "{written:?}: {error}");
        }
        let error = Reference::parse("Busybox").unwrap_err().to_string();
        assert_eq!(error, "invalid reference format: repository name (Busybox) must be lowercase");
        let error = Reference::parse(&"a".repeat(64)).unwrap_err().to_string();
        assert!(error.ends_with("cannot specify 64-byte hexadecimal strings"), "{error}");
    }

    #[test]
    fn a_tag_or_digest_is_exchanged() {
        let reference = Reference::parse("a.b/c:d").unwrap();
        assert_eq!(reference.with_tag("e").unwrap().to_string(), "a.b/c:e");
        assert_eq!(reference.with_digest(Digest::parse(SHA).unwrap()).to_string(), format!("a.b/c@{SHA}"));
        assert!(reference.with_tag("/").is_err());
    }

    #[test]
    fn a_port_is_one_that_can_be_asked() {
        for registry in ["host:1", "host:65535", "[::1]:5000", "[::1]"] {
            assert!(registry_is_valid(registry), "{registry}");
        }
        for registry in ["host:", "host:0", "host:65536", "host:99999", "host:+1", "[::1]:65536", "[::1]x"] {
            assert!(!registry_is_valid(registry), "{registry}");
        }
    }
}
