//! What must hold for any bytes presented as a token, and for any claims somebody has signed.

use nkeys::{KeyPair, KeyPairType};
use ramjet::auth::jwt::account::AccountClaims;
use ramjet::auth::jwt::operator::OperatorClaims;
use ramjet::auth::jwt::token::{self, Token};
use ramjet::auth::jwt::user::UserClaims;
use ramjet::auth::jwt::window::{admitted, from_there};

/// Decodes the bytes as every kind; where they are JSON, also as claims that are signed well.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    decode(token::undecorated(text));
    let Ok(claims) = serde_json::from_str::<serde_json::Value>(text) else {
        return;
    };
    for kind in [KeyPairType::Operator, KeyPairType::Account] {
        let Ok(key) = KeyPair::new_from_raw(kind, [7; 32]) else {
            continue;
        };
        let mut claims = claims.clone();
        if let Some(map) = claims.as_object_mut() {
            map.insert("iss".into(), key.public_key().into());
        }
        if let Ok(text) = token::encode(&key, &claims) {
            decode(&text);
        }
    }
}

fn decode(text: &str) {
    let first = Token::decode(text);
    assert_eq!(first, Token::decode(text));
    if let Err(error) = first {
        assert!(!error.to_string().is_empty());
        return;
    }
    let zones = |_: &str| Some(jiff::tz::TimeZone::UTC);
    if let Ok(user) = UserClaims::decode(text) {
        let limits = &user.body.limits;
        let _ = user.is_sound(zones);
        let _ = admitted(&limits.times, &limits.times_location, 1 << 60, zones);
        let _ = from_there(&limits.src, Some([127, 0, 0, 1].into()));
        let _ = limits.permissions.options();
    }
    if let Ok(account) = AccountClaims::decode(text) {
        let _ = (account.problems(), account.limits(), account.mappings());
    }
    if let Ok(operator) = OperatorClaims::decode(text) {
        let _ = operator.check_version("2.15.1");
        assert!(operator.trusted_keys().count() <= 1 + operator.body.signing_keys.len());
    }
}
