//! Where objects come from: a token, or keystores in files and folders. What a
//! keystore holds is turned into the objects that a token would have.

use std::path::{Path, PathBuf};

use cryptoki::session::Session;
use cryptoki_sys::*;
use keyward_token::Attributes;
use keyward_token::attribute::is_secret;
use keyward_token::certificate::Parts;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::file::{self, Content, Entry};
use crate::material::key_identifier;
use crate::object::{Object, complete, number};
use crate::password::Passwords;
use crate::token::{Access, Found, Libraries, Pins, Token};
use crate::uri::Uri;

/// A source or target with what is in it.
pub struct Source {
    /// As it was named.
    pub name: String,
    /// "files", or the token's maker and model.
    pub kind: String,
    /// In the order of the source.
    pub objects: Vec<Object>,
    /// What could not be read, and what is odd.
    pub remarks: Vec<Remark>,
    /// The token, if it is one.
    pub token: Option<Token>,
}

/// Something to know about a source.
#[derive(Clone, Debug, Serialize)]
pub struct Remark {
    /// The file or token.
    pub place: String,
    /// One sentence.
    pub text: String,
    /// Whether something is missing because of it.
    pub problem: bool,
}

impl Source {
    /// Opens what is named: `pkcs11:` URIs are tokens, all else files and folders.
    ///
    /// # Errors
    /// If a token cannot be opened, or nothing can be read at all.
    pub fn open(
        names: &[String],
        libraries: &mut Libraries,
        pins: &dyn Pins,
        passwords: &mut Passwords<'_>,
        access: Access<'_>,
    ) -> Result<Self> {
        match names {
            [] => Err(Error::new("no source is named")),
            [name] if Uri::is_one(name) => Self::token(name, libraries, pins, access),
            names if names.iter().any(|name| Uri::is_one(name)) => {
                Err(Error::new("a token is a source alone, without files or another token"))
            }
            names => Self::files(names, passwords),
        }
    }

    /// Opens a token and reads its list of objects.
    ///
    /// # Errors
    /// As [`Token::open`].
    pub fn token(
        uri: &str,
        libraries: &mut Libraries,
        pins: &dyn Pins,
        access: Access<'_>,
    ) -> Result<Self> {
        let token = Token::open(libraries, &uri.parse()?, pins, access)?;
        let objects = objects_of(&token)?;
        let kind = token.model();
        Ok(Self { name: uri.to_owned(), kind, objects, remarks: vec![], token: Some(token) })
    }

    /// Reads the token's list of objects again.
    ///
    /// # Errors
    /// What the token says.
    pub fn refresh(&mut self) -> Result<()> {
        if let Some(token) = &self.token {
            self.objects = objects_of(token)?;
        }
        Ok(())
    }

    fn files(names: &[String], passwords: &mut Passwords<'_>) -> Result<Self> {
        let mut source = Self {
            name: names.join(" "),
            kind: "files".to_owned(),
            objects: vec![],
            remarks: vec![],
            token: None,
        };
        for name in names {
            let path = PathBuf::from(name);
            if !path.is_dir() {
                source.file(&path, passwords)?;
                continue;
            }
            let (files, others) = file::files_below(&path)?;
            if files.is_empty() {
                return Err(Error::new(format!("there is no keystore below {name}")));
            }
            for file in files {
                // One broken file must not hide the others.
                if let Err(error) = source.file(&file, passwords) {
                    source.remark(&file, error.to_string(), true);
                }
            }
            if others > 0 {
                let text = format!("{others} other files are no keystores and were left alone");
                source.remark(&path, text, false);
            }
        }
        source.merge();
        number(&mut source.objects);
        Ok(source)
    }

    fn file(&mut self, path: &Path, passwords: &mut Passwords<'_>) -> Result<()> {
        let keystore = file::read(path, passwords)?;
        for remark in keystore.remarks {
            self.remark(path, remark, false);
        }
        for entry in keystore.entries {
            if let Content::Closed { error, .. } = &entry.content {
                self.remark(path, format!("entry {:?}: {error}", entry.name), true);
            }
            self.entry(&path.display().to_string(), entry)
                .map_err(|error| error.of(path.display()))?;
        }
        Ok(())
    }

    fn remark(&mut self, place: &Path, text: String, problem: bool) {
        self.remarks.push(Remark { place: place.display().to_string(), text, problem });
    }

