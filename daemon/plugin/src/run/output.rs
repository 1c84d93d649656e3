//! Standard output and error of a plugin: a stream that takes everything at once and never makes the plugin wait. What is
//! kept of it is up to a [`Keep`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// How much a plugin may hand over at once, in bytes; it may do so again at once.
const MAX_WRITE: usize = 64 << 10;

/// What becomes of printed output. Bounds what it keeps, whatever comes.
pub(crate) trait Keep: Send + Sync + 'static {
    fn keep(&self, data: &[u8]);
}

/// The plugin's side of a [`Keep`].
pub(crate) struct Output<K>(Arc<K>);

impl<K> Output<K> {
    pub(crate) fn to(keep: Arc<K>) -> Self {
        Output(keep)
    }
}

impl<K> Clone for Output<K> {
    fn clone(&self) -> Self {
        Output(Arc::clone(&self.0))
    }
}

impl<K: Keep> IsTerminal for Output<K> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<K: Keep> StdoutStream for Output<K> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl<K: Keep> Pollable for Output<K> {
    async fn ready(&mut self) {}
}

impl<K: Keep> OutputStream for Output<K> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

impl<K: Keep> AsyncWrite for Output<K> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.keep(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
