//! Claims of an operator: who may vouch for accounts (AUTH-58).

use serde::Deserialize;

use super::token::{Kind, Standard, Token, TokenError};

/// What an operator says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperatorClaims {
    /// Claims of every kind.
    pub standard: Standard,
    /// Its own.
    pub body: OperatorBody,
}

/// Claims of operators.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct OperatorBody {
    /// Other keys it signs with.
    pub signing_keys: Vec<String>,
    /// Where accounts can be fetched.
    pub account_server_url: String,
    /// Public key of the system account.
    pub system_account: String,
    /// Oldest server that may serve it.
    pub assert_server_version: String,
    /// Signs with [`signing_keys`](Self::signing_keys) only.
    pub strict_signing_key_usage: bool,
    /// Labels.
    pub tags: Vec<String>,
}

impl OperatorClaims {
    /// Decodes an operator's token.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with it.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let token = Token::decode_kind(text, Kind::Operator)?;
        Ok(Self {
            body: token.body()?,
            standard: token.standard,
        })
    }

    /// The keys whose signature on an account counts.
    pub fn trusted_keys(&self) -> impl Iterator<Item = &String> {
        let own = (!self.body.strict_signing_key_usage).then_some(&self.standard.subject);
        own.into_iter().chain(&self.body.signing_keys)
    }

    /// Is a server of this version (`major.minor.update`) new enough?
    ///
    /// # Errors
    /// What is wrong, in stock's words.
    pub fn check_version(&self, server: &str) -> Result<(), String> {
        let asserted = &self.body.assert_server_version;
        let subject = &self.standard.subject;
        let parts = |text: &str| -> Option<[u64; 3]> {
            let mut parts = text.split('.').map(|part| part.parse().ok());
            let three = [parts.next()??, parts.next()??, parts.next()??];
            parts.next().is_none().then_some(three)
        };
        let wanted = match asserted.as_str() {
            "" => [0; 3],
            text => parts(text).ok_or_else(|| {
                format!(
                    "operator {subject} expects version {asserted} got error instead: asserted \
                     server version must be of the form <major>.<minor>.<update>"
                )
            })?,
        };
        let ours = parts(server).unwrap_or_default();
        for ((wanted, ours), name) in wanted
            .into_iter()
            .zip(ours)
            .zip(["major", "minor", "update"])
        {
            if wanted > ours {
                return Err(format!(
                    "operator {subject} expected {name} version {wanted} > server {name} version \
                     {ours}"
                ));
            }
            if wanted < ours {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let with = |asserted: &str| OperatorClaims {
            body: OperatorBody {
                assert_server_version: asserted.into(),
                ..OperatorBody::default()
            },
            ..OperatorClaims::default()
        };
        for fine in ["", "2.15.1", "2.14.9", "1.99.99", "0.0.0"] {
            assert_eq!(with(fine).check_version("2.15.1"), Ok(()), "{fine}");
        }
        for newer in [
            "2.15.2", "2.16.0", "3.0.0", "2.15", "x.y.z", "2.15.1.0", "-1.0.0",
        ] {
            assert!(with(newer).check_version("2.15.1").is_err(), "{newer}");
        }
    }
}
