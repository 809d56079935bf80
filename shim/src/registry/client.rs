//! Requests to one registry: who is asked, with which credentials, how often.
//!
//! The rules that everything here serves:
//! - A request goes by https, but to the own host and to registries that the settings call insecure.
//! - Credentials are shown when the registry asks for them, to it or to the token server that it names; a server that
//!   the registry redirects to is shown nothing, whatever it asks for, and a redirect never leads from https to http.
//! - What passes (a busy server, a cut connection) is tried again, with growing pauses, a bounded number of times.
//! - Of addresses only scheme, host and path get into errors: behind them stand signatures.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::http::Request;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};

use crate::error::{Context, Error, Kind, Result};
use crate::reference::DEFAULT_REGISTRY;
use crate::registry::address::{authority, origin_of, parse, shown};
use crate::registry::cancel::Cancel;
use crate::registry::challenge::Challenge;
use crate::registry::credentials::Credentials;
use crate::registry::network;
use crate::registry::response::Response;
use crate::registry::settings::{Security, Settings};
use crate::registry::tls::{self, Roots, TlsConnector};
use crate::registry::token;

/// Where docker.io's registry is.
const HUB_HOST: &str = "registry-1.docker.io";
/// Redirects that are followed for one request (as Go's client).
const REDIRECTS_MAX: usize = 10;
/// Longest headers of an answer, in bytes.
const HEADERS_MAX: usize = 64 << 10;
/// Longest answer of a token server, in bytes.
const TOKEN_MAX: u64 = 1 << 20;
/// Longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often a request is tried before its failure is final.
    pub tries: u32,
    /// Pause before the second try; each further one is twice as long.
    pub pause: Duration,
    /// How long a server may be silent.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { tries: 5, pause: Duration::from_millis(500), silence: Duration::from_secs(60) }
    }
}

/// What all requests of a command share.
pub struct Network<'a> {
    /// What the administrator says.
    pub settings: Settings,
    /// How to end it all.
    pub cancel: &'a Cancel,
    /// How long and how often.
    pub patience: Patience,
    roots: Roots,
    /// By scheme and `host[:port]`.
    agents: Mutex<HashMap<(bool, String), ureq::Agent>>,
}

impl<'a> Network<'a> {
    /// With these settings; nothing is connected yet.
    #[must_use]
    pub fn new(settings: Settings, cancel: &'a Cancel, patience: Patience) -> Network<'a> {
        Network { settings, cancel, patience, roots: Roots::default(), agents: Mutex::default() }
    }

    /// Whoever makes the connections to this server.
    fn agent(&self, is_https: bool, authority: &str) -> Result<ureq::Agent> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (is_https, authority.to_owned());
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let is_verified = self.settings.security(authority) != Security::Insecure;
        let tls = if is_https { Some(tls::config(&self.roots, authority, is_verified)?) } else { None };
        let proxy = network::proxy(is_https, authority, |name| std::env::var(name).ok());
        let proxy = proxy.map(|proxy| {
            // Without the address: a password may be in it.
            ureq::Proxy::new(&proxy)
                .map_err(|_| Error::usage("HTTPS_PROXY or HTTP_PROXY: no address of a proxy"))
        });
        let silence = Some(self.patience.silence);
        let config = ureq::config::Config::builder()
            .proxy(proxy.transpose()?)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(HEADERS_MAX)
            .user_agent(concat!("caisson/", env!("CARGO_PKG_VERSION")))
            .accept("")
            .accept_encoding("")
            .timeout_connect(silence)
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .timeout_per_write(silence)
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(TlsConnector::new(tls));
        let agent = ureq::Agent::with_parts(config, connector, DefaultResolver::default());
        self.cancel.watch(&agent);
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    /// Tries until it works, the failure is final, or patience has ended.
    ///
    /// # Errors
    /// The last failure; [`Kind::Interrupted`].
    pub fn retry<T>(&self, mut attempt: impl FnMut() -> std::result::Result<T, Failure>) -> Result<T> {
        let mut tries = 0;
        loop {
            self.cancel.check()?;
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => {
                    tries += 1;
                    self.pause(failure, tries)?;
                }
            }
        }
    }

