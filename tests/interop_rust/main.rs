//! The official Rust client against the real executable.
//!
//! `RAMJET_TEST_SERVER=/path/to/nats-server cargo test --test interop_rust` runs the same cases
//! against another server.

#[expect(
    dead_code,
    reason = "raw client and monitoring are for the black-box tests"
)]
#[path = "../support/mod.rs"]
mod support;

mod jetstream;

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use async_nats::client::{PublishErrorKind, RequestErrorKind};
use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message, ServerError, Subscriber,
};
use futures_util::StreamExt;
use nkeys::KeyPair;
use rustix::process::Signal;
use support::PATIENCE;
use support::server::Server;
use support::tls::Authority;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// "secret", at the lowest cost.
const BCRYPT_SECRET: &str = "$2a$04$oX4zw6.H.xUApK8e4iFx..v.zJjN6hZnpM4IVqPUzjGkg782Zutnm";

/// Waits for `future` as long as anything may take.
#[track_caller]
fn in_time<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let outcome = tokio::time::timeout(PATIENCE, future).await;
        outcome.unwrap_or_else(|_| panic!("waited in vain at {caller}"))
    }
}

/// A connected client and what it tells its application.
struct Connected {
    client: Client,
    events: UnboundedReceiver<Event>,
}

impl Connected {
    async fn to(server: &Server) -> Self {
        Self::with(server, ConnectOptions::new())
            .await
            .expect("connects")
    }

    async fn with(server: &Server, options: ConnectOptions) -> Result<Self, ConnectErrorKind> {
        let (sender, events) = unbounded_channel();
        let options = options
            .event_callback(move |event| {
                // A test that has ended listens no more.
                let _ = sender.send(event);
                std::future::ready(())
            })
            .connection_timeout(PATIENCE)
            .reconnect_delay_callback(|_| Duration::from_millis(10));
        let client = in_time(options.connect(format!("nats://{}", server.address()))).await;
        client
            .map(|client| Self { client, events })
            .map_err(|error| error.kind())
    }

    /// Waits for an event, passing over others.
    async fn event(&mut self, wanted: &Event) {
        in_time(async { while self.events.recv().await.expect("the client runs") != *wanted {} })
            .await;
    }

    async fn subscribe(&self, subject: &str) -> Subscriber {
        let subscriber = self
            .client
            .subscribe(subject.to_owned())
            .await
            .expect("subscribes");
        self.settle().await;
        subscriber
    }

    async fn join(&self, subject: &str, queue: &str) -> Subscriber {
        let (subject, queue) = (subject.to_owned(), queue.to_owned());
        let subscriber = self
            .client
            .queue_subscribe(subject, queue)
            .await
            .expect("subscribes");
        self.settle().await;
        subscriber
    }

    async fn publish(&self, subject: &str, payload: &str) {
        let payload = payload.to_owned().into();
        self.client
            .publish(subject.to_owned(), payload)
            .await
            .expect("publishes");
    }

    /// Returns when the server has acted on all that was sent: this client's `flush` ends at the
    /// socket, so a message of its own has to come back.
    async fn settle(&self) {
        let inbox = self.client.new_inbox();
        let mut echo = self
            .client
            .subscribe(inbox.clone())
            .await
            .expect("subscribes");
        self.publish(&inbox, "").await;
        next(&mut echo).await;
    }
}

#[track_caller]
fn next(subscriber: &mut Subscriber) -> impl Future<Output = Message> {
    let message = in_time(subscriber.next());
    async { message.await.expect("the subscription is open") }
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}

/// Whether `options` are let in; the only refusal it knows is the server's.
async fn admits(server: &Server, options: ConnectOptions) -> bool {
    match Connected::with(server, options).await {
        Ok(connected) => {
            connected.settle().await;
            true
        }
        Err(ConnectErrorKind::AuthorizationViolation) => false,
        Err(other) => panic!("{other}"),
    }
}

fn user(name: &str, password: &str) -> ConnectOptions {
    ConnectOptions::with_user_and_password(name.into(), password.into())
}

#[tokio::test]
async fn publishes_and_subscribes_in_order() {
    let server = Server::start();
    let (one, other) = (Connected::to(&server).await, Connected::to(&server).await);
    let mut subscriber = one.subscribe("orders.new").await;
    for index in 0..1000 {
        other.publish("orders.new", &index.to_string()).await;
    }
    for index in 0..1000 {
        assert_eq!(text(&next(&mut subscriber).await), index.to_string());
    }
}

#[tokio::test]
async fn wildcards_match_by_token() {
    let server = Server::start();
    let (one, other) = (Connected::to(&server).await, Connected::to(&server).await);
    let mut partial = one.subscribe("a.*.c").await;
    let mut full = one.subscribe("a.>").await;
    for subject in ["a", "a.b", "a.b.c", "a.b.c.d", "b.b.c"] {
        other.publish(subject, "").await;
    }
    for subject in ["a.b", "a.b.c", "a.b.c.d"] {
        assert_eq!(next(&mut full).await.subject.as_str(), subject);
    }
    other.publish("a.last.c", "").await;
    for subject in ["a.b.c", "a.last.c"] {
        assert_eq!(next(&mut partial).await.subject.as_str(), subject);
    }
}

