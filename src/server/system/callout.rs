//! Asks auth services about clients and hands their answers to the shards (AUTH-81..83).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use nkeys::{KeyPair, XKey};
use serde_json::{Value, json};

use super::envelope::Envelope;
use super::services::{Outlet, Service};
use crate::auth::callout::{AUDIENCE, Ask, SUBJECT, XKEY_HEADER, read_answer};
use crate::auth::jwt::token;
use crate::auth::jwt::trust::seconds;
use crate::auth::jwt::user::UserClaims;
use crate::ids::AccountId;
use crate::io::Socket;
use crate::server::identity::ServerKeys;
use crate::server::shards::wall_time;
use crate::shard::control::{Control, Post};
use crate::shard::internal::{InternalMessage, InternalPublish, Question};

/// How every token begins, and nothing that is sealed does.
const TOKEN_START: &[u8] = b"eyJ";

/// A question without an answer yet.
struct Open {
    question: Question,
    /// Key made for this question alone: an answer to another one does not fit.
    user: String,
    until: Instant,
}

/// Asks on behalf of all shards.
pub(in crate::server) struct CalloutService {
    keys: Arc<ServerKeys>,
    envelope: Arc<Envelope>,
    posts: Vec<Post<Socket>>,
    prefix: String,
    /// Accounts whose answers are heard.
    heard: HashSet<AccountId>,
    open: HashMap<String, Open>,
    asked: u64,
}

impl CalloutService {
    pub fn new(keys: Arc<ServerKeys>, envelope: Arc<Envelope>, posts: Vec<Post<Socket>>) -> Self {
        // Nobody guesses it, and so nobody answers in a service's place.
        let prefix = format!("$SYS._INBOX.{}", KeyPair::new_user().public_key());
        Self {
            keys,
            envelope,
            posts,
            prefix,
            heard: HashSet::new(),
            open: HashMap::new(),
            asked: 0,
        }
    }

    /// The token that asks.
    fn claims(&self, question: &Question, user: &str) -> Value {
        let now = seconds(wall_time());
        let ask = &question.ask;
        let server = self.envelope.server();
        let field = |name: &str| server.get(name).cloned().unwrap_or(Value::Null);
        let mut described = json!({
            "name": field("name"), "host": field("host"), "id": field("id"),
            "version": field("ver"),
        });
        for name in ["cluster", "tags"] {
            if let Some(value) = server.get(name) {
                described[name] = value.clone();
            }
        }
        if ask.xkey.is_some() {
            described["xkey"] = self.keys.xkey.public_key().into();
        }
        let mut claims = json!({
            "aud": AUDIENCE,
            "exp": now + question.patience.as_secs().max(1) as i64,
            "iat": now,
            "iss": self.keys.signing.public_key(),
            "jti": user,
            "sub": ask.subject,
            "nats": {
                "server_id": described,
                "user_nkey": user,
                "client_info": question.client_info,
                "connect_opts": question.connect_opts,
                "type": "authorization_request",
                "version": 2,
            },
        });
        if let Some(tls) = &question.client_tls {
            claims["nats"]["client_tls"] = tls.clone();
        }
        claims
    }

    fn ask(&mut self, question: Question, outlet: &Outlet) -> Result<(), String> {
        let user = KeyPair::new_user().public_key();
        let claims = self.claims(&question, &user);
        let text = token::encode(&self.keys.signing, &claims).map_err(|error| error.to_string())?;
        let ask = &question.ask;
        let (header, payload) = match &ask.xkey {
            None => (Vec::new(), text.into_bytes()),
            Some(theirs) => {
                let theirs = XKey::from_public_key(theirs).map_err(|error| error.to_string())?;
                let sealed = self.keys.xkey.seal(text.as_bytes(), &theirs);
                let header = format!(
                    "NATS/1.0\r\n{XKEY_HEADER}: {}\r\n\r\n",
                    self.keys.xkey.public_key()
                );
                (
                    header.into_bytes(),
                    sealed.map_err(|error| error.to_string())?,
                )
            }
        };
        if self.heard.insert(ask.account) {
            outlet.subscribe(ask.account, &format!("{}.*", self.prefix), None);
        }
        self.asked += 1;
        let name = self.asked.to_string();
        outlet.publish(InternalPublish {
            account: ask.account,
            subject: SUBJECT.as_bytes().into(),
            reply: Some(format!("{}.{name}", self.prefix).into_bytes().into()),
            header: header.into(),
            payload: payload.into(),
        });
        let until = Instant::now() + question.patience;
        self.open.insert(
            name,
            Open {
                question,
                user,
                until,
            },
        );
        Ok(())
    }

    /// What an answer says.
    fn read(&self, open: &Open, payload: &[u8]) -> Result<UserClaims, String> {
        let ask: &Ask = &open.question.ask;
        if payload.is_empty() {
            return Err("Auth callout violation: \"no reason supplied\"".into());
        }
        let opened;
        let (text, sealed) = match &ask.xkey {
            Some(theirs) if !payload.starts_with(TOKEN_START) => {
                let failed = |error| format!("Error decrypting auth callout response: {error}");
                let theirs = XKey::from_public_key(theirs).map_err(failed)?;
                opened = self.keys.xkey.open(payload, &theirs).map_err(failed)?;
                (opened.as_slice(), true)
            }
            _ => (payload, false),
        };
        let text = String::from_utf8_lossy(text);
        let server = self.envelope.server_id();
        let now = seconds(wall_time());
        read_answer(&text, ask, sealed, (&open.user, &server), now)
    }

    fn tell(&self, question: Question, answer: Result<UserClaims, String>) {
        if let Some(post) = self.posts.get(usize::from(question.shard.0)) {
            post.send(Control::Answered {
                slot: question.slot,
                asked: question.ask.account,
                answer: Box::new(answer),
            });
        }
    }
}

impl Service for CalloutService {
    fn start(&mut self, _: &Outlet) {}

    fn message(&mut self, message: &InternalMessage, _: &Outlet) {
        let name = message.subject.rsplit(|&byte| byte == b'.').next();
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        let matches = |open: &Open| open.question.ask.account == message.account;
        if !self.open.get(&name).is_some_and(matches) {
            return;
        }
        if let Some(open) = self.open.remove(&name) {
            let answer = self.read(&open, &message.payload);
            self.tell(open.question, answer);
        }
    }

    fn question(&mut self, question: &Question, outlet: &Outlet) {
        if let Err(error) = self.ask(question.clone(), outlet) {
            self.tell(question.clone(), Err(error));
        }
    }

    fn tick(&mut self, now: Instant, _: &Outlet) {
        let late = self.open.iter().filter(|(_, open)| open.until <= now);
        let late: Vec<String> = late.map(|(name, _)| name.clone()).collect();
        for name in late {
            if let Some(open) = self.open.remove(&name) {
                let text = "Authorization callout response not received in time";
                self.tell(open.question, Err(text.into()));
            }
        }
    }
}
