//! One connection: frames in, requests handled side by side, frames out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use keyward_wire::{Request, Response, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, split};
use tokio::sync::{Semaphore, mpsc, watch};
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
}

/// Serves a connection until the peer closes it, breaks the rules, does not
/// take its answers, is revoked, or the service stops.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite,
    engine: &Arc<Engine>,
    identity: Id,
    entry: &Entry,
    bounds: Bounds,
    draining: watch::Receiver<bool>,
) {
    let (reader, writer) = split(stream);
    // Handlers wait when it is full: a peer that does not read its answers
    // makes nothing grow.
    let (answers, answered) = mpsc::channel(WAITING_FRAMES);
    let mut writing = pin!(write(writer, answered, bounds.write, draining.clone()));
    let mut reading = pin!(read(reader, engine, identity, answers, bounds, draining));
    tokio::select! {
        biased;
        () = entry.closed() => return,
        // It failed: nobody takes answers any more.
        () = &mut writing => return,
        () = &mut reading => {}
    }
    // No more requests; the answers to those under way still go out.
    tokio::select! {
        () = entry.closed() => {}
        () = writing => {}
    }
}

/// Tells a peer why its connection ends.
pub(super) async fn refuse(stream: impl AsyncRead + AsyncWrite, bounds: Bounds) {
    let (_, mut writer) = split(stream);
    let mut reply = Reply::revoked();
    while let Some(response) = reply.next_frame() {
        let Ok(encoded) = frame::encode(&response) else { return };
        if !matches!(timeout(bounds.write, writer.write_all(&encoded)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(bounds.write, writer.shutdown()).await;
}

/// Reads requests and starts their handlers.
async fn read(
    mut reader: impl AsyncRead + Unpin,
    engine: &Arc<Engine>,
    identity: Id,
    answers: mpsc::Sender<Response>,
    bounds: Bounds,
    mut draining: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(bounds.requests));
    loop {
        let request = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => return,
            request = next_request(&mut reader, bounds.idle) => request,
        };
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(reason) => {
                tracing::info!(%identity, reason, "a connection is closed");
                return;
            }
        };
        // The semaphore is never closed; there is one permit per request.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let engine = Arc::clone(engine);
        let answers = answers.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let id = request.id;
            let handled = CatchUnwind(Box::pin(engine.handle(identity, request))).await;
            let mut reply = handled.unwrap_or_else(|_| Reply::panicked(id));
            while let Some(response) = reply.next_frame() {
                if answers.send(response).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The next request; `None` at the end of the stream.
async fn next_request(
    reader: &mut (impl AsyncRead + Unpin),
    idle: Option<Duration>,
) -> Result<Option<Request>, String> {
    let mut header = [0; frame::HEADER];
    let first = reader.read(&mut header[..1]);
    let first = match idle {
        Some(idle) => timeout(idle, first).await.map_err(|_| "it was idle".to_owned())?,
        None => first.await,
    };
    match first {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(error.to_string()),
    }
    let rest = async {
        reader.read_exact(&mut header[1..]).await.map_err(|error| error.to_string())?;
        let length = frame::length(header).map_err(|error| error.to_string())?;
        // A request may carry a PIN.
        let mut body = Zeroizing::new(vec![0; length]);
        reader.read_exact(&mut body).await.map_err(|error| error.to_string())?;
        frame::decode(&body).map(Some).map_err(|error| error.to_string())
    };
    timeout(FRAME_DEADLINE, rest).await.map_err(|_| "a frame came too slowly".to_owned())?
}

/// Writes answers as they come; many that wait go out together.
async fn write(
    writer: impl AsyncWrite + Unpin,
    mut answered: mpsc::Receiver<Response>,
    deadline: Duration,
    draining: watch::Receiver<bool>,
) {
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER, writer);
    while let Some(mut response) = answered.recv().await {
        response.draining = *draining.borrow();
        let encoded = match frame::encode(&response) {
            Ok(encoded) => Zeroizing::new(encoded),
            Err(error) => {
                // Handlers keep to the limit; a peer must not wait for this one.
                tracing::error!(%error, "an answer that is no frame");
                return;
            }
        };
        let last = answered.is_empty();
        let written = timeout(deadline, async {
            writer.write_all(&encoded).await?;
            if last { writer.flush().await } else { Ok(()) }
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(deadline, writer.shutdown()).await;
}

/// A future whose panic is a value.
struct CatchUnwind<'a, T>(Pin<Box<dyn Future<Output = T> + Send + 'a>>);

impl<T> Future for CatchUnwind<'_, T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // After a panic the future is not polled again, and what it shares is
        // behind locks that mind no poison.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Frames that wait to be written, beside one in each handler's hands.
const WAITING_FRAMES: usize = 4;
const WRITE_BUFFER: usize = 16 << 10;
/// For a frame to come whole, once its first byte is there.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);
