//! PKCS#11 tokens, reached through any library.

pub(crate) mod failure;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::RvError;
use cryptoki::mechanism::{MechanismInfo, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use cryptoki_sys::*;
use keyward_hsm::attributes::{has, read};
use keyward_hsm::shown;
use keyward_token::Attributes;
use zeroize::Zeroizing;

use self::failure::{failure, says};
use crate::error::{Error, Kind, Result};
use crate::transport::trusted_key;
use crate::uri::Uri;

/// The libraries that are loaded: each once, whatever number of its tokens is
/// used.
#[derive(Default)]
pub struct Libraries(BTreeMap<PathBuf, Pkcs11>);

impl Libraries {
    /// Loads and initialises a library.
    ///
    /// # Errors
    /// If it is none, or does not start.
    pub fn load(&mut self, path: &Path) -> Result<Pkcs11> {
        let name = path.display();
        let path = path
            .canonicalize()
            .map_err(|error| Error::new(format!("the library {name} cannot be opened: {error}")))?;
        if let Some(library) = self.0.get(&path) {
            return Ok(library.clone());
        }
        let library = Pkcs11::new(&path)
            .map_err(|error| Error::new(format!("{name} is no PKCS#11 library: {error}")))?;
        library
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|error| failure(&format!("the library {name}"), &error))?;
        self.0.insert(path, library.clone());
        Ok(library)
    }
}

impl Drop for Libraries {
    fn drop(&mut self) {
        for (_, library) in std::mem::take(&mut self.0) {
            // The process ends; nobody is left to tell.
            let _ = library.finalize();
        }
    }
}

/// Where a token's PINs come from.
pub trait Pins {
    /// The user's PIN of a token; `uri` may name a file.
    ///
    /// # Errors
    /// If there is none.
    fn user(&self, uri: &Uri) -> Result<Zeroizing<String>>;
}

/// What a token is opened for.
#[derive(Clone, Copy)]
pub enum Access<'a> {
    /// Session objects can be made all the same.
    Read,
    /// Token objects are made and destroyed.
    Write,
    /// As `Write`; and first the security officer, whose PIN this is, makes a key to wrap with that
    /// the token trusts.
    Trusting(&'a str),
}

/// A token somebody is logged in to.
pub struct Token {
    module: Pkcs11,
    slot: Slot,
    info: TokenInfo,
    uri: Uri,
    writable: bool,
    /// Keeps the login: it ends with the token's last session.
    _keeper: Mutex<Session>,
}

impl Token {
    /// Finds the token that a URI names, and logs in.
    ///
    /// # Errors
    /// If there is none or more than one, or the PIN is wrong.
    pub fn open(
        libraries: &mut Libraries,
        uri: &Uri,
        pins: &dyn Pins,
        access: Access<'_>,
    ) -> Result<Self> {
        let path = uri.module_path.as_deref().ok_or_else(|| {
            Error::new(format!("{uri} does not say which library reaches the token"))
                .hint("add ?module-path=/PATH/TO/LIBRARY.so to the URI, in quotes")
        })?;
        let library = libraries.load(path)?;
        let (slot, info) = find(&library, uri)?;
        let name = format!("token {:?}", info.label());
        if let Access::Trusting(pin) = access {
            trusted_key(&library, slot, &name, pin)?;
        }
        let writable = !matches!(access, Access::Read);
        let open = match writable {
            true => library.open_rw_session(slot),
            false => library.open_ro_session(slot),
        };
        let session = open.map_err(|error| failure(&name, &error))?;
        if info.login_required() {
            let pin = match info.protected_authentication_path() {
                true => None,
                false => Some(AuthPin::new(pins.user(uri)?.as_str().into())),
            };
            match session.login(UserType::User, pin.as_ref()) {
                Err(error) if !says(&error, &[RvError::UserAlreadyLoggedIn]) => {
                    return Err(failure(&name, &error));
                }
                _ => {}
            }
        }
        let _keeper = Mutex::new(session);
        Ok(Self { module: library, slot, info, uri: uri.clone(), writable, _keeper })
    }

