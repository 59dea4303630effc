//! One-way scenarios: publishers on some subjects, subscribers on some, and at the end every
//! subscriber must have exactly what was sent to its subject.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;

use crate::error::{BenchError, io_error};
use crate::measure::{Observed, Progress, Window};
use crate::server::Server;
use crate::wire::{Connection, READ_TIMEOUT, STALL_MAX, Scanner, publish_block, read_buffer};

/// Threads that read for all subscribers: more would take the server's cores.
const READERS_MAX: usize = 4;

/// Who publishes where and who listens where; subjects are numbers.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Subject of each publisher; each has a thread.
    pub publishers: Vec<usize>,
    /// Subject of each subscriber; they share at most [`READERS_MAX`] threads.
    pub subscribers: Vec<usize>,
    /// Payload bytes.
    pub size: usize,
}

impl Flow {
    /// Runs it against `server`. Counts deliveries; without subscribers, publishes.
    ///
    /// # Errors
    /// Any: above all [`BenchError::Stalled`] and [`BenchError::Miscounted`] when received is not
    /// sent.
    pub fn run(&self, server: &Server, window: Window) -> Result<Observed, BenchError> {
        let address = server.address();
        let progress = Progress::default();
        let sent = Sent::new(self.subject_count(), self.publishers.len());
        let mut readers = self.open_readers(address)?;
        let counts_publishes = readers.is_empty();
        let mut publishers = Vec::new();
        for &subject in &self.publishers {
            publishers.push((subject, Connection::open(address, "publisher", None)?));
        }
        let start = Barrier::new(publishers.len() + 1);
        thread::scope(|scope| {
            let reading: Vec<_> = readers
                .iter_mut()
                .map(|reader| scope.spawn(|| reader.run(&progress, &sent)))
                .collect();
            let publishing: Vec<_> = publishers
                .into_iter()
                .map(|(subject, connection)| {
                    let (progress, sent, start) = (&progress, &sent, &start);
                    scope.spawn(move || {
                        start.wait();
                        let counted = counts_publishes.then_some(progress);
                        let outcome = publish(connection, subject, self.size, progress, counted);
                        sent.finish(subject, *outcome.as_ref().unwrap_or(&0));
                        outcome
                    })
                })
                .collect();
            start.wait();
            let observed = progress.observe(window, server);
            let mut published = 0;
            let mut outcome = Ok(());
            for thread in publishing {
                match thread
                    .join()
                    .unwrap_or(Err(BenchError::Panicked { role: "publisher" }))
                {
                    Ok(count) => published += count,
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            let mut received = 0;
            for thread in reading {
                match thread
                    .join()
                    .unwrap_or(Err(BenchError::Panicked { role: "subscriber" }))
                {
                    Ok(count) => received += count,
                    // A subscriber's end says more than the publisher it blocked.
                    Err(error) => outcome = Err(error),
                }
            }
            outcome?;
            let verified = if counts_publishes {
                published
            } else {
                received
            };
            Ok(Observed {
                verified,
                ..observed?
            })
        })
    }

    fn subject_count(&self) -> usize {
        self.publishers
            .iter()
            .chain(&self.subscribers)
            .max()
            .map_or(0, |&last| last + 1)
    }

    fn open_readers(&self, address: SocketAddr) -> Result<Vec<Reader>, BenchError> {
        let count = self.subscribers.len().min(READERS_MAX);
        let mut readers: Vec<Reader> = (0..count).map(|_| Reader::default()).collect();
        for (index, &subject) in self.subscribers.iter().enumerate() {
            let connection = Connection::open(address, "subscriber", Some(&name(subject)))?;
            let head = format!("MSG {} 1 {}\r\n", name(subject), self.size);
            let scanner = Scanner::new(&head, head.len() + self.size + 2);
            let subscriber = Subscriber {
                connection,
                scanner,
                subject,
                received: 0,
                done: false,
            };
            readers[index % count].subscribers.push(subscriber);
        }
        Ok(readers)
    }
}

fn name(subject: usize) -> String {
    format!("bench.{subject}")
}

/// What publishers have sent, known once all of them have finished.
struct Sent {
    by_subject: Vec<AtomicU64>,
    publishing: AtomicUsize,
}

impl Sent {
    fn new(subjects: usize, publishers: usize) -> Self {
        Self {
            by_subject: (0..subjects).map(|_| AtomicU64::new(0)).collect(),
            publishing: AtomicUsize::new(publishers),
        }
    }

    fn finish(&self, subject: usize, count: u64) {
        self.by_subject[subject].fetch_add(count, Ordering::Relaxed);
        self.publishing.fetch_sub(1, Ordering::Release);
    }

    fn total(&self, subject: usize) -> Option<u64> {
        (self.publishing.load(Ordering::Acquire) == 0)
            .then(|| self.by_subject[subject].load(Ordering::Relaxed))
    }
}

/// Sends blocks until the window is over and the server has taken all of them; returns the number
/// of messages.
fn publish(
    mut connection: Connection,
    subject: usize,
    size: usize,
    progress: &Progress,
    counted: Option<&Progress>,
) -> Result<u64, BenchError> {
    let (block, count) = publish_block(&name(subject), size);
    let mut sent = 0;
    while !progress.is_over() {
        connection.write(&block)?;
        sent += count;
        if let Some(counted) = counted {
            counted.add(count);
        }
    }
    connection.barrier(&mut Scanner::control_only(), &mut read_buffer())?;
    Ok(sent)
}

struct Subscriber {
    connection: Connection,
    scanner: Scanner,
    subject: usize,
    received: u64,
    done: bool,
}

impl Subscriber {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<u64, BenchError> {
        let found = self.connection.receive(&mut self.scanner, buffer, |_| ())?;
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
struct Reader {
    subscribers: Vec<Subscriber>,
}

impl Reader {
    /// Reads until every subscriber has what was sent to it; returns the messages of all.
    fn run(&mut self, progress: &Progress, sent: &Sent) -> Result<u64, BenchError> {
        let mut ready = Readiness::new(&self.subscribers)?;
        let mut buffer = read_buffer();
        let mut last_progress = Instant::now();
        loop {
            let mut messages = 0;
            for &index in ready.wait()? {
                messages += self.subscribers[index].receive(&mut buffer)?;
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
