//! TLS settings for the probes, built once: reading the system's certificates takes milliseconds.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::time::Instant;

use super::ProbeError;
use vouchd_blocking::Blocking;

/// Where they are on most systems.
const CERTIFICATES: &str = "/etc/ssl/certs";

/// Reads them once, whoever asks.
const READING: &str = "certificates";

/// What could not be made for lack of something is tried again the next time.
#[derive(Default)]
pub(crate) struct Tls {
    /// For reading the certificates of the system.
    aside: Blocking,
    verified: OnceLock<ClientConfig>,
    unverified: OnceLock<ClientConfig>,
    system: OnceLock<Arc<WebPkiServerVerifier>>,
}

/// How far a server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// Against the system's certificates.
    Verified,
    /// Any certificate will do.
    Unverified,
    /// There is no TLS.
    Bare,
}

impl Tls {
    pub(crate) async fn config(self: &Arc<Self>, verify: bool, deadline: Instant) -> Result<ClientConfig, ProbeError> {
        let kept = if verify { &self.verified } else { &self.unverified };
        if let Some(config) = kept.get() {
            return Ok(config.clone());
        }
        let verifier: Arc<dyn ServerCertVerifier> = if verify {
            self.certificates(deadline).await?.map_err(ProbeError::Unable)?
        } else {
            Arc::new(AnyCertificate(Arc::new(ring::default_provider())))
        };
        let config = builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(kept.get_or_init(|| config).clone())
    }

    /// Settings for one handshake, and what will know afterwards what was wrong with the certificate. With `required`
    /// nothing may be.
    pub(crate) async fn noting(
        self: &Arc<Self>,
        required: bool,
        deadline: Instant,
    ) -> Result<(ClientConfig, Arc<Noting>), ProbeError> {
        let system = self.certificates(deadline).await?;
        if let (true, Err(problem)) = (required, &system) {
            return Err(ProbeError::Unable(problem.clone()));
        }
        let provider = Arc::new(ring::default_provider());
        let any = AnyCertificate(provider);
        let verifier = Arc::new(Noting { required, system, any, problem: Mutex::new(None) });
        let config =
            builder()?.dangerous().with_custom_certificate_verifier(Arc::clone(&verifier) as _).with_no_client_auth();
        Ok((config, verifier))
    }

    /// The certificates lie on a file system that is dead.
    #[cfg(test)]
    pub(super) fn without_an_answer() -> Arc<Self> {
        let tls = Arc::new(Tls::default());
        let time = Duration::from_millis(1);
        let begun = tls.aside.wait(READING, std::path::Path::new(CERTIFICATES), time, || {
            loop {
                std::thread::park();
            }
        });
        assert!(begun.is_err());
        tls
    }

    /// Those of the system, read for the first time on a thread of its own.
    async fn certificates(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<Result<Arc<WebPkiServerVerifier>, String>, ProbeError> {
        loop {
            if let Some(verifier) = self.system.get() {
                return Ok(Ok(Arc::clone(verifier)));
            }
            let tls = Arc::clone(self);
            let time = deadline.saturating_duration_since(Instant::now());
            match self.aside.run(READING, CERTIFICATES, time, move || tls.system()).await {
                Ok(read) => return Ok(read),
                Err(stuck) if Instant::now() >= deadline => return Err(ProbeError::Unable(stuck.to_string())),
                // Another check has begun to read them.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Blocks while it reads them for the first time.
    fn system(&self) -> Result<Arc<WebPkiServerVerifier>, String> {
        if let Some(verifier) = self.system.get() {
            return Ok(Arc::clone(verifier));
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        // Some of them would do for some servers, and not for others.
        if let Some(lacking) = found.errors.iter().find_map(lacking) {
            return Err(lacking);
        }
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("this host has no CA certificates to verify with (install ca-certificates)".to_owned());
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Arc::clone(self.system.get_or_init(|| verifier)))
    }
}

/// What the host ran out of while the certificates were read.
fn lacking(error: &rustls_native_certs::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(errno) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return crate::shortage::lacking(Errno::from_raw(errno), "reading the CA certificates");
        }
        cause = error.source();
    }
    None
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, ProbeError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| ProbeError::Unable(e.to_string()))
}

/// Looks at a certificate and remembers what is wrong with it.
#[derive(Debug)]
pub(crate) struct Noting {
    required: bool,
    system: Result<Arc<WebPkiServerVerifier>, String>,
    any: AnyCertificate,
    problem: Mutex<Option<String>>,
}

impl Noting {
    /// Of the handshake that has been.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = match &self.system {
            Ok(system) => system.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            Err(problem) => Err(Error::General(problem.clone())),
        };
        match found {
            Err(error) if !self.required => {
                *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                Ok(ServerCertVerified::assertion())
            }
            found => found,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any.supported_verify_schemes()
    }
}

/// Takes any certificate, but still only a peer that holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The configuration of a server for tests, with a certificate of its own making.
#[cfg(test)]
pub(crate) fn self_signed_server(name: &str) -> rustls::ServerConfig {
    let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap()
}
