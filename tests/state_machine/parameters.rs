//! Domain parameters: made, given, found, copied, destroyed, and good for keys. That
//! the primes are primes OpenSSL says.

use cryptoki_sys::*;

use crate::common::alone::{alone, alone_within, service};
use crate::common::outside::OpenSsl;
use crate::common::raw::{Module, Rv, Template};
use crate::policy::set_policy;

fn generated(module: &Module, session: CK_SESSION_HANDLE, kind: Kind, more: Template) -> Rv<u64> {
    module.generate_key(session, kind.generation, more)
}

/// DSA, or Diffie-Hellman.
#[derive(Clone, Copy)]
struct Kind {
    key_type: CK_KEY_TYPE,
    generation: CK_MECHANISM_TYPE,
    pair: CK_MECHANISM_TYPE,
    numbers: &'static [CK_ATTRIBUTE_TYPE],
}

const DSA: Kind = Kind {
    key_type: CKK_DSA,
    generation: CKM_DSA_PARAMETER_GEN,
    pair: CKM_DSA_KEY_PAIR_GEN,
    numbers: &[CKA_PRIME, CKA_SUBPRIME, CKA_BASE],
};

const DH: Kind = Kind {
    key_type: CKK_DH,
    generation: CKM_DH_PKCS_PARAMETER_GEN,
    pair: CKM_DH_PKCS_KEY_PAIR_GEN,
    numbers: &[CKA_PRIME, CKA_BASE],
};

/// A DER SEQUENCE of INTEGERs.
fn der(numbers: &[Vec<u8>]) -> Vec<u8> {
    let header = |tag, length: usize| match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    let mut body = Vec::new();
    for number in numbers {
        let sign = usize::from(number[0] >= 0x80);
        body.extend(header(0x02, number.len() + sign));
        body.extend(vec![0; sign]);
        body.extend(number);
    }
    [header(0x30, body.len()), body].concat()
}

/// What OpenSSL says of parameters.
fn check(openssl: &OpenSsl, kind: Kind, numbers: &[Vec<u8>]) {
    openssl.file("parameters", &der(numbers));
    let base64 = String::from_utf8(openssl.run(&["base64", "-in", "parameters"]).unwrap()).unwrap();
    let name = if kind.key_type == CKK_DSA { "DSA PARAMETERS" } else { "DH PARAMETERS" };
    let pem = format!("-----BEGIN {name}-----\n{base64}-----END {name}-----\n");
    openssl.file("parameters.pem", pem.as_bytes());
    // That the primes are primes and the base is of the right order.
    let said = openssl.run(&["pkeyparam", "-in", "parameters.pem", "-check", "-noout"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&said).trim(), "Parameters are valid");
}

#[test]
fn domain_parameters_are_made_and_are_what_openssl_takes_for_such() {
    alone_within(std::time::Duration::from_secs(180), || {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let openssl = OpenSsl::new();
        let bits = |bits| Template::new().number(CKA_PRIME_BITS, bits);
        for kind in [DSA, DH] {
            let refused = generated(&module, session, kind, bits(2048));
            assert_eq!(refused, Err(CKR_MECHANISM_INVALID), "under the policy default");
        }
        set_policy(&service, &module, "compat", CKM_DSA, true);
        for (kind, size, token) in
            [(DSA, 1024, true), (DSA, 2048, false), (DH, 1024, false), (DH, 2048, true)]
        {
            let template = bits(size).flag(CKA_TOKEN, token).bytes(CKA_LABEL, b"group");
            let made = generated(&module, session, kind, template).unwrap();
            let of = |attribute| module.get(session, made, attribute);
            let is = |attribute, number: CK_ULONG| {
                assert_eq!(of(attribute).unwrap(), number.to_ne_bytes(), "{attribute:#x}");
            };
            is(CKA_CLASS, CKO_DOMAIN_PARAMETERS);
            is(CKA_KEY_TYPE, kind.key_type);
            is(CKA_PRIME_BITS, size);
            for (attribute, value) in
                [(CKA_LOCAL, true), (CKA_PRIVATE, false), (CKA_TOKEN, token), (CKA_COPYABLE, true)]
            {
                assert_eq!(of(attribute).unwrap(), [CK_BBOOL::from(value)], "{attribute:#x}");
            }
            assert_eq!(of(CKA_KEY_GEN_MECHANISM), Err(CKR_ATTRIBUTE_TYPE_INVALID));
            let numbers: Vec<_> = kind.numbers.iter().map(|number| of(*number).unwrap()).collect();
            assert_eq!(numbers[0].len() as CK_ULONG, size / 8);
            check(&openssl, kind, &numbers);
            // Keys come of it.
            let mut public = Template::new();
            for (attribute, number) in kind.numbers.iter().zip(&numbers) {
                public = public.bytes(*attribute, number);
            }
            let pair = module.generate(session, kind.pair, public, Template::new()).unwrap();
            if kind.key_type == CKK_DSA {
                let signature = module.sign_with(session, CKM_DSA_SHA1, pair.1, b"data").unwrap();
                module.verify_with(session, CKM_DSA_SHA1, pair.0, b"data", &signature).unwrap();
            }
        }
        for (kind, template, rv) in [
            (DSA, Template::new(), CKR_TEMPLATE_INCOMPLETE),
            (DH, bits(1000), CKR_KEY_SIZE_RANGE),
            (DSA, bits(4096), CKR_KEY_SIZE_RANGE),
            (DSA, bits(1025), CKR_KEY_SIZE_RANGE),
            (DH, bits(2049), CKR_KEY_SIZE_RANGE),
            (DSA, bits(1024).number(CKA_SUBPRIME_BITS, 256), CKR_ATTRIBUTE_VALUE_INVALID),
            (DSA, bits(1024).bytes(CKA_BASE, &[2]), CKR_TEMPLATE_INCONSISTENT),
            (DH, bits(1024).number(CKA_KEY_TYPE, CKK_DSA), CKR_TEMPLATE_INCONSISTENT),
            (DH, bits(1024).flag(CKA_SIGN, true), CKR_ATTRIBUTE_TYPE_INVALID),
        ] {
            assert_eq!(generated(&module, session, kind, template), Err(rv));
        }
        let other = module.generate_key(session, CKM_AES_KEY_GEN, bits(1024));
        assert_eq!(other, Err(CKR_ATTRIBUTE_TYPE_INVALID));
    });
}

