//! Messages of a stream that lives in memory.

use bytes::{Bytes, BytesMut};

use super::message::{Append, StoredMessage};
use crate::time::WallTime;

/// Messages by place; a place is used again once its message is gone.
#[derive(Debug, Default)]
pub(super) struct Memory {
    places: Vec<Content>,
    free: Vec<u32>,
}

/// Subject, headers and payload, one after the other.
#[derive(Debug, Default)]
struct Content {
    bytes: Bytes,
    subject: u32,
    headers: u32,
}

impl Memory {
    /// Keeps a message and says where.
    pub(super) fn insert(&mut self, message: &Append<'_>) -> u32 {
        let mut bytes = BytesMut::with_capacity(
            message.subject.len() + message.headers.len() + message.payload.len(),
        );
        bytes.extend_from_slice(message.subject);
        bytes.extend_from_slice(message.headers);
        bytes.extend_from_slice(message.payload);
        let content = Content {
            bytes: bytes.freeze(),
            subject: message.subject.len() as u32,
            headers: message.headers.len() as u32,
        };
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = content;
            return place;
        }
        self.places.push(content);
        (self.places.len() - 1) as u32
    }

    /// The message at a place.
    pub(super) fn read(&self, place: u32, seq: u64, time: u64) -> StoredMessage {
        let content = &self.places[place as usize];
        let subject = content.subject as usize;
        let payload = subject + content.headers as usize;
        StoredMessage {
            seq,
            time: WallTime(time),
            subject: content.bytes.slice(..subject),
            headers: content.bytes.slice(subject..payload),
            payload: content.bytes.slice(payload..),
        }
    }

    /// Lets go of the message at a place.
    pub(super) fn remove(&mut self, place: u32) {
        self.places[place as usize] = Content::default();
        self.free.push(place);
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