    /// Adds the objects of a keystore's entry.
    fn entry(&mut self, place: &str, entry: Entry) -> Result<()> {
        let mut add = |mut attributes: Attributes, id: &[u8], label: &str| {
            attributes.set(CKA_LABEL, label.as_bytes());
            attributes.set(CKA_ID, id);
            let secret = attributes.clone();
            if matches!(attributes.number(CKA_CLASS), Some(CKO_PRIVATE_KEY | CKO_SECRET_KEY)) {
                for (part, _) in secret.iter().filter(|(number, _)| is_secret(*number)) {
                    attributes.remove(part);
                }
            }
            let mut object = Object::new(place, attributes);
            object.entry = Some(entry.name.clone());
            object.secret = Some(secret);
            self.objects.push(object);
            self.objects.len() - 1
        };
        let name = &entry.name;
        match &entry.content {
            Content::Key { pair, chain } => {
                let id = key_identifier(&pair.info)?;
                let (mut private, mut public) = (pair.private.clone(), pair.public.clone());
                uses(&mut private, &mut public);
                if let Some(parts) = chain.first().and_then(|own| Parts::of(own).ok()) {
                    private.set(CKA_SUBJECT, parts.subject);
                }
                let at = add(private, &id, name);
                let public_at = add(public, &id, name);
                for (at, der) in chain.iter().enumerate() {
                    add(certificate(der), &certificate_id(der), &certificate_label(der, name, at));
                }
                let info = crate::material::canonical(&pair.info);
                self.objects[at].info = Some(info.clone());
                self.objects[public_at].info = Some(info);
            }
            Content::Secret(attributes) => {
                let mut attributes = attributes.clone();
                let cipher = attributes.number(CKA_KEY_TYPE) != Some(CKK_GENERIC_SECRET);
                for (attribute, value) in [
                    (CKA_ENCRYPT, cipher),
                    (CKA_DECRYPT, cipher),
                    (CKA_SIGN, !cipher),
                    (CKA_VERIFY, !cipher),
                    (CKA_SENSITIVE, true),
                    (CKA_EXTRACTABLE, false),
                    (CKA_PRIVATE, true),
                ] {
                    attributes.set(attribute, value);
                }
                add(attributes, name.as_bytes(), name);
            }
            Content::Certificate(der) => {
                add(certificate(der), &certificate_id(der), name);
            }
            Content::Closed { error, chain } => {
                let own = chain.first().and_then(|own| Parts::of(own).ok());
                let id = own.as_ref().and_then(|parts| key_identifier(&parts.public_key_info).ok());
                let mut attributes = Attributes::new();
                attributes.set(CKA_CLASS, CKO_PRIVATE_KEY);
                let at = add(attributes, &id.unwrap_or_default(), name);
                for (at, der) in chain.iter().enumerate() {
                    add(certificate(der), &certificate_id(der), &certificate_label(der, name, at));
                }
                let object = &mut self.objects[at];
                object.secret = None;
                object.closed = Some(error.clone());
                object.info = own.map(|own| crate::material::canonical(&own.public_key_info));
            }
        }
        Ok(())
    }

    /// A certificate that is in several chains is one object.
    fn merge(&mut self) {
        let mut seen = std::collections::BTreeSet::new();
        self.objects.retain(|object| match object.certificate() {
            Some(der) => seen.insert(der.to_vec()),
            None => true,
        });
    }
}

fn objects_of(token: &Token) -> Result<Vec<Object>> {
    let mut objects: Vec<_> = all_of(token, &token.session()?)?
        .into_iter()
        .filter(|object| {
            object.attributes.boolean(CKA_TOKEN) != Some(false) || object.is_incomplete()
        })
        .collect();
    complete(&mut objects);
    number(&mut objects);
    Ok(objects)
}

/// What a session sees.
pub(crate) fn all_of(token: &Token, session: &Session) -> Result<Vec<Object>> {
    let place = token.name();
    let object = |found: Found| {
        let mut object = Object::new(&place, found.attributes);
        object.handle = Some(found.handle);
        object.unread = found.unread;
        object.refused = found.refused;
        object
    };
    Ok(token.objects_in(session)?.into_iter().map(object).collect())
}

/// A certificate's object, all of which repeats what the certificate says.
fn certificate(der: &[u8]) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.set(CKA_CLASS, CKO_CERTIFICATE);
    attributes.set(CKA_CERTIFICATE_TYPE, CKC_X_509);
    attributes.set(CKA_PRIVATE, false);
    attributes.set(CKA_VALUE, der);
    if let Ok(parts) = Parts::of(der) {
        attributes.set(CKA_SUBJECT, parts.subject);
        attributes.set(CKA_ISSUER, parts.issuer);
        attributes.set(CKA_SERIAL_NUMBER, parts.serial_number);
    }
    attributes
}

/// That of its key, so that hosts find one by the other.
fn certificate_id(der: &[u8]) -> Vec<u8> {
    Parts::of(der)
        .ok()
        .and_then(|parts| key_identifier(&parts.public_key_info).ok())
        .unwrap_or_default()
}

/// The entry's name for its own certificate, the subject's for its issuers'.
fn certificate_label(der: &[u8], entry: &str, at: usize) -> String {
    if at == 0 {
        return entry.to_owned();
    }
    crate::x509::common_name(der).unwrap_or_else(|| format!("{entry} issuer {at}"))
}

/// What a key may be used for: files do not say, so all that it can do.
fn uses(private: &mut Attributes, public: &mut Attributes) {
    let (signs, decrypts, derives) = match private.number(CKA_KEY_TYPE) {
        Some(CKK_RSA) => (true, true, false),
        Some(CKK_EC) => (true, false, true),
        Some(CKK_EC_MONTGOMERY) => (false, false, true),
        _ => (true, false, false),
    };
    for (attribute, value) in [
        (CKA_PRIVATE, true),
        (CKA_SENSITIVE, true),
        (CKA_EXTRACTABLE, false),
        (CKA_SIGN, signs),
        (CKA_DECRYPT, decrypts),
        (CKA_DERIVE, derives),
    ] {
        private.set(attribute, value);
    }
    for (attribute, value) in [(CKA_PRIVATE, false), (CKA_VERIFY, signs), (CKA_ENCRYPT, decrypts)] {
        public.set(attribute, value);
    }
}