#[tokio::test]
async fn a_queue_group_shares_messages() {
    const MESSAGES: usize = 300;
    let server = Server::start();
    let publisher = Connected::to(&server).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        let connected = Connected::to(&server).await;
        let subscriber = connected.join("work", "workers").await;
        members.push((connected, subscriber));
    }
    for index in 0..MESSAGES {
        publisher.publish("work", &index.to_string()).await;
    }
    publisher.settle().await;
    let mut seen = HashSet::new();
    for (connected, subscriber) in &mut members {
        connected.client.drain().await.expect("drains");
        let own: Vec<_> = in_time(subscriber.map(|message| text(&message)).collect()).await;
        assert!(!own.is_empty(), "a member without work");
        for payload in own {
            assert!(seen.insert(payload), "delivered twice");
        }
    }
    assert_eq!(seen.len(), MESSAGES);
}

#[tokio::test]
async fn requests_are_answered() {
    let server = Server::start();
    let (service, asker) = (Connected::to(&server).await, Connected::to(&server).await);
    let mut requests = service.subscribe("double").await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request
                .reply
                .clone()
                .expect("a request has a reply subject");
            let twice = [request.payload.clone(), request.payload].concat();
            service
                .client
                .publish(reply, twice.into())
                .await
                .expect("answers");
        }
    });
    for index in 0..100 {
        let reply = in_time(asker.client.request("double", index.to_string().into())).await;
        assert_eq!(text(&reply.expect("an answer")), format!("{index}{index}"));
    }
}

#[tokio::test]
async fn a_request_nobody_hears_fails_at_once() {
    let server = Server::start();
    let asker = Connected::to(&server).await;
    let error = in_time(asker.client.request("nobody", "".into()))
        .await
        .expect_err("no answer");
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn headers_arrive_as_sent() {
    let server = Server::start();
    let (one, other) = (Connected::to(&server).await, Connected::to(&server).await);
    let mut subscriber = one.subscribe("h").await;
    let mut headers = HeaderMap::new();
    headers.append("Trace", "1");
    headers.append("Trace", "2");
    headers.insert("Content-Type", "text/plain");
    let sent = headers.clone();
    other
        .client
        .publish_with_headers("h", sent, "body".into())
        .await
        .expect("publishes");
    let message = next(&mut subscriber).await;
    assert_eq!(message.headers, Some(headers));
    assert_eq!(text(&message), "body");
}

#[tokio::test]
async fn drain_delivers_what_is_under_way() {
    let server = Server::start();
    let (mut one, other) = (Connected::to(&server).await, Connected::to(&server).await);
    let subscriber = one.subscribe("d").await;
    for index in 0..500 {
        other.publish("d", &index.to_string()).await;
    }
    other.settle().await;
    one.client.drain().await.expect("drains");
    let received: Vec<_> = in_time(subscriber.map(|message| text(&message)).collect()).await;
    assert_eq!(
        received,
        (0..500).map(|index| index.to_string()).collect::<Vec<_>>()
    );
    one.event(&Event::Closed).await;
}

#[tokio::test]
async fn a_client_outlives_a_restart() {
    let first = Server::start();
    let (mut one, mut other) = (Connected::to(&first).await, Connected::to(&first).await);
    let mut subscriber = one.subscribe("r").await;
    let port = first.address().port();
    drop(first);
    one.event(&Event::Disconnected).await;
    other.event(&Event::Disconnected).await;
    let flags = format!("-a 127.0.0.1 -p {port}");
    let _second = Server::builder().own_listener().flags(&flags).start();
    one.event(&Event::Connected).await;
    other.event(&Event::Connected).await;
    one.settle().await;
    other.publish("r", "after").await;
    assert_eq!(text(&next(&mut subscriber).await), "after");
}

#[tokio::test]
async fn lame_duck_is_announced_before_the_end() {
    let mut server = Server::with_config("lame_duck_duration: 30s, lame_duck_grace_period: 100ms");
    let mut connected = Connected::to(&server).await;
    connected.settle().await;
    server.signal(Signal::USR2);
    connected.event(&Event::LameDuckMode).await;
    connected.event(&Event::Disconnected).await;
    assert!(server.exited().success());
}

#[tokio::test]
async fn permission_violations_reach_the_application() {
    let server = Server::with_config(
        r#"authorization { users: [ { user: u, password: p, permissions: {
            publish: { allow: ["ok.>", "_INBOX.>"] }, subscribe: { deny: "secret" } } } ] }"#,
    );
    let mut connected = Connected::with(&server, user("u", "p"))
        .await
        .expect("connects");
    let violation = |what: &str| {
        let text = format!("Permissions Violation for {what}");
        Event::ServerError(ServerError::Other(text))
    };
    connected.publish("no.thing", "").await;
    connected.event(&violation("Publish to \"no.thing\"")).await;
    let _kept = connected.client.subscribe("secret").await.expect("sent");
    connected
        .event(&violation("Subscription to \"secret\""))
        .await;
    let mut allowed = connected.subscribe("ok.a").await;
    connected.publish("ok.a", "still here").await;
    assert_eq!(text(&next(&mut allowed).await), "still here");
}