    /// How people call it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("token {:?}", self.info.label())
    }

    /// Its label.
    #[must_use]
    pub fn label(&self) -> &str {
        self.info.label()
    }

    /// Its serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        self.info.serial_number()
    }

    /// Who made it, and what it is.
    #[must_use]
    pub fn model(&self) -> String {
        format!("{} {}", self.info.manufacturer_id(), self.info.model()).trim().to_owned()
    }

    /// The URI that it was opened by.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether two are the same token.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.slot == other.slot
            && self.serial() == other.serial()
            && self.uri.module_path == other.uri.module_path
    }

    /// A session of one's own, for a thread of one's own.
    ///
    /// # Errors
    /// What the token says.
    pub fn session(&self) -> Result<Session> {
        let open = match self.writable {
            true => self.module.open_rw_session(self.slot),
            false => self.module.open_ro_session(self.slot),
        };
        open.map_err(|error| failure(&self.name(), &error))
    }

    /// What the token says of a mechanism; `None` if it has it not.
    #[must_use]
    pub fn mechanism(&self, mechanism: MechanismType) -> Option<MechanismInfo> {
        self.module.get_mechanism_info(self.slot, mechanism).ok()
    }

    /// The token's objects with the attributes that they show, keys without
    /// their secret parts.
    ///
    /// # Errors
    /// What the token says.
    pub fn objects(&self) -> Result<Vec<Found>> {
        self.objects_in(&self.session()?)
    }

    /// The same for a session: a piece of an object that says that it is none of
    /// the token's has a handle for as long as the session that saw it.
    pub(crate) fn objects_in(&self, session: &Session) -> Result<Vec<Found>> {
        let refused = |error| failure(&self.name(), &error);
        // All of them: one that its token was stopped writing may lack CKA_TOKEN, or have it false.
        let handles = session.find_objects(&[]).map_err(refused)?;
        let mut objects = Vec::new();
        for handle in handles {
            let found = read(session, handle, &[CKA_CLASS])
                .and_then(|class| read(session, handle, shown(class.number(CKA_CLASS))));
            let attributes = match found {
                Ok(attributes) => attributes,
                Err(error) => {
                    let error = refused(error);
                    if error.kind() == Kind::Token {
                        return Err(error);
                    }
                    let attributes = Attributes::new();
                    objects.push(Found { handle, attributes, unread: vec![], refused: true });
                    continue;
                }
            };
            let unread = match attributes.number(CKA_CLASS) {
                Some(CKO_PRIVATE_KEY | CKO_PUBLIC_KEY | CKO_SECRET_KEY) => TEMPLATES,
                _ => &[],
            };
            let unread = unread.iter().copied().filter(|it| has(session, handle, *it)).collect();
            objects.push(Found { handle, attributes, unread, refused: false });
        }
        Ok(objects)
    }
}

/// An object of a token.
#[derive(Debug)]
pub struct Found {
    /// Valid for this process.
    pub handle: ObjectHandle,
    /// What it shows.
    pub attributes: Attributes,
    /// Attributes that it has and that cannot be read here.
    pub unread: Vec<u64>,
    /// Whether the token shows nothing of it, not even its class.
    pub refused: bool,
}

fn find(library: &Pkcs11, uri: &Uri) -> Result<(Slot, TokenInfo)> {
    let is = |wanted: &Option<String>, value: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == value)
    };
    let mut tokens = keyward_hsm::tokens(library, |slot, info| {
        is(&uri.token, info.label())
            && is(&uri.serial, info.serial_number())
            && is(&uri.manufacturer, info.manufacturer_id())
            && is(&uri.model, info.model())
            && uri.slot.is_none_or(|wanted| wanted == slot.id())
    })
    .map_err(|error| failure("the list of tokens", &error))?;
    let all = tokens.all.join(", ");
    match tokens.meant.len() {
        1 => Ok(tokens.meant.swap_remove(0)),
        0 if all.is_empty() => Err(Error::new(format!("there is no token for {uri}"))
            .hint("the library lists none; is its own configuration the right one?")),
        0 => {
            Err(Error::new(format!("there is no token for {uri}")).hint(format!("there are {all}")))
        }
        count => Err(Error::new(format!("{uri} fits {count} tokens"))
            .hint(format!("there are {all}; add serial= or slot-id= to it"))),
    }
}

/// `cryptoki` has no type for them.
const TEMPLATES: &[u64] = &[CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE, CKA_DERIVE_TEMPLATE];
