//! A question whose answer nobody waits for: those who pass by take it a step
//! further.
//!
//! It has a connection of its own. On one that calls use, its answer would stand
//! in the way of theirs.

use std::io;

use keyward_wire::response::Result as Answer;
use keyward_wire::{Request, Response};

use crate::call::Client;
use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::opening::Opening;

/// A question that is under way.
pub struct Errand(Stage);

enum Stage {
    Opening(Box<Opening>, Box<Request>),
    Asked(Box<Connection>),
}

/// How far an errand has come.
pub enum Progress {
    /// Not there yet.
    OnItsWay(Errand),
    /// These are the frames of the answer; none of them is a failure.
    Answered(Vec<Response>),
}

impl Client {
    /// Begins an errand, to an endpoint whose address is known. Waits for
    /// nothing.
    ///
    /// # Errors
    /// If no connection can be begun.
    pub fn errand(&self, mut request: Request) -> Result<Errand> {
        request.instance = self.instance();
        let opening = self.dialer().set_out(self.config()).map_err(|failed| self.told(failed))?;
        Ok(Errand(Stage::Opening(Box::new(opening), Box::new(request))))
    }

    /// Takes an errand as far as it comes without waiting.
    ///
    /// # Errors
    /// What the service said, or that the connection failed. The errand has
    /// ended then.
    pub fn step(&self, errand: Errand) -> Result<Progress> {
        let (mut connection, endpoint) = match errand.0 {
            Stage::Opening(mut opening, mut request) => {
                let endpoint = opening.endpoint;
                if !opening.step().map_err(|error| self.broken(endpoint, &error))? {
                    return Ok(Progress::OnItsWay(Errand(Stage::Opening(opening, request))));
                }
                let mut connection = Box::new(opening.finish());
                // It fits into the socket's buffer.
                connection
                    .ask(&mut request, Deadline::now())
                    .map_err(|error| self.broken(endpoint, &error))?;
                (connection, endpoint)
            }
            Stage::Asked(connection) => {
                let endpoint = connection.endpoint;
                (connection, endpoint)
            }
        };
        loop {
            if let Some(frames) =
                connection.answer().map_err(|error| self.broken(endpoint, &error))?
            {
                return answered(frames);
            }
            match connection.receive(Deadline::now()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Ok(Progress::OnItsWay(Errand(Stage::Asked(connection))));
                }
                Err(error) => return Err(self.broken(endpoint, &error)),
            }
        }
    }
}

impl std::fmt::Debug for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Errand").finish_non_exhaustive()
    }
}

fn answered(frames: Vec<Response>) -> Result<Progress> {
    for frame in &frames {
        if let Some(Answer::Failure(failure)) = &frame.result {
            return Err(Error::Service(failure.clone().into()));
        }
    }
    Ok(Progress::Answered(frames))
}
