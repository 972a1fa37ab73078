//! What a store or a backup holds, counted entry by entry.

use std::collections::BTreeMap;

use cryptoki_sys::{CKO_CERTIFICATE, CKO_DATA, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_SECRET_KEY};

use super::Info;
use crate::authority::Authority;
use crate::clock;
use crate::id::Id;
use crate::state::{Item, Unreadable};
use crate::store::records::{IdentityRecord, TokenRecord};
use crate::store::vault::Vault;

/// What is in a backup whose every value was found to decrypt and to parse.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// What it says of itself.
    pub info: Info,
    /// By label.
    pub tokens: Vec<TokenSummary>,
    /// By name.
    pub identities: Vec<IdentitySummary>,
    /// Of all tokens.
    pub objects: Objects,
}

/// A token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenSummary {
    /// Its label.
    pub label: String,
    /// 16 hexadecimal digits.
    pub serial: String,
    /// Its objects.
    pub objects: Objects,
}

/// Objects by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the classes' own")]
pub struct Objects {
    pub private_keys: u64,
    pub public_keys: u64,
    pub certificates: u64,
    pub secret_keys: u64,
    pub data: u64,
    /// Of any other class.
    pub others: u64,
}

/// An identity.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IdentitySummary {
    /// Its name.
    pub name: String,
    /// Whether it is an administrator's.
    pub administrator: bool,
    /// Whether it is revoked.
    pub revoked: bool,
    /// When its certificate ends; seconds since 1970-01-01 UTC.
    pub certificate_expires: u64,
}

/// Counts entries; what it holds grows with tokens and identities only.
#[derive(Default)]
pub(crate) struct Inventory {
    tokens: BTreeMap<Id, (Option<TokenRecord>, Objects)>,
    identities: Vec<IdentityRecord>,
    authority: Option<Authority>,
}

impl Inventory {
    /// Takes in an entry that decrypts and parses.
    pub(crate) fn add(&mut self, vault: &Vault, key: &str, value: &[u8]) -> Result<(), Unreadable> {
        match Item::open(vault, key, value, 0)? {
            Item::Token(id, record) => self.tokens.entry(id).or_default().0 = Some(record),
            Item::Identity(_, record) => self.identities.push(record),
            Item::Object(token, stored) => {
                let class = stored.object.class();
                if class == CKO_PRIVATE_KEY && stored.private_key().is_err() {
                    return Err(Unreadable::of(key));
                }
                *self.tokens.entry(token).or_default().1.of(class) += 1;
            }
            Item::Authority(record) => {
                let authority = Authority::open(&record).map_err(|_| Unreadable::of(key))?;
                self.authority = Some(authority);
            }
            _ => {}
        }
        Ok(())
    }

    /// The authority, if there was one.
    pub(crate) fn take_authority(&mut self) -> Option<Authority> {
        self.authority.take()
    }

    pub(crate) fn summary(self, info: Info) -> Summary {
        let mut objects = Objects::default();
        let mut tokens = Vec::new();
        for (record, own) in self.tokens.into_values() {
            objects.add(own);
            // Objects whose token is gone are of no use to anybody.
            if let Some(TokenRecord { label, serial, .. }) = record {
                tokens.push(TokenSummary { label, serial, objects: own });
            }
        }
        tokens.sort_by(|one, other| one.label.cmp(&other.label));
        let mut identities: Vec<_> = self.identities.into_iter().map(IdentitySummary::of).collect();
        identities.sort_by(|one, other| one.name.cmp(&other.name));
        Summary { info, tokens, identities, objects }
    }
}

impl IdentitySummary {
    fn of(record: IdentityRecord) -> Self {
        Self {
            name: record.name,
            administrator: record.administrator,
            revoked: record.revoked,
            certificate_expires: record.certificate_expires,
        }
    }

    /// Whether it may connect, as far as the store and the clock know.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.revoked && self.certificate_expires > clock::seconds()
    }
}

impl Objects {
    /// How many there are.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.private_keys
            + self.public_keys
            + self.certificates
            + self.secret_keys
            + self.data
            + self.others
    }

    fn of(&mut self, class: u64) -> &mut u64 {
        match class {
            CKO_PRIVATE_KEY => &mut self.private_keys,
            CKO_PUBLIC_KEY => &mut self.public_keys,
            CKO_CERTIFICATE => &mut self.certificates,
            CKO_SECRET_KEY => &mut self.secret_keys,
            CKO_DATA => &mut self.data,
            _ => &mut self.others,
        }
    }

    fn add(&mut self, other: Self) {
        self.private_keys += other.private_keys;
        self.public_keys += other.public_keys;
        self.certificates += other.certificates;
        self.secret_keys += other.secret_keys;
        self.data += other.data;
        self.others += other.others;
    }
}
