//! What the tests do as a host: sessions, keys, values.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use crate::common;
use crate::common::PIN;

pub fn initialized() -> Pkcs11 {
    let module = Pkcs11::new(common::module()).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    module
}

pub fn slot(module: &Pkcs11) -> Slot {
    module.get_slots_with_token().unwrap()[0]
}

pub fn pin(pin: &str) -> AuthPin {
    AuthPin::new(pin.into())
}

pub fn login(session: &Session) {
    session.login(UserType::User, Some(&pin(PIN))).unwrap();
}

/// A read-write session with the user logged in.
pub fn user(module: &Pkcs11) -> Session {
    let session = module.open_rw_session(slot(module)).unwrap();
    login(&session);
    session
}

/// The return value of what must fail.
#[track_caller]
pub fn refused<T>(result: cryptoki::error::Result<T>) -> RvError {
    match result {
        Err(Error::Pkcs11(rv, _)) => rv,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

pub fn generate_rsa(session: &Session, token: bool, id: &[u8]) -> (ObjectHandle, ObjectHandle) {
    let public = [
        Attribute::Token(token),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Id(id.to_vec()),
    ];
    let private = [Attribute::Token(token), Attribute::Id(id.to_vec())];
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private).unwrap()
}

pub fn generate_ec(
    session: &Session,
    curve: &[u8],
    token: bool,
    id: &[u8],
) -> (ObjectHandle, ObjectHandle) {
    let public =
        [Attribute::Token(token), Attribute::EcParams(curve.to_vec()), Attribute::Id(id.to_vec())];
    let private = [Attribute::Token(token), Attribute::Id(id.to_vec())];
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap()
}

pub fn bytes(session: &Session, object: ObjectHandle, attribute: AttributeType) -> Vec<u8> {
    match session.get_attributes(object, &[attribute]).unwrap().pop() {
        Some(
            Attribute::PublicKeyInfo(value)
            | Attribute::Id(value)
            | Attribute::Label(value)
            | Attribute::Subject(value)
            | Attribute::Issuer(value)
            | Attribute::Modulus(value)
            | Attribute::UniqueId(value)
            | Attribute::Value(value)
            | Attribute::EcPoint(value),
        ) => value,
        other => panic!("{attribute}: {other:?}"),
    }
}

pub fn public_key(session: &Session, object: ObjectHandle) -> Vec<u8> {
    bytes(session, object, AttributeType::PublicKeyInfo)
}

pub fn private_keys(session: &Session) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap()
}

pub fn data_object(label: &[u8], value: Vec<u8>) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Label(label.to_vec()),
        Attribute::Value(value),
    ]
}

pub fn certificate(value: Vec<u8>) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Value(value),
    ]
}
