//! One connection: frames in, requests handled side by side, frames out.

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use keyward_wire::{Request, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, split};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::connections::Entry;
use crate::engine::{Engine, Reply};
use crate::id::Id;

/// What bounds a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Requests under way.
    pub(super) requests: usize,
    /// Silence; `None`: for ever.
    pub(super) idle: Option<Duration>,
    /// For the peer to take a frame.
    pub(super) write: Duration,
    /// Bytes of the requests under way; one more may be read beyond.
    pub(super) bytes: usize,
}

/// What all connections share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) engine: &'a Engine,
    /// KiB, for requests that are long.
    pub(super) memory: &'a Semaphore,
}

/// A request, and the memory that it takes until it is answered.
struct Taken<'a> {
    request: Request,
    bytes: usize,
    _memory: Option<SemaphorePermit<'a>>,
}

/// Serves a connection until the peer closes it, breaks the rules, does not
/// take its answers, is revoked, or the service stops.
///
/// All of it is one task: what a request waits for is a worker, and a way
/// through other tasks would cost it more than the work of an EC signature.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite,
    shared: Shared<'_>,
    identity: Id,
    entry: &Entry,
    bounds: Bounds,
    mut draining: watch::Receiver<bool>,
) {
    let (mut reader, writer) = split(stream);
    let mut writer = Writer::new(writer, bounds.write, draining.clone());
    let mut handlers = FuturesUnordered::new();
    let mut request = Box::pin(next_request(&mut reader, bounds.idle, shared.memory));
    let mut open = true;
    let mut bytes = 0;
    while open || !handlers.is_empty() {
        tokio::select! {
            biased;
            () = entry.closed() => return,
            Some((reply, length)) = handlers.next() => {
                bytes -= length;
                // While the peer does not take this answer, no other request of
                // this connection is read: nothing grows.
                if writer.send(reply).await.is_err() {
                    return;
                }
                while let Some(Some((reply, length))) = handlers.next().now_or_never() {
                    bytes -= length;
                    if writer.send(reply).await.is_err() {
                        return;
                    }
                }
                if writer.flush().await.is_err() {
                    return;
                }
            }
            () = begins(&mut draining), if open => open = false,
            read = &mut request,
                if open && handlers.len() < bounds.requests && bytes < bounds.bytes => match read {
                Ok(Some((reader, taken))) => {
                    bytes += taken.bytes;
                    handlers.push(handle(shared.engine, identity, taken));
                    request = Box::pin(next_request(reader, bounds.idle, shared.memory));
                }
                Ok(None) => open = false,
                Err(reason) => {
                    tracing::info!(%identity, reason, "a connection is closed");
                    open = false;
                }
            },
        }
    }
    writer.shut_down().await;
}

