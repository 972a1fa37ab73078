//! How a key that nobody may see goes from one token to another: wrapped by the
//! source under a key of the target's.

use std::ptr::null_mut;

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismInfo, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use cryptoki_sys::*;
use keyward_hsm::attributes::{Template, read};
use keyward_token::Attributes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::object::Object;
use crate::token::Token;
use crate::token::failure::{failure, name};

/// How wrapped keys go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transport {
    /// By which mechanisms.
    pub method: Method,
    /// Whether the wrapping key must be one that the source's security officer
    /// trusts (CKA_WRAP_WITH_TRUSTED).
    #[serde(default)]
    pub trusted: bool,
}

/// Mechanisms that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// CKM_RSA_AES_KEY_WRAP under the target's RSA key.
    RsaAesKeyWrap,
    /// CKM_AES_KEY_WRAP_PAD (RFC 5649) under an AES key of the source's, which went by
    /// CKM_RSA_PKCS_OAEP under the target's RSA key.
    OaepThenAesKeyWrapPad,
}

impl Transport {
    /// Chooses by what both sides list.
    ///
    /// # Errors
    /// What is missing, as the end of a sentence.
    pub fn choose(source: &Token, target: &Token) -> std::result::Result<Self, String> {
        type Can = fn(&MechanismInfo) -> bool;
        let missing = |token: &Token, wanted: &[(MechanismType, &str, Can)]| {
            wanted
                .iter()
                .find(|(mechanism, _, can)| !token.mechanism(*mechanism).is_some_and(|it| can(&it)))
                .map(|(_, name, _)| format!("{} has no {name}", token.name()))
        };
        let pair: (MechanismType, &str, Can) = (
            MechanismType::RSA_PKCS_KEY_PAIR_GEN,
            "CKM_RSA_PKCS_KEY_PAIR_GEN",
            MechanismInfo::generate_key_pair,
        );
        let one = |can: Can| (rsa_aes_key_wrap(), "CKM_RSA_AES_KEY_WRAP", can);
        let short = missing(source, &[one(MechanismInfo::wrap)])
            .or_else(|| missing(target, &[one(MechanismInfo::unwrap), pair]));
        if short.is_none() {
            return Ok(Self { method: Method::RsaAesKeyWrap, trusted: false });
        }
        let oaep =
            |can: Can| (MechanismType::RSA_PKCS_OAEP, "CKM_RSA_PKCS_OAEP for wrapped keys", can);
        let pad = |can: Can| {
            (MechanismType::AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD for wrapped keys", can)
        };
        let generate: (MechanismType, &str, Can) =
            (MechanismType::AES_KEY_GEN, "CKM_AES_KEY_GEN", MechanismInfo::generate);
        let from = [oaep(MechanismInfo::wrap), pad(MechanismInfo::wrap), generate];
        let to = [oaep(MechanismInfo::unwrap), pad(MechanismInfo::unwrap), pair];
        match missing(source, &from).or_else(|| missing(target, &to)) {
            None => Ok(Self { method: Method::OaepThenAesKeyWrapPad, trusted: false }),
            Some(missing) => Err(missing),
        }
    }

    /// For people.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self.method {
            Method::RsaAesKeyWrap => "by CKM_RSA_AES_KEY_WRAP under an RSA key of the target",
            Method::OaepThenAesKeyWrapPad => {
                "by CKM_AES_KEY_WRAP_PAD under an AES key that itself goes by CKM_RSA_PKCS_OAEP"
            }
        }
    }
}

/// Tries whether the source wraps a key, under a key that goes with its session.
pub(crate) struct Wrapping {
    session: Session,
    key: Option<ObjectHandle>,
    token: String,
}

impl Wrapping {
    pub(crate) fn new(token: &Token) -> Result<Self> {
        let session = token.session()?;
        let key = aes_key(&session, &token.name(), false).ok();
        Ok(Self { session, key, token: token.name() })
    }

    /// Why not, if so; `None` if it does or nothing is known.
    pub(crate) fn would(&mut self, object: &Object) -> Result<Option<String>> {
        let (Some(key), Some(handle)) = (self.key, object.handle) else { return Ok(None) };
        match self.session.wrap_key(&Mechanism::AesKeyWrapPad, key, handle) {
            Ok(_) => Ok(None),
            Err(cryptoki::error::Error::Pkcs11(value, function)) => {
                let error = cryptoki::error::Error::Pkcs11(value, function);
                let failure = failure(&self.token, &error);
                match failure.kind() {
                    crate::error::Kind::Token => Err(failure),
                    _ => Ok(Some(format!("C_WrapKey says {}", name(&value)))),
                }
            }
            Err(error) => Ok(Some(error.to_string())),
        }
    }
}

/// Both ends of a transport, ready for keys. Its keys are session objects, but
/// for one that the source's security officer made.
pub struct Bridge {
    method: Method,
    hash: OaepHash,
    /// In the source.
    wrapping: ObjectHandle,
    /// In the target.
    unwrapping: ObjectHandle,
    /// Keep the keys of both ends alive.
    sessions: std::sync::Mutex<(Session, Session)>,
    /// A token object to be removed in the end.
    officers: Option<ObjectHandle>,
}

