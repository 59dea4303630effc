//! What shard 0 answers for streams that do nothing (JS-256).

use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::response::{
    ConsumerList, ConsumerNames, LIST_MAX, NAMES_MAX, Paging, Response,
};
use crate::jetstream::api::subjects::{ApiSubject, Endpoint};
use crate::jetstream::offline::Offline;
use crate::shard::core::Core;

use super::command::Request;

impl Core {
    /// A request about such a stream, or a consumer of it.
    pub(super) fn js_asked_offline(
        &mut self,
        subject: ApiSubject<'_>,
        request: &Request,
        offline: &Offline,
    ) -> Result<(), ApiError> {
        let consumers = &offline.consumers;
        match subject.endpoint {
            Endpoint::ConsumerNames => {
                let (paging, page) = Paging::page(consumers.len(), 0, NAMES_MAX);
                let content = ConsumerNames {
                    paging,
                    consumers: consumers.keys().take(page.len()).cloned().collect(),
                };
                self.js_answer_json(request, &Response::new(Endpoint::ConsumerNames, content));
                Ok(())
            }
            Endpoint::ConsumerList => {
                let (paging, page) = Paging::page(consumers.len(), 0, LIST_MAX);
                let shown = consumers.iter().take(page.len());
                let content = ConsumerList {
                    paging,
                    missing: shown.clone().map(|(name, _)| name.clone()).collect(),
                    offline: shown
                        .map(|(name, why)| (name.clone(), why.clone()))
                        .collect(),
                    ..ConsumerList::default()
                };
                self.js_answer_json(request, &Response::new(Endpoint::ConsumerList, content));
                Ok(())
            }
            Endpoint::ConsumerInfo => match consumers.get(subject.consumer) {
                Some(reason) => Err(errors::consumer_offline_reason(reason)),
                None => Err(errors::CONSUMER_NOT_FOUND),
            },
            _ => Err(errors::stream_offline_reason(&offline.reason)),
        }
    }
}