    /// Waits before another try; `tries` have failed, this one with `failure`.
    ///
    /// # Errors
    /// The failure, if there is to be no other try.
    pub fn pause(&self, failure: Failure, tries: u32) -> Result<()> {
        self.cancel.check()?;
        let (error, after) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Again(error, after) => (error, after),
        };
        if tries >= self.patience.tries {
            return Err(error);
        }
        let pause = after.unwrap_or(self.patience.pause * (1 << (tries - 1).min(16)));
        if pause > RETRY_AFTER_MAX {
            return Err(error).during(|| format!("it asks to wait {} seconds", pause.as_secs()));
        }
        self.cancel.sleep(pause)
    }
}

/// Why a request failed.
#[derive(Debug)]
pub enum Failure {
    /// It will not work.
    Final(Error),
    /// It may work later: after the time that the server asks for, if it does.
    Again(Error, Option<Duration>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

/// What one try comes to.
pub type Attempt<T> = std::result::Result<T, Failure>;

/// What is asked.
#[derive(Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Media types that are understood.
    pub accept: Option<&'a str>,
    /// From which byte on.
    pub from: Option<u64>,
    /// To be shown, as a header.
    pub(super) authorization: Option<&'a str>,
    /// To be posted.
    pub(super) form: Option<&'a str>,
}

/// One registry, about one of its repositories or about none.
pub struct Client<'n> {
    network: &'n Network<'n>,
    /// As in image names.
    registry: String,
    /// Where it is.
    authority: String,
    scope: Option<String>,
    credentials: Box<dyn Fn() -> Result<Option<Credentials>> + Send + Sync + 'n>,
    is_https: OnceLock<bool>,
    /// What is shown to it, since it has asked for it.
    authorization: Mutex<Option<String>>,
}

