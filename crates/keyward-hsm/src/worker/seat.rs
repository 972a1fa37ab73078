//! A session, and what is done in it.

use std::collections::HashMap;
use std::sync::Arc;

use cryptoki::error::Error as Cryptoki;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::*;
use keyward_token::Attributes;
use keyward_token::mechanism::{EncryptionScheme, SignatureScheme, WrappingScheme};
use keyward_wire::{self as wire, Error, ErrorCode, Failure};

use super::mechanism::{encryption, generation, not_offered, signing, unwrapping};
use super::token::{Reached, said, sentence};
use crate::attributes::{Template, read};
use crate::protocol::{Done, Generation, Lost, Objects, Task, Unwrap, Work};
use crate::said::refusal;
use crate::shown;

/// A session with the handles that it has found.
pub(super) struct Seat {
    reached: Arc<Reached>,
    session: Option<Session>,
    handles: HashMap<Vec<u8>, ObjectHandle>,
}

/// Why a task was not done.
enum Trouble {
    /// It was refused, before the token was asked or by it.
    Refused(Error),
    /// The token said this.
    Said(Cryptoki),
}

type Result<T> = std::result::Result<T, Trouble>;

impl Seat {
    /// Opens a session and logs in.
    pub(super) fn take(reached: Arc<Reached>) -> std::result::Result<Self, Lost> {
        let session = Some(reached.session()?);
        Ok(Self { reached, session, handles: HashMap::new() })
    }

    /// Does a task; if the session or the token is gone, once more in a new
    /// session.
    pub(super) fn work(&mut self, task: Task) -> std::result::Result<Done, Lost> {
        let Some(work) = task.work else {
            return Ok(failed(&Error::new(ErrorCode::Malformed, "a task without work")));
        };
        let key = task.key.unwrap_or_default();
        let mut again = true;
        loop {
            let session = match self.session.take() {
                Some(session) => session,
                None => self.reached.session()?,
            };
            let error = match self.attempt(&session, &key, &work) {
                Ok(done) => {
                    self.session = Some(session);
                    return Ok(done);
                }
                Err(Trouble::Refused(error)) => {
                    self.session = Some(session);
                    return Ok(failed(&error));
                }
                Err(Trouble::Said(error)) => error,
            };
            let refused = match &error {
                Cryptoki::Pkcs11(value, _) => {
                    refusal(value, format!("the HSM {}", sentence(&error)))
                }
                error => Some(Error::new(ErrorCode::Internal, sentence(error))),
            };
            // A handle may be an old one, and some tokens say nothing better
            // than that they failed when a session is gone.
            let stale = !self.handles.is_empty()
                && refused.as_ref().is_some_and(|error| {
                    matches!(error.code, ErrorCode::KeyHandleInvalid | ErrorCode::Internal)
                });
            match refused {
                Some(error) if !(again && stale) => {
                    self.session = Some(session);
                    return Ok(failed(&error));
                }
                None if !again => return Err(said("the token", &error)),
                _ => {}
            }
            again = false;
            self.handles.clear();
            drop(session);
            if let Some(own) = made_by(&work) {
                // It may have been made before the session was lost.
                let session = self.reached.session()?;
                let _ = destroy(&session, &own);
                self.session = Some(session);
            }
        }
    }

