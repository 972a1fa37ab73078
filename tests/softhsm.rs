//! The same calls to SoftHSM and to Keyward: where the standard prescribes
//! what comes of a call, both must say the same. Differences that are meant
//! stand in [`DIFFERENCES`] with their reason.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;
mod conformance;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::ptr::null_mut;

use common::alone::{TOKEN, alone, configure};
use common::raw::{Module, P256, P384, Rv, Template, call, mechanism, ok};
use common::softhsm::soft_hsm;
use common::{PIN, SO_PIN, Service};
use cryptoki_sys::*;
use keyward_token::mechanism::REGISTRY;

/// Step, what SoftHSM says, what Keyward says, and why.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("logout of nobody", "OK", "USER_NOT_LOGGED_IN", "section 5.6.9 names this value"),
    ("token EC public VERIFY_RECOVER", "01", "00", TOKENS_CHOICE),
    ("token EC public ENCRYPT", "01", "00", TOKENS_CHOICE),
    ("token EC public WRAP", "01", "00", TOKENS_CHOICE),
    ("token EC private SIGN_RECOVER", "01", "00", TOKENS_CHOICE),
    ("token EC private DECRYPT", "01", "00", TOKENS_CHOICE),
    ("token EC private UNWRAP", "01", "00", TOKENS_CHOICE),
    ("session EC public VERIFY_RECOVER", "01", "00", TOKENS_CHOICE),
    ("session EC public ENCRYPT", "01", "00", TOKENS_CHOICE),
    ("session EC public WRAP", "01", "00", TOKENS_CHOICE),
    ("session EC private SIGN_RECOVER", "01", "00", TOKENS_CHOICE),
    ("session EC private DECRYPT", "01", "00", TOKENS_CHOICE),
    ("session EC private UNWRAP", "01", "00", TOKENS_CHOICE),
    ("imported EC public VERIFY_RECOVER", "01", "00", TOKENS_CHOICE),
    ("imported EC public ENCRYPT", "01", "00", TOKENS_CHOICE),
    ("imported EC public WRAP", "01", "00", TOKENS_CHOICE),
    ("data PRIVATE", "01", "00", "table 14: the default is the token's; data is not a secret"),
    (
        "generate with another class",
        "ATTRIBUTE_VALUE_INVALID",
        "TEMPLATE_INCONSISTENT",
        "section 4.1.1: a template that contradicts the function is inconsistent",
    ),
    ("RSA_PKCS of too much", "GENERAL_ERROR", "DATA_LEN_RANGE", "section 6.1.6 gives the length"),
    ("with a public key", "KEY_FUNCTION_NOT_PERMITTED", "KEY_TYPE_INCONSISTENT", WRONG_CLASS),
    ("ECDSA with an RSA key", "GENERAL_ERROR", "KEY_TYPE_INCONSISTENT", "section 5.1.6"),
    ("RSA with an EC key", "GENERAL_ERROR", "KEY_TYPE_INCONSISTENT", "section 5.1.6"),
    (
        "with no key",
        "OBJECT_HANDLE_INVALID",
        "KEY_HANDLE_INVALID",
        "section 5.13.1 names this value",
    ),
    ("PSS without a parameter", "ARGUMENTS_BAD", "MECHANISM_PARAM_INVALID", "section 5.1.6"),
    (
        "verify with a private key",
        "KEY_FUNCTION_NOT_PERMITTED",
        "KEY_TYPE_INCONSISTENT",
        WRONG_CLASS,
    ),
    ("verify with an EC key", "SIGNATURE_LEN_RANGE", "KEY_TYPE_INCONSISTENT", "section 5.1.6"),
    (
        "decrypt with a public key",
        "KEY_FUNCTION_NOT_PERMITTED",
        "KEY_TYPE_INCONSISTENT",
        WRONG_CLASS,
    ),
    ("sign after logout", "OBJECT_HANDLE_INVALID", "USER_NOT_LOGGED_IN", KNOWN),
    (
        "sign with the same handle",
        "OBJECT_HANDLE_INVALID",
        "OK",
        "an object keeps its handle over logout and login; hosts that cache it go on",
    ),
];

