//! The keys of a TLS connection out of its master secret: OpenSSL's PRF says what they are.

use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::{Module, Rv, Template, call, mechanism_with, ok};
use crate::policy::set_policy;
use crate::vectors::hex;

/// Where a key is: in the token, sealed, in the module.
const PLACES: [(bool, bool); 3] = [(true, true), (false, true), (false, false)];

const MASTER: [u8; 48] = *b"forty-eight bytes are what a master secret has!!";
const CLIENT: [u8; 32] = [1; 32];
const SERVER: [u8; 32] = [2; 32];

/// Bytes.
const MAC: usize = 20;
const KEY: usize = 16;
const IV: usize = 12;

fn randoms() -> CK_SSL3_RANDOM_DATA {
    CK_SSL3_RANDOM_DATA {
        pClientRandom: CLIENT.as_ptr().cast_mut(),
        ulClientRandomLen: 32,
        pServerRandom: SERVER.as_ptr().cast_mut(),
        ulServerRandomLen: 32,
    }
}

fn master(module: &Module, session: CK_SESSION_HANDLE, (token, sensitive): (bool, bool)) -> u64 {
    let template = Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .flag(CKA_EXTRACTABLE, !sensitive)
        .bytes(CKA_VALUE, &MASTER);
    module.create(session, template).unwrap()
}

/// What OpenSSL's PRF gives, of TLS 1.2 by a digest or of TLS 1.0 by MD5-SHA1.
fn prf(openssl: &OpenSsl, digest: &str, label: &str, seed: &[u8], length: usize) -> Vec<u8> {
    let length = length.to_string();
    let options = [
        format!("digest:{digest}"),
        format!("hexsecret:{}", hex(&MASTER)),
        format!("seed:{label}"),
        format!("hexseed:{}", hex(seed)),
    ];
    let mut arguments = vec!["kdf", "-keylen", &length, "-binary", "-out", "derived"];
    options.iter().for_each(|option| arguments.extend(["-kdfopt", option]));
    arguments.push("TLS1-PRF");
    openssl.run(&arguments).unwrap();
    openssl.read("derived")
}

/// The places where keys and vectors go.
struct Out {
    handles: CK_SSL3_KEY_MAT_OUT,
    ivs: [[u8; IV + 1]; 2],
}

impl Out {
    fn new() -> Box<Self> {
        let mut out = Box::new(Self {
            handles: CK_SSL3_KEY_MAT_OUT { hClientKey: 77, ..CK_SSL3_KEY_MAT_OUT::default() },
            ivs: [[0xee; IV + 1]; 2],
        });
        [out.handles.pIVClient, out.handles.pIVServer] =
            [0, 1].map(|side: usize| out.ivs[side].as_mut_ptr());
        out
    }

    fn keys(&self) -> [CK_OBJECT_HANDLE; 4] {
        let out = &self.handles;
        [out.hClientMacSecret, out.hServerMacSecret, out.hClientKey, out.hServerKey]
    }
}

/// C_DeriveKey that gives its keys elsewhere.
fn derive(
    module: &Module,
    session: CK_SESSION_HANDLE,
    m: &mut CK_MECHANISM,
    base: CK_OBJECT_HANDLE,
    mut template: Template,
) -> Rv {
    let mut array = template.array();
    let (count, array) = (array.len() as CK_ULONG, array.as_mut_ptr());
    ok(call!(module, C_DeriveKey(session, m, base, array, count, null_mut())))
}

fn parameter(
    [mac, key, iv]: [usize; 3],
    out: &mut Out,
    hash: CK_MECHANISM_TYPE,
) -> CK_TLS12_KEY_MAT_PARAMS {
    CK_TLS12_KEY_MAT_PARAMS {
        ulMacSizeInBits: 8 * mac as CK_ULONG,
        ulKeySizeInBits: 8 * key as CK_ULONG,
        ulIVSizeInBits: 8 * iv as CK_ULONG,
        bIsExport: CK_FALSE,
        RandomInfo: randoms(),
        pReturnedKeyMaterial: &raw mut out.handles,
        prfHashMechanism: hash,
    }
}

fn aes((token, sensitive): (bool, bool)) -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, CKK_AES)
        .flag(CKA_TOKEN, token)
        .flag(CKA_SENSITIVE, sensitive)
        .flag(CKA_EXTRACTABLE, !sensitive)
}

