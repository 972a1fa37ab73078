//! An answer that is too long to be kept: its frames are given away as they
//! come.

use std::time::Instant;

use keyward_wire::response::Result as Answer;
use keyward_wire::{Request, Response};

use crate::call::Client;
use crate::deadline::Deadline;
use crate::error::Error;

/// Why a long answer did not come whole.
#[derive(Debug)]
pub enum StreamError<E> {
    /// What the service said, or that the connection failed.
    Client(Error),
    /// Whoever took the frames wanted no more.
    Taker(E),
}

impl<E> From<Error> for StreamError<E> {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl Client {
    /// Sends a request and gives each frame of its answer to `take`. Each frame
    /// has the deadline of a request, the whole has none. Nothing is repeated:
    /// what was taken cannot be taken back.
    ///
    /// # Errors
    /// What the service said, that it did not answer or stopped doing so, or
    /// the error of `take`.
    pub fn stream<E>(
        &self,
        mut request: Request,
        mut take: impl FnMut(Answer) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), StreamError<E>> {
        let mut connection = self.own_connection()?;
        let limit = self.config().deadlines.request();
        let endpoint = connection.endpoint;
        let broken = |error| self.broken(endpoint, &error);
        connection.ask(&mut request, Deadline::at(Instant::now() + limit)).map_err(broken)?;
        loop {
            let Response { result, more, .. } =
                connection.next_frame(Deadline::at(Instant::now() + limit)).map_err(broken)?;
            match result {
                Some(Answer::Failure(failure)) => {
                    return Err(Error::Service(failure.into()).into());
                }
                Some(answer) => take(answer).map_err(StreamError::Taker)?,
                None => {}
            }
            if !more {
                return Ok(());
            }
        }
    }
}
