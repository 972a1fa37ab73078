//! One connection: frames in, requests handled side by side, frames out.

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use keyward_wire::request::Operation;
use keyward_wire::{Request, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, split};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{sleep_until, timeout};
use zeroize::Zeroizing;

use super::connections::Entry;
use super::upload::{Added, Room, Share, Upload};
use crate::engine::{Engine, Reply};
use crate::id::Id;
use crate::workers::later;

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
    /// For inputs that are longer than a frame.
    pub(super) room: &'a Room,
}

/// A request, and the memory that it takes until it is answered.
struct Taken<'a> {
    request: Request,
    bytes: usize,
    _memory: Option<SemaphorePermit<'a>>,
}

/// What there is to do for a connection.
#[expect(clippy::large_enum_variant, reason = "nearly all are of the largest kind")]
enum Job<'a> {
    Request(Taken<'a>),
    /// Is the input wanted that would come?
    Head(Box<Upload<'a>>),
    /// A long request whose input has come.
    Whole(Box<Request>, Share<'a>),
    /// Nothing but to answer.
    Say(Reply),
}

/// What came of it.
struct Done<'a> {
    reply: Reply,
    /// The length of the request.
    bytes: usize,
    /// The input that may come now.
    begins: Option<Box<Upload<'a>>>,
    /// Is given back when the answer is on its way.
    held: Option<Share<'a>>,
}

/// The long input of a connection: one at a time.
enum Incoming<'a> {
    None,
    /// The engine looks at the head.
    Asked,
    Coming(Box<Upload<'a>>),
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
    let mut incoming = Incoming::None;
    let mut open = true;
    let mut bytes = 0;
    while open || !handlers.is_empty() {
        tokio::select! {
            biased;
            () = entry.closed() => return,
            done = handlers.next(), if !handlers.is_empty() => {
                let mut next: Option<Done<'_>> = done;
                while let Some(mut done) = next {
                    bytes -= done.bytes;
                    incoming.settle(&mut done, open);
                    // While the peer does not take this answer, no other request
                    // of this connection is read: nothing grows.
                    if writer.send(done.reply).await.is_err() {
                        return;
                    }
                    drop(done.held);
                    next = handlers.next().now_or_never().flatten();
                }
                if writer.flush().await.is_err() {
                    return;
                }
            }
            () = begins(&mut draining), if open => {
                open = false;
                if let Some(reply) = incoming.give_up(STOPS) {
                    handlers.push(carry_out(shared.engine, identity, Job::Say(reply)));
                }
            }
            () = incoming.overdue() => {
                if let Some(reply) = incoming.give_up(TOO_SLOW) {
                    handlers.push(carry_out(shared.engine, identity, Job::Say(reply)));
                }
            }
            read = &mut request,
                if open && handlers.len() < bounds.requests && bytes < bounds.bytes => match read {
                Ok(Some((reader, taken))) => {
                    if let Some(job) = incoming.take_in(shared, identity, taken) {
                        bytes += job.bytes();
                        handlers.push(carry_out(shared.engine, identity, job));
                    }
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

impl<'a> Incoming<'a> {
    /// What is to be done for a request; nothing, if it was a part of another.
    fn take_in(
        &mut self,
        shared: Shared<'a>,
        identity: Id,
        mut taken: Taken<'a>,
    ) -> Option<Job<'a>> {
        let id = taken.request.id;
        match &mut taken.request.operation {
            Some(Operation::Part(part)) => {
                let part = std::mem::take(part);
                match std::mem::replace(self, Self::None) {
                    Self::Coming(upload) if upload.id() == id => match upload.add(part) {
                        Ok(Added::More(upload)) => {
                            *self = Self::Coming(upload);
                            None
                        }
                        Ok(Added::Whole(request, share)) => Some(Job::Whole(request, share)),
                        Err(error) => Some(Job::Say(Reply::failure(id, &error))),
                    },
                    // Of one that has failed, and its sender did not know.
                    other => {
                        *self = other;
                        None
                    }
                }
            }
            Some(Operation::Long(long)) => {
                if !matches!(self, Self::None) {
                    let error = later("a connection takes one long input at a time");
                    return Some(Job::Say(shared.engine.refuse(identity, &taken.request, &error)));
                }
                let long = long.clone();
                let life = shared.engine.request_life();
                match Upload::new(shared.room, identity, &taken.request, &long, life) {
                    Ok(upload) => {
                        *self = Self::Asked;
                        Some(Job::Head(Box::new(upload)))
                    }
                    Err(error) => {
                        Some(Job::Say(shared.engine.refuse(identity, &taken.request, &error)))
                    }
                }
            }
            _ => Some(Job::Request(taken)),
        }
    }

    /// Goes on with what the engine said of a head.
    fn settle(&mut self, done: &mut Done<'a>, open: bool) {
        if let Some(upload) = done.begins.take() {
            let expected = done.reply.sends_on();
            *self = if expected { Self::Coming(upload) } else { Self::None };
            if expected
                && !open
                && let Some(reply) = self.give_up(STOPS)
            {
                done.reply = reply;
            }
        }
    }

    /// Gives up an input that is on its way: what the peer is told.
    fn give_up(&mut self, why: &'static str) -> Option<Reply> {
        let Self::Coming(upload) = self else { return None };
        let reply = Reply::failure(upload.id(), &later(why));
        *self = Self::None;
        Some(reply)
    }

    /// Waits until the next part should have come.
    fn overdue(&self) -> impl Future<Output = ()> + use<> {
        let due = match self {
            Self::Coming(upload) => Some(upload.due()),
            Self::None | Self::Asked => None,
        };
        async move {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Job<'_> {
    /// How long the request is that it came by. Long inputs have bounds of their
    /// own.
    fn bytes(&self) -> usize {
        match self {
            Self::Request(taken) => taken.bytes,
            Self::Head(_) | Self::Whole(..) | Self::Say(_) => 0,
        }
    }
}

/// Waits for the drain to begin.
async fn begins(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Does what there is to do.
async fn carry_out<'a>(engine: &Engine, identity: Id, job: Job<'a>) -> Done<'a> {
    let bytes = job.bytes();
    let (reply, begins, held) = match job {
        Job::Request(taken) => (handle(engine, identity, taken.request).await, None, None),
        Job::Head(upload) => (handle(engine, identity, upload.head()).await, Some(upload), None),
        Job::Whole(request, share) => (handle(engine, identity, *request).await, None, Some(share)),
        Job::Say(reply) => (reply, None, None),
    };
    Done { reply, bytes, begins, held }
}

/// Handles a request; its panic is an answer like others.
async fn handle(engine: &Engine, identity: Id, request: Request) -> Reply {
    let id = request.id;
    let handled = AssertUnwindSafe(engine.handle(identity, request)).catch_unwind().await;
    // What the future shared is behind locks that mind no poison.
    handled.unwrap_or_else(|_| Reply::panicked(id))
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

const STOPS: &str = "the service stops, and the input had not come whole";
const TOO_SLOW: &str = "the input came too slowly";
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
