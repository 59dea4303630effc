use super::*;

const LIMITS: Limits = Limits {
    max_control_line: 64,
    max_payload: 64,
    headers: true,
};

/// What the front of `input` is, short enough for a table.
fn describe(input: &[u8]) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match next_op(input, &LIMITS) {
        Err(error) => format!("{error:?}"),
        Ok(LeafProgress::Incomplete { needed }) => format!("more {needed:?}"),
        Ok(LeafProgress::Op { op, used }) => {
            let op = match op {
                LeafOp::Subscribe {
                    subject,
                    queue,
                    key,
                } => {
                    let queue = queue.map(|(name, weight)| format!(" {}*{weight}", text(name)));
                    format!(
                        "+{}{} [{}]",
                        text(subject),
                        queue.unwrap_or_default(),
                        text(key)
                    )
                }
                LeafOp::Unsubscribe { key } => format!("-[{}]", text(key)),
                LeafOp::Message(message) => {
                    let queues: Vec<_> = message.queue_names().map(text).collect();
                    format!(
                        "{} r={} q={queues:?} h={:?} {} t={}",
                        text(message.subject),
                        message.reply.map_or("none".into(), text),
                        message.header_len,
                        text(message.body),
                        text(message.tail)
                    )
                }
                other => format!("{other:?}"),
            };
            format!("{op} +{}", input.len() - used)
        }
    }
}

fn check(input: &str, expected: &str) {
    assert_eq!(describe(input.as_bytes()), expected, "{input:?}");
}

#[test]
fn topo_026_interest() {
    check("LS+ a.b\r\n", "+a.b [a.b] +0");
    check("ls+  a.b \r\nP", "+a.b [a.b] +1");
    check("LS+ a q 3\r\n", "+a q*3 [a q] +0");
    check("LS+ a q 0\r\n", "+a q*1 [a q] +0");
    check("LS+ a q x\r\n", "+a q*1 [a q] +0");
    check("LS- a\r\n", "-[a] +0");
    check("LS- a q\r\n", "-[a q] +0");
    for input in ["LS+ a q\r\n", "LS+ a q 1 z\r\n", "LS+ \r\r\n"] {
        check(input, r#"BadArguments { verb: "LS+" }"#);
    }
    check("LSX", "UnknownOperation");
    check("MSG a 1 1\r\n", "UnknownOperation");
}

/// As stock reads them where a leaf node should not have sent them.
#[test]
fn topo_010_verbs_of_clients_and_routes() {
    check("SUB a 1\r\n", r#"BadArguments { verb: "LS+" }"#);
    check("RS+ a q 2\r\n", "+a q*2 [a q] +0");
    check("UNSUB a\r\n", "-[a] +0");
    check("RS- a q\r\n", "-[a q] +0");
    check("A+ X\r\nP", "Ok +1");
    check("A- X\r\n", "Ok +0");
    let bodies = [
        (
            "PUB a r 2\r\nhi\r\n",
            "a r=r q=[] h=None hi t=r 2\\r\\nhi\\r\\n +0",
        ),
        (
            "RMSG $G a 2\r\nhi\r\n",
            "$G r=a q=[] h=None hi t=a 2\\r\\nhi\\r\\n +0",
        ),
        (
            "HPUB a 2 3\r\nhip\r\n",
            "a r=none q=[] h=Some(2) hip t=2 3\\r\\nhip\\r\\n +0",
        ),
    ];
    for (input, expected) in bodies {
        check(input, expected);
    }
    check("PUB a | q 2\r\n", r#"BadArguments { verb: "PUB" }"#);
}

#[test]
fn topo_027_messages() {
    check(
        "LMSG a 2\r\nhi\r\n",
        "a r=none q=[] h=None hi t=2\\r\\nhi\\r\\n +0",
    );
    check(
        "LMSG a r 2\r\nhi\r\n",
        "a r=r q=[] h=None hi t=r 2\\r\\nhi\\r\\n +0",
    );
    check(
        "LMSG a  r 2\r\nhi\r\n",
        "a r=r q=[] h=None hi t=r 2\\r\\nhi\\r\\n +0",
    );
    check("LMSG a r 2 \r\nhi\r\n", "a r=r q=[] h=None hi t= +0");
    check(
        "LMSG a | p q 0\r\n\r\n",
        r#"a r=none q=["p", "q"] h=None  t= +0"#,
    );
    check("LMSG a + r p 0\r\n\r\n", r#"a r=r q=["p"] h=None  t= +0"#);
    check(
        "HMSG a r 2 3\r\nhip\r\n",
        "a r=r q=[] h=Some(2) hip t=r 2 3\\r\\nhip\\r\\n +0",
    );
    check(
        "HMSG a | q 2 3\r\nhip\r\n",
        r#"a r=none q=["q"] h=Some(2) hip t= +0"#,
    );
    check("LMSG a 65\r\n", "MaxPayload { size: 65 }");
    check("LMSG a 2\r\nhix", "UnknownOperation");
    check("LMSG a 2\r\nhi", "more Some(14)");
    for input in [
        "LMSG a\r\n",
        "LMSG a r s 2\r\n",
        "LMSG a x\r\n",
        "LMSG a + 2\r\n",
    ] {
        check(input, r#"BadArguments { verb: "LMSG" }"#);
    }
    for input in ["HMSG a 2\r\n", "HMSG a 3 2\r\n", "HMSG a r s 2 3\r\n"] {
        check(input, r#"BadArguments { verb: "HMSG" }"#);
    }
}

#[test]
fn other_operations() {
    check("PING\r\n", "Ping +0");
    check("pong\r\n", "Pong +0");
    check("+OK\r\n", "Ok +0");
    assert_eq!(
        next_op(b"-ERR 'x y'\r\n", &LIMITS),
        Ok(LeafProgress::Op {
            op: LeafOp::Err { text: b"'x y'" },
            used: 12
        })
    );
    let long = format!("LS+ {}", "a".repeat(70));
    check(&long, "ControlLineTooLong");
    let endless = format!("PING{}", " ".repeat(70));
    check(&endless, "ControlLineTooLong");
}

/// Every way to cut a stream in two gives the same operations, and what is asked for is never more
/// than what is needed.
#[test]
fn cutting_a_stream_changes_nothing() {
    let stream: &[u8] =
        b"CONNECT {\"a\":1}\r\nLS+ a.* q 7\r\nLMSG a.b + r q 5\r\nhello\r\nPING\r\n\
        HMSG x 2 4\r\nabcd\r\nLS- a.* q\r\nLMSG y 0\r\n\r\n-ERR 'z'\r\nPONG\r\n";
    let whole = operations(&[stream]);
    assert_eq!(whole.len(), 9);
    for cut in 0..stream.len() {
        let (front, back) = stream.split_at(cut);
        assert_eq!(operations(&[front, back]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(operations(&single), whole);
}

fn operations(pieces: &[&[u8]]) -> Vec<String> {
    let mut held = Vec::new();
    let mut found = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        while !held.is_empty() {
            match next_op(&held, &LIMITS).expect("a good stream") {
                LeafProgress::Op { op, used } => {
                    found.push(format!("{op:?}"));
                    held.drain(..used);
                }
                LeafProgress::Incomplete { needed } => {
                    assert!(needed.is_none_or(|needed| needed > held.len()));
                    break;
                }
            }
        }
    }
    found
}
