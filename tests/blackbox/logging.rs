//! Section 2.7: the form of log lines, tracing and rotation.

use crate::support::server::Server;
use crate::support::{PATIENCE, wait_until};
use rustix::process::Signal;
use std::fs;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Whether `line` has the shape of `pattern`, in which `0` stands for any digit.
fn shaped(line: &str, pattern: &str) -> bool {
    line.len() >= pattern.len()
        && line.bytes().zip(pattern.bytes()).all(|(byte, shape)| {
            if shape == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == shape
            }
        })
}

#[test]
fn cfg_097_a_line_has_pid_time_and_level() {
    let server = Server::start();
    let line = server.logged("Server is ready");
    let rest = line
        .strip_prefix(&format!("[{}] ", server.pid()))
        .expect("pid");
    assert!(
        shaped(rest, "0000/00/00 00:00:00.000000 [INF] Server is ready"),
        "{line}"
    );
}

#[test]
fn cfg_097_without_logtime_there_is_no_date() {
    for builder in [
        Server::builder().flags("-T=false"),
        Server::builder().config("logtime: false\n"),
        Server::builder().flags("--logtime=false"),
    ] {
        let server = builder.start();
        let line = server.logged("Server is ready");
        assert_eq!(line, format!("[{}] [INF] Server is ready", server.pid()));
    }
}

#[test]
fn cfg_098_client_lines_name_address_and_connection() {
    let server = Server::builder().flags("-D").start();
    let mut client = server.client_with("{\"name\":\"who\",\"lang\":\"raw\",\"version\":\"9.8\"}");
    let id = client.info["client_id"].as_u64().expect("id");
    let port = client.socket().local_addr().expect("address").port();
    server.logged(&format!(
        "[DBG] 127.0.0.1:{port} - cid:{id} - Client connection created"
    ));
    client.send("NONSENSE\r\n");
    client.closed();
    let line = server.logged("Client connection closed");
    assert!(
        line.contains(&format!("127.0.0.1:{port} - cid:{id} - \"v9.8:raw:who\"")),
        "{line}"
    );
}

#[test]
fn cfg_098_lines_after_connect_name_account_and_user() {
    let server = Server::builder()
        .config("debug: true\nauthorization { users: [{user: ann, password: p}] }")
        .start();
    let mut client = server.client_with("{\"user\":\"ann\",\"pass\":\"p\",\"name\":\"\"}");
    client.send("NONSENSE\r\n");
    client.closed();
    let line = server.logged("Client connection closed");
    assert!(line.contains("\"v1.0:raw\" - \"$G/user:ann\" - "), "{line}");
}

#[test]
fn cfg_102_the_log_goes_to_a_remote_syslog() {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
    receiver.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let port = receiver.local_addr().expect("address").port();
    for flags in [
        format!("-r udp://127.0.0.1:{port}"),
        format!("--remote_syslog=udp://127.0.0.1:{port}"),
    ] {
        let server = Server::builder().flags(&flags).name("tagged").start();
        let mut datagram = [0; 2048];
        loop {
            let count = receiver.recv(&mut datagram).expect("a log line");
            let text = String::from_utf8_lossy(&datagram[..count]).into_owned();
            if text.contains("Server is ready") {
                // Severity notice of facility 0.
                assert!(text.starts_with("<5>") && text.contains("tagged"), "{text}");
                break;
            }
        }
        assert!(!server.log().contains("Server is ready"));
    }
}

#[test]
fn cfg_099_tracing_shows_verbs_in_and_out() {
    let server = Server::builder().flags("-V").start();
    let mut client = server.client();
    client.ask("SUB foo.* q 1\r\nPUB foo.a r 5\r\nhello\r\nUNSUB 1\r\n");
    for text in [
        "<<- [SUB foo.* q 1]",
        "<<- [PUB foo.a r 5]",
        "<<- MSG_PAYLOAD: [\"hello\"]",
        "<<- [UNSUB 1]",
        "<<- [PING]",
        "->> [PONG]",
        "->> [MSG foo.a 1 r 5]",
    ] {
        let line = server.logged(text);
        assert!(
            line.contains("[TRC] ") && line.contains(" - cid:"),
            "{line}"
        );
    }
}

#[test]
fn cfg_043_099_traced_payloads_are_cut() {
    let server = Server::builder().flags("-V --max_traced_msg_len 4").start();
    server.client().quietly("PUB a 10\r\n0123456789\r\n");
    let line = server.logged("MSG_PAYLOAD");
    assert!(
        line.contains("[\"0123") && !line.contains("01234"),
        "{line}"
    );
}

