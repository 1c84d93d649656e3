//! The wire under hyper: counts and limits what arrives of an answer, and shows hyper a server that answers only when asked.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::connection::Wire;

/// Bytes of an answer's beginning that errors quote.
const BEGINNING: usize = 60;

/// One exchange on a connection.
#[derive(Debug, Default)]
struct Exchange {
    /// The kernel has accepted the first bytes of this request or an earlier one.
    was_asked: bool,
    /// The reader that waits for that.
    reader: Option<Waker>,
    /// Most bytes that may arrive.
    most: usize,
    /// Bytes that have arrived.
    came: usize,
    /// Line feeds among them.
    lines: usize,
    /// Bytes of the body among them.
    body: usize,
    beginning: Vec<u8>,
    /// The kernel's error at the end of the connection.
    end: Option<i32>,
}

/// The state of an exchange, shared by the wire and its user.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Mutex<Exchange>>);

impl Meter {
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an exchange in which at most this many bytes may arrive.
    pub(super) fn begin(&self, most: usize) {
        let mut exchange = self.exchange();
        exchange.most = most;
        exchange.came = 0;
        exchange.lines = 0;
        exchange.body = 0;
        exchange.beginning.clear();
        exchange.end = None;
    }

    pub(super) fn is_exceeded(&self) -> bool {
        let exchange = self.exchange();
        exchange.came > exchange.most
    }

    /// Bytes that have arrived.
    pub(super) fn came(&self) -> usize {
        self.exchange().came
    }

    /// Line feeds that have arrived.
    pub(super) fn lines(&self) -> usize {
        self.exchange().lines
    }

    /// Counts bytes as part of the body.
    pub(super) fn count_body(&self, bytes: usize) {
        self.exchange().body += bytes;
    }

    /// Bytes that have arrived, without those of the body.
    pub(super) fn besides_body(&self) -> usize {
        let exchange = self.exchange();
        exchange.came.saturating_sub(exchange.body)
    }

    /// The answer's first bytes; empty if nothing arrived.
    pub(super) fn beginning(&self) -> Vec<u8> {
        self.exchange().beginning.clone()
    }

    /// The kernel's error at the end of the connection.
    pub(super) fn end(&self) -> Option<io::Error> {
        self.exchange().end.map(io::Error::from_raw_os_error)
    }
}

/// A connection whose server seems to answer only when asked, and to hang up in good order.
pub(super) struct Metered {
    wire: Box<dyn Wire>,
    meter: Meter,
    is_tls: bool,
}

impl Metered {
    pub(super) fn new(wire: Box<dyn Wire>, meter: Meter, is_tls: bool) -> Self {
        Metered { wire, meter, is_tls }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        {
            let mut exchange = self.meter.exchange();
            if !exchange.was_asked {
                // Some servers answer on accept (inetd, socat); hyper rejects that as a breach of the protocol.
                exchange.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.wire).poll_read(cx, buf) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
            // What arrived before counts; where the head gives the body's length, hyper notices a cut. Under TLS a body
            // without a length is cut as well (RFC 9112 section 9.8).
            Poll::Ready(Err(error)) if is_end(&error) && !self.is_tls => {
                self.meter.exchange().end = error.raw_os_error()
            }
            failed @ Poll::Ready(Err(_)) => return failed,
        }
        let came = &buf.filled()[before..];
        let mut exchange = self.meter.exchange();
        let room = BEGINNING - exchange.beginning.len();
        exchange.beginning.extend(came.iter().take(room));
        exchange.came += came.len();
        exchange.lines += memchr::memchr_iter(b'\n', came).count();
        if exchange.came > exchange.most {
            return Poll::Ready(Err(io::Error::other("more than may come")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = match Pin::new(&mut self.wire).poll_write(cx, data) {
            Poll::Pending => return Poll::Pending,
            // A server that refuses the rest of a request may have answered it nevertheless.
            Poll::Ready(Err(error)) if is_end(&error) => {
                self.meter.exchange().end = error.raw_os_error();
                Ok(data.len())
            }
            Poll::Ready(written) => written,
        };
        let mut exchange = self.meter.exchange();
        exchange.was_asked = true;
        if let Some(reader) = exchange.reader.take() {
            reader.wake();
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.wire).poll_flush(cx) {
            Poll::Ready(Err(error)) if is_end(&error) => Poll::Ready(Ok(())),
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
}
