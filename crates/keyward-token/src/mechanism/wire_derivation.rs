//! Derivations to and from the wire.

use keyward_wire::{self as wire, Error, Result, counter_mode as mode, derivation};

use super::derivation::{may_count, may_feed_back};
use super::wire::{
    cipher_from_wire, cipher_to_wire, hash_from_wire, hash_to_wire, optional_hash_from_wire,
};
use super::{
    BlockMode, DataField, DerivationScheme, EncryptionScheme, HkdfSalt, Kdf, PrfName,
    parameter_invalid,
};

impl From<DerivationScheme> for wire::Derivation {
    fn from(scheme: DerivationScheme) -> Self {
        use derivation::Scheme;
        let scheme = match scheme {
            DerivationScheme::Ecdh { peer, kdf } => Scheme::Ecdh(match kdf {
                None => wire::Agreement { peer, ..wire::Agreement::default() },
                Some(Kdf { hash, shared }) => {
                    wire::Agreement { peer, kdf: hash_to_wire(hash), shared }
                }
            }),
            DerivationScheme::Dh { peer } => {
                Scheme::Dh(wire::Agreement { peer, ..wire::Agreement::default() })
            }
            DerivationScheme::Hkdf { hash, extract, expand } => Scheme::Hkdf(wire::Hkdf {
                hash: hash_to_wire(hash),
                extract: extract.is_some(),
                salt_is_key: extract == Some(HkdfSalt::Key),
                salt: match extract {
                    Some(HkdfSalt::Data(salt)) => salt,
                    Some(HkdfSalt::Key) | None => Vec::new(),
                },
                expand: expand.is_some(),
                info: expand.unwrap_or_default(),
            }),
            DerivationScheme::CounterMode { prf, fields } => {
                Scheme::CounterMode(counting_to_wire(prf, fields))
            }
            DerivationScheme::FeedbackMode { prf, fields, iv } => {
                Scheme::Feedback(wire::FeedbackKdf { of: Some(counting_to_wire(prf, fields)), iv })
            }
            DerivationScheme::Data { before, after } => {
                Scheme::Data(wire::Between { before: before.to_vec(), after: after.to_vec() })
            }
            DerivationScheme::Key => Scheme::Key(wire::Done {}),
            DerivationScheme::Xor(data) => Scheme::Xor(data.to_vec()),
            DerivationScheme::Extract(bit) => Scheme::Extract(bit),
            DerivationScheme::Digest(hash) => Scheme::Digest(hash_to_wire(hash)),
            DerivationScheme::Encryption { scheme, data } => {
                let block = match wire::decrypt::Scheme::from(scheme) {
                    wire::decrypt::Scheme::Block(block) => Some(block),
                    _ => None,
                };
                Scheme::Encryption(wire::EncryptedData { block, data: data.to_vec() })
            }
            DerivationScheme::TlsPrf { hash, label, seed, length, tells_version } => {
                Scheme::TlsPrf(wire::TlsPrf {
                    hash: hash.map_or(wire::Hash::Unspecified as i32, hash_to_wire),
                    label,
                    seed,
                    length: u32::try_from(length.unwrap_or(0)).unwrap_or(u32::MAX),
                    tells_version,
                })
            }
        };
        Self { scheme: Some(scheme) }
    }
}

impl TryFrom<wire::Derivation> for DerivationScheme {
    type Error = Error;

