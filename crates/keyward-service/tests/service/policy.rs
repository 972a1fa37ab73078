//! What a token offers, what a key allows, and a PIN for each use.

use cryptoki_sys::*;
use keyward_wire::request::Operation;
use keyward_wire::{self as wire, ErrorCode};

use crate::common::*;

fn set_policy(policy: wire::Policy) -> Operation {
    Operation::SetPolicy(wire::SetPolicy { policy: policy.into() })
}

fn generate_rsa(bits: u64) -> Operation {
    Operation::GenerateKeyPair(wire::GenerateKeyPair {
        mechanism: CKM_RSA_PKCS_KEY_PAIR_GEN,
        public_template: vec![boolean(CKA_TOKEN, true), number(CKA_MODULUS_BITS, bits)],
        private_template: vec![boolean(CKA_TOKEN, true)],
        ..wire::GenerateKeyPair::default()
    })
}

fn sign(key: &wire::Object, scheme: wire::sign::Scheme, input: &[u8]) -> wire::Sign {
    wire::Sign {
        key: Some(wire::Key { key: Some(by_id(key)) }),
        scheme: Some(scheme),
        input: input.to_vec(),
        ..wire::Sign::default()
    }
}

fn pkcs1() -> wire::sign::Scheme {
    wire::sign::Scheme::RsaPkcs1(wire::Done {})
}

