//! An auth service is asked about a connection, and answers (AUTH-81).

use std::sync::Arc;

use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value, json};

use crate::auth::authenticate::{NotAdmitted, RefuseReason};
use crate::auth::callout::Ask;
use crate::auth::jwt::trust::Refused;
use crate::auth::jwt::user::UserClaims;
use crate::connection::connection::{Connection, Holds};
use crate::ids::{AccountId, Slot};
use crate::shard::core::Core;
use crate::shard::effects::{Effect, Level};
use crate::shard::internal::Question;
use crate::shard::login::credentials;

impl Core {
    /// Has an auth service asked; the connection waits.
    pub(super) fn ask_service(&mut self, slot: Slot, ask: Ask) {
        let (shard, patience) = (self.local.id, self.local.settings.auth_timeout);
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        connection.holds.add(Holds::VERIFY);
        let question = Question {
            shard,
            slot,
            patience,
            client_info: client_info(connection),
            connect_opts: connect_options(connection),
            client_tls: client_tls(connection),
            ask,
        };
        self.local.effects.push(Effect::Ask(Box::new(question)));
    }

    /// The auth service has answered, or has not in time.
    pub fn answered(&mut self, slot: Slot, asked: AccountId, answer: Result<UserClaims, String>) {
        let (settings, wall) = (Arc::clone(&self.local.settings), self.local.wall);
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        if !connection.holds.remove(Holds::VERIFY) || connection.closing() {
            return;
        }
        let (go_on, sought) = (!connection.holds.any(), connection.sought);
        let authenticator = settings.authenticator(connection.listener);
        let presented = credentials(connection, &settings, wall);
        let user = answer
            .map_err(NotAdmitted::Refused)
            .and_then(|claims| authenticator.answered(asked, claims, &presented));
        // The service is asked again once the account is known: what it said is not kept.
        let user = match user {
            Err(NotAdmitted::Seek(key)) if !sought => return self.seek_account(slot, key),
            Err(NotAdmitted::Seek(_)) => Err(Refused::NoAccount.why().to_owned()),
            Err(NotAdmitted::Refused(why)) => Err(why),
            Ok(user) => Ok(user),
        };
        if go_on {
            self.local.ready.push(slot);
        }
        match user {
            Ok(user) => self.let_in(slot, user),
            Err(why) => {
                self.local.log(Level::Warn, slot.index, &why);
                self.authentication_failed_in(slot.index, asked, RefuseReason::Credentials);
            }
        }
    }
}

/// Only what is there.
fn filled(fields: &[(&str, &str)]) -> Map<String, Value> {
    let there = fields.iter().filter(|(_, text)| !text.is_empty());
    there
        .map(|&(name, text)| (name.to_owned(), text.into()))
        .collect()
}

fn client_info(connection: &Connection) -> Value {
    let options = &connection.options;
    let names = [&options.nkey, &options.user, &options.auth_token];
    let user = names.into_iter().find(|it| !it.is_empty());
    let mut info = filled(&[
        ("host", &connection.address.ip().to_string()),
        ("user", user.map_or("", |it| it)),
        ("name", &options.name),
        ("kind", "Client"),
        ("type", connection.listener.client_type()),
    ]);
    info.insert("id".into(), connection.cid.0.into());
    if !options.sig.is_empty() {
        let nonce = String::from_utf8_lossy(&connection.nonce);
        info.insert("nonce".into(), nonce.into());
    }
    Value::Object(info)
}

/// How it is encrypted, and by which ways its certificates lead to an authority; `None` where it is
/// not. Certificates are asked for only to be verified.
fn client_tls(connection: &Connection) -> Option<Value> {
    let transport = connection.transport.as_ref()?;
    let tls = transport.tls()?;
    let mut told = filled(&[("version", tls.version()), ("cipher", tls.cipher_suite())]);
    let pems = |all: &[CertificateDer<'_>]| all.iter().map(|it| pem(it)).collect::<Vec<_>>();
    let sent = tls.peer_certificates();
    if !sent.is_empty() {
        let settings = transport.tls_settings();
        let chains = settings.map_or_else(Vec::new, |it| it.chains(sent));
        if chains.is_empty() {
            told.insert("certs".into(), json!(pems(sent)));
        } else {
            let chains: Vec<_> = chains.iter().map(|it| pems(it)).collect();
            told.insert("verified_chains".into(), json!(chains));
        }
    }
    Some(Value::Object(told))
}

fn pem(certificate: &[u8]) -> String {
    const LINE: usize = 64;
    let text = BASE64.encode(certificate);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(LINE) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

fn connect_options(connection: &Connection) -> Value {
    let options = &connection.options;
    let mut fields = filled(&[
        ("jwt", &options.jwt),
        ("nkey", &options.nkey),
        ("sig", &options.sig),
        ("auth_token", &options.auth_token),
        ("user", &options.user),
        ("pass", &options.pass),
        ("name", &options.name),
        ("lang", &options.lang),
        ("version", &options.version),
    ]);
    fields.insert("protocol".into(), json!(options.protocol));
    Value::Object(fields)
}
