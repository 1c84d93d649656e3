//! A channel whose receiving end can be polled: `std::sync::mpsc` with an eventfd.
//!
//! For threads that wait for sockets and for other threads in one `poll` call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, mpsc};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Creates an unbounded channel. Sending never blocks.
///
/// # Errors
/// Out of descriptors.
pub fn channel<T>() -> io::Result<(Notifier<T>, Receiver<T>)> {
    let wakeup = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    Ok((Notifier { sender: Some(sender), wakeup: Arc::clone(&wakeup) }, Receiver { receiver, wakeup }))
}

/// The other end of the channel is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the channel is gone")]
pub struct Closed;

/// The sending end; clones send into the same channel.
#[derive(Debug)]
pub struct Notifier<T> {
    /// `None` only while dropping: the sender must be gone before the receiver is woken to see it.
    sender: Option<mpsc::Sender<T>>,
    wakeup: Arc<EventFd>,
}

impl<T> Notifier<T> {
    /// Queues `value` and makes the receiver's descriptor readable. Never blocks.
    ///
    /// # Errors
    /// [`Closed`] if the receiver was dropped.
    pub fn send(&self, value: T) -> Result<(), Closed> {
        let sender = self.sender.as_ref().ok_or(Closed)?;
        sender.send(value).map_err(|_| Closed)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // It fails only if the counter is at its maximum, and then the descriptor is readable already.
        let _ = self.wakeup.write(1);
    }
}

impl<T> Clone for Notifier<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), wakeup: Arc::clone(&self.wakeup) }
    }
}

impl<T> Drop for Notifier<T> {
    fn drop(&mut self) {
        self.sender = None;
        self.wake();
    }
}

/// The receiving end. Its descriptor is readable when something was sent or the last [`Notifier`] was dropped.
#[derive(Debug)]
pub struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
    wakeup: Arc<EventFd>,
}

impl<T> Receiver<T> {
    /// Takes everything that is queued, in order. The descriptor is unreadable until the next send. Never blocks.
    ///
    /// # Errors
    /// [`Closed`] if nothing is queued and all notifiers are gone.
    pub fn drain(&self) -> Result<Vec<T>, Closed> {
        // Before the queue, not after it: a value sent in between then wakes us once too often, instead of never.
        let _ = self.wakeup.read();
        let mut values = Vec::new();
        loop {
            match self.receiver.try_recv() {
                Ok(value) => values.push(value),
                Err(mpsc::TryRecvError::Empty) => return Ok(values),
                Err(mpsc::TryRecvError::Disconnected) if values.is_empty() => return Err(Closed),
                Err(mpsc::TryRecvError::Disconnected) => {
                    // Wake the caller once more, so that it learns of the end.
                    let _ = self.wakeup.write(1);
                    return Ok(values);
                }
            }
        }
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn readable<T>(receiver: &Receiver<T>) -> bool {
        let mut descriptors = [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn descriptor_is_readable_exactly_while_something_is_queued() {
        let (notifier, receiver) = channel().unwrap();
        assert!(!readable(&receiver));
        notifier.send(1).unwrap();
        notifier.clone().send(2).unwrap();
        assert!(readable(&receiver));
        assert_eq!(receiver.drain(), Ok(vec![1, 2]));
        assert!(!readable(&receiver));
        assert_eq!(receiver.drain(), Ok(vec![]));
    }

    #[test]
    fn dropped_notifier_wakes_the_receiver_which_gets_what_was_sent() {
        let (notifier, receiver) = channel().unwrap();
        notifier.send(7).unwrap();
        drop(notifier);
        assert_eq!(receiver.drain(), Ok(vec![7]));
        assert!(readable(&receiver));
        assert_eq!(receiver.drain(), Err(Closed));
    }

    #[test]
    fn sending_to_a_dropped_receiver_is_an_error() {
        let (notifier, receiver) = channel().unwrap();
        drop(receiver);
        assert_eq!(notifier.send(1), Err(Closed));
    }
}
