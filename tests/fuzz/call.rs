//! One call: its function, its arguments by their names and types, and what its
//! answer means for the calls that follow.

use std::ptr::null_mut;

use cryptoki_sys::*;
use keyward_pkcs11::abi::Signature;

use crate::codes::CODES;
use crate::common::{PIN, SO_PIN};
use crate::draw::Draw;

/// Any function of the list: no argument is longer than a register.
pub type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> CK_RV;

pub struct Call {
    pub signature: Signature,
    pub session: Option<CK_SESSION_HANDLE>,
    arguments: Vec<u64>,
    handles: Vec<*mut CK_ULONG>,
    found: Option<(*mut CK_ULONG, CK_ULONG_PTR)>,
    /// A buffer, its length, how many elements there is room for, their size.
    results: Vec<(*mut u8, CK_ULONG_PTR, usize, usize)>,
}

impl Call {
    /// A call with these arguments, of whose results nothing is kept.
    pub fn of(signature: Signature, arguments: Vec<u64>) -> Self {
        let (handles, results) = Default::default();
        Self { signature, session: None, arguments, handles, found: None, results }
    }
}

/// The arguments of a call; `session`: of the operation that was begun before.
pub fn draw(draw: &mut Draw<'_>, signature: Signature, session: Option<CK_SESSION_HANDLE>) -> Call {
    let (function, arguments) = signature;
    let mut call = Call::of(signature, Vec::new());
    let mut index = 0;
    while let Some((name, kind)) = arguments.get(index) {
        let next = arguments.get(index + 1).map_or("", |(_, kind)| *kind);
        index += call.argument(draw, function, (name, kind), next, session);
    }
    call
}

fn flags_of(function: &str) -> CK_FLAGS {
    let flags = [
        ("Digest", CKF_DIGEST),
        ("SignRecover", CKF_SIGN_RECOVER),
        ("VerifyRecover", CKF_VERIFY_RECOVER),
        ("MessageSign", CKF_MESSAGE_SIGN),
        ("MessageVerify", CKF_MESSAGE_VERIFY),
        ("MessageEncrypt", CKF_MESSAGE_ENCRYPT),
        ("MessageDecrypt", CKF_MESSAGE_DECRYPT),
        ("Sign", CKF_SIGN),
        ("Verify", CKF_VERIFY),
        ("Encrypt", CKF_ENCRYPT),
        ("Decrypt", CKF_DECRYPT),
        ("GenerateKeyPair", CKF_GENERATE_KEY_PAIR),
        ("GenerateKey", CKF_GENERATE),
        ("WrapKey", CKF_WRAP),
        ("UnwrapKey", CKF_UNWRAP),
        ("DeriveKey", CKF_DERIVE),
        ("Encapsulate", CKF_ENCAPSULATE),
        ("Decapsulate", CKF_DECAPSULATE),
    ];
    let name = &function[2..];
    flags.iter().find(|(start, _)| name.starts_with(start)).map_or(0, |(_, flag)| *flag)
}

fn changes_pins(function: &str) -> bool {
    matches!(function, "C_SetPIN" | "C_InitPIN" | "C_InitToken")
}

/// Whether a function changes PINs or counts wrong ones.
pub fn concerns_pins(function: &str) -> bool {
    changes_pins(function) || matches!(function, "C_Login" | "C_LoginUser")
}

