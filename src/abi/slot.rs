//! Slot and token management functions (section 5.5).

use std::sync::Arc;

use cryptoki_sys::*;
use keyward_client::config::{Login, Profile};
use keyward_crypto::digest::Hash;
use keyward_token::mechanism::{Family, Mechanism};
use keyward_wire::request::Operation;
use keyward_wire::{InitPin, InitToken, PinState, SetPin, TokenInfo, UserType};

use super::arguments::{bad, bytes, give, padded, put};
use super::general::{MANUFACTURER, version};
use crate::error::{Error, Result};
use crate::library::Library;
use crate::object::utc;
use crate::slot::{Count, Slot};

/// PINs are from 4 to 255 bytes of UTF-8.
const PIN_LENGTH: (CK_ULONG, CK_ULONG) = (4, 255);

pub(super) unsafe fn list(
    library: &Library,
    _token_present: CK_BBOOL,
    list: CK_SLOT_ID_PTR,
    count: CK_ULONG_PTR,
) -> Result<()> {
    // There is a token in every slot, whether the service answers or not: the
    // JDK counts slots once and keeps what it saw.
    let ids: Vec<CK_SLOT_ID> = library.slots()?.iter().map(|slot| slot.id).collect();
    // SAFETY: the host's promise.
    unsafe { give(&ids, list, count) }?;
    Ok(())
}

pub(super) unsafe fn info(library: &Library, id: CK_SLOT_ID, info: CK_SLOT_INFO_PTR) -> Result<()> {
    let slot = library.slot(id)?;
    let value = CK_SLOT_INFO {
        slotDescription: padded(&format!("Keyward: {}", slot.config.token)),
        manufacturerID: padded(MANUFACTURER),
        // Never CKF_REMOVABLE_DEVICE: the JDK would look at the slot on its hot
        // path and give a token up for ever on one failure.
        flags: CKF_TOKEN_PRESENT,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: version(),
    };
    // SAFETY: the host's promise.
    unsafe { put(info, value) }
}

pub(super) unsafe fn token_info(
    library: &Library,
    id: CK_SLOT_ID,
    info: CK_TOKEN_INFO_PTR,
) -> Result<()> {
    let slot = library.slot(id)?;
    let told = slot.token_info(&library.remote);
    let sessions = slot.sessions();
    let serial = told.as_ref().map_or("", |told| told.serial.as_str());
    // In profile `tls` a label must not change when the service is heard of.
    let label = match &told {
        Some(told) if library.profile == Profile::Full && !told.shown_label.is_empty() => {
            &told.shown_label
        }
        _ => &slot.config.token,
    };
    let value = CK_TOKEN_INFO {
        label: padded(label),
        manufacturerID: padded(MANUFACTURER),
        model: padded("Keyward"),
        serialNumber: padded(serial),
        flags: token_flags(library, &slot, told.as_ref()),
        ulMaxSessionCount: CK_EFFECTIVELY_INFINITE,
        ulSessionCount: (sessions.read_only + sessions.read_write) as CK_ULONG,
        ulMaxRwSessionCount: CK_EFFECTIVELY_INFINITE,
        ulRwSessionCount: sessions.read_write as CK_ULONG,
        ulMaxPinLen: PIN_LENGTH.1,
        ulMinPinLen: PIN_LENGTH.0,
        ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: version(),
        utcTime: padded(&slot.time().map(utc).unwrap_or_default()),
    };
    // SAFETY: the host's promise.
    unsafe { put(info, value) }
}

