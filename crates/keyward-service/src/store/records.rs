//! What stands in the store, encrypted. Fields may be added, none may change
//! its meaning.

use keyward_token::mechanism::Policy;
use keyward_wire as wire;
use prost::Message;

/// A token.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct TokenRecord {
    #[prost(string, tag = "1")]
    pub(crate) label: String,
    #[prost(string, tag = "2")]
    pub(crate) serial: String,
    #[prost(enumeration = "wire::LoginMode", tag = "3")]
    pub(crate) login_mode: i32,
    #[prost(message, required, tag = "4")]
    pub(crate) so_pin: PinRecord,
    /// Absent until the user PIN is set.
    #[prost(message, optional, tag = "5")]
    pub(crate) user_pin: Option<PinRecord>,
    /// Another one whenever the security officer's PIN changes; ends their
    /// tickets.
    #[prost(uint64, tag = "6")]
    pub(crate) so_generation: u64,
    /// Another one whenever the user's PIN changes; ends the users' tickets.
    #[prost(uint64, tag = "7")]
    pub(crate) user_generation: u64,
    /// Seconds since 1970-01-01 UTC.
    #[prost(uint64, tag = "8")]
    pub(crate) created: u64,
    #[prost(enumeration = "wire::Policy", tag = "9")]
    pub(crate) policy: i32,
    /// The HSM that its keys are in, as the configuration calls it; empty: in
    /// the store.
    #[prost(string, tag = "10")]
    pub(crate) hsm: String,
    /// What hosts see as its label, if that is another.
    #[prost(string, tag = "11")]
    pub(crate) shown_label: String,
}

impl TokenRecord {
    /// Which mechanisms and keys the token offers. Of a policy that this version does not know it
    /// takes the strictest that it knows.
    pub(crate) fn policy_in_force(&self) -> Policy {
        wire::Policy::try_from(self.policy).map_or(Policy::Fips, Policy::from)
    }
}

/// A PIN, hashed by argon2id.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct PinRecord {
    /// KiB.
    #[prost(uint32, tag = "1")]
    pub(crate) memory: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) passes: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) lanes: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) salt: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) hash: Vec<u8>,
}

/// Who may connect, and what they may see.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IdentityRecord {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) grants: Vec<GrantRecord>,
    #[prost(bool, tag = "3")]
    pub(crate) administrator: bool,
    #[prost(bool, tag = "4")]
    pub(crate) revoked: bool,
    /// Seconds since 1970-01-01 UTC.
    #[prost(uint64, tag = "5")]
    pub(crate) created: u64,
    /// Seconds since 1970-01-01 UTC.
    #[prost(uint64, tag = "6")]
    pub(crate) certificate_expires: u64,
    /// Those that were issued and have not expired; the newest is last.
    #[prost(message, repeated, tag = "7")]
    pub(crate) certificates: Vec<CertificateRecord>,
    /// Only the recorded certificates are good, since others were revoked.
    #[prost(bool, tag = "8")]
    pub(crate) recorded_only: bool,
    /// The life that an administrator gave its certificate; 0: not recorded.
    #[prost(uint32, tag = "9")]
    pub(crate) valid_days: u32,
}

/// A certificate of an identity.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CertificateRecord {
    /// Without leading zero bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) serial: Vec<u8>,
    /// Seconds since 1970-01-01 UTC.
    #[prost(uint64, tag = "2")]
    pub(crate) expires: u64,
}

impl IdentityRecord {
    /// Whether a certificate of this serial number, which the authority signed
    /// for the identity, is still good.
    pub(crate) fn accepts(&self, serial: &[u8]) -> bool {
        !self.revoked
            && (!self.recorded_only
                || self.certificates.iter().any(|issued| issued.serial == serial))
    }
}

/// A token that an identity was given.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GrantRecord {
    /// The token's identifier.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) token: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(crate) read_only: bool,
}

/// Wrong PINs since the last right one.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct PinCountRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) wrong: u32,
}

/// The result of an operation that changed something.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct OperationRecord {
    /// Seconds since 1970-01-01 UTC.
    #[prost(uint64, tag = "1")]
    pub(crate) time: u64,
    /// A keyed hash of what was asked: the same identifier may not stand for
    /// something else.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) digest: Vec<u8>,
    /// The answer, an encoded `Response`.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) response: Vec<u8>,
    /// The answer carries a ticket of these claims, made anew each time.
    #[prost(message, optional, tag = "4")]
    pub(crate) claims: Option<Claims>,
    /// The token whose revision the answer carries; empty: none.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) token: Vec<u8>,
}

/// What a ticket says.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Claims {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) identity: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) token: Vec<u8>,
    #[prost(enumeration = "wire::UserType", tag = "3")]
    pub(crate) user_type: i32,
    #[prost(uint64, tag = "4")]
    pub(crate) generation: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) instance: Vec<u8>,
    /// Milliseconds since 1970-01-01 UTC; 0 in a refresh part, which has none.
    #[prost(uint64, tag = "6")]
    pub(crate) expires: u64,
    /// CKA_UNIQUE_ID of the key that the PIN was given for, in a ticket for one use.
    #[prost(string, tag = "7")]
    pub(crate) key: String,
}

/// The certificate authority.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct AuthorityRecord {
    /// DER.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) certificate: Vec<u8>,
    /// PKCS#8, DER.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) private_key: Vec<u8>,
}

impl std::fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRecord").field("label", &self.label).finish_non_exhaustive()
    }
}

macro_rules! name_only {
    ($($record:ident),*) => {$(
        impl std::fmt::Debug for $record {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($record)).finish_non_exhaustive()
            }
        }
    )*};
}

name_only!(PinRecord, OperationRecord, AuthorityRecord);
