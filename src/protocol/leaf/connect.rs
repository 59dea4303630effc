//! CONNECT on a leaf link: written by the soliciting side, read by the other (TOPO-9, TOPO-19).
//!
//! Credentials and what else a client's CONNECT may say are read as a client's are.

use serde::Serialize;

use super::info::strings;
use crate::protocol::error::ProtocolError;
use crate::protocol::info::GoFormatter;
use crate::protocol::json::{JsonError, JsonReader};

/// What a soliciting server says of itself. Fields that are empty, zero or false are left out.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
pub struct LeafConnect {
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Public user nkey.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nkey: String,
    /// User JWT.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwt: String,
    /// Signature of the nonce.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sig: String,
    /// User name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pass: String,
    /// Token: the user name where there is no password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_token: String,
    /// Public server nkey.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_id: String,
    /// JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// It is the hub of this link.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_hub: bool,
    /// Name of its cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether it takes headers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub headers: bool,
    /// JetStream is on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub jetstream: bool,
    /// Subjects that it does not want to be sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_pub: Vec<String>,
    /// It does not want to hear of other leaf nodes' interest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub isolate: bool,
    /// Compression in use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compress_mode: String,
    /// Name of a gateway: it is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Account of the link on its side.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// Its protocol.
    pub protocol: i64,
}

impl LeafConnect {
    /// As JSON.
    pub fn json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, GoFormatter);
        // Strings, numbers and lists into memory: nothing in it can fail.
        if self.serialize(&mut serializer).is_err() {
            debug_assert!(false, "CONNECT did not serialize");
        }
        json
    }

    /// Reads what the other side sent, credentials left out.
    ///
    /// # Errors
    /// [`ProtocolError::BadArguments`] if it is no JSON object or a known field has a value of the
    /// wrong type.
    pub fn parse(json: &[u8]) -> Result<Self, ProtocolError> {
        let mut connect = Self::default();
        connect
            .read(json)
            .map_err(|JsonError| ProtocolError::BadArguments { verb: "CONNECT" })?;
        Ok(connect)
    }

    fn read(&mut self, json: &[u8]) -> Result<(), JsonError> {
        let mut reader = JsonReader::new(json);
        reader.object(|value, key| {
            match key {
                "version" => self.version = value.string()?.unwrap_or_default(),
                "server_id" => self.server_id = value.string()?.unwrap_or_default(),
                "domain" => self.domain = value.string()?.unwrap_or_default(),
                "name" => self.name = value.string()?.unwrap_or_default(),
                "is_hub" => self.is_hub = value.bool()?.unwrap_or_default(),
                "cluster" => self.cluster = value.string()?.unwrap_or_default(),
                "headers" => self.headers = value.bool()?.unwrap_or_default(),
                "jetstream" => self.jetstream = value.bool()?.unwrap_or_default(),
                "deny_pub" => self.deny_pub = strings(value)?.unwrap_or_default(),
                "isolate" => self.isolate = value.bool()?.unwrap_or_default(),
                "compress_mode" => self.compress_mode = value.string()?.unwrap_or_default(),
                "gateway" => self.gateway = value.string()?.unwrap_or_default(),
                "remote_account" => self.remote_account = value.string()?.unwrap_or_default(),
                "protocol" => self.protocol = value.integer()?.unwrap_or_default(),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        reader.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topo_009_what_is_written_is_read_again() {
        let connect = LeafConnect {
            version: "2.15.1".into(),
            server_id: "N".into(),
            name: "edge".into(),
            cluster: "c".into(),
            is_hub: true,
            headers: true,
            deny_pub: vec!["a.>".into()],
            isolate: true,
            remote_account: "A".into(),
            protocol: 3,
            ..LeafConnect::default()
        };
        assert!(LeafConnect::parse(&connect.json()).is_ok_and(|it| it == connect));
        assert!(LeafConnect::parse(br#"{"is_hub":1}"#).is_err());
        assert!(LeafConnect::parse(b"x").is_err());
    }
}
