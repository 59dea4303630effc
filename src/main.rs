//! argv -> `Server` -> exit code; nothing else.
fn main() {
    let port = std::env::args()
        .nth(1)
        .and_then(|it| it.parse().ok())
        .unwrap_or(4222);
    let shards = std::env::args()
        .nth(2)
        .and_then(|it| it.parse().ok())
        .unwrap_or(1);
    let s = ramjet::Server::builder()
        .host("127.0.0.1")
        .port(port)
        .shards(shards)
        .start()
        .unwrap();
    s.wait();
}
