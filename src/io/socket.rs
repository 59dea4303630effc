//! Sockets outside the ring: listening, options, addresses.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

/// Connections the kernel completes before we accept them. Go asks for the system's limit too.
const BACKLOG: i32 = 4096;

/// Listens on `address` with address reuse, so that a restart finds its port free (PROC-2).
///
/// # Errors
/// What the kernel says, most often that the address is in use.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?; // std sets SO_REUSEADDR on Unix
    // SAFETY: a second listen on our own socket only changes its backlog.
    if unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(listener)
}

/// Prepares an accepted socket: small messages leave at once.
pub(super) fn prepare(socket: &OwnedFd) {
    let on: libc::c_int = 1;
    // SAFETY: pointer and length describe `on`. Failure costs latency, not correctness.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

/// Ends both directions; pending completions of the socket come back at once.
pub(super) fn shutdown(socket: &OwnedFd) {
    // SAFETY: no pointers; failing (peer gone already) is as good.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}
