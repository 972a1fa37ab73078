//! The service, as the rest of the module sees it: typed questions and answers.

use std::time::Duration;

use cryptoki_sys::CKR_GENERAL_ERROR;
use keyward_client::{Client, Config};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{Bytes, ListTokens, Object, Request, Response, Revision, Ticket, TokenInfo};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// C_GetTokenInfo and its like wait this long at most for what can be told
/// without it; the JDK asks while it starts.
const INFO_PATIENCE: Duration = Duration::from_millis(250);

/// The way to the service.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    /// C_Decrypt has a deadline of its own in profile `tls`.
    decrypt_patience: Option<Duration>,
    /// C_GetTokenInfo waits this long at most for the first answer.
    first_info_patience: Duration,
}

/// Who asks, and of what.
pub(crate) struct Asker<'a> {
    pub(crate) token: &'a str,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) at_least: Option<Revision>,
}

impl Remote {
    pub(crate) fn new(config: Config) -> Self {
        let decrypt_patience = (config.profile == keyward_client::config::Profile::Tls)
            .then(|| config.deadlines.decrypt());
        let first_info_patience =
            INFO_PATIENCE + Duration::from_millis(config.deadlines.connect_ms);
        Self { client: Client::new(config), decrypt_patience, first_info_patience }
    }

    pub(crate) fn config(&self) -> &Config {
        self.client.config()
    }

    /// For what needs no answer of its own kind.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The frames of an answer; none of them is a failure. `patience`: if not as
    /// long as the config says.
    pub(crate) fn ask(
        &self,
        asker: &Asker<'_>,
        operation: Operation,
        patience: Option<Duration>,
    ) -> std::result::Result<Vec<Response>, keyward_client::Error> {
        let patience = patience.or(match operation {
            Operation::Decrypt(_) => self.decrypt_patience,
            _ => None,
        });
        let request = Request {
            token: asker.token.to_owned(),
            ticket: asker.ticket.clone(),
            at_least: asker.at_least,
            operation: Some(operation),
            ..Request::default()
        };
        match patience {
            Some(patience) => self.client.call_within(request, patience),
            None => self.client.call(request),
        }
    }

    /// The tokens that this identity may see.
    pub(crate) fn tokens(&self) -> Result<Vec<TokenInfo>> {
        tokens_of(self.client.call(list_tokens())?)
    }

    /// What the service says of a token, if it says so at once; who is patient
    /// gives it the time for a connection as well.
    pub(crate) fn token_info(&self, label: &str, patient: bool) -> Result<Option<TokenInfo>> {
        let patience = if patient { self.first_info_patience } else { INFO_PATIENCE };
        let tokens = tokens_of(self.client.call_within(list_tokens(), patience)?)?;
        Ok(tokens.into_iter().find(|token| token.label == label))
    }
}

fn list_tokens() -> Request {
    Request { operation: Some(Operation::ListTokens(ListTokens {})), ..Request::default() }
}

fn tokens_of(frames: Vec<Response>) -> Result<Vec<TokenInfo>> {
    match one(frames)? {
        Answer::Tokens(list) => Ok(list.tokens),
        _ => Err(unexpected()),
    }
}

/// The result of an answer of one frame.
pub(crate) fn one(frames: Vec<Response>) -> Result<Answer> {
    frames.into_iter().next().and_then(|frame| frame.result).ok_or_else(unexpected)
}

/// A result that may come in several frames, put together.
pub(crate) fn whole(
    frames: Vec<Response>,
    piece_of: impl Fn(Answer) -> Option<Bytes>,
) -> Result<Bytes> {
    let pieces = frames
        .into_iter()
        .map(|frame| frame.result.and_then(&piece_of).ok_or_else(unexpected))
        .collect::<Result<Vec<_>>>()?;
    // Nothing grows, so nothing is left behind.
    let length = pieces.iter().map(|piece| piece.value.len()).sum();
    let mut all = Bytes { value: Vec::with_capacity(length), sealed: Vec::new() };
    for piece in pieces {
        all.value.append(&mut Zeroizing::new(piece.value));
        all.sealed = piece.sealed;
    }
    Ok(all)
}

/// The object of an answer.
pub(crate) fn object(frames: Vec<Response>) -> Result<Object> {
    match one(frames)? {
        Answer::Object(result) => result.object.ok_or_else(unexpected),
        _ => Err(unexpected()),
    }
}

/// The service answered something else than it was asked.
pub(crate) fn unexpected() -> Error {
    Error::new(
        CKR_GENERAL_ERROR,
        "the service's answer does not fit the question; are module and service of like versions?",
    )
}
