//! Operators, accounts and users that sign tokens, as `nsc` does.

use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs() as i64
}

/// A key pair made from a number, so that failures repeat.
pub fn key(kind: KeyPairType, number: u8) -> KeyPair {
    KeyPair::new_from_raw(kind, [number; 32]).expect("32 bytes make a key")
}

/// A token of `claims`, signed by `issuer`; `iss`, `iat` and `jti` are filled in where absent.
pub fn sign(issuer: &KeyPair, claims: &Value) -> String {
    let mut claims = claims.clone();
    let fields = claims.as_object_mut().expect("claims are a map");
    fields.entry("iss").or_insert(issuer.public_key().into());
    fields.entry("iat").or_insert(now().into());
    fields.entry("jti").or_insert("ID".into());
    let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let body = BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
    let text = format!("{header}.{body}");
    let signature = issuer.sign(text.as_bytes()).expect("has its seed");
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// Puts what `over` has into `base`, maps within maps too.
pub fn overlay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                overlay(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// Who vouches for everybody else in a test.
pub struct Trust {
    /// The operator.
    pub operator: KeyPair,
    /// The system account.
    pub system: KeyPair,
    /// An account.
    pub account: KeyPair,
    /// A user of the account.
    pub user: KeyPair,
    /// A user of the system account.
    pub admin: KeyPair,
}

impl Trust {
    /// The same each time.
    pub fn new() -> Self {
        Self {
            operator: key(KeyPairType::Operator, 1),
            system: key(KeyPairType::Account, 2),
            account: key(KeyPairType::Account, 3),
            user: key(KeyPairType::User, 4),
            admin: key(KeyPairType::User, 5),
        }
    }

    /// The operator's token; `over` replaces fields.
    pub fn operator_token(&self, over: &Value) -> String {
        let mut claims = json!({
            "sub": self.operator.public_key(), "name": "O", "iat": 1_700_000_000,
            "nats": {"type": "operator", "version": 2, "system_account": self.system.public_key()},
        });
        overlay(&mut claims, over);
        sign(&self.operator, &claims)
    }

    /// An account's claims without limits; `over` replaces fields.
    pub fn account_claims(account: &KeyPair, over: &Value) -> Value {
        let mut claims = json!({
            "sub": account.public_key(), "name": "ACC",
            "nats": {"type": "account", "version": 2, "limits": {
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1,
            }},
        });
        overlay(&mut claims, over);
        claims
    }

    /// The token of [`Trust::account`].
    pub fn account_token(&self, over: &Value) -> String {
        sign(&self.operator, &Self::account_claims(&self.account, over))
    }

    /// The token of the system account.
    pub fn system_token(&self) -> String {
        let over = json!({"name": "SYS"});
        sign(&self.operator, &Self::account_claims(&self.system, &over))
    }

    /// A user's claims without limits.
    pub fn user_claims(user: &KeyPair, over: &Value) -> Value {
        let mut claims = json!({
            "sub": user.public_key(), "name": "bob",
            "nats": {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1},
        });
        overlay(&mut claims, over);
        claims
    }

    /// The token of [`Trust::user`], signed by the account.
    pub fn user_token(&self, over: &Value) -> String {
        sign(&self.account, &Self::user_claims(&self.user, over))
    }

    /// The token of [`Trust::admin`].
    pub fn admin_token(&self) -> String {
        sign(
            &self.system,
            &Self::user_claims(&self.admin, &json!({"name": "sys"})),
        )
    }

    /// A configuration with a resolver in memory that knows the system account and this token of
    /// the account.
    pub fn memory(&self, account_token: &str) -> String {
        format!(
            "operator: {}\nresolver: MEMORY\nresolver_preload {{ {}: {}, {}: {} }}\n",
            self.operator_token(&json!({})),
            self.system.public_key(),
            self.system_token(),
            self.account.public_key(),
            account_token,
        )
    }

    /// A configuration with a directory that knows the system account and this token of the
    /// account.
    pub fn directory(&self, account_token: &str, more: &str) -> String {
        let memory = self.memory(account_token);
        let resolver = format!("resolver: {{type: full, dir: \"@DIR@/jwt\"{more}}}");
        memory.replace("resolver: MEMORY", &resolver)
    }
}

/// CONNECT options of somebody with this token who signs `nonce`.
pub fn credentials(key: &KeyPair, token: &str, nonce: &str) -> String {
    let sig = key.sign(nonce.as_bytes()).expect("has its seed");
    json!({"jwt": token, "sig": BASE64URL_NOPAD.encode(&sig)}).to_string()
}
