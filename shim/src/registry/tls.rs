//! TLS: whom to believe, and who to be.
//!
//! The roots are the system's, from files; nothing is loaded. What a registry adds lies in a folder named after it:
//! `*.crt` are certificates to believe too, a `*.cert` with the `*.key` of the same name says who we are. The folders
//! are those of Docker and of Podman, so that what an administrator has set up is in force here.
//!
//! A root is believed also when the registry shows that very certificate, although it is one for authorities: that is what `openssl req -x509` makes, and what Docker's documentation tells people to use.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::error::{Context, Error, Result};
use crate::registry::network::host_of;

/// Where distributions keep the roots, in one file; the first that is there counts (the list of Go's crypto/x509).
const ROOT_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Or in many.
const ROOT_FOLDERS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
/// Longest file of certificates that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;

type Certificates = Vec<CertificateDer<'static>>;

/// Whom to believe for all registries, read when the first one is spoken to by TLS.
#[derive(Debug, Default)]
pub struct Roots {
    system: OnceLock<Certificates>,
}

impl Roots {
    fn get(&self) -> Result<&[CertificateDer<'static>]> {
        if let Some(roots) = self.system.get() {
            return Ok(roots);
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let roots = system_roots(variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR"))?;
        Ok(self.system.get_or_init(|| roots))
    }
}

/// The roots of the system, or of these two variables.
fn system_roots(file: Option<String>, folders: Option<String>) -> Result<Certificates> {
    let file = match (&file, &folders) {
        // What was named has to be there.
        (Some(file), _) => Some(PathBuf::from(file)),
        (None, Some(_)) => None,
        (None, None) => ROOT_FILES.iter().map(PathBuf::from).find(|file| file.exists()),
    };
    let mut roots = match &file {
        Some(file) => certificates(file)?,
        None => Vec::new(),
    };
    let folders: Vec<PathBuf> = match &folders {
        Some(folders) => folders.split(':').map(PathBuf::from).collect(),
        None if file.is_none() => ROOT_FOLDERS.map(PathBuf::from).to_vec(),
        None => Vec::new(),
    };
    for path in folders.iter().filter_map(|folder| names(folder, |_| true).ok()).flatten() {
        // Such a folder holds other things too.
        roots.extend(certificates(&path).unwrap_or_default());
    }
    Ok(roots)
}

/// Files of a folder whose names are wanted, in order.
fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let words = || format!("read {folder:?}");
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        entries => {
            for entry in entries.during(words)? {
                found.push(entry.during(words)?.path());
            }
        }
    }
    found.retain(|path| wanted(path) && path.is_file());
    found.sort();
    Ok(found)
}

fn read_pem(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let words = || format!("read {path:?}");
    let mut bytes = Vec::new();
    fs::File::open(path).during(words)?.take(FILE_MAX + 1).read_to_end(&mut bytes).during(words)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Error::invalid(format!("it is longer than {FILE_MAX} bytes"))).during(words);
    }
    Ok(bytes)
}

/// All certificates of a PEM file.
fn certificates(path: &Path) -> Result<Certificates> {
    let bytes = read_pem(path)?;
    let all: std::result::Result<Certificates, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    all.map_err(|error| Error::invalid(format!("read {path:?}: {error}")))
}

/// The folders in which something may lie for this registry. Its name was checked as a part of a reference: no slash,
/// no name that begins with a dot.
fn folders(authority: &str) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let mut above = vec![PathBuf::from("/etc/containers/certs.d"), PathBuf::from("/etc/docker/certs.d")];
    if let Some(home) = home.filter(|home| home.is_absolute()) {
        above.extend([home.join(".config/containers/certs.d"), home.join(".config/docker/certs.d")]);
    }
    above.into_iter().map(|above| above.join(authority)).collect()
}

