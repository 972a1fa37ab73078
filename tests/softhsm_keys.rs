//! Keys between SoftHSM and Keyward: what one wraps the other unwraps, both
//! ways, and what they derive is the same.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::path::Path;

use common::alone::{TOKEN, alone, configure};
use common::raw::{Module, P256, P384, P521, Template, mechanism, mechanism_with};
use common::softhsm::soft_hsm;
use common::{PIN, Service};
use cryptoki_sys::*;

/// A module with a session in which the user is logged in.
struct Host {
    module: Module,
    session: CK_SESSION_HANDLE,
}

impl Host {
    fn new(path: &Path, slot: Option<CK_SLOT_ID>) -> Self {
        let module = Module::load(path);
        assert_eq!(module.initialize(), CKR_OK);
        let slot = slot.unwrap_or_else(|| module.slots().unwrap()[0]);
        let session = module.open(slot, CKF_RW_SESSION).unwrap();
        module.login(session, PIN).unwrap();
        Self { module, session }
    }

    fn secret(&self, kind: CK_KEY_TYPE, value: &[u8], sensitive: bool) -> CK_OBJECT_HANDLE {
        let template = key(CKO_SECRET_KEY, kind).bytes(CKA_VALUE, value);
        let template = template.flag(CKA_SENSITIVE, sensitive).flag(CKA_EXTRACTABLE, true);
        let template = template.flag(CKA_WRAP, true).flag(CKA_UNWRAP, true);
        let template = template.flag(CKA_DERIVE, true);
        self.module.create(self.session, template).unwrap()
    }

    fn value(&self, key: CK_OBJECT_HANDLE) -> Vec<u8> {
        self.module.get(self.session, key, CKA_VALUE).unwrap()
    }
}

/// SoftHSM, then Keyward.
fn both(folder: &Path, service: &Service) -> [Host; 2] {
    let (soft_module, soft_slot) = soft_hsm(folder);
    service.token(TOKEN);
    configure(&service.identity("client", &[TOKEN], &[]));
    [Host::new(Path::new(&soft_module), Some(soft_slot)), Host::new(&common::module(), None)]
}

fn key(class: CK_OBJECT_CLASS, kind: CK_KEY_TYPE) -> Template {
    Template::new().number(CKA_CLASS, class).number(CKA_KEY_TYPE, kind).flag(CKA_TOKEN, false)
}

fn readable(class: CK_OBJECT_CLASS, kind: CK_KEY_TYPE) -> Template {
    key(class, kind).flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true)
}

#[test]
fn what_one_wraps_the_other_unwraps() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start();
        let hosts = both(folder.path(), &service);
        let pairs: Vec<_> = hosts
            .iter()
            .map(|host| {
                let public = Template::new()
                    .number(CKA_MODULUS_BITS, 2048)
                    .bytes(CKA_PUBLIC_EXPONENT, &[1, 0, 1])
                    .flag(CKA_WRAP, true);
                let private = Template::new().flag(CKA_UNWRAP, true).flag(CKA_EXTRACTABLE, true);
                let kind = CKM_RSA_PKCS_KEY_PAIR_GEN;
                host.module.generate(host.session, kind, public, private).unwrap()
            })
            .collect();
        let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA_1,
            mgf: CKG_MGF1_SHA1,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: std::ptr::null_mut(),
            ulSourceDataLen: 0,
        };
        for (from, to) in [(0, 1), (1, 0)] {
            let (one, other) = (&hosts[from], &hosts[to]);
            // RSA: the other side's public key is imported first.
            let public = |attribute| other.module.get(other.session, pairs[to].0, attribute);
            let public = key(CKO_PUBLIC_KEY, CKK_RSA)
                .flag(CKA_WRAP, true)
                .bytes(CKA_MODULUS, &public(CKA_MODULUS).unwrap())
                .bytes(CKA_PUBLIC_EXPONENT, &public(CKA_PUBLIC_EXPONENT).unwrap());
            let public = one.module.create(one.session, public).unwrap();
            for sensitive in [true, false] {
                let carried = one.secret(CKK_AES, &[7; 24], sensitive);
                for mut m in [mechanism(CKM_RSA_PKCS), mechanism_with(CKM_RSA_PKCS_OAEP, &mut oaep)]
                {
                    let wrapped = one.module.wrap(one.session, &mut m, public, carried).unwrap();
                    let template = readable(CKO_SECRET_KEY, CKK_AES);
                    let (session, private) = (other.session, pairs[to].1);
                    let got = other.module.unwrap(session, &mut m, private, &wrapped, template);
                    assert_eq!(
                        other.value(got.unwrap()),
                        [7; 24],
                        "{:#x} from {from}",
                        m.mechanism
                    );
                }
                let [wraps, unwraps] =
                    [one, other].map(|host| host.secret(CKK_AES, &[9; 32], sensitive));
                for number in [CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD] {
                    let mut m = mechanism(number);
                    let wrapped = one.module.wrap(one.session, &mut m, wraps, carried).unwrap();
                    let template = readable(CKO_SECRET_KEY, CKK_AES);
                    let got =
                        other.module.unwrap(other.session, &mut m, unwraps, &wrapped, template);
                    assert_eq!(other.value(got.unwrap()), [7; 24], "{number:#x} from {from}");
                }
                // A private key, which then says the same.
                let mut m = mechanism(CKM_AES_KEY_WRAP_PAD);
                let wrapped = one.module.wrap(one.session, &mut m, wraps, pairs[from].1).unwrap();
                let template = readable(CKO_PRIVATE_KEY, CKK_RSA).flag(CKA_SIGN, true);
                let got = other.module.unwrap(other.session, &mut m, unwraps, &wrapped, template);
                let got = got.unwrap();
                let sign = |host: &Host, key| {
                    host.module.sign_with(host.session, CKM_SHA256_RSA_PKCS, key, b"data").unwrap()
                };
                assert_eq!(sign(other, got), sign(one, pairs[from].1));
            }
        }
    });
}

