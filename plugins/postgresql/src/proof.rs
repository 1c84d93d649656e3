//! Authentication by MD5 and SCRAM-SHA-256 (RFC 5802, RFC 7677), without a connection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

/// The name of the mechanism.
pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";

/// The most rounds that a server may ask for; its default is 4096. More would exceed the CPU time of a run.
const MAX_ROUNDS: u32 = 100_000;

/// No channel binding.
const HEADER: &str = "n,,";

type Key = [u8; 32];

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server's message does not follow the mechanism.
    Malformed,
    /// The server asks for too many rounds: this many.
    Rounds(u32),
    /// The server does not know the password.
    Impostor,
}

/// The proof for `md5`: a hash of password and user, hashed again with the salt.
pub(crate) fn md5(user: &str, password: &str, salt: [u8; 4]) -> String {
    let inner = hex(&Md5::new().chain_update(password).chain_update(user).finalize());
    format!("md5{}", hex(&Md5::new().chain_update(inner).chain_update(salt).finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A nonce: the time, keyed with the password. It never repeats, and nobody without the password can predict it.
pub(crate) fn nonce(password: &str, time: &[u8]) -> String {
    BASE64.encode(&hmac(&Sha256::digest(password), time)[..18])
}

fn hmac(key: &[u8], data: &[u8]) -> Key {
    // HMAC takes a key of any length, so there is no error; the fallback would only make the proof wrong.
    match <Hmac<Sha256> as Mac>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(data).finalize().into_bytes().into(),
        Err(_) => Key::default(),
    }
}

/// The keys derived from a password in thousands of rounds. They stay the same as long as password, salt and rounds do.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// A fingerprint of password, salt and rounds.
    of: Key,
    client: Key,
    server: Key,
}

impl Keys {
    fn derive(of: Key, password: &str, salt: &[u8], rounds: u32) -> Self {
        let salted: Key = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, rounds);
        Keys { of, client: hmac(&salted, b"Client Key"), server: hmac(&salted, b"Server Key") }
    }

    fn fingerprint(password: &str, salt: &[u8], rounds: u32) -> Key {
        let salted = Sha256::new().chain_update(salt).chain_update(rounds.to_be_bytes()).finalize();
        hmac(&Sha256::digest(password), &salted)
    }

    /// The bytes to remember.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.of, self.client, self.server].concat()
    }

    /// Keys from remembered bytes; `None` if they are something else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (parts, []) = bytes.as_chunks::<32>() else { return None };
        let [of, client, server] = parts else { return None };
        Some(Keys { of: *of, client: *client, server: *server })
    }
}

/// The client's side of an exchange.
pub(crate) struct Exchange {
    /// The client's first message, without its header.
    first: String,
    nonce: String,
}

/// The answer to the server's challenge, and what verifies the server's reply.
pub(crate) struct Answer {
    pub text: String,
    pub keys: Keys,
    signature: Key,
}

impl Exchange {
    pub(crate) fn new(nonce: String) -> Self {
        // The user is named by the startup message.
        Exchange { first: format!("n=,r={nonce}"), nonce }
    }

    /// The client's first message.
    pub(crate) fn first(&self) -> String {
        format!("{HEADER}{}", self.first)
    }