#[test]
fn cfg_099_t1_secrets_of_connect_are_not_traced() {
    let server = Server::builder().flags("-DV").start();
    let mut client = server.open();
    client.quietly(
        "CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"planted-1\",\"auth_token\":\"planted-2\",\
         \"sig\":\"planted-3\",\"name\":\"n\"}\r\n",
    );
    let line = server.logged("<<- [CONNECT ");
    assert!(
        line.contains("[REDACTED]") && line.contains("\"name\":\"n\""),
        "{line}"
    );
    assert!(!server.log().contains("planted"));
}

#[test]
fn cfg_101_a_full_log_file_is_renamed() {
    let server = Server::builder()
        .config("log_file: '@DIR@/x.log'\nlog_size_limit: 2000\ntrace: true\n")
        .start();
    let mut client = server.client();
    let backups = || {
        let files = fs::read_dir(server.dir().path())
            .expect("directory")
            .flatten();
        let mut names: Vec<String> = files
            .map(|file| file.file_name().into_string().expect("text"))
            .filter(|name| name.starts_with("x.log."))
            .collect();
        names.sort();
        names
    };
    let first = wait_until("a backup", || {
        client.quietly("PUB a 10\r\n0123456789\r\n".repeat(20));
        backups().into_iter().next()
    });
    let time = first.strip_prefix("x.log.").expect("prefix");
    assert!(shaped(time, "0000.00.00.00.00.00.000000000"), "{first}");
    let backup = server.dir().file(&first);
    let size = fs::metadata(&backup).expect("backup").len();
    assert!((2000..4000).contains(&size), "{size}");
    // The line is written by another thread, and files may change their names while we read.
    let landmark = format!("Rotated log, backup saved as \"{backup}\"");
    wait_until("the first line of the next file", || {
        let names = backups().into_iter().chain(["x.log".to_owned()]);
        let texts = names.filter_map(|name| fs::read_to_string(server.dir().file(&name)).ok());
        texts.collect::<String>().contains(&landmark).then_some(())
    });
}

#[test]
fn cfg_101_only_so_many_backups_are_kept() {
    let server = Server::builder()
        .config("log_file: '@DIR@/x.log'\nlog_size_limit: 1000\nlog_max_num: 3\ntrace: true\n")
        .start();
    let mut client = server.client();
    for _ in 0..10 {
        client.quietly("PUB a 10\r\n0123456789\r\n".repeat(20));
    }
    wait_until("three files", || {
        let files = fs::read_dir(server.dir().path())
            .expect("directory")
            .flatten();
        let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("x.log"));
        (logs.count() == 3).then_some(())
    });
}

#[test]
fn cfg_087_user_signal_one_reopens_the_log_file() {
    let server = Server::builder().flags("-l @DIR@/x.log -D").start();
    let [log, moved] = ["x.log", "moved.log"].map(|name| server.dir().file(name));
    fs::rename(&log, &moved).expect("rename");
    server.signal(Signal::USR1);
    wait_until("the new file", || {
        fs::read_to_string(&log)
            .ok()
            .filter(|text| text.contains("File log re-opened"))
    });
    server.client();
    wait_until("a line in the new file", || {
        fs::read_to_string(&log)
            .ok()
            .filter(|text| text.contains("Client connection created"))
    });
    assert!(
        !fs::read_to_string(&moved)
            .expect("old file")
            .contains("Client connection created")
    );
}

#[test]
fn cfg_080_a_log_file_that_cannot_be_opened_is_fatal() {
    let run = Server::builder()
        .flags("-a 127.0.0.1 -p -1 -l @DIR@/no/such/x.log")
        .run();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("x.log"), "{}", run.stderr);
}

/// The server is stopped for longer than it lets pass unsaid, in the middle of its work.
#[test]
fn core_065_input_that_took_long_is_told_of() {
    let server = Server::start();
    let mut client = server.client();
    let over = AtomicBool::new(false);
    let publications = "PUB nobody.listens 0\r\n\r\n".repeat(10_000);
    let told = "Readloop processing time: ";
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                client.send(&publications);
            }
        });
        // It may have been between two reads.
        for _ in 0..10 {
            server.signal(Signal::STOP);
            thread::sleep(Duration::from_millis(2100));
            server.signal(Signal::CONT);
            thread::sleep(Duration::from_millis(200));
            if server.count_in_log(told) > 0 {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let line = server.logged(told);
    let (front, time) = line.split_once(told).expect("the text");
    assert!(
        front.contains("[WRN] 127.0.0.1:") && front.contains(" - cid:"),
        "{line}"
    );
    let seconds = time
        .trim_end()
        .strip_suffix('s')
        .and_then(|it| it.parse().ok());
    assert!(seconds >= Some(2.0_f64), "{line}");
}
