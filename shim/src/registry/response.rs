//! What a server answers: its status, its words about an error, its body within bounds.

use std::io::Read as _;
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::registry::address::shown;
use crate::registry::challenge::{self, Challenge};
use crate::registry::client::{Attempt, Failure};

/// Longest explanation of an error that is read, in bytes.
const REASON_MAX: u64 = 1 << 20;

/// An answer.
pub struct Response {
    inner: ureq::http::Response<ureq::Body>,
    url: String,
    /// It is not the registry's own.
    is_elsewhere: bool,
}

impl Response {
    /// The answer to a request to this address. `is_elsewhere` if it is not the registry's own.
    #[must_use]
    pub fn new(inner: ureq::http::Response<ureq::Body>, url: &str, is_elsewhere: bool) -> Response {
        Response { inner, url: url.to_owned(), is_elsewhere }
    }

    /// Is it another server's than the registry's?
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// A header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// Length of the body as told, in bytes.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// What the server wants to be shown.
    #[must_use]
    pub fn challenge(&self) -> Option<Challenge> {
        let headers = self.inner.headers().get_all("www-authenticate").iter();
        challenge::best(headers.filter_map(|header| header.to_str().ok()))
    }

    /// An error about this answer.
    pub fn wrong(&self, reason: &str) -> Failure {
        Failure::Final(Error::invalid(format!("GET {:?}: {reason}", shown(&self.url))))
    }

    /// Lets through what is of use.
    ///
    /// # Errors
    /// What the status says, in the server's words.
    pub fn checked(self) -> Attempt<Response> {
        let status = self.status();
        if matches!(status, 200..=299 | 416) {
            return Ok(self);
        }
        let after = self.header("retry-after").and_then(retry_after);
        let place = format!("GET {:?}", shown(&self.url));
        let text = self.inner.status().canonical_reason().unwrap_or("status").to_owned();
        let reason = self.reason();
        let reason = if reason.is_empty() { format!("{status} {text}") } else { reason };
        let error = |kind: Kind| Error::new(kind, format!("{place}: {reason}"));
        Err(match status {
            401 | 403 => Failure::Final(error(Kind::Denied)),
            404 => Failure::Final(error(Kind::NotFound)),
            408 | 429 | 500 | 502..=504 => Failure::Again(error(Kind::Unavailable), after),
            _ => Failure::Final(error(Kind::Invalid)),
        })
    }

    /// What the body says about an error: the distribution specification's form of it.
    #[must_use]
    pub fn reason(self) -> String {
        #[derive(serde::Deserialize)]
        struct Errors {
            errors: Vec<One>,
        }
        #[derive(serde::Deserialize)]
        struct One {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let Ok(bytes) = self.bytes(REASON_MAX) else { return String::new() };
        let Ok(errors) = serde_json::from_slice::<Errors>(&bytes) else { return String::new() };
        let Some(first) = errors.errors.into_iter().next() else { return String::new() };
        let code = first.code.to_lowercase().replace('_', " ");
        let message: String = first.message.chars().take(500).collect();
        match (code.is_empty(), message.is_empty()) {
            (false, false) => format!("{code}: {message}"),
            _ => format!("{code}{message}"),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// One longer than `max` bytes; a cut connection.
    pub fn bytes(self, max: u64) -> Attempt<Vec<u8>> {
        let place = format!("GET {:?}", shown(&self.url));
        let mut bytes = Vec::new();
        let read = self
            .inner
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader()
            .take(max + 1)
            .read_to_end(&mut bytes);
        if let Err(error) = read {
            let reason = Error::from(error);
            return Err(Failure::Again(Error::new(Kind::Unavailable, format!("{place}: {reason}")), None));
        }
        if bytes.len() as u64 > max {
            return Err(Error::invalid(format!("{place}: more than {max} bytes")).into());
        }
        Ok(bytes)
    }

    /// The body as a stream, without an end of ours.
    #[must_use]
    pub fn reader(self) -> ureq::BodyReader<'static> {
        self.inner.into_body().into_with_config().limit(u64::MAX).reader()
    }
}

/// What `Retry-After` says (RFC 9110, section 10.2.3): seconds, or a time.
#[must_use]
pub fn retry_after(header: &str) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header.trim()).ok()?;
    let wait = then.as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(wait).unwrap_or_default()))
}