    /// Answers the challenge, with the keys of an earlier exchange if they fit.
    pub(crate) fn answer(&self, challenge: &[u8], password: &str, known: Option<Keys>) -> Result<Answer, Failure> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| Failure::Malformed)?;
        let field = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let nonce = field("r=").filter(|nonce| nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce));
        let salt = field("s=").and_then(|salt| BASE64.decode(salt).ok());
        let rounds = field("i=").and_then(|rounds| rounds.parse().ok()).filter(|rounds| *rounds > 0);
        let (Some(nonce), Some(salt), Some(rounds)) = (nonce, salt, rounds) else { return Err(Failure::Malformed) };
        if rounds > MAX_ROUNDS {
            return Err(Failure::Rounds(rounds));
        }
        let of = Keys::fingerprint(password, &salt, rounds);
        let keys = known.filter(|keys| keys.of == of).unwrap_or_else(|| Keys::derive(of, password, &salt, rounds));
        let without_proof = format!("c={},r={nonce}", BASE64.encode(HEADER));
        let all = format!("{},{challenge},{without_proof}", self.first);
        let stored = Sha256::digest(keys.client);
        let mask = hmac(&stored, all.as_bytes());
        let proof: Vec<u8> = keys.client.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        let signature = hmac(&keys.server, all.as_bytes());
        Ok(Answer { text: format!("{without_proof},p={}", BASE64.encode(proof)), keys, signature })
    }
}

impl Answer {
    /// Verifies that the server knows the password, too.
    pub(crate) fn verify(&self, last: &[u8]) -> Result<(), Failure> {
        let last = std::str::from_utf8(last).map_err(|_| Failure::Malformed)?;
        let signature = last.split(',').find_map(|part| part.strip_prefix("v=")).ok_or(Failure::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| Failure::Malformed)?;
        if signature == self.signature { Ok(()) } else { Err(Failure::Impostor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3. It names the user, which PostgreSQL ignores.
    fn example() -> Exchange {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        Exchange { first: format!("n=user,r={nonce}"), nonce }
    }

    const CHALLENGE: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn example_of_rfc_7677_comes_out() {
        assert_eq!(example().first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let answer = example().answer(CHALLENGE, "pencil", None).ok().unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(answer.text, expected);
        assert_eq!(answer.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert_eq!(answer.verify(b"v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Err(Failure::Impostor));
        for last in [&b""[..], b"e=invalid-proof", b"v=?", b"\xff"] {
            assert_eq!(answer.verify(last), Err(Failure::Malformed));
        }
    }

    #[test]
    fn remembered_keys_need_the_same_password_and_salt() {
        let answer = example().answer(CHALLENGE, "pencil", None).ok().unwrap();
        let remembered = Keys::from_bytes(&answer.keys.to_bytes());
        let again = example().answer(CHALLENGE, "pencil", remembered.clone()).ok().unwrap();
        assert_eq!(again.text, answer.text);
        let other = example().answer(CHALLENGE, "pen", remembered).ok().unwrap();
        assert!(other.text != answer.text && other.keys != answer.keys);
        for bytes in [&b""[..], &[0; 95], &[0; 97], &[0; 128]] {
            assert!(Keys::from_bytes(bytes).is_none());
        }
    }

    #[test]
    fn bad_challenge_is_rejected_before_the_rounds() {
        let table: [(&[u8], Failure); 8] = [
            (b"", Failure::Malformed),
            (b"\xff", Failure::Malformed),
            (b"r=other,s=W22Z,i=4096", Failure::Malformed),
            // The server must add to the nonce.
            (b"r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", Failure::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096", Failure::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0", Failure::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=99999999999", Failure::Malformed),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4000000000", Failure::Rounds(4_000_000_000)),
        ];
        for (challenge, failure) in table {
            assert_eq!(example().answer(challenge, "pencil", None).err(), Some(failure));
        }
    }

    #[test]
    fn nonces_differ_by_time_and_by_password() {
        let nonces = [nonce("a", b"1"), nonce("a", b"2"), nonce("b", b"1")];
        assert!(nonces[0] != nonces[1] && nonces[0] != nonces[2], "{nonces:?}");
        assert!(nonces.iter().all(|nonce| nonce.len() == 24 && !nonce.contains(',')), "{nonces:?}");
    }

    /// As psql computes it: `SELECT 'md5' || md5(md5('secret' || 'check') || 'salt')`.
    #[test]
    fn md5_is_salted_twice() {
        assert_eq!(md5("check", "secret", *b"salt"), "md52feac0f59361f1dd61985ddb89c11074");
    }
}
