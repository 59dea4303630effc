//! Streams, consumers, key-value, objects and services with the official Rust client.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull, push};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::kv::{self, Operation};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, RetentionPolicy};
use async_nats::jetstream::{self, AckKind, Context};
use async_nats::service::ServiceExt;
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncReadExt;

use super::support::server::Server;
use super::{Connected, in_time};

async fn start() -> (Server, Connected, Context) {
    let server = Server::with_config("jetstream { store_dir: \"@DIR@/js\", domain: D }");
    let connected = Connected::to(&server).await;
    let mut jetstream = jetstream::new(connected.client.clone());
    jetstream.set_timeout(super::PATIENCE);
    (server, connected, jetstream)
}

async fn stream(jetstream: &Context, config: stream::Config) -> stream::Stream {
    jetstream.create_stream(config).await.expect("a stream")
}

fn plain(name: &str, subject: &str) -> stream::Config {
    stream::Config {
        name: name.into(),
        subjects: vec![subject.into()],
        ..Default::default()
    }
}

#[tokio::test]
async fn streams_take_messages_once_and_as_expected() {
    let (_server, _connected, jetstream) = start().await;
    let mut stream = stream(&jetstream, plain("S", "s.>")).await;
    let mut acks = Vec::new();
    for at in 0..500 {
        let ack = jetstream.publish(format!("s.{}", at % 3), at.to_string().into());
        acks.push(ack.await.expect("sent"));
    }
    for (at, ack) in acks.into_iter().enumerate() {
        let ack = in_time(ack.into_future()).await.expect("stored");
        assert_eq!(ack.sequence, at as u64 + 1);
    }
    let with_id = || PublishMessage::build().message_id("x");
    for duplicate in [false, true] {
        let ack = jetstream.send_publish("s.id", with_id()).await;
        let ack = in_time(ack.expect("sent").into_future()).await;
        assert_eq!(ack.expect("stored").duplicate, duplicate);
    }
    let wrong = PublishMessage::build().expected_last_sequence(7);
    let ack = jetstream.send_publish("s.0", wrong).await.expect("sent");
    let error = in_time(ack.into_future()).await.expect_err("refused");
    assert_eq!(error.kind(), PublishErrorKind::WrongLastSequence);
    let info = stream.info().await.expect("info");
    assert_eq!(info.state.messages, 501);
    stream.purge().filter("s.1").await.expect("purged");
    let info = stream.info().await.expect("info");
    assert_eq!(info.state.messages, 501 - 167);
    let last = stream.get_last_raw_message_by_subject("s.2").await;
    assert_eq!(last.expect("a message").payload, "497");
}

#[tokio::test]
async fn consumers_hand_out_what_is_not_acknowledged() {
    let (_server, _connected, jetstream) = start().await;
    let config = stream::Config {
        retention: RetentionPolicy::WorkQueue,
        ..plain("W", "w.>")
    };
    let mut stream = stream(&jetstream, config).await;
    for at in 0..100 {
        let ack = jetstream.publish("w.x", at.to_string().into()).await;
        in_time(ack.expect("sent").into_future())
            .await
            .expect("stored");
    }
    let config = pull::Config {
        durable_name: Some("workers".into()),
        ack_policy: AckPolicy::Explicit,
        ..Default::default()
    };
    let consumer: PullConsumer = stream.create_consumer(config).await.expect("a consumer");
    let mut batch = consumer
        .batch()
        .max_messages(10)
        .messages()
        .await
        .expect("a batch");
    let mut given_back = Vec::new();
    while let Some(message) = in_time(batch.next()).await {
        let message = message.expect("a message");
        given_back.push(message.payload.clone());
        message.ack_with(AckKind::Nak(None)).await.expect("sent");
    }
    assert_eq!(given_back.len(), 10);
    let mut messages = consumer.messages().await.expect("messages");
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let message = in_time(messages.next()).await.expect("more");
        let message = message.expect("a message");
        message.double_ack().await.expect("acknowledged");
        seen.push(String::from_utf8_lossy(&message.payload).into_owned());
    }
    seen.sort_by_key(|it| it.parse::<u32>().expect("a number"));
    let all: Vec<String> = (0..100).map(|at| at.to_string()).collect();
    assert_eq!(seen, all);
    assert_eq!(stream.info().await.expect("info").state.messages, 0);
}