    fn try_from(derivation: wire::Derivation) -> Result<Self> {
        use derivation::Scheme;
        Ok(match derivation.scheme.ok_or_else(unknown)? {
            Scheme::Ecdh(wire::Agreement { peer, kdf, shared }) => {
                let kdf = optional_hash_from_wire(kdf)?.map(|hash| Kdf { hash, shared });
                Self::Ecdh { peer, kdf }
            }
            Scheme::Dh(agreement) => Self::Dh { peer: agreement.peer },
            Scheme::Hkdf(hkdf) if hkdf.extract || hkdf.expand => {
                let salt = if hkdf.salt_is_key { HkdfSalt::Key } else { HkdfSalt::Data(hkdf.salt) };
                Self::Hkdf {
                    hash: hash_from_wire(hkdf.hash)?,
                    extract: hkdf.extract.then_some(salt),
                    expand: hkdf.expand.then_some(hkdf.info),
                }
            }
            Scheme::Hkdf(_) => return Err(unknown()),
            Scheme::CounterMode(counter) => {
                let (prf, fields) = counting_from_wire(counter)?;
                may_count(&fields)?;
                Self::CounterMode { prf, fields }
            }
            Scheme::Feedback(wire::FeedbackKdf { of, iv }) => {
                let (prf, fields) = counting_from_wire(of.ok_or_else(unknown)?)?;
                may_feed_back(&fields)?;
                Self::FeedbackMode { prf, fields, iv }
            }
            Scheme::Data(between) => {
                Self::Data { before: between.before.into(), after: between.after.into() }
            }
            Scheme::Key(_) => Self::Key,
            Scheme::Xor(data) => Self::Xor(data.into()),
            Scheme::Extract(bit) => Self::Extract(bit),
            Scheme::Digest(hash) => Self::Digest(hash_from_wire(hash)?),
            Scheme::Encryption(encrypted) => {
                let block = encrypted.block.ok_or_else(unknown)?;
                let scheme = EncryptionScheme::try_from(wire::decrypt::Scheme::Block(block))?;
                match scheme {
                    EncryptionScheme::Block {
                        mode: BlockMode::Ecb | BlockMode::Cbc { .. },
                        ..
                    } => Self::Encryption { scheme, data: encrypted.data.into() },
                    _ => return Err(unknown()),
                }
            }
            Scheme::TlsPrf(prf) => Self::TlsPrf {
                hash: optional_hash_from_wire(prf.hash)?,
                label: prf.label,
                seed: prf.seed,
                length: (prf.length > 0).then_some(prf.length as usize),
                tells_version: prf.tells_version,
            },
        })
    }
}

fn unknown() -> Error {
    parameter_invalid("how the key is derived is not known")
}

fn counting_to_wire(prf: PrfName, fields: Vec<DataField>) -> wire::CounterMode {
    wire::CounterMode {
        prf: Some(match prf {
            PrfName::Hmac(hash) => mode::Prf::Hmac(hash_to_wire(hash)),
            PrfName::Cmac(cipher) => mode::Prf::Cmac(cipher_to_wire(cipher)),
        }),
        fields: fields.into_iter().map(field_to_wire).collect(),
    }
}

fn counting_from_wire(counter: wire::CounterMode) -> Result<(PrfName, Vec<DataField>)> {
    let prf = match counter.prf.ok_or_else(unknown)? {
        mode::Prf::Hmac(hash) => PrfName::Hmac(hash_from_wire(hash)?),
        mode::Prf::Cmac(cipher) => PrfName::Cmac(cipher_from_wire(cipher)?),
    };
    let fields: Result<_> = counter
        .fields
        .into_iter()
        .map(|field| field.field.map(field_from_wire).ok_or_else(unknown))
        .collect();
    Ok((prf, fields?))
}

fn field_to_wire(field: DataField) -> mode::Field {
    let number = |bits: u64, little_endian| mode::Number {
        bits: u32::try_from(bits).unwrap_or(u32::MAX),
        little_endian,
    };
    let field = match field {
        DataField::Counter { little_endian, bits } => {
            mode::field::Field::Counter(number(bits, little_endian))
        }
        DataField::Length { of_keys: true, little_endian, bits } => {
            mode::field::Field::Length(number(bits, little_endian))
        }
        DataField::Length { of_keys: false, little_endian, bits } => {
            mode::field::Field::LengthOfBlocks(number(bits, little_endian))
        }
        DataField::Bytes(bytes) => mode::field::Field::Bytes(bytes),
        DataField::Before => mode::field::Field::Before(wire::Done {}),
    };
    mode::Field { field: Some(field) }
}