fn token_flags(library: &Library, slot: &Slot, told: Option<&TokenInfo>) -> CK_FLAGS {
    let mut flags = CKF_TOKEN_INITIALIZED;
    if slot.time().is_some() {
        flags |= CKF_CLOCK_ON_TOKEN;
    }
    if library.profile == Profile::Full {
        flags |= CKF_RNG;
    }
    if !slot.config.writable {
        flags |= CKF_WRITE_PROTECTED;
    }
    if slot.config.login == Login::Pin {
        flags |= CKF_LOGIN_REQUIRED;
    }
    if told.is_none_or(|told| told.user_pin_initialized) {
        flags |= CKF_USER_PIN_INITIALIZED;
    }
    if let Some(told) = told {
        flags |= match told.user_pin() {
            PinState::CountLow => CKF_USER_PIN_COUNT_LOW,
            PinState::FinalTry => CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY,
            PinState::Locked => CKF_USER_PIN_LOCKED,
            PinState::Fine | PinState::Unspecified => 0,
        };
        flags |= match told.so_pin() {
            PinState::CountLow => CKF_SO_PIN_COUNT_LOW,
            PinState::FinalTry => CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY,
            PinState::Locked => CKF_SO_PIN_LOCKED,
            PinState::Fine | PinState::Unspecified => 0,
        };
    }
    flags
}

/// Tokens are neither inserted nor removed: there is never an event, and who
/// waits for one waits for C_Finalize, but no longer than any call takes.
pub(super) unsafe fn wait_for_event(
    library: &Library,
    flags: CK_FLAGS,
    slot: CK_SLOT_ID_PTR,
    reserved: CK_VOID_PTR,
) -> Result<()> {
    if slot.is_null() {
        return Err(bad("pSlot"));
    }
    if !reserved.is_null() {
        return Err(bad("pReserved"));
    }
    if flags & CKF_DONT_BLOCK != 0 {
        return Err(CKR_NO_EVENT.into());
    }
    if library.wait_for_end() {
        return Err(CKR_CRYPTOKI_NOT_INITIALIZED.into());
    }
    Err(Error::new(
        CKR_FUNCTION_NOT_SUPPORTED,
        "no event ever comes; CKF_DONT_BLOCK says so at once",
    ))
}

pub(super) unsafe fn mechanism_list(
    library: &Library,
    id: CK_SLOT_ID,
    list: CK_MECHANISM_TYPE_PTR,
    count: CK_ULONG_PTR,
) -> Result<()> {
    let slot = informed(library, id)?;
    let listed: Vec<CK_MECHANISM_TYPE> = slot
        .policy(&library.remote)
        .offers()
        .filter(|offer| slot.is_able(offer.mechanism.number))
        .filter(|offer| library.profile == Profile::Full || offer.mechanism.tls)
        .map(|offer| offer.mechanism.number)
        .collect();
    // SAFETY: the host's promise.
    unsafe { give(&listed, list, count) }?;
    Ok(())
}

pub(super) unsafe fn mechanism_info(
    library: &Library,
    id: CK_SLOT_ID,
    number: CK_MECHANISM_TYPE,
    info: CK_MECHANISM_INFO_PTR,
) -> Result<()> {
    let slot = informed(library, id)?;
    let offer = slot.policy(&library.remote).find(number)?;
    let mechanism = offer.mechanism;
    if !slot.is_able(number) {
        return Err(CKR_MECHANISM_INVALID.into());
    }
    if library.profile == Profile::Tls && !mechanism.tls && !asked_for_pss(mechanism) {
        return Err(CKR_MECHANISM_INVALID.into());
    }
    let flags = match library.profile {
        Profile::Full => offer.flags,
        // A JVM has no use for them, and is shown what it has been shown so far.
        Profile::Tls => offer.flags & !(CKF_WRAP | CKF_UNWRAP),
    };
    let value = CK_MECHANISM_INFO {
        ulMinKeySize: offer.min_key_size,
        ulMaxKeySize: offer.max_key_size,
        flags,
    };
    // SAFETY: the host's promise.
    unsafe { put(info, value) }
}

/// A slot that knows what its token offers. The service is asked in profile `full`; while it is
/// away that is what was heard last.
fn informed(library: &Library, id: CK_SLOT_ID) -> Result<Arc<Slot>> {
    let slot = library.slot(id)?;
    slot.news(&library.remote, false);
    Ok(slot)
}