/// That the four keys are the parts of the block, by reading them or by using them.
fn keys_are(
    module: &Module,
    session: CK_SESSION_HANDLE,
    keys: [CK_OBJECT_HANDLE; 4],
    block: &[u8],
    sensitive: bool,
) {
    let (macs, ciphers) = block[..2 * (MAC + KEY)].split_at(2 * MAC);
    let local = |template: Template, value: &[u8]| {
        module.create(session, template.bytes(CKA_VALUE, value)).unwrap()
    };
    let generic = || {
        Template::new()
            .number(CKA_CLASS, CKO_SECRET_KEY)
            .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
            .flag(CKA_SENSITIVE, false)
    };
    let both = macs.chunks(MAC).chain(ciphers.chunks(KEY));
    for (at, (key, value)) in keys.into_iter().zip(both).enumerate() {
        if sensitive {
            assert_eq!(module.get(session, key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        } else {
            assert_eq!(module.get(session, key, CKA_VALUE).unwrap(), value);
        }
        let is = |attribute, on| {
            assert_eq!(module.get(session, key, attribute).unwrap(), [CK_BBOOL::from(on)]);
        };
        is(CKA_SIGN, true);
        if at < 2 {
            is(CKA_ENCRYPT, false);
            let sign = |key| module.sign_with(session, CKM_SHA_1_HMAC, key, b"data").unwrap();
            assert_eq!(sign(key), sign(local(generic(), value)), "key {at}");
        } else {
            is(CKA_ENCRYPT, true);
            let sign = |key| module.sign_with(session, CKM_AES_CMAC, key, b"data").unwrap();
            assert_eq!(sign(key), sign(local(aes((false, false)), value)), "key {at}");
        }
    }
}

#[test]
fn the_keys_of_a_connection_are_those_of_openssls_prf() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let seed = [SERVER, CLIENT].concat();
        for place in PLACES {
            let base = master(&module, session, place);
            for (hash, digest) in [(CKM_SHA256, "SHA256"), (CKM_SHA384, "SHA384")] {
                let block = prf(&openssl, digest, "key expansion", &seed, 2 * (MAC + KEY + IV));
                let mut out = Out::new();
                let mut all = parameter([MAC, KEY, IV], &mut out, hash);
                let mut m = mechanism_with(CKM_TLS12_KEY_AND_MAC_DERIVE, &mut all);
                derive(&module, session, &mut m, base, aes(place)).unwrap();
                keys_are(&module, session, out.keys(), &block, place.1);
                for (side, iv) in out.ivs.iter().enumerate() {
                    let from = 2 * (MAC + KEY) + side * IV;
                    assert_eq!(iv[..IV], block[from..from + IV], "{digest} {place:?}");
                    assert_eq!(iv[IV], 0xee, "no byte more than was asked for");
                }
                // The same without the vectors.
                let mut out = Out::new();
                let mut safe = parameter([MAC, KEY, IV], &mut out, hash);
                let mut m = mechanism_with(CKM_TLS12_KEY_SAFE_DERIVE, &mut safe);
                derive(&module, session, &mut m, base, aes(place)).unwrap();
                keys_are(&module, session, out.keys(), &block, place.1);
                assert_eq!(out.ivs, [[0xee; IV + 1]; 2]);
                // A suite that authenticates by its cipher.
                let mut out = Out::new();
                let mut no_mac = parameter([0, KEY, 4], &mut out, hash);
                let mut m = mechanism_with(CKM_TLS12_KEY_AND_MAC_DERIVE, &mut no_mac);
                derive(&module, session, &mut m, base, aes(place)).unwrap();
                assert_eq!(out.keys()[..2], [CK_INVALID_HANDLE; 2]);
                assert_ne!(out.keys()[2], CK_INVALID_HANDLE);
                assert_eq!(out.ivs[0][..4], block[2 * KEY..2 * KEY + 4]);
            }
            // Finished messages.
            for (hash, digest) in
                [(CKM_SHA256, "SHA256"), (CKM_SHA384, "SHA384"), (CKM_TLS_PRF, "MD5-SHA1")]
            {
                for (side, label) in [(1, "server finished"), (2, "client finished")] {
                    let mut mac = CK_TLS_MAC_PARAMS {
                        prfHashMechanism: hash,
                        ulMacLength: 12,
                        ulServerOrClient: side,
                    };
                    let expected = prf(&openssl, digest, label, &[5; 32], 12);
                    for number in [CKM_TLS_MAC, CKM_TLS12_MAC] {
                        let mut m = mechanism_with(number, &mut mac);
                        ok(call!(module, C_SignInit(session, &raw mut m, base))).unwrap();
                        assert_eq!(module.sign(session, &[5; 32]).unwrap(), expected, "{digest}");
                        for (given, rv) in [
                            (&expected[..], CKR_OK),
                            (&[7; 12], CKR_SIGNATURE_INVALID),
                            (&expected[1..], CKR_SIGNATURE_LEN_RANGE),
                        ] {
                            ok(call!(module, C_VerifyInit(session, &raw mut m, base))).unwrap();
                            let (code, length) = (given.as_ptr().cast_mut(), given.len() as u64);
                            let data = [5_u8; 32].as_ptr().cast_mut();
                            let said = call!(module, C_Verify(session, data, 32, code, length));
                            assert_eq!(said, rv);
                        }
                    }
                }
            }
        }
        assert!(service.count(TOKEN, "derive_keys") >= 12, "{:?}", service.counts(TOKEN));
    });
}