fn digest_info(hash: keyward_crypto::Hash) -> Vec<u8> {
    hash.digest_info(&vec![7; hash.length()]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_says_which_mechanisms_and_keys_there_are() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let mut admin = service.admin().await;
    admin.token = "dev".into();
    assert_eq!(client.token_info().await.policy(), wire::Policy::Default);
    assert_eq!(client.refusal(generate_rsa(1024)).await.code, ErrorCode::KeySizeRange);
    let key = client.generate(generate_rsa(2048)).await.unwrap().private_key.unwrap();
    let of = |mechanism, hash| wire::Sign {
        mechanism: Some(mechanism),
        ..sign(&key, pkcs1(), &digest_info(hash))
    };
    let sha1 = of(CKM_SHA1_RSA_PKCS, keyward_crypto::Hash::Sha1);
    let sha256 = of(CKM_SHA256_RSA_PKCS, keyward_crypto::Hash::Sha256);
    client.ask(Operation::Sign(sha1.clone())).await.unwrap();

    // Only an administrator, and only what this version knows.
    assert_eq!(client.refusal(set_policy(wire::Policy::Fips)).await.code, ErrorCode::NotPermitted);
    let unknown = Operation::SetPolicy(wire::SetPolicy { policy: 99 });
    assert_eq!(admin.refusal(unknown).await.code, ErrorCode::ArgumentsBad);

    admin.ask(set_policy(wire::Policy::Fips)).await.unwrap();
    assert_eq!(client.token_info().await.policy(), wire::Policy::Fips);
    let refused = client.refusal(Operation::Sign(sha1)).await;
    assert_eq!(refused.code, ErrorCode::MechanismInvalid);
    client.ask(Operation::Sign(sha256.clone())).await.unwrap();
    let decrypt = Operation::Decrypt(wire::Decrypt {
        key: Some(wire::Key { key: Some(by_id(&key)) }),
        input: vec![1; 256],
        scheme: Some(wire::decrypt::Scheme::RsaPkcs1(wire::Done {})),
        ..wire::Decrypt::default()
    });
    assert_eq!(client.refusal(decrypt).await.code, ErrorCode::MechanismInvalid);
    // secp256k1.
    let curve = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
    let generate = Operation::GenerateKeyPair(wire::GenerateKeyPair {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public_template: vec![bytes(CKA_EC_PARAMS, &curve)],
        ..wire::GenerateKeyPair::default()
    });
    assert_eq!(client.refusal(generate.clone()).await.code, ErrorCode::CurveNotSupported);

    admin.ask(set_policy(wire::Policy::Compat)).await.unwrap();
    let old = client.generate(generate_rsa(1024)).await.unwrap().private_key.unwrap();
    let md5 = wire::Sign {
        mechanism: Some(CKM_MD5_RSA_PKCS),
        ..sign(&old, pkcs1(), &digest_info(keyward_crypto::Hash::Md5))
    };
    client.ask(Operation::Sign(md5.clone())).await.unwrap();
    client.generate(generate).await.unwrap();
    // What was made under another policy is there and not used.
    admin.ask(set_policy(wire::Policy::Default)).await.unwrap();
    let plain = sign(&old, pkcs1(), b"data");
    assert_eq!(client.refusal(Operation::Sign(plain)).await.code, ErrorCode::KeySizeRange);
    assert_eq!(client.refusal(Operation::Sign(md5)).await.code, ErrorCode::MechanismInvalid);
    client.ask(Operation::Sign(sha256)).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_used_with_the_mechanisms_that_it_names() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let Operation::GenerateKeyPair(mut generate) = generate_rsa(2048) else { panic!() };
    let allowed = wire::Numbers { numbers: vec![CKM_SHA256_RSA_PKCS] };
    generate.private_template.push(wire::Attribute {
        r#type: CKA_ALLOWED_MECHANISMS,
        value: Some(wire::attribute::Value::Numbers(allowed)),
    });
    let pair = client.generate(Operation::GenerateKeyPair(generate)).await.unwrap();
    let key = pair.private_key.unwrap();
    let sha256 = sign(&key, pkcs1(), &digest_info(keyward_crypto::Hash::Sha256));
    let named = |number, sign: &wire::Sign| {
        Operation::Sign(wire::Sign { mechanism: Some(number), ..sign.clone() })
    };
    client.ask(named(CKM_SHA256_RSA_PKCS, &sha256)).await.unwrap();
    // Another, none (an older client), and one that is only said to be it.
    let other = sign(&key, pkcs1(), b"something");
    for (operation, code) in [
        (named(CKM_RSA_PKCS, &sha256), ErrorCode::MechanismInvalid),
        (Operation::Sign(sha256.clone()), ErrorCode::MechanismInvalid),
        (named(CKM_SHA256_RSA_PKCS, &other), ErrorCode::MechanismParamInvalid),
    ] {
        assert_eq!(client.refusal(operation).await.code, code);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn some_keys_ask_for_the_pin_at_each_use() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let generate = |token| {
        let Operation::GenerateKeyPair(mut generate) = generate_p256(token) else { panic!() };
        generate.private_template.push(boolean(CKA_ALWAYS_AUTHENTICATE, true));
        Operation::GenerateKeyPair(generate)
    };
    let key = client.generate(generate(true)).await.unwrap().private_key.unwrap();
    let other = client.generate(generate(true)).await.unwrap().private_key.unwrap();
    let with = |key: &wire::Object, authentication: &[u8]| {
        Operation::Sign(wire::Sign {
            authentication: authentication.to_vec(),
            ..sign(key, ecdsa(), &[1; 32])
        })
    };
    assert_eq!(client.refusal(with(&key, b"")).await.code, ErrorCode::UserNotLoggedIn);
    let session = client.ticket.clone().unwrap();
    assert_eq!(client.refusal(with(&key, &session.access)).await.code, ErrorCode::UserNotLoggedIn);

    let login = |key: &wire::Object, pin: &[u8]| {
        Operation::Login(wire::Login {
            user_type: wire::UserType::ContextSpecific.into(),
            pin: Some(pin.to_vec()),
            key: key.unique_id.clone(),
            ..wire::Login::default()
        })
    };
    assert_eq!(client.refusal(login(&key, b"wrong")).await.code, ErrorCode::PinIncorrect);
    assert_ne!(client.token_info().await.user_pin(), wire::PinState::Fine);
    let request = client.request(login(&key, PIN));
    let given = client.frames(&request).await.swap_remove(0).ticket.unwrap();
    assert!(given.refresh.is_empty());
    client.ask(with(&key, &given.access)).await.unwrap();
    assert_eq!(client.refusal(with(&other, &given.access)).await.code, ErrorCode::UserNotLoggedIn);

    // It is for a use, and no login.
    client.ticket = Some(wire::Ticket { access: given.access.clone(), refresh: given.access });
    assert_eq!(client.refusal(with(&key, b"")).await.code, ErrorCode::TicketInvalid);
    service.stop().await;
}
