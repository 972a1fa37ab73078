//! Keys as files have them, turned into the attributes of PKCS#11 objects.

use cryptoki_sys::*;
use keyward_crypto::digest::Hash;
use keyward_token::Attributes;
use keyward_token::describe::{ED448, X448};
use keyward_token::key::{PrivateKey, PublicKey};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use crate::der::{self, Reader};
use crate::error::{Error, Result};

/// A private key and its public half.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// All of the private key, secret parts too.
    pub private: Attributes,
    /// All of the public key.
    pub public: Attributes,
    /// DER SubjectPublicKeyInfo.
    pub info: Vec<u8>,
}

impl KeyPair {
    /// Reads a DER PrivateKeyInfo (RFC 5208) or OneAsymmetricKey (RFC 5958).
    ///
    /// # Errors
    /// If it is damaged, of an algorithm that is not known, or its parts do not
    /// belong together.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let mut key = Reader::new(der).sequence()?;
        if key.number()? > 1 {
            return Err(Error::new("it is no PKCS#8 private key"));
        }
        let mut algorithm = key.sequence()?;
        let identifier = algorithm.identifier()?;
        let value = key.octets()?;
        match identifier.as_str() {
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => Self::from_pkcs1(&value),
            "1.2.840.10045.2.1" => Self::from_sec1(&value, Some(algorithm.any()?.whole)),
            "1.3.101.112" => Self::edwards(CKK_EC_EDWARDS, &ED25519, &value),
            "1.3.101.113" => Self::edwards(CKK_EC_EDWARDS, &ED448, &value),
            "1.3.101.110" => Self::edwards(CKK_EC_MONTGOMERY, &X25519, &value),
            "1.3.101.111" => Self::edwards(CKK_EC_MONTGOMERY, &X448, &value),
            "1.2.840.10040.4.1" => Self::dsa(algorithm.sequence()?, &value),
            other => Err(Error::new(format!("keys of the algorithm {other} are not known"))),
        }
    }

    /// Reads a DER RSAPrivateKey (RFC 8017 appendix A.1.2).
    ///
    /// # Errors
    /// If it is damaged or its parts do not belong together.
    pub fn from_pkcs1(der: &[u8]) -> Result<Self> {
        let mut key = Reader::new(der).sequence()?;
        if key.number()? != 0 {
            return Err(Error::new("RSA keys of more than two primes are not known"));
        }
        let mut private = Attributes::new();
        let mut public = Attributes::new();
        for (attribute, is_public) in [
            (CKA_MODULUS, true),
            (CKA_PUBLIC_EXPONENT, true),
            (CKA_PRIVATE_EXPONENT, false),
            (CKA_PRIME_1, false),
            (CKA_PRIME_2, false),
            (CKA_EXPONENT_1, false),
            (CKA_EXPONENT_2, false),
            (CKA_COEFFICIENT, false),
        ] {
            let part = key.integer()?;
            private.set(attribute, part);
            if is_public {
                public.set(attribute, part);
            }
        }
        let info = rsa_info(&public);
        Self { private, public, info }.of_type(CKK_RSA).checked()
    }

    /// Reads a DER ECPrivateKey (RFC 5915). `parameters` are those that stand
    /// beside it in PKCS#8.
    ///
    /// # Errors
    /// If it is damaged or its parts do not belong together.
    pub fn from_sec1(der: &[u8], parameters: Option<&[u8]>) -> Result<Self> {
        let mut key = Reader::new(der).sequence()?;
        if key.number()? != 1 {
            return Err(Error::new("it is no EC private key"));
        }
        let scalar = key.octets()?;
        let own = key.optional(0xa0)?.map(|own| own.content);
        let point = match key.optional(0xa1)? {
            Some(point) => {
                Some(bits(Reader::new(point.content).element(der::BIT_STRING)?.content)?)
            }
            None => None,
        };
        let parameters =
            parameters.or(own).ok_or_else(|| Error::new("the EC key does not say its curve"))?;
        if parameters.first() != Some(&der::OBJECT_IDENTIFIER) {
            return Err(Error::new("the EC key's curve is not one with a name"));
        }
        let mut private = Attributes::new();
        private.set(CKA_EC_PARAMS, parameters);
        private.set(CKA_VALUE, &*scalar);
        Self::curve(CKK_EC, private, point, parameters)
    }

    /// Reads the CurvePrivateKey of RFC 8410.
    fn edwards(key_type: u64, oid: &[u8], der: &[u8]) -> Result<Self> {
        let seed = Reader::new(der).octets()?;
        let mut private = Attributes::new();
        private.set(CKA_EC_PARAMS, oid);
        private.set(CKA_VALUE, &*seed);
        Self::curve(key_type, private, None, oid)
    }

    fn curve(
        key_type: u64,
        mut private: Attributes,
        point: Option<&[u8]>,
        parameters: &[u8],
    ) -> Result<Self> {
        private.set(CKA_KEY_TYPE, key_type);
        let mut public = Attributes::new();
        public.set(CKA_EC_PARAMS, parameters);
        if let Ok(key) = PrivateKey::of(&private) {
            let info = key.public().map_err(|error| Error::new(error.to_string()))?.info();
            let own = point_of(&info)?;
            if point.is_some_and(|point| point.first() == Some(&4) && point != own) {
                return Err(Error::new("the public key beside the private one is another key's"));
            }
            public.set(CKA_EC_POINT, der::write(der::OCTET_STRING, &own));
            return Ok(Self { private, public, info }.of_type(key_type));
        }
        let known = matches!(key_type, CKK_EC)
            && keyward_crypto::ec::Curve::from_params_der(parameters).is_ok();
        match point {
            Some(point) if !known => {
                // A curve that is not ours: the file is believed.
                public.set(CKA_EC_POINT, der::write(der::OCTET_STRING, point));
                let info = info(&[&EC_PUBLIC_KEY, parameters].concat(), point);
                Ok(Self { private, public, info }.of_type(key_type))
            }
            _ if known => Err(Error::new("the EC key is not a key on its curve")),
            _ => Err(Error::new(
                "the key is on a curve that is not known, and lacks its public half",
            )),
        }
    }

    /// RFC 3279 section 2.3.2 for the parameters, RFC 5208 for the value.
    fn dsa(mut parameters: Reader<'_>, value: &[u8]) -> Result<Self> {
        let mut private = Attributes::new();
        let mut public = Attributes::new();
        for attribute in [CKA_PRIME, CKA_SUBPRIME, CKA_BASE] {
            let part = parameters.integer()?;
            private.set(attribute, part);
            public.set(attribute, part);
        }
        private.set(CKA_VALUE, Reader::new(value).integer()?);
        private.set(CKA_KEY_TYPE, CKK_DSA);
        let PublicKey::Dsa(key) =
            PrivateKey::of(&private).and_then(|key| key.public()).map_err(|_| not_a_key())?
        else {
            return Err(not_a_key());
        };
        public.set(CKA_VALUE, key.value());
        let info = info(&dsa_algorithm(&public), &integer(key.value()));
        Ok(Self { private, public, info }.of_type(CKK_DSA))
    }

    fn of_type(mut self, key_type: u64) -> Self {
        for (attributes, class) in
            [(&mut self.private, CKO_PRIVATE_KEY), (&mut self.public, CKO_PUBLIC_KEY)]
        {
            attributes.set(CKA_CLASS, class);
            attributes.set(CKA_KEY_TYPE, key_type);
        }
        self
    }

    /// Demands that the parts belong together, where that can be said: AWS-LC
    /// does not look at RSA keys below 2048 bits.
    fn checked(self) -> Result<Self> {
        let bits = 8 * self.public.bytes(CKA_MODULUS).map_or(0, <[u8]>::len);
        if bits >= 2048 && PrivateKey::of(&self.private).is_err() {
            return Err(not_a_key());
        }
        Ok(self)
    }
}

