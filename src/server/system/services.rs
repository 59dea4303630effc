//! Services of the server and the thread they answer on.
//!
//! A service may read files, ask the shards and wait for a reload, none of which a shard may. All
//! share one thread: questions of operators are rare, and one after the other keeps them simple.
//! What takes long (a profile, a fetch over the network) gets a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::ids::AccountId;
use crate::io::Socket;
use crate::limits;
use crate::shard::control::{Control, Post};
use crate::shard::internal::{
    AccountSought, InternalAction, InternalMessage, InternalPublish, Mail, PeerCheck, Question,
    ServiceId,
};

/// Longest sleep of the thread, so that a service's clock is at most this late.
const TICK: Duration = Duration::from_millis(250);

/// Something the server answers.
pub trait Service: Send {
    /// Called once, before the first message: subscribes.
    fn start(&mut self, outlet: &Outlet);

    /// A message arrived on one of its subscriptions.
    fn message(&mut self, message: &InternalMessage, outlet: &Outlet);

    /// A shard wants an auth service asked. For one service, the others pass it over.
    fn question(&mut self, _question: &Question, _outlet: &Outlet) {}

    /// A connection waits for an account. For one service, the others pass it over.
    fn seek(&mut self, _sought: &AccountSought, _outlet: &Outlet) {}

    /// A peer's authorities are to be asked. For one service, the others pass it over.
    fn peer(&mut self, _check: &Arc<PeerCheck>, _outlet: &Outlet) {}

    /// Another service takes its place. For those that can be replaced.
    fn stop(&mut self, _outlet: &Outlet) {}

    /// Time has passed. Called about every quarter of a second.
    fn tick(&mut self, _now: Instant, _outlet: &Outlet) {}
}

/// How a service subscribes and publishes.
#[derive(Clone)]
pub struct Outlet {
    service: ServiceId,
    /// Shard 0's.
    post: Post<Socket>,
}

impl Outlet {
    /// Receive what is published on `pattern` in an account.
    pub fn subscribe(&self, account: AccountId, pattern: &str, queue: Option<&str>) {
        self.act(InternalAction::Subscribe {
            account,
            pattern: pattern.as_bytes().into(),
            queue: queue.map(|queue| queue.as_bytes().into()),
            service: self.service,
        });
    }

    /// Receive nothing more.
    pub fn unsubscribe(&self) {
        self.act(InternalAction::Unsubscribe(self.service));
    }

    /// Publish a message. It is on its way when this returns, behind all published before.
    pub fn publish(&self, publish: InternalPublish) {
        self.act(InternalAction::Publish(publish));
    }

    /// Answers a request; nothing where no answer is awaited.
    pub fn answer(&self, request: &InternalMessage, payload: impl Into<Box<[u8]>>) {
        if let Some(reply) = &request.reply {
            self.publish(InternalPublish {
                account: request.account,
                subject: reply.clone(),
                payload: payload.into(),
                ..InternalPublish::default()
            });
        }
    }

    fn act(&self, action: InternalAction) {
        // False means the shard has ended, and with it everybody who could miss this.
        self.post.send(Control::Internal(action));
    }
}

/// The queue between shard 0 and the services.
pub(in crate::server) fn queue() -> (SyncSender<Mail>, Receiver<Mail>) {
    sync_channel(limits::SERVICE_QUEUE_MAX)
}

/// Starts the services. Their thread ends when all shards have.
///
/// # Errors
/// When the process may have no more threads.
pub(in crate::server) fn start(
    services: Vec<Box<dyn Service>>,
    messages: Receiver<Mail>,
    post: &Post<Socket>,
) -> std::io::Result<()> {
    let number = |at: usize| ServiceId(at as u32);
    let mut services: Vec<(Box<dyn Service>, Outlet)> = services
        .into_iter()
        .enumerate()
        .map(|(at, service)| {
            let (service_id, post) = (number(at), post.clone());
            let outlet = Outlet {
                service: service_id,
                post,
            };
            (service, outlet)
        })
        .collect();
    // On this thread: the subscriptions are there before a client is.
    for (service, outlet) in &mut services {
        service.start(outlet);
    }
    std::thread::Builder::new()
        .name("services".into())
        .spawn(move || run(&mut services, &messages))?;
    Ok(())
}

fn run(services: &mut [(Box<dyn Service>, Outlet)], messages: &Receiver<Mail>) {
    let mut next_tick = Instant::now() + TICK;
    loop {
        let left = next_tick.saturating_duration_since(Instant::now());
        match messages.recv_timeout(left) {
            Ok(Mail::Question(question)) => {
                for (service, outlet) in services.iter_mut() {
                    service.question(&question, outlet);
                }
            }
            Ok(Mail::Seek(sought)) => {
                for (service, outlet) in services.iter_mut() {
                    service.seek(&sought, outlet);
                }
            }
            Ok(Mail::Peer(check)) => {
                for (service, outlet) in services.iter_mut() {
                    service.peer(&check, outlet);
                }
            }
            Ok(Mail::Message(message)) => {
                if let Some((service, outlet)) = services.get_mut(message.service.0 as usize) {
                    service.message(&message, outlet);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if now >= next_tick {
            next_tick = now + TICK;
            for (service, outlet) in services.iter_mut() {
                service.tick(now, outlet);
            }
        }
    }
}
