//! Servers in the test's own process, on the loopback of the calling thread's network. They serve until the process ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Handles each connection with `talk`, on a thread of its own. Returns the address.
///
/// # Panics
/// If there is no loopback.
pub fn serve(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback");
    let address = listener.local_addr().expect("a bound socket");
    let talk = Arc::new(talk);
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A test may use up all descriptors.
            let Ok(stream) = stream else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let talk = Arc::clone(&talk);
            thread::spawn(move || talk(stream));
        }
    });
    address
}

/// The text of an HTTP answer, after which the server closes the connection. `headers` end with `\r\n` each.
pub fn http_answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}

/// A TLS server's settings, with a self-signed certificate for `name`.
///
/// # Panics
/// If `name` is no server name.
pub fn self_signed(name: &str) -> Arc<ServerConfig> {
    signed_by_itself(CertificateParams::new([name.to_owned()]).expect("a server name"))
}

/// A TLS server's settings, with a self-signed certificate of these contents.
///
/// # Panics
/// If there can be no such certificate.
pub fn signed_by_itself(params: CertificateParams) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key that was just made");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key));
    Arc::new(config.expect("settings for a certificate that was just made"))
}

/// The server's end of a TLS session, before the handshake.
///
/// # Panics
/// If the settings are unusable.
pub fn accept_tls(config: &Arc<ServerConfig>, peer: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).expect("usable settings"), peer)
}