/// A secret key, by the name that Java gives its algorithm.
#[must_use]
pub fn secret_key(algorithm: &str, value: &[u8]) -> Attributes {
    let key_type = match algorithm.to_ascii_uppercase().as_str() {
        "AES" => CKK_AES,
        "DESEDE" | "TRIPLEDES" | "3DES" => CKK_DES3,
        "DES" => CKK_DES,
        "BLOWFISH" => CKK_BLOWFISH,
        "ARCFOUR" | "RC4" => CKK_RC4,
        "CHACHA20" => CKK_CHACHA20,
        // HMAC keys, passwords and what has no type of its own in PKCS#11.
        _ => CKK_GENERIC_SECRET,
    };
    let mut attributes = Attributes::new();
    attributes.set(CKA_CLASS, CKO_SECRET_KEY);
    attributes.set(CKA_KEY_TYPE, key_type);
    attributes.set(CKA_VALUE, value);
    attributes.set(CKA_VALUE_LEN, value.len() as u64);
    attributes
}

/// The SubjectPublicKeyInfo of a public key's attributes, or of a private key's
/// where those have it.
#[must_use]
pub fn public_key_info(attributes: &Attributes) -> Option<Vec<u8>> {
    if let Some(info) = attributes.bytes(CKA_PUBLIC_KEY_INFO).filter(|info| !info.is_empty()) {
        return Some(info.to_vec());
    }
    if attributes.number(CKA_KEY_TYPE) == Some(CKK_RSA) {
        attributes.bytes(CKA_MODULUS).filter(|modulus| !modulus.is_empty())?;
        attributes.bytes(CKA_PUBLIC_EXPONENT).filter(|exponent| !exponent.is_empty())?;
        return Some(rsa_info(attributes));
    }
    match PublicKey::of(attributes) {
        Ok(PublicKey::Dsa(key)) => {
            return Some(info(&dsa_algorithm(attributes), &integer(key.value())));
        }
        Ok(key) => return Some(key.info()).filter(|info| !info.is_empty()),
        Err(_) => {}
    }
    let point = attributes.bytes(CKA_EC_POINT)?;
    let point = Reader::new(point).octets().ok()?;
    let parameters = attributes.bytes(CKA_EC_PARAMS)?;
    (attributes.number(CKA_KEY_TYPE) == Some(CKK_EC))
        .then(|| info(&[&EC_PUBLIC_KEY, parameters].concat(), &point))
}

