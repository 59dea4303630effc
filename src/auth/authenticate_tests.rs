//! Logins and blocks of every kind; what is expected is what 2.15.1 did with them.

use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType};

use super::authenticate::*;
use crate::options::{AuthOptions, UserOptions};

const HASH: &str = "$2a$05$HlFShUxTu4ZHHfOLJwfmCeDj/kuKFKboanXtDJXxCC7aIPTUgxNDe";
const HASHED: &str = "My S3cre7 P@55w0rd!";
const NONCE: &[u8] = b"abcdefghijklmno";

fn user(name: &str, password: &str) -> UserOptions {
    UserOptions {
        username: name.into(),
        password: password.into(),
        ..UserOptions::default()
    }
}

fn key() -> KeyPair {
    KeyPair::new_from_raw(KeyPairType::User, [7; 32]).expect("32 bytes make a key")
}

fn nkey_user() -> UserOptions {
    UserOptions {
        nkey: Some(key().public_key()),
        ..UserOptions::default()
    }
}

fn users(users: &[UserOptions], no_auth_user: Option<&str>) -> AuthOptions {
    AuthOptions {
        users: users.to_vec(),
        no_auth_user: no_auth_user.map(Into::into),
        ..AuthOptions::default()
    }
}

fn block(user: &str, password: &str, token: &str) -> AuthOptions {
    AuthOptions {
        username: Some(user.into()),
        password: Some(password.into()),
        token: Some(token.into()),
        ..AuthOptions::default()
    }
}

/// Runs what is to be verified; the user's name, or why not.
fn outcome(
    authenticator: &Authenticator,
    credentials: &Credentials<'_>,
) -> Result<String, RefuseReason> {
    let decision = match authenticator.begin(credentials, NONCE) {
        Decision::Verify(check) => {
            let matches = check.run();
            check.finish(matches)
        }
        decided => decided,
    };
    match decision {
        Decision::Accept(user) => Ok(user.map_or(String::new(), |it| it.name.to_string())),
        Decision::Refuse(reason) => Err(reason),
        Decision::Verify(_) => unreachable!("finished"),
        Decision::Ask(_) | Decision::Seek(_) => unreachable!("no service decides here"),
    }
}

/// `credentials` is a list of `key=value`.
#[track_caller]
fn check(options: &AuthOptions, credentials: &str, expected: Result<&str, RefuseReason>) {
    let authenticator = Authenticator::new(options).expect("fits together");
    let mut presented = Credentials {
        connection_type: "STANDARD",
        ..Credentials::default()
    };
    for pair in credentials.split(';').filter(|it| !it.is_empty()) {
        let (key, value) = pair.split_once('=').expect("key=value");
        *match key {
            "user" => &mut presented.user,
            "pass" => &mut presented.pass,
            "token" => &mut presented.token,
            "nkey" => &mut presented.nkey,
            "sig" => &mut presented.sig,
            _ => &mut presented.connection_type,
        } = value;
    }
    let got = outcome(&authenticator, &presented);
    assert_eq!(got, expected.map(str::to_owned), "{credentials}");
}

const NO: Result<&str, RefuseReason> = Err(RefuseReason::Credentials);

#[test]
fn nobody_asks() {
    let open = AuthOptions::default();
    for (credentials, shown) in [
        ("", ""),
        ("user=bob", "bob"),
        ("token=t", "[REDACTED]"),
        ("nkey=U", "U"),
        ("user=b;nkey=n", "n"),
    ] {
        check(&open, credentials, Ok(shown));
        check(&block("", "ignored", ""), credentials, Ok(shown));
    }
    assert!(!Authenticator::new(&open).expect("fits").required());
}

#[test]
fn the_single_user_and_the_token() {
    let single = block("s", "p", "");
    check(&single, "user=s;pass=p", Ok("s"));
    check(&single, "user=s;pass=p;nkey=n;token=t", Ok("s"));
    for wrong in ["", "user=s", "user=s;pass=x", "user=x;pass=p", "pass=p"] {
        check(&single, wrong, NO);
    }
    check(&block("s", "", ""), "user=s", Ok("s"));
    check(&block("s", "", ""), "user=s;pass=x", NO);

    let token = block("", "", "t");
    check(&token, "token=t", Ok("[REDACTED]"));
    check(&token, "token=t;user=bob", Ok("bob"));
    check(&token, "token=t;nkey=UFOO", Ok("UFOO"));
    for wrong in ["", "token=x", "user=t", "pass=t", "token=tt"] {
        check(&token, wrong, NO);
    }
    // Only the command line can bring both about; then the token counts.
    check(&block("a", "b", "t"), "token=t", Ok("[REDACTED]"));
    check(&block("a", "b", "t"), "user=a;pass=b", NO);
}

