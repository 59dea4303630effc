//! argv -> `Server` -> exit code; nothing else.
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let g = |n: &str| {
        a.iter()
            .position(|x| x == n)
            .and_then(|i| a.get(i + 1))
            .cloned()
    };
    let port = g("-p").and_then(|it| it.parse().ok()).unwrap_or(4222);
    let mut b = ramjet::Server::builder().host("127.0.0.1").port(port);
    if let Some(s) = g("--shards") {
        b = b.shards(s.parse().unwrap())
    }
    let s = b.start().unwrap();
    s.wait();
}
