//! Is a consumer's configuration one that can be? What is left out is filled in.

use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::stamp_consumer;
use crate::jetstream::api::request::ConsumerCreateRequest;
use crate::jetstream::api::subjects::ApiSubject;
use crate::jetstream::api::values::Span;
use crate::jetstream::consumer::config::{AckPolicy, ConsumerConfig};
use crate::shard::core::Core;

use super::hosted::StreamKey;

impl Core {
    /// The name and configuration a consumer is to have.
    pub(super) fn js_checked_consumer(
        &mut self,
        subject: ApiSubject<'_>,
        key: Option<StreamKey>,
        asked: &ConsumerCreateRequest,
    ) -> Result<(String, ConsumerConfig), ApiError> {
        if asked.stream_name != subject.stream {
            return Err(errors::STREAM_MISMATCH);
        }
        key.ok_or(errors::STREAM_NOT_FOUND)?;
        let mut config = asked.config.clone();
        stamp_consumer(&mut config);
        let name = [subject.consumer, &config.name, &config.durable_name]
            .into_iter()
            .find(|it| !it.is_empty())
            .map(str::to_owned);
        let name = name.unwrap_or_else(|| format!("{:08x}", self.local.random() as u32));
        config.name.clone_from(&name);
        if config.max_deliver == 0 {
            config.max_deliver = -1;
        }
        if config.ack_policy != AckPolicy::None {
            if config.ack_wait.0 == 0 {
                config.ack_wait = Span::seconds(30);
            }
            if config.max_ack_pending == 0 {
                config.max_ack_pending = 1000;
            }
        }
        if !config.is_push() && config.max_waiting == 0 {
            config.max_waiting = 512;
        }
        if !config.is_durable() && config.inactive_threshold.0 == 0 {
            config.inactive_threshold = Span::seconds(5);
        }
        Ok((name, config))
    }
}
