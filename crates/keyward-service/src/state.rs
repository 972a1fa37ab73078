//! Everything that the store holds, decrypted and at hand. It is built at the
//! start from what the store has, then kept right by the store's commits.
//!
//! Readers take an `Arc` out and work on it without a lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use cryptoki_sys::CKA_CLASS;
use keyward_token::key::PrivateKey;
use keyward_token::{Attributes, Object};
use keyward_wire as wire;
use prost::Message;
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::id::Id;
use crate::store::paths::{Path, PinKey};
use crate::store::records::{
    AuthorityRecord, IdentityRecord, OperationRecord, PinCountRecord, TokenRecord,
};
use crate::store::vault::Vault;
use crate::store::{Commit, Snapshot, Versioned};

/// A token as it stands at one revision.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) id: Id,
    pub(crate) record: Arc<TokenRecord>,
    /// Of the record.
    pub(crate) version: u64,
    /// By CKA_UNIQUE_ID.
    pub(crate) objects: BTreeMap<String, Arc<StoredObject>>,
    /// The number of the last commit that changed the record or an object.
    pub(crate) revision: u64,
}

/// A token object.
pub(crate) struct StoredObject {
    pub(crate) unique_id: String,
    pub(crate) object: Object,
    pub(crate) version: u64,
    /// Parsed at the first use.
    private_key: OnceLock<wire::Result<PrivateKey>>,
    /// Made at the first use.
    view: OnceLock<wire::Object>,
}

/// Who may connect.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Id,
    pub(crate) record: IdentityRecord,
    pub(crate) version: u64,
}

/// Wrong PINs since the last right one, and the counter's version in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinCount {
    pub(crate) wrong: u32,
    pub(crate) version: u64,
}

/// What the store holds.
pub(crate) struct State {
    vault: Arc<Vault>,
    inner: RwLock<Inner>,
    /// As `Inner::sequence`, for those who wait for one.
    sequence: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    sequence: u64,
    incarnation: u64,
    authority: Option<Arc<AuthorityRecord>>,
    identities: HashMap<Id, Arc<Identity>>,
    tokens: HashMap<Id, Arc<Token>>,
    labels: HashMap<String, Id>,
    /// Versions of the keys that keep names and labels unique.
    unique: HashMap<String, u64>,
    pins: HashMap<PinKey, PinCount>,
    operations: HashMap<(Id, Id), Arc<OperationRecord>>,
    /// The same, by time.
    by_time: BTreeSet<(u64, Id, Id)>,
    /// Of tokens whose record is not read yet.
    early: HashMap<Id, Early>,
}

/// What belongs to a token whose own record comes later in the scan.
#[derive(Default)]
struct Early {
    objects: BTreeMap<String, Arc<StoredObject>>,
    revision: u64,
}

/// A value that does not decrypt or does not parse.
#[derive(Debug, thiserror::Error)]
#[error("the value of {0} does not decrypt or does not parse")]
pub(crate) struct Unreadable(String);

impl Unreadable {
    /// That of `key`.
    pub(crate) fn of(key: &str) -> Self {
        Self(key.to_owned())
    }
}

/// A record that a key names, decrypted and parsed.
pub(crate) enum Item {
    Nothing,
    Incarnation(u64),
    Authority(AuthorityRecord),
    Identity(Id, IdentityRecord),
    Unique(String),
    Token(Id, TokenRecord),
    Revision(Id),
    Object(Id, StoredObject),
    Pin(PinKey, PinCountRecord),
    Operation(Id, Id, OperationRecord),
}

impl State {
    /// The state of a store that holds this.
    pub(crate) fn load(vault: Arc<Vault>, snapshot: Snapshot) -> Result<Self, Unreadable> {
        let inner = Inner::load(&vault, snapshot)?;
        let sequence = watch::Sender::new(inner.sequence);
        Ok(Self { vault, inner: RwLock::new(inner), sequence })
    }