/// Who a registry's folders say to believe and to be.
#[derive(Debug, Default)]
struct Own {
    roots: Certificates,
    client: Option<(Certificates, PrivateKeyDer<'static>)>,
}

fn own(folders: &[PathBuf]) -> Result<Own> {
    let mut own = Own::default();
    let has_extension =
        |extension: &'static str| move |path: &Path| path.extension().is_some_and(|is| is == extension);
    for folder in folders {
        for path in names(folder, has_extension("crt"))? {
            let found = certificates(&path)?;
            if found.is_empty() {
                return Err(Error::invalid("there is no certificate in it"))
                    .during(|| format!("read {path:?}"));
            }
            own.roots.extend(found);
        }
        for path in names(folder, has_extension("key"))? {
            if !path.with_extension("cert").exists() {
                return Err(Error::not_found(format!("missing client certificate for key {path:?}")));
            }
        }
        for path in names(folder, has_extension("cert"))? {
            let key = path.with_extension("key");
            if !key.exists() {
                let hint = "CA certificates must use the extension .crt";
                return Err(Error::not_found(format!(
                    "missing key {key:?} for client certificate {path:?}: {hint}"
                )));
            }
            if own.client.is_some() {
                return Err(Error::invalid(format!("a second client certificate in {folder:?}: {path:?}")));
            }
            let bytes = read_pem(&key)?;
            let private = PrivateKeyDer::from_pem_slice(&bytes)
                .map_err(|error| Error::invalid(format!("read {key:?}: {error}")))?;
            own.client = Some((certificates(&path)?, private));
        }
    }
    Ok(own)
}

/// How to speak TLS with `host[:port]`.
///
/// # Errors
/// A file that has to be read for it and cannot, or says nothing usable.
pub fn config(roots: &Roots, authority: &str, is_verified: bool) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = own(&folders(authority))?;
    let verifier: Arc<dyn ServerCertVerifier> = if is_verified {
        Arc::new(Verifier::new(roots.get()?, &own.roots, &provider)?)
    } else {
        Arc::new(AnyCertificate { provider: Arc::clone(&provider) })
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match own.client {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| Error::invalid(format!("client certificate for {authority}: {error}")))?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Believes the roots, and who shows one of them.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    named: Certificates,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(
        system: &[CertificateDer<'static>],
        own: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier> {
        let mut roots = RootCertStore::empty();
        // Systems keep certificates that webpki does not read; the rest counts.
        roots.add_parsable_certificates(system.iter().chain(own).cloned());
        let chain = if roots.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            Some(builder.build().map_err(|error| Error::invalid(format!("TLS: {error}")))?)
        };
        Ok(Verifier {
            chain,
            named: system.iter().chain(own).cloned().collect(),
            provider: Arc::clone(provider),
        })
    }
}

/// Is it refused for nothing but being an authority's own?
fn is_authoritys(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other))
        if other.0.to_string() == "CaUsedAsEndEntity")
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // Its time was checked before this; its name was not.
            Err(error) if is_authoritys(&error) => {
                if !self.named.iter().any(|named| named == end_entity) {
                    return Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
                }
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Believes anybody: for registries that the administrator has called insecure.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Puts TLS around the connections of ureq that are for https.
pub struct TlsConnector {
    /// None where the agent is for plain http only.
    config: Option<Arc<ClientConfig>>,
}

impl TlsConnector {
    /// With this configuration; without one, https fails.
    #[must_use]
    pub fn new(config: Option<Arc<ClientConfig>>) -> TlsConnector {
        TlsConnector { config }
    }
}

impl std::fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> std::result::Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let config = self.config.as_ref().ok_or(ureq::Error::Tls("not configured"))?;
        let host = host_of(details.uri.authority().map_or("", |authority| authority.as_str()));
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| ureq::Error::Tls("no name of a host"))?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
        let mut socket = TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        let mut stream = StreamOwned::new(connection, socket);
        stream.conn.complete_io(&mut stream.sock)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

/// A connection inside of TLS.
pub struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(
        &mut self,
        amount: usize,
        timeout: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        use std::io::Write as _;
        self.stream.sock.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        use std::io::Read as _;
        self.stream.sock.set_timeout(timeout);
        let count = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Why the other side is not believed, if that is what this error says; None if it does not speak TLS, or not with us.
#[must_use]
pub fn distrust(error: &std::io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("certificate signed by unknown authority".to_owned())
        }
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::AlertReceived(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::PeerIncompatible(_) => Some(error.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_folder_of_certificates_that_is_half_is_an_error() {
        let scratch = Scratch::new();
        let folder = [scratch.join("registry:5000")];
        let read = || own(&folder).map(|own| own.roots.len()).map_err(|error| error.to_string());
        assert_eq!(read(), Ok(0), "no folder");
        fs::create_dir(&folder[0]).unwrap();
        fs::write(folder[0].join("notes"), "x").unwrap();
        assert_eq!(read(), Ok(0), "nothing in it");
        for (name, reason) in [
            ("a.crt", "there is no certificate in it"),
            ("client.cert", "missing key"),
            ("client.key", "missing client certificate"),
        ] {
            let path = folder[0].join(name);
            fs::write(&path, "x").unwrap();
            let error = read().unwrap_err();
            assert!(error.contains(reason), "{error}");
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn roots_come_from_the_file_and_the_folders_that_were_named() {
        let scratch = Scratch::new();
        let text = |path: &Path| Some(path.to_str().unwrap().to_owned());
        assert!(
            system_roots(text(&scratch.join("none")), None).is_err(),
            "a file that was named has to be there"
        );
        assert_eq!(system_roots(None, text(scratch.path())).unwrap().len(), 0);
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(scratch.join("two.pem"), pem.repeat(2)).unwrap();
        assert_eq!(system_roots(text(&scratch.join("two.pem")), None).unwrap().len(), 2);
        assert_eq!(system_roots(text(&scratch.join("two.pem")), text(scratch.path())).unwrap().len(), 4);
    }
}