#[test]
fn what_they_derive_is_the_same() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start();
        let hosts = both(folder.path(), &service);
        let data: Vec<u8> = (0..48).collect();
        let mut string = CK_KEY_DERIVATION_STRING_DATA {
            pData: data.as_ptr().cast_mut(),
            ulLen: data.len() as CK_ULONG,
        };
        let mut cbc = CK_AES_CBC_ENCRYPT_DATA_PARAMS {
            iv: [9; 16],
            pData: data.as_ptr().cast_mut(),
            length: data.len() as CK_ULONG,
        };
        let generic =
            |length| readable(CKO_SECRET_KEY, CKK_GENERIC_SECRET).number(CKA_VALUE_LEN, length);
        for sensitive in [true, false] {
            for length in [48, 32, 16] {
                for mut m in [
                    mechanism_with(CKM_AES_ECB_ENCRYPT_DATA, &mut string),
                    mechanism_with(CKM_AES_CBC_ENCRYPT_DATA, &mut cbc),
                ] {
                    let [one, other] = hosts.each_ref().map(|host| {
                        let base = host.secret(CKK_AES, &[5; 32], sensitive);
                        let key = host.module.derive(host.session, &mut m, base, generic(length));
                        host.value(key.unwrap())
                    });
                    assert_eq!(one, other, "{:#x} {length}", m.mechanism);
                }
            }
        }
        // A key of each with the public half of the other's.
        for curve in [P256, P384, P521] {
            let pairs = hosts.each_ref().map(|host| {
                let public = Template::new().bytes(CKA_EC_PARAMS, curve);
                let private = Template::new().flag(CKA_DERIVE, true);
                host.module.generate(host.session, CKM_EC_KEY_PAIR_GEN, public, private).unwrap()
            });
            let point = |at: usize| {
                hosts[at].module.get(hosts[at].session, pairs[at].0, CKA_EC_POINT).unwrap()
            };
            for length in [28, 20] {
                let [one, other] = [0, 1].map(|at| {
                    let mut public = point(1 - at);
                    let mut parameter = CK_ECDH1_DERIVE_PARAMS {
                        kdf: CKD_NULL,
                        ulSharedDataLen: 0,
                        pSharedData: std::ptr::null_mut(),
                        ulPublicDataLen: public.len() as CK_ULONG,
                        pPublicData: public.as_mut_ptr(),
                    };
                    let mut m = mechanism_with(CKM_ECDH1_DERIVE, &mut parameter);
                    let (host, base) = (&hosts[at], pairs[at].1);
                    let key = host.module.derive(host.session, &mut m, base, generic(length));
                    host.value(key.unwrap())
                });
                assert_eq!(one, other, "{length}");
            }
        }
    });
}