#[test]
fn what_no_connection_asks_for_is_refused() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let base = master(&module, session, (false, true));
        let refused = |change: &dyn Fn(&mut CK_TLS12_KEY_MAT_PARAMS), template: Template| {
            let mut out = Out::new();
            let mut given = parameter([MAC, KEY, IV], &mut out, CKM_SHA256);
            change(&mut given);
            let mut m = mechanism_with(CKM_TLS12_KEY_AND_MAC_DERIVE, &mut given);
            let rv = derive(&module, session, &mut m, base, template).unwrap_err();
            assert_eq!(out.handles.hClientKey, 77, "nothing is told");
            rv
        };
        let place = (false, true);
        type Change = fn(&mut CK_TLS12_KEY_MAT_PARAMS);
        let changes: [Change; 7] = [
            |p| p.bIsExport = CK_TRUE,
            |p| p.ulKeySizeInBits = 129,
            |p| p.ulMacSizeInBits = CK_ULONG::MAX,
            |p| p.ulIVSizeInBits = 8 * 1025,
            |p| p.prfHashMechanism = CKM_AES_CBC,
            |p| p.pReturnedKeyMaterial = null_mut(),
            |p| (p.ulMacSizeInBits, p.ulKeySizeInBits, p.ulIVSizeInBits) = (0, 0, 0),
        ];
        for change in changes {
            assert_eq!(refused(&change, aes(place)), CKR_MECHANISM_PARAM_INVALID);
        }
        let longer = aes(place).number(CKA_VALUE_LEN, 32);
        assert_eq!(refused(&|_| (), longer), CKR_TEMPLATE_INCONSISTENT);
        let key_20 = |p: &mut CK_TLS12_KEY_MAT_PARAMS| p.ulKeySizeInBits = 160;
        assert_eq!(refused(&key_20, aes(place)), CKR_KEY_SIZE_RANGE);
        // A key whose vectors nobody is to see.
        let allowed = CKM_TLS12_KEY_SAFE_DERIVE.to_ne_bytes();
        let template = Template::new()
            .number(CKA_CLASS, CKO_SECRET_KEY)
            .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
            .bytes(CKA_ALLOWED_MECHANISMS, &allowed)
            .bytes(CKA_VALUE, &MASTER);
        let guarded = module.create(session, template).unwrap();
        let mut out = Out::new();
        let mut given = parameter([MAC, KEY, IV], &mut out, CKM_SHA256);
        for (number, rv) in [
            (CKM_TLS12_KEY_AND_MAC_DERIVE, Err(CKR_MECHANISM_INVALID)),
            (CKM_TLS12_KEY_SAFE_DERIVE, Ok(())),
        ] {
            let mut m = mechanism_with(number, &mut given);
            assert_eq!(derive(&module, session, &mut m, guarded, aes(place)), rv);
        }
        // TLS 1.0 is for the policy compat.
        let mut m = mechanism_with(CKM_TLS_KEY_AND_MAC_DERIVE, &mut given);
        let old = derive(&module, session, &mut m, base, aes(place));
        assert!(matches!(old, Err(CKR_MECHANISM_PARAM_INVALID | CKR_MECHANISM_INVALID)), "{old:?}");
    });
}

