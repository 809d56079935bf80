//! Operating system, processor and its variant: what an image was built for, and what this host can run.
//!
//! Names are Go's (GOOS, GOARCH), as the OCI image-spec demands ("Image Index", `platform`); what people write
//! instead is normalised as containerd does. Pure but for [`Platform::host`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// GOOS, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// Such as `v7`; empty where there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Windows' version; nothing else has one.
    #[serde(default, rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
}

impl Platform {
    /// Reads `--platform`: `os[/arch[/variant]]`, or an architecture alone.
    ///
    /// # Errors
    /// Anything else, named.
    pub fn parse(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if parts.len() > 3 || !parts.iter().all(is_word) {
            let form = "it must be os[/arch[/variant]]";
            return Err(Error::usage(format!("invalid platform {text:?}: {form}")));
        }
        let host = Platform::host();
        let platform = match parts[..] {
            [word] if is_os(&word.to_lowercase()) => Platform { os: word.to_owned(), ..host },
            [word] => {
                let known = of_architecture(word);
                if !is_architecture(&known.0) {
                    return Err(Error::usage(format!(
                        "unknown platform {text:?}: neither system nor processor"
                    )));
                }
                Platform { architecture: word.to_owned(), variant: String::new(), ..host }
            }
            [os, architecture] => Platform::of(os, architecture, ""),
            [os, architecture, variant] => Platform::of(os, architecture, variant),
            _ => host,
        };
        Ok(platform.normalised())
    }

    /// As given, normalised.
    #[must_use]
    pub fn of(os: &str, architecture: &str, variant: &str) -> Platform {
        let (os, architecture, variant) = (os.to_owned(), architecture.to_owned(), variant.to_owned());
        Platform { architecture, os, variant, os_version: String::new() }.normalised()
    }

    /// This program's own.
    #[must_use]
    pub fn host() -> Platform {
        Platform::of("linux", std::env::consts::ARCH, "")
    }

    /// The same platform by Go's names.
    #[must_use]
    pub fn normalised(mut self) -> Platform {
        self.os = match self.os.to_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let (architecture, implied) = of_architecture(&self.architecture);
        let variant = match self.variant.to_lowercase() {
            empty if empty.is_empty() => implied.to_owned(),
            variant if variant.bytes().all(|byte| byte.is_ascii_digit()) => format!("v{variant}"),
            variant => variant,
        };
        self.variant = match (architecture.as_str(), variant.as_str()) {
            ("arm64", "v8" | "v8.0") | ("amd64", "v1") => String::new(),
            ("arm", "") => "v7".to_owned(),
            _ => variant,
        };
        self.architecture = architecture;
        self
    }

    /// How well an image for `other` runs where this platform was asked for: 0 is best, None not at all.
    #[must_use]
    pub fn rank(&self, other: &Platform) -> Option<u32> {
        let other = other.clone().normalised();
        if other.os != self.os {
            return None;
        }
        let number = |variant: &str| variant.trim_start_matches('v').parse::<u32>().unwrap_or_default();
        match (self.architecture.as_str(), other.architecture.as_str()) {
            ("arm", "arm") => number(&self.variant).checked_sub(number(&other.variant)),
            // The processors run both; what was built for them comes first.
            ("arm64", "arm") => 8_u32.checked_sub(number(&other.variant)).map(|behind| behind + 10),
            ("amd64", "386") => Some(10),
            ("amd64", "amd64") => number(&self.variant).max(1).checked_sub(number(&other.variant).max(1)),
            (mine, its) if mine == its && self.variant == other.variant => Some(0),
            (mine, its) if mine == its && (self.variant.is_empty() || other.variant.is_empty()) => Some(1),
            _ => None,
        }
    }

    /// The best of those, in the order they are listed where two are alike.
    #[must_use]
    pub fn best<'a, T>(&self, all: impl Iterator<Item = (&'a Platform, T)>) -> Option<T> {
        all.filter_map(|(platform, value)| Some((self.rank(platform)?, value)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, value)| value)
    }
}

/// `linux/arm/v7`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// Go's name of a processor, and the variant that another name of it implies.
fn of_architecture(name: &str) -> (String, &'static str) {
    let lower = name.to_lowercase();
    let (name, variant) = match lower.as_str() {
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", ""),
        "x86_64" | "x86-64" => ("amd64", ""),
        "aarch64" => ("arm64", ""),
        "armhf" => ("arm", "v7"),
        "armel" => ("arm", "v6"),
        "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", ""),
        "loongarch64" => ("loong64", ""),
        other => (other, ""),
    };
    (name.to_owned(), variant)
}

fn is_os(name: &str) -> bool {
    const SYSTEMS: [&str; 12] = [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "illumos",
        "linux",
        "macos",
        "netbsd",
        "openbsd",
        "solaris",
        "windows",
    ];
    SYSTEMS.contains(&name)
}

fn is_architecture(name: &str) -> bool {
    const PROCESSORS: [&str; 14] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
        "ppc64le", "riscv64", "s390x", "wasm",
    ];
    PROCESSORS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_normalised() {
        let host = Platform::host().to_string();
        for (text, meant) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("arm64", "linux/arm64"),
            ("linux", host.as_str()),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), meant, "{text}");
        }
        for text in ["", "/", "linux/", "linux//v7", "a/b/c/d", "linux/a b", "tuvw"] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_best_fit_of_an_index_is_chosen() {
        let all: Vec<Platform> = [
            "linux/386",
            "linux/arm/v5",
            "linux/arm/v7",
            "linux/arm64",
            "linux/amd64",
            "windows/amd64",
            "linux/s390x",
        ]
        .map(|text| Platform::parse(text).unwrap())
        .to_vec();
        let best = |wanted: &str, from: &[Platform]| {
            Platform::parse(wanted)
                .unwrap()
                .best(from.iter().map(|platform| (platform, platform.to_string())))
        };
        assert_eq!(best("linux/amd64", &all).unwrap(), "linux/amd64");
        assert_eq!(best("linux/amd64", &all[..4]).unwrap(), "linux/386");
        assert_eq!(best("linux/arm64", &all).unwrap(), "linux/arm64");
        assert_eq!(best("linux/arm64", &all[..3]).unwrap(), "linux/arm/v7");
        assert_eq!(best("linux/arm/v6", &all).unwrap(), "linux/arm/v5", "newer ones do not run");
        assert_eq!(best("linux/riscv64", &all), None);
        assert_eq!(best("windows/amd64", &all).unwrap(), "windows/amd64");
    }
}