const TOKENS_CHOICE: &str = "the default is the token's; it should be what the key can do";

/// A PIN change ends a login under the host; it must know what to do then.
const KNOWN: &str = "the handle is that of an object which a login would show again";

const WRONG_CLASS: &str = "both values fit a key of the wrong class; hosts take either as final";

#[test]
fn keyward_answers_as_softhsm_does() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let (soft_module, soft_slot) = soft_hsm(folder.path());
        let service = Service::start();
        service.token(TOKEN);
        configure(&service.identity("client", &[TOKEN], &[]));
        let soft = script(&Module::load(Path::new(&soft_module)), Some(soft_slot));
        let keyward = script(&Module::load(&common::module()), None);
        assert!(soft.len() > 150, "only {} steps", soft.len());
        let mut unexpected = String::new();
        let mut seen = Vec::new();
        for ((step, soft), (same_step, keyward)) in soft.iter().zip(&keyward) {
            assert_eq!(step, same_step, "the scripts part here");
            if soft == keyward {
                continue;
            }
            let meant = DIFFERENCES.iter().any(|(meant, on_soft, on_keyward, _)| {
                meant == step && on_soft == soft && on_keyward == keyward
            });
            if meant {
                seen.push(step.as_str());
            } else {
                writeln!(unexpected, "(\"{step}\", \"{soft}\", \"{keyward}\", \"\"),").unwrap();
            }
        }
        for (step, ..) in DIFFERENCES {
            if !seen.contains(step) {
                writeln!(unexpected, "no difference any more: {step}").unwrap();
            }
        }
        assert_eq!(soft.len(), keyward.len());
        assert!(unexpected.is_empty(), "{unexpected}");
    });
}

/// What docs/reference/conformance.md says of both is what the modules say.
#[test]
fn both_list_the_mechanisms_that_the_page_of_conformance_says() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let (soft_module, soft_slot) = soft_hsm(folder.path());
        let service = Service::start();
        service.token(TOKEN);
        configure(&service.identity("client", &[TOKEN], &[]));
        let recorded = conformance::Peer::read("SoftHSM", "softhsm.txt").mechanisms;
        let recorded =
            recorded.iter().map(|mechanism| (mechanism.number.unwrap(), mechanism.flags));
        let asked = mechanisms(&Module::load(Path::new(&soft_module)), soft_slot);
        assert_eq!(asked, recorded.collect(), "SoftHSM");
        let asked = mechanisms(&Module::load(&common::module()), 0);
        assert!(asked.len() > 50, "{}", asked.len());
        for (number, flags) in asked {
            let known = REGISTRY.iter().find(|mechanism| mechanism.number == number);
            let known = known.map(|mechanism| mechanism.flags & conformance::compared());
            assert_eq!(Some(flags), known, "Keyward, {number:#x}");
        }
    });
}

/// What C_GetMechanismInfo says of each mechanism that is listed.
fn mechanisms(module: &Module, slot: CK_SLOT_ID) -> BTreeMap<CK_MECHANISM_TYPE, CK_FLAGS> {
    assert_eq!(module.initialize(), CKR_OK);
    let (mut list, mut count) = ([0; 512], 512);
    ok(call!(module, C_GetMechanismList(slot, list.as_mut_ptr(), &raw mut count))).unwrap();
    let mut told = BTreeMap::new();
    for number in &list[..count as usize] {
        let mut info = CK_MECHANISM_INFO::default();
        ok(call!(module, C_GetMechanismInfo(slot, *number, &raw mut info))).unwrap();
        told.insert(*number, info.flags & conformance::compared());
    }
    told
}

// ---- the script ---------------------------------------------------------------------

/// What came of each step.
#[derive(Default)]
struct Record(Vec<(String, String)>);

impl Record {
    fn rv(&mut self, step: &str, rv: CK_RV) {
        self.0.push((step.to_owned(), name(rv)));
    }

    fn result<T>(&mut self, step: &str, result: Rv<T>) -> Option<T> {
        self.rv(step, result.as_ref().err().copied().unwrap_or(CKR_OK));
        result.ok()
    }

    fn value(&mut self, step: &str, value: impl ToString) {
        self.0.push((step.to_owned(), value.to_string()));
    }
}

