//! What is moved: one PKCS#11 object, wherever it stands now.

use cryptoki::object::ObjectHandle;
use cryptoki_sys::*;
use keyward_token::Attributes;
use keyward_token::certificate::Parts;
use keyward_token::describe::kind;

use crate::error::Error;
use crate::material::{canonical, fingerprint, hex, public_key_info};

/// An object of a source or target.
#[derive(Debug)]
pub struct Object {
    /// What a plan calls it: the same whenever the source is read.
    pub reference: String,
    /// The file or token that it is in.
    pub place: String,
    /// The keystore's entry that it came of.
    pub entry: Option<String>,
    /// All that may be shown.
    pub attributes: Attributes,
    /// The same with the secret parts, where they are at hand.
    pub secret: Option<Attributes>,
    /// Where it is in its token.
    pub handle: Option<ObjectHandle>,
    /// Attributes that it has and that cannot be read.
    pub unread: Vec<u64>,
    /// Whether its token shows nothing of it, not even its class.
    pub refused: bool,
    /// The DER SubjectPublicKeyInfo that belongs to it, in one form for each key.
    pub info: Option<Vec<u8>>,
    /// Why a key could not be opened.
    pub closed: Option<Error>,
}

impl Object {
    /// An object of these attributes; its reference is given by [`number`].
    pub(crate) fn new(place: &str, attributes: Attributes) -> Self {
        let info = match attributes.number(CKA_CLASS) {
            Some(CKO_CERTIFICATE) => attributes
                .bytes(CKA_VALUE)
                .and_then(|der| Parts::of(der).ok())
                .map(|parts| canonical(&parts.public_key_info)),
            Some(CKO_PRIVATE_KEY | CKO_PUBLIC_KEY) => {
                public_key_info(&attributes).map(|info| canonical(&info))
            }
            _ => None,
        };
        Self {
            reference: String::new(),
            place: place.to_owned(),
            entry: None,
            attributes,
            secret: None,
            handle: None,
            unread: Vec::new(),
            refused: false,
            info,
            closed: None,
        }
    }

    /// CKA_CLASS.
    #[must_use]
    pub fn class(&self) -> u64 {
        self.attributes.number(CKA_CLASS).unwrap_or(CK_UNAVAILABLE_INFORMATION)
    }

    /// "private key", "certificate" and so on.
    #[must_use]
    pub fn class_name(&self) -> &'static str {
        match self.class() {
            CKO_PRIVATE_KEY => "private key",
            CKO_PUBLIC_KEY => "public key",
            CKO_SECRET_KEY => "secret key",
            CKO_CERTIFICATE => "certificate",
            CKO_DATA => "data",
            _ => "object of another class",
        }
    }

    /// "RSA 2048", "EC P-256"; empty for what is no key.
    #[must_use]
    pub fn kind(&self) -> String {
        match self.class() {
            CKO_PRIVATE_KEY | CKO_PUBLIC_KEY | CKO_SECRET_KEY => kind(&self.attributes),
            _ => String::new(),
        }
    }

    /// CKA_LABEL, as far as it is text.
    #[must_use]
    pub fn label(&self) -> String {
        String::from_utf8_lossy(self.attributes.bytes(CKA_LABEL).unwrap_or_default()).into_owned()
    }

    /// CKA_ID.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        self.attributes.bytes(CKA_ID).unwrap_or_default()
    }

    /// How a message names it.
    #[must_use]
    pub fn name(&self) -> String {
        let what = format!("{} {}", self.kind(), self.class_name());
        let label = match self.label() {
            label if label.is_empty() => format!("with id 0x{}", hex(self.id())),
            label => format!("{label:?}"),
        };
        format!("{} {label}", what.trim())
    }

    /// Whether it has neither a name nor what it is made of: SoftHSM writes an
    /// object's file in several steps, and leaves this if its process is killed.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        let lacks = |attribute| self.attributes.bytes(attribute).is_none_or(<[u8]>::is_empty);
        let material = match self.class() {
            CKO_CERTIFICATE | CKO_DATA => lacks(CKA_VALUE),
            CKO_PRIVATE_KEY | CKO_PUBLIC_KEY => {
                lacks(CKA_MODULUS) && lacks(CKA_EC_PARAMS) && lacks(CKA_PRIME)
            }
            CKO_SECRET_KEY => self.attributes.number(CKA_VALUE_LEN).is_none_or(|bytes| bytes == 0),
            _ => self.refused,
        };
        // What could not be opened in a file is another thing.
        material && self.handle.is_some() && lacks(CKA_LABEL) && lacks(CKA_ID)
    }

    /// The certificate's bytes, if it is one.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.attributes.bytes(CKA_VALUE).filter(|_| self.class() == CKO_CERTIFICATE)
    }

    /// SHA-256 over the public key, certificate or data; `None` for what has no
    /// public part.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        match self.class() {
            CKO_CERTIFICATE | CKO_DATA => self.attributes.bytes(CKA_VALUE).map(fingerprint),
            _ => self.info.as_deref().map(fingerprint),
        }
    }
}

/// Gives each object its reference: its class and what distinguishes it. Two that
/// nothing distinguishes are counted.
pub(crate) fn number(objects: &mut [Object]) {
    let mut seen = std::collections::BTreeMap::new();
    for object in objects {
        let parts = [
            object.fingerprint().unwrap_or_default(),
            hex(object.attributes.bytes(CKA_LABEL).unwrap_or_default()),
            hex(object.id()),
            object
                .entry
                .as_ref()
                .map(|entry| format!("{}\n{entry}", object.place))
                .unwrap_or_default(),
        ];
        let class = object.class_name().replace(' ', "-");
        let digest = &fingerprint(parts.join("\n").as_bytes())[..12];
        let reference = format!("{class}-{digest}");
        let count = seen.entry(reference.clone()).or_insert(0);
        *count += 1;
        object.reference = match count {
            1 => reference,
            more => format!("{reference}-{more}"),
        };
    }
}

/// Lets keys that do not show their public half find it by their CKA_ID: in a
/// public key or certificate of the same token.
pub(crate) fn complete(objects: &mut [Object]) {
    let known: Vec<(Vec<u8>, Vec<u8>, u64)> = objects
        .iter()
        .filter(|object| matches!(object.class(), CKO_PUBLIC_KEY | CKO_CERTIFICATE))
        .filter_map(|object| Some((object.id().to_vec(), object.info.clone()?, object.class())))
        .collect();
    for object in objects.iter_mut() {
        if object.class() != CKO_PRIVATE_KEY || object.info.is_some() || object.id().is_empty() {
            continue;
        }
        let fitting =
            |class: u64| known.iter().find(|(id, _, of)| id == object.id() && *of == class);
        object.info =
            fitting(CKO_PUBLIC_KEY).or(fitting(CKO_CERTIFICATE)).map(|(_, info, _)| info.clone());
    }
}
