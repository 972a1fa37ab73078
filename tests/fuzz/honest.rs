//! Work that makes sense, call by call: what one brings the next one takes. Chance
//! gets to such ends too rarely. Now and then one argument is spoiled.

use std::ptr::null_mut;

use cryptoki_sys::*;
use keyward_pkcs11::abi::functions;

use crate::call::{Call, concerns_pins};
use crate::common::raw::P256;
use crate::common::{PIN, SO_PIN};
use crate::draw::Draw;

/// The label of the token that is made anew again and again.
pub const FRESH: &str = "fresh";

/// Makes a call whose answer was judged already.
pub type Make<'a> = &'a mut dyn FnMut(&Draw<'_>, &Call) -> CK_RV;

/// What a piece of work ends with when a call is refused.
type Work<T = ()> = Option<T>;

pub struct Host<'a, 'w> {
    pub draw: &'a mut Draw<'w>,
    pub make: Make<'a>,
}

/// Room for every result here.
const ROOM: usize = 8192;

impl Host<'_, '_> {
    pub fn work(&mut self) {
        let session = self.draw.steady_session();
        // What was begun there before would be in the way.
        let _ = self.call("C_SessionCancel", &[session, ALL]);
        let _ = match self.draw.rng.below(9) {
            0 | 1 => self.signature(session),
            2 => self.recovery(session),
            3 => self.cipher(session),
            4 => self.messages(session),
            5 => self.encapsulation(session),
            6 => self.state(session),
            7 => self.keys(session),
            _ if self.draw.rng.once_in(4) => self.life(),
            _ if self.draw.rng.once_in(4) => self.token(),
            _ => None,
        };
    }

    fn call(&mut self, function: &str, arguments: &[u64]) -> Work {
        let mut arguments = arguments.to_vec();
        let signature = functions().find(|(name, _)| *name == function).unwrap();
        assert_eq!(arguments.len(), signature.1.len(), "{function}");
        if self.draw.rng.once_in(12) {
            let index = self.draw.rng.below(arguments.len());
            arguments[index] = match signature.1[index].1 {
                // Never longer than what is there.
                "CK_ULONG" => self.draw.rng.below(arguments[index] as usize + 1) as u64,
                "CK_OBJECT_HANDLE" => self.draw.object(),
                // No other token's PINs are to be changed.
                "CK_SESSION_HANDLE" if concerns_pins(function) => 0,
                "CK_SLOT_ID" => CK_ULONG::MAX,
                "CK_SESSION_HANDLE" => self.draw.session(),
                kind if kind.ends_with("_PTR") => 0,
                _ => self.draw.rng.number(),
            };
        }
        let call = Call::of(*signature, arguments);
        ((self.make)(self.draw, &call) == CKR_OK).then_some(())
    }

    /// A call whose last two arguments are a buffer and its length: what came.
    fn result(&mut self, function: &str, arguments: &[u64]) -> Work<Vec<u8>> {
        let (buffer, length) = self.buffer();
        self.call(function, &[arguments, &[buffer as u64, length as u64]].concat())?;
        // SAFETY: both are blocks of the host's, and the length was looked at by `read`.
        Some(unsafe { read(buffer, length) })
    }

    fn buffer(&mut self) -> (*mut u8, CK_ULONG_PTR) {
        (self.draw.room(ROOM), self.draw.value(ROOM as CK_ULONG))
    }

    fn put(&mut self, bytes: &[u8]) -> [u64; 2] {
        [self.draw.block(bytes) as u64, bytes.len() as u64]
    }

    fn mechanism(&mut self, number: CK_MECHANISM_TYPE, parameter: (*mut u8, usize)) -> u64 {
        self.draw.value(CK_MECHANISM {
            mechanism: number,
            pParameter: parameter.0.cast(),
            ulParameterLen: parameter.1 as CK_ULONG,
        }) as u64
    }

    fn signature(&mut self, session: u64) -> Work {
        let (number, kind) = self.draw.rng.pick(&[
            (CKM_ECDSA_SHA256, CKK_EC),
            (CKM_SHA256_RSA_PKCS, CKK_RSA),
            (CKM_EDDSA, CKK_EC_EDWARDS),
            (CKM_ML_DSA, CKK_ML_DSA),
            (CKM_SHA256_HMAC, CKK_GENERIC_SECRET),
            (CKM_AES_CMAC, CKK_AES),
        ]);
        let signs = self.draw.key(kind, &[CKO_PRIVATE_KEY, CKO_SECRET_KEY])?;
        let verifies = match self.draw.key(kind, &[CKO_PUBLIC_KEY]) {
            Some(public) => public,
            None => signs,
        };
        let length = self.draw.rng.pick(&[0, 1, 32, 100]);
        let [data, length] = {
            let bytes = self.draw.rng.bytes(length);
            self.put(&bytes)
        };
        let mechanism = self.mechanism(number, (null_mut(), 0));
        let signature = match self.draw.rng.below(4) {
            0 => {
                self.call("C_SignInit", &[session, mechanism, signs])?;
                self.call("C_SignUpdate", &[session, data, length])?;
                self.result("C_SignFinal", &[session])?
            }
            1 => {
                self.call("C_MessageSignInit", &[session, mechanism, signs])?;
                let signature = if self.draw.rng.below(2) == 0 {
                    self.result("C_SignMessage", &[session, 0, 0, data, length])?
                } else {
                    self.call("C_SignMessageBegin", &[session, 0, 0])?;
                    self.result("C_SignMessageNext", &[session, 0, 0, data, length])?
                };
                self.call("C_MessageSignFinal", &[session])?;
                signature
            }
            _ => {
                self.call("C_SignInit", &[session, mechanism, signs])?;
                self.result("C_Sign", &[session, data, length])?
            }
        };
        let [given, size] = self.put(&signature);
        match self.draw.rng.below(5) {
            0 => {
                self.call("C_VerifyInit", &[session, mechanism, verifies])?;
                self.call("C_VerifyUpdate", &[session, data, length])?;
                self.call("C_VerifyFinal", &[session, given, size])
            }
            1 => {
                self.call("C_MessageVerifyInit", &[session, mechanism, verifies])?;
                if self.draw.rng.below(2) == 0 {
                    self.call("C_VerifyMessage", &[session, 0, 0, data, length, given, size])?;
                } else {
                    self.call("C_VerifyMessageBegin", &[session, 0, 0])?;
                    self.call("C_VerifyMessageNext", &[session, 0, 0, data, length, given, size])?;
                }
                self.call("C_MessageVerifyFinal", &[session])
            }
            2 => {
                let all = [session, mechanism, verifies, given, size];
                self.call("C_VerifySignatureInit", &all)?;
                if self.draw.rng.below(2) == 0 {
                    return self.call("C_VerifySignature", &[session, data, length]);
                }
                self.call("C_VerifySignatureUpdate", &[session, data, length])?;
                self.call("C_VerifySignatureFinal", &[session])
            }
            _ => {
                self.call("C_VerifyInit", &[session, mechanism, verifies])?;
                self.call("C_Verify", &[session, data, length, given, size])
            }
        }
    }

    fn recovery(&mut self, session: u64) -> Work {
        let private = self.draw.key(CKK_RSA, &[CKO_PRIVATE_KEY])?;
        let public = self.draw.key(CKK_RSA, &[CKO_PUBLIC_KEY])?;
        let mechanism = self.mechanism(CKM_RSA_PKCS, (null_mut(), 0));
        let [data, length] = self.put(&[7; 36]);
        self.call("C_SignRecoverInit", &[session, mechanism, private])?;
        let signature = self.result("C_SignRecover", &[session, data, length])?;
        let [given, size] = self.put(&signature);
        self.call("C_VerifyRecoverInit", &[session, mechanism, public])?;
        self.result("C_VerifyRecover", &[session, given, size]).map(drop)
    }

    /// In parts, some of which another operation sees as well.
    fn cipher(&mut self, session: u64) -> Work {
        let key = self.draw.key(CKK_AES, &[CKO_SECRET_KEY])?;
        let iv = self.draw.block(&[3; 16]);
        let mechanism = self.mechanism(CKM_AES_CBC_PAD, (iv, 16));
        let digest = self.mechanism(CKM_SHA256, (null_mut(), 0));
        let mac_key = self.draw.key(CKK_GENERIC_SECRET, &[CKO_SECRET_KEY])?;
        let mac = self.mechanism(CKM_SHA256_HMAC, (null_mut(), 0));
        let part = self.put(&[9; 40]);
        let with_mac = self.draw.rng.below(2) == 0;

        self.call("C_EncryptInit", &[session, mechanism, key])?;
        if with_mac {
            self.call("C_SignInit", &[session, mac, mac_key])?;
        } else {
            self.call("C_DigestInit", &[session, digest])?;
        }
        let name = if with_mac { "C_SignEncryptUpdate" } else { "C_DigestEncryptUpdate" };
        let mut text = self.result(name, &[session, part[0], part[1]])?;
        text.extend(self.result("C_EncryptUpdate", &[session, part[0], part[1]])?);
        text.extend(self.result("C_EncryptFinal", &[session])?);
        let end = if with_mac { "C_SignFinal" } else { "C_DigestFinal" };
        let code = self.result(end, &[session])?;

        let [text, length] = self.put(&text);
        self.call("C_DecryptInit", &[session, mechanism, key])?;
        if with_mac {
            self.call("C_VerifyInit", &[session, mac, mac_key])?;
        } else {
            self.call("C_DigestInit", &[session, digest])?;
        }
        let name = if with_mac { "C_DecryptVerifyUpdate" } else { "C_DecryptDigestUpdate" };
        self.result(name, &[session, text, length])?;
        self.result("C_DecryptFinal", &[session])?;
        if with_mac {
            // The last block came after the code had seen the others.
            let [code, length] = self.put(&code);
            return self.call("C_VerifyFinal", &[session, code, length]);
        }
        self.result("C_DigestFinal", &[session]).map(drop)
    }

    fn messages(&mut self, session: u64) -> Work {
        let key = self.draw.key(CKK_AES, &[CKO_SECRET_KEY])?;
        let mechanism = self.mechanism(CKM_AES_GCM, (null_mut(), 0));
        let (nonce, tag) = (self.draw.room(12), self.draw.room(16));
        // SAFETY: they are so long; the bytes there are as good as others.
        unsafe { std::ptr::write_bytes(nonce, 5, 12) };
        let size = size_of::<CK_GCM_MESSAGE_PARAMS>() as u64;
        let parameter = self.draw.value(CK_GCM_MESSAGE_PARAMS {
            pIv: nonce,
            ulIvLen: 12,
            ulIvFixedBits: 0,
            ivGenerator: CKG_NO_GENERATE,
            pTag: tag,
            ulTagBits: 128,
        }) as u64;
        let [associated, more] = self.put(&[1; 13]);
        let [text, length] = self.put(&[2; 50]);
        let begin = [session, parameter, size, associated, more];
        let whole = self.draw.rng.below(2) == 0;
        let last = CKF_END_OF_MESSAGE;

        self.call("C_MessageEncryptInit", &[session, mechanism, key])?;
        let made = if whole {
            self.result("C_EncryptMessage", &[&begin[..], &[text, length]].concat())?
        } else {
            self.call("C_EncryptMessageBegin", &begin)?;
            let (buffer, room) = self.buffer();
            let data = [text, length, buffer as u64, room as u64, last];
            self.call("C_EncryptMessageNext", &[&begin[..3], &data].concat())?;
            // SAFETY: both are blocks of the host's.
            unsafe { read(buffer, room) }
        };
        self.call("C_MessageEncryptFinal", &[session])?;

        let [made, length] = self.put(&made);
        self.call("C_MessageDecryptInit", &[session, mechanism, key])?;
        if whole {
            self.result("C_DecryptMessage", &[&begin[..], &[made, length]].concat())?;
        } else {
            self.call("C_DecryptMessageBegin", &begin)?;
            let (buffer, room) = self.buffer();
            let data = [made, length, buffer as u64, room as u64, last];
            self.call("C_DecryptMessageNext", &[&begin[..3], &data].concat())?;
        }
        self.call("C_MessageDecryptFinal", &[session])?;

        let carried = self.draw.key(CKK_GENERIC_SECRET, &[CKO_SECRET_KEY])?;
        let [template, count] = self.secret(false);
        let mechanism = self.mechanism(CKM_AES_GCM, (parameter as *mut u8, size as usize));
        let wrap = [session, mechanism, key, carried];
        let wrapped = self.result("C_WrapKeyAuthenticated", &[&wrap[..], &begin[3..]].concat())?;
        let [wrapped, length] = self.put(&wrapped);
        let place = self.draw.room(8) as u64;
        let rest = [wrapped, length, template, count, associated, more, place];
        self.call("C_UnwrapKeyAuthenticated", &[&wrap[..3], &rest].concat())
    }

    fn encapsulation(&mut self, session: u64) -> Work {
        let private = self.draw.key(CKK_ML_KEM, &[CKO_PRIVATE_KEY])?;
        let public = self.draw.key(CKK_ML_KEM, &[CKO_PUBLIC_KEY])?;
        let mechanism = self.mechanism(CKM_ML_KEM, (null_mut(), 0));
        let sensitive = self.draw.rng.below(2) == 0;
        let [template, count] = self.secret(sensitive);
        let (buffer, length) = self.buffer();
        let places = [0; 2].map(|_| self.draw.room(8) as u64);
        let room = [buffer as u64, length as u64, places[0]];
        let arguments = [&[session, mechanism, public, template, count], &room[..]].concat();
        self.call("C_EncapsulateKey", &arguments)?;
        // SAFETY: both are blocks of the host's.
        let sent = unsafe { read(buffer, length) };
        let [sent, length] = self.put(&sent);
        let rest = [template, count, sent, length, places[1]];
        self.call("C_DecapsulateKey", &[&[session, mechanism, private], &rest[..]].concat())
    }

    /// Keys that are made, wrapped, unwrapped and derived.
    fn keys(&mut self, session: u64) -> Work {
        let sensitive = self.draw.rng.below(2) == 0;
        let wrapping = self.draw.key(CKK_AES, &[CKO_SECRET_KEY])?;
        let length = (CKA_VALUE_LEN, 32_u64.to_ne_bytes().to_vec());
        let derive = (CKA_DERIVE, vec![CK_TRUE]);
        let [made, wanted] = {
            let wanted = secret(sensitive);
            let made = [&wanted[..], &[length, derive]].concat();
            [self.template(&made), self.template(&wanted)]
        };
        let places = [0; 4].map(|_| self.draw.room(8));
        let generates = self.mechanism(CKM_GENERIC_SECRET_KEY_GEN, (null_mut(), 0));
        self.call("C_GenerateKey", &[session, generates, made[0], made[1], places[0] as u64])?;
        // SAFETY: it is a place for a handle, here and below.
        let key = unsafe { places[0].cast::<CK_ULONG>().read_unaligned() };
        let wraps = self.mechanism(CKM_AES_KEY_WRAP_KWP, (null_mut(), 0));
        let wrapped = self.result("C_WrapKey", &[session, wraps, wrapping, key])?;
        let [wrapped, size] = self.put(&wrapped);
        let unwrapped = [wrapped, size, wanted[0], wanted[1], places[1] as u64];
        self.call("C_UnwrapKey", &[&[session, wraps, wrapping], &unwrapped[..]].concat())?;
        let derives = self.mechanism(CKM_SHA256_KEY_DERIVATION, (null_mut(), 0));
        let derived = [wanted[0], wanted[1], places[2] as u64];
        self.call("C_DeriveKey", &[&[session, derives, key], &derived[..]].concat())?;

        let pair = self.mechanism(CKM_EC_KEY_PAIR_GEN, (null_mut(), 0));
        let public = self.template(&[(CKA_EC_PARAMS, P256.to_vec())]);
        let private = self.template(&[(CKA_SENSITIVE, vec![CK_BBOOL::from(sensitive)])]);
        let places = [places[2], places[3]].map(|place| place as u64);
        let arguments = [[session, pair], public, private, places].concat();
        self.call("C_GenerateKeyPair", &arguments)?;
        self.call("C_DestroyObject", &[session, key])
    }

    fn life(&mut self) -> Work {
        self.call("C_Finalize", &[0])?;
        self.call("C_Initialize", &[0])
    }

    /// The token that only this touches is made anew, PIN by PIN.
    fn token(&mut self) -> Work {
        let slot = self.draw.world.fresh;
        let [pin, so, new] = [PIN, SO_PIN, "87654321"].map(|pin| self.put(pin.as_bytes()));
        let mut label = [b' '; 32];
        label[..FRESH.len()].copy_from_slice(FRESH.as_bytes());
        let label = self.draw.block(&label) as u64;
        let place = self.draw.room(8);
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;

        self.call("C_CloseAllSessions", &[slot])?;
        self.call("C_InitToken", &[slot, so[0], so[1], label])?;
        self.call("C_OpenSession", &[slot, flags, 0, 0, place as u64])?;
        // SAFETY: it is a place for a handle.
        let session = unsafe { place.cast::<CK_ULONG>().read_unaligned() };
        self.call("C_Login", &[session, CKU_SO, so[0], so[1]])?;
        self.call("C_InitPIN", &[session, pin[0], pin[1]])?;
        self.call("C_Logout", &[session])?;
        self.call("C_LoginUser", &[session, CKU_USER, pin[0], pin[1], 0, 0])?;
        self.call("C_SetPIN", &[session, pin[0], pin[1], new[0], new[1]])?;
        self.call("C_CloseSession", &[session])
    }

    /// The template of a secret key of 32 bytes, and its length.
    fn secret(&mut self, sensitive: bool) -> [u64; 2] {
        self.template(&secret(sensitive))
    }

    fn template(&mut self, entries: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> [u64; 2] {
        let entry = |(attribute, value): &(CK_ATTRIBUTE_TYPE, Vec<u8>)| CK_ATTRIBUTE {
            type_: *attribute,
            pValue: self.draw.block(value).cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let entries: Vec<_> = entries.iter().map(entry).collect();
        [self.draw.array(&entries) as u64, entries.len() as u64]
    }

    fn state(&mut self, session: u64) -> Work {
        let digest = self.mechanism(CKM_SHA256, (null_mut(), 0));
        let [data, length] = self.put(&[4; 77]);
        self.call("C_DigestInit", &[session, digest])?;
        self.call("C_DigestUpdate", &[session, data, length])?;
        if let Some(key) = self.draw.key(CKK_GENERIC_SECRET, &[CKO_SECRET_KEY]) {
            self.call("C_DigestKey", &[session, key])?;
        }
        let state = self.result("C_GetOperationState", &[session])?;
        let [state, length] = self.put(&state);
        self.call("C_SetOperationState", &[session, state, length, 0, 0])?;
        self.result("C_DigestFinal", &[session]).map(drop)
    }
}

fn secret(sensitive: bool) -> Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)> {
    vec![
        (CKA_CLASS, CKO_SECRET_KEY.to_ne_bytes().to_vec()),
        (CKA_KEY_TYPE, CKK_GENERIC_SECRET.to_ne_bytes().to_vec()),
        (CKA_TOKEN, vec![CK_FALSE]),
        (CKA_SENSITIVE, vec![CK_BBOOL::from(sensitive)]),
        (CKA_EXTRACTABLE, vec![CK_TRUE]),
    ]
}

/// Every kind of operation.
const ALL: CK_FLAGS = CKF_FIND_OBJECTS
    | CKF_MESSAGE_ENCRYPT
    | CKF_MESSAGE_DECRYPT
    | CKF_MESSAGE_SIGN
    | CKF_MESSAGE_VERIFY
    | CKF_ENCRYPT
    | CKF_DECRYPT
    | CKF_DIGEST
    | CKF_SIGN
    | CKF_SIGN_RECOVER
    | CKF_VERIFY
    | CKF_VERIFY_RECOVER;

/// # Safety
/// There are [`ROOM`] bytes, and a length.
unsafe fn read(buffer: *mut u8, length: CK_ULONG_PTR) -> Vec<u8> {
    // SAFETY: the caller's promise.
    let length = unsafe { length.read_unaligned() } as usize;
    assert!(length <= ROOM, "said CKR_OK and {length} for a buffer of {ROOM}");
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(buffer, length) }.to_vec()
}
