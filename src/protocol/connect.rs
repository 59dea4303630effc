//! What a client says of itself in CONNECT (CORE-23, CORE-24).

use super::error::ProtocolError;
use super::json::{JsonError, JsonReader};

/// The options of a connection. A later CONNECT changes only the fields it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Acknowledge each operation with `+OK`.
    pub verbose: bool,
    /// Check the subject of each PUB.
    pub pedantic: bool,
    /// Deliver the connection's own messages to its own subscriptions.
    pub echo: bool,
    /// The client insists on TLS.
    pub tls_required: bool,
    /// Public user nkey.
    pub nkey: String,
    /// User JWT.
    pub jwt: String,
    /// Signature of the nonce.
    pub sig: String,
    /// Token, where one token is the whole authentication.
    pub auth_token: String,
    /// User name.
    pub user: String,
    /// Password.
    pub pass: String,
    /// The client's name for itself.
    pub name: String,
    /// Language of the client library.
    pub lang: String,
    /// Version of the client library.
    pub version: String,
    /// Client protocol: only 0 and 1 are accepted (CORE-26), any number can be sent.
    pub protocol: i64,
    /// An account to be in: always refused (CORE-28).
    pub account: String,
    /// An account to be made: always refused (CORE-28).
    pub new_account: bool,
    /// The client understands headers.
    pub headers: bool,
    /// The client wants 503 answers (CORE-71).
    pub no_responders: bool,
    /// Account on the far side of a server link.
    pub remote_account: String,
    /// A proxy's signature of the nonce.
    pub proxy_sig: String,
}

impl Default for ConnectOptions {
    /// What holds before, or without, CONNECT.
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            tls_required: false,
            nkey: String::new(),
            jwt: String::new(),
            sig: String::new(),
            auth_token: String::new(),
            user: String::new(),
            pass: String::new(),
            name: String::new(),
            lang: String::new(),
            version: String::new(),
            protocol: 0,
            account: String::new(),
            new_account: false,
            headers: false,
            no_responders: false,
            remote_account: String::new(),
            proxy_sig: String::new(),
        }
    }
}

impl ConnectOptions {
    /// Reads a first CONNECT: [`update`](Self::update) of the defaults.
    ///
    /// # Errors
    /// As `update`.
    pub fn parse(json: &[u8]) -> Result<Self, ProtocolError> {
        let mut options = Self::default();
        options.update(json)?;
        Ok(options)
    }

    /// Takes over the fields that `json` names; unchanged on an error.
    ///
    /// # Errors
    /// [`ProtocolError::BadArguments`] if it is no JSON object (or `null`), or a field has a value
    /// of the wrong type.
    pub fn update(&mut self, json: &[u8]) -> Result<(), ProtocolError> {
        let mut next = self.clone();
        next.read(json)
            .map_err(|JsonError| ProtocolError::BadArguments { verb: "CONNECT" })?;
        *self = next;
        Ok(())
    }

