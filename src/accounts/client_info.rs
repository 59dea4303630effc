//! What one side of a service is told of the other (AUTH-38, AUTH-63).

use serde::Serialize;

/// A connection as other accounts see it. Empty fields are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClientInfo<'a> {
    /// When it connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Its number.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: u64,
    /// Its account.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub acc: &'a str,
    /// The account whose service led here, where there were several.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub svc: &'a str,
    /// Its user.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user: &'a str,
    /// `name` of its CONNECT.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
    /// `lang` of its CONNECT.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub lang: &'a str,
    /// `version` of its CONNECT.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub ver: &'a str,
    /// Its round trip in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtt: u64,
    /// Its server.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub server: &'a str,
    /// Kind of connection.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: &'a str,
    /// What it speaks.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub client_type: &'a str,
    /// Where it wants the answer, if whoever answers needs to know (JS-128).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
