//! A bounded queue from one thread to one other.
//!
//! Each end keeps its last view of the other's index and looks again only when that view says
//! full or empty, so the two indices stay in their owners' caches most of the time. The ends can
//! be sent to a thread but neither cloned nor shared: one producer and one consumer is in the
//! types.

#![allow(unsafe_code)] // Slots are handed from thread to thread by index.

use std::mem::MaybeUninit;

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};
#[cfg(not(loom))]
use std::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

/// On its own pair of cache lines: the hardware fetches two at a time.
#[repr(align(128))]
struct Apart<T>(T);

struct Shared<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Items ever taken; written by the consumer only.
    head: Apart<AtomicUsize>,
    /// Items ever put; written by the producer only.
    tail: Apart<AtomicUsize>,
}

// SAFETY: a slot is touched by the producer while its index is outside `head..tail` and by the
// consumer while it is inside; the Release stores of the indices hand it over.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: owns its items, and those may be sent.
unsafe impl<T: Send> Send for Shared<T> {}

/// The end that puts items in.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    head_seen: usize,
}

/// The end that takes items out.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

/// A queue of `slots` places, a power of two.
///
/// # Panics
/// If `slots` is not a power of two.
pub fn ring<T: Send>(slots: usize) -> (Producer<T>, Consumer<T>) {
    assert!(slots.is_power_of_two(), "indices are masked");
    let slots = (0..slots)
        .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
        .collect();
    let shared = Arc::new(Shared {
        slots,
        head: Apart(AtomicUsize::new(0)),
        tail: Apart(AtomicUsize::new(0)),
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        tail: 0,
        head_seen: 0,
    };
    (
        producer,
        Consumer {
            shared,
            head: 0,
            tail_seen: 0,
        },
    )
}

impl<T> Producer<T> {
    /// Puts an item in, or gives it back when every place is taken.
    ///
    /// # Errors
    /// The item itself, when the queue is full.
    pub fn try_push(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        let slot = &self.shared.slots[self.tail & (self.shared.slots.len() - 1)];
        // `tail` is outside `head..tail` by the check above, so the consumer does not
        // look at this slot until the Release store below; `&mut self` makes us the one producer.
        write(slot, item);
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Is every place taken?
    pub fn is_full(&mut self) -> bool {
        let capacity = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head_seen) == capacity {
            self.head_seen = self.shared.head.0.load(Ordering::Acquire); // pairs with pop's Release
        }
        self.tail.wrapping_sub(self.head_seen) == capacity
    }

    /// Items in it, as far as the producer can tell: the consumer may have taken some since.
    pub fn len(&self) -> usize {
        self.tail
            .wrapping_sub(self.shared.head.0.load(Ordering::Acquire))
    }

    /// Has the consumer taken everything?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let slot = &self.shared.slots[self.head & (self.shared.slots.len() - 1)];
        // The producer wrote the slot before the Release store of `tail` that `is_empty` saw.
        let item = read(slot);
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(item)
    }

    /// Is there nothing to take?
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire); // pairs with try_push
        }
        self.head == self.tail_seen
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        // What the producer puts in after this is leaked, not freed twice: items are owned boxes
        // of batches, and both ends go together when the process or server ends.
        while self.pop().is_some() {}
    }
}

#[cfg(not(loom))]
fn write<T>(slot: &UnsafeCell<MaybeUninit<T>>, item: T) {
    // SAFETY: called by the producer for a slot outside `head..tail` only.
    unsafe { (*slot.get()).write(item) };
}

#[cfg(not(loom))]
fn read<T>(slot: &UnsafeCell<MaybeUninit<T>>) -> T {
    // SAFETY: called by the consumer for a slot inside `head..tail` only, once for each item.
    unsafe { (*slot.get()).assume_init_read() }
}

#[cfg(loom)]
fn write<T>(slot: &UnsafeCell<MaybeUninit<T>>, item: T) {
    // SAFETY: as without loom, which checks it.
    slot.with_mut(|slot| unsafe { (*slot).write(item) });
}

#[cfg(loom)]
fn read<T>(slot: &UnsafeCell<MaybeUninit<T>>) -> T {
    // SAFETY: as without loom, which checks it.
    slot.with_mut(|slot| unsafe { (*slot).assume_init_read() })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn full_and_empty_are_noticed() {
        let (mut producer, mut consumer) = ring(2);
        assert_eq!(consumer.pop(), None);
        assert_eq!(producer.try_push(1), Ok(()));
        assert_eq!(producer.try_push(2), Ok(()));
        assert_eq!(producer.try_push(3), Err(3));
        assert_eq!(consumer.pop(), Some(1));
        assert_eq!(producer.try_push(3), Ok(()));
        assert_eq!(
            (consumer.pop(), consumer.pop(), consumer.pop()),
            (Some(2), Some(3), None)
        );
    }

    #[test]
    fn items_left_behind_are_dropped_once() {
        let item = std::sync::Arc::new(());
        let (mut producer, consumer) = ring(4);
        for _ in 0..3 {
            producer.try_push(item.clone()).expect("room");
        }
        drop(consumer);
        drop(producer);
        assert_eq!(std::sync::Arc::strong_count(&item), 1);
    }

    #[test]
    fn order_holds_between_threads() {
        const ITEMS: u64 = if cfg!(miri) { 200 } else { 200_000 };
        let (mut producer, mut consumer) = ring(8);
        let sender = std::thread::spawn(move || {
            for mut item in (0..ITEMS).map(Box::new) {
                while let Err(back) = producer.try_push(item) {
                    item = back;
                    std::thread::yield_now();
                }
            }
        });
        for expected in 0..ITEMS {
            let item = loop {
                match consumer.pop() {
                    Some(item) => break item,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(*item, expected);
        }
        sender.join().expect("the sender ends");
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    /// Every interleaving of three items through two places.
    #[test]
    fn every_interleaving_keeps_order_and_items() {
        loom::model(|| {
            let (mut producer, mut consumer) = ring(2);
            let sender = loom::thread::spawn(move || {
                for mut item in (0..3).map(Box::new) {
                    while let Err(back) = producer.try_push(item) {
                        item = back;
                        loom::thread::yield_now();
                    }
                }
            });
            for expected in 0..3 {
                let item = loop {
                    match consumer.pop() {
                        Some(item) => break item,
                        None => loom::thread::yield_now(),
                    }
                };
                assert_eq!(*item, expected);
            }
            sender.join().expect("the sender ends");
        });
    }
}
