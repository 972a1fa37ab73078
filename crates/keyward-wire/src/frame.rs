//! Frames: a big-endian u32 length and a protobuf message.

use prost::Message;

/// The longest message, in bytes. A longer result comes in several frames.
pub const LIMIT: usize = 1 << 20;

/// The length of the header, in bytes.
pub const HEADER: usize = 4;

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header announces more than [`LIMIT`].
    #[error("a frame of {0} bytes; at most {LIMIT} are taken")]
    TooLong(usize),
    /// The bytes are not the message that was expected.
    #[error("a frame that does not parse: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The frame that carries `message`.
///
/// # Errors
/// [`FrameError::TooLong`] if the message is longer than [`LIMIT`].
pub fn encode(message: &impl Message) -> Result<Vec<u8>, FrameError> {
    let length = message.encoded_len();
    let header = u32::try_from(length)
        .ok()
        .filter(|_| length <= LIMIT)
        .ok_or(FrameError::TooLong(length))?;
    let mut frame = Vec::with_capacity(HEADER + length);
    frame.extend_from_slice(&header.to_be_bytes());
    message.encode_raw(&mut frame);
    Ok(frame)
}

/// The length of the message behind `header`, in bytes.
///
/// # Errors
/// [`FrameError::TooLong`] if it is longer than [`LIMIT`].
pub fn length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    if length > LIMIT {
        return Err(FrameError::TooLong(length));
    }
    Ok(length)
}

/// The message of one frame's body.
///
/// # Errors
/// [`FrameError::Malformed`] if it does not parse.
pub fn decode<M: Message + Default>(body: &[u8]) -> Result<M, FrameError> {
    Ok(M::decode(body)?)
}

/// Takes the first whole frame out of `buffer`, if there is one.
///
/// # Errors
/// As [`length`] and [`decode`]; the buffer is then of no further use.
pub fn take<M: Message + Default>(buffer: &mut Vec<u8>) -> Result<Option<M>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let end = HEADER + length(*header)?;
    let Some(body) = buffer.get(HEADER..end) else {
        return Ok(None);
    };
    let message = decode(body)?;
    buffer.drain(..end);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, request::Operation};

    fn hello(id: u64) -> Request {
        Request {
            id,
            operation: Some(Operation::Hello(crate::Hello::default())),
            ..Request::default()
        }
    }

    #[test]
    fn frames_are_taken_one_by_one_from_a_stream_cut_anywhere() {
        let mut stream = encode(&hello(1)).unwrap();
        stream.extend(encode(&hello(2)).unwrap());
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        for byte in stream {
            buffer.push(byte);
            while let Some(request) = take::<Request>(&mut buffer).unwrap() {
                seen.push(request.id);
            }
        }
        assert_eq!(seen, [1, 2]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_read() {
        assert_eq!(length(u32::MAX.to_be_bytes()), Err(FrameError::TooLong(u32::MAX as usize)));
        let long = Request { token: "x".repeat(LIMIT + 1), ..Request::default() };
        assert!(matches!(encode(&long), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        assert!(matches!(decode::<Request>(&[0xff; 9]), Err(FrameError::Malformed(_))));
    }
}
