//! Requests that are longer than a frame: their input comes behind them, in
//! parts, when the service has said that it takes it.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::long::Of;
use crate::request::Operation;
use crate::{Error, ErrorCode, Long, block, decrypt, frame};

/// The most that one operation takes in, in bytes.
pub const INPUT_LIMIT: usize = 16 << 20;

/// A part of an input or of a result is at most this long, in bytes: it leaves
/// room for the rest of its frame.
pub const PART: usize = frame::LIMIT - (16 << 10);

/// The longest tag of what is decrypted, in bytes.
const TAG: usize = 16;

/// How much longer than others a request with an input of this length, in bytes,
/// may take on its way, and its answer on the way back: a network that carries
/// less than a MiB in a second is none for it.
#[must_use]
pub fn allowance(length: usize) -> Duration {
    Duration::from_millis(length as u64 * 1000 / (1 << 20))
}

impl Operation {
    /// Takes an operation apart that is longer than a frame: what goes ahead, and
    /// the input that comes behind. Others stay as they are.
    #[must_use]
    pub fn into_parts(self) -> (Self, Option<Zeroizing<Vec<u8>>>) {
        let mut of = match self {
            Self::Sign(sign) => Of::Sign(sign),
            Self::Verify(verify) => Of::Verify(verify),
            Self::Encrypt(encrypt) => Of::Encrypt(encrypt),
            Self::Decrypt(decrypt) => Of::Decrypt(decrypt),
            short => return (short, None),
        };
        let input = Zeroizing::new(of.input_mut().map(std::mem::take).unwrap_or_default());
        let length = input.len() as u64;
        (Self::Long(Long { of: Some(of), length }), Some(input))
    }
}

impl Long {
    /// The length of the input, in bytes.
    ///
    /// # Errors
    /// `MALFORMED` if it names no operation or brings input already,
    /// `DATA_LEN_RANGE` or `ENCRYPTED_DATA_LEN_RANGE` if it is too long.
    pub fn check(&self) -> Result<usize, Error> {
        let malformed = |message| Error::new(ErrorCode::Malformed, message);
        let input = self.of.as_ref().and_then(Of::input);
        let input = input.ok_or_else(|| malformed("a long request that names no operation"))?;
        if !input.is_empty() || self.length == 0 {
            return Err(malformed("the input of a long request comes behind it"));
        }
        let most = INPUT_LIMIT + if self.has_tag() { TAG } else { 0 };
        usize::try_from(self.length).ok().filter(|length| *length <= most).ok_or_else(|| {
            Error::new(self.too_long(), "more than the 16 MiB that one operation takes")
        })
    }

    /// The code that says that there is too much input.
    #[must_use]
    pub fn too_long(&self) -> ErrorCode {
        match self.of {
            Some(Of::Decrypt(_)) => ErrorCode::EncryptedDataLenRange,
            _ => ErrorCode::DataLenRange,
        }
    }

    /// The operation with its input.
    #[must_use]
    pub fn with(self, input: Vec<u8>) -> Option<Operation> {
        let mut of = self.of?;
        *of.input_mut()? = input;
        Some(match of {
            Of::Sign(sign) => Operation::Sign(sign),
            Of::Verify(verify) => Operation::Verify(verify),
            Of::Encrypt(encrypt) => Operation::Encrypt(encrypt),
            Of::Decrypt(decrypt) => Operation::Decrypt(decrypt),
        })
    }

    /// What comes in is a ciphertext and its tag.
    fn has_tag(&self) -> bool {
        let Some(Of::Decrypt(decrypt)) = &self.of else { return false };
        let Some(decrypt::Scheme::Block(block)) = &decrypt.scheme else { return false };
        matches!(block.mode, Some(block::Mode::Gcm(_) | block::Mode::Ccm(_)))
    }
}

impl Of {
    fn input(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Sign(sign) => Some(&sign.input),
            Self::Verify(verify) => verify.of.as_ref().map(|of| &of.input),
            Self::Encrypt(encrypt) => Some(&encrypt.input),
            Self::Decrypt(decrypt) => Some(&decrypt.input),
        }
    }

    fn input_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Sign(sign) => Some(&mut sign.input),
            Self::Verify(verify) => verify.of.as_mut().map(|of| &mut of.input),
            Self::Encrypt(encrypt) => Some(&mut encrypt.input),
            Self::Decrypt(decrypt) => Some(&mut decrypt.input),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Aead, Block, Decrypt, Encrypt, Hello, Sign, Verify};

    fn decrypt(length: usize) -> Decrypt {
        let mode = Some(block::Mode::Gcm(Aead::default()));
        let block = Block { mode, ..Block::default() };
        let scheme = Some(decrypt::Scheme::Block(block));
        Decrypt { scheme, input: vec![7; length], ..Decrypt::default() }
    }

    #[test]
    fn what_is_taken_apart_is_put_together_again() {
        let input = vec![7; 3];
        let sign = Sign { input: input.clone(), ..Sign::default() };
        for whole in [
            Operation::Sign(sign.clone()),
            Operation::Verify(Verify { of: Some(sign), code: vec![1] }),
            Operation::Encrypt(Encrypt { input: input.clone(), ..Encrypt::default() }),
            Operation::Decrypt(decrypt(3)),
        ] {
            let (Operation::Long(head), Some(taken)) = whole.clone().into_parts() else { panic!() };
            assert_eq!((head.check(), &*taken), (Ok(3), &input));
            assert!(head.with(taken.to_vec()) == Some(whole));
        }
        let hello = Operation::Hello(Hello::default());
        assert!(hello.clone().into_parts() == (hello, None));
    }

    #[test]
    fn only_what_is_decrypted_has_room_for_a_tag() {
        let (Operation::Long(mut head), _) = Operation::Decrypt(decrypt(1)).into_parts() else {
            panic!()
        };
        head.length = (INPUT_LIMIT + TAG) as u64;
        assert_eq!(head.check(), Ok(INPUT_LIMIT + TAG));
        for length in [head.length + 1, u64::MAX] {
            head.length = length;
            assert_eq!(head.check().unwrap_err().code, ErrorCode::EncryptedDataLenRange);
        }
        let mut sign = Long { of: Some(Of::Sign(Sign::default())), length: INPUT_LIMIT as u64 };
        assert_eq!(sign.check(), Ok(INPUT_LIMIT));
        sign.length += 1;
        assert_eq!(sign.check().unwrap_err().code, ErrorCode::DataLenRange);
    }

    #[test]
    fn a_head_without_an_operation_or_with_input_is_malformed() {
        let early = Sign { input: vec![1], ..Sign::default() };
        for of in [None, Some(Of::Verify(Verify::default())), Some(Of::Sign(early))] {
            let head = Long { of, length: 9 };
            assert_eq!(head.check().unwrap_err().code, ErrorCode::Malformed);
        }
        let none = Long { of: Some(Of::Sign(Sign::default())), length: 0 };
        assert_eq!(none.check().unwrap_err().code, ErrorCode::Malformed);
    }
}
