//! Manifests, indexes and lists of tags, as a registry gives them.

use serde::Deserialize;

use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Kind, Result};
use crate::image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, DOCUMENT_MAX, Document, OCI_INDEX, OCI_MANIFEST};
use crate::reference::Reference;
use crate::registry::client::{Ask, Client, Failure};

/// Most tags of one repository, and most answers they come in.
const TAGS_MAX: usize = 100_000;
const PAGES_MAX: usize = 10_000;

/// A document that is what its digest says.
#[derive(Debug)]
pub struct Fetched {
    /// As it came.
    pub bytes: Vec<u8>,
    /// Of these bytes.
    pub digest: Digest,
    /// What it says.
    pub document: Document,
}

/// Fetches what a tag or a digest names.
///
/// # Errors
/// The registry does not have it or does not give it; another document than was asked for.
pub fn fetch(
    client: &Client,
    repository: &str,
    tag: Option<&str>,
    digest: Option<&Digest>,
) -> Result<Fetched> {
    let name = digest.map(ToString::to_string).or(tag.map(str::to_owned)).unwrap_or_default();
    let path = format!("/v2/{repository}/manifests/{name}");
    let accept = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].join(", ");
    client.network().retry(|| {
        let response = client.get(&path, Ask { accept: Some(&accept), ..Ask::default() })?;
        if response.status() != 200 {
            return Err(response.wrong(&format!("status {}", response.status())));
        }
        let told = response.header("docker-content-digest").map(str::to_owned);
        let media_type = response.header("content-type").map(str::to_owned);
        let bytes = response.bytes(DOCUMENT_MAX)?;
        check(bytes, digest, told.as_deref(), media_type.as_deref())
            .during(|| format!("manifest {name}"))
            .map_err(Failure::Final)
    })
}

/// Is it what was asked for, and what the registry says it is?
fn check(
    bytes: Vec<u8>,
    asked: Option<&Digest>,
    told: Option<&str>,
    media_type: Option<&str>,
) -> Result<Fetched> {
    let of = |digest: &Digest| {
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        hasher.finish()
    };
    if let Some(told) = told.filter(|told| !told.is_empty()) {
        let told = Digest::parse(told).during(|| "header Docker-Content-Digest".into())?;
        let found = of(&told);
        if found != told {
            return Err(Error::invalid(format!("its digest is {found}, and the registry says {told}")));
        }
    }
    let digest = match asked {
        Some(asked) if of(asked) != *asked => {
            return Err(Error::invalid(format!("its digest is {}", of(asked))));
        }
        Some(asked) => asked.clone(),
        None => Digest::of(&bytes),
    };
    let document = Document::parse(&bytes, media_type)?;
    Ok(Fetched { bytes, digest, document })
}

/// All tags of a repository, in the registry's order.
///
/// # Errors
/// As for [`fetch`]; a list without end.
pub fn tags(client: &Client, name: &Reference) -> Result<Vec<Reference>> {
    #[derive(Deserialize)]
    struct Page {
        tags: Option<Vec<String>>,
    }
    let repository = name.repository();
    let mut path = format!("/v2/{repository}/tags/list");
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        let (next, bytes) = client.network().retry(|| {
            let response = client.get(&path, Ask::default())?;
            let next = response.header("link").and_then(next_page).map(str::to_owned);
            Ok((next, response.bytes(DOCUMENT_MAX)?))
        })?;
        let page: Page = serde_json::from_slice(&bytes)
            .map_err(|error| Error::invalid(format!("list of tags of {repository}: {error}")))?;
        for tag in page.tags.unwrap_or_default() {
            found.push(name.with_tag(&tag).map_err(|error| error.of(Kind::Invalid))?);
        }
        if found.len() > TAGS_MAX {
            return Err(Error::invalid(format!("{repository} has more than {TAGS_MAX} tags")));
        }
        match next {
            None => return Ok(found),
            Some(next) if next == path => {
                return Err(Error::invalid(format!("list of tags of {repository}: it goes on with itself")));
            }
            Some(next) => path = on_the_same_registry(client, &path, &next)?,
        }
    }
    Err(Error::invalid(format!("list of tags of {repository}: it has no end")))
}

/// `<address>; rel="next"` (RFC 8288).
fn next_page(header: &str) -> Option<&str> {
    let (address, parameters) = header.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split([';', ',']).any(|parameter| {
        parameter
            .trim()
            .strip_prefix("rel=")
            .is_some_and(|rel| rel.trim_matches('"').eq_ignore_ascii_case("next"))
    });
    is_next.then_some(address)
}

/// The path of the next page, if it is the same registry's.
fn on_the_same_registry(client: &Client, path: &str, next: &str) -> Result<String> {
    let origin = match client.origin() {
        Ok(origin) => origin,
        Err(Failure::Final(error) | Failure::Again(error, _)) => return Err(error),
    };
    let next = next.strip_prefix(&origin).unwrap_or(next);
    let next = match next.strip_prefix('?') {
        Some(query) => format!("{}?{query}", path.split('?').next().unwrap_or_default()),
        None => next.to_owned(),
    };
    if next.starts_with("/v2/") {
        Ok(next)
    } else {
        Err(Error::new(Kind::Denied, "the list of tags goes on at another place than the registry"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_one_that_is_called_so() {
        for (header, next) in [
            (r#"</v2/a/tags/list?n=2&last=b>; rel="next""#, Some("/v2/a/tags/list?n=2&last=b")),
            ("<?last=b>; rel=next", Some("?last=b")),
            (r#"</x>; rel="prev""#, None),
            ("</x>", None),
            ("/x; rel=next", None),
            ("<x", None),
        ] {
            assert_eq!(next_page(header), next, "{header}");
        }
    }

    #[test]
    fn a_document_is_what_was_asked_for_and_what_the_registry_calls_it() {
        let bytes = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
        let (right, wrong) = (Digest::of(&bytes), Digest::of(b"x"));
        let check = |asked: Option<&Digest>, told: Option<&str>, kind: Option<&str>| {
            check(bytes.clone(), asked, told, kind)
                .map(|found| found.digest)
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(None, None, None).unwrap(), right);
        assert_eq!(check(Some(&right), Some(&right.to_string()), Some(OCI_INDEX)).unwrap(), right);
        assert!(check(Some(&wrong), None, None).unwrap_err().contains("its digest is"));
        assert!(check(None, Some(&wrong.to_string()), None).unwrap_err().contains("the registry says"));
        assert!(check(None, Some("md5:1"), None).unwrap_err().contains("Docker-Content-Digest"));
        assert!(check(None, None, Some(OCI_MANIFEST)).is_err());
    }
}
