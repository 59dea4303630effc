//! The official Python client against the real executable: runs `tests/interop_python/main.py`.
//!
//! Needs `python3` with `venv`, and the package index for the first run only: the client is
//! installed into `.venv` beside `Cargo.toml`, and again when `requirements.txt` changes.
//! `RAMJET_TEST_SERVER=/path/to/nats-server` runs the same cases against another server.

#[expect(
    dead_code,
    reason = "only certificates are made here; servers are the script's"
)]
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn official_python_client() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = project.join("tests/interop_python");
    let python = environment(&project.join(".venv"), &scripts.join("requirements.txt"));
    let server = std::env::var("RAMJET_TEST_SERVER")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_ramjet").to_owned());
    let authority = support::tls::Authority::new();
    let (pair, client) = (authority.server(), authority.issue("client", |_| {}));
    // -B: no byte code beside the sources.
    let mut command = Command::new(python);
    run(command
        .arg("-B")
        .arg(scripts.join("main.py"))
        .env("RAMJET_TEST_CA", authority.ca())
        .env("RAMJET_TEST_CERT", pair.cert)
        .env("RAMJET_TEST_KEY", pair.key)
        .env("RAMJET_TEST_CLIENT_CERT", client.cert)
        .env("RAMJET_TEST_CLIENT_KEY", client.key)
        .env("RAMJET_TEST_SERVER", server));
}

/// Makes the virtual environment unless it holds these very requirements; gives its interpreter.
fn environment(folder: &Path, requirements: &Path) -> PathBuf {
    let python = folder.join("bin/python");
    let wanted = fs::read(requirements).expect("requirements");
    let installed = folder.join("ramjet-requirements.txt");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(folder));
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ];
    run(Command::new(&python).args(install).arg(requirements));
    fs::write(installed, wanted).expect("note of what is installed");
    python
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{errors}",
        output.status
    );
}