/// Waits for the drain to begin.
async fn begins(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Handles a request; its panic is an answer like others. Tells the request's
/// length again.
async fn handle(engine: &Engine, identity: Id, taken: Taken<'_>) -> (Reply, usize) {
    let id = taken.request.id;
    let handled = AssertUnwindSafe(engine.handle(identity, taken.request)).catch_unwind().await;
    // What the future shared is behind locks that mind no poison.
    (handled.unwrap_or_else(|_| Reply::panicked(id)), taken.bytes)
}

/// Tells a peer why its connection ends.
pub(super) async fn refuse(stream: impl AsyncRead + AsyncWrite, mut reply: Reply, bounds: Bounds) {
    let (_, mut writer) = split(stream);
    while let Some(response) = reply.next_frame() {
        let Ok(encoded) = frame::encode(&response) else { return };
        if !matches!(timeout(bounds.write, writer.write_all(&encoded)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(bounds.write, writer.shutdown()).await;
}

/// The next request, and the reader back; `None` at the end of the stream.
async fn next_request<'a, 'm, R: AsyncRead + Unpin>(
    reader: &'a mut R,
    idle: Option<Duration>,
    memory: &'m Semaphore,
) -> Result<Option<(&'a mut R, Taken<'m>)>, String> {
    let mut header = [0; frame::HEADER];
    let first = reader.read(&mut header[..1]);
    let first = match idle {
        Some(idle) => timeout(idle, first).await.map_err(|_| "it was idle".to_owned())?,
        None => first.await,
    };
    match first {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        // A process that ends says no farewell, and between two frames nothing
        // is lost by that.
        Err(error) if is_an_end(&error) => {
            tracing::debug!(%error, "a peer went away");
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    }
    let rest = async {
        reader.read_exact(&mut header[1..]).await.map_err(|error| error.to_string())?;
        let length = frame::length(header).map_err(|error| error.to_string())?;
        // What is short is bounded by the number of connections, and never has
        // to wait for what is long.
        let kib = u32::try_from(length / 1024).unwrap_or(u32::MAX);
        let memory = match length {
            0..=SHORT => None,
            _ => Some(memory.acquire_many(kib).await.map_err(|error| error.to_string())?),
        };
        // A request may carry a PIN.
        let mut body = Zeroizing::new(vec![0; length]);
        reader.read_exact(&mut body).await.map_err(|error| error.to_string())?;
        let request = frame::decode(&body).map_err(|error| error.to_string())?;
        Ok::<_, String>(Taken { request, bytes: length, _memory: memory })
    };
    let taken =
        timeout(FRAME_DEADLINE, rest).await.map_err(|_| "a frame came too slowly".to_owned())??;
    Ok(Some((reader, taken)))
}

fn is_an_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// Writes answers, each within its deadline.
struct Writer<W> {
    inner: BufWriter<W>,
    deadline: Duration,
    draining: watch::Receiver<bool>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    fn new(writer: W, deadline: Duration, draining: watch::Receiver<bool>) -> Self {
        Self { inner: BufWriter::with_capacity(WRITE_BUFFER, writer), deadline, draining }
    }

    /// Writes the frames of an answer; they may wait for [`Writer::flush`].
    async fn send(&mut self, mut reply: Reply) -> io::Result<()> {
        while let Some(mut response) = reply.next_frame() {
            response.draining = *self.draining.borrow();
            let encoded = frame::encode(&response).map_err(|error| {
                // Handlers keep to the limit; a peer must not wait for this one.
                tracing::error!(%error, "an answer that is no frame");
                io::Error::other(error)
            })?;
            let encoded = Zeroizing::new(encoded);
            timeout(self.deadline, self.inner.write_all(&encoded)).await??;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        timeout(self.deadline, self.inner.flush()).await?
    }

    async fn shut_down(&mut self) {
        // The peer may be gone already.
        let _ = timeout(self.deadline, self.inner.shutdown()).await;
    }
}

const WRITE_BUFFER: usize = 16 << 10;
/// Of a request, in bytes: nearly all are shorter.
const SHORT: usize = 16 << 10;
/// For a frame to come whole, once its first byte is there.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// Bytes, and then the end that TLS reports when nobody said farewell.
    struct Abrupt(Vec<u8>);

    impl AsyncRead for Abrupt {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let count = buffer.remaining().min(self.0.len());
            buffer.put_slice(&self.0.drain(..count).collect::<Vec<_>>());
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn an_end_between_two_frames_is_an_end_and_inside_one_a_fault() {
        let whole = frame::encode(&Request { id: 7, ..Request::default() }).unwrap();
        let half = whole[..whole.len() - 1].to_vec();
        let memory = Semaphore::new(0);
        let mut reader = Abrupt(whole);
        let (reader, taken) = next_request(&mut reader, None, &memory).await.unwrap().unwrap();
        assert_eq!(taken.request.id, 7);
        assert!(next_request(reader, None, &memory).await.unwrap().is_none());
        assert!(next_request(&mut Abrupt(half), None, &memory).await.is_err());
    }
}