/// CKA_EC_POINT in an OCTET STRING, if it stands bare. Since PKCS#11 v3.1 those of
/// Edwards's and Montgomery's curves do (section 6.3.5); in an OCTET STRING tokens
/// of before and of today take them.
pub(crate) fn point_in_octet_string(attributes: &Attributes) -> Option<Vec<u8>> {
    let point = attributes.bytes(CKA_EC_POINT)?;
    let curve = attributes
        .bytes(CKA_EC_PARAMS)
        .and_then(|parameters| keyward_crypto::ec::Curve::from_params_der(parameters).ok());
    // By their length: the first bytes of a point may look like those of an element.
    let is_bare = match (attributes.number(CKA_KEY_TYPE), curve) {
        (Some(CKK_EC), Some(curve)) => point.len() == 2 * curve.field_length() + 1,
        (Some(CKK_EC), None) => !der::is_one_element(point),
        _ => matches!(point.len(), 32 | 56 | 57),
    };
    is_bare.then(|| der::write(der::OCTET_STRING, point))
}

/// The same key's SubjectPublicKeyInfo in one form, so that two can be compared
/// and have one fingerprint.
#[must_use]
pub fn canonical(information: &[u8]) -> Vec<u8> {
    let parsed = SubjectPublicKeyInfo::from_der(information);
    let Ok((_, parsed)) = parsed else {
        return information.to_vec();
    };
    // Of RSA keys the algorithm's parameters are written in two ways, and RSASSA-PSS is RSA.
    match parsed.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => {
            info(&RSA_ENCRYPTION, &parsed.subject_public_key.data)
        }
        _ => information.to_vec(),
    }
}

/// What a key is known by: SHA-1 over its bits (RFC 5280 section 4.2.1.2), which
/// is the CKA_ID of keys that have none of their own.
///
/// # Errors
/// If the information is none.
pub fn key_identifier(information: &[u8]) -> Result<Vec<u8>> {
    Ok(Hash::Sha1.digest(&point_of(information)?))
}

/// SHA-256, in hexadecimal.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> String {
    hex(&Hash::Sha256.digest(bytes))
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn rsa_info(attributes: &Attributes) -> Vec<u8> {
    let number = |attribute| integer(attributes.bytes(attribute).unwrap_or_default());
    let key = [number(CKA_MODULUS), number(CKA_PUBLIC_EXPONENT)].concat();
    info(&RSA_ENCRYPTION, &der::write(der::SEQUENCE, &key))
}

/// The AlgorithmIdentifier's content of a DSA key (RFC 3279 section 2.3.2).
fn dsa_algorithm(attributes: &Attributes) -> Vec<u8> {
    let number = |attribute| integer(attributes.bytes(attribute).unwrap_or_default());
    let parameters = [number(CKA_PRIME), number(CKA_SUBPRIME), number(CKA_BASE)].concat();
    [&DSA[..], &der::write(der::SEQUENCE, &parameters)].concat()
}

