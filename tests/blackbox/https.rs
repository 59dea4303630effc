//! Monitoring over TLS (MON-6, CFG-24).

use crate::support::client::Client;
use crate::support::http::{self, Response};
use crate::support::server::Server;
use crate::support::tls::{Authority, Dialer};
use crate::support::wait_until;

#[track_caller]
fn server(authority: &Authority, tls: &str, rest: &str) -> Server {
    let pair = authority.server().config();
    Server::with_config(&format!(
        "https: \"127.0.0.1:-1\"\ntls {{ {pair}, {tls} }}\n{rest}"
    ))
}

#[track_caller]
fn get(server: &Server, dialer: &Dialer, path: &str) -> Response {
    let address = server.monitor_address();
    let stream = dialer
        .handshake(&dialer.config(), http::connect(address))
        .expect("a handshake");
    http::request_over(stream, address, "GET", path)
}

#[test]
fn mon_006_endpoints_over_tls() {
    let authority = Authority::new();
    let server = server(&authority, "timeout: 10", "");
    let dialer = authority.client();
    for path in ["/", "/varz", "/connz", "/healthz", "/subsz"] {
        assert_eq!(get(&server, &dialer, path).status, 200, "{path}");
    }
    let varz = get(&server, &dialer, "/varz").json();
    let port = server.monitor_address().port();
    assert_eq!(varz["https_port"], port);
    assert_eq!(varz["http_port"], 0);
    let listeners = server.listeners()["monitoring"][0].clone();
    assert!(
        listeners
            .as_str()
            .is_some_and(|it| it.starts_with("https://"))
    );
    assert!(
        server
            .log()
            .contains("Starting https monitor on 127.0.0.1:")
    );
}

#[test]
fn mon_006_nobody_is_asked_for_a_certificate() {
    let authority = Authority::new();
    let ca = authority.ca();
    let server = server(&authority, &format!("ca_file: {ca:?}, verify: true"), "");
    assert_eq!(get(&server, &authority.client(), "/varz").status, 200);
}

#[test]
fn mon_006_who_speaks_no_tls_is_told_nothing() {
    let authority = Authority::new();
    let server = server(&authority, "timeout: 10", "");
    let mut client = Client::dial(server.monitor_address());
    client.send("GET /varz HTTP/1.1\r\nHost: x\r\n\r\n");
    client.drained();
    wait_until("a refusal in the log", || {
        (server.count_in_log("TLS handshake error from") > 0).then_some(())
    });
    assert_eq!(get(&server, &authority.client(), "/healthz").status, 200);
}

#[test]
fn mon_006_a_reload_brings_its_certificate() {
    let (old, new) = (Authority::new(), Authority::new());
    let text = |authority: &Authority| {
        let pair = authority.server().config();
        format!("https: \"127.0.0.1:-1\"\ntls {{ {pair}, timeout: 10 }}\n")
    };
    let server = Server::with_config(&text(&old));
    assert_eq!(get(&server, &old.client(), "/healthz").status, 200);
    server.reload(&text(&new));
    assert_eq!(get(&server, &new.client(), "/healthz").status, 200);
    let stranger = old.client();
    let stream = http::connect(server.monitor_address());
    assert!(stranger.handshake(&stranger.config(), stream).is_err());
    let why = server.refused_reload("https: \"127.0.0.1:-1\"\n");
    assert!(why.contains("TLS cert and key required for HTTPS"), "{why}");
    assert_eq!(get(&server, &new.client(), "/healthz").status, 200);
}

#[test]
fn cfg_024_https_needs_a_certificate() {
    let run = Server::builder().config("https_port: -1").run();
    assert_eq!(run.code, 1);
    let text = "Can't start monitoring: TLS cert and key required for HTTPS";
    assert!(run.stderr.contains(text), "{}", run.stderr);
}

#[test]
fn cfg_079_https_by_flag() {
    let authority = Authority::new();
    let pair = authority.server().config();
    let server = Server::builder()
        .config(&format!("tls {{ {pair} }}"))
        .flags("-ms -1")
        .start();
    assert_eq!(get(&server, &authority.client(), "/varz").status, 200);
}
