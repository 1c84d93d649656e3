//! TLS settings for the HTTP probe, built once: reading the system's certificates takes milliseconds.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

#[derive(Default)]
pub(crate) struct Tls {
    verified: OnceLock<Result<ClientConfig, String>>,
    unverified: OnceLock<Result<ClientConfig, String>>,
    bare: OnceLock<Result<ClientConfig, String>>,
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
    pub(crate) fn config(&self, trust: Trust) -> Result<ClientConfig, String> {
        match trust {
            Trust::Verified => self.verified.get_or_init(|| {
                let mut roots = RootCertStore::empty();
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err("the system has no CA certificates (install ca-certificates)".to_owned());
                }
                Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
            }),
            Trust::Unverified => self.unverified.get_or_init(|| {
                let verifier = Arc::new(AnyCertificate(Arc::new(ring::default_provider())));
                Ok(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
            }),
            Trust::Bare => self
                .bare
                .get_or_init(|| Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())),
        }
        .clone()
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())
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
