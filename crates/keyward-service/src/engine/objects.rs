//! Objects: made, copied, changed, destroyed.

use std::time::Instant;

use cryptoki_sys::{CKM_DH_PKCS_KEY_PAIR_GEN, CKM_RSA_PKCS_KEY_PAIR_GEN};
use keyward_token::rules::{self, Domain, Draft, KeySource};
use keyward_token::{Attributes, Object, Stage};
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Result};
use prost::Message;

use super::access::Access;
use super::hsm::Effects;
use super::pins::DONE;
use super::repeat::{Changes, Plan, answer_by};
use super::sealed::{Owner, encode};
use super::{Call, Engine, malformed};
use crate::id::Id;
use crate::store::paths;

/// The object that a request names.
enum Source {
    Token(std::sync::Arc<crate::state::StoredObject>),
    Session(Object),
}

impl Engine {
    /// C_GenerateKeyPair.
    pub(super) async fn generate_key_pair(
        &self,
        call: &Call,
        generate: &wire::GenerateKeyPair,
    ) -> Result<Plan> {
        let access = self.access(call)?;
        let public_template = Attributes::try_from(generate.public_template.clone())?;
        let private_template = Attributes::try_from(generate.private_template.clone())?;
        let mechanism = generate.mechanism;
        access.policy().permit_generation(mechanism, &public_template)?;
        let stage = self.stage_of_successor(&access, &generate.successor_of)?;
        let (uid, deadline) = (call.identity.uid, call.deadline);
        let mut effects = Effects::default();
        let hsm = self.hsm_for(&access, &private_template)?;
        let (mut public, mut private) = if let Some(hsm) = hsm {
            let id = keyward_crypto::random::bytes();
            let draft = Draft::pair(mechanism, public_template, private_template, id)?;
            match self.make(&hsm, draft, &mut effects, deadline).await? {
                (Some(public), private) => (public, private),
                (None, _) => return Err(malformed("the mechanism makes no key pair")),
            }
        } else {
            let work =
                move || rules::generate_key_pair(mechanism, public_template, private_template);
            match mechanism {
                CKM_RSA_PKCS_KEY_PAIR_GEN | CKM_DH_PKCS_KEY_PAIR_GEN => {
                    self.workers.run_slow(uid, deadline, work).await?
                }
                _ => self.workers.run(uid, deadline, work).await?,
            }
        };
        if stage != Stage::Current && !(public.is_token_object() && private.is_token_object()) {
            return Err(Error::new(
                ErrorCode::TemplateInconsistent,
                "a key that is to take another's place is a token object, and its public half too",
            ));
        }
        stage.put(&mut public);
        stage.put(&mut private);
        let mut changes = Changes::default();
        let pair = wire::KeyPair {
            public_key: Some(self.place(call, &access, public, &mut changes)?),
            private_key: Some(self.place(call, &access, private, &mut changes)?),
        };
        let subject =
            pair.private_key.as_ref().map_or(String::new(), |object| object.unique_id.clone());
        let answer = access.answer(Some(Answered::KeyPair(pair)));
        Ok(Plan::new(changes, answer).about(subject).with(effects))
    }

    /// C_GenerateKey.
    pub(super) async fn generate_key(
        &self,
        call: &Call,
        generate: &wire::GenerateKey,
    ) -> Result<Plan> {
        let access = self.access(call)?;
        let template = Attributes::try_from(generate.template.clone())?;
        access.policy().permit_generation(generate.mechanism, &template)?;
        let mut effects = Effects::default();
        let object = if let Some(hsm) = self.hsm_for(&access, &template)? {
            let id = keyward_crypto::random::bytes();
            let draft = Draft::secret(generate.mechanism, template, id)?;
            self.make(&hsm, draft, &mut effects, call.deadline).await?.1
        } else if rules::makes_parameters(generate.mechanism) {
            let domain = Domain::new(generate.mechanism, template)?;
            let until = answer_by(call);
            let stop = move || Instant::now() >= until;
            self.workers
                .run_slow(call.identity.uid, call.deadline, move || domain.generate(&stop))
                .await?
        } else {
            let source = KeySource::of_wire(generate)?;
            let mechanism = generate.mechanism;
            let slow = source.takes_long();
            let work = move || rules::generate_secret_key(mechanism, &source, template);
            match slow {
                true => self.workers.run_slow(call.identity.uid, call.deadline, work).await?,
                false => work()?,
            }
        };
        self.plan_made(call, &access, object, effects, Default::default()).await
    }

    /// C_CreateObject.
    pub(super) async fn create_object(
        &self,
        call: &Call,
        create: &wire::CreateObject,
    ) -> Result<Plan> {
        let access = self.access(call)?;
        let template = Attributes::try_from(create.template.clone())?;
        let author = access.author();
        // Private keys are checked, which takes a processor.
        let object = self
            .workers
            .run(call.identity.uid, call.deadline, move || rules::create(template, author))
            .await?;
        self.plan_new(call, &access, object).await
    }

    /// C_CopyObject.
    pub(super) async fn copy_object(&self, call: &Call, copy: &wire::CopyObject) -> Result<Plan> {
        let access = self.access(call)?;
        let template = Attributes::try_from(copy.template.clone())?;
        let copied = match self.source(call, &access, copy.source.as_ref())? {
            Source::Token(stored) => rules::copy(&stored.object, &template)?,
            Source::Session(object) => rules::copy(&object, &template)?,
        };
        self.plan_new(call, &access, copied).await
    }