#[tokio::test]
async fn ordered_consumers_miss_nothing() {
    let (_server, connected, jetstream) = start().await;
    let stream = stream(&jetstream, plain("S", "s")).await;
    for at in 0..2000 {
        connected.publish("s", &at.to_string()).await;
    }
    connected.settle().await;
    let pulled = stream.create_consumer(pull::OrderedConfig::default()).await;
    let mut pulled = pulled.expect("one").messages().await.expect("messages");
    let config = push::OrderedConfig {
        deliver_subject: connected.client.new_inbox(),
        ..Default::default()
    };
    let pushed = stream.create_consumer(config).await.expect("one");
    let mut pushed = pushed.messages().await.expect("messages");
    for at in 0..2000 {
        let message = in_time(pulled.next()).await.expect("more").expect("one");
        assert_eq!(message.payload, at.to_string());
        let message = in_time(pushed.next()).await.expect("more").expect("one");
        assert_eq!(message.payload, at.to_string());
    }
}

#[tokio::test]
async fn keys_and_values() {
    let (_server, _connected, jetstream) = start().await;
    let config = kv::Config {
        bucket: "B".into(),
        history: 5,
        limit_markers: Some(Duration::from_secs(1)),
        ..Default::default()
    };
    let kv = jetstream.create_key_value(config).await.expect("a bucket");
    let mut watch = kv.watch("a.>").await.expect("a watch");
    let mut revisions = Vec::new();
    for at in 0..7 {
        let revision = kv.put("a.x", at.to_string().into()).await;
        revisions.push(revision.expect("put"));
    }
    assert_eq!(kv.get("a.x").await.expect("got"), Some("6".into()));
    let old = kv.entry_for_revision("a.x", revisions[3]).await;
    assert_eq!(old.expect("got").expect("an entry").value, "3");
    let history: Vec<_> = kv
        .history("a.x")
        .await
        .expect("history")
        .map_ok(|it| it.value)
        .try_collect()
        .await
        .expect("entries");
    assert_eq!(history, ["2", "3", "4", "5", "6"]);
    assert!(kv.update("a.x", "no".into(), revisions[0]).await.is_err());
    assert!(kv.create("a.x", "no".into()).await.is_err());
    let last = kv.update("a.x", "yes".into(), revisions[6]).await;
    assert_eq!(last.expect("updated"), revisions[6] + 1);
    kv.delete("a.x").await.expect("deleted");
    assert_eq!(kv.get("a.x").await.expect("asked"), None);
    kv.create("a.x", "anew".into()).await.expect("created");
    kv.purge("a.x").await.expect("purged");
    let mut seen = Vec::new();
    while seen.len() < 11 {
        let entry = in_time(watch.next()).await.expect("more").expect("one");
        seen.push((entry.operation, entry.value));
    }
    let puts = ["0", "1", "2", "3", "4", "5", "6", "yes"].map(|it| (Operation::Put, it.into()));
    let mut expected: Vec<_> = puts.into();
    expected.push((Operation::Delete, "".into()));
    expected.push((Operation::Put, "anew".into()));
    expected.push((Operation::Purge, "".into()));
    assert_eq!(seen, expected);
    // One that ends by itself.
    let short = kv.create_with_ttl("short", "v".into(), Duration::from_secs(1));
    short.await.expect("created");
    in_time(async {
        while kv.get("short").await.expect("asked").is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let keys: Vec<String> = kv
        .keys()
        .await
        .expect("keys")
        .try_collect()
        .await
        .expect("names");
    assert_eq!(keys, [""; 0]);
}

#[tokio::test]
async fn a_bucket_mirrors_another_with_its_history() {
    let (_server, _connected, jetstream) = start().await;
    let config = |bucket: &str| kv::Config {
        bucket: bucket.into(),
        history: 3,
        ..Default::default()
    };
    let origin = jetstream.create_key_value(config("ONE")).await;
    let origin = origin.expect("a bucket");
    for at in 0..5 {
        let put = origin.put("k", at.to_string().into()).await;
        put.expect("put");
    }
    let mirror = stream::Source {
        name: "ONE".into(),
        ..Default::default()
    };
    let copy = kv::Config {
        mirror: Some(mirror),
        ..config("TWO")
    };
    let copy = jetstream.create_key_value(copy).await.expect("a bucket");
    // This client looks for a mirror's keys under another name than their origin's.
    let mut stream = jetstream.get_stream("KV_TWO").await.expect("a stream");
    in_time(async {
        while stream.info().await.expect("info").state.last_sequence < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for (seq, value) in [(3, "2"), (4, "3"), (5, "4")] {
        let message = stream.get_raw_message(seq).await.expect("a message");
        assert_eq!(
            (&message.subject[..], &message.payload[..]),
            ("$KV.ONE.k", value.as_bytes())
        );
    }
    let status = copy.status().await.expect("status");
    assert_eq!(status.history(), 3);
}

#[tokio::test]
async fn objects_of_many_chunks() {
    let (_server, _connected, jetstream) = start().await;
    let config = jetstream::object_store::Config {
        bucket: "O".into(),
        ..Default::default()
    };
    let mut store = jetstream.create_object_store(config).await.expect("one");
    let large: Vec<u8> = (0..8_u32 << 20)
        .map(|at| (at * 31 + (at >> 13)) as u8)
        .collect();
    let info = store.put("large", &mut &large[..]).await.expect("put");
    assert_eq!((info.chunks, info.size), (64, large.len()));
    let mut back = Vec::new();
    let mut object = store.get("large").await.expect("an object");
    in_time(object.read_to_end(&mut back)).await.expect("read");
    assert!(back == large, "the digest is compared, too");
    store.put("small", &mut &b"s"[..]).await.expect("put");
    let small = store.info("small").await.expect("info");
    store.add_link("link", &small).await.expect("a link");
    let mut text = String::new();
    let mut object = store.get("link").await.expect("an object");
    object.read_to_string(&mut text).await.expect("read");
    assert_eq!(text, "s");
    store.delete("large").await.expect("deleted");
    let names: Vec<String> = store
        .list()
        .await
        .expect("a list")
        .map_ok(|it| it.name)
        .try_collect()
        .await
        .expect("names");
    assert_eq!(names.len(), 2, "{names:?}");
    store.seal().await.expect("sealed");
    assert!(store.put("no", &mut &b"s"[..]).await.is_err());
}

#[tokio::test]
async fn services_answer_and_are_found() {
    let (_server, connected, _jetstream) = start().await;
    let service = connected.client.service_builder();
    let service = service.start("double", "1.0.0").await.expect("a service");
    let mut endpoint = service.endpoint("double").await.expect("an endpoint");
    let answers = tokio::spawn(async move {
        for _ in 0..10 {
            let request = endpoint.next().await.expect("a request");
            let twice = request.message.payload.repeat(2);
            request.respond(Ok(twice.into())).await.expect("answered");
        }
    });
    connected.settle().await;
    for _ in 0..10 {
        let answer = connected.client.request("double", "x".into());
        assert_eq!(in_time(answer).await.expect("an answer").payload, "xx");
    }
    answers.await.expect("done");
    let stats = connected.client.request("$SRV.STATS.double", "".into());
    let stats = in_time(stats).await.expect("an answer").payload;
    let stats: serde_json::Value = serde_json::from_slice(&stats).expect("JSON");
    assert_eq!(stats["endpoints"][0]["num_requests"], 10);
    service.stop().await.expect("stopped");
}
