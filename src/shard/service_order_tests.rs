//! What a service says arrives in the order in which it was said, also where the request came
//! through several accounts and everybody is on another shard.

use crate::options::{
    AccountOptions, AuthOptions, ExportOptions, ImportOptions, Options, ResponseType, Shared,
    UserOptions,
};
use crate::shard::world_tests::World;

const SHARDS: usize = 3;

fn export(shared: Shared, subject: &str) -> ExportOptions {
    ExportOptions {
        shared,
        subject: subject.to_owned(),
        response: ResponseType::Stream,
        ..ExportOptions::default()
    }
}

fn import(shared: Shared, account: &str, subject: &str) -> ImportOptions {
    ImportOptions {
        shared,
        account: account.to_owned(),
        subject: subject.to_owned(),
        ..ImportOptions::default()
    }
}

/// A offers a service and a stream; B has both of A and offers the service to C, who has the
/// stream of A.
fn options() -> Options {
    let account = |name: &str, exports, imports| AccountOptions {
        name: name.to_owned(),
        exports,
        imports,
        ..AccountOptions::default()
    };
    let accounts = vec![
        account(
            "A",
            vec![export(Shared::Service, "q"), export(Shared::Stream, "s.>")],
            vec![],
        ),
        account(
            "B",
            vec![export(Shared::Service, "q")],
            vec![import(Shared::Service, "A", "q")],
        ),
        account(
            "C",
            vec![],
            vec![
                import(Shared::Service, "B", "q"),
                import(Shared::Stream, "A", "s.>"),
            ],
        ),
    ];
    let users = ["A", "B", "C"].map(|name| UserOptions {
        username: name.to_owned(),
        account: name.to_owned(),
        ..UserOptions::default()
    });
    Options {
        accounts,
        auth: AuthOptions {
            users: users.into(),
            ..AuthOptions::default()
        },
        ..Options::default()
    }
}

/// AUTH-36: answers, and what the same connection publishes between them and behind them.
#[test]
fn answers_through_two_accounts_stay_in_order() {
    for (asker, responder) in (0..SHARDS * SHARDS).map(|it| (it / SHARDS, it % SHARDS)) {
        let mut world = World::new(SHARDS, options());
        let service = world.connect(responder, "A", "SUB q 1\r\n");
        let client = world.connect(asker, "C", "SUB in.> 1\r\nSUB s.> 2\r\n");
        world.say(asker, client, "PUB q in.x 0\r\n\r\n");
        let request = world.output[&(responder, service)].clone();
        let request = String::from_utf8(request).expect("text");
        let line = request.lines().find(|it| it.starts_with("HMSG q 1 "));
        let reply = line.and_then(|it| it.split(' ').nth(3)).expect("a request");
        let says: String = (0..6)
            .map(|number| match number % 2 {
                0 => format!("PUB {reply} 1\r\n{number}\r\n"),
                _ => format!("PUB s.x 1\r\n{number}\r\n"),
            })
            .collect();
        world.say(responder, service, &says);
        let heard = world.output[&(asker, client)].clone();
        let heard = String::from_utf8(heard).expect("text");
        let bodies: Vec<&str> = heard.lines().filter(|it| it.len() == 1).collect();
        assert_eq!(
            bodies,
            ["0", "1", "2", "3", "4", "5"],
            "{asker} asks {responder}: {heard}"
        );
    }
}
