//! The official JavaScript clients over WebSocket: in Node, and in a page in headless Chromium.
//!
//! `make interop` runs them; `make test` does not, because not every machine has Node and a
//! browser. They fail where those are missing. The clients are installed from the package registry
//! into `.interop_javascript` beside `Cargo.toml`, once.

#[expect(
    dead_code,
    reason = "raw client and monitoring are for the black-box tests"
)]
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::directory::TempDir;
use support::server::Server;
use support::tls::Authority;

/// A browser's start is slow on a busy machine.
const BROWSER_PATIENCE: Duration = Duration::from_secs(60);

/// Servers without and with compression, and one that wants these pages' origin.
fn servers() -> Vec<Server> {
    ["", "compression: true"]
        .map(|websocket| {
            Server::with_config(&format!(
                "websocket {{ listen: \"127.0.0.1:-1\", no_tls: true, {websocket} }}
                 jetstream {{ store_dir: \"@DIR@/js\" }}
                 authorization: {{user: u, password: p}}"
            ))
        })
        .into()
}

fn urls(servers: &[Server]) -> Vec<String> {
    let addresses = servers.iter().map(Server::websocket_address);
    addresses.map(|it| format!("ws://{it}")).collect()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop_javascript")
}

/// The folder with the clients and the scripts, installed unless it holds these very versions.
fn installed() -> PathBuf {
    static ONCE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = ONCE.lock();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".interop_javascript");
    fs::create_dir_all(&folder).expect("a folder");
    let changed = ["package.json", "package-lock.json"].map(|name| {
        let wanted = fs::read(scripts().join(name)).expect("a manifest");
        let same = fs::read(folder.join(name)).is_ok_and(|it| it == wanted);
        fs::write(folder.join(name), wanted).expect("copied");
        !same
    });
    for name in ["cases.mjs", "jetstream.mjs", "node.mjs", "page.html"] {
        fs::copy(scripts().join(name), folder.join(name)).expect("copied");
    }
    if changed.contains(&true) || !folder.join("node_modules").exists() {
        run(Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(&folder));
    }
    folder
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "needs node and npm: make interop"]
fn official_client_in_node() {
    let folder = installed();
    let servers = servers();
    run(Command::new("node")
        // A WebSocket like the browsers', which newer versions have without being asked.
        .args(["--experimental-websocket", "node.mjs"])
        .args(urls(&servers))
        .current_dir(&folder));
}

#[test]
#[ignore = "needs node and npm: make interop"]
fn official_client_in_node_over_tls() {
    let folder = installed();
    let authority = Authority::new();
    let pair = authority.host("server", &["localhost"]).config();
    let server = Server::with_config(&format!(
        "websocket {{ listen: \"127.0.0.1:-1\", tls {{ {pair} }} }}
         jetstream {{ store_dir: \"@DIR@/js\" }}
         authorization: {{user: u, password: p}}"
    ));
    let url = format!("wss://localhost:{}", server.websocket_address().port());
    run(Command::new("node")
        .args(["--experimental-websocket", "node.mjs", &url])
        .env("NODE_EXTRA_CA_CERTS", authority.ca())
        .current_dir(&folder));
}

#[test]
#[ignore = "needs node, npm and chromium: make interop"]
fn official_client_in_a_browser() {
    let folder = installed();
    let servers = servers();
    let pages = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = pages.local_addr().expect("bound");
    let query: Vec<String> = urls(&servers)
        .iter()
        .map(|url| format!("server={url}"))
        .collect();
    let profile = TempDir::new();
    let browser = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        .args(["--no-first-run", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{address}/page.html?{}", query.join("&")))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromium is installed (Debian: apt-get install chromium)");
    let _browser = Killed(browser);
    assert_eq!(outcome(&pages, &folder), "ok");
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the page until it says how it went.
#[track_caller]
fn outcome(pages: &TcpListener, folder: &Path) -> String {
    pages.set_nonblocking(true).expect("no waiting");
    let deadline = Instant::now() + BROWSER_PATIENCE;
    while Instant::now() < deadline {
        match pages.accept() {
            Ok((stream, _)) => {
                if let Some(outcome) = serve(stream, folder) {
                    return outcome;
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    panic!("the page has said nothing");
}

/// Answers one request; gives the body of the one that says how it went.
fn serve(mut stream: TcpStream, folder: &Path) -> Option<String> {
    stream.set_nonblocking(false).expect("waiting");
    let patience = Some(Duration::from_secs(5));
    stream.set_read_timeout(patience).expect("a time-out");
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    let (head, length) = loop {
        let count = stream.read(&mut chunk).ok().filter(|it| *it > 0)?;
        request.extend_from_slice(&chunk[..count]);
        let Some(end) = memchr::memmem::find(&request, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length
                .then(|| value.trim().parse::<usize>().ok())
                .flatten()
        });
        request.drain(..end + 4);
        break (head, length.unwrap_or(0));
    };
    while request.len() < length {
        let count = stream.read(&mut chunk).ok().filter(|it| *it > 0)?;
        request.extend_from_slice(&chunk[..count]);
    }
    let path = head.split(' ').nth(1)?.split('?').next()?;
    let file = match path {
        "/page.html" => Some(("page.html", "text/html")),
        "/cases.mjs" => Some(("cases.mjs", "text/javascript")),
        "/nats.js" => Some(("node_modules/nats.ws/esm/nats.js", "text/javascript")),
        _ => None,
    };
    let (status, kind, body) = match file {
        Some((file, kind)) => ("200 OK", kind, fs::read(folder.join(file)).expect("a file")),
        None => ("404 Not Found", "text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.into_bytes(), body].concat());
    (path == "/outcome").then(|| String::from_utf8_lossy(&request).into_owned())
}