#[test]
fn users_before_token_and_single_user() {
    let mut both = users(&[user("a", "b"), user("e", "")], None);
    both.token = Some("t".into());
    check(&both, "user=a;pass=b", Ok("a"));
    check(&both, "user=e", Ok("e"));
    check(&both, "token=t", Ok("[REDACTED]"));
    for wrong in ["", "user=q;token=t", "user=a", "user=e;pass=x", "pass=b"] {
        check(&both, wrong, NO);
    }
}

#[test]
fn hashes() {
    let single = block("s", HASH, "");
    let many = users(&[user("s", HASH), user("p", "plain")], None);
    for options in [&single, &many] {
        check(options, &format!("user=s;pass={HASHED}"), Ok("s"));
        check(options, &format!("user=s;pass={HASH}"), NO);
        check(options, &format!("user=x;pass={HASHED}"), NO);
        check(options, "user=s", NO);
    }
    check(&many, "user=p;pass=plain", Ok("p"));
    check(
        &block("", "", HASH),
        &format!("token={HASHED}"),
        Ok("[REDACTED]"),
    );
    check(&block("", "", HASH), &format!("token={HASH}"), NO);
    // What only looks like a hash is a password.
    check(
        &block("s", "$2a$zz$abc", ""),
        "user=s;pass=$2a$zz$abc",
        Ok("s"),
    );
}

/// Who does not exist, or may not connect so, costs what a wrong password costs.
#[test]
fn refusals_take_as_long_as_comparisons() {
    let mut socket_only = user("w", HASH);
    socket_only.allowed_connection_types = vec!["WEBSOCKET".into()];
    let many = users(&[user("s", HASH), socket_only], None);
    for (options, name) in [(&many, "x"), (&many, "w"), (&block("s", HASH, ""), "x")] {
        let authenticator = Authenticator::new(options).expect("fits");
        let credentials = Credentials {
            user: name,
            pass: HASHED,
            connection_type: "STANDARD",
            ..Credentials::default()
        };
        let Decision::Verify(check) = authenticator.begin(&credentials, NONCE) else {
            panic!("{name} is told apart");
        };
        assert!(matches!(
            check.finish(true),
            Decision::Refuse(RefuseReason::Credentials)
        ));
    }
}

#[test]
fn nkeys_sign_the_nonce() {
    let (key, other) = (key(), KeyPair::new_user());
    let name = key.public_key();
    let sign = |key: &KeyPair, nonce| BASE64URL_NOPAD.encode(&key.sign(nonce).expect("seed"));
    let good = sign(&key, NONCE);
    let options = users(&[nkey_user(), user("a", "a")], None);
    check(&options, &format!("nkey={name};sig={good}"), Ok(&name));
    check(
        &options,
        &format!("nkey={name};sig={good};user=a;pass=x"),
        Ok(&name),
    );
    check(&options, "user=a;pass=a", Ok("a"));
    for wrong in [
        format!("nkey={name}"),
        format!("nkey={name};sig=AAAA"),
        format!("nkey={name};sig={}", sign(&key, b"another nonce")),
        format!("nkey={name};sig={}", sign(&other, NONCE)),
        format!("nkey={};sig={}", other.public_key(), sign(&other, NONCE)),
        "nkey=U;user=a;pass=a".to_owned(),
        format!("sig={good}"),
        format!("user={name};sig={good}"),
    ] {
        check(&options, &wrong, NO);
    }
    let authenticator = Authenticator::new(&options).expect("fits");
    assert!(authenticator.nonce_required() && authenticator.required());
}

#[test]
fn no_auth_user_stands_for_nobody() {
    let options = users(&[user("a", "a")], Some("a"));
    for nobody in ["", "sig=x", "nkey=U"] {
        check(&options, nobody, Ok("a"));
    }
    for somebody in ["pass=a", "token=x", "user=a", "user=x"] {
        check(&options, somebody, NO);
    }
    let authenticator = Authenticator::new(&options).expect("fits");
    assert!(authenticator.required() && !authenticator.first_info_auth_required());
    assert!(authenticator.no_auth_user("STANDARD").is_some());

    // An nkey needs a CONNECT, but no signature.
    let name = key().public_key();
    let options = users(&[nkey_user()], Some(&name));
    check(&options, "", Ok(&name));
    check(&options, &format!("nkey={name}"), Ok(&name));
    check(&options, &format!("nkey={name};sig=AAAA"), Ok(&name));
    check(&options, "user=x", NO);
    let authenticator = Authenticator::new(&options).expect("fits");
    assert!(authenticator.no_auth_user("STANDARD").is_none());

    let options = users(&[nkey_user(), user("a", "a")], Some("a"));
    check(&options, "", Ok("a"));
    check(&options, "nkey=U", NO);
    check(&options, &format!("nkey={name}"), NO);
}

