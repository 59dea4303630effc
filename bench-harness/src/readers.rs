//! Subscribers and the threads that read for them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;

use crate::error::{BenchError, io_error};
use crate::measure::Progress;
use crate::wire::{Connection, READ_TIMEOUT, STALL_MAX, Scanner, read_buffer};

/// Threads that read for all subscribers: more would take the server's cores.
const READERS_MAX: usize = 4;

/// What publishers have sent, known once all of them have finished.
pub struct Sent {
    by_subject: Vec<AtomicU64>,
    publishing: AtomicUsize,
}

impl Sent {
    /// To so many subjects by so many publishers.
    pub fn new(subjects: usize, publishers: usize) -> Self {
        Self {
            by_subject: (0..subjects).map(|_| AtomicU64::new(0)).collect(),
            publishing: AtomicUsize::new(publishers),
        }
    }

    /// One publisher has sent its last message.
    pub fn finish(&self, subject: usize, count: u64) {
        self.by_subject[subject].fetch_add(count, Ordering::Relaxed);
        self.publishing.fetch_sub(1, Ordering::Release);
    }

    fn total(&self, subject: usize) -> Option<u64> {
        (self.publishing.load(Ordering::Acquire) == 0)
            .then(|| self.by_subject[subject].load(Ordering::Relaxed))
    }
}

/// One subscription and what came of it.
pub struct Subscriber {
    connection: Connection,
    scanner: Scanner,
    subject: usize,
    received: u64,
    done: bool,
}

impl Subscriber {
    /// Of `subject`, whose messages `scanner` finds.
    pub fn new(connection: Connection, scanner: Scanner, subject: usize) -> Self {
        Self {
            connection,
            scanner,
            subject,
            received: 0,
            done: false,
        }
    }

    /// Its connection's number.
    pub fn id(&self) -> u64 {
        self.connection.id()
    }

    /// Its connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn receive(&mut self, buffer: &mut [u8], each: impl FnMut(&[u8])) -> Result<u64, BenchError> {
        let found = self.connection.receive(&mut self.scanner, buffer, each)?;
        self.received += found.messages;
        Ok(found.messages)
    }

    /// Finishes when all has come that was sent, and nothing more comes before a PONG.
    fn finish(&mut self, expected: u64, buffer: &mut [u8]) -> Result<(), BenchError> {
        if self.done || self.received < expected {
            return Ok(());
        }
        self.received += self.connection.barrier(&mut self.scanner, buffer)?;
        self.done = true;
        if self.received == expected {
            return Ok(());
        }
        Err(BenchError::Miscounted {
            role: "subscriber",
            received: self.received,
            expected,
        })
    }
}

/// One thread's subscribers.
#[derive(Default)]
pub struct Reader {
    subscribers: Vec<Subscriber>,
}

impl Reader {
    /// Deals `subscribers` to at most [`READERS_MAX`] readers.
    pub fn share(subscribers: Vec<Subscriber>) -> Vec<Self> {
        let count = subscribers.len().min(READERS_MAX);
        let mut readers: Vec<Self> = (0..count).map(|_| Self::default()).collect();
        for (index, subscriber) in subscribers.into_iter().enumerate() {
            readers[index % count].subscribers.push(subscriber);
        }
        readers
    }

    /// Reads until every subscriber has what was sent to it, showing each message to `each`;
    /// returns the messages of all.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] and [`BenchError::Miscounted`].
    pub fn run(
        &mut self,
        progress: &Progress,
        sent: &Sent,
        mut each: impl FnMut(&[u8]),
    ) -> Result<u64, BenchError> {
        let mut ready = Readiness::new(&self.subscribers)?;
        let mut buffer = read_buffer();
        let mut last_progress = Instant::now();
        loop {
            let mut messages = 0;
            for &index in ready.wait()? {
                messages += self.subscribers[index].receive(&mut buffer, &mut each)?;
            }
            progress.add(messages);
            if messages > 0 {
                last_progress = Instant::now();
            }
            if !progress.is_over() {
                continue;
            }
            for subscriber in &mut self.subscribers {
                if let Some(expected) = sent.total(subscriber.subject) {
                    subscriber.finish(expected, &mut buffer)?;
                }
            }
            if self.subscribers.iter().all(|subscriber| subscriber.done) {
                return Ok(self
                    .subscribers
                    .iter()
                    .map(|subscriber| subscriber.received)
                    .sum());
            }
            if last_progress.elapsed() > STALL_MAX {
                return Err(self.stalled(sent));
            }
        }
    }

    fn stalled(&self, sent: &Sent) -> BenchError {
        let waiting = self
            .subscribers
            .iter()
            .filter(|subscriber| !subscriber.done);
        let (received, expected) = waiting.fold((0, 0), |(received, expected), subscriber| {
            let total = sent.total(subscriber.subject).unwrap_or(0);
            (received + subscriber.received, expected + total)
        });
        BenchError::Stalled {
            role: "subscriber",
            seconds: STALL_MAX.as_secs(),
            received,
            expected,
        }
    }
}
/// Which subscribers have bytes to read. One alone is simply read, blocking: that saves a system
/// call per read.
struct Readiness {
    epoll: Option<rustix::fd::OwnedFd>,
    events: Vec<epoll::Event>,
    indexes: Vec<usize>,
}

impl Readiness {
    fn new(subscribers: &[Subscriber]) -> Result<Self, BenchError> {
        let events = Vec::with_capacity(subscribers.len());
        if subscribers.len() == 1 {
            return Ok(Self {
                epoll: None,
                events,
                indexes: vec![0],
            });
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| io_error("create an epoll")(errno.into()))?;
        for (index, subscriber) in subscribers.iter().enumerate() {
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(
                &epoll,
                subscriber.connection.stream(),
                data,
                epoll::EventFlags::IN,
            )
            .map_err(|errno| io_error("watch a connection")(errno.into()))?;
        }
        Ok(Self {
            epoll: Some(epoll),
            events,
            indexes: Vec::new(),
        })
    }

    /// Indexes of the subscribers to read, none after [`READ_TIMEOUT`].
    fn wait(&mut self) -> Result<&[usize], BenchError> {
        if let Some(epoll) = &self.epoll {
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(READ_TIMEOUT.subsec_nanos()),
            };
            self.events.clear();
            match epoll::wait(epoll, spare_capacity(&mut self.events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => (),
                Err(errno) => return Err(io_error("wait for messages")(errno.into())),
            }
            self.indexes.clear();
            self.indexes
                .extend(self.events.iter().map(|event| event.data.u64() as usize));
        }
        Ok(&self.indexes)
    }
}
