//! argv -> `Server` -> exit code; nothing else.
use ramjet::ops::signals::SignalWatch;
fn main() -> std::process::ExitCode {
    let signals = SignalWatch::register().unwrap();
    let a: Vec<String> = std::env::args().collect();
    let g = |n: &str| {
        a.iter()
            .position(|x| x == n)
            .and_then(|i| a.get(i + 1))
            .cloned()
    };
    let mut o = ramjet::options::Options::default();
    if let Some(p) = g("-p") {
        o.port = p.parse().unwrap()
    }
    if let Some(p) = g("-m") {
        o.monitor.http_port = p.parse().unwrap()
    }
    if let Some(p) = g("-a") {
        o.host = p
    }
    if let Some(p) = g("-l") {
        o.log.file = Some(p.into())
    }
    if let Some(p) = g("--ports_file_dir") {
        o.ports_file_dir = Some(p.into())
    }
    if let Some(s) = g("--shards") {
        o.shards = Some(s.parse().unwrap())
    }
    ramjet::server::run::run(signals, o, &[])
}
