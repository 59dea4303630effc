//! The HTTP server itself: a library's, on one thread.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::ServerConfig;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::answers::Answers;
use super::metrics::{self, Metrics};
use super::query::{BadRequest, Parameters, ROWS};
use super::{
    accounts, connz, format, healthz, index, jetstream, jetstream_metrics, leafz, links, subsz,
    threads,
};
use crate::ops::background::Background;
use crate::shard::report::{ConnectionQuery, Query};

/// A request's header must have come by then (MON-1).
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request's header, as in stock (MON-1).
const HEADER_MAX: usize = 1024 * 1024;
/// Connections served at once; more wait to be accepted. Monitoring is for a few tools.
const CONNECTIONS_MAX: usize = 256;
/// Pause after a failed accept, usually for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Paths whose requests `/varz` counts, itself apart: those stock counts, and ours.
const COUNTED: [&str; 11] = [
    "/",
    "/connz",
    "/routez",
    "/gatewayz",
    "/leafz",
    "/subsz",
    "/accountz",
    "/accstatz",
    "/jsz",
    "/healthz",
    "/metrics",
];

/// Why monitoring did not start.
#[derive(Debug, thiserror::Error)]
#[error("monitoring does not start: {0}")]
pub struct MonitorError(#[from] std::io::Error);

/// The running monitoring server. Dropping it ends it; answers under way are cut off.
pub struct Monitor {
    _background: Background,
}

impl Monitor {
    /// Serves monitoring on `listener` from a thread of its own.
    ///
    /// # Errors
    /// When the thread or its event loop cannot be made.
    pub fn start(listener: TcpListener, answers: Arc<Answers>) -> Result<Self, MonitorError> {
        listener.set_nonblocking(true)?;
        let state = Arc::new(State::new(answers));
        let background = Background::start("monitor", move || serve(listener, state))?;
        Ok(Self {
            _background: background,
        })
    }
}

struct State {
    answers: Arc<Answers>,
    /// Empty, or `/` and the prefix of all paths without a slash at its end.
    base_path: String,
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log::error!("Monitoring ends: {error}"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::error!("Error accepting monitoring connection: {error}; trying again");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            match state.tls() {
                None => serve_connection(stream, state).await,
                Some(config) => serve_secured(stream, config, state).await,
            }
            drop(place);
        });
    }
}