    fn read(&mut self, json: &[u8]) -> Result<(), JsonError> {
        let mut reader = JsonReader::new(json);
        reader.object(|value, key| {
            match key {
                "verbose" => set(&mut self.verbose, value.bool()?),
                "pedantic" => set(&mut self.pedantic, value.bool()?),
                "echo" => set(&mut self.echo, value.bool()?),
                "tls_required" => set(&mut self.tls_required, value.bool()?),
                "nkey" => set(&mut self.nkey, value.string()?),
                "jwt" => set(&mut self.jwt, value.string()?),
                "sig" => set(&mut self.sig, value.string()?),
                "auth_token" => set(&mut self.auth_token, value.string()?),
                "user" => set(&mut self.user, value.string()?),
                "pass" => set(&mut self.pass, value.string()?),
                "name" => set(&mut self.name, value.string()?),
                "lang" => set(&mut self.lang, value.string()?),
                "version" => set(&mut self.version, value.string()?),
                "protocol" => set(&mut self.protocol, value.integer()?),
                "account" => set(&mut self.account, value.string()?),
                "new_account" => set(&mut self.new_account, value.bool()?),
                "headers" => set(&mut self.headers, value.bool()?),
                "no_responders" => set(&mut self.no_responders, value.bool()?),
                "remote_account" => set(&mut self.remote_account, value.string()?),
                "proxy_sig" => set(&mut self.proxy_sig, value.string()?),
                "import" | "export" => subject_permission(value)?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        reader.end()
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Checks the fields that only server links use: a client's are ignored, but must have the type.
pub(super) fn subject_permission(value: &mut JsonReader<'_>) -> Result<(), JsonError> {
    value.object(|value, key| match key {
        "allow" | "deny" => value.array(|subject| subject.string().map(drop)),
        _ => value.skip(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read() {
        let json =
            br#"{"verbose":false,"pedantic":false,"echo":false,"tls_required":true,"nkey":"n",
            "jwt":"j","sig":"s","auth_token":"t","user":"u","pass":"p","name":"na","lang":"go",
            "version":"1","protocol":1,"account":"a","new_account":true,"headers":true,
            "no_responders":true,"remote_account":"r","proxy_sig":"ps"}"#;
        let expected = ConnectOptions {
            verbose: false,
            pedantic: false,
            echo: false,
            tls_required: true,
            nkey: "n".into(),
            jwt: "j".into(),
            sig: "s".into(),
            auth_token: "t".into(),
            user: "u".into(),
            pass: "p".into(),
            name: "na".into(),
            lang: "go".into(),
            version: "1".into(),
            protocol: 1,
            account: "a".into(),
            new_account: true,
            headers: true,
            no_responders: true,
            remote_account: "r".into(),
            proxy_sig: "ps".into(),
        };
        assert_eq!(ConnectOptions::parse(json), Ok(expected));
    }

    #[test]
    fn what_go_lets_pass() {
        let check = |json: &str, change: fn(&mut ConnectOptions)| {
            let mut expected = ConnectOptions::default();
            change(&mut expected);
            assert_eq!(
                ConnectOptions::parse(json.as_bytes()),
                Ok(expected),
                "{json}"
            );
        };
        check("{}", |_| {});
        check("null", |_| {});
        check(" { \"verbose\" : false }  \r", |options| {
            options.verbose = false
        });
        check(r#"{"VERBOSE":false,"Headers":true}"#, |options| {
            options.verbose = false;
            options.headers = true;
        });
        check(
            r#"{"verbose":null,"name":null,"protocol":null,"import":null}"#,
            |_| {},
        );
        check(r#"{"zzz":[1,2,{"a":null}],"q":"\u0000"}"#, |_| {});
        check(r#"{"name":"a","NAME":"b","name":null}"#, |options| {
            options.name = "b".into()
        });
        check(r#"{"protocol":-7}"#, |options| options.protocol = -7);
        check(
            r#"{"import":{"allow":["a",null],"x":1},"export":{"deny":null}}"#,
            |_| {},
        );
    }

    #[test]
    fn what_go_refuses() {
        for json in [
            "",
            "\r",
            "hello",
            "[]",
            "1",
            "\"a\"",
            "true",
            "{\"verbose\":fal",
            "{} xx",
            "{}{}",
            r#"{"verbose":"false"}"#,
            r#"{"verbose":0}"#,
            r#"{"name":1}"#,
            r#"{"user":["a"]}"#,
            r#"{"protocol":1.0}"#,
            r#"{"protocol":"1"}"#,
            r#"{"protocol":9223372036854775808}"#,
            r#"{"import":[]}"#,
            r#"{"import":{"allow":"a"}}"#,
            r#"{"zzz":tru}"#,
            r#"{"a":1,}"#,
        ] {
            assert_eq!(
                ConnectOptions::parse(json.as_bytes()),
                Err(ProtocolError::BadArguments { verb: "CONNECT" }),
                "{json}"
            );
        }
    }

    #[test]
    fn a_second_connect_keeps_what_it_does_not_name() {
        let mut options = ConnectOptions::parse(br#"{"verbose":false,"name":"a"}"#).unwrap();
        options.update(br#"{"user":"u"}"#).unwrap();
        assert_eq!(
            (options.verbose, &*options.name, &*options.user),
            (false, "a", "u")
        );
        assert!(options.update(br#"{"name":"b","verbose":1}"#).is_err());
        assert_eq!(options.name, "a");
    }
}