    fn attempt(&mut self, session: &Session, key: &wire::Attributes, work: &Work) -> Result<Done> {
        match work {
            Work::Open(_) => Err(Error::new(ErrorCode::Malformed, "it is open").into()),
            Work::Sign(sign) => {
                let scheme = sign.scheme.clone().ok_or_else(not_offered)?;
                let scheme = SignatureScheme::try_from(scheme)?;
                let (mechanism, length) = signing(&scheme)?;
                let handle = self.handle(session, key)?;
                let mut signature = session.sign(&mechanism, handle, &sign.input)?;
                if let Some(length) = length {
                    signature.truncate(length);
                }
                Ok(Done::Bytes(signature))
            }
            Work::Decrypt(decrypt) => {
                let scheme = decrypt.scheme.clone().ok_or_else(not_offered)?;
                let scheme = EncryptionScheme::try_from(scheme)?;
                let mut iv = Vec::new();
                let mechanism = encryption(&scheme, &mut iv)?;
                let handle = self.handle(session, key)?;
                Ok(Done::Bytes(session.decrypt(&mechanism, handle, &decrypt.input)?))
            }
            Work::Encrypt(encrypt) => {
                let block = encrypt.block.clone().ok_or_else(not_offered)?;
                let scheme = EncryptionScheme::try_from(wire::decrypt::Scheme::Block(block))?;
                let mut iv = Vec::new();
                let mechanism = encryption(&scheme, &mut iv)?;
                let handle = self.handle(session, key)?;
                Ok(Done::Bytes(session.encrypt(&mechanism, handle, &encrypt.input)?))
            }
            Work::GenerateKeyPair(pair) => {
                let public = template(pair.public.as_ref())?;
                let private = template(pair.private.as_ref())?;
                let (public, _) = session.generate_key_pair(
                    &generation(pair.mechanism)?,
                    Template::from(&public).as_slice(),
                    Template::from(&private).as_slice(),
                )?;
                described(session, &[public])
            }
            Work::GenerateKey(Generation { mechanism, private, .. }) => {
                let template = template(private.as_ref())?;
                let mechanism = generation(*mechanism)?;
                let made =
                    session.generate_key(&mechanism, Template::from(&template).as_slice())?;
                described(session, &[made])
            }
            Work::Create(object) => {
                let template = Attributes::try_from(object.attributes.clone())?;
                let made = session.create_object(Template::from(&template).as_slice())?;
                described(session, &[made])
            }
            Work::Unwrap(Unwrap { wrapping, wrapped, template: wanted }) => {
                let scheme = WrappingScheme::try_from(wrapping.clone().ok_or_else(not_offered)?)?;
                let mut iv = Vec::new();
                let mechanism = unwrapping(&scheme, &mut iv)?;
                let wanted = template(wanted.as_ref())?;
                let handle = self.handle(session, key)?;
                let made = session.unwrap_key(
                    &mechanism,
                    handle,
                    wrapped,
                    Template::from(&wanted).as_slice(),
                )?;
                described(session, &[made])
            }
            Work::Agree(point) => {
                let parameters = Ecdh1DeriveParams::new(EcKdf::null(), point);
                let secret = Attributes::from_pairs([
                    (CKA_CLASS, CKO_SECRET_KEY.into()),
                    (CKA_KEY_TYPE, CKK_GENERIC_SECRET.into()),
                    (CKA_TOKEN, false.into()),
                    (CKA_SENSITIVE, false.into()),
                    (CKA_EXTRACTABLE, true.into()),
                ])?;
                let handle = self.handle(session, key)?;
                let made = session.derive_key(
                    &Mechanism::Ecdh1Derive(parameters),
                    handle,
                    Template::from(&secret).as_slice(),
                )?;
                let value = read(session, made, &[CKA_VALUE]);
                session.destroy_object(made)?;
                let value = value?.bytes(CKA_VALUE).map(<[u8]>::to_vec);
                Ok(Done::Bytes(value.ok_or_else(not_offered)?))
            }
            Work::Destroy(_) => {
                self.handles.clear();
                destroy(session, key)?;
                Ok(Done::Bytes(Vec::new()))
            }
            Work::Objects(_) => {
                let wanted = template(Some(key))?;
                described(session, &session.find_objects(Template::from(&wanted).as_slice())?)
            }
        }
    }

    /// The handle of the one key that a template finds.
    fn handle(&mut self, session: &Session, key: &wire::Attributes) -> Result<ObjectHandle> {
        let name = prost::Message::encode_to_vec(key);
        if let Some(handle) = self.handles.get(&name) {
            return Ok(*handle);
        }
        let template = Attributes::try_from(key.attributes.clone())?;
        match session.find_objects(Template::from(&template).as_slice())?.as_slice() {
            [handle] => {
                if self.handles.len() >= MOST_HANDLES {
                    self.handles.clear();
                }
                self.handles.insert(name, *handle);
                Ok(*handle)
            }
            [] => {
                Err(Error::new(ErrorCode::KeyHandleInvalid, "the key is not in the HSM any more")
                    .into())
            }
            _ => Err(Error::new(
                ErrorCode::Internal,
                "the HSM has several keys of that CKA_ID; it must be one key's only",
            )
            .into()),
        }
    }
}

/// What finds the objects that this work makes, if it makes any.
fn made_by(work: &Work) -> Option<wire::Attributes> {
    let template = match work {
        Work::GenerateKeyPair(Generation { private, .. })
        | Work::GenerateKey(Generation { private, .. }) => private.as_ref(),
        Work::Create(template) => Some(template),
        Work::Unwrap(Unwrap { template, .. }) => template.as_ref(),
        _ => None,
    }?;
    let id = template.attributes.iter().find(|one| one.r#type == CKA_ID)?.clone();
    Some(wire::Attributes { attributes: vec![id] })
}

fn destroy(session: &Session, key: &wire::Attributes) -> Result<()> {
    let template = Attributes::try_from(key.attributes.clone())?;
    if template.iter().next().is_none() {
        return Err(Error::new(ErrorCode::Malformed, "everything is not destroyed").into());
    }
    for handle in session.find_objects(Template::from(&template).as_slice())? {
        session.destroy_object(handle)?;
    }
    Ok(())
}

fn template(given: Option<&wire::Attributes>) -> std::result::Result<Attributes, Error> {
    Attributes::try_from(given.cloned().unwrap_or_default().attributes)
}

/// What objects show.
fn described(session: &Session, handles: &[ObjectHandle]) -> Result<Done> {
    let mut objects = Vec::new();
    for handle in handles {
        let class = read(session, *handle, &[CKA_CLASS])?.number(CKA_CLASS);
        let attributes = read(session, *handle, shown(class))?;
        objects.push(wire::Attributes { attributes: (&attributes).into() });
    }
    Ok(Done::Objects(Objects { objects }))
}

fn failed(error: &Error) -> Done {
    Done::Failure(Failure::from_error(error))
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Cryptoki> for Trouble {
    fn from(error: Cryptoki) -> Self {
        Self::Said(error)
    }
}

const MOST_HANDLES: usize = 10_000;
