//! Notes the commit the server is built from, for its INFO and banner.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/refs/heads");
    let commit = Command::new("git")
        .args(["rev-parse", "--short=7", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned());
    // Built from an archive there is no commit; clients still find the field they expect.
    println!(
        "cargo::rustc-env=RAMJET_COMMIT={}",
        commit.as_deref().unwrap_or("release")
    );
}
