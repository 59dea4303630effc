//! Section 1.9: lame duck mode and shutdown.

use crate::support::server::{Server, beyond_stock};
use crate::support::wait_until;
use rustix::process::Signal;
use std::net::TcpStream;

/// Clients leave after a tenth of a second, at most one second apart.
const QUICK: &str = "lame_duck_grace_period: \"100ms\"\nlame_duck_duration: \"30s\"";

#[test]
fn core_094_a_lame_duck_without_clients_exits_at_once() {
    let mut server = Server::start();
    server.signal(Signal::USR2);
    assert!(server.exited().success());
    server.logged("Entering lame duck mode");
}

/// CORE-10: an INFO after the first PONG, to those of protocol 1 alone.
#[test]
fn core_094_a_lame_duck_tells_its_clients_and_closes_them_one_by_one() {
    let mut server = Server::with_config(QUICK);
    let mut clients = [server.client(), server.client()];
    let mut old = server.client_with("{\"protocol\":0}");
    server.signal(Signal::USR2);
    for client in &mut clients {
        let info = client.info_line();
        assert_eq!(info["ldm"], true);
        assert!(info["connect_urls"].is_null());
    }
    for client in &mut clients {
        assert_eq!(client.closed(), [""; 0]);
    }
    assert_eq!(old.closed(), [""; 0], "protocol 0 gets no async INFO");
    assert!(server.exited().success());
}

#[test]
fn core_094_a_lame_duck_takes_no_new_clients_and_serves_the_old() {
    let mut server = Server::with_config("lame_duck_grace_period: \"20s\"");
    let mut client = server.client();
    let address = server.address();
    server.signal(Signal::USR2);
    assert_eq!(client.info_line()["ldm"], true);
    wait_until("the listener to close", || {
        TcpStream::connect(address).is_err().then_some(())
    });
    let answer = client.ask("SUB a 1\r\nPUB a 1\r\nx\r\n");
    assert_eq!(answer, ["MSG a 1 1", "x"]);
    // Terminating is left to the lame duck itself.
    server.signal(Signal::TERM);
    server.logged("Trapped \"terminated\" signal");
    client.quietly("");
    assert!(server.is_running());
    server.signal(Signal::INT);
    assert!(server.exited().success());
}

#[test]
fn core_094_the_signal_flag_starts_lame_duck_mode() {
    let mut server = Server::builder()
        .flags("-P @DIR@/pid")
        .config(QUICK)
        .start();
    let mut client = server.client();
    let pid_file = server.dir().file("pid");
    let run = Server::builder()
        .flags(&format!("-sl=ldm={pid_file}"))
        .run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(client.info_line()["ldm"], true);
    assert_eq!(client.closed(), [""; 0]);
    assert!(server.exited().success());
}

#[test]
fn core_095_the_grace_period_must_be_shorter_than_the_duration() {
    let config = "lame_duck_grace_period: \"30s\"\nlame_duck_duration: \"30s\"";
    let run = Server::builder().config(config).run();
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("lame duck grace period"),
        "{}",
        run.stderr
    );
}

#[test]
fn core_096_int_and_term_close_all_connections_and_exit_with_zero() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::start();
        let mut clients = server.clients();
        clients[0].quietly("SUB a 1\r\n");
        server.signal(signal);
        for client in &mut clients {
            assert_eq!(client.closed(), [""; 0], "no -ERR");
        }
        assert_eq!(server.exited().code(), Some(0));
        server.logged("Initiating Shutdown...");
        server.logged("Server Exiting..");
    }
}

#[test]
fn core_096_what_was_delivered_before_the_end_arrives() {
    let mut server = Server::start();
    let mut subscribers = server.clients();
    for subscriber in &mut subscribers {
        subscriber.quietly("SUB a 1\r\n");
    }
    server.client().quietly("PUB a 5\r\nhello\r\n".repeat(100));
    server.signal(Signal::TERM);
    for subscriber in &mut subscribers {
        let received = subscriber.closed().len() / 2;
        assert!(received == 100 || !beyond_stock(), "{received}");
    }
    assert!(server.exited().success());
}
