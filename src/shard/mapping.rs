//! Messages that go elsewhere than their publisher says (AUTH-41).

use std::sync::Arc;

use crate::ids::AccountId;
use crate::protocol::op::Publish;
use crate::shard::core::Core;

impl Core {
    /// A publish in an account that has mappings. Nothing is checked before: permissions, errors
    /// and receivers are those of the mapped subject.
    pub(super) fn publish_mapped(&mut self, index: u32, account: AccountId, publish: &Publish<'_>) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let tenant = Arc::clone(&connection.tenant);
        let local = &mut self.local;
        let mut subject = local.buffer();
        let mapped = tenant
            .mappings
            .map(publish.subject, &mut subject, || local.random());
        if mapped {
            let publish = Publish {
                subject: &subject,
                ..*publish
            };
            self.publish_to(index, account, &publish);
        } else {
            self.publish_to(index, account, publish);
        }
        self.local.give_back(subject);
    }
}
