//! TLS for the probes. Settings are built once: reading the system's certificates takes milliseconds.

pub(super) mod certificate;

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::time::Instant;
use vouchd_blocking::Blocking;

use super::error::{Stage, of_connection};
use crate::contract::ProbeError;
use crate::shortage;

/// Where most systems keep their CA certificates; named in errors.
const CERTIFICATES: &str = "/etc/ssl/certs";

/// The key under which the certificates are read once for all checks.
const READING: &str = "certificates";

/// TLS settings that all checks share. Those that could not be built for a shortage are tried again the next time.
#[derive(Default)]
pub(crate) struct Tls {
    /// For reading the system's certificates.
    blocking: Blocking,
    verified: OnceLock<ClientConfig>,
    unverified: OnceLock<ClientConfig>,
    system: OnceLock<Arc<WebPkiServerVerifier>>,
}

/// How a server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Trust {
    /// Against the system's CA certificates.
    Verified,
    /// Any certificate is accepted.
    Unverified,
    /// Without TLS.
    Plain,
}

impl Tls {
    pub(super) async fn config(self: &Arc<Self>, verify: bool, deadline: Instant) -> Result<ClientConfig, ProbeError> {
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

    /// Settings for one handshake, and the verifier that knows the certificate's problem afterwards. `required` makes a
    /// problem fail the handshake.
    pub(super) async fn noting(
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

    /// Settings whose certificates lie on a dead file system.
    #[cfg(test)]
    pub(super) fn without_an_answer() -> Arc<Self> {
        let tls = Arc::new(Tls::default());
        let time = Duration::from_millis(1);
        let begun = tls.blocking.wait(READING, std::path::Path::new(CERTIFICATES), time, || {
            loop {
                std::thread::park();
            }
        });
        assert!(begun.is_err());
        tls
    }

    /// The system's verifier. Reads the certificates the first time, on a thread of its own.
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
            match self.blocking.run(READING, CERTIFICATES, time, move || tls.system()).await {
                Ok(read) => return Ok(read),
                Err(stuck) if Instant::now() >= deadline => return Err(ProbeError::Unable(stuck.to_string())),
                // Another check is reading them.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Blocks while it reads the certificates for the first time.
    fn system(&self) -> Result<Arc<WebPkiServerVerifier>, String> {
        if let Some(verifier) = self.system.get() {
            return Ok(Arc::clone(verifier));
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        // A part of the certificates would verify some servers and not others.
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

/// The shortage that kept certificates from being read.
fn lacking(error: &rustls_native_certs::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return shortage::lacking(Errno::from_raw(errno), "reading the CA certificates");
        }
        cause = error.source();
    }
    None
}

/// The failure of a TLS handshake.
pub(super) fn handshake_failed(error: &io::Error) -> ProbeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => ProbeError::Tls(tls.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            ProbeError::Tls("the peer closed the connection in the handshake".to_owned())
        }
        None => of_connection(error, Stage::There, "a TLS handshake"),
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, ProbeError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| ProbeError::Unable(e.to_string()))
}

/// Verifies a certificate and remembers the problem with it.
#[derive(Debug)]
pub(super) struct Noting {
    required: bool,
    system: Result<Arc<WebPkiServerVerifier>, String>,
    any: AnyCertificate,
    problem: Mutex<Option<String>>,
}

impl Noting {
    /// The problem with the certificate of the last handshake.
    pub(super) fn problem(&self) -> Option<String> {
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

/// Accepts any certificate, but only from a peer that holds its key.
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
