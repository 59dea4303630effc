//! Messages that are to be sent later, where a stream does not take them (section 10).

use super::headers;
use crate::jetstream::api::errors::{self, ApiError};
use crate::protocol::headers::get;
use crate::routing::subject::is_valid_literal;

/// A schedule or its end must not be stored as any message is: its publisher would wait for what
/// never comes (JS-138, JS-141).
pub(super) fn refuse(subject: &[u8], block: &[u8]) -> Result<(), ApiError> {
    let present = |key: &[u8]| get(block, key).filter(|it| !it.is_empty());
    if present(headers::SCHEDULE).is_some() {
        return Err(errors::MESSAGE_SCHEDULES_DISABLED);
    }
    let scheduler = present(headers::SCHEDULER);
    let Some(next) = present(headers::SCHEDULE_NEXT) else {
        return match scheduler {
            Some(_) => Err(errors::MESSAGE_SCHEDULES_SCHEDULER_INVALID),
            None => Ok(()),
        };
    };
    let names_another = scheduler.is_some_and(|it| it != subject && is_valid_literal(it));
    Err(match next == b"purge" && names_another {
        true => errors::MESSAGE_SCHEDULES_DISABLED,
        false => errors::MESSAGE_SCHEDULES_SCHEDULER_INVALID,
    })
}