/// A DER INTEGER of a number without a sign.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    let sign = bytes.first().is_none_or(|first| *first >= 0x80).then_some(0);
    let content: Vec<u8> = sign.into_iter().chain(bytes.iter().copied()).collect();
    der::write(der::INTEGER, &content)
}

fn info(algorithm: &[u8], bits: &[u8]) -> Vec<u8> {
    let algorithm = der::write(der::SEQUENCE, algorithm);
    let bits = der::write(der::BIT_STRING, &[&[0], bits].concat());
    der::write(der::SEQUENCE, &[algorithm, bits].concat())
}

fn point_of(info: &[u8]) -> Result<Vec<u8>> {
    let mut info = Reader::new(info).sequence()?;
    info.sequence()?;
    Ok(bits(info.element(der::BIT_STRING)?.content)?.to_vec())
}

/// The bytes of a BIT STRING's content.
fn bits(content: &[u8]) -> Result<&[u8]> {
    match content.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(not_a_key()),
    }
}

fn not_a_key() -> Error {
    Error::new("the key's parts do not belong together")
}

/// rsaEncryption with NULL parameters.
const RSA_ENCRYPTION: [u8; 13] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

/// id-ecPublicKey.
const EC_PUBLIC_KEY: [u8; 9] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// id-dsa.
const DSA: [u8; 9] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];

/// RFC 8410 section 3.
const X25519: [u8; 5] = [6, 3, 0x2b, 0x65, 0x6e];
const ED25519: [u8; 5] = [6, 3, 0x2b, 0x65, 0x70];

#[cfg(test)]
mod tests {
    use keyward_crypto::ec::{Curve, EcPrivateKey};
    use keyward_crypto::ed25519::Ed25519PrivateKey;

    use super::*;

    #[test]
    fn a_false_public_half_is_noticed() {
        let key = EcPrivateKey::generate(Curve::P256).unwrap();
        let mut der = key.to_pkcs8_der().to_vec();
        let pair = KeyPair::from_pkcs8(&der).unwrap();
        assert_eq!(pair.info, key.public().spki_der());
        assert_eq!(keyward_token::describe::kind(&pair.private), "EC P-256");
        *der.last_mut().unwrap() ^= 1;
        let error = KeyPair::from_pkcs8(&der).unwrap_err().to_string();
        assert!(error.contains("another key's"), "{error}");
    }

    #[test]
    fn a_point_is_bare_by_its_length() {
        let mut attributes = Attributes::new();
        attributes.set(CKA_KEY_TYPE, CKK_EC);
        attributes.set(CKA_EC_PARAMS, Curve::P256.oid_der());
        // An OCTET STRING of 63 bytes, to who looks at the first two.
        let mut point = vec![7; 65];
        (point[0], point[1]) = (4, 63);
        attributes.set(CKA_EC_POINT, point.clone());
        let wrapped = point_in_octet_string(&attributes).unwrap();
        assert_eq!(wrapped, [&[4, 65], &point[..]].concat());
        attributes.set(CKA_EC_POINT, wrapped);
        assert_eq!(point_in_octet_string(&attributes), None);
    }

    #[test]
    fn rfc_5958_keys_with_their_public_half_are_read() {
        let key = Ed25519PrivateKey::generate();
        let private = der::write(der::OCTET_STRING, &der::write(der::OCTET_STRING, key.seed()));
        let public = der::write(0x81, &[&[0][..], key.public().as_bytes()].concat());
        let algorithm = der::write(der::SEQUENCE, &ED25519);
        let version = der::write(der::INTEGER, &[1]);
        let der = der::write(der::SEQUENCE, &[version, algorithm, private, public].concat());
        let pair = KeyPair::from_pkcs8(&der).unwrap();
        assert_eq!(pair.info, key.public().spki_der());
        assert_eq!(public_key_info(&pair.public), Some(pair.info));
    }

    #[test]
    fn rsa_parts_of_two_keys_are_not_a_key() {
        let key = keyward_crypto::RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let mut der = key.to_pkcs8_der().unwrap().to_vec();
        let pair = KeyPair::from_pkcs8(&der).unwrap();
        assert_eq!(pair.info, key.public().spki_der());
        assert_eq!(public_key_info(&pair.public), Some(pair.info));
        *der.last_mut().unwrap() ^= 1;
        assert!(KeyPair::from_pkcs8(&der).is_err());
    }
}
