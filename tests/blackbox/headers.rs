//! Section 1.6 and the server without headers.

use crate::support::server::Server;

#[test]
fn core_074_without_header_support_info_says_so_and_hpub_closes() {
    let server = Server::with_config("no_header_support: true");
    let mut client = server.open();
    assert_eq!(client.info["headers"], false);
    client.send("CONNECT {\"verbose\":false,\"headers\":true}\r\n");
    client.quietly("SUB a 1\r\n");
    client.send("HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n");
    assert_eq!(client.closed(), [""; 0]);
}

#[test]
fn core_074_without_header_support_no_responders_is_refused() {
    let server = Server::with_config("no_header_support: true");
    let mut client = server.open();
    client.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n");
    assert_eq!(
        client.closed(),
        ["-ERR 'no responders requires headers support'"]
    );
}

#[test]
fn core_075_header_blocks_pass_unchanged() {
    let server = Server::start();
    let mut publisher = server.client();
    let blocks = [
        "NATS/1.0\r\n\r\n",
        "NATS/1.0 503\r\n\r\n",
        "NATS/1.0 408 Request Timeout\r\n\r\n",
        "NATS/1.0\r\nKey: Value\r\nkey: other\r\nKEY:\r\nkey:third\r\n\r\n",
        "NATS/1.0\r\nUtf: \u{1F680}\r\nFolded: a\r\n b\r\n\r\n",
        "no header at all",
    ];
    for mut subscriber in server.clients() {
        subscriber.quietly("SUB a 1\r\n");
        for block in blocks {
            let (header, total) = (block.len(), block.len() + 3);
            publisher.send(format!("HPUB a {header} {total}\r\n{block}\0\r\n\r\n"));
            let message = subscriber.message();
            assert_eq!(message.headers, block.as_bytes());
            assert_eq!(message.payload, b"\0\r\n");
        }
    }
}

#[test]
fn core_075_header_sizes_at_their_edges() {
    let server = Server::start();
    let mut client = server.client();
    client.quietly("");
    client.send("SUB a 1\r\nHPUB a 0 2\r\nhi\r\nHPUB a 2 2\r\nhi\r\n");
    // A header of no bytes is still a message with headers.
    let message = client.message();
    assert_eq!(
        (message.headers.len(), message.payload),
        (0, b"hi".to_vec())
    );
    let message = client.message();
    assert_eq!(
        (message.headers, message.payload.len()),
        (b"hi".to_vec(), 0)
    );
}

#[test]
fn core_054_075_large_header_blocks_arrive_whole() {
    let server = Server::start();
    let mut publisher = server.client();
    let block = format!("NATS/1.0\r\nBig: {}\r\n\r\n", "v".repeat(200_000));
    let total = block.len() + 100_000;
    let body = "p".repeat(100_000);
    for mut subscriber in server.clients() {
        subscriber.quietly("SUB a 1\r\n");
        publisher.send(format!(
            "HPUB a {} {total}\r\n{block}{body}\r\n",
            block.len()
        ));
        let message = subscriber.message();
        assert!(message.headers == block.as_bytes() && message.payload == body.as_bytes());
    }
}
