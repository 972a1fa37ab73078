//! Encrypting and decrypting messages (sections 5.9 and 5.11).
//!
//! A message that fails does not end the process: the next one may be right.

#![allow(clippy::too_many_arguments, reason = "the standard's prototypes")]

use cryptoki_sys::*;
use keyward_token::mechanism::ModeName;

use super::arguments::{Room, bytes, give, goes_on, room};
use super::message::process;
use super::operation::{Place, cancel, take};
use crate::error::{Error, Result};
use crate::library::Library;
use crate::session::{CipherMessage, CipherMessages, MessageParameter, Way};

impl Way {
    fn messages(self) -> Place<CipherMessages> {
        match self {
            Self::Encrypt => |operations| &mut operations.encrypted_messages,
            Self::Decrypt => |operations| &mut operations.decrypted_messages,
        }
    }
}

/// CK_GCM_MESSAGE_PARAMS or CK_CCM_MESSAGE_PARAMS, and where its results go.
pub(super) struct Told {
    pub(super) parameter: MessageParameter,
    pub(super) nonce: *mut CK_BYTE,
    pub(super) tag: *mut CK_BYTE,
}

/// A whole message, or a part of one.
struct Data {
    input: (CK_BYTE_PTR, CK_ULONG),
    result: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
}

/// # Safety
/// `parameter` is null or valid for reads of its length and of what the structure in it
/// points to.
pub(super) unsafe fn told(
    mode: ModeName,
    parameter: CK_VOID_PTR,
    length: CK_ULONG,
) -> Result<Told> {
    let wrong = || {
        Error::new(
            CKR_MECHANISM_PARAM_INVALID,
            "the message's parameter is missing or has the wrong size",
        )
    };
    let size = match mode {
        ModeName::Ccm => size_of::<CK_CCM_MESSAGE_PARAMS>(),
        _ => size_of::<CK_GCM_MESSAGE_PARAMS>(),
    };
    if parameter.is_null() || length != size as CK_ULONG {
        return Err(wrong());
    }
    let told = if mode == ModeName::Ccm {
        // SAFETY: not null, of the right size, and valid by the host's promise.
        let ccm = unsafe { parameter.cast::<CK_CCM_MESSAGE_PARAMS>().read_unaligned() };
        // SAFETY: the host's promise.
        let nonce = unsafe { bytes(ccm.pNonce, ccm.ulNonceLen) }?.to_vec();
        let parameter = MessageParameter {
            nonce,
            fixed_bits: ccm.ulNonceFixedBits,
            generator: ccm.nonceGenerator,
            tag_bits: ccm.ulMACLen.saturating_mul(8),
            data_length: Some(ccm.ulDataLen),
        };
        Told { parameter, nonce: ccm.pNonce, tag: ccm.pMAC }
    } else {
        // SAFETY: as above.
        let gcm = unsafe { parameter.cast::<CK_GCM_MESSAGE_PARAMS>().read_unaligned() };
        // SAFETY: as above.
        let nonce = unsafe { bytes(gcm.pIv, gcm.ulIvLen) }?.to_vec();
        let parameter = MessageParameter {
            nonce,
            fixed_bits: gcm.ulIvFixedBits,
            generator: gcm.ivGenerator,
            tag_bits: gcm.ulTagBits,
            data_length: None,
        };
        Told { parameter, nonce: gcm.pIv, tag: gcm.pTag }
    };
    if told.tag.is_null() { Err(wrong()) } else { Ok(told) }
}