impl Call {
    /// One argument, and those that belong to it; how many that were.
    fn argument(
        &mut self,
        draw: &mut Draw<'_>,
        function: &str,
        (name, kind): (&str, &str),
        next: &str,
        session: Option<CK_SESSION_HANDLE>,
    ) -> usize {
        let one = match kind {
            "CK_SESSION_HANDLE" => {
                let drawn = match session {
                    _ if changes_pins(function) => draw.wrecked_session(),
                    Some(session) => session,
                    None => draw.session(),
                };
                self.session = Some(drawn);
                drawn
            }
            "CK_OBJECT_HANDLE" => draw.object(),
            "CK_SLOT_ID" if function == "C_InitToken" => draw.world.slots[1],
            "CK_SLOT_ID" => {
                let any = draw.rng.number();
                let [first, second] = draw.world.slots;
                draw.rng.pick(&[first, first, first, first, second, any])
            }
            "CK_MECHANISM_PTR" if function.ends_with("Authenticated") => {
                draw.authenticating() as u64
            }
            "CK_MECHANISM_PTR" => draw.mechanism(flags_of(function)) as u64,
            "CK_ATTRIBUTE_PTR" => {
                let (template, count) = draw.template(function, name);
                return self.both(template as u64, count);
            }
            "CK_OBJECT_HANDLE_PTR" if function == "C_FindObjects" => {
                let most = draw.rng.pick(&[0, 1, 16, 100]);
                let (buffer, count) = (draw.room(most * 8).cast(), draw.place::<CK_ULONG>());
                self.found = Some((buffer, count));
                self.arguments.push(buffer as u64);
                self.arguments.push(most as u64);
                self.arguments.push(count as u64);
                return 3;
            }
            "CK_OBJECT_HANDLE_PTR" | "CK_SESSION_HANDLE_PTR" => {
                let place = draw.place::<CK_ULONG>();
                self.handles.push(place);
                place as u64
            }
            "CK_SLOT_ID_PTR" | "CK_MECHANISM_TYPE_PTR" if next == "CK_ULONG_PTR" => {
                return self.result(draw, 8);
            }
            "CK_INTERFACE_PTR" => return self.result(draw, size_of::<CK_INTERFACE>()),
            "CK_BYTE_PTR" if next == "CK_ULONG_PTR" => return self.result(draw, 1),
            "CK_BYTE_PTR" if matches!(name, "RandomData" | "pData") && is_written(function) => {
                let length = draw.rng.pick(&[0, 1, 32, 5000]);
                let absent = draw.rng.once_in(30);
                let place = if absent { null_mut() } else { draw.room(length) };
                return self.both(place as u64, length as u64);
            }
            "CK_BYTE_PTR" => {
                let likely = draw.rng.pick(&[32, 32, 20, 16, 64, 256]);
                let (data, length) = draw.data(likely);
                return self.both(data as u64, length);
            }
            "CK_VOID_PTR" if next == "CK_ULONG" => {
                let (parameter, length) = draw.message();
                return self.both(parameter as u64, length);
            }
            "CK_UTF8CHAR_PTR" if next == "CK_ULONG" && name != "pFunctionName" => {
                let (text, length) = self.pin(draw, function, name);
                return self.both(text, length);
            }
            "CK_UTF8CHAR_PTR" if name == "pLabel" => draw.block(&[b' '; 32]) as u64,
            "CK_UTF8CHAR_PTR" => {
                let texts: [&[u8]; 4] = [b"PKCS 11\0", b"C_Sign\0", b"\0", b"\xff\xfe\0"];
                let text = draw.rng.pick(&texts);
                if draw.rng.once_in(10) { 0 } else { draw.block(text) as u64 }
            }
            "CK_VOID_PTR" if name == "pInitArgs" => arguments_of_initialize(draw),
            "CK_VOID_PTR" => {
                if draw.rng.once_in(6) {
                    draw.room(8) as u64
                } else {
                    0
                }
            }
            "CK_NOTIFY" => 0,
            "CK_FLAGS" => flags(draw, function),
            "CK_USER_TYPE" => draw.length_of(&[CKU_USER, CKU_USER, CKU_SO, CKU_CONTEXT_SPECIFIC]),
            "CK_MECHANISM_TYPE" => draw.length_of(&[CKM_RSA_PKCS, CKM_AES_GCM, CKM_SHA256]),
            "CK_BBOOL" => draw.rng.pick(&[0, 1, 0xff]),
            "CK_VERSION_PTR" => {
                let bytes = draw.rng.pick(&[[2, 40], [3, 0], [3, 2], [9, 9]]);
                if draw.rng.once_in(3) { 0 } else { draw.block(&bytes) as u64 }
            }
            "CK_INFO_PTR" => draw.place::<CK_INFO>() as u64,
            "CK_SLOT_INFO_PTR" => draw.place::<CK_SLOT_INFO>() as u64,
            "CK_TOKEN_INFO_PTR" => draw.place::<CK_TOKEN_INFO>() as u64,
            "CK_SESSION_INFO_PTR" => draw.place::<CK_SESSION_INFO>() as u64,
            "CK_MECHANISM_INFO_PTR" => draw.place::<CK_MECHANISM_INFO>() as u64,
            "CK_ASYNC_DATA_PTR" => draw.place::<CK_ASYNC_DATA>() as u64,
            "CK_FUNCTION_LIST_PTR_PTR"
            | "CK_INTERFACE_PTR_PTR"
            | "CK_FLAGS_PTR"
            | "CK_ULONG_PTR"
            | "CK_SLOT_ID_PTR" => draw.place::<u64>() as u64,
            "CK_ULONG" | "CK_SESSION_VALIDATION_FLAGS_TYPE" => draw.rng.number(),
            other => panic!("{function}: arguments of the type {other} are not drawn"),
        };
        self.arguments.push(one);
        1
    }

    fn both(&mut self, first: u64, second: u64) -> usize {
        self.arguments.push(first);
        self.arguments.push(second);
        2
    }

    fn result(&mut self, draw: &mut Draw<'_>, size: usize) -> usize {
        let (buffer, length, elements) = draw.result(size);
        self.results.push((buffer, length, elements, size));
        self.both(buffer as u64, length as u64)
    }

