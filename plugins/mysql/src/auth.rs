//! Proofs of a password, for the ways to log in that servers ask for.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// SHA-1, of MySQL up to 5.7 and MariaDB.
    Native,
    /// SHA-256, of MySQL 8.
    CachingSha2,
    /// The password as it is, to a server that asks PAM or LDAP.
    Clear,
    /// The server looks at who is at the other end of the unix socket.
    Socket,
}

impl Way {
    pub fn named(plugin: &str) -> Option<Self> {
        match plugin {
            "mysql_native_password" => Some(Way::Native),
            "caching_sha2_password" => Some(Way::CachingSha2),
            "mysql_clear_password" => Some(Way::Clear),
            "unix_socket" | "auth_socket" => Some(Way::Socket),
            _ => None,
        }
    }

    pub fn plugin(self) -> &'static str {
        match self {
            Way::Native => "mysql_native_password",
            Way::CachingSha2 => "caching_sha2_password",
            Way::Clear => "mysql_clear_password",
            Way::Socket => "auth_socket",
        }
    }

    /// What answers the server's challenge. An empty password has an empty proof.
    pub fn proof(self, password: &str, challenge: &[u8]) -> Vec<u8> {
        match self {
            Way::Native | Way::CachingSha2 if password.is_empty() => Vec::new(),
            Way::Native => native(password, challenge),
            Way::CachingSha2 => caching_sha2(password, challenge),
            Way::Clear => clear(password),
            Way::Socket => Vec::new(),
        }
    }
}

/// The password as it is, with the zero byte that ends it.
pub fn clear(password: &str) -> Vec<u8> {
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

    /// A server keeps the password's double hash. From proof and challenge it gets the single hash, whose hash it compares.
    #[test]
    fn a_server_can_verify_a_proof_with_what_it_keeps() {
        let challenge = b"12345678abcdefghijkl";
        let kept = Sha1::digest(Sha1::digest("secret"));
        let mask = Sha1::new().chain_update(challenge).chain_update(kept).finalize();
        let proof = Way::Native.proof("secret", challenge);
        let once: Vec<u8> = proof.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        assert_eq!(Sha1::digest(once), kept);

        let kept = Sha256::digest(Sha256::digest("secret"));
        let mask = Sha256::new().chain_update(kept).chain_update(challenge).finalize();
        let proof = Way::CachingSha2.proof("secret", challenge);
        let once: Vec<u8> = proof.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        assert_eq!(Sha256::digest(once), kept);
    }

    #[test]
    fn no_password_has_no_proof() {
        for way in [Way::Native, Way::CachingSha2, Way::Socket] {
            assert_eq!(way.proof("", b"x"), b"", "{way:?}");
        }
        assert_eq!(Way::Clear.proof("a", b"x"), b"a\0");
    }

    #[test]
    fn a_way_has_the_name_of_its_plugin() {
        for way in [Way::Native, Way::CachingSha2, Way::Clear, Way::Socket] {
            assert_eq!(Way::named(way.plugin()), Some(way));
        }
        assert_eq!(Way::named("client_ed25519"), None);
    }
}
