//! The keys of the store. They name things by random identifiers and keyed
//! hashes, never by what people call them: keys are not encrypted.

use crate::id::Id;

/// The version of everything that stands in a store.
pub(crate) const FORMAT_KEY: &str = "meta/format";
/// The random number that a store gets when it is made.
pub(crate) const INCARNATION_KEY: &str = "meta/incarnation";
/// The data key, wrapped by the master key.
pub(crate) const DATA_KEY_KEY: &str = "meta/data-key";
/// What is wrong with a store in which [`LOADING_KEY`] is found.
pub(crate) const HALF_WRITTEN: &str = "it is half written, by a restore or a copy that was cut \
     off or is still under way; run that again with --resume";
/// Is there while a restore or a copy fills the store, and no longer.
pub(crate) const LOADING_KEY: &str = "meta/loading";
/// What all keys that the store says something of itself by have in common.
pub(crate) const META: &str = "meta/";
/// What all results of operations have in common.
pub(crate) const OPERATIONS: &str = "operation/";
/// Is written by each transaction in a store that many share: its version says
/// what the last one was, whoever made it.
pub(crate) const CLOCK_KEY: &str = "meta/clock";
/// The authority's certificate and private key.
pub(crate) const AUTHORITY_KEY: &str = "authority";

/// What a key of the store names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// What the store says of itself; not encrypted.
    Meta,
    /// As [`INCARNATION_KEY`]; not encrypted.
    Incarnation,
    Authority,
    Identity(Id),
    /// Keeps a name unique; by the name's keyed hash.
    IdentityName,
    Token(Id),
    /// Keeps a label unique; by the label's keyed hash.
    TokenLabel,
    /// Written whenever the token or an object of it changes.
    Revision(Id),
    Object(Id, String),
    /// Wrong PINs.
    Pin(PinKey),
    /// The result of an operation, by identity and operation id.
    Operation(Id, Id),
}

/// Whose wrong PINs are counted where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PinKey {
    pub(crate) token: Id,
    pub(crate) officer: bool,
    pub(crate) identity: Id,
}

impl Path {
    /// What `key` names; `None` if it is none of this version's keys.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        if key == INCARNATION_KEY {
            return Some(Self::Incarnation);
        }
        let mut parts = key.split('/');
        let kind = parts.next()?;
        let mut id = || parts.next().and_then(Id::from_hex);
        Some(match kind {
            "meta" => Self::Meta,
            AUTHORITY_KEY => Self::Authority,
            "identity" => Self::Identity(id()?),
            "identity-name" => Self::IdentityName,
            "token" => Self::Token(id()?),
            "token-label" => Self::TokenLabel,
            "revision" => Self::Revision(id()?),
            "object" => Self::Object(id()?, parts.next()?.to_owned()),
            "pin" => Self::Pin(PinKey {
                token: id()?,
                identity: id()?,
                officer: parts.next()? == OFFICER,
            }),
            "operation" => Self::Operation(id()?, id()?),
            _ => return None,
        })
    }
}

pub(crate) fn identity(uid: Id) -> String {
    format!("identity/{uid}")
}

pub(crate) fn identity_name(hash: &str) -> String {
    format!("identity-name/{hash}")
}

pub(crate) fn token(id: Id) -> String {
    format!("token/{id}")
}

pub(crate) fn token_label(hash: &str) -> String {
    format!("token-label/{hash}")
}

pub(crate) fn revision(token: Id) -> String {
    format!("revision/{token}")
}

pub(crate) fn object(token: Id, unique_id: &str) -> String {
    format!("object/{token}/{unique_id}")
}

/// What the objects of a token have in common.
pub(crate) fn objects(token: Id) -> String {
    format!("object/{token}/")
}

/// What the counters of a token have in common.
pub(crate) fn pins(token: Id) -> String {
    format!("pin/{token}/")
}

pub(crate) fn pin(key: PinKey) -> String {
    let user = if key.officer { OFFICER } else { USER };
    format!("pin/{}/{}/{user}", key.token, key.identity)
}

pub(crate) fn operation(identity: Id, operation: Id) -> String {
    format!("operation/{identity}/{operation}")
}

const OFFICER: &str = "so";
const USER: &str = "user";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_parsed_back_to_what_it_names() {
        let (a, b) = (Id::random(), Id::random());
        let pin_key = PinKey { token: a, officer: true, identity: b };
        let cases = [
            (identity(a), Path::Identity(a)),
            (identity_name("00"), Path::IdentityName),
            (token(a), Path::Token(a)),
            (token_label("00"), Path::TokenLabel),
            (revision(a), Path::Revision(a)),
            (object(a, "ff"), Path::Object(a, "ff".to_owned())),
            (pin(pin_key), Path::Pin(pin_key)),
            (operation(a, b), Path::Operation(a, b)),
            (AUTHORITY_KEY.to_owned(), Path::Authority),
            (FORMAT_KEY.to_owned(), Path::Meta),
            (INCARNATION_KEY.to_owned(), Path::Incarnation),
        ];
        for (key, path) in cases {
            assert_eq!(Path::parse(&key), Some(path), "{key}");
        }
        assert_eq!(Path::parse("later/thing"), None);
    }
}