    /// Takes a whole store in, in place of what was known.
    pub(crate) fn replace(&self, snapshot: Snapshot) -> Result<(), Unreadable> {
        let loaded = Inner::load(&self.vault, snapshot)?;
        let sequence = loaded.sequence;
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        self.sequence.send_replace(sequence);
        Ok(())
    }

    /// Takes a commit in; answers the identities that it changed.
    pub(crate) fn apply(&self, commit: &Commit) -> Vec<Id> {
        let mut items = Vec::with_capacity(commit.puts.len());
        for (key, value) in &commit.puts {
            match Item::open(&self.vault, key, value, commit.sequence) {
                Ok(item) => items.push(item),
                // What this process sealed opens; another process's mistake
                // must not stop the rest.
                Err(error) => tracing::error!(%error, "a commit that cannot be read"),
            }
        }
        let identities = items
            .iter()
            .filter_map(|item| match item {
                Item::Identity(uid, _) => Some(*uid),
                _ => None,
            })
            .collect();
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for key in &commit.deletes {
            inner.delete(key);
        }
        for item in items {
            inner.put(item, commit.sequence);
        }
        inner.sequence = commit.sequence;
        drop(inner);
        self.sequence.send_replace(commit.sequence);
        identities
    }

    /// The number of the last commit.
    pub(crate) fn sequence(&self) -> u64 {
        self.read().sequence
    }

    /// Waits until commit number `sequence` was taken in; whether it was before
    /// `deadline`.
    pub(crate) async fn reaches(&self, sequence: u64, deadline: Instant) -> bool {
        let mut now = self.sequence.subscribe();
        let reached = now.wait_for(|now| *now >= sequence);
        matches!(timeout_at(deadline.into(), reached).await, Ok(Ok(_)))
    }

    /// The random number of the store, with which revisions are compared.
    pub(crate) fn incarnation(&self) -> u64 {
        self.read().incarnation
    }

    pub(crate) fn authority(&self) -> Option<Arc<AuthorityRecord>> {
        self.read().authority.clone()
    }

    pub(crate) fn identity(&self, uid: Id) -> Option<Arc<Identity>> {
        self.read().identities.get(&uid).cloned()
    }

    /// All identities, by name; of one name the revoked ones first, by age.
    pub(crate) fn identities(&self) -> Vec<Arc<Identity>> {
        let mut all: Vec<_> = self.read().identities.values().cloned().collect();
        let order = |identity: &Arc<Identity>| {
            let record = &identity.record;
            (record.name.clone(), !record.revoked, record.created)
        };
        all.sort_by_cached_key(order);
        all
    }

    /// The identity of this name that is not revoked.
    pub(crate) fn identity_named(&self, name: &str) -> Option<Arc<Identity>> {
        self.read()
            .identities
            .values()
            .find(|identity| identity.record.name == name && !identity.record.revoked)
            .cloned()
    }

    pub(crate) fn token(&self, id: Id) -> Option<Arc<Token>> {
        self.read().tokens.get(&id).cloned()
    }

    pub(crate) fn token_labelled(&self, label: &str) -> Option<Arc<Token>> {
        let inner = self.read();
        inner.labels.get(label).and_then(|id| inner.tokens.get(id)).cloned()
    }

    /// All tokens, by label.
    pub(crate) fn tokens(&self) -> Vec<Arc<Token>> {
        let mut all: Vec<_> = self.read().tokens.values().cloned().collect();
        all.sort_by(|a, b| a.record.label.cmp(&b.record.label));
        all
    }

    /// The version of a key that keeps a name or label unique.
    pub(crate) fn unique(&self, path: &str) -> Option<u64> {
        self.read().unique.get(path).copied()
    }

    pub(crate) fn pin(&self, key: PinKey) -> Option<PinCount> {
        self.read().pins.get(&key).copied()
    }

