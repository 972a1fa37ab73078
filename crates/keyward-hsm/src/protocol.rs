//! What the service and the worker tell each other: a big-endian u32 length and
//! a protobuf message, over the worker's standard input and output. Both are the
//! same program, so there are no versions.

use std::io::{self, Read, Write};

use keyward_wire as wire;
use prost::{Message, Oneof};
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::{Zeroize, Zeroizing};

/// What the worker is to do.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Task {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// The template that finds the key.
    #[prost(message, optional, tag = "2")]
    pub(crate) key: Option<wire::Attributes>,
    #[prost(oneof = "Work", tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    pub(crate) work: Option<Work>,
}

/// The kinds of work.
#[derive(Clone, PartialEq, Oneof)]
#[prost(skip_debug)]
pub(crate) enum Work {
    /// Comes first, and once.
    #[prost(message, tag = "3")]
    Open(Open),
    /// With neither key nor authentication, as the next two.
    #[prost(message, tag = "4")]
    Sign(wire::Sign),
    #[prost(message, tag = "5")]
    Decrypt(wire::Decrypt),
    #[prost(message, tag = "6")]
    Encrypt(wire::Encrypt),
    #[prost(message, tag = "7")]
    GenerateKeyPair(Generation),
    #[prost(message, tag = "8")]
    GenerateKey(Generation),
    #[prost(message, tag = "9")]
    Create(wire::Attributes),
    #[prost(message, tag = "10")]
    Unwrap(Unwrap),
    /// Everything that `key` finds.
    #[prost(message, tag = "11")]
    Destroy(wire::Done),
    /// What `key` finds; without one, all.
    #[prost(message, tag = "12")]
    Objects(wire::Done),
    /// The other side's public key, as CKM_ECDH1_DERIVE has it.
    #[prost(bytes, tag = "13")]
    Agree(Vec<u8>),
}

impl Work {
    /// Overwrites what is secret in it: the PIN, and the parts of a key.
    pub(crate) fn wipe(&mut self) {
        match self {
            Self::Open(open) => open.pin.zeroize(),
            Self::Create(template) => {
                for attribute in &mut template.attributes {
                    if let Some(wire::attribute::Value::Bytes(bytes)) = &mut attribute.value {
                        bytes.zeroize();
                    }
                }
            }
            _ => {}
        }
    }
}

/// Which token of which library, and the PIN.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Open {
    #[prost(string, tag = "1")]
    pub(crate) module: String,
    /// Empty: any.
    #[prost(string, tag = "2")]
    pub(crate) token: String,
    /// Empty: any.
    #[prost(string, tag = "3")]
    pub(crate) serial: String,
    #[prost(string, tag = "4")]
    pub(crate) pin: String,
    #[prost(uint32, tag = "5")]
    pub(crate) sessions: u32,
}

/// C_GenerateKeyPair and C_GenerateKey.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Generation {
    #[prost(uint64, tag = "1")]
    pub(crate) mechanism: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) public: Option<wire::Attributes>,
    /// Of the private or the secret key.
    #[prost(message, optional, tag = "3")]
    pub(crate) private: Option<wire::Attributes>,
}

/// C_UnwrapKey.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Unwrap {
    #[prost(message, optional, tag = "1")]
    pub(crate) wrapping: Option<wire::Wrapping>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) wrapped: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub(crate) template: Option<wire::Attributes>,
}

/// What became of a task.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Outcome {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(oneof = "Done", tags = "2, 3, 4, 5, 6")]
    pub(crate) done: Option<Done>,
}

/// The kinds of outcome.
#[derive(Clone, PartialEq, Oneof)]
#[prost(skip_debug)]
pub(crate) enum Done {
    /// The token is there, and says no.
    #[prost(message, tag = "2")]
    Failure(wire::Failure),
    /// The token, the session or the login is gone, and a new session did not
    /// help.
    #[prost(message, tag = "3")]
    Lost(Lost),
    #[prost(bytes, tag = "4")]
    Bytes(Vec<u8>),
    /// Of a key pair the public half.
    #[prost(message, tag = "5")]
    Objects(Objects),
    #[prost(message, tag = "6")]
    Ready(Ready),
}

/// Why a token is not to be had.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Lost {
    /// A sentence.
    #[prost(string, tag = "1")]
    pub(crate) why: String,
    /// The token did not take the PIN: to try it again would lock the token.
    #[prost(bool, tag = "2")]
    pub(crate) pin: bool,
}

/// Objects, keys without their secret parts.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct Objects {
    #[prost(message, repeated, tag = "1")]
    pub(crate) objects: Vec<wire::Attributes>,
}

/// What token was found, and what it offers.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ready {
    #[prost(string, tag = "1")]
    pub(crate) label: String,
    #[prost(string, tag = "2")]
    pub(crate) serial: String,
    /// Manufacturer and model.
    #[prost(string, tag = "3")]
    pub(crate) model: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) mechanisms: Vec<Mechanism>,
}

/// CK_MECHANISM_INFO, as far as it is wanted.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Mechanism {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    /// CKF_SIGN and the like.
    #[prost(uint64, tag = "2")]
    pub(crate) flags: u64,
}

macro_rules! name_only {
    ($($message:ident),*) => {$(
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        }
    )*};
}

name_only!(Task, Work, Open, Generation, Unwrap, Outcome, Done, Objects);

/// The frame of a message, wiped when it goes.
pub(crate) fn frame(message: &impl Message) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = message.encoded_len();
    let header = u32::try_from(length).ok().filter(|_| length <= LIMIT).ok_or_else(too_long)?;
    let mut frame = Zeroizing::new(Vec::with_capacity(HEADER + length));
    frame.extend_from_slice(&header.to_be_bytes());
    message.encode_raw(&mut *frame);
    Ok(frame)
}

/// The frame of a task that is not needed otherwise: what is secret in it is
/// wiped.
pub(crate) fn frame_once(mut task: Task) -> io::Result<Zeroizing<Vec<u8>>> {
    let frame = frame(&task);
    if let Some(work) = &mut task.work {
        work.wipe();
    }
    frame
}

/// Writes a message.
pub(crate) fn write(to: &mut impl Write, message: &impl Message) -> io::Result<()> {
    to.write_all(&frame(message)?)?;
    to.flush()
}

/// Reads a message; `None` at the end.
pub(crate) fn read<M: Message + Default>(from: &mut impl Read) -> io::Result<Option<M>> {
    let mut header = [0; HEADER];
    match from.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let mut body = Zeroizing::new(vec![0; length(header)?]);
    from.read_exact(&mut body)?;
    decode(&body).map(Some)
}

/// As [`read`], for the service.
pub(crate) async fn receive<M: Message + Default>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<M>> {
    let mut header = [0; HEADER];
    match from.read_exact(&mut header).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    };
    let mut body = Zeroizing::new(vec![0; length(header)?]);
    from.read_exact(&mut body).await?;
    decode(&body).map(Some)
}

fn length(header: [u8; HEADER]) -> io::Result<usize> {
    let length = u32::from_be_bytes(header) as usize;
    if length <= LIMIT { Ok(length) } else { Err(too_long()) }
}

fn decode<M: Message + Default>(body: &[u8]) -> io::Result<M> {
    M::decode(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message of more than 64 MiB")
}

const HEADER: usize = 4;
/// Bytes. A search brings all objects of a token at once.
const LIMIT: usize = 64 << 20;
