//! Making, copying, changing and destroying objects in a session.

use std::sync::Arc;

use cryptoki_sys::*;
use keyward_token::mechanism::Parameter;
use keyward_token::rules::{Author, Domain, KeySource};
use keyward_token::stage::CKA_KEYWARD_STAGE;
use keyward_token::{Attributes, Object, rules};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{
    CopyObject, CreateObject, DestroyObject, GenerateKey, GenerateKeyPair, SetAttributes, UserType,
};

use crate::error::{Error, Result};
use crate::object::{self, Known, Place};
use crate::remote::{self, Remote, one, unexpected};
use crate::session::Session;

impl Session {
    /// C_CreateObject. A session object that is not sensitive stays here.
    pub(crate) fn create_object(
        &self,
        remote: &Remote,
        template: Attributes,
    ) -> Result<CK_OBJECT_HANDLE> {
        let object = rules::create(template.clone(), self.author())?;
        self.may_make(&object)?;
        if !object.is_token_object() && !object.is_sensitive() {
            return self.keep(remote, object);
        }
        self.create_remotely(remote, &template)
    }

    /// C_GenerateKey, of domain parameters too. A session key that is not sensitive is made and
    /// stays here.
    pub(crate) fn generate_key(
        &self,
        remote: &Remote,
        (mechanism, parameter): (CK_MECHANISM_TYPE, &Parameter),
        template: Attributes,
    ) -> Result<CK_OBJECT_HANDLE> {
        self.slot.policy(remote).permit_generation(mechanism, &template)?;
        let source = KeySource::of(parameter)?;
        if rules::makes_parameters(mechanism) {
            // They are looked for by the service, which may take a while.
            let domain = Domain::new(mechanism, template.clone())?;
            self.may_place(domain.is_token_object(), domain.is_private())?;
        } else {
            let draft = source.draft();
            let object = rules::generate_secret_key(mechanism, &draft, template.clone())?;
            self.may_make(&object)?;
            if !object.is_token_object() && !object.is_sensitive() {
                if draft == source {
                    return self.keep(remote, object);
                }
                return self
                    .keep(remote, rules::generate_secret_key(mechanism, &source, template)?);
            }
        }
        let template = (&template).into();
        let mut generate = GenerateKey { mechanism, template, ..GenerateKey::default() };
        source.put(&mut generate);
        let frames = self.slot.ask_for_change(remote, Operation::GenerateKey(generate))?;
        self.slot.take_in(self.handle, remote::object(frames)?)
    }

    /// C_GenerateKeyPair: the handles of the public and the private key.
    pub(crate) fn generate_key_pair(
        &self,
        remote: &Remote,
        mechanism: CK_MECHANISM_TYPE,
        public_template: &Attributes,
        private_template: &Attributes,
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        for template in [public_template, private_template] {
            self.may_write(template.is_true(CKA_TOKEN))?;
        }
        self.may_see(private_template.boolean(CKA_PRIVATE) != Some(false))?;
        let generate = GenerateKeyPair {
            mechanism,
            public_template: public_template.into(),
            private_template: private_template.into(),
            ..GenerateKeyPair::default()
        };
        let frames = self.slot.ask_for_change(remote, Operation::GenerateKeyPair(generate))?;
        let Answer::KeyPair(pair) = one(frames)? else { return Err(unexpected()) };
        let (Some(public), Some(private)) = (pair.public_key, pair.private_key) else {
            return Err(unexpected());
        };
        Ok((self.slot.take_in(self.handle, public)?, self.slot.take_in(self.handle, private)?))
    }

    /// C_CopyObject.
    pub(crate) fn copy_object(
        &self,
        remote: &Remote,
        source: CK_OBJECT_HANDLE,
        template: &Attributes,
    ) -> Result<CK_OBJECT_HANDLE> {
        let known = self.slot.object(remote, source)?;
        let copy = rules::copy(&known.object, template)?;
        self.may_make(&copy)?;
        let Some(reference) = known.reference() else {
            if copy.is_token_object() || copy.is_sensitive() {
                // The service has never seen the source.
                return self.create_remotely(remote, &as_template(&copy));
            }
            return self.keep(remote, copy);
        };
        let request = CopyObject { source: Some(reference), template: template.into() };
        let frames = self.slot.ask_for_change(remote, Operation::CopyObject(request))?;
        self.slot.take_in(self.handle, remote::object(frames)?)
    }

