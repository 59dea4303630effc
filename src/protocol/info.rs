//! INFO: what the server says of itself (CORE-1..14), and the check of what a client sends as INFO.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use super::connect::subject_permission;
use super::json::{JsonError, JsonReader};

/// The fields a client can see, in stock's order. Those with a `skip` are left out when empty,
/// zero or false (CORE-2, CORE-3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ServerInfo {
    /// Public server nkey, `N...`.
    pub server_id: String,
    /// The id unless configured.
    pub server_name: String,
    /// Version that clients compare against.
    pub version: String,
    /// Always 1.
    pub proto: i64,
    /// Commit the server was built from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Language runtime's version; clients only show it.
    pub go: String,
    /// Address of the listener.
    pub host: String,
    /// Port of the listener.
    pub port: u16,
    /// Whether the server takes headers (CORE-74).
    pub headers: bool,
    /// CONNECT needs credentials (CORE-7).
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// TLS must begin after this INFO (CORE-14).
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// A client certificate is asked for.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// TLS may begin after this INFO.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// Most bytes in a message now, -1 without limit (CORE-6).
    pub max_payload: i32,
    /// JetStream is on.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// Address of the server on a link.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// The connection's number.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_id: u64,
    /// The client's address as the server sees it (CORE-13).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// To be signed by nkey users (CORE-8).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The cluster's name was made up.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// `host:port` of every server a client can go to (CORE-11).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The same for WebSocket; never shown to plain clients (CORE-12).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ws_connect_urls: Vec<String>,
    /// Lame duck mode.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// Compression offered on a link.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
    /// This is the INFO that follows CONNECT (CORE-9).
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// Account the connection is in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// That account is the system account.
    #[serde(skip_serializing_if = "is_false")]
    pub acc_is_sys: bool,
    /// Level of the JetStream API (CORE-5).
    #[serde(skip_serializing_if = "is_zero")]
    pub api_lvl: u64,
    /// Public x25519 key, `X...` (CORE-5).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl ServerInfo {
    /// The line `INFO {json} \r\n`; a blank stands before the line end, as clients got it ever
    /// since (CORE-1).
    pub fn line(&self) -> Vec<u8> {
        let mut line = b"INFO ".to_vec();
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, GoFormatter);
        // Strings, numbers and lists into memory: nothing in it can fail.
        if self.serialize(&mut serializer).is_err() {
            debug_assert!(false, "INFO did not serialize");
        }
        line.extend_from_slice(b" \r\n");
        line
    }
}

/// Compact JSON with the escapes Go adds so that its output can stand inside HTML.
#[derive(Debug, Clone, Copy, Default)]
pub struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut inner = CompactFormatter;
        let mut written = 0;
        for (at, found) in fragment.match_indices(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            inner.write_string_fragment(writer, &fragment[written..at])?;
            for character in found.chars() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            written = at + found.len();
        }
        inner.write_string_fragment(writer, &fragment[written..])
    }
}

/// Whether stock would ignore these arguments of an INFO sent by a client, and not close the
/// connection: a JSON object whose known fields have the right types, those of server links
/// included.
pub fn is_acceptable(json: &[u8]) -> bool {
    let mut reader = JsonReader::new(json);
    reader
        .object(info_field)
        .and_then(|()| reader.end())
        .is_ok()
}

fn info_field(value: &mut JsonReader<'_>, key: &str) -> Result<(), JsonError> {
    match key {
        "server_id"
        | "server_name"
        | "version"
        | "git_commit"
        | "go"
        | "host"
        | "ip"
        | "client_ip"
        | "nonce"
        | "cluster"
        | "domain"
        | "compression"
        | "remote_account"
        | "route_account"
        | "route_acc_add_reqid"
        | "gateway"
        | "gateway_url"
        | "xkey" => value.string().map(drop),
        "headers" | "auth_required" | "tls_required" | "tls_verify" | "tls_available"
        | "jetstream" | "cluster_dynamic" | "ldm" | "connect_info" | "acc_is_sys" | "lnoc"
        | "lnocu" | "info_on_connect" | "gateway_nrp" | "gateway_iom" => value.bool().map(drop),
        "proto" | "port" | "api_lvl" | "route_pool_size" | "route_pool_idx" => {
            value.integer::<i64>().map(drop)
        }
        "max_payload" => value.integer::<i32>().map(drop),
        "client_id" => value.integer::<u64>().map(drop),
        "gossip_mode" | "gateway_cmd" => value.integer::<u8>().map(drop),
        "connect_urls" | "ws_connect_urls" | "gateway_urls" | "leafnode_urls" => {
            value.array(|url| url.string().map(drop))
        }
        "import" | "export" => subject_permission(value),
        _ => value.skip(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out() {
        let info = ServerInfo {
            server_id: "N1".into(),
            server_name: "a<b>&\"c\u{2028}".into(),
            version: "2.15.1".into(),
            proto: 1,
            go: "g".into(),
            host: "0.0.0.0".into(),
            port: 4222,
            headers: true,
            max_payload: -1,
            client_id: 5,
            connect_urls: vec!["h:1".into()],
            api_lvl: 5,
            ..ServerInfo::default()
        };
        let expected = concat!(
            r#"INFO {"server_id":"N1","server_name":"a\u003cb\u003e\u0026\"c\u2028","#,
            r#""version":"2.15.1","proto":1,"go":"g","host":"0.0.0.0","port":4222,"#,
            r#""headers":true,"max_payload":-1,"client_id":5,"connect_urls":["h:1"],"#,
            r#""api_lvl":5} "#,
            "\r\n"
        );
        assert_eq!(String::from_utf8_lossy(&info.line()), expected);
    }

    #[test]
    fn a_clients_info_must_have_the_types() {
        for json in [
            "{}",
            "null",
            r#"{"a":1}"#,
            r#"{"port":4222,"connect_urls":["a"],"xkey":null}"#,
            r#"{"import":{"allow":["a"]},"gossip_mode":255}"#,
        ] {
            assert!(is_acceptable(json.as_bytes()), "{json}");
        }
        for json in [
            "",
            "\r",
            "x",
            "[]",
            "{} x",
            r#"{"port":"1"}"#,
            r#"{"max_payload":2147483648}"#,
            r#"{"client_id":-1}"#,
            r#"{"gossip_mode":256}"#,
            r#"{"connect_urls":"a"}"#,
        ] {
            assert!(!is_acceptable(json.as_bytes()), "{json}");
        }
    }
}