macro_rules! names {
    ($($name:ident)*) => {
        fn name(rv: CK_RV) -> String {
            match rv {
                $($name => stringify!($name)[4..].to_owned(),)*
                other => format!("{other:#x}"),
            }
        }
    };
}

names! {
    CKR_OK CKR_ARGUMENTS_BAD CKR_ACTION_PROHIBITED CKR_ATTRIBUTE_READ_ONLY CKR_ATTRIBUTE_SENSITIVE
    CKR_ATTRIBUTE_TYPE_INVALID CKR_ATTRIBUTE_VALUE_INVALID CKR_BUFFER_TOO_SMALL
    CKR_CRYPTOKI_ALREADY_INITIALIZED CKR_CRYPTOKI_NOT_INITIALIZED CKR_DATA_LEN_RANGE
    CKR_ENCRYPTED_DATA_INVALID CKR_ENCRYPTED_DATA_LEN_RANGE CKR_FUNCTION_NOT_PARALLEL
    CKR_FUNCTION_NOT_SUPPORTED CKR_GENERAL_ERROR CKR_KEY_FUNCTION_NOT_PERMITTED
    CKR_KEY_HANDLE_INVALID CKR_KEY_TYPE_INCONSISTENT CKR_MECHANISM_INVALID
    CKR_MECHANISM_PARAM_INVALID CKR_OBJECT_HANDLE_INVALID CKR_OPERATION_ACTIVE
    CKR_OPERATION_NOT_INITIALIZED CKR_PIN_INCORRECT CKR_PIN_LEN_RANGE CKR_RANDOM_SEED_NOT_SUPPORTED
    CKR_SESSION_HANDLE_INVALID CKR_SESSION_PARALLEL_NOT_SUPPORTED CKR_SESSION_READ_ONLY
    CKR_SESSION_READ_ONLY_EXISTS CKR_SESSION_READ_WRITE_SO_EXISTS CKR_SIGNATURE_INVALID
    CKR_SIGNATURE_LEN_RANGE CKR_SLOT_ID_INVALID CKR_TEMPLATE_INCOMPLETE CKR_TEMPLATE_INCONSISTENT
    CKR_USER_ALREADY_LOGGED_IN CKR_USER_ANOTHER_ALREADY_LOGGED_IN CKR_USER_NOT_LOGGED_IN
    CKR_USER_TYPE_INVALID CKR_FUNCTION_FAILED CKR_DATA_INVALID CKR_DEVICE_ERROR
    CKR_KEY_SIZE_RANGE CKR_CURVE_NOT_SUPPORTED CKR_DOMAIN_PARAMS_INVALID
}

const ATTRIBUTES: &[(&str, CK_ATTRIBUTE_TYPE)] = &[
    ("CLASS", CKA_CLASS),
    ("TOKEN", CKA_TOKEN),
    ("PRIVATE", CKA_PRIVATE),
    ("MODIFIABLE", CKA_MODIFIABLE),
    ("COPYABLE", CKA_COPYABLE),
    ("DESTROYABLE", CKA_DESTROYABLE),
    ("LABEL", CKA_LABEL),
    ("KEY_TYPE", CKA_KEY_TYPE),
    ("ID", CKA_ID),
    ("START_DATE", CKA_START_DATE),
    ("END_DATE", CKA_END_DATE),
    ("DERIVE", CKA_DERIVE),
    ("LOCAL", CKA_LOCAL),
    ("KEY_GEN_MECHANISM", CKA_KEY_GEN_MECHANISM),
    ("SUBJECT", CKA_SUBJECT),
    ("SENSITIVE", CKA_SENSITIVE),
    ("EXTRACTABLE", CKA_EXTRACTABLE),
    ("ALWAYS_SENSITIVE", CKA_ALWAYS_SENSITIVE),
    ("NEVER_EXTRACTABLE", CKA_NEVER_EXTRACTABLE),
    ("SIGN", CKA_SIGN),
    ("SIGN_RECOVER", CKA_SIGN_RECOVER),
    ("VERIFY", CKA_VERIFY),
    ("VERIFY_RECOVER", CKA_VERIFY_RECOVER),
    ("ENCRYPT", CKA_ENCRYPT),
    ("DECRYPT", CKA_DECRYPT),
    ("WRAP", CKA_WRAP),
    ("UNWRAP", CKA_UNWRAP),
    ("WRAP_WITH_TRUSTED", CKA_WRAP_WITH_TRUSTED),
    ("TRUSTED", CKA_TRUSTED),
    ("ALWAYS_AUTHENTICATE", CKA_ALWAYS_AUTHENTICATE),
    ("MODULUS_BITS", CKA_MODULUS_BITS),
    ("PUBLIC_EXPONENT", CKA_PUBLIC_EXPONENT),
    ("PRIVATE_EXPONENT", CKA_PRIVATE_EXPONENT),
    ("PRIME_1", CKA_PRIME_1),
    ("COEFFICIENT", CKA_COEFFICIENT),
    ("EC_PARAMS", CKA_EC_PARAMS),
    ("VALUE", CKA_VALUE),
    ("VALUE_LEN", CKA_VALUE_LEN),
    ("APPLICATION", CKA_APPLICATION),
    ("OBJECT_ID", CKA_OBJECT_ID),
    ("CERTIFICATE_TYPE", CKA_CERTIFICATE_TYPE),
];