#[test]
fn tls_1_0_is_openssls_under_compat() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        set_policy(&service, &module, "compat", CKM_DSA, true);
        let keys = [SERVER, CLIENT].concat();
        let block = prf(&openssl, "MD5-SHA1", "key expansion", &keys, 2 * (MAC + KEY + IV));
        let bytes = prf(&openssl, "MD5-SHA1", "any label", b"any seed", 77);
        for place in PLACES {
            let base = master(&module, session, place);
            let mut out = Out::new();
            let mut old = CK_SSL3_KEY_MAT_PARAMS {
                ulMacSizeInBits: 8 * MAC as CK_ULONG,
                ulKeySizeInBits: 8 * KEY as CK_ULONG,
                ulIVSizeInBits: 8 * IV as CK_ULONG,
                bIsExport: CK_FALSE,
                RandomInfo: randoms(),
                pReturnedKeyMaterial: &raw mut out.handles,
            };
            let mut m = mechanism_with(CKM_TLS_KEY_AND_MAC_DERIVE, &mut old);
            derive(&module, session, &mut m, base, aes(place)).unwrap();
            keys_are(&module, session, out.keys(), &block, place.1);
            assert_eq!(out.ivs[1][..IV], block[2 * (MAC + KEY) + IV..]);

            let (mut output, mut length) = ([0_u8; 77], 77);
            let mut given = CK_TLS_PRF_PARAMS {
                pSeed: b"any seed".as_ptr().cast_mut(),
                ulSeedLen: 8,
                pLabel: b"any label".as_ptr().cast_mut(),
                ulLabelLen: 9,
                pOutput: output.as_mut_ptr(),
                pulOutputLen: &raw mut length,
            };
            let mut m = mechanism_with(CKM_TLS_PRF, &mut given);
            derive(&module, session, &mut m, base, Template::new()).unwrap();
            assert_eq!(output[..], bytes);

            // A premaster secret, and the master secret of it.
            let mut version = CK_VERSION { major: 3, minor: 2 };
            let mut m = mechanism_with(CKM_TLS_PRE_MASTER_KEY_GEN, &mut version);
            let mut template = Template::new()
                .flag(CKA_TOKEN, place.0)
                .flag(CKA_SENSITIVE, place.1)
                .flag(CKA_DERIVE, true);
            let (mut array, mut key) = (template.array(), 0);
            let (count, array) = (array.len() as CK_ULONG, array.as_mut_ptr());
            let rv = call!(module, C_GenerateKey(session, &raw mut m, array, count, &raw mut key));
            ok(rv).unwrap();
            assert_eq!(module.get(session, key, CKA_EXTRACTABLE).unwrap(), [CK_TRUE]);
            let length = module.get(session, key, CKA_VALUE_LEN).unwrap();
            assert_eq!(length, 48_u64.to_ne_bytes());
            if !place.1 {
                assert_eq!(module.get(session, key, CKA_VALUE).unwrap()[..2], [3, 2]);
            }
            let mut told = CK_VERSION { major: 0, minor: 0 };
            let mut of =
                CK_SSL3_MASTER_KEY_DERIVE_PARAMS { RandomInfo: randoms(), pVersion: &raw mut told };
            let mut m = mechanism_with(CKM_TLS_MASTER_KEY_DERIVE, &mut of);
            let template = Template::new().flag(CKA_TOKEN, place.0);
            module.derive(session, &mut m, key, template).unwrap();
            assert_eq!((told.major, told.minor), (3, 2), "{place:?}");
            let readable = Template::new().flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true);
            let mut m = mechanism_with(CKM_TLS_MASTER_KEY_DERIVE_DH, &mut of);
            let secret = module.derive(session, &mut m, base, readable).unwrap();
            let seed = [CLIENT, SERVER].concat();
            let expected = prf(&openssl, "MD5-SHA1", "master secret", &seed, 48);
            assert_eq!(module.get(session, secret, CKA_VALUE).unwrap(), expected);
        }
    });
}
