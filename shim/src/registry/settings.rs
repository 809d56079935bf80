//! What the host's administrator says about registries: `/etc/caisson/registries.json`.
//!
//! The keys are those of Docker's `daemon.json`: `insecure-registries` and `registry-mirrors`. A key that is not known
//! is an error, because whoever wrote it wants something.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::reference::DEFAULT_REGISTRY;
use crate::registry::network::{self, Network};
use crate::store::record;

/// Where the settings are.
pub const PATH: &str = "/etc/caisson/registries.json";

/// The settings; none of them has to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// `host[:port]`, or a network: their certificates are not checked, and plain http will do.
    pub insecure_registries: Vec<String>,
    /// Addresses that are asked before docker.io's registry is, in this order.
    pub registry_mirrors: Vec<String>,
}

/// How far a registry is trusted to be who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// By its certificate.
    Verified,
    /// The own host: by its certificate if it has one, else over plain http.
    Loopback,
    /// Not at all: any certificate, or plain http.
    Insecure,
}

impl Settings {
    /// Reads the settings; where there is no file there are none.
    ///
    /// # Errors
    /// A file that cannot be read or is not of this form.
    pub fn read(path: &Path) -> Result<Settings> {
        let settings: Settings = record::read(path)?.unwrap_or_default();
        for mirror in &settings.registry_mirrors {
            mirror_address(mirror).during(|| format!("read {path:?}"))?;
        }
        Ok(settings)
    }

    /// How the registry at `host[:port]` may be spoken to.
    #[must_use]
    pub fn security(&self, authority: &str) -> Security {
        let host = network::host_of(authority);
        let address = host.parse().ok();
        let is_insecure = self.insecure_registries.iter().any(|entry| match Network::parse(entry) {
            Some(network) => address.is_some_and(|address| network.contains(address)),
            None => entry.eq_ignore_ascii_case(authority),
        });
        match is_insecure {
            true => Security::Insecure,
            false if network::is_loopback(authority) => Security::Loopback,
            false => Security::Verified,
        }
    }

    /// Mirrors of this registry: scheme and `host[:port]` of each. As with Docker, only docker.io has mirrors.
    #[must_use]
    pub fn mirrors(&self, registry: &str) -> Vec<(bool, String)> {
        if registry != DEFAULT_REGISTRY {
            return Vec::new();
        }
        self.registry_mirrors.iter().filter_map(|mirror| mirror_address(mirror).ok()).collect()
    }
}

/// Whether it is https, and `host[:port]`.
fn mirror_address(mirror: &str) -> Result<(bool, String)> {
    let address = mirror
        .strip_prefix("https://")
        .map(|rest| (true, rest))
        .or_else(|| mirror.strip_prefix("http://").map(|rest| (false, rest)));
    match address.map(|(is_https, rest)| (is_https, rest.trim_end_matches('/'))) {
        Some((is_https, host)) if !host.is_empty() && !host.contains(['/', '?', '#', '@']) => {
            Ok((is_https, host.to_owned()))
        }
        _ => {
            let form = "it has to be http:// or https:// and a host";
            Err(Error::invalid(format!("registry-mirrors: {mirror:?}: {form}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn settings_are_dockers_keys_and_nothing_else() {
        let scratch = Scratch::new();
        let path = scratch.join("registries.json");
        assert_eq!(Settings::read(&path).unwrap(), Settings::default());
        let text =
            r#"{"insecure-registries":["reg.lan:5000","10.0.0.0/8"],"registry-mirrors":["https://m.lan/"]}"#;
        std::fs::write(&path, text).unwrap();
        let settings = Settings::read(&path).unwrap();
        assert_eq!(settings.mirrors("docker.io"), [(true, "m.lan".to_owned())]);
        assert_eq!(settings.mirrors("quay.io"), []);
        for (host, security) in [
            ("reg.lan:5000", Security::Insecure),
            ("reg.lan", Security::Verified),
            ("10.9.9.9:1", Security::Insecure),
            ("localhost:5000", Security::Loopback),
            ("docker.io", Security::Verified),
        ] {
            assert_eq!(settings.security(host), security, "{host}");
        }
        for text in [
            r#"{"insecure-registry":[]}"#,
            r#"{"registry-mirrors":["m.lan"]}"#,
            r#"{"registry-mirrors":["http://a/b"]}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(Settings::read(&path).unwrap_err().to_string().contains("registries.json"), "{text}");
        }
    }
}
