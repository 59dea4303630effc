//! Direct gets are taken by a queue group: the stream, and the mirrors that have its messages
//! (JS-159). Whichever server, link or shard they are on, one of them answers.

use crate::connection::registry::Subscription;
use crate::ids::{AccountId, SubscriptionId};
use crate::routing::interest::{InterestChange, Member};
use crate::shard::core::{Core, Local};
use crate::shard::deliver::{Message, Sizes};
use crate::shard::internal::INTERNAL;

use super::state::Receiver;

/// The group's name: nobody else may use it (CORE-52).
const GROUP: &[u8] = b"_sys_";
/// What stands in place of a client's name for a subscription: no number of a service.
const MEMBER: &[u8] = b"js.";

/// A message a member of a group was chosen for. It is looked at when its publisher's delivery is
/// done.
pub(in crate::shard) struct Chosen {
    receiver: u32,
    account: AccountId,
    subject: Box<[u8]>,
    to: Option<Box<[u8]>>,
    reply: Option<Box<[u8]>>,
    header_len: Option<usize>,
    body: Box<[u8]>,
}

impl Core {
    /// Makes a receiver a member of the group on its pattern. Other shards are told.
    pub(super) fn js_join(
        &mut self,
        account: AccountId,
        pattern: &[u8],
        receiver: u32,
    ) -> SubscriptionId {
        let sid = [MEMBER, receiver.to_string().as_bytes()].concat();
        let subscription = Subscription::new(INTERNAL, account, pattern, Some(GROUP), &sid);
        let id = self.local.subscriptions.insert_unnamed(subscription);
        let member = Member {
            subscription: id,
            connection: INTERNAL,
        };
        let change = self.change_interest(account, pattern, Some(GROUP), |interest| {
            interest.insert_local(pattern, Some(GROUP), member)
        });
        self.js_group_changed(account, pattern, change);
        id
    }

    /// Takes a member out again.
    pub(super) fn js_leave(&mut self, account: AccountId, pattern: &[u8], id: SubscriptionId) {
        let member = Member {
            subscription: id,
            connection: INTERNAL,
        };
        self.local.subscriptions.remove_unnamed(id);
        let change = self.change_interest(account, pattern, Some(GROUP), |interest| {
            interest.remove_local(pattern, Some(GROUP), member)
        });
        self.js_group_changed(account, pattern, change);
    }

    fn js_group_changed(&mut self, account: AccountId, pattern: &[u8], change: InterestChange) {
        self.interest_changed(INTERNAL, account, pattern, Some(GROUP), change);
    }

    /// Looks at what members of groups here were chosen for.
    #[cold]
    pub(in crate::shard) fn js_take_chosen(&mut self) {
        while let Some(chosen) = self.local.chosen.pop_front() {
            let registered = self.jetstream.receivers.at(chosen.receiver);
            let Some(Receiver::Direct(key)) = registered.map(|it| it.receiver.clone()) else {
                continue;
            };
            let (subject, body) = (&chosen.subject, &chosen.body);
            let header_len = chosen.header_len.unwrap_or(0);
            let mut sizes = Sizes::default();
            let message = Message {
                to: chosen.to.as_deref(),
                reply: chosen.reply.as_deref(),
                ..Message::own(chosen.account, subject, body, header_len, &mut sizes)
            };
            self.js_direct_get(key, &message);
        }
    }
}

impl Local {
    /// Keeps a message for the receiver a subscription stands for. False if it stands for none.
    pub(in crate::shard) fn choose_receiver(
        &mut self,
        member: Member,
        message: &Message<'_>,
    ) -> bool {
        let subscription = self.subscriptions.get(member.subscription);
        let number = subscription.and_then(|it| it.sid().strip_prefix(MEMBER));
        let number = number.and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        let Some(receiver) = number else {
            return false;
        };
        self.chosen.push_back(Chosen {
            receiver,
            account: message.account,
            subject: message.subject.into(),
            to: message.to.map(Into::into),
            reply: message.reply.map(Into::into),
            header_len: message.header_len,
            body: message.body.into(),
        });
        true
    }
}