    /// The counters of a token.
    pub(crate) fn pins_of(&self, token: Id) -> Vec<(PinKey, PinCount)> {
        let inner = self.read();
        inner.pins.iter().filter(|(key, _)| key.token == token).map(|(k, c)| (*k, *c)).collect()
    }

    pub(crate) fn operation(&self, identity: Id, operation: Id) -> Option<Arc<OperationRecord>> {
        self.read().operations.get(&(identity, operation)).cloned()
    }

    /// At most `most` identities that were given a token which is not there any
    /// more.
    pub(crate) fn identities_of_lost_tokens(&self, most: usize) -> Vec<Arc<Identity>> {
        let inner = self.read();
        let lost = |identity: &&Arc<Identity>| {
            let grants = &identity.record.grants;
            grants.iter().any(|grant| {
                Id::from_bytes(&grant.token).is_none_or(|token| !inner.tokens.contains_key(&token))
            })
        };
        inner.identities.values().filter(lost).take(most).cloned().collect()
    }

    /// At most `most` operations that are older than `time` (seconds since
    /// 1970-01-01 UTC), and no longer needed.
    pub(crate) fn operations_before(&self, time: u64, most: usize) -> Vec<(Id, Id)> {
        self.read()
            .by_time
            .iter()
            .take_while(|(at, _, _)| *at < time)
            .take(most)
            .map(|(_, identity, operation)| (*identity, *operation))
            .collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn load(vault: &Vault, snapshot: Snapshot) -> Result<Self, Unreadable> {
        let mut inner = Self { sequence: snapshot.sequence, ..Self::default() };
        for (key, Versioned { value, version }) in snapshot.entries {
            let item = Item::open(vault, &key, &value, version)?;
            inner.put(item, version);
        }
        Ok(inner)
    }

    fn put(&mut self, item: Item, version: u64) {
        match item {
            Item::Nothing => {}
            Item::Incarnation(incarnation) => self.incarnation = incarnation,
            Item::Authority(record) => self.authority = Some(Arc::new(record)),
            Item::Identity(uid, record) => {
                self.identities.insert(uid, Arc::new(Identity { uid, record, version }));
            }
            Item::Unique(key) => {
                self.unique.insert(key, version);
            }
            Item::Token(id, record) => self.put_token(id, record, version),
            Item::Revision(token) => match self.tokens.get_mut(&token) {
                Some(token) => Arc::make_mut(token).revision = version,
                None => self.early.entry(token).or_default().revision = version,
            },
            Item::Object(token, object) => {
                let objects = match self.tokens.get_mut(&token) {
                    Some(token) => &mut Arc::make_mut(token).objects,
                    None => &mut self.early.entry(token).or_default().objects,
                };
                objects.insert(object.unique_id.clone(), Arc::new(object));
            }
            Item::Pin(key, record) => {
                self.pins.insert(key, PinCount { wrong: record.wrong, version });
            }
            Item::Operation(identity, operation, record) => {
                self.by_time.insert((record.time, identity, operation));
                self.operations.insert((identity, operation), Arc::new(record));
            }
        }
    }

    fn put_token(&mut self, id: Id, record: TokenRecord, version: u64) {
        let label = record.label.clone();
        if let Some(token) = self.tokens.get_mut(&id) {
            self.labels.remove(&token.record.label);
            let token = Arc::make_mut(token);
            token.record = Arc::new(record);
            token.version = version;
        } else {
            let Early { objects, revision } = self.early.remove(&id).unwrap_or_default();
            let record = Arc::new(record);
            let revision = revision.max(version);
            self.tokens.insert(id, Arc::new(Token { id, record, version, objects, revision }));
        }
        self.labels.insert(label, id);
    }

    fn delete(&mut self, key: &str) {
        match Path::parse(key) {
            Some(Path::Object(token, unique_id)) => {
                if let Some(token) = self.tokens.get_mut(&token) {
                    Arc::make_mut(token).objects.remove(&unique_id);
                }
            }
            Some(Path::Pin(pin)) => {
                self.pins.remove(&pin);
            }
            Some(Path::Operation(identity, operation)) => {
                if let Some(record) = self.operations.remove(&(identity, operation)) {
                    self.by_time.remove(&(record.time, identity, operation));
                }
            }
            Some(Path::TokenLabel | Path::IdentityName) => {
                self.unique.remove(key);
            }
            Some(Path::Token(id)) => {
                if let Some(token) = self.tokens.remove(&id) {
                    self.labels.remove(&token.record.label);
                }
            }
            // It goes with its token.
            Some(Path::Revision(_)) => {}
            // Nothing else is ever deleted.
            _ => {}
        }
    }
}

impl Item {
    /// Decrypts and parses an entry of the store.
    pub(crate) fn open(
        vault: &Vault,
        key: &str,
        value: &[u8],
        version: u64,
    ) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable(key.to_owned());
        let path = match Path::parse(key) {
            None | Some(Path::Meta) => return Ok(Self::Nothing),
            Some(Path::Incarnation) => {
                let bytes = value.try_into().map_err(|_| unreadable())?;
                return Ok(Self::Incarnation(u64::from_be_bytes(bytes)));
            }
            Some(path) => path,
        };
        let plaintext = vault.open_value(key, value).map_err(|_| unreadable())?;
        let bytes = plaintext.as_slice();
        fn parse<M: Message + Default>(bytes: &[u8], key: &str) -> Result<M, Unreadable> {
            M::decode(bytes).map_err(|_| Unreadable(key.to_owned()))
        }
        Ok(match path {
            Path::Meta | Path::Incarnation => Self::Nothing,
            Path::Authority => Self::Authority(parse(bytes, key)?),
            Path::Identity(uid) => Self::Identity(uid, parse(bytes, key)?),
            Path::IdentityName | Path::TokenLabel => Self::Unique(key.to_owned()),
            Path::Token(id) => Self::Token(id, parse(bytes, key)?),
            Path::Revision(token) => Self::Revision(token),
            Path::Object(token, unique_id) => {
                let attributes: wire::Attributes = parse(bytes, key)?;
                let attributes =
                    Attributes::try_from(attributes.attributes).map_err(|_| unreadable())?;
                let object = Object::from_attributes(attributes).map_err(|_| unreadable())?;
                Self::Object(token, StoredObject::new(unique_id, object, version))
            }
            Path::Pin(pin) => Self::Pin(pin, parse(bytes, key)?),
            Path::Operation(identity, operation) => {
                Self::Operation(identity, operation, parse(bytes, key)?)
            }
        })
    }
}

impl StoredObject {
    fn new(unique_id: String, object: Object, version: u64) -> Self {
        debug_assert!(object.attributes().contains(CKA_CLASS));
        Self { unique_id, object, version, private_key: OnceLock::new(), view: OnceLock::new() }
    }

    /// The key, parsed once. The first call takes a processor for a moment.
    pub(crate) fn private_key(&self) -> wire::Result<&PrivateKey> {
        self.private_key
            .get_or_init(|| PrivateKey::of(self.object.attributes()))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// What a client may see of it.
    pub(crate) fn view(&self) -> &wire::Object {
        self.view.get_or_init(|| wire::Object {
            unique_id: self.unique_id.clone(),
            attributes: (&self.object.visible()).into(),
            sealed: Vec::new(),
        })
    }
}

impl Identity {
    /// What the identity was given of a token: whether it may only read.
    /// `None`: nothing, the token does not exist for it.
    pub(crate) fn grant(&self, token: Id) -> Option<bool> {
        if self.record.administrator {
            return Some(false);
        }
        self.record
            .grants
            .iter()
            .find(|grant| grant.token == token.as_bytes())
            .map(|grant| grant.read_only)
    }
}
