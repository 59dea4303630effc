//! Login by signature: the client signs the nonce of its INFO (AUTH-4).

use data_encoding::{BASE64, BASE64URL_NOPAD};
use nkeys::KeyPair;

/// Bytes of an Ed25519 signature.
const SIGNATURE_LEN: usize = 64;

/// Is this the public key of a user? Malformed ones of any kind are not (T38).
pub fn is_user_nkey(nkey: &str) -> bool {
    nkey.starts_with('U') && nkeys::from_public_key(nkey).is_ok()
}

/// The key behind a text, if there is one: a text can be well formed and name no point of the
/// curve, which stock notices only when somebody signs.
pub(super) fn verifying_key(nkey: &str) -> Option<KeyPair> {
    KeyPair::from_public_key(nkey).ok()
}

/// Has the owner of `key` signed `nonce`? The signature may be spelled in either base64, unpadded
/// URL alphabet first.
pub(super) fn signed(key: &KeyPair, sig: &str, nonce: &[u8]) -> bool {
    let sig = BASE64URL_NOPAD
        .decode(sig.as_bytes())
        .or_else(|_| BASE64.decode(sig.as_bytes()));
    sig.is_ok_and(|sig| sig.len() == SIGNATURE_LEN && key.verify(nonce, &sig).is_ok())
}

#[cfg(test)]
mod tests {
    use nkeys::KeyPairType;

    use super::*;

    const NONCE: &[u8] = b"abcdefghijklmno";

    fn pair(kind: KeyPairType) -> KeyPair {
        KeyPair::new_from_raw(kind, [7; 32]).expect("32 bytes make a key")
    }

    #[test]
    fn only_users_keys_are_users_keys() {
        let user = pair(KeyPairType::User).public_key();
        assert!(is_user_nkey(&user));
        for kind in [
            KeyPairType::Account,
            KeyPairType::Operator,
            KeyPairType::Server,
        ] {
            assert!(!is_user_nkey(&pair(kind).public_key()));
        }
        // Short, long, damaged, of another alphabet, of other characters (T38).
        for end in 0..user.len() {
            assert!(!is_user_nkey(&user[..end]), "{end}");
        }
        for at in 0..user.len() {
            for other in ["A", "0", "=", "u", "é", "\0"] {
                let damaged = format!("{}{other}{}", &user[..at], &user[at + 1..]);
                assert!(damaged == user || !is_user_nkey(&damaged), "{damaged}");
            }
        }
        assert!(!is_user_nkey(&format!("{user}A")) && !is_user_nkey(&user.to_lowercase()));
    }

    #[test]
    fn signatures_in_either_base64() {
        let pair = pair(KeyPairType::User);
        let key = verifying_key(&pair.public_key()).expect("a key");
        let signature = pair.sign(NONCE).expect("has its seed");
        assert!(signed(&key, &BASE64URL_NOPAD.encode(&signature), NONCE));
        assert!(signed(&key, &BASE64.encode(&signature), NONCE));
        assert!(!signed(
            &key,
            &BASE64.encode(&signature),
            b"another nonce.."
        ));
        assert!(!signed(&key, &BASE64.encode(&signature), b""));
        for end in 0..signature.len() {
            assert!(!signed(&key, &BASE64.encode(&signature[..end]), NONCE));
        }
        let mut longer = signature.clone();
        longer.push(0);
        assert!(!signed(&key, &BASE64.encode(&longer), NONCE));
        for bit in (0..signature.len() * 8).step_by(5) {
            let mut damaged = signature.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!signed(&key, &BASE64.encode(&damaged), NONCE), "{bit}");
        }
        for text in [
            "",
            "AAAA",
            "====",
            "é",
            "\0",
            &"A".repeat(86),
            &"/".repeat(86),
        ] {
            assert!(!signed(&key, text, NONCE), "{text}");
        }
    }
}
