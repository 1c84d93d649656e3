//! TLS settings for the probes, built once: reading the system's certificates takes milliseconds.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// What could not be made for lack of something is tried again the next time.
#[derive(Default)]
pub(crate) struct Tls {
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
    /// Blocks while it reads the system's certificates for the first time.
    pub(crate) fn config(&self, verify: bool) -> Result<ClientConfig, String> {
        let kept = if verify { &self.verified } else { &self.unverified };
        if let Some(config) = kept.get() {
            return Ok(config.clone());
        }
        let verifier: Arc<dyn ServerCertVerifier> =
            if verify { self.system()? } else { Arc::new(AnyCertificate(Arc::new(ring::default_provider()))) };
        let config = builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(kept.get_or_init(|| config).clone())
    }

    /// Settings for one handshake, and what will know afterwards what was wrong with the certificate. With `required`
    /// nothing may be. Blocks like [`config`](Self::config).
    pub(crate) fn noting(&self, required: bool) -> Result<(ClientConfig, Arc<Noting>), String> {
        let system = self.system();
        if let (true, Err(problem)) = (required, &system) {
            return Err(problem.clone());
        }
        let provider = Arc::new(ring::default_provider());
        let any = AnyCertificate(provider);
        let verifier = Arc::new(Noting { required, system, any, problem: Mutex::new(None) });
        let config =
            builder()?.dangerous().with_custom_certificate_verifier(Arc::clone(&verifier) as _).with_no_client_auth();
        Ok((config, verifier))
    }

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
            return super::error::lacking(Errno::from_raw(errno), "reading the CA certificates");
        }
        cause = error.source();
    }
    None
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())
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
