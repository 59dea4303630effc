//! A thousand requests to create and update streams and consumers, and what 2.15.1 answered:
//! `tests/fixtures/jetstream/configurations.json` (JS-15, JS-16, JS-18, JS-19, JS-33..35, JS-53..83,
//! JS-173..193, JS-245, JS-247). A step is a subject, a body, and an error or the configuration
//! that came of it, as far as it differs from `base`; `<x*n>` stands for `n` times `x`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::api::decode::decode;
use super::api::encode::to_json;
use super::api::errors::{self, ApiError};
use super::api::request::{ConsumerCreateRequest, StreamConfigRequest};
use super::api::response::AccountLimits;
use super::api::subjects::{ApiSubject, Endpoint};
use super::api::values::Span;
use super::consumer::config::ConsumerConfig;
use super::consumer::create::{ConsumerCreation, Consumers, create_consumer, fit_subject};
use super::limits::{AccountTiers, ServerLimits, Surroundings};
use super::stream::config::{Storage, StreamConfig};
use super::stream::create::{Creation, create_stream, update_stream};

/// An account with its streams and their consumers, without messages.
#[derive(Default)]
struct Account {
    server: ServerLimits,
    tiers: AccountTiers,
    streams: BTreeMap<String, StreamConfig>,
    consumers: BTreeMap<String, Named>,
}

#[derive(Default)]
struct Named(BTreeMap<String, ConsumerConfig>);

impl Consumers for Named {
    fn consumer(&self, name: &str) -> Option<&ConsumerConfig> {
        self.0.get(name)
    }
    fn each(&self, visit: &mut dyn FnMut(&str, &ConsumerConfig)) {
        self.0.iter().for_each(|(name, config)| visit(name, config));
    }
    fn is_bound(&self, _: &str) -> bool {
        false
    }
}

impl Account {
    fn of(server: &str) -> Self {
        let mut account = Self::default();
        if server == "limited" {
            account.server = ServerLimits {
                max_ack_pending: 400,
                max_request_batch: 100,
                duplicate_window: Span::seconds(60),
                max_memory: 5000,
                max_storage: 5000,
                ..ServerLimits::default()
            };
            account.tiers = AccountTiers::One(AccountLimits {
                max_memory: 1000,
                max_storage: 2000,
                max_streams: 3,
                max_consumers: 2,
                max_ack_pending: 300,
                storage_max_stream_bytes: 1000,
                max_bytes_required: true,
                ..AccountLimits::default()
            });
        }
        account
    }

    fn request(&mut self, subject: &str, body: &[u8]) -> Result<Value, ApiError> {
        let subject = format!("$JS.API.{subject}");
        let subject = ApiSubject::parse(subject.as_bytes()).expect("an endpoint");
        let reserved = |storage| {
            let of = self
                .streams
                .values()
                .filter(move |it| it.storage == storage);
            of.map(|it| it.max_bytes.max(0)).sum()
        };
        self.server.reserved_memory = reserved(Storage::Memory);
        self.server.reserved_storage = reserved(Storage::File);
        let around = Surroundings {
            server: &self.server,
            account: &self.tiers,
            streams: &self.streams,
        };
        let bad = |error: super::api::decode::DecodeError| errors::invalid_json(error);
        if subject.endpoint == Endpoint::StreamCreate || subject.endpoint == Endpoint::StreamUpdate
        {
            let request = StreamConfigRequest::decode(body, true).map_err(bad)?;
            let config = if subject.endpoint == Endpoint::StreamCreate {
                match create_stream(&request, subject.stream, around)? {
                    Creation::New(config) => *config,
                    Creation::Same => self.streams[subject.stream].clone(),
                }
            } else {
                let none = Named::default();
                let consumers = self.consumers.get(subject.stream).unwrap_or(&none);
                let consumers = consumers.0.iter().map(|(name, it)| (name.as_str(), it));
                update_stream(&request, subject.stream, around, consumers)?
            };
            identity_holds(&config);
            let json = shown(&config);
            self.streams.insert(config.name.clone(), config);
            return Ok(json);
        }
        let mut request: ConsumerCreateRequest = decode(body, true).map_err(bad)?;
        fit_subject(&mut request, &subject)?;
        let stream = self
            .streams
            .get(subject.stream)
            .ok_or(errors::STREAM_NOT_FOUND)?;
        let consumers = self.consumers.entry(stream.name.clone()).or_default();
        let limits = (&self.server, &self.tiers);
        let made = create_consumer(request, stream, limits, consumers, || "random".to_owned())?;
        let (ConsumerCreation::New(name, config) | ConsumerCreation::Update(name, config)) = made;
        identity_holds(&*config);
        let json = shown(&*config);
        consumers.0.insert(name, *config);
        Ok(json)
    }
}

fn shown<T: serde::Serialize>(config: &T) -> Value {
    serde_json::from_slice(&to_json(config)).expect("JSON")
}

/// A configuration comes back from JSON as it was.
fn identity_holds<T>(config: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + Default + PartialEq + std::fmt::Debug,
{
    let json = to_json(config);
    assert_eq!(decode::<T>(&json, true).as_ref(), Ok(config));
    assert_eq!(&serde_json::from_slice::<T>(&json).expect("JSON"), config);
}

fn expanded(text: &str) -> String {
    let mut parts = text.split("<x*");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (count, rest) = part.split_once('>').expect("an end");
        out.push_str(&"x".repeat(count.parse().expect("a count")));
        out.push_str(rest);
    }
    out
}

#[test]
fn every_request_is_answered_as_stock_answers_it() {
    let text = include_str!("../../tests/fixtures/jetstream/configurations.json");
    let golden: Value = serde_json::from_str(&expanded(text)).expect("JSON");
    let mut wrong = Vec::new();
    let mut count = 0;
    for scenario in golden["scenarios"].as_array().expect("scenarios") {
        let mut account = Account::of(scenario["server"].as_str().expect("a name"));
        for step in scenario["steps"].as_array().expect("steps") {
            count += 1;
            let subject = step["subject"].as_str().expect("a subject");
            let got = account.request(subject, step["body"].to_string().as_bytes());
            let expected = match step.get("config") {
                Some(changes) => {
                    let kind = if subject.starts_with("STREAM") {
                        "stream"
                    } else {
                        "consumer"
                    };
                    let mut config = golden["base"][kind].clone();
                    for (key, value) in changes.as_object().expect("changes") {
                        match value {
                            Value::Null => {
                                drop(config.as_object_mut().expect("an object").remove(key))
                            }
                            value => config[key] = value.clone(),
                        }
                    }
                    Ok(config)
                }
                None => Err(step["error"].clone()),
            };
            let got = got.map_err(|error| shown(&error));
            if got != expected {
                let mut body = step["body"].to_string();
                body.truncate(300);
                wrong.push(format!(
                    "{subject} {body}\n  stock {expected:?}\n  ours  {got:?}"
                ));
                break;
            }
        }
    }
    assert!(count > 900, "{count} steps");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
