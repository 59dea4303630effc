//! A bounded queue from one thread to one other.
//!
//! Each end keeps its last view of the other's index and looks again only when that view says
//! full or empty, so the two indices stay in their owners' caches most of the time. The ends can
//! be sent to a thread but neither cloned nor shared: one producer and one consumer is in the
//! types.
//!
//! `RUSTFLAGS="--cfg ramjet_loom" cargo test --lib mesh::ring` runs the interleavings. (A plain
//! `cfg(loom)` takes parts out of dependencies.)

#![allow(unsafe_code)] // Slots are handed from thread to thread by index.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

#[cfg(all(test, ramjet_loom))]
use loom::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};
#[cfg(not(all(test, ramjet_loom)))]
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

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Both ends are gone; the last to go has seen (Acquire, in `Arc`) what the other wrote.
        let tail = self.tail.0.load(Ordering::Relaxed);
        let mut head = self.head.0.load(Ordering::Relaxed);
        while head != tail {
            drop(read(&self.slots[head & (self.slots.len() - 1)]));
            head = head.wrapping_add(1);
        }
    }
}

/// The end that puts items in.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    head_seen: usize,
    /// Not `Sync`.
    one_thread: PhantomData<Cell<()>>,
}

/// The end that takes items out.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
    /// Not `Sync`.
    one_thread: PhantomData<Cell<()>>,
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
        one_thread: PhantomData,
    };
    (
        producer,
        Consumer {
            shared,
            head: 0,
            tail_seen: 0,
            one_thread: PhantomData,
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

#[cfg(not(all(test, ramjet_loom)))]
fn write<T>(slot: &UnsafeCell<MaybeUninit<T>>, item: T) {
    // SAFETY: called by the producer for a slot outside `head..tail` only.
    unsafe { (*slot.get()).write(item) };
}

#[cfg(not(all(test, ramjet_loom)))]
fn read<T>(slot: &UnsafeCell<MaybeUninit<T>>) -> T {
    // SAFETY: called for a slot inside `head..tail` only, once for each item: by the consumer, or
    // by the queue's drop when there is no consumer any more.
    unsafe { (*slot.get()).assume_init_read() }
}

#[cfg(all(test, ramjet_loom))]
fn write<T>(slot: &UnsafeCell<MaybeUninit<T>>, item: T) {
    // SAFETY: as without loom, which checks it.
    slot.with_mut(|slot| unsafe { (*slot).write(item) });
}

#[cfg(all(test, ramjet_loom))]
fn read<T>(slot: &UnsafeCell<MaybeUninit<T>>) -> T {
    // SAFETY: as without loom, which checks it.
    slot.with_mut(|slot| unsafe { (*slot).assume_init_read() })
}

#[cfg(all(test, not(ramjet_loom)))]
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
        for consumer_first in [true, false] {
            let (mut producer, mut consumer) = ring(4);
            for _ in 0..7 {
                producer.try_push(item.clone()).expect("room");
                drop(consumer.pop());
            }
            for _ in 0..3 {
                producer.try_push(item.clone()).expect("room");
            }
            if consumer_first {
                drop(consumer);
                producer.try_push(item.clone()).expect("room"); // for nobody
                drop(producer);
            } else {
                drop(producer);
                assert!(consumer.pop().is_some());
                drop(consumer);
            }
            assert_eq!(std::sync::Arc::strong_count(&item), 1);
        }
    }

    #[test]
    fn indices_may_wrap_around() {
        let (mut producer, mut consumer) = ring(4);
        let start = usize::MAX - 1;
        producer.shared.head.0.store(start, Ordering::Relaxed);
        producer.shared.tail.0.store(start, Ordering::Relaxed);
        (producer.tail, producer.head_seen) = (start, start);
        (consumer.head, consumer.tail_seen) = (start, start);
        for round in 0..4 {
            for item in 0..4 {
                assert_eq!(producer.try_push(round * 4 + item), Ok(()));
            }
            assert_eq!((producer.len(), producer.try_push(99)), (4, Err(99)));
            for item in 0..4 {
                assert_eq!(consumer.pop(), Some(round * 4 + item));
            }
            assert!(consumer.is_empty() && producer.is_empty());
        }
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

#[cfg(all(test, ramjet_loom))]
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

    /// Ends that go at any time, on either side, with items in between.
    #[test]
    fn every_interleaving_of_the_end_drops_each_item_once() {
        loom::model(|| {
            let item = loom::sync::Arc::new(());
            let (mut producer, mut consumer) = ring(2);
            let mine = item.clone();
            let sender = loom::thread::spawn(move || {
                for _ in 0..3 {
                    drop(producer.try_push(mine.clone()));
                }
            });
            drop(consumer.pop());
            drop(consumer);
            sender.join().expect("the sender ends");
            assert_eq!(loom::sync::Arc::strong_count(&item), 1);
        });
    }
}
