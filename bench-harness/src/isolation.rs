//! The same flow twice on one server: without and with what a transport or a tenant adds.

use std::fmt::Write as _;
use std::thread;

use crate::dial::PASSWORD;
use crate::error::BenchError;
use crate::flow::{By, Flow, lost_percent};
use crate::measure::{Observed, Run};
use crate::wire::Connection;

/// User of the account that is measured.
const OWN: &str = "own";
/// User of an account that imports from it, or one with permissions.
const OTHER: &str = "other";
/// Threads that open neighbours' connections.
const OPENERS: usize = 4;

fn flow(size: usize, by: By) -> Flow {
    Flow {
        publishers: vec![0],
        subscribers: vec![0],
        size,
        by,
        ..Flow::default()
    }
}

/// What `with` loses against `without`, in its own figures.
fn compared(mut with: Observed, without: &Observed) -> Observed {
    with.add_figure("M messages/s without", without.rate() / 1e6, 3);
    with.add_figure("rate lost %", lost_percent(without.rate(), with.rate()), 1);
    if let (Some(with_cpu), Some(without_cpu)) = (with.cpu_per_million(), without.cpu_per_million())
    {
        with.add_figure("CPU s/M without", without_cpu, 3);
        with.add_figure("times the CPU", with_cpu / without_cpu, 2);
    }
    with
}

/// In clear, then over TLS.
///
/// # Errors
/// As [`Flow::run`].
pub fn tls(size: usize, run: &Run<'_>) -> Result<Observed, BenchError> {
    let plain = By {
        plain: true,
        ..By::default()
    };
    let without = flow(size, plain).run(run)?;
    Ok(compared(flow(size, By::default()).run(run)?, &without))
}

/// One account, and `count` others.
pub fn many_accounts(count: usize) -> String {
    let mut text = format!("accounts {{\n {}\n", account("OWN", OWN, ""));
    for number in 0..count {
        let account = account(&format!("N{number}"), &neighbour(number), "");
        let _ = writeln!(text, " {account}");
    }
    text.push_str("}\n");
    text
}

fn account(name: &str, user: &str, more: &str) -> String {
    format!("{name} {{ users: [{{user: {user}, password: {PASSWORD}}}]{more}}}")
}

fn neighbour(number: usize) -> String {
    format!("neighbour{number}")
}

/// Beside the clients of other accounts, then without.
///
/// # Errors
/// As [`Flow::run`], [`Connection::open`].
pub fn beside(
    accounts: usize,
    connections: usize,
    size: usize,
    run: &Run<'_>,
) -> Result<Observed, BenchError> {
    let by = By::user(OWN);
    let neighbours = open_neighbours(accounts, connections, run)?;
    let with = flow(size, by).run(run)?;
    drop(neighbours);
    let without = flow(size, by).run(run)?;
    Ok(compared(with, &without))
}

fn open_neighbours(
    accounts: usize,
    connections: usize,
    run: &Run<'_>,
) -> Result<Vec<Connection>, BenchError> {
    let own = run.server.dial();
    let open = |opener: usize| -> Result<Vec<Connection>, BenchError> {
        let mut opened = Vec::new();
        for number in (opener..accounts).step_by(OPENERS) {
            let dial = own.as_user(Some(&neighbour(number)));
            for _ in 0..connections {
                // The subject of the flow, which is another one here.
                opened.push(Connection::open(&dial, "neighbour", &["bench.0"])?);
            }
        }
        Ok(opened)
    };
    thread::scope(|scope| {
        let open = &open;
        let openers: Vec<_> = (0..OPENERS)
            .map(|it| scope.spawn(move || open(it)))
            .collect();
        let mut all = Vec::new();
        for opener in openers {
            let panicked = BenchError::Panicked { role: "neighbour" };
            all.extend(opener.join().unwrap_or(Err(panicked))?);
        }
        Ok(all)
    })
}

/// A user without permissions, and one with `count` patterns for either direction.
pub fn permissions(count: usize) -> String {
    let list = |kind: &str| {
        let mut all = String::new();
        for number in 0..count / 2 {
            let pattern = match number % 3 {
                0 => format!("{kind}.{number}.>"),
                1 => format!("{kind}.*.{number}"),
                _ => format!("bench.{kind}.{number}"),
            };
            let _ = write!(all, "\"{pattern}\", ");
        }
        all
    };
    // Denied subjects lie within what is allowed, so that delivery has to look at each message.
    let both = format!(
        "{{ allow: [{}\"bench.*\", \"_INBOX.>\"], deny: [{}\"bench.denied\"] }}",
        list("allow"),
        list("deny")
    );
    format!(
        "authorization {{ users: [\n {{user: {OWN}, password: {PASSWORD}}}\n {{user: {OTHER}, \
         password: {PASSWORD}, permissions: {{ publish: {both}, subscribe: {both} }}}}\n]}}\n"
    )
}

/// As a user without permissions, then as one with.
///
/// # Errors
/// As [`Flow::run`].
pub fn with_permissions(size: usize, run: &Run<'_>) -> Result<Observed, BenchError> {
    let user = |user| By {
        wildcard: true,
        ..By::user(user)
    };
    let without = flow(size, user(OWN)).run(run)?;
    Ok(compared(flow(size, user(OTHER)).run(run)?, &without))
}

/// An account that exports a stream and one that imports it.
pub fn import() -> String {
    let exporter = account("OWN", OWN, ", exports: [{stream: \"bench.>\"}]");
    let imports = ", imports: [{stream: {account: OWN, subject: \"bench.>\"}}]";
    let importer = account("OTHER", OTHER, imports);
    format!("accounts {{\n {exporter}\n {importer}\n}}\n")
}

/// Within an account, then into the one that imports.
///
/// # Errors
/// As [`Flow::run`].
pub fn across(size: usize, run: &Run<'_>) -> Result<Observed, BenchError> {
    let without = flow(size, By::user(OWN)).run(run)?;
    let importer = By {
        subscriber: Some(OTHER),
        ..By::user(OWN)
    };
    Ok(compared(flow(size, importer).run(run)?, &without))
}