async fn serve_secured(stream: TcpStream, config: Arc<ServerConfig>, state: Arc<State>) {
    let peer = stream.peer_addr();
    let handshake = TlsAcceptor::from(config).accept(stream);
    // Stock lets the whole of it, handshake and header, take that long.
    match tokio::time::timeout(HEADER_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => serve_connection(stream, state).await,
        Ok(Err(error)) => {
            if let Ok(peer) = peer {
                log::error!("monitoring: http: TLS handshake error from {peer}: {error}");
            }
        }
        Err(_) => {} // it said nothing
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    state: Arc<State>,
) {
    let answer = service_fn(move |request| respond(Arc::clone(&state), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    // A client that goes away or speaks no HTTP is its own affair.
    let _ = connection.await;
}

async fn respond(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or("").to_owned();
    // Asking the shards blocks, for microseconds as a rule.
    let answer = tokio::task::spawn_blocking(move || state.answer(&path, &query)).await;
    Ok(answer.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "internal error")))
}

impl State {
    fn new(answers: Arc<Answers>) -> Self {
        let base_path = base_path(&answers.facts().options.monitor.http_base_path);
        Self { answers, base_path }
    }

    /// TLS as it is in force; none without HTTPS.
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        let facts = self.answers.facts();
        let tls = facts.transports.monitoring.as_ref();
        tls.map(|it| Arc::clone(&it.config))
    }

    fn answer(&self, path: &str, query: &str) -> Response<Full<Bytes>> {
        let Some(endpoint) = self.endpoint(path) else {
            return not_found();
        };
        let answers = &*self.answers;
        let (facts, figures) = (&*answers.facts(), answers.figures());
        let parameters = Parameters::parse(query);
        let answer = match endpoint {
            "/" => Ok(html(&index::page(facts.ramjet_version))),
            "/varz" => {
                answers.count("/varz"); // this request is in its own answer
                Ok(json(&answers.varz(facts)))
            }
            "/connz" => connz::connz(facts, figures, &parameters).map(|it| json(&it)),
            "/subsz" | "/subscriptionsz" => {
                subsz::subsz(facts, figures, &parameters).map(|it| json(&it))
            }
            "/routez" => links::routez(facts, &parameters).map(|it| json(&it)),
            "/gatewayz" => links::gatewayz(facts, &parameters).map(|it| json(&it)),
            "/leafz" => leafz::leafz(facts, figures, &parameters).map(|it| json(&it)),
            "/accountz" => accounts::accountz(facts, figures, &parameters).map(|it| json(&it)),
            "/accstatz" => accounts::accstatz(facts, figures, &parameters).map(|it| json(&it)),
            "/jsz" => jetstream::jsz(facts, figures, &parameters).map(|it| json(&it)),
            "/ipqueuesz" => jetstream::ipqueuesz(&parameters).map(|it| json(&it)),
            "/raftz" => Ok(text(StatusCode::NOT_FOUND, "No Raft nodes registered")),
            "/healthz" => {
                let health = healthz::healthz(facts, figures, &parameters, answers.is_ready());
                health.map(|(status, health)| {
                    let mut response = json_text(format::compact_json(&health));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
                    response
                })
            }
            // Stock calls it JSON, which it is not.
            "/stacksz" => Ok(json_text(threads::stacks())),
            "/debug/vars" => Ok(typed(
                StatusCode::OK,
                "application/json; charset=utf-8",
                format::json(&threads::expvar()),
            )),
            "/metrics" => Ok(self.metrics()),
            _ => return not_found(),
        };
        if let Some(counted) = COUNTED.into_iter().find(|it| *it == endpoint) {
            answers.count(counted);
        } else if endpoint == "/subscriptionsz" {
            answers.count("/subsz");
        }
        answer.unwrap_or_else(|BadRequest(why)| text(StatusCode::BAD_REQUEST, &why))
    }

    /// The path below the base path, which by itself is the index (MON-3).
    fn endpoint<'a>(&self, path: &'a str) -> Option<&'a str> {
        let endpoint = path.strip_prefix(&self.base_path)?;
        match endpoint {
            "" => Some("/"),
            // A slash behind the base path is one too many.
            "/" if !self.base_path.is_empty() => None,
            endpoint => Some(endpoint),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let answers = &*self.answers;
        let (facts, figures) = (&*answers.facts(), answers.figures());
        let counters = answers.totals();
        let waiting = figures.ask(Query::Connections(ConnectionQuery {
            open: true,
            ..ConnectionQuery::default()
        }));
        let connz = serde_json::json!({
            "num_connections": counters.connections,
            "total": counters.connections,
            "offset": 0,
            "limit": ROWS,
            "subscriptions": counters.subscriptions,
            "in_msgs": counters.in_msgs,
            "in_bytes": counters.in_bytes,
            "out_msgs": counters.out_msgs,
            "out_bytes": counters.out_bytes,
            "rate_limited": counters.rate_limited,
            "pending_bytes": waiting.iter().map(|it| it.pending_bytes).sum::<u64>(),
        });
        let value = |answer: Result<Value, _>| answer.unwrap_or_default();
        let subsz = subsz::subsz(facts, figures, &Parameters::parse(""));
        let accstatz = accounts::accstatz(facts, figures, &Parameters::parse("unused=1"));

        let mut metrics = Metrics::new(&facts.info.server_id);
        metrics.add("varz", &answers.varz(facts));
        metrics.add("connz", &connz);
        if let Ok(subsz) = subsz {
            metrics.add("subsz", &value(serde_json::to_value(subsz)));
        }
        if let Ok(accstatz) = accstatz {
            metrics.add_accounts(&value(serde_json::to_value(accstatz)));
        }
        jetstream_metrics::add(facts, figures, &mut metrics);
        leafz::add_metrics(figures, &mut metrics);
        let health = healthz::healthz(facts, figures, &Parameters::parse(""), answers.is_ready());
        metrics.add_version(facts.ramjet_version);
        metrics.add_health(health.map_or("error", |(_, health)| health.status));
        typed(StatusCode::OK, metrics::CONTENT_TYPE, metrics.write())
    }
}

/// A configured prefix as it stands in front of each path: empty, or `/` and its parts.
fn base_path(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            name => parts.push(name),
        }
    }
    parts.iter().map(|part| format!("/{part}")).collect()
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    json_text(format::json(value))
}

fn json_text(body: String) -> Response<Full<Bytes>> {
    let mut response = typed(StatusCode::OK, "application/json", body);
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn html(body: &str) -> Response<Full<Bytes>> {
    typed(StatusCode::OK, "text/html; charset=utf-8", body.to_owned())
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body.to_owned())
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::NOT_FOUND, "404 page not found\n");
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::base_path;

    #[test]
    fn mon_003_base_paths() {
        for (text, expected) in [
            ("", ""),
            ("/", ""),
            ("a", "/a"),
            ("/a/", "/a"),
            ("a//b/../c", "/a/c"),
            ("../x", "/x"),
        ] {
            assert_eq!(base_path(text), expected);
        }
    }
}
