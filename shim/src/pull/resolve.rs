//! What a name leads to: one image for one platform. Everything that can be refused before a layer is asked for is
//! refused here.

use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::image::config::ImageConfig;
use crate::image::manifest::{self as document, Descriptor, Document, Manifest};
use crate::image::platform::Platform;
use crate::reference::{DEFAULT_REGISTRY, Reference};
use crate::registry::client::Client;
use crate::registry::manifest;

/// Indexes in indexes that are followed.
const DEPTH_MAX: u32 = 3;
/// Most layers of an image: overlayfs takes about as many (fs/overlayfs/params.h, OVL_MAX_STACK).
const LAYERS_MAX: usize = 500;
/// Docker's configuration of an image.
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// An image in a registry.
#[derive(Debug)]
pub struct Resolved {
    /// The digest that the name stands for: of an index, where the registry has one.
    pub named: Digest,
    /// The manifest's own.
    pub digest: Digest,
    /// The manifest as it came.
    pub bytes: Vec<u8>,
    /// What it says.
    pub manifest: Manifest,
    /// It was chosen for its platform from an index.
    is_chosen: bool,
}

/// Asks the registry.
///
/// # Errors
/// The registry's; no image, or none for this platform.
pub fn resolve(client: &Client, name: &Reference, platform: Option<&Platform>) -> Result<Resolved> {
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let mut found = manifest::fetch(client, name.repository(), name.tag_or_default(), name.digest())?;
    let named = found.digest.clone();
    let mut is_chosen = false;
    for _ in 0..=DEPTH_MAX {
        let all = match found.document {
            Document::Manifest(manifest) => {
                check(&manifest)?;
                return Ok(Resolved { named, digest: found.digest, bytes: found.bytes, manifest, is_chosen });
            }
            Document::Index(all) => all,
        };
        let best = choose(&all, wanted)?;
        is_chosen = true;
        found = manifest::fetch(client, name.repository(), None, Some(&best.digest))?;
        if found.bytes.len() as u64 != best.size {
            let (came, size) = (found.bytes.len(), best.size);
            return Err(Error::invalid(format!("manifest {}: {came} bytes came, not {size}", best.digest)));
        }
    }
    Err(Error::invalid(format!("more than {DEPTH_MAX} indexes, one inside of the other")))
}

/// The best image of an index for a platform.
fn choose<'a>(all: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    // What is for no platform at all (signatures, attestations) is no image.
    let known = all.iter().filter_map(|inner| Some((inner.platform.as_ref()?, inner)));
    wanted.best(known).ok_or_else(|| {
        Error::not_found(format!("no matching manifest for {wanted} in the manifest list entries"))
    })
}

/// Is it an image, as far as its manifest tells?
fn check(manifest: &Manifest) -> Result<()> {
    let kind = manifest.config.media_type.as_str();
    if !matches!(kind, DOCKER_CONFIG | document::OCI_CONFIG | "") {
        return Err(Error::invalid(format!(
            "unsupported media type {kind:?} of a configuration: it is no image"
        )));
    }
    if manifest.layers.len() > LAYERS_MAX {
        return Err(Error::invalid(format!("{} layers: at most {LAYERS_MAX}", manifest.layers.len())));
    }
    for layer in &manifest.layers {
        document::packing(&layer.media_type).during(|| format!("layer {}", layer.digest))?;
    }
    Ok(())
}

impl Resolved {
    /// Does the configuration belong to this manifest, and to what was asked for?
    ///
    /// # Errors
    /// If not.
    pub fn check(&self, name: &Reference, config: &ImageConfig, platform: Option<&Platform>) -> Result<()> {
        let (layers, diff_ids) = (self.manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(Error::invalid(format!(
                "{layers} layers, but {diff_ids} in the image's configuration"
            )));
        }
        match platform {
            // An index has said what it is for.
            Some(wanted) if !self.is_chosen && wanted.rank(&config.platform).is_none() => {
                let name = name.familiar();
                let actual = config.platform.clone().normalised();
                Err(Error::not_found(format!(
                    "image with reference {name} was found but does not match the specified platform: \
                     wanted {wanted}, actual: {actual}"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The error as who asked for this name understands it.
pub fn explain(name: &Reference, error: Error) -> Error {
    let familiar = name.familiar_name();
    let kind = error.kind();
    match kind {
        Kind::Denied if name.registry() == DEFAULT_REGISTRY => {
            let hint = "repository does not exist or may require 'shim login'";
            Error::new(kind, format!("pull access denied for {familiar}, {hint}: {error}"))
        }
        Kind::Denied => {
            let hint = format!("repository does not exist or may require 'shim login {}'", name.registry());
            Error::new(kind, format!("pull access denied for {familiar}, {hint}: {error}"))
        }
        Kind::NotFound if error.to_string().contains("/manifests/") => {
            Error::new(kind, format!("manifest for {} not found: {error}", name.familiar()))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str, platform: Option<&str>) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(platform.unwrap_or(media_type).as_bytes()),
            size: 1,
            platform: platform.map(|platform| Platform::parse(platform).unwrap()),
            annotations: None,
        }
    }

    #[test]
    fn an_index_gives_the_best_image_or_none() {
        let all = [
            descriptor("attestation", None),
            descriptor("x", Some("linux/386")),
            descriptor("x", Some("linux/amd64")),
        ];
        let choose =
            |wanted: &str| choose(&all, &Platform::parse(wanted).unwrap()).map(|found| found.digest.clone());
        assert_eq!(choose("linux/amd64").unwrap(), all[2].digest);
        let error = choose("linux/riscv64").unwrap_err();
        let text = "no matching manifest for linux/riscv64 in the manifest list entries";
        assert_eq!((error.to_string().as_str(), error.kind()), (text, Kind::NotFound));
    }

    #[test]
    fn what_is_no_image_is_refused_before_anything_is_fetched() {
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let manifest = |config: &str, layers: &[&str]| Manifest {
            config: descriptor(config, None),
            layers: layers.iter().map(|layer| descriptor(layer, None)).collect(),
        };
        check(&manifest(document::OCI_CONFIG, &[layer, layer])).unwrap();
        let refused = |manifest: &Manifest| check(manifest).unwrap_err().to_string();
        assert!(
            refused(&manifest("application/vnd.cncf.helm.config.v1+json", &[])).contains("it is no image")
        );
        assert!(
            refused(&manifest(DOCKER_CONFIG, &["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"]))
                .contains("unsupported media type")
        );
        assert!(refused(&manifest(DOCKER_CONFIG, &[layer; 501])).contains("at most 500"));
    }
}
