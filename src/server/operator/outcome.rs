//! What came of a request that changes accounts, as stock words it (AUTH-74).

use serde_json::json;

use crate::server::system::envelope::Envelope;
use crate::server::system::services::Outlet;
use crate::shard::internal::InternalMessage;

/// What came of a change.
pub(super) struct Outcome {
    /// The account it is about, if it is about one.
    account: String,
    message: String,
    error: Option<String>,
}

impl Outcome {
    pub fn new(
        account: impl Into<String>,
        message: impl Into<String>,
        error: Option<String>,
    ) -> Self {
        Self {
            account: account.into(),
            message: message.into(),
            error,
        }
    }

    /// Answers a request, and notes it in the log.
    pub fn answer(&self, request: &InternalMessage, envelope: &Envelope, outlet: &Outlet) {
        let Self {
            account,
            message,
            error,
        } = self;
        let mut body = json!({});
        if !account.is_empty() {
            body["account"] = account.as_str().into();
        }
        let name = match error {
            Some(error) => {
                log::error!("{message} - {account} - {error}");
                body["code"] = 500.into();
                body["description"] = format!("{message} - {error}").into();
                "error"
            }
            None => {
                log::debug!("{message} - {account}");
                body["code"] = 200.into();
                body["message"] = message.as_str().into();
                "data"
            }
        };
        let answer = json!({"server": envelope.server(), name: body});
        outlet.answer(request, answer.to_string().into_bytes());
    }
}

/// Names of the accounts in subjects that change one.
pub(super) fn named<'a>(subject: &[&'a str]) -> Option<&'a str> {
    match subject {
        ["$SYS", "REQ", "ACCOUNT", key, "CLAIMS", "UPDATE"]
        | ["$SYS", "ACCOUNT", key, "CLAIMS", "UPDATE"] => Some(key),
        _ => None,
    }
}