/// The JDK offers PSS only with hashes that C_GetMechanismInfo knows, although
/// it digests itself; so these answer where they are not listed.
fn asked_for_pss(mechanism: &Mechanism) -> bool {
    matches!(mechanism.family, Family::Digest(Hash::Sha256 | Hash::Sha384 | Hash::Sha512))
}

pub(super) unsafe fn init_token(
    library: &Library,
    id: CK_SLOT_ID,
    pin: CK_UTF8CHAR_PTR,
    pin_length: CK_ULONG,
    label: CK_UTF8CHAR_PTR,
) -> Result<()> {
    let slot = library.slot(id)?;
    if label.is_null() {
        return Err(bad("pLabel"));
    }
    // SAFETY: not null, and 32 bytes long by the standard, or a C string of a host that does not pad.
    let label = unsafe { unpadded(label, 32) };
    let label = std::str::from_utf8(&label).map_err(|_| bad("pLabel"))?.trim_end();
    if label.is_empty() {
        return Err(bad("pLabel"));
    }
    if !slot.config.writable {
        return Err(CKR_TOKEN_WRITE_PROTECTED.into());
    }
    if slot.sessions() != Count::default() {
        return Err(CKR_SESSION_EXISTS.into());
    }
    // SAFETY: the host's promise.
    let so_pin = unsafe { bytes(pin, pin_length) }?.to_vec();
    // The service and its clients go on calling the token what they call it.
    let name = slot.config.token.clone();
    let shown_label = if label == name { String::new() } else { label.to_owned() };
    let operation = InitToken { so_pin, label: name, shown_label };
    slot.ask_for_change(&library.remote, Operation::InitToken(operation))?;
    slot.forget_info();
    Ok(())
}

/// The bytes of a field that hosts end with a NUL instead of blanks, up to there.
///
/// # Safety
/// `field` is valid for reads of `length` bytes, or up to a NUL that comes earlier.
unsafe fn unpadded(field: *const CK_UTF8CHAR, length: usize) -> Vec<u8> {
    (0..length)
        // SAFETY: the caller's promise; nothing behind a NUL is read.
        .map(|at| unsafe { field.add(at).read() })
        .take_while(|&byte| byte != 0)
        .collect()
}

pub(super) unsafe fn init_pin(
    library: &Library,
    session: CK_SESSION_HANDLE,
    pin: CK_UTF8CHAR_PTR,
    pin_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    if session.slot.login_state() != Some(UserType::SecurityOfficer) {
        return Err(CKR_USER_NOT_LOGGED_IN.into());
    }
    // SAFETY: the host's promise.
    let new_pin = unsafe { bytes(pin, pin_length) }?.to_vec();
    session.slot.ask_for_change(&library.remote, Operation::InitPin(InitPin { new_pin }))?;
    Ok(())
}

pub(super) unsafe fn set_pin(
    library: &Library,
    session: CK_SESSION_HANDLE,
    old_pin: CK_UTF8CHAR_PTR,
    old_length: CK_ULONG,
    new_pin: CK_UTF8CHAR_PTR,
    new_length: CK_ULONG,
) -> Result<()> {
    let session = library.session(session)?;
    if !session.read_write {
        return Err(CKR_SESSION_READ_ONLY.into());
    }
    let user = session.slot.login_state().unwrap_or(UserType::User);
    let set_pin = SetPin {
        user_type: user as i32,
        // SAFETY: the host's promise.
        old_pin: unsafe { bytes(old_pin, old_length) }?.to_vec(),
        // SAFETY: the host's promise.
        new_pin: unsafe { bytes(new_pin, new_length) }?.to_vec(),
    };
    session.slot.ask_for_change(&library.remote, Operation::SetPin(set_pin))?;
    Ok(())
}
