//! Authentication methods, and how each proves that the client knows the password.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// An authentication method, which the protocol calls a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// SHA-1: MySQL up to 5.7, and MariaDB.
    Native,
    /// SHA-256: MySQL 8.
    CachingSha2,
    /// The password in clear text, for a server that asks PAM or LDAP.
    Clear,
    /// The server identifies the process at the other end of the unix socket.
    Socket,
}

impl Method {
    pub(crate) fn named(plugin: &str) -> Option<Self> {
        match plugin {
            "mysql_native_password" => Some(Method::Native),
            "caching_sha2_password" => Some(Method::CachingSha2),
            "mysql_clear_password" => Some(Method::Clear),
            "unix_socket" | "auth_socket" => Some(Method::Socket),
            _ => None,
        }
    }

    pub(crate) fn plugin(self) -> &'static str {
        match self {
            Method::Native => "mysql_native_password",
            Method::CachingSha2 => "caching_sha2_password",
            Method::Clear => "mysql_clear_password",
            Method::Socket => "auth_socket",
        }
    }

    /// Answers the server's challenge. An empty password has an empty proof.
    pub(crate) fn proof(self, password: &str, challenge: &[u8]) -> Vec<u8> {
        match self {
            Method::Native | Method::CachingSha2 if password.is_empty() => Vec::new(),
            Method::Native => native(password, challenge),
            Method::CachingSha2 => caching_sha2(password, challenge),
            Method::Clear => clear(password),
            Method::Socket => Vec::new(),
        }
    }
}

/// The password in clear text, with its terminating zero byte.
pub(crate) fn clear(password: &str) -> Vec<u8> {
    [password.as_bytes(), &[0]].concat()
}

/// `SHA1(password) XOR SHA1(challenge + SHA1(SHA1(password)))`
fn native(password: &str, challenge: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    let mask = Sha1::new().chain_update(challenge).chain_update(twice).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)) + challenge)`
fn caching_sha2(password: &str, challenge: &[u8]) -> Vec<u8> {
    let once = Sha256::digest(password);
    let twice = Sha256::digest(once);
    let mask = Sha256::new().chain_update(twice).chain_update(challenge).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server stores the double hash of the password. From proof and challenge it derives the single hash, and compares its
    /// hash with the stored one.
    #[test]
    fn server_verifies_a_proof_with_its_stored_hash() {
        let challenge = b"12345678abcdefghijkl";
        let kept = Sha1::digest(Sha1::digest("secret"));
        let mask = Sha1::new().chain_update(challenge).chain_update(kept).finalize();
        let proof = Method::Native.proof("secret", challenge);
        let once: Vec<u8> = proof.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        assert_eq!(Sha1::digest(once), kept);

        let kept = Sha256::digest(Sha256::digest("secret"));
        let mask = Sha256::new().chain_update(kept).chain_update(challenge).finalize();
        let proof = Method::CachingSha2.proof("secret", challenge);
        let once: Vec<u8> = proof.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        assert_eq!(Sha256::digest(once), kept);
    }

    #[test]
    fn empty_password_has_an_empty_proof() {
        for method in [Method::Native, Method::CachingSha2, Method::Socket] {
            assert_eq!(method.proof("", b"x"), b"", "{method:?}");
        }
        assert_eq!(Method::Clear.proof("a", b"x"), b"a\0");
    }

    #[test]
    fn method_has_the_name_of_its_plugin() {
        for method in [Method::Native, Method::CachingSha2, Method::Clear, Method::Socket] {
            assert_eq!(Method::named(method.plugin()), Some(method));
        }
        assert_eq!(Method::named("client_ed25519"), None);
    }
}
