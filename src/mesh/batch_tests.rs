//! What goes into a batch comes out of it.

use super::*;

#[test]
fn items_come_out_as_they_went_in() {
    let payload = Bytes::from(vec![7; 5000]);
    let source = Slot {
        index: 3,
        generation: 9,
    };
    let claim = Claim {
        request: 1 << 40,
        share: 77,
    };
    let plain = RemoteMessage {
        source,
        account: AccountId(7),
        crossed: true,
        home: Some(ShardId(63)),
        claim: Some(claim),
        subject: b"a.b",
        reply: Some(b"r"),
        header_len: Some(2),
        header_size_text: b"02",
        size_text: b"5",
        body: Body::Inline(b"hdABC"),
        tail: b"r 02 5\r\nhdABC\r\n",
        plain: true,
        tried: 0,
        queues: Names::NONE,
    };
    let queued = RemoteMessage {
        crossed: false,
        home: None,
        claim: None,
        reply: None,
        header_len: None,
        header_size_text: b"",
        size_text: b"5000",
        body: Body::Shared(&payload),
        tail: b"",
        plain: false,
        tried: 5,
        ..plain.clone()
    };
    let mut batch = Batch::default();
    batch.interest(AccountId::GLOBAL, b"x.*", None, 1);
    batch.message(&plain, std::iter::empty());
    let unusual = RemoteMessage {
        tail: b"",
        ..plain.clone()
    };
    batch.message(&unusual, std::iter::empty());
    batch.interest(AccountId(9), b"x.>", Some(b"q"), 7);
    batch.message(&queued, [&b"one"[..], b"two"].into_iter());
    batch.stall(source, true);
    batch.resume(source);
    batch.mark();
    batch.about(b"{}");
    batch.undelivered(source, claim, b"a.b", b"r");

    let items: Vec<Item<'_>> = batch.items().collect();
    assert_eq!(items.len(), 10);
    assert_eq!(
        items[0],
        Item::Interest {
            account: AccountId::GLOBAL,
            pattern: b"x.*",
            queue: None,
            weight: 1
        }
    );
    assert_eq!(items[1], Item::Message(plain.clone()));
    assert_eq!(items[2], Item::Message(plain), "the tail is put together");
    assert_eq!(
        items[3],
        Item::Interest {
            account: AccountId(9),
            pattern: b"x.>",
            queue: Some(b"q"),
            weight: 7
        }
    );
    let Item::Message(message) = &items[4] else {
        panic!("a message")
    };
    assert_eq!(message.queues.collect::<Vec<_>>(), [&b"one"[..], b"two"]);
    assert_eq!(
        RemoteMessage {
            queues: Names::NONE,
            ..message.clone()
        },
        queued
    );
    assert_eq!(
        items[5],
        Item::Stall {
            slot: source,
            first: true
        }
    );
    assert_eq!(items[6], Item::Resume(source));
    assert_eq!(items[7], Item::Mark);
    assert_eq!(items[8], Item::About(b"{}"));
    assert_eq!(
        items[9],
        Item::Undelivered {
            source,
            claim,
            subject: b"a.b",
            reply: b"r"
        }
    );
}