    fn pin(&mut self, draw: &mut Draw<'_>, function: &str, name: &str) -> (u64, u64) {
        if name == "pUsername" {
            let (text, length) = draw.data(4);
            return (text as u64, length);
        }
        // The token that stays in order is not locked by wrong PINs: whoever asks
        // it for a login has the right one.
        let wrecks = changes_pins(function)
            || self.session.is_some_and(|session| {
                let all = draw.world.sessions();
                all.iter().any(|one| one.session == session && one.slot == draw.world.slots[1])
            });
        if wrecks && draw.rng.once_in(3) {
            let (text, length) = draw.data(6);
            return (text as u64, length);
        }
        let so = function == "C_InitToken" || (wrecks && draw.rng.once_in(3));
        let pin = if so { SO_PIN } else { PIN };
        (draw.block(pin.as_bytes()) as u64, pin.len() as u64)
    }

    /// Makes the call and judges its answer.
    pub fn make(&self, draw: &Draw<'_>, function: Any) -> Result<CK_RV, String> {
        let mut all = [0; 10];
        all[..self.arguments.len()].copy_from_slice(&self.arguments);
        let [a, b, c, d, e, f, g, h, i, j] = all;
        // SAFETY: each pointer is null or valid for what the standard says of it; arguments
        // that a function does not take are not looked at.
        let rv = unsafe { function(a, b, c, d, e, f, g, h, i, j) };
        draw.memory.check()?;
        if !CODES.contains(&rv) {
            return Err(format!("answered {rv:#x}"));
        }
        for (buffer, length, elements, size) in &self.results {
            if rv != CKR_OK || buffer.is_null() || length.is_null() {
                continue;
            }
            // SAFETY: it is a block of the host's.
            let said = unsafe { length.read_unaligned() };
            if said > *elements as CK_ULONG {
                return Err(format!("said CKR_OK and {said} for a buffer of {elements}"));
            }
            if *size == 1 && said > 0 {
                // SAFETY: the buffer is that long.
                let bytes = unsafe { std::slice::from_raw_parts(*buffer, said as usize) };
                draw.world.output(bytes.to_vec());
            }
        }
        if rv == CKR_OK {
            self.remember(draw);
        }
        Ok(rv)
    }

    fn remember(&self, draw: &Draw<'_>) {
        let world = draw.world;
        let handle = |place: *mut CK_ULONG| {
            // SAFETY: not null, and a block of the host's.
            (!place.is_null()).then(|| unsafe { place.read_unaligned() })
        };
        match self.signature.0 {
            "C_OpenSession" => {
                let place = self.handles.first().copied();
                if let Some(session) = place.and_then(handle) {
                    world.opened(session, self.arguments[0]);
                }
            }
            "C_CloseSession" => world.closed(self.arguments[0]),
            "C_CloseAllSessions" => world.closed_all(Some(self.arguments[0])),
            "C_Finalize" => world.closed_all(None),
            _ => self.handles.iter().copied().filter_map(handle).for_each(|one| world.object(one)),
        }
        if let Some((buffer, count)) = self.found {
            for index in 0..handle(count).unwrap_or(0) as usize {
                // SAFETY: the buffer holds so many.
                world.object(unsafe { buffer.add(index).read_unaligned() });
            }
        }
    }
}

/// C_GenerateRandom and C_AsyncJoin have a buffer whose length is a value.
fn is_written(function: &str) -> bool {
    matches!(function, "C_GenerateRandom" | "C_AsyncJoin")
}

fn flags(draw: &mut Draw<'_>, function: &str) -> CK_FLAGS {
    let any = draw.rng.number();
    match function {
        "C_OpenSession" => {
            let right = CKF_SERIAL_SESSION | CKF_RW_SESSION;
            draw.rng.pick(&[right, right, right, CKF_SERIAL_SESSION, 0, any])
        }
        // Without it the call is to wait for what does not come.
        "C_WaitForSlotEvent" => any | CKF_DONT_BLOCK,
        "C_SessionCancel" => draw.rng.pick(&[CKF_SIGN, CKF_ENCRYPT, CKF_FIND_OBJECTS, any, 0]),
        _ => draw.rng.pick(&[0, CKF_END_OF_MESSAGE, any]),
    }
}

fn arguments_of_initialize(draw: &mut Draw<'_>) -> u64 {
    if draw.rng.once_in(3) {
        return 0;
    }
    let any = draw.rng.number();
    let flags = draw.rng.pick(&[CKF_OS_LOCKING_OK, CKF_LIBRARY_CANT_CREATE_OS_THREADS, 0, any]);
    let reserved = if draw.rng.once_in(6) { draw.room(8) } else { null_mut() };
    draw.value(CK_C_INITIALIZE_ARGS {
        CreateMutex: None,
        DestroyMutex: None,
        LockMutex: None,
        UnlockMutex: None,
        flags,
        pReserved: reserved.cast(),
    }) as u64
}
