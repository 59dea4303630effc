//! A listening socket that the ring watches without holding it.
//!
//! What a ring holds lives on after a kill for as long as the kernel takes to end the ring, about
//! 10 ms: a server started again at once would not get its port, and who connected then would be
//! taken by nobody. So the ring watches an epoll descriptor, which does not keep what it watches.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A listening socket and the bell that says that somebody is there.
pub(super) struct Door {
    listener: TcpListener,
    bell: OwnedFd,
}

impl Door {
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
        let bell = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut wanted = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 0,
        };
        // SAFETY: both descriptors are ours, and `wanted` lives through the call.
        let added = unsafe {
            libc::epoll_ctl(
                bell.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                listener.as_raw_fd(),
                &raw mut wanted,
            )
        };
        match added {
            0 => Ok(Self { listener, bell }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// What is readable while somebody waits.
    pub fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Lets the next one in; `None` when nobody waits.
    ///
    /// # Errors
    /// For want of something, such as descriptors.
    pub fn accept(&self) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
        loop {
            return match self.listener.accept() {
                Ok((socket, address)) => Ok(Some((socket.into(), address))),
                // Has gone again while it waited.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn nobody_waits_until_somebody_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door::new(listener).unwrap();
        assert!(door.accept().unwrap().is_none());
        let client = TcpStream::connect(address).unwrap();
        let (_, peer) = door.accept().unwrap().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(door.accept().unwrap().is_none());
    }
}
