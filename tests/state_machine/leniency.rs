//! What the standard lets a library choose, and the suites of other languages' bindings take for
//! granted.

use cryptoki_sys::*;

use crate::common::SO_PIN;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{Module, Template, call, mechanism_with};
use crate::policy::set_policy;

fn aes() -> Template {
    Template::new()
        .number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, CKK_AES)
        .number(CKA_VALUE_LEN, 32)
}

#[test]
fn a_template_may_say_the_same_twice_and_an_extractable_secret_can_be_read() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let twice = aes().number(CKA_VALUE_LEN, 32).flag(CKA_EXTRACTABLE, true);
        let key = module.generate_key(session, CKM_AES_KEY_GEN, twice).unwrap();
        assert_eq!(module.get(session, key, CKA_VALUE).unwrap().len(), 32);
        let contradiction = aes().number(CKA_VALUE_LEN, 16);
        assert_eq!(
            module.generate_key(session, CKM_AES_KEY_GEN, contradiction),
            Err(CKR_TEMPLATE_INCONSISTENT)
        );
        let closed = module.generate_key(session, CKM_AES_KEY_GEN, aes()).unwrap();
        assert_eq!(module.get(session, closed, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        let said = aes().flag(CKA_EXTRACTABLE, true).flag(CKA_SENSITIVE, true);
        let said = module.generate_key(session, CKM_AES_KEY_GEN, said).unwrap();
        assert_eq!(module.get(session, said, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));

        let mut block = [7_u8; 16];
        let mut data = CK_KEY_DERIVATION_STRING_DATA {
            pData: block.as_mut_ptr(),
            ulLen: block.len() as CK_ULONG,
        };
        let mut short = mechanism_with(CKM_AES_ECB_ENCRYPT_DATA, &mut data);
        assert_eq!(module.derive(session, &mut short, key, aes()), Err(CKR_DATA_LEN_RANGE));
    });
}

#[test]
fn c_init_token_takes_a_label_that_ends_with_a_nul() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let slot = module.slots().unwrap()[0];
        let mut pin = SO_PIN.as_bytes().to_vec();
        let mut init = |label: &[u8]| {
            let mut label = label.to_vec();
            let length = pin.len() as CK_ULONG;
            call!(module, C_InitToken(slot, pin.as_mut_ptr(), length, label.as_mut_ptr()))
        };
        let behind = [TOKEN.as_bytes(), b"\0\xff not text"].concat();
        assert_eq!(init(&behind), CKR_OK);
        assert_eq!(init(format!("{TOKEN:32}").as_bytes()), CKR_OK);
        assert_eq!(init(b"\0"), CKR_ARGUMENTS_BAD);
    });
}

#[test]
fn short_and_twisted_curves_are_for_compat_alone() {
    const P192: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01];
    const BRAINPOOL: [u8; 10] = [0x06, 0x09, 0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01];

    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let of = |last: u8| [&BRAINPOOL[..], &[last]].concat();
        // brainpoolP256r1, brainpoolP512r1; brainpoolP160r1, brainpoolP256t1.
        let (sound, old) = ([of(7), of(13)], [P192.to_vec(), of(1), of(8)]);
        let generate = |curve: &[u8]| {
            let public = Template::new().bytes(CKA_EC_PARAMS, curve);
            module.generate(session, CKM_EC_KEY_PAIR_GEN, public, Template::new())
        };
        let works = |curve: &[u8]| {
            let (public, private) = generate(curve).unwrap();
            let signature = module.sign_with(session, CKM_ECDSA_SHA256, private, b"data").unwrap();
            let verify =
                |data| module.verify_with(session, CKM_ECDSA_SHA256, public, data, &signature);
            assert_eq!(verify(b"data"), Ok(()));
            assert_eq!(verify(b"date"), Err(CKR_SIGNATURE_INVALID));
        };
        sound.iter().for_each(|curve| works(curve));
        for curve in &old {
            assert_eq!(generate(curve), Err(CKR_CURVE_NOT_SUPPORTED), "{curve:?}");
        }
        set_policy(&service, &module, "compat", CKM_MD5_RSA_PKCS, true);
        sound.iter().chain(&old).for_each(|curve| works(curve));
        let short = Template::new().number(CKA_MODULUS_BITS, 512);
        let (public, private) =
            module.generate(session, CKM_RSA_PKCS_KEY_PAIR_GEN, short, Template::new()).unwrap();
        let signature = module.sign_with(session, CKM_SHA1_RSA_PKCS, private, b"data").unwrap();
        assert_eq!(signature.len(), 64);
        assert_eq!(
            module.verify_with(session, CKM_SHA1_RSA_PKCS, public, b"data", &signature),
            Ok(())
        );
        set_policy(&service, &module, "fips", CKM_MD5_RSA_PKCS, false);
        assert_eq!(generate(&sound[0]), Err(CKR_CURVE_NOT_SUPPORTED));
    });
}