unsafe fn init(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> Result<()> {
    let session = library.session(session)?;
    let place = way.messages();
    if mechanism.is_null() {
        return cancel(place(&mut session.operations()));
    }
    // Its parameter says nothing that the messages' own do not say.
    // SAFETY: not null, and valid by the host's promise.
    let number = unsafe { mechanism.read_unaligned() }.mechanism;
    if place(&mut session.operations()).is_some() {
        return Err(CKR_OPERATION_ACTIVE.into());
    }
    let known = || {
        let known = session.slot.key(&library.remote, key)?;
        session.slot.policy(&library.remote).permit(number, way.usage(), &known.object)?;
        Ok(known)
    };
    let messages = CipherMessages::new(way, key, known, number)?;
    *place(&mut session.operations()) = Some(messages);
    Ok(())
}

unsafe fn begin(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: (CK_VOID_PTR, CK_ULONG),
    associated: (CK_BYTE_PTR, CK_ULONG),
) -> Result<()> {
    let session = library.session(session)?;
    let mut operations = session.operations();
    let messages = process(&mut operations, way.messages())?;
    // SAFETY: the host's promise, here and below.
    let told = unsafe { told(messages.mode(), parameter.0, parameter.1) }?;
    // SAFETY: as above.
    let associated = unsafe { bytes(associated.0, associated.1) }?;
    let (message, nonce) = messages.begin(library, &session, told.parameter, associated)?;
    // SAFETY: as above.
    unsafe { put_bytes(nonce.as_deref(), told.nonce) };
    messages.current = Some(message);
    Ok(())
}

unsafe fn whole(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: (CK_VOID_PTR, CK_ULONG),
    associated: (CK_BYTE_PTR, CK_ULONG),
    data: Data,
) -> Result<()> {
    let session = library.session(session)?;
    let mut operations = session.operations();
    let messages = process(&mut operations, way.messages())?;
    // SAFETY: the host's promise, here and below.
    let told = unsafe { told(messages.mode(), parameter.0, parameter.1) }?;
    // SAFETY: as above.
    let input = unsafe { bytes(data.input.0, data.input.1) }?;
    // SAFETY: as above.
    if unsafe { room(data.result, data.length, input.len()) }? == Room::Asked {
        return Ok(());
    }
    // SAFETY: as above.
    let associated = unsafe { bytes(associated.0, associated.1) }?;
    let (mut message, nonce) = messages.begin(library, &session, told.parameter, associated)?;
    drop(operations);
    message.add(input)?;
    // SAFETY: as above.
    unsafe { finish(way, library, &session, message, told.tag, &data) }?;
    // SAFETY: as above.
    unsafe { put_bytes(nonce.as_deref(), told.nonce) };
    Ok(())
}

unsafe fn next(
    way: Way,
    library: &Library,
    session: CK_SESSION_HANDLE,
    parameter: (CK_VOID_PTR, CK_ULONG),
    data: Data,
    flags: CK_FLAGS,
) -> Result<()> {
    let session = library.session(session)?;
    let (mut message, tag) = {
        let mut operations = session.operations();
        let messages = process(&mut operations, way.messages())?;
        let mut message = messages.current.take().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        // SAFETY: the host's promise, here and below.
        let told = unsafe { told(messages.mode(), parameter.0, parameter.1) }?;
        // The place for the tag is as long as this call says, not as the first one did.
        if told.parameter.tag_bits / 8 != message.tag_length as CK_ULONG {
            return Err(Error::new(
                CKR_MECHANISM_PARAM_INVALID,
                "the tag's length is another than when the message began",
            ));
        }
        // SAFETY: as above.
        let part = unsafe { bytes(data.input.0, data.input.1) }?;
        let last = flags & CKF_END_OF_MESSAGE != 0;
        let gives = if last { message.length(part.len()) } else { 0 };
        // SAFETY: as above.
        let room = unsafe { room(data.result, data.length, gives) };
        if goes_on(&room) {
            messages.current = Some(message);
            return room.map(|_| ());
        }
        room?;
        message.add(part)?;
        if !last {
            messages.current = Some(message);
            // SAFETY: as above.
            unsafe { give::<CK_BYTE>(&[], data.result, data.length) }?;
            return Ok(());
        }
        (message, told.tag)
    };
    message.add(&[])?;
    // SAFETY: as above.
    unsafe { finish(way, library, &session, message, tag, &data) }
}

/// The end of a message: its text and its tag.
unsafe fn finish(
    way: Way,
    library: &Library,
    session: &crate::session::Session,
    message: CipherMessage,
    tag: *mut CK_BYTE,
    data: &Data,
) -> Result<()> {
    if way == Way::Encrypt {
        let (text, made) = message.encrypt(library, session)?;
        // SAFETY: the host's promise, here and below.
        unsafe { give(&text, data.result, data.length) }?;
        // SAFETY: as above; the tag is as long as the parameter says.
        unsafe { put_bytes(Some(&made), tag) };
        return Ok(());
    }
    // SAFETY: as above.
    let tag = unsafe { bytes(tag, message.tag_length as CK_ULONG) }?;
    let text = message.decrypt(library, session, tag)?;
    // SAFETY: as above.
    unsafe { give(&text, data.result, data.length) }?;
    Ok(())
}

/// # Safety
/// `to` is null or valid for as many bytes.
pub(super) unsafe fn put_bytes(from: Option<&[u8]>, to: *mut CK_BYTE) {
    if let Some(from) = from
        && !to.is_null()
    {
        // SAFETY: not null, and valid by the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    }
}

fn end(way: Way, library: &Library, session: CK_SESSION_HANDLE) -> Result<()> {
    take(&*library.session(session)?, way.messages()).map(|_| ())
}

macro_rules! functions {
    ($way:ident $init:ident $whole:ident $begin:ident $next:ident $end:ident) => {
        pub(super) unsafe fn $init(
            library: &Library,
            session: CK_SESSION_HANDLE,
            mechanism: CK_MECHANISM_PTR,
            key: CK_OBJECT_HANDLE,
        ) -> Result<()> {
            // SAFETY: the host's promise.
            unsafe { init(Way::$way, library, session, mechanism, key) }
        }

        pub(super) unsafe fn $whole(
            library: &Library,
            session: CK_SESSION_HANDLE,
            parameter: CK_VOID_PTR,
            parameter_length: CK_ULONG,
            associated: CK_BYTE_PTR,
            associated_length: CK_ULONG,
            input: CK_BYTE_PTR,
            input_length: CK_ULONG,
            result: CK_BYTE_PTR,
            length: CK_ULONG_PTR,
        ) -> Result<()> {
            let data = Data { input: (input, input_length), result, length };
            let (parameter, associated) =
                ((parameter, parameter_length), (associated, associated_length));
            // SAFETY: the host's promise.
            unsafe { whole(Way::$way, library, session, parameter, associated, data) }
        }

        pub(super) unsafe fn $begin(
            library: &Library,
            session: CK_SESSION_HANDLE,
            parameter: CK_VOID_PTR,
            parameter_length: CK_ULONG,
            associated: CK_BYTE_PTR,
            associated_length: CK_ULONG,
        ) -> Result<()> {
            let (parameter, associated) =
                ((parameter, parameter_length), (associated, associated_length));
            // SAFETY: the host's promise.
            unsafe { begin(Way::$way, library, session, parameter, associated) }
        }

        pub(super) unsafe fn $next(
            library: &Library,
            session: CK_SESSION_HANDLE,
            parameter: CK_VOID_PTR,
            parameter_length: CK_ULONG,
            input: CK_BYTE_PTR,
            input_length: CK_ULONG,
            result: CK_BYTE_PTR,
            length: CK_ULONG_PTR,
            flags: CK_FLAGS,
        ) -> Result<()> {
            let data = Data { input: (input, input_length), result, length };
            let parameter = (parameter, parameter_length);
            // SAFETY: the host's promise.
            unsafe { next(Way::$way, library, session, parameter, data, flags) }
        }

        pub(super) unsafe fn $end(library: &Library, session: CK_SESSION_HANDLE) -> Result<()> {
            end(Way::$way, library, session)
        }
    };
}

functions! { Encrypt encrypt_init encrypt encrypt_begin encrypt_next encrypt_final }
functions! { Decrypt decrypt_init decrypt decrypt_begin decrypt_next decrypt_final }