    /// C_SetAttributeValue.
    pub(super) fn set_attributes(&self, call: &Call, set: &wire::SetAttributes) -> Result<Plan> {
        let access = self.access(call)?;
        let template = Attributes::try_from(set.template.clone())?;
        let mut changes = Changes::default();
        let object = match self.source(call, &access, set.object.as_ref())? {
            Source::Token(stored) => {
                access.may_write()?;
                let changed = rules::change(&stored.object, &template, access.author())?;
                let view = fitting_view(&stored.unique_id, &changed)?;
                let path = paths::object(access.token.id, &stored.unique_id);
                changes.replace(path, stored.version, encode(&changed).to_vec());
                changes.touched = Some(access.token.id);
                view
            }
            Source::Session(object) => {
                let changed = rules::change(&object, &template, access.author())?;
                self.place(call, &access, changed, &mut changes)?
            }
        };
        let subject = object.unique_id.clone();
        let result =
            Answered::Object(wire::ObjectResult { object: Some(object), ..Default::default() });
        Ok(Plan::new(changes, access.answer(Some(result))).about(subject))
    }

    /// C_DestroyObject, of a token object.
    pub(super) fn destroy_object(
        &self,
        call: &Call,
        destroy: &wire::DestroyObject,
    ) -> Result<Plan> {
        let access = self.access(call)?;
        let stored = access.object(&destroy.unique_id).ok_or_else(no_object)?;
        access.may_write()?;
        rules::may_destroy(&stored.object)?;
        let mut changes = Changes::default();
        let path = paths::object(access.token.id, &stored.unique_id);
        changes.delete(path, stored.version);
        changes.touched = Some(access.token.id);
        let mut effects = Effects::default();
        effects.destroy(self, &access.token, &stored.object);
        let plan = Plan::new(changes, access.answer(Some(DONE)));
        Ok(plan.about(&stored.unique_id).with(effects))
    }

    /// To whom session objects of this call belong.
    pub(super) fn owner(&self, call: &Call, access: &Access) -> Owner {
        Owner {
            identity: call.identity.uid,
            token: access.token.id,
            instance: call.instance.clone(),
        }
    }

    async fn plan_new(&self, call: &Call, access: &Access, object: Object) -> Result<Plan> {
        self.plan_made(call, access, object, Effects::default(), Default::default()).await
    }

    /// The plan for a new object. Of the key that it came out of: its blob, if it was renewed, and
    /// the version that it begins with, if the host wants to know.
    pub(super) async fn plan_made(
        &self,
        call: &Call,
        access: &Access,
        object: Object,
        mut effects: Effects,
        (sealed, version): (Vec<u8>, Vec<u8>),
    ) -> Result<Plan> {
        let object = self.bring(access, object, &mut effects, call.deadline).await?;
        let mut changes = Changes::default();
        let object = self.place(call, access, object, &mut changes)?;
        let subject = object.unique_id.clone();
        let result = Answered::Object(wire::ObjectResult { object: Some(object), sealed, version });
        Ok(Plan::new(changes, access.answer(Some(result))).about(subject).with(effects))
    }

    /// Puts a new object where it belongs: into the token, or sealed into the
    /// client's hands. Answers what the client may see of it.
    pub(super) fn place(
        &self,
        call: &Call,
        access: &Access,
        mut object: Object,
        changes: &mut Changes,
    ) -> Result<wire::Object> {
        access.policy().permit_key(&object)?;
        if object.is_private() {
            access.must_be_user()?;
        }
        if object.is_token_object() {
            access.may_write()?;
            let unique_id = Id::random().to_string();
            rules::identify(&mut object, &unique_id);
            let view = fitting_view(&unique_id, &object)?;
            let token = &access.token;
            changes.add(paths::object(token.id, &unique_id), encode(&object).to_vec());
            // Not into a token that was initialised anew in between.
            if changes.touched.is_none() {
                changes.require(paths::token(token.id), token.version);
                changes.touched = Some(token.id);
            }
            return Ok(view);
        }
        let sealed = if object.is_sensitive() {
            self.owner(call, access).seal(&self.vault, &object)?
        } else {
            Vec::new()
        };
        Ok(wire::Object { sealed, ..fitting_view("", &object)? })
    }

    fn source(&self, call: &Call, access: &Access, key: Option<&wire::Key>) -> Result<Source> {
        match key.and_then(|key| key.key.as_ref()) {
            Some(wire::key::Key::UniqueId(unique_id)) => {
                access.object(unique_id).cloned().map(Source::Token).ok_or_else(no_object)
            }
            Some(wire::key::Key::Sealed(blob)) => {
                let opened = self.owner(call, access).open(&self.vault, blob)?;
                if !access.sees(&opened.object) {
                    return Err(no_object());
                }
                Ok(Source::Session(opened.object))
            }
            Some(wire::key::Key::Plain(_)) => {
                Err(malformed("an object that only the client has is changed there"))
            }
            None => Err(malformed("the request names no object")),
        }
    }
}

/// What the client may see of an object, if it is short enough for a frame.
pub(super) fn fitting_view(unique_id: &str, object: &Object) -> Result<wire::Object> {
    let view = wire::Object {
        unique_id: unique_id.to_owned(),
        attributes: (&object.visible()).into(),
        sealed: Vec::new(),
    };
    if view.encoded_len() > LONGEST_OBJECT {
        return Err(Error::new(ErrorCode::DeviceMemory, "the object is longer than 400 KiB"));
    }
    Ok(view)
}

pub(super) fn no_object() -> Error {
    Error::new(
        ErrorCode::ObjectHandleInvalid,
        "there is no such object, or it is private and the user has not logged in",
    )
}

/// Two objects, one of them sealed, are to fit into a frame. In bytes.
const LONGEST_OBJECT: usize = 400 << 10;