impl<'n> Client<'n> {
    /// For this registry; `credentials` is called when it asks who we are.
    pub fn new(
        network: &'n Network<'n>,
        registry: &str,
        repository: Option<&str>,
        credentials: impl Fn() -> Result<Option<Credentials>> + Send + Sync + 'n,
    ) -> Client<'n> {
        let authority = if registry == DEFAULT_REGISTRY { HUB_HOST } else { registry };
        Client {
            network,
            registry: registry.to_owned(),
            authority: authority.to_owned(),
            scope: repository.map(|repository| format!("repository:{repository}:pull")),
            credentials: Box::new(credentials),
            is_https: OnceLock::new(),
            authorization: Mutex::default(),
        }
    }

    /// The same, where the scheme is known already.
    #[must_use]
    pub fn with_scheme(self, is_https: bool) -> Client<'n> {
        let _ = self.is_https.set(is_https);
        self
    }

    /// What the requests of the command share.
    #[must_use]
    pub fn network(&self) -> &'n Network<'n> {
        self.network
    }

    /// The registry, as in image names.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `https://host[:port]`.
    ///
    /// # Errors
    /// The registry cannot be reached, or is not believed.
    pub fn origin(&self) -> Attempt<String> {
        let is_https = match self.is_https.get() {
            Some(is_https) => *is_https,
            None => *self.is_https.get_or_init({
                let found = self.speaks_tls()?;
                move || found
            }),
        };
        Ok(format!("{}://{}", if is_https { "https" } else { "http" }, self.authority))
    }

    /// Is it to be spoken to by https? Where plain http is permitted, the registry itself decides.
    fn speaks_tls(&self) -> Attempt<bool> {
        if self.network.settings.security(&self.authority) == Security::Verified {
            return Ok(true);
        }
        let url = format!("https://{}/v2/", self.authority);
        match self.exchange(&url, Ask::default()) {
            Ok(_) => Ok(true),
            // Somebody who speaks TLS and is not believed: plain http would be no answer to that.
            Err(ureq::Error::Io(error)) if tls::distrust(&error).is_some() => {
                Err(self.failure("GET", &url, ureq::Error::Io(error)))
            }
            Err(error @ ureq::Error::Timeout(_)) => Err(self.failure("GET", &url, error)),
            Err(ureq::Error::Other(error)) => Err(Failure::Final(Error::invalid(error.to_string()))),
            Err(_) => Ok(false),
        }
    }

    /// Asks the registry for a path, which begins with `/v2/`.
    ///
    /// # Errors
    /// Everything but an answer with a status of 2xx (or 416, which is an answer about a range).
    pub fn get(&self, path: &str, ask: Ask) -> Attempt<Response> {
        let url = format!("{}{path}", self.origin()?);
        let shown = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let response = self.send(&url, Ask { authorization: shown.as_deref(), ..ask })?;
        if response.status() != 401 || response.is_elsewhere() {
            return response.checked();
        }
        let Some(challenge) = response.challenge() else { return response.checked() };
        let shown = self.authorize(&challenge, shown)?;
        self.send(&url, Ask { authorization: Some(&shown), ..ask })?.checked()
    }

    /// What to show to the registry from now on. `refused` is what it has been shown.
    fn authorize(&self, challenge: &Challenge, refused: Option<String>) -> Attempt<String> {
        let mut authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = authorization.as_ref().filter(|current| Some(*current) != refused.as_ref()) {
            // Another thread has asked meanwhile.
            return Ok(current.clone());
        }
        let credentials = (self.credentials)().map_err(Failure::Final)?;
        let header = match (challenge, &credentials) {
            (_, Some(Credentials::RegistryToken(token))) => format!("Bearer {token}"),
            (Challenge::Basic, Some(Credentials::Password(user, password))) => basic(user, password),
            (Challenge::Basic, _) => return Err(Error::new(Kind::Denied, "no basic auth credentials").into()),
            (Challenge::Bearer { realm, service, scope }, credentials) => {
                let answer =
                    self.ask_token(realm, service.as_deref(), scope.as_deref(), credentials.as_ref(), false)?;
                format!("Bearer {}", answer.token()?)
            }
        };
        if refused.as_deref() == Some(&header) {
            return Err(Error::new(Kind::Denied, "unauthorized: authentication required").into());
        }
        *authorization = Some(header.clone());
        Ok(header)
    }

    /// Asks the token server that the registry named.
    fn ask_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        credentials: Option<&Credentials>,
        is_login: bool,
    ) -> Attempt<token::Answer> {
        let realm_uri = parse(realm)?;
        let is_plain = realm_uri.scheme_str() != Some("https");
        let registry_is_plain = self.is_https.get() == Some(&false);
        let security = self.network.settings.security(authority(&realm_uri));
        if is_plain && (!registry_is_plain || security == Security::Verified) {
            let reason = "the token server is not https";
            return Err(Error::invalid(format!("{:?}: {reason}", shown(realm))).into());
        }
        let mut scopes: Vec<&str> = self.scope.as_deref().into_iter().collect();
        let more = scope.into_iter().flat_map(|scope| scope.split(' '));
        scopes.extend(more.filter(|scope| !scope.is_empty() && Some(*scope) != self.scope.as_deref()));
        let question = token::question(realm, service, &scopes, credentials, is_login);
        let authorization = question.basic.as_ref().map(|(user, password)| basic(user, password));
        let (authorization, form) = (authorization.as_deref(), question.form.as_deref());
        let response = self.send(&question.url, Ask { authorization, form, ..Ask::default() })?;
        if matches!(response.status(), 400 | 401 | 403) {
            let reason = response.reason();
            let reason = if reason.is_empty() { "authentication required".to_owned() } else { reason };
            return Err(Error::new(Kind::Denied, format!("unauthorized: {reason}")).into());
        }
        let bytes = response.checked()?.bytes(TOKEN_MAX)?;
        Ok(token::Answer::parse(&bytes)?)
    }

    /// Checks credentials. The answer is what is to be kept in their place, if the token server gave something.
    ///
    /// # Errors
    /// The registry does not take them.
    pub fn login(&self, credentials: &Credentials) -> Attempt<Option<Credentials>> {
        let url = format!("{}/v2/", self.origin()?);
        let first = self.send(&url, Ask::default())?;
        if first.status() != 401 {
            // A registry that asks nobody.
            return first.checked().map(|_| None);
        }
        let Some(challenge) = first.challenge() else { return first.checked().map(|_| None) };
        let (header, instead) = match (&challenge, credentials) {
            (Challenge::Basic, Credentials::Password(user, password)) => (basic(user, password), None),
            (Challenge::Basic, _) => {
                return Err(Error::new(Kind::Denied, "it wants name and password").into());
            }
            (Challenge::Bearer { realm, service, scope }, credentials) => {
                let mut answer =
                    self.ask_token(realm, service.as_deref(), scope.as_deref(), Some(credentials), true)?;
                let refresh = answer.refresh_token.take().filter(|token| !token.is_empty());
                (format!("Bearer {}", answer.token()?), refresh.map(Credentials::IdentityToken))
            }
        };
        let second = self.send(&url, Ask { authorization: Some(&header), ..Ask::default() })?;
        if second.status() == 401 {
            let reason = second.reason();
            let reason = if reason.is_empty() { "incorrect username or password".to_owned() } else { reason };
            return Err(Error::new(Kind::Denied, format!("unauthorized: {reason}")).into());
        }
        second.checked().map(|_| instead)
    }

    /// One request, through all redirects.
    fn send(&self, url: &str, ask: Ask) -> Attempt<Response> {
        let mut url = url.to_owned();
        let mut is_elsewhere = false;
        for _ in 0..=REDIRECTS_MAX {
            self.network.cancel.check()?;
            let shown_now = if is_elsewhere { None } else { ask.authorization };
            let method = if ask.form.is_some() { "POST" } else { "GET" };
            let inner = self
                .exchange(&url, Ask { authorization: shown_now, ..ask })
                .map_err(|error| self.failure(method, &url, error))?;
            let response = Response::new(inner, &url, is_elsewhere);
            if !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let Some(location) = response.header("location") else {
                return Err(response.wrong("a redirect to nowhere"));
            };
            if ask.form.is_some() {
                return Err(response.wrong("a redirect of what was posted"));
            }
            let next = self.resolve(&url, location).map_err(|reason| response.wrong(&reason.to_string()))?;
            is_elsewhere |= origin_of(&parse(&next)?) != origin_of(&parse(&url)?);
            url = next;
        }
        Err(Error::invalid(format!("{}: too many redirects", shown(&url))).into())
    }

    /// Where a redirect leads, if it may.
    fn resolve(&self, base: &str, location: &str) -> Result<String> {
        let from = parse(base)?;
        let scheme = from.scheme_str().unwrap_or_default();
        let url = if location.contains("://") {
            location.to_owned()
        } else if let Some(rest) = location.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else if location.starts_with('/') {
            format!("{scheme}://{}{location}", authority(&from))
        } else {
            let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{}{folder}/{location}", authority(&from))
        };
        let to = parse(&url)?;
        match (scheme, to.scheme_str()) {
            (_, Some("https")) => Ok(url),
            ("http", Some("http"))
                if self.network.settings.security(authority(&to)) != Security::Verified =>
            {
                Ok(url)
            }
            _ => {
                Err(Error::new(Kind::Denied, format!("a redirect to {:?}, which is not https", shown(&url))))
            }
        }
    }

    fn exchange(
        &self,
        url: &str,
        ask: Ask,
    ) -> std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let uri = parse(url).map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let agent = self
            .network
            .agent(uri.scheme_str() == Some("https"), authority(&uri))
            .map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let mut request = Request::builder().uri(uri);
        if let Some(accept) = ask.accept {
            request = request.header("accept", accept);
        }
        if let Some(from) = ask.from {
            request = request.header("range", format!("bytes={from}-"));
        }
        if let Some(authorization) = ask.authorization {
            request = request.header("authorization", authorization);
        }
        match ask.form {
            None => agent.run(request.method("GET").body(())?),
            Some(form) => agent.run(
                request
                    .method("POST")
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form.to_owned())?,
            ),
        }
    }

    /// What an error of the client means, in words.
    fn failure(&self, method: &str, url: &str, error: ureq::Error) -> Failure {
        if let Err(interrupted) = self.network.cancel.check() {
            return Failure::Final(interrupted);
        }
        let words = |reason: &str| format!("{method} {:?}: {reason}", shown(url));
        match error {
            ureq::Error::Io(error) => {
                if let Some(reason) = tls::distrust(&error) {
                    return Failure::Final(Error::invalid(words(&reason)));
                }
                if error.to_string().contains("Name or service not known") {
                    return Failure::Final(Error::new(Kind::Unavailable, words("no such host")));
                }
                let is_refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
                let error = Error::new(Kind::Unavailable, words(&Error::from(error).to_string()));
                if is_refused { Failure::Final(error) } else { Failure::Again(error, None) }
            }
            ureq::Error::Timeout(_) => {
                let seconds = self.network.patience.silence.as_secs();
                let reason = format!("no answer for {seconds} seconds");
                Failure::Again(Error::new(Kind::Unavailable, words(&reason)), None)
            }
            ureq::Error::HostNotFound => Failure::Final(Error::new(Kind::Unavailable, words("no such host"))),
            ureq::Error::LargeResponseHeader(..) => {
                Failure::Final(Error::invalid(words(&format!("headers of more than {HEADERS_MAX} bytes"))))
            }
            ureq::Error::Other(error) => match error.downcast::<Error>() {
                Ok(own) => Failure::Final(*own),
                Err(error) => Failure::Final(Error::invalid(words(&error.to_string()))),
            },
            error => Failure::Final(Error::invalid(words(&error.to_string()))),
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
