//! New tokens of accounts where none are stored: with a resolver in memory, and an account server
//! (AUTH-74). They hold until the server ends.

use std::sync::Arc;

use super::outcome::{Outcome, named};
use crate::auth::jwt::account::AccountClaims;
use crate::ids::AccountId;
use crate::server::reload::Reloader;
use crate::server::system::envelope::Envelope;
use crate::server::system::services::{Outlet, Service};
use crate::shard::internal::InternalMessage;

/// Takes over accounts that are in use.
pub(in crate::server) struct Updates {
    reloader: Arc<Reloader>,
    envelope: Arc<Envelope>,
    system: AccountId,
}

impl Updates {
    pub fn new(reloader: Arc<Reloader>, envelope: Arc<Envelope>, system: AccountId) -> Self {
        Self {
            reloader,
            envelope,
            system,
        }
    }

    fn update(&self, key: &str, payload: &[u8]) -> Outcome {
        const FAILED: &str = "jwt update resulted in error";
        if payload.is_empty() {
            let text = "request body is empty";
            return Outcome::new(key, "jwt update error", Some(text.into()));
        }
        let text = String::from_utf8_lossy(payload);
        let text = text.trim();
        match AccountClaims::decode(text) {
            Err(error) => Outcome::new(key, FAILED, Some(error.to_string())),
            Ok(claims) if claims.standard.subject != key => {
                let text = "subject does not match jwt content";
                Outcome::new(key, FAILED, Some(text.into()))
            }
            Ok(_) if !self.reloader.knows(key) => Outcome::new(key, "jwt update skipped", None),
            Ok(_) => match self.reloader.update_accounts(&[(key, Some(text))]) {
                Ok(()) => Outcome::new(key, "jwt updated", None),
                Err(error) => Outcome::new(key, FAILED, Some(error.to_string())),
            },
        }
    }
}

impl Service for Updates {
    fn start(&mut self, outlet: &Outlet) {
        for pattern in [
            "$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE",
            "$SYS.ACCOUNT.*.CLAIMS.UPDATE",
        ] {
            outlet.subscribe(self.system, pattern, None);
        }
    }

    fn stop(&mut self, outlet: &Outlet) {
        outlet.unsubscribe();
    }

    fn message(&mut self, message: &InternalMessage, outlet: &Outlet) {
        let subject = String::from_utf8_lossy(&message.subject);
        let tokens: Vec<&str> = subject.split('.').collect();
        if let Some(key) = named(&tokens) {
            let outcome = self.update(key, &message.payload);
            outcome.answer(message, &self.envelope, outlet);
        }
    }
}
