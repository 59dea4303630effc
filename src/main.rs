//! argv -> `Server` -> exit code; nothing else.

fn main() -> std::process::ExitCode {
    let argv: Vec<_> = std::env::args_os().skip(1).collect();
    ramjet::server::run::main(&argv)
}