/// What the security officer makes before the user logs in: an AES key, trusted.
///
/// # Errors
/// If the PIN is wrong, or the token trusts none.
pub fn trusted_key(
    library: &cryptoki::context::Pkcs11,
    slot: cryptoki::slot::Slot,
    token: &str,
    pin: &str,
) -> Result<()> {
    let refused = |error| failure(&format!("{token}, as its security officer"), &error);
    let session = library.open_rw_session(slot).map_err(refused)?;
    session.login(UserType::So, Some(&AuthPin::new(pin.into()))).map_err(refused)?;
    // One that a run before this one left is as good.
    let made = match officers_key(&session, token) {
        Ok(there) => Ok(there),
        Err(_) => aes_key(&session, token, true),
    };
    // The last session's end is the login's end, too.
    let _ = session.logout();
    made.map(drop)
}

impl Bridge {
    /// Lets the target make an RSA key pair, gives its public key to the source,
    /// and agrees on an AES key where the method has one.
    ///
    /// # Errors
    /// What either token says.
    pub fn build(transport: &Transport, source: &Token, target: &Token) -> Result<Self> {
        let (from, to) = (source.session()?, target.session()?);
        let (public, private) = rsa_pair(&to, &target.name())?;
        let public = public_to(&from, &source.name(), &public)?;
        let mut bridge = Self {
            method: transport.method,
            hash: OaepHash::Sha256,
            wrapping: public,
            unwrapping: private,
            sessions: std::sync::Mutex::new((from, to)),
            officers: None,
        };
        if transport.method == Method::OaepThenAesKeyWrapPad {
            bridge.agree(transport, source, target, public, private)?;
        }
        Ok(bridge)
    }

    /// SHA-256 where both do it, else SHA-1, which is what SoftHSM has.
    fn agree(
        &mut self,
        transport: &Transport,
        source: &Token,
        target: &Token,
        public: ObjectHandle,
        private: ObjectHandle,
    ) -> Result<()> {
        let sessions = self.sessions.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (from, to) = &*sessions;
        let key = match transport.trusted {
            false => aes_key(from, &source.name(), false)?,
            true => {
                let key = officers_key(from, &source.name())?;
                self.officers = Some(key);
                key
            }
        };
        let mut template = Attributes::new();
        for (attribute, value) in [
            (CKA_TOKEN, false),
            (CKA_SENSITIVE, true),
            (CKA_EXTRACTABLE, false),
            (CKA_UNWRAP, true),
        ] {
            template.set(attribute, value);
        }
        template.set(CKA_CLASS, CKO_SECRET_KEY);
        template.set(CKA_KEY_TYPE, CKK_AES);
        let template = Template::from(&template);
        let mut last = None;
        for hash in [OaepHash::Sha256, OaepHash::Sha1] {
            let mechanism = Mechanism::RsaPkcsOaep(hash.params());
            let wrapped = match from.wrap_key(&mechanism, public, key) {
                Ok(wrapped) => wrapped,
                Err(error) => {
                    last = Some(failure(&format!("{}, wrapping", source.name()), &error));
                    continue;
                }
            };
            match to.unwrap_key(&mechanism, private, &wrapped, template.as_slice()) {
                Ok(unwrapping) => {
                    self.hash = hash;
                    self.wrapping = key;
                    self.unwrapping = unwrapping;
                    return Ok(());
                }
                Err(error) => {
                    last = Some(failure(&format!("{}, unwrapping", target.name()), &error));
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::new("no hash is left for OAEP")))
    }

    /// Moves one key; `template` is what it is to be in the target.
    ///
    /// # Errors
    /// What either token says.
    pub fn carry(
        &self,
        (from, to): (&Session, &Session),
        key: ObjectHandle,
        template: &Attributes,
        what: &str,
    ) -> Result<ObjectHandle> {
        let template = Template::from(template);
        let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: self.hash.mechanism(),
            mgf: self.hash.mgf(),
            source: CKZ_DATA_SPECIFIED,
            pSourceData: null_mut(),
            ulSourceDataLen: 0,
        };
        let both = CK_RSA_AES_KEY_WRAP_PARAMS { ulAESKeyBits: 256, pOAEPParams: &raw mut oaep };
        let mechanism = match self.method {
            Method::OaepThenAesKeyWrapPad => Mechanism::AesKeyWrapPad,
            Method::RsaAesKeyWrap => Mechanism::VendorDefined(VendorDefinedMechanism::new(
                rsa_aes_key_wrap(),
                Some(&both),
            )),
        };
        let wrapped = from
            .wrap_key(&mechanism, self.wrapping, key)
            .map_err(|error| failure(&format!("{what}, wrapping at the source"), &error))?;
        to.unwrap_key(&mechanism, self.unwrapping, &wrapped, template.as_slice())
            .map_err(|error| failure(&format!("{what}, unwrapping in the target"), &error))
    }

    /// Removes what outlives a session.
    ///
    /// # Errors
    /// What the source says; the key is then left there.
    pub fn take_down(&self) -> Result<()> {
        let Some(key) = self.officers else { return Ok(()) };
        let sessions = self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sessions
            .0
            .destroy_object(key)
            .map_err(|error| failure(&format!("the trusted key {TRUSTED_LABEL:?}"), &error))
    }
}