fn field_from_wire(field: mode::field::Field) -> DataField {
    match field {
        mode::field::Field::Counter(mode::Number { bits, little_endian }) => {
            DataField::Counter { little_endian, bits: bits.into() }
        }
        mode::field::Field::Length(mode::Number { bits, little_endian }) => {
            DataField::Length { of_keys: true, little_endian, bits: bits.into() }
        }
        mode::field::Field::LengthOfBlocks(mode::Number { bits, little_endian }) => {
            DataField::Length { of_keys: false, little_endian, bits: bits.into() }
        }
        mode::field::Field::Bytes(bytes) => DataField::Bytes(bytes),
        mode::field::Field::Before(_) => DataField::Before,
    }
}

#[cfg(test)]
mod tests {
    use keyward_crypto::digest::Hash;

    use super::super::BlockCipher;
    use super::*;

    #[test]
    fn derivation_schemes_survive_the_wire() {
        let hash = Hash::Sha3_256;
        let kdf = Some(Kdf { hash, shared: vec![1] });
        let counter = DataField::Counter { little_endian: true, bits: 24 };
        let length = |of_keys| DataField::Length { of_keys, little_endian: false, bits: 40 };
        let fields = vec![DataField::Bytes(vec![2]), counter, length(true), length(false)];
        let block = |mode| EncryptionScheme::Block { cipher: BlockCipher::Aes, mode };
        let data = || vec![3; 16].into();
        for scheme in [
            DerivationScheme::Ecdh { peer: vec![4; 32], kdf },
            DerivationScheme::Ecdh { peer: vec![4; 32], kdf: None },
            DerivationScheme::Dh { peer: vec![5] },
            DerivationScheme::Hkdf { hash, extract: Some(HkdfSalt::Key), expand: None },
            DerivationScheme::Hkdf {
                hash,
                extract: Some(HkdfSalt::Data(vec![6])),
                expand: Some(vec![]),
            },
            DerivationScheme::Hkdf { hash, extract: None, expand: Some(vec![7]) },
            DerivationScheme::CounterMode { prf: PrfName::Hmac(hash), fields: fields.clone() },
            DerivationScheme::CounterMode { prf: PrfName::Cmac(BlockCipher::Aes), fields },
            DerivationScheme::FeedbackMode {
                prf: PrfName::Hmac(hash),
                fields: vec![DataField::Before, DataField::Bytes(vec![1])],
                iv: vec![2; 5],
            },
            DerivationScheme::Data { before: data(), after: vec![].into() },
            DerivationScheme::Key,
            DerivationScheme::Xor(data()),
            DerivationScheme::Extract(77),
            DerivationScheme::Digest(hash),
            DerivationScheme::Encryption { scheme: block(BlockMode::Ecb), data: data() },
            DerivationScheme::Encryption {
                scheme: block(BlockMode::Cbc { chain: vec![8; 16] }),
                data: data(),
            },
            DerivationScheme::TlsPrf {
                hash: Some(hash),
                label: vec![9],
                seed: vec![10],
                length: Some(48),
                tells_version: true,
            },
            DerivationScheme::TlsPrf {
                hash: None,
                label: vec![],
                seed: vec![],
                length: None,
                tells_version: false,
            },
        ] {
            let wire = wire::Derivation::from(scheme.clone());
            assert!(DerivationScheme::try_from(wire).unwrap() == scheme, "{scheme:?}");
        }
    }

    #[test]
    fn derivation_schemes_that_cannot_be_are_refused() {
        let counter = mode::Number { bits: 7, little_endian: false };
        let counter = mode::Field { field: Some(mode::field::Field::Counter(counter)) };
        let prf = Some(mode::Prf::Hmac(hash_to_wire(Hash::Sha256)));
        for scheme in [
            None,
            Some(derivation::Scheme::Hkdf(wire::Hkdf::default())),
            Some(derivation::Scheme::CounterMode(wire::CounterMode { prf, fields: vec![] })),
            Some(derivation::Scheme::CounterMode(wire::CounterMode { prf, fields: vec![counter] })),
            Some(derivation::Scheme::Digest(0)),
            Some(derivation::Scheme::Encryption(wire::EncryptedData {
                block: Some(wire::Block {
                    cipher: wire::BlockCipher::Aes as i32,
                    mode: Some(wire::block::Mode::CbcPad(vec![1; 16])),
                }),
                data: vec![],
            })),
        ] {
            assert!(DerivationScheme::try_from(wire::Derivation { scheme }).is_err());
        }
    }
}