#[test]
fn domain_parameters_are_objects_like_others() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        set_policy(&service, &module, "compat", CKM_DSA, true);
        // Of RFC 3526, by the token; the base of the second group is a square.
        let made = Template::new().number(CKA_PRIME_BITS, 1536);
        let made = generated(&module, session, DH, made).unwrap();
        let prime = module.get(session, made, CKA_PRIME).unwrap();
        let given = |token| {
            Template::new()
                .number(CKA_CLASS, CKO_DOMAIN_PARAMETERS)
                .number(CKA_KEY_TYPE, CKK_DH)
                .flag(CKA_TOKEN, token)
                .bytes(CKA_LABEL, b"given")
                .bytes(CKA_PRIME, &prime)
                .bytes(CKA_BASE, &[4])
        };
        for token in [true, false] {
            let object = module.create(session, given(token)).unwrap();
            assert_eq!(module.get(session, object, CKA_LOCAL).unwrap(), [CK_FALSE]);
            let bits = module.get(session, object, CKA_PRIME_BITS).unwrap();
            assert_eq!(bits, 1536_u64.to_ne_bytes());
            let sought = || {
                Template::new()
                    .number(CKA_CLASS, CKO_DOMAIN_PARAMETERS)
                    .bytes(CKA_LABEL, b"given")
                    .bytes(CKA_BASE, &[4])
            };
            assert_eq!(module.find(session, sought()).unwrap(), [object]);
            // From here to there, and to the same place.
            for copied in [true, false] {
                let template = Template::new().flag(CKA_TOKEN, copied).bytes(CKA_LABEL, b"copy");
                let copy = module.copy(session, object, template).unwrap();
                assert_eq!(module.get(session, copy, CKA_PRIME).unwrap(), prime);
                assert_eq!(module.get(session, copy, CKA_TOKEN).unwrap(), [u8::from(copied)]);
                module.destroy(session, copy).unwrap();
            }
            module.set(session, object, Template::new().bytes(CKA_LABEL, b"new")).unwrap();
            for (attribute, rv) in
                [(CKA_PRIME, CKR_ATTRIBUTE_READ_ONLY), (CKA_VALUE, CKR_ATTRIBUTE_TYPE_INVALID)]
            {
                let change = Template::new().bytes(attribute, &[7]);
                assert_eq!(module.set(session, object, change), Err(rv));
            }
            module.destroy(session, object).unwrap();
            let gone = module.get(session, object, CKA_PRIME);
            assert_eq!(gone, Err(CKR_OBJECT_HANDLE_INVALID));
        }
        for (template, rv) in [
            (given(true).bytes(CKA_SUBPRIME, &[7]), CKR_ATTRIBUTE_TYPE_INVALID),
            (given(true).number(CKA_PRIME_BITS, 1535), CKR_ATTRIBUTE_VALUE_INVALID),
            (given(true).flag(CKA_LOCAL, true), CKR_ATTRIBUTE_READ_ONLY),
            (given(true).flag(CKA_SENSITIVE, true), CKR_ATTRIBUTE_TYPE_INVALID),
            (
                Template::new()
                    .number(CKA_CLASS, CKO_DOMAIN_PARAMETERS)
                    .number(CKA_KEY_TYPE, CKK_DSA)
                    .bytes(CKA_PRIME, &prime)
                    .bytes(CKA_BASE, &[4]),
                CKR_TEMPLATE_INCOMPLETE,
            ),
            (
                Template::new()
                    .number(CKA_CLASS, CKO_DOMAIN_PARAMETERS)
                    .number(CKA_KEY_TYPE, CKK_RSA),
                CKR_ATTRIBUTE_VALUE_INVALID,
            ),
        ] {
            assert_eq!(module.create(session, template), Err(rv));
        }
        set_policy(&service, &module, "default", CKM_DSA, false);
        assert_eq!(module.create(session, given(true)), Err(CKR_MECHANISM_INVALID));
        assert_eq!(module.create(session, given(false)), Err(CKR_MECHANISM_INVALID));
    });
}
