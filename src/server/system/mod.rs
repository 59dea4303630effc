//! The server's own services: what it answers as a client of itself, on a thread of its own.

pub mod services;
