//! What is signed, on its way from the data to what the key gets.

use keyward_crypto::digest::Digester;
use keyward_crypto::ml_dsa::Mu;
use keyward_wire::{Error, ErrorCode, Result};
use zeroize::Zeroizing;

use super::{PublicKey, from_crypto, type_inconsistent};
use crate::mechanism::{MuHash, Preparation};

/// Data that come in pieces and are prepared for the key.
#[derive(Debug)]
pub struct Message {
    state: State,
    /// The most that is kept, in bytes, where the data are kept.
    limit: usize,
}

#[derive(Debug)]
enum State {
    Whole(Zeroizing<Vec<u8>>),
    Digest {
        digester: Digester,
        info: bool,
    },
    Mu(Mu),
    /// HashML-DSA: the digest comes first.
    MuOfDigest {
        mu: Mu,
        digester: Digester,
    },
    /// The same, when the data are the digest: they have its length.
    MuOfGiven {
        mu: Mu,
        given: Vec<u8>,
        length: usize,
    },
}

impl Message {
    /// Nothing yet. `limit` is the most, in bytes, that may come where the key needs the data
    /// themselves.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT if the preparation is ML-DSA's and `public` is no such key.
    pub fn new(
        preparation: &Preparation,
        public: impl FnOnce() -> Result<PublicKey>,
        limit: usize,
    ) -> Result<Self> {
        let state = match preparation {
            Preparation::None => State::Whole(Zeroizing::default()),
            Preparation::Digest(hash) => {
                State::Digest { digester: Digester::new(*hash), info: false }
            }
            Preparation::DigestInfo(hash) => {
                State::Digest { digester: Digester::new(*hash), info: true }
            }
            Preparation::Mu { context, hash } => {
                let PublicKey::MlDsa(key) = public()? else {
                    return Err(type_inconsistent("an ML-DSA key"));
                };
                match hash {
                    None => State::Mu(Mu::of_message(&key, context).map_err(from_crypto)?),
                    Some(MuHash::Of(hash)) => State::MuOfDigest {
                        mu: Mu::of_digest(&key, context, *hash).map_err(from_crypto)?,
                        digester: Digester::new(*hash),
                    },
                    Some(MuHash::Already(hash)) => State::MuOfGiven {
                        mu: Mu::of_digest(&key, context, *hash).map_err(from_crypto)?,
                        given: Vec::new(),
                        length: hash.length(),
                    },
                }
            }
        };
        Ok(Self { state, limit })
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE if more comes than is kept.
    pub fn update(&mut self, part: &[u8]) -> Result<()> {
        match &mut self.state {
            State::Digest { digester, .. } | State::MuOfDigest { digester, .. } => {
                digester.update(part);
            }
            State::Mu(mu) => mu.update(part),
            State::Whole(whole) => {
                if part.len() > self.limit.saturating_sub(whole.len()) {
                    return Err(Error::new(
                        ErrorCode::DataLenRange,
                        "more data than a mechanism without a digest takes",
                    ));
                }
                extend(whole, part);
            }
            State::MuOfGiven { given, length, .. } => {
                if given.len() + part.len() > *length {
                    return Err(not_a_digest());
                }
                given.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// What the key gets.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE if the data should have been a digest and are not.
    pub fn finish(self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(match self.state {
            State::Whole(whole) => whole,
            State::Digest { digester, info: false } => digester.finish().into(),
            State::Digest { digester, info: true } => {
                let hash = digester.hash();
                hash.digest_info(&digester.finish()).map_err(from_crypto)?.into()
            }
            State::Mu(mu) => mu.finish().to_vec().into(),
            State::MuOfDigest { mut mu, digester } => {
                mu.update(&digester.finish());
                mu.finish().to_vec().into()
            }
            State::MuOfGiven { mut mu, given, length } => {
                if given.len() != length {
                    return Err(not_a_digest());
                }
                mu.update(&given);
                mu.finish().to_vec().into()
            }
        })
    }
}

/// Adds to a buffer without leaving a copy behind when it has to grow.
fn extend(whole: &mut Zeroizing<Vec<u8>>, part: &[u8]) {
    if whole.capacity() - whole.len() < part.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (whole.len() + part.len())));
        larger.extend_from_slice(whole);
        *whole = larger;
    }
    whole.extend_from_slice(part);
}

fn not_a_digest() -> Error {
    Error::new(ErrorCode::DataLenRange, "the data are not a digest of the hash that was named")
}

#[cfg(test)]
mod tests {
    use keyward_crypto::digest::Hash;
    use keyward_crypto::ml_dsa::{MlDsa, MlDsaPrivateKey};

    use super::*;

    fn prepared(preparation: &Preparation, parts: &[&[u8]]) -> Result<Vec<u8>> {
        let seed = [7; 32];
        let key = || {
            let key = MlDsaPrivateKey::from_seed(MlDsa::MlDsa44, &seed).unwrap();
            Ok(PublicKey::MlDsa(key.public()))
        };
        let mut message = Message::new(preparation, key, 10)?;
        for part in parts {
            message.update(part)?;
        }
        message.finish().map(|input| input.to_vec())
    }

    #[test]
    fn a_digest_that_is_given_is_the_digest_that_is_made() {
        let digest = Hash::Sha256.digest(b"message");
        let of = |hash| Preparation::Mu { context: b"context".to_vec(), hash };
        let made = prepared(&of(Some(MuHash::Of(Hash::Sha256))), &[b"mess", b"age"]).unwrap();
        let given =
            prepared(&of(Some(MuHash::Already(Hash::Sha256))), &[&digest[..9], &digest[9..]]);
        assert_eq!(given.unwrap(), made);
        assert_ne!(prepared(&of(None), &[b"message"]).unwrap(), made);
        for wrong in [&digest[1..], &[0; 33]] {
            let error = prepared(&of(Some(MuHash::Already(Hash::Sha256))), &[wrong]).unwrap_err();
            assert_eq!(error.code, ErrorCode::DataLenRange);
        }
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        assert_eq!(prepared(&Preparation::None, &[b"01234", b"56789"]).unwrap(), b"0123456789");
        let error = prepared(&Preparation::None, &[b"01234", b"567890"]).unwrap_err();
        assert_eq!(error.code, ErrorCode::DataLenRange);
        assert!(prepared(&Preparation::Digest(Hash::Sha1), &[&[0; 100]]).is_ok());
    }
}