/// The restrictions of a user hold whoever stands for it, and however it comes (T39).
#[test]
fn restrictions_hold_for_no_auth_user() {
    let hashed = users(&[user("a", HASH)], Some("a"));
    let mut socket = user("a", "a");
    socket.allowed_connection_types = vec!["websocket".into(), "LEAFNODE".into()];
    let mut proxied = user("a", "a");
    proxied.proxy_required = true;
    let (socket, proxied) = (users(&[socket], Some("a")), users(&[proxied], Some("a")));
    check(&hashed, "", NO);
    check(&hashed, &format!("user=a;pass={HASHED}"), Ok("a"));
    for credentials in ["", "user=a;pass=a"] {
        check(&socket, credentials, NO);
        check(&socket, &format!("{credentials};type=WEBSOCKET"), Ok("a"));
        check(&proxied, credentials, Err(RefuseReason::ProxyRequired));
    }
    for options in [&hashed, &socket, &proxied] {
        let authenticator = Authenticator::new(options).expect("fits");
        assert!(authenticator.no_auth_user("STANDARD").is_none());
    }
    let authenticator = Authenticator::new(&socket).expect("fits");
    assert!(authenticator.no_auth_user("WEBSOCKET").is_some());
    let mut key_user = nkey_user();
    key_user.allowed_connection_types = vec!["MQTT".into()];
    let name = key().public_key();
    check(&users(&[key_user], Some(&name)), "", NO);
}

#[test]
fn plaintext_passwords_are_noticed() {
    for (options, expected) in [
        (AuthOptions::default(), false),
        (block("s", "p", ""), true),
        (block("s", "", ""), false),
        (block("", "p", ""), true),
        (block("s", HASH, ""), false),
        (block("", "", "t"), false),
        (users(&[user("a", HASH)], None), false),
        (users(&[user("a", HASH), user("b", "p")], None), true),
        (users(&[user("a", "")], None), true),
        (users(&[nkey_user()], None), false),
    ] {
        let authenticator = Authenticator::new(&options).expect("fits");
        assert_eq!(authenticator.plaintext_passwords(), expected, "{options:?}");
    }
}

#[test]
fn contradictions_in_stocks_words() {
    let refused = |options: &AuthOptions| match Authenticator::new(options) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let unknown = "no_auth_user: \"b\" not present as user or nkey in authorization block or \
                   account configuration";
    let a = user("a", "a");
    assert_eq!(
        refused(&users(std::slice::from_ref(&a), Some("b"))),
        unknown
    );
    let without = "no_auth_user: \"b\" present, but users/nkeys are not defined";
    assert_eq!(refused(&users(&[], Some("b"))), without);
    let twice = users(&[a.clone(), a.clone()], None);
    assert_eq!(refused(&twice), "Duplicate user \"a\" detected");
    let name = key().public_key();
    let twice = users(&[nkey_user(), nkey_user()], None);
    assert_eq!(
        refused(&twice),
        format!("Duplicate nkey \"{name}\" detected")
    );
    let bad = UserOptions {
        nkey: Some("UABC".into()),
        ..UserOptions::default()
    };
    assert_eq!(
        refused(&users(&[bad], None)),
        "Not a valid public nkey for a user"
    );

    let mixed = |user, password, token| {
        let mut options = block(user, password, token);
        options.users.push(a.clone());
        check_block(&options)
    };
    assert_eq!(
        check_block(&block("s", "", "t")),
        Err(AuthConfigError::UserAndToken)
    );
    assert_eq!(
        check_block(&block("", "p", "t")),
        Err(AuthConfigError::UserAndToken)
    );
    assert_eq!(mixed("s", "", ""), Err(AuthConfigError::UserAndUsers));
    assert_eq!(mixed("", "", "t"), Err(AuthConfigError::TokenAndUsers));
    assert_eq!(mixed("", "p", ""), Ok(()));
    assert_eq!(check_block(&block("s", "p", "")), Ok(()));
}

#[test]
fn debug_output_keeps_secrets() {
    let mut options = users(&[user("a", "hunter2")], Some("a"));
    options.token = Some("hunter2".into());
    let authenticator = Authenticator::new(&options).expect("fits");
    let credentials = Credentials {
        pass: "hunter2",
        token: "hunter2",
        sig: "hunter2",
        ..Credentials::default()
    };
    let shown = format!("{authenticator:?} {credentials:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
