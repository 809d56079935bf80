//! What a registry says an image is made of: manifests, indexes, and the descriptors in them.
//!
//! Sources: OCI image-spec, "Image Manifest", "Image Index", "Descriptors"; Docker's "Image Manifest V 2, Schema 2".
//! A document is one or the other, never both (CVE-2021-41190): its fields have to agree with its media type. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::platform::Platform;

/// Longest manifest or index that is read, in bytes (as in containerd and Docker's registry).
pub const DOCUMENT_MAX: u64 = 4 << 20;

/// Media type of Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's list of manifests.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of the OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of the OCI's index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Media type of an image's configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Names content, with its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes. They never steer anything but which image of a layout a tag names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// One image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The image's configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What was found under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// An image.
    Manifest(Manifest),
    /// Images, one for each platform.
    Index(Vec<Descriptor>),
}

/// All fields of all kinds: which are there has to fit the media type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a document. `told` is what the registry or the descriptor called it, if anything did.
    ///
    /// # Errors
    /// A document of another kind than it was called, of no known kind, or of two at once.
    pub fn parse(bytes: &[u8], told: Option<&str>) -> Result<Document> {
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid(format!("invalid manifest: {error}")))?;
        if raw.fs_layers.is_some() || raw.schema_version == Some(1) {
            let reason =
                "the image was pushed in a format of before 2017 (manifest schema 1), which is not supported";
            return Err(Error::invalid(reason));
        }
        if raw.schema_version != Some(2) {
            return Err(Error::invalid("invalid manifest: schemaVersion has to be 2"));
        }
        // Parameters such as a charset do not count, and registries that know nothing call everything so.
        let told = told.map(|told| told.split(';').next().unwrap_or_default().trim());
        let told = told.filter(|told| !matches!(*told, "" | "application/json" | "application/octet-stream"));
        if let (Some(told), Some(own)) = (told, &raw.media_type)
            && told != own
        {
            return Err(Error::invalid(format!(
                "invalid manifest: it calls itself {own:?} but came as {told:?}"
            )));
        }
        let kind = told.or(raw.media_type.as_deref());
        let is_index = match kind {
            Some(DOCKER_MANIFEST | OCI_MANIFEST) => false,
            Some(DOCKER_LIST | OCI_INDEX) => true,
            Some(other) => return Err(Error::invalid(format!("unsupported media type {other:?}"))),
            None => raw.manifests.is_some(),
        };
        match (is_index, raw.config, raw.layers, raw.manifests) {
            (true, None, None, Some(manifests)) => Ok(Document::Index(manifests)),
            (false, Some(config), Some(layers), None) => Ok(Document::Manifest(Manifest { config, layers })),
            (true, ..) => {
                Err(Error::invalid("invalid index: it has to have manifests, and neither config nor layers"))
            }
            (false, ..) => {
                Err(Error::invalid("invalid manifest: it has to have config and layers, and no manifests"))
            }
        }
    }
}

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Manifest {
    /// The manifest as an OCI document.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            schema_version: u32,
            media_type: &'a str,
            config: &'a Descriptor,
            layers: &'a [Descriptor],
        }
        let (config, layers) = (&self.config, &self.layers[..]);
        serde_json::to_vec(&Document { schema_version: 2, media_type: OCI_MANIFEST, config, layers })
            .map_err(|error| Error::invalid(format!("manifest: {error}")))
    }
}

/// Media type of a layer that is packed so.
#[must_use]
pub fn layer_type(packing: Packing) -> &'static str {
    match packing {
        Packing::Plain => "application/vnd.oci.image.layer.v1.tar",
        Packing::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Packing::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

/// How a layer of this media type is packed.
///
/// # Errors
/// What is no layer, is encrypted, or has to be fetched from somebody else than the registry.
pub fn packing(media_type: &str) -> Result<Packing> {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.oci.image.layer.v1.tar+gzip" => Ok(Packing::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd" => Ok(Packing::Zstd),
        "application/vnd.docker.image.rootfs.diff.tar" | "application/vnd.oci.image.layer.v1.tar" => {
            Ok(Packing::Plain)
        }
        // The registry may give "nondistributable" layers away all the same; foreign addresses are never asked.
        "application/vnd.oci.image.layer.nondistributable.v1.tar" => Ok(Packing::Plain),
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" => Ok(Packing::Gzip),
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => Ok(Packing::Zstd),
        other => Err(Error::invalid(format!("unsupported media type of a layer: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":7}}"#, "a".repeat(64))
    }

    fn manifest(media_type: &str) -> String {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip");
        let config = descriptor("application/vnd.oci.image.config.v1+json");
        format!(r#"{{"schemaVersion":2{media_type},"config":{config},"layers":[{layer},{layer}]}}"#)
    }

    #[test]
    fn manifests_and_indexes_are_told_apart() {
        for own in ["", &format!(r#","mediaType":"{OCI_MANIFEST}""#)] {
            for told in [None, Some(OCI_MANIFEST), Some("application/json; charset=utf-8")] {
                let Document::Manifest(manifest) = Document::parse(manifest(own).as_bytes(), told).unwrap()
                else {
                    panic!("an index?")
                };
                assert_eq!((manifest.layers.len(), manifest.config.size), (2, 7));
            }
        }
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(OCI_MANIFEST));
        for told in [None, Some(OCI_INDEX), Some(DOCKER_LIST)] {
            assert!(
                matches!(Document::parse(index.as_bytes(), told).unwrap(), Document::Index(all) if all.len() == 1)
            );
        }
    }

    #[test]
    fn what_is_neither_or_both_is_refused() {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip");
        let both = format!(
            r#"{{"schemaVersion":2,"config":{layer},"layers":[],"manifests":[{}]}}"#,
            descriptor(OCI_MANIFEST)
        );
        let own = format!(r#","mediaType":"{DOCKER_MANIFEST}""#);
        let table = [
            ("both, called nothing", both.clone(), None),
            ("both, called an index", both.clone(), Some(OCI_INDEX)),
            ("both, called a manifest", both, Some(OCI_MANIFEST)),
            ("called an index", manifest(""), Some(OCI_INDEX)),
            ("calls itself otherwise", manifest(&own), Some(OCI_MANIFEST)),
            ("schema 1", r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), None),
            ("no version", r#"{"manifests":[]}"#.to_owned(), None),
            ("another kind", manifest(""), Some("application/vnd.oci.artifact.v1+json")),
            ("nothing in it", r#"{"schemaVersion":2}"#.to_owned(), None),
            ("a path for a digest", manifest("").replace(&"a".repeat(64), "../../../../etc/passwd"), None),
            ("a negative size", manifest("").replace(":7", ":-7"), None),
            ("no JSON", "<html>".to_owned(), Some(OCI_MANIFEST)),
        ];
        for (what, text, told) in table {
            let error = Document::parse(text.as_bytes(), told).expect_err(what).to_string();
            assert!(!error.contains('\n'), "{what}: {error}");
        }
    }
}
