//! The library, the token in it, and the login.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismInfo;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use cryptoki_sys::*;

use crate::protocol::{Lost, Mechanism, Open, Ready};
use crate::said::error_name;
use crate::tokens::tokens;

/// A token that was found.
pub(super) struct Reached {
    module: Pkcs11,
    label: String,
    serial: String,
    pin: AuthPin,
    pub(super) sessions: u32,
    pub(super) ready: Ready,
}

/// Loads the library and finds the token.
pub(super) fn reach(open: Open) -> Result<Reached, Lost> {
    let name = &open.module;
    let library = Pkcs11::new(name)
        .map_err(|error| lost(format!("{name} cannot be loaded as a PKCS#11 library: {error}")))?;
    library
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| said("the library", &error))?;
    let mut reached = Reached {
        module: library,
        label: open.token,
        serial: open.serial,
        pin: AuthPin::new(open.pin.into()),
        sessions: open.sessions,
        ready: Ready::default(),
    };
    let (slot, info) = reached.find()?;
    reached.ready = Ready {
        label: info.label().to_owned(),
        serial: info.serial_number().to_owned(),
        model: format!("{} {}", info.manufacturer_id(), info.model()).trim().to_owned(),
        mechanisms: reached.mechanisms(slot)?,
    };
    Ok(reached)
}

impl Reached {
    /// A session of a user who has logged in.
    pub(super) fn session(&self) -> Result<Session, Lost> {
        // Its slot may be another one since it came back.
        let (slot, info) = self.find()?;
        let session =
            self.module.open_rw_session(slot).map_err(|error| said("the token", &error))?;
        if info.login_required() {
            let pin = (!info.protected_authentication_path()).then_some(&self.pin);
            match session.login(UserType::User, pin) {
                Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
                Err(error) => {
                    let pin = matches!(
                        error,
                        Error::Pkcs11(
                            RvError::PinIncorrect
                                | RvError::PinInvalid
                                | RvError::PinLenRange
                                | RvError::PinLocked
                                | RvError::PinExpired
                                | RvError::UserPinNotInitialized,
                            _
                        )
                    );
                    return Err(Lost { pin, ..said("the token", &error) });
                }
            }
        }
        Ok(session)
    }

    fn find(&self) -> Result<(Slot, TokenInfo), Lost> {
        let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        let mut tokens = tokens(&self.module, |_, info| {
            is(&self.label, info.label()) && is(&self.serial, info.serial_number())
        })
        .map_err(|error| said("the library", &error))?;
        let all = tokens.all.join(", ");
        match tokens.meant.len() {
            1 => Ok(tokens.meant.swap_remove(0)),
            0 if all.is_empty() => Err(lost("the library shows no token")),
            0 => Err(lost(format!("the library does not show the token; it shows {all}"))),
            count => Err(lost(format!(
                "the library shows {count} such tokens: {all}; serial says which is meant"
            ))),
        }
    }

    fn mechanisms(&self, slot: Slot) -> Result<Vec<Mechanism>, Lost> {
        let list =
            self.module.get_mechanism_list(slot).map_err(|error| said("the token", &error))?;
        Ok(list
            .into_iter()
            .filter_map(|number| {
                let info = self.module.get_mechanism_info(slot, number).ok()?;
                Some(Mechanism { number: *number, flags: flags(&info) })
            })
            .collect())
    }
}

fn flags(info: &MechanismInfo) -> CK_FLAGS {
    [
        (info.sign(), CKF_SIGN),
        (info.decrypt(), CKF_DECRYPT),
        (info.encrypt(), CKF_ENCRYPT),
        (info.unwrap(), CKF_UNWRAP),
        (info.derive(), CKF_DERIVE),
        (info.generate(), CKF_GENERATE),
        (info.generate_key_pair(), CKF_GENERATE_KEY_PAIR),
    ]
    .into_iter()
    .filter_map(|(has, flag)| has.then_some(flag))
    .fold(0, |flags, flag| flags | flag)
}

/// What a library said.
pub(super) fn said(who: &str, error: &Error) -> Lost {
    lost(format!("{who} {}", sentence(error)))
}

/// "says CKR_DEVICE_ERROR (C_Sign)".
pub(super) fn sentence(error: &Error) -> String {
    match error {
        Error::Pkcs11(value, function) => format!("says {} (C_{function:?})", error_name(value)),
        error => format!("does not work: {error}"),
    }
}

fn lost(why: impl Into<String>) -> Lost {
    Lost { why: why.into(), pin: false }
}