/// Every attribute of an object; of those that are random the length.
fn describe(
    record: &mut Record,
    module: &Module,
    session: CK_SESSION_HANDLE,
    what: &str,
    object: CK_OBJECT_HANDLE,
) {
    for (name_of, attribute) in ATTRIBUTES {
        let step = format!("{what} {name_of}");
        match module.get(session, object, *attribute) {
            Ok(value) => record.value(&step, hex(&value)),
            Err(rv) => record.rv(&step, rv),
        }
    }
    for (name_of, attribute) in [("MODULUS", CKA_MODULUS), ("EC_POINT", CKA_EC_POINT)] {
        let step = format!("{what} length of {name_of}");
        match module.get(session, object, attribute) {
            Ok(value) => record.value(&step, value.len()),
            Err(rv) => record.rv(&step, rv),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Initialises the module, does everything once, and finalises it.
fn script(module: &Module, slot: Option<CK_SLOT_ID>) -> Vec<(String, String)> {
    let mut record = Record::default();
    let r = &mut record;
    r.rv("before C_Initialize", call!(module, C_GetInfo(null_mut())));
    r.rv("C_Initialize", module.initialize());
    r.rv("C_Initialize again", module.initialize());
    let slot = slot.unwrap_or_else(|| module.slots().unwrap()[0]);
    sessions(r, module, slot);
    let session = module.open(slot, CKF_RW_SESSION).unwrap();
    r.result("login", module.login(session, PIN));
    keys(r, module, session);
    operations(r, module, session);
    objects(r, module, session, slot);
    r.rv("C_CloseAllSessions", call!(module, C_CloseAllSessions(slot)));
    r.rv("session closed with all", call!(module, C_CloseSession(session)));
    r.rv("C_Finalize", module.finalize());
    r.rv("C_Finalize again", module.finalize());
    record.0
}

fn sessions(r: &mut Record, module: &Module, slot: CK_SLOT_ID) {
    let mut handle = 0;
    let open = |flags, handle| call!(module, C_OpenSession(slot, flags, null_mut(), None, handle));
    r.rv("open without CKF_SERIAL_SESSION", open(CKF_RW_SESSION, &raw mut handle));
    r.rv("open without a place", open(CKF_SERIAL_SESSION, null_mut()));
    r.result("open in no slot", module.open(0x7fff_0000, 0));
    r.rv("info of no session", call!(module, C_GetSessionInfo(0x7fff_0000, null_mut())));
    let read_only = module.open(slot, 0).unwrap();
    let read_write = module.open(slot, CKF_RW_SESSION).unwrap();
    let state = |session| {
        let mut info = CK_SESSION_INFO::default();
        assert_eq!(call!(module, C_GetSessionInfo(session, &raw mut info)), CKR_OK);
        format!("state {} flags {} error {}", info.state, info.flags, info.ulDeviceError)
    };
    r.value("read-only public", state(read_only));
    r.value("read-write public", state(read_write));
    r.result("SO beside a read-only session", module.login_as(read_write, CKU_SO, SO_PIN));
    r.result("login as nobody", module.login_as(read_write, 17, PIN));
    r.result("logout of nobody", ok(call!(module, C_Logout(read_write))));
    r.result("wrong PIN", module.login(read_only, "98765"));
    r.result("right PIN", module.login(read_only, PIN));
    r.result("right PIN again", module.login(read_write, PIN));
    r.result("SO beside the user", module.login_as(read_write, CKU_SO, SO_PIN));
    r.value("read-only user", state(read_only));
    r.value("read-write user", state(read_write));
    let token_object = || Template::new().number(CKA_CLASS, CKO_DATA).flag(CKA_TOKEN, true);
    r.result("token object in a read-only session", module.create(read_only, token_object()));
    r.rv("close", call!(module, C_CloseSession(read_only)));
    r.rv("close again", call!(module, C_CloseSession(read_only)));
    r.rv("logout", call!(module, C_Logout(read_write)));
    r.result("SO alone", module.login_as(read_write, CKU_SO, SO_PIN));
    r.value("read-write SO", state(read_write));
    r.result("read-only beside SO", module.open(slot, 0));
    r.rv("close the last", call!(module, C_CloseSession(read_write)));
    let again = module.open(slot, CKF_RW_SESSION).unwrap();
    r.value("logged out with the last session", state(again));
    r.rv("C_GetFunctionStatus", call!(module, C_GetFunctionStatus(again)));
    r.rv("C_CancelFunction", call!(module, C_CancelFunction(again)));
    let private = Template::new().number(CKA_CLASS, CKO_DATA).flag(CKA_PRIVATE, true);
    r.result("private object in the public state", module.create(again, private));
    r.rv("close", call!(module, C_CloseSession(again)));
}

fn keys(r: &mut Record, module: &Module, session: CK_SESSION_HANDLE) {
    for token in [true, false] {
        let kind = if token { "token" } else { "session" };
        let (public, private) = module.generate_rsa(session, token);
        describe(r, module, session, &format!("{kind} RSA public"), public);
        describe(r, module, session, &format!("{kind} RSA private"), private);
        let (public, private) = module.generate_ec(session, P256, token);
        describe(r, module, session, &format!("{kind} EC public"), public);
        describe(r, module, session, &format!("{kind} EC private"), private);
    }
    let (public, _) = module.generate_ec(session, P384, false);
    let point = module.get(session, public, CKA_EC_POINT).unwrap();
    let import = Template::new()
        .number(CKA_CLASS, CKO_PUBLIC_KEY)
        .number(CKA_KEY_TYPE, CKK_EC)
        .bytes(CKA_EC_PARAMS, P384)
        .bytes(CKA_EC_POINT, &point)
        .flag(CKA_VERIFY, true);
    if let Some(imported) = r.result("import of a public key", module.create(session, import)) {
        describe(r, module, session, "imported EC public", imported);
    }
    let data = Template::new()
        .number(CKA_CLASS, CKO_DATA)
        .bytes(CKA_LABEL, b"label")
        .bytes(CKA_VALUE, b"value");
    let data = module.create(session, data).unwrap();
    describe(r, module, session, "data", data);

    let ec = |public: Template, private: Template| {
        module.generate(session, CKM_EC_KEY_PAIR_GEN, public, private)
    };
    r.result("generate without a curve", ec(Template::new(), Template::new()));
    r.result(
        "generate with another class",
        ec(Template::new().bytes(CKA_EC_PARAMS, P256).number(CKA_CLASS, CKO_DATA), Template::new()),
    );
    let rsa =
        |bits: Template| module.generate(session, CKM_RSA_PKCS_KEY_PAIR_GEN, bits, Template::new());
    r.result("generate without CKA_MODULUS_BITS", rsa(Template::new()));
    r.result(
        "generate with a mechanism that generates nothing",
        module.generate(session, CKM_SHA256, Template::new(), Template::new()),
    );
}

fn operations(r: &mut Record, module: &Module, session: CK_SESSION_HANDLE) {
    let (rsa_public, rsa) = module.generate_rsa(session, false);
    let (ec_public, ec) = module.generate_ec(session, P256, false);
    let digest = [3; 32];
    r.result("sign without init", module.sign(session, &digest));
    r.result("sign init", module.sign_init(session, CKM_RSA_PKCS, rsa));
    r.result("sign init again", module.sign_init(session, CKM_RSA_PKCS, rsa));
    let data = digest.as_ptr().cast_mut();
    let mut length = 0;
    r.rv("sign, how long", call!(module, C_Sign(session, data, 32, null_mut(), &raw mut length)));
    r.value("sign, length", length);
    let mut buffer = [0; 512];
    let mut length = 255;
    r.rv(
        "sign, too short",
        call!(module, C_Sign(session, data, 32, buffer.as_mut_ptr(), &raw mut length)),
    );
    r.value("sign, needed", length);
    r.rv("sign", call!(module, C_Sign(session, data, 32, buffer.as_mut_ptr(), &raw mut length)));
    r.value("sign, given", length);
    r.result("sign after the end", module.sign(session, &digest));
    let mut sign = |step: &str, number, key, data: &[u8]| {
        let made = module.sign_with(session, number, key, data);
        r.value(&format!("{step}, length"), made.as_ref().map_or(0, Vec::len));
        r.result(step, made);
        // Whatever was left, it is over.
        let _ = call!(module, C_SignInit(session, null_mut(), 0));
    };
    sign("SHA256_RSA_PKCS", CKM_SHA256_RSA_PKCS, rsa, b"data");
    sign("SHA256_RSA_PKCS of nothing", CKM_SHA256_RSA_PKCS, rsa, b"");
    sign("RSA_PKCS of too much", CKM_RSA_PKCS, rsa, &[1; 246]);
    sign("RSA_PKCS of as much as there may be", CKM_RSA_PKCS, rsa, &[1; 245]);
    sign("RSA_X_509", CKM_RSA_X_509, rsa, &[1; 256]);
    // Of more than the modulus SoftHSM makes an end of the process.
    sign("ECDSA", CKM_ECDSA, ec, &digest);
    sign("ECDSA of a longer digest", CKM_ECDSA, ec, &[1; 64]);
    sign("ECDSA of a shorter digest", CKM_ECDSA, ec, &[1; 20]);
    sign("with a public key", CKM_RSA_PKCS, rsa_public, &digest);
    sign("ECDSA with an RSA key", CKM_ECDSA, rsa, &digest);
    sign("RSA with an EC key", CKM_RSA_PKCS, ec, &digest);
    sign("with no key", CKM_RSA_PKCS, 0x7fff_0000, &digest);
    sign("with a mechanism that signs nothing", CKM_SHA256, rsa, &digest);
    sign("PSS without a parameter", CKM_RSA_PKCS_PSS, rsa, &digest);

    let signature = module.sign_with(session, CKM_SHA256_RSA_PKCS, rsa, b"data").unwrap();
    let mut verify = |step: &str, key, data: &[u8], signature: &[u8]| {
        let verified = module.verify_with(session, CKM_SHA256_RSA_PKCS, key, data, signature);
        r.result(step, verified);
    };
    verify("verify", rsa_public, b"data", &signature);
    verify("verify other data", rsa_public, b"date", &signature);
    verify("verify a short signature", rsa_public, b"data", &signature[1..]);
    verify("verify no signature", rsa_public, b"data", &[0; 256]);
    verify("verify with a private key", rsa, b"data", &signature);
    verify("verify with an EC key", ec_public, b"data", &signature);
    let signature = module.sign_with(session, CKM_ECDSA, ec, &digest).unwrap();
    let mut verify = |step: &str, data: &[u8], signature: &[u8]| {
        let verified = module.verify_with(session, CKM_ECDSA, ec_public, data, signature);
        r.result(step, verified);
    };
    verify("verify ECDSA", &digest, &signature);
    verify("verify ECDSA of another digest", &[4; 32], &signature);
    verify("verify a short ECDSA signature", &digest, &signature[1..]);

    let mut rsa_pkcs = mechanism(CKM_RSA_PKCS);
    let rsa_pkcs = &raw mut rsa_pkcs;
    let mut encrypted = [0; 256];
    let mut length = 256;
    r.rv("encrypt init", call!(module, C_EncryptInit(session, rsa_pkcs, rsa_public)));
    r.rv(
        "encrypt",
        call!(module, C_Encrypt(session, data, 32, encrypted.as_mut_ptr(), &raw mut length)),
    );
    r.rv("decrypt init", call!(module, C_DecryptInit(session, rsa_pkcs, rsa)));
    r.rv(
        "decrypt",
        call!(
            module,
            C_Decrypt(session, encrypted.as_mut_ptr(), 256, buffer.as_mut_ptr(), &raw mut length)
        ),
    );
    r.value("decrypted", hex(&buffer[..length as usize]));
    r.rv("decrypt with a public key", call!(module, C_DecryptInit(session, rsa_pkcs, rsa_public)));
    r.rv("decrypt with an EC key", call!(module, C_DecryptInit(session, rsa_pkcs, ec)));

    let mut sha = mechanism(CKM_SHA256);
    r.rv(
        "digest without init",
        call!(module, C_Digest(session, data, 32, buffer.as_mut_ptr(), &raw mut length)),
    );
    r.rv("digest init", call!(module, C_DigestInit(session, &raw mut sha)));
    r.rv("digest init again", call!(module, C_DigestInit(session, &raw mut sha)));
    let mut length = 31;
    r.rv(
        "digest, too short",
        call!(module, C_Digest(session, data, 32, buffer.as_mut_ptr(), &raw mut length)),
    );
    r.value("digest, needed", length);
    r.rv(
        "digest",
        call!(module, C_Digest(session, data, 32, buffer.as_mut_ptr(), &raw mut length)),
    );
    r.value("digested", hex(&buffer[..length as usize]));
    r.rv("seed", call!(module, C_SeedRandom(session, data, 32)));
    r.rv("random", call!(module, C_GenerateRandom(session, buffer.as_mut_ptr(), 32)));
}

fn objects(r: &mut Record, module: &Module, session: CK_SESSION_HANDLE, slot: CK_SLOT_ID) {
    let data = || Template::new().number(CKA_CLASS, CKO_DATA);
    r.result("create nothing", module.create(session, Template::new()));
    r.result(
        "create of no class",
        module.create(session, Template::new().number(CKA_CLASS, 0x1234)),
    );
    r.result(
        "create with an attribute of others",
        module.create(session, data().flag(CKA_SENSITIVE, true)),
    );
    r.result("create with a short boolean", module.create(session, data().bytes(CKA_TOKEN, &[])));
    r.result(
        "create a certificate without a value",
        module.create(
            session,
            Template::new()
                .number(CKA_CLASS, CKO_CERTIFICATE)
                .number(CKA_CERTIFICATE_TYPE, CKC_X_509),
        ),
    );
    let object = module.create(session, data().bytes(CKA_LABEL, b"mine")).unwrap();
    r.result("set the label", module.set(session, object, Template::new().bytes(CKA_LABEL, b"x")));
    r.value("label", hex(&module.get(session, object, CKA_LABEL).unwrap()));
    r.result(
        "set the class",
        module.set(session, object, Template::new().number(CKA_CLASS, CKO_DATA)),
    );
    r.result("set in no object", module.set(session, 0x7fff_0000, Template::new()));
    let fixed = module.create(session, data().flag(CKA_MODIFIABLE, false)).unwrap();
    r.result(
        "set what is fixed",
        module.set(session, fixed, Template::new().bytes(CKA_LABEL, b"x")),
    );
    let (_, key) = module.generate_ec(session, P256, false);
    for (step, change) in [
        ("set CKA_SENSITIVE false", Template::new().flag(CKA_SENSITIVE, false)),
        ("set CKA_EXTRACTABLE true", Template::new().flag(CKA_EXTRACTABLE, true)),
        ("set CKA_KEY_TYPE", Template::new().number(CKA_KEY_TYPE, CKK_RSA)),
        ("set CKA_LOCAL", Template::new().flag(CKA_LOCAL, false)),
        ("set CKA_ID", Template::new().bytes(CKA_ID, &[0, 1, 2])),
        ("set CKA_SIGN false", Template::new().flag(CKA_SIGN, false)),
    ] {
        r.result(step, module.set(session, key, change));
    }
    r.result("sign with a key that may not", module.sign_with(session, CKM_ECDSA, key, &[1; 32]));

    let copy = module.copy(session, object, Template::new().flag(CKA_TOKEN, true));
    if let Some(copy) = r.result("copy to the token", copy) {
        r.value("copied label", hex(&module.get(session, copy, CKA_LABEL).unwrap()));
        r.rv("destroy", call!(module, C_DestroyObject(session, copy)));
        r.rv("destroy again", call!(module, C_DestroyObject(session, copy)));
    }
    r.result(
        "copy, not sensitive",
        module.copy(session, key, Template::new().flag(CKA_SENSITIVE, false)),
    );
    r.result(
        "copy, not private",
        module.copy(session, key, Template::new().flag(CKA_PRIVATE, false)),
    );

    r.rv("find without init", call!(module, C_FindObjects(session, null_mut(), 0, null_mut())));
    r.rv("find final without init", call!(module, C_FindObjectsFinal(session)));
    r.rv("find init", call!(module, C_FindObjectsInit(session, null_mut(), 0)));
    r.rv("find init again", call!(module, C_FindObjectsInit(session, null_mut(), 0)));
    r.rv("find final", call!(module, C_FindObjectsFinal(session)));
    let count = |template| module.find(session, template).unwrap().len();
    r.value("private keys", count(Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY)));
    r.value("token objects", count(Template::new().flag(CKA_TOKEN, true)));
    r.value("by CKA_ID", count(Template::new().bytes(CKA_ID, &[0, 1, 2])));
    r.value("by two", count(Template::new().number(CKA_KEY_TYPE, CKK_EC).flag(CKA_TOKEN, true)));
    r.value("by nothing that there is", count(Template::new().bytes(CKA_LABEL, b"nobody")));
    // Two attributes at once, of which one is sensitive.
    let (mut class, mut secret) = ([0; 8], [0; 32]);
    let mut entries = [
        CK_ATTRIBUTE { type_: CKA_VALUE, pValue: secret.as_mut_ptr().cast(), ulValueLen: 32 },
        CK_ATTRIBUTE { type_: CKA_CLASS, pValue: class.as_mut_ptr().cast(), ulValueLen: 8 },
        CK_ATTRIBUTE { type_: CKA_LABEL, pValue: null_mut(), ulValueLen: 0 },
    ];
    r.rv("mixed", call!(module, C_GetAttributeValue(session, key, entries.as_mut_ptr(), 3)));
    r.value("mixed lengths", format!("{:?}", entries.map(|entry| entry.ulValueLen as i64)));
    r.value("mixed class", hex(&class));
    let mut short =
        CK_ATTRIBUTE { type_: CKA_CLASS, pValue: class.as_mut_ptr().cast(), ulValueLen: 4 };
    r.rv("short", call!(module, C_GetAttributeValue(session, key, &raw mut short, 1)));
    r.value("short length", short.ulValueLen as i64);
    r.result("get from no object", module.get(session, 0x7fff_0000, CKA_CLASS));

    let other = module.open(slot, 0).unwrap();
    let own = module.create(other, data().bytes(CKA_LABEL, b"own")).unwrap();
    r.value("seen by others", hex(&module.get(session, own, CKA_LABEL).unwrap()));
    r.rv("close its session", call!(module, C_CloseSession(other)));
    r.result("gone with its session", module.get(session, own, CKA_LABEL));
    let (_, token_key) = module.generate_ec(session, P256, true);
    r.rv("logout", call!(module, C_Logout(session)));
    r.result("private key after logout", module.get(session, token_key, CKA_CLASS));
    r.result("private session key after logout", module.get(session, key, CKA_CLASS));
    r.result("sign after logout", module.sign_with(session, CKM_ECDSA, token_key, &[1; 32]));
    r.value("private keys after logout", {
        module.find(session, Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY)).unwrap().len()
    });
    r.result("login after logout", module.login(session, PIN));
    r.result(
        "sign with the same handle",
        module.sign_with(session, CKM_ECDSA, token_key, &[1; 32]),
    );
}
