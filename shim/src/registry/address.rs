//! Addresses of servers, as registries name them: which may be asked, and what of them may be seen. Pure.

use ureq::http::Uri;

use crate::error::{Error, Result};

/// An address that may be asked: http or https, a host, and no credentials.
///
/// # Errors
/// What is wrong with it.
pub fn parse(url: &str) -> Result<Uri> {
    let bad = |reason: &str| Error::invalid(format!("{:?}: {reason}", shown(url)));
    let uri: Uri = url.parse().map_err(|_| bad("no address"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("neither http nor https"));
    }
    if !host_is_valid(authority(&uri)) {
        return Err(bad("no host"));
    }
    Ok(uri)
}

/// Folders of certificates are named after it, so it has to be one part of a path, and not one that leads elsewhere.
/// More is a host here than in image names: stores have underscores in theirs.
fn host_is_valid(authority: &str) -> bool {
    let is_hosts =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    !authority.is_empty() && !authority.starts_with('.') && authority.bytes().all(is_hosts)
}

/// `host[:port]` of an address.
#[must_use]
pub fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str())
}

/// Scheme, host and port: what makes a server the same one.
#[must_use]
pub fn origin_of(uri: &Uri) -> (Option<String>, String, u16) {
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    (uri.scheme_str().map(str::to_owned), host, uri.port_u16().unwrap_or(usual))
}

/// An address without what only its server should see.
#[must_use]
pub fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            let path = path.map(|path| format!("/{path}")).unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => bare.to_owned(),
    }
}
