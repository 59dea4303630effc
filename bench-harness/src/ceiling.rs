//! The generator's own limit: its writer against a peer that throws away what it gets, its reader
//! against a peer that sends ready-made messages. A server that comes near these figures is not
//! what was measured.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{BenchError, io_error};
use crate::wire::{Connection, Scanner, publish_block, read_buffer};

const SUBJECT: &str = "bench.0";

/// Prints a line for each payload size.
///
/// # Errors
/// [`BenchError::Io`].
pub fn run(length: Duration) -> Result<(), BenchError> {
    println!("one writer and one reader of the generator, each against a peer that does nothing");
    for size in [16, 128, 1024] {
        let written = write_into_nothing(size, length)? / 1e6;
        let read = read_from_a_stream(size, length)? / 1e6;
        println!("{size:>6} B  writes {written:>7.2} M messages/s, reads {read:>7.2} M messages/s");
    }
    Ok(())
}

fn write_into_nothing(size: usize, length: Duration) -> Result<f64, BenchError> {
    let (mut ours, mut theirs) = connected()?;
    let (block, count) = publish_block(SUBJECT, size);
    let swallowing = thread::spawn(move || {
        let mut buffer = read_buffer();
        while matches!(theirs.read(&mut buffer), Ok(read) if read > 0) {}
    });
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < length {
        ours.write_all(&block).map_err(io_error("write"))?;
        sent += count;
    }
    let rate = sent as f64 / started.elapsed().as_secs_f64();
    drop(ours);
    swallowing
        .join()
        .map_err(|_| BenchError::Panicked { role: "peer" })?;
    Ok(rate)
}

fn read_from_a_stream(size: usize, length: Duration) -> Result<f64, BenchError> {
    let (ours, mut theirs) = connected()?;
    let head = format!("MSG {SUBJECT} 1 {size}\r\n");
    let mut message = head.clone().into_bytes();
    message.resize(head.len() + size, b'x');
    message.extend_from_slice(b"\r\n");
    let mut scanner = Scanner::new(&head, message.len());
    let block = message.repeat((64 * 1024 / message.len()).max(1));
    let pouring = thread::spawn(move || while theirs.write_all(&block).is_ok() {});
    let mut connection = Connection::adopt(ours, "reader");
    let mut buffer = read_buffer();
    let started = Instant::now();
    let mut received = 0;
    while started.elapsed() < length {
        let found = connection.receive(&mut scanner, &mut buffer, |_| ())?;
        received += found.messages;
    }
    let rate = received as f64 / started.elapsed().as_secs_f64();
    drop(connection);
    pouring
        .join()
        .map_err(|_| BenchError::Panicked { role: "peer" })?;
    Ok(rate)
}

fn connected() -> Result<(TcpStream, TcpStream), BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(io_error("find a free port"))?;
    let address = listener
        .local_addr()
        .map_err(io_error("find a free port"))?;
    let ours = TcpStream::connect(address).map_err(io_error("connect"))?;
    let (theirs, _) = listener.accept().map_err(io_error("accept"))?;
    Ok((ours, theirs))
}