#[derive(Clone, Copy, Debug)]
enum OaepHash {
    Sha256,
    Sha1,
}

impl OaepHash {
    fn params(self) -> PkcsOaepParams<'static> {
        let (hash, mgf) = match self {
            Self::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
            Self::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        };
        PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty())
    }

    fn mechanism(self) -> CK_MECHANISM_TYPE {
        match self {
            Self::Sha256 => CKM_SHA256,
            Self::Sha1 => CKM_SHA_1,
        }
    }

    fn mgf(self) -> CK_RSA_PKCS_MGF_TYPE {
        match self {
            Self::Sha256 => CKG_MGF1_SHA256,
            Self::Sha1 => CKG_MGF1_SHA1,
        }
    }
}

/// An RSA key pair that goes with its session: the public half's numbers, and
/// the private half.
fn rsa_pair(session: &Session, token: &str) -> Result<(Attributes, ObjectHandle)> {
    let refused = |error| failure(&format!("{token}, making an RSA key"), &error);
    let mut public = Attributes::new();
    public.set(CKA_TOKEN, false);
    public.set(CKA_MODULUS_BITS, RSA_BITS);
    public.set(CKA_PUBLIC_EXPONENT, &[1, 0, 1][..]);
    for attribute in [CKA_ENCRYPT, CKA_WRAP] {
        public.set(attribute, true);
    }
    let mut private = Attributes::new();
    for (attribute, value) in [
        (CKA_TOKEN, false),
        (CKA_PRIVATE, true),
        (CKA_SENSITIVE, true),
        (CKA_EXTRACTABLE, false),
        (CKA_DECRYPT, true),
        (CKA_UNWRAP, true),
    ] {
        private.set(attribute, value);
    }
    let (public, private) = session
        .generate_key_pair(
            &Mechanism::RsaPkcsKeyPairGen,
            Template::from(&public).as_slice(),
            Template::from(&private).as_slice(),
        )
        .map_err(refused)?;
    let numbers = read(session, public, &[CKA_MODULUS, CKA_PUBLIC_EXPONENT]).map_err(refused)?;
    Ok((numbers, private))
}

fn public_to(session: &Session, token: &str, numbers: &Attributes) -> Result<ObjectHandle> {
    let mut public = numbers.clone();
    public.set(CKA_CLASS, CKO_PUBLIC_KEY);
    public.set(CKA_KEY_TYPE, CKK_RSA);
    public.set(CKA_TOKEN, false);
    public.set(CKA_ENCRYPT, true);
    public.set(CKA_WRAP, true);
    session
        .create_object(Template::from(&public).as_slice())
        .map_err(|error| failure(&format!("{token}, taking the target's public key"), &error))
}

/// An AES key to wrap with; one that is trusted is made by the security officer,
/// who sees no private objects, and is left for the user to find.
fn aes_key(session: &Session, token: &str, trusted: bool) -> Result<ObjectHandle> {
    let mut template = Attributes::new();
    for (attribute, value) in [
        (CKA_TOKEN, trusted),
        (CKA_PRIVATE, !trusted),
        (CKA_SENSITIVE, true),
        (CKA_EXTRACTABLE, true),
        (CKA_WRAP, true),
    ] {
        template.set(attribute, value);
    }
    if trusted {
        template.set(CKA_TRUSTED, true);
        template.set(CKA_LABEL, TRUSTED_LABEL.as_bytes());
    }
    template.set(CKA_VALUE_LEN, AES_BYTES);
    session
        .generate_key(&Mechanism::AesKeyGen, Template::from(&template).as_slice())
        .map_err(|error| failure(&format!("{token}, making an AES key"), &error))
}

fn officers_key(session: &Session, token: &str) -> Result<ObjectHandle> {
    let mut wanted = Attributes::new();
    wanted.set(CKA_CLASS, CKO_SECRET_KEY);
    wanted.set(CKA_LABEL, TRUSTED_LABEL.as_bytes());
    wanted.set(CKA_TRUSTED, true);
    let found = session
        .find_objects(Template::from(&wanted).as_slice())
        .map_err(|error| failure(token, &error))?;
    found.first().copied().ok_or_else(|| {
        Error::new(format!("{token} shows no key that its security officer made and trusts"))
    })
}

/// `cryptoki` 0.12 has no constant for it, and its constructor takes numbers of
/// vendors only.
fn rsa_aes_key_wrap() -> MechanismType {
    // SAFETY: MechanismType is `repr(transparent)` over CK_MECHANISM_TYPE, of which every value is
    // valid; it says so itself, so that a slice of one is a slice of the other.
    unsafe { std::mem::transmute::<CK_MECHANISM_TYPE, MechanismType>(CKM_RSA_AES_KEY_WRAP) }
}

const TRUSTED_LABEL: &str = "keyward-migrate transport";

/// As strong as AES-128, and quick to make.
const RSA_BITS: u64 = 3072;
const AES_BYTES: u64 = 32;