    /// C_SetAttributeValue.
    pub(crate) fn set_attributes(
        &self,
        remote: &Remote,
        handle: CK_OBJECT_HANDLE,
        template: &Attributes,
    ) -> Result<()> {
        let known = self.slot.object(remote, handle)?;
        self.may_write(known.object.is_token_object())?;
        let changed = rules::change(&known.object, template, self.author())?;
        let Some(reference) = known.reference() else {
            let changed = Known { object: Arc::new(changed), place: Place::Local };
            self.slot.replace(handle, changed);
            return Ok(());
        };
        let request = SetAttributes { object: Some(reference), template: template.into() };
        let frames = self.slot.ask_for_change(remote, Operation::SetAttributes(request))?;
        let answer = remote::object(frames)?;
        if known.object.is_token_object() {
            self.slot.take_in(self.handle, answer)?;
        } else {
            self.slot.replace(handle, object::from_wire(answer)?);
        }
        Ok(())
    }

    /// C_DestroyObject.
    pub(crate) fn destroy_object(&self, remote: &Remote, handle: CK_OBJECT_HANDLE) -> Result<()> {
        let known = self.slot.object(remote, handle)?;
        self.may_write(known.object.is_token_object())?;
        rules::may_destroy(&known.object)?;
        if let Place::Token(unique_id) = &known.place {
            let destroy = DestroyObject { unique_id: unique_id.to_string() };
            self.slot.ask_for_change(remote, Operation::DestroyObject(destroy))?;
        }
        self.slot.remove(handle);
        Ok(())
    }

    fn create_remotely(&self, remote: &Remote, template: &Attributes) -> Result<CK_OBJECT_HANDLE> {
        let create = CreateObject { template: template.into() };
        let frames = self.slot.ask_for_change(remote, Operation::CreateObject(create))?;
        self.slot.take_in(self.handle, remote::object(frames)?)
    }

    pub(super) fn keep(&self, remote: &Remote, object: Object) -> Result<CK_OBJECT_HANDLE> {
        self.slot.policy(remote).permit_key(&object)?;
        let known = Known { object: Arc::new(object), place: Place::Local };
        Ok(self.slot.adopt(self.handle, known))
    }

    fn may_make(&self, object: &Object) -> Result<()> {
        self.may_place(object.is_token_object(), object.is_private())
    }

    /// Whether an object of this kind may be made in the session.
    pub(super) fn may_place(&self, token_object: bool, private: bool) -> Result<()> {
        self.may_write(token_object)?;
        self.may_see(private)
    }

    /// In whose name objects are made and changed.
    fn author(&self) -> Author {
        match self.slot.login_state() {
            Some(UserType::SecurityOfficer) => Author::Officer,
            _ => Author::User,
        }
    }

    /// Token objects are changed in a read-write session only (table 7).
    fn may_write(&self, token_object: bool) -> Result<()> {
        if !token_object {
            return Ok(());
        }
        if !self.slot.config.writable {
            return Err(Error::new(
                CKR_TOKEN_WRITE_PROTECTED,
                "the slot is not `writable` in client.toml",
            ));
        }
        if !self.read_write {
            return Err(CKR_SESSION_READ_ONLY.into());
        }
        Ok(())
    }

    /// Private objects are for the user only (table 7).
    fn may_see(&self, private: bool) -> Result<()> {
        if private && !self.slot.is_user() {
            return Err(CKR_USER_NOT_LOGGED_IN.into());
        }
        Ok(())
    }
}

/// The template that makes an object anew: without what the token says itself.
fn as_template(object: &Object) -> Attributes {
    let mut template = object.attributes().clone();
    for attribute in [
        CKA_UNIQUE_ID,
        CKA_LOCAL,
        CKA_KEY_GEN_MECHANISM,
        CKA_ALWAYS_SENSITIVE,
        CKA_NEVER_EXTRACTABLE,
        CKA_KEYWARD_STAGE,
    ] {
        template.remove(attribute);
    }
    template
}
