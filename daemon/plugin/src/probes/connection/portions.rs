//! Reading from a peer in portions.
//!
//! Parsers and TLS read for as long as data is there, some of them byte by byte. Against a peer that always has more to
//! send they would never yield their thread. So after each portion the reader has to wait for its next turn, as if the peer
//! had nothing more to send at the moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read in one turn at most.
const MOST: usize = 1 << 20;

/// Bytes that are read in one turn however long it takes.
const PORTION: usize = 16 << 10;

/// A turn ends after this time, once its portion was read. Most readers reach [`MOST`] within it.
const TURN: Duration = Duration::from_millis(2);

/// Bytes that one read counts for at least: a peer may send single bytes.
const LEAST: usize = 64;

/// A connection of any kind.
pub(in crate::probes) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection that is read in portions.
pub(in crate::probes) struct Portions<S> {
    inner: S,
    /// Bytes read in this turn.
    read: usize,
    /// Start of this turn.
    since: Option<Instant>,
}

impl<S> Portions<S> {
    pub(in crate::probes) fn new(inner: S) -> Self {
        Portions { inner, read: 0, since: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Portions<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.read >= MOST || self.read >= PORTION && since.elapsed() >= TURN {
            (self.read, self.since) = (0, None);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut space = [0; 8192];
        let room = space.len().min(buf.remaining());
        let mut part = ReadBuf::new(&mut space[..room]);
        match Pin::new(&mut self.inner).poll_read(cx, &mut part) {
            Poll::Ready(Ok(())) => {}
            // A reader that has to wait begins a new portion.
            Poll::Pending => {
                (self.read, self.since) = (0, None);
                return Poll::Pending;
            }
            failed @ Poll::Ready(Err(_)) => return failed,
        }
        let read = part.filled();
        self.read += read.len().max(LEAST);
        buf.put_slice(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Portions<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Always has more.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let room = buf.initialize_unfilled().len();
            buf.advance(room);
            Poll::Ready(Ok(()))
        }
    }

    /// The bytes read in one turn, with `asked` bytes requested each time.
    fn turn(portions: &mut Portions<Endless>, asked: usize) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let mut total = 0;
        loop {
            let mut space = vec![0; asked];
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut *portions).poll_read(&mut context, &mut buf) {
                Poll::Pending => return total,
                Poll::Ready(read) => read.map(|()| total += buf.filled().len()).unwrap(),
            }
        }
    }

    #[test]
    fn peer_that_always_has_more_is_read_in_turns() {
        let mut portions = Portions::new(Endless);
        for (asked, most) in [(1 << 20, MOST), (1 << 20, MOST), (1, MOST / LEAST)] {
            let read = turn(&mut portions, asked);
            assert!((PORTION / LEAST..=most).contains(&read), "{asked} at a time: {read}");
        }
    }
}