#[tokio::test]
async fn user_and_password_are_checked() {
    let server = Server::with_config("authorization { user: u, password: p }");
    assert!(admits(&server, user("u", "p")).await);
    assert!(!admits(&server, user("u", "wrong")).await);
    assert!(!admits(&server, user("other", "p")).await);
    assert!(!admits(&server, ConnectOptions::new()).await);
}

#[tokio::test]
async fn a_token_is_checked() {
    let server = Server::with_config("authorization { token: t0ken }");
    assert!(admits(&server, ConnectOptions::with_token("t0ken".into())).await);
    assert!(!admits(&server, ConnectOptions::with_token("other".into())).await);
    assert!(!admits(&server, ConnectOptions::new()).await);
}

#[tokio::test]
async fn a_bcrypt_password_is_checked() {
    let config = format!("authorization {{ user: u, password: \"{BCRYPT_SECRET}\" }}");
    let server = Server::with_config(&config);
    assert!(admits(&server, user("u", "secret")).await);
    assert!(!admits(&server, user("u", "wrong")).await);
    assert!(!admits(&server, user("u", BCRYPT_SECRET)).await);
}

#[tokio::test]
async fn an_nkey_is_checked() {
    let known = KeyPair::new_user();
    let config = format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        known.public_key()
    );
    let server = Server::with_config(&config);
    let nkey = |pair: &KeyPair| ConnectOptions::with_nkey(pair.seed().expect("has a seed"));
    assert!(admits(&server, nkey(&known)).await);
    assert!(!admits(&server, nkey(&KeyPair::new_user())).await);
    assert!(!admits(&server, ConnectOptions::new()).await);
}

#[tokio::test]
async fn the_payload_limit_is_told_and_kept() {
    let server = Server::with_config("max_payload: 1024");
    let connected = Connected::to(&server).await;
    assert_eq!(connected.client.server_info().max_payload, 1024);
    let mut subscriber = connected.subscribe("p").await;
    let error = connected
        .client
        .publish("p", vec![0; 1025].into())
        .await
        .expect_err("too large");
    assert_eq!(error.kind(), PublishErrorKind::MaxPayloadExceeded);
    connected
        .client
        .publish("p", vec![0; 1024].into())
        .await
        .expect("just fits");
    assert_eq!(next(&mut subscriber).await.payload.len(), 1024);
}

/// What was said to oneself comes back, whatever is between.
async fn echoes(client: Client) {
    let mut subscriber = client.subscribe("echo").await.expect("subscribes");
    let large: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    for payload in [b"small".to_vec(), large] {
        let sent = payload.clone().into();
        client.publish("echo", sent).await.expect("publishes");
        assert!(next(&mut subscriber).await.payload == payload);
    }
}

#[tokio::test]
async fn tls_before_and_after_info() {
    let authority = Authority::new();
    let (pair, ca) = (authority.server().config(), authority.ca());
    for first in [false, true] {
        let server = Server::with_config(&format!("tls {{ {pair}, handshake_first: {first} }}"));
        let mut options = ConnectOptions::new()
            .require_tls(true)
            .add_root_certificates(ca.clone().into());
        if first {
            options = options.tls_first();
        }
        let url = format!("tls://localhost:{}", server.address().port());
        echoes(in_time(options.connect(url)).await.expect("connects")).await;
    }
}

#[tokio::test]
async fn a_certificate_is_asked_for_and_names_the_user() {
    let authority = Authority::new();
    let (pair, ca) = (authority.server().config(), authority.ca());
    let server = Server::with_config(&format!(
        "tls {{ {pair}, ca_file: {ca:?}, verify_and_map: true }}
         authorization {{ users: [ {{user: \"me.test\"}} ] }}"
    ));
    let url = format!("tls://localhost:{}", server.address().port());
    let with = |pair: &support::tls::Pair| {
        ConnectOptions::new()
            .add_root_certificates(ca.clone().into())
            .add_client_certificate(pair.cert.clone().into(), pair.key.clone().into())
    };
    let [mine, other] = ["me.test", "other.test"].map(|name| {
        authority.issue(name, |params| {
            let name = name.try_into().expect("a name");
            params.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
        })
    });
    let client = in_time(with(&mine).connect(url.clone())).await;
    echoes(client.expect("connects")).await;
    let refused = in_time(with(&other).connect(url)).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn websocket() {
    let server = Server::with_config(
        "websocket { listen: \"127.0.0.1:-1\", no_tls: true, compression: true }",
    );
    let url = format!("ws://{}", server.websocket_address());
    let client = in_time(ConnectOptions::new().connect(url)).await;
    echoes(client.expect("connects")).await;
}
