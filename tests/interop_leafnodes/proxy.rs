//! Remotes behind an HTTP proxy (TOPO-47).

use std::io::{Read, Write, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::server::Server;
use crate::support::wait_until;
use crate::{exchange, ours, stock};

/// A proxy, and the heads of the requests it had.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// One that leads everywhere, or answers with this instead.
    fn new(refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heads);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let heads = Arc::clone(&shared);
                thread::spawn(move || serve(near, refusal, &heads));
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panicked").clone()
    }
}

fn serve(mut near: TcpStream, refusal: Option<&str>, heads: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        near.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).map(str::to_owned);
    heads.lock().expect("nobody panicked").push(head);
    if let Some(refusal) = refusal {
        near.write_all(refusal.as_bytes()).ok()?;
        return None;
    }
    let mut far = TcpStream::connect(target?).ok()?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .ok()?;
    let (mut from, mut into) = (near.try_clone().ok()?, far.try_clone().ok()?);
    thread::spawn(move || copy(&mut from, &mut into));
    copy(&mut far, &mut near).ok()?;
    Some(())
}

fn hub(program: &str) -> Server {
    let hub = Server::builder().program(program);
    let config = "leafnodes { listen: \"127.0.0.1:-1\" }
        websocket { listen: \"127.0.0.1:-1\", no_tls: true }";
    hub.config(config).start()
}

fn leaf(program: &str, hub: &Server, proxy: &Proxy, more: &str) -> Server {
    let config = format!(
        "leafnodes {{ reconnect: \"100ms\", remotes [ {{ url: \"ws://{}\",
            proxy {{ url: \"http://{}\", {more} }} }} ] }}",
        hub.websocket_address(),
        proxy.address
    );
    Server::builder().program(program).config(&config).start()
}

#[test]
fn topo_047_links_through_a_proxy() {
    let [ours, stock] = [ours(), stock()];
    for (at_hub, at_leaf) in [(&ours, &ours), (&ours, &stock), (&stock, &ours)] {
        let (hub, proxy) = (hub(at_hub), Proxy::new(None));
        let leaf = leaf(at_leaf, &hub, &proxy, "username: u, password: p");
        exchange(&hub, &leaf);
        let head = proxy.heads().first().expect("a request").clone();
        let first = format!("CONNECT {} HTTP/1.1\r\n", hub.websocket_address());
        assert!(head.starts_with(&first), "{head}");
        assert!(
            head.contains("Proxy-Authorization: Basic dTpw\r\n"),
            "{head}"
        );
    }
}

#[test]
fn topo_047_a_proxy_that_refuses() {
    for program in [ours(), stock()] {
        let hub = hub(&ours());
        let proxy = Proxy::new(Some("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
        let leaf = leaf(&program, &hub, &proxy, "");
        leaf.logged("proxy CONNECT failed: 407 Proxy Authentication Required");
        wait_until("another attempt", || {
            (proxy.heads().len() > 1).then_some(())
        });
    }
}

#[test]
fn topo_047_what_is_no_proxy() {
    for (proxy, said) in [
        (
            "url: \"ftp://h:1\"",
            "proxy URL scheme must be http or https, got: ftp",
        ),
        ("url: \"http://\"", "proxy URL must specify a host"),
        (
            "url: \"http://h:1\", username: u",
            "proxy username and password must both be specified or both be empty",
        ),
    ] {
        let config = format!(
            "leafnodes {{ remotes [ {{ url: \"ws://127.0.0.1:1\", proxy {{ {proxy} }} }} ] }}"
        );
        for program in [ours(), stock()] {
            let run = Server::builder().program(&program).config(&config).run();
            assert!(
                run.stderr.contains(said),
                "{program} {proxy}: {}",
                run.stderr
            );
        }
    }
}
