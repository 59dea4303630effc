//! INFO on a leaf link: written by the accepting side, read by the other (TOPO-2, TOPO-8, TOPO-11).

use serde::Serialize;

use crate::options::SubjectPermission;
use crate::protocol::error::ProtocolError;
use crate::protocol::info::GoFormatter;
use crate::protocol::json::{JsonError, JsonReader};

/// The protocol of servers that can trace messages (TOPO-3).
pub const SERVER_PROTOCOL: i64 = 3;

/// What an accepting server says of itself. Fields that are empty, zero or false are left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LeafInfo {
    /// Public server nkey.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// Version that others compare against.
    pub version: String,
    /// [`SERVER_PROTOCOL`].
    pub proto: i64,
    /// Commit it was built from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Language runtime's version.
    pub go: String,
    /// Address of the leaf listener.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it takes headers.
    pub headers: bool,
    /// Always said, whatever is configured.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// TLS must begin after this INFO.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// A certificate is asked for.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Most bytes in a message.
    pub max_payload: i32,
    /// JetStream is on.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// The connection's number there; not 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_id: u64,
    /// To be signed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Name of its cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// `host:port` of the leaf listener.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// `host:port` of every leaf listener of its cluster; there, even if empty.
    pub leafnode_urls: Option<Vec<String>>,
    /// `host:port` of every WebSocket listener of its cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ws_connect_urls: Option<Vec<String>>,
    /// Compression offered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
    /// This is the INFO that follows CONNECT.
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// There will be such an INFO.
    #[serde(skip_serializing_if = "is_false")]
    pub info_on_connect: bool,
    /// Account the link is in there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// That is its system account.
    #[serde(skip_serializing_if = "is_false")]
    pub acc_is_sys: bool,
    /// What the other side may have from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<SubjectLists>,
    /// What the other side may send to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<SubjectLists>,
    /// Level of the JetStream API.
    #[serde(skip_serializing_if = "is_zero")]
    pub api_lvl: u64,
}

/// Subjects that are allowed and denied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SubjectLists {
    /// `None` is everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Wins over `allow`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

impl From<SubjectLists> for SubjectPermission {
    fn from(lists: SubjectLists) -> Self {
        Self {
            allow: lists.allow,
            deny: lists.deny,
        }
    }
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

impl LeafInfo {
    /// The line `INFO {json}\r\n`.
    pub fn line(&self) -> Vec<u8> {
        let mut line = b"INFO ".to_vec();
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, GoFormatter);
        // Strings, numbers and lists into memory: nothing in it can fail.
        if self.serialize(&mut serializer).is_err() {
            debug_assert!(false, "INFO did not serialize");
        }
        line.extend_from_slice(b"\r\n");
        line
    }

    /// Reads what the other side sent.
    ///
    /// # Errors
    /// [`ProtocolError::BadArguments`] if it is no JSON object or a known field has a value of the
    /// wrong type.
    pub fn parse(json: &[u8]) -> Result<Self, ProtocolError> {
        let mut info = Self::default();
        info.read(json)
            .map_err(|JsonError| ProtocolError::BadArguments { verb: "INFO" })?;
        Ok(info)
    }

    fn read(&mut self, json: &[u8]) -> Result<(), JsonError> {
        let mut reader = JsonReader::new(json);
        reader.object(|value, key| {
            match key {
                "server_id" => self.server_id = value.string()?.unwrap_or_default(),
                "server_name" => self.server_name = value.string()?.unwrap_or_default(),
                "version" => self.version = value.string()?.unwrap_or_default(),
                "proto" => self.proto = value.integer()?.unwrap_or_default(),
                "go" => self.go = value.string()?.unwrap_or_default(),
                "host" => self.host = value.string()?.unwrap_or_default(),
                "port" => self.port = value.integer()?.unwrap_or_default(),
                "headers" => self.headers = value.bool()?.unwrap_or_default(),
                "auth_required" => self.auth_required = value.bool()?.unwrap_or_default(),
                "tls_required" => self.tls_required = value.bool()?.unwrap_or_default(),
                "tls_verify" => self.tls_verify = value.bool()?.unwrap_or_default(),
                "max_payload" => self.max_payload = value.integer()?.unwrap_or_default(),
                "jetstream" => self.jetstream = value.bool()?.unwrap_or_default(),
                "client_id" => self.client_id = value.integer()?.unwrap_or_default(),
                "nonce" => self.nonce = value.string()?.unwrap_or_default(),
                "cluster" => self.cluster = value.string()?.unwrap_or_default(),
                "domain" => self.domain = value.string()?.unwrap_or_default(),
                "leafnode_urls" => self.leafnode_urls = strings(value)?,
                "ws_connect_urls" => self.ws_connect_urls = strings(value)?,
                "compression" => self.compression = value.string()?.unwrap_or_default(),
                "connect_info" => self.connect_info = value.bool()?.unwrap_or_default(),
                "info_on_connect" => self.info_on_connect = value.bool()?.unwrap_or_default(),
                "remote_account" => self.remote_account = value.string()?.unwrap_or_default(),
                "acc_is_sys" => self.acc_is_sys = value.bool()?.unwrap_or_default(),
                "import" => self.import = Some(subject_lists(value)?),
                "export" => self.export = Some(subject_lists(value)?),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        reader.end()
    }
}

/// A list of texts; `None` for `null`.
pub(super) fn strings(value: &mut JsonReader<'_>) -> Result<Option<Vec<String>>, JsonError> {
    if value.null()? {
        return Ok(None);
    }
    let mut list = Vec::new();
    value.array(|it| {
        list.push(it.string()?.unwrap_or_default());
        Ok(())
    })?;
    Ok(Some(list))
}

fn subject_lists(value: &mut JsonReader<'_>) -> Result<SubjectLists, JsonError> {
    let mut lists = SubjectLists::default();
    value.object(|value, key| {
        match key {
            "allow" => lists.allow = strings(value)?,
            "deny" => lists.deny = strings(value)?.unwrap_or_default(),
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let info = LeafInfo {
            server_id: "N".into(),
            server_name: "hub".into(),
            version: "2.15.1".into(),
            proto: SERVER_PROTOCOL,
            host: "0.0.0.0".into(),
            port: 7422,
            headers: true,
            auth_required: true,
            max_payload: 1024,
            client_id: 7,
            nonce: "n".into(),
            leafnode_urls: Some(vec!["h:1".into()]),
            info_on_connect: true,
            import: Some(SubjectLists {
                allow: Some(vec!["a".into()]),
                deny: vec!["b".into()],
            }),
            ..LeafInfo::default()
        };
        let line = info.line();
        let json = line.strip_prefix(b"INFO ").expect("the verb");
        assert_eq!(LeafInfo::parse(json.trim_ascii()), Ok(info));
    }

    #[test]
    fn a_client_port_is_told_from_a_leaf_port() {
        let client = LeafInfo::parse(br#"{"server_id":"N","client_id":4,"zzz":[1]}"#);
        assert_eq!(client.expect("it is an INFO").leafnode_urls, None);
        let leaf = LeafInfo::parse(br#"{"client_id":4,"leafnode_urls":[]}"#);
        assert_eq!(leaf.expect("it is an INFO").leafnode_urls, Some(vec![]));
        assert!(LeafInfo::parse(br#"{"client_id":"4"}"#).is_err());
        assert!(LeafInfo::parse(b"[]").is_err());
    }
}
