//! ECDSA and ECDH over the NIST curves, secp256k1 and Brainpool's.
//!
//! Signatures are r || s, both as long as the curve's field, as PKCS#11 has them (v3.1 section
//! 6.3.1).

use std::fmt;
use std::ptr;

use aws_lc_sys::{
    EC_KEY, EC_KEY_check_key, EC_KEY_generate_key, EC_KEY_get0_private_key, EC_KEY_get0_public_key,
    EC_KEY_new, EC_KEY_parse_private_key, EC_KEY_set_group, EC_KEY_set_private_key,
    EC_KEY_set_public_key, EC_POINT, EC_POINT_mul, EC_POINT_new, EC_POINT_oct2point,
    EC_POINT_point2oct, ECDH_compute_key, ECDSA_SIG, ECDSA_SIG_from_bytes, ECDSA_SIG_get0_r,
    ECDSA_SIG_get0_s, ECDSA_SIG_new, ECDSA_SIG_set0, ECDSA_SIG_to_bytes, ECDSA_do_sign,
    ECDSA_do_verify, point_conversion_form_t,
};
use zeroize::Zeroizing;

pub use crate::curve::Curve;
use crate::ec_der;
use crate::error::{Error, Result};
use crate::ffi::{
    Buffer, OUT_OF_MEMORY, Owned, Pkey, check, failed, number, number_bytes_padded, parse,
    unless_out_of_memory,
};

/// An EC private key together with its public point.
#[derive(Clone)]
pub struct EcPrivateKey(EcKey);

impl EcPrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if AWS-LC runs out of memory.
    pub fn generate(curve: Curve) -> Result<Self> {
        let key = new_key(curve)?;
        // SAFETY: the key is valid, has a group, and no other thread knows it.
        let returned = unsafe { EC_KEY_generate_key(key.as_ptr()) };
        check(returned, Error::Internal("an EC key could not be generated"))?;
        EcKey::new(curve, &key).map(Self)
    }

    /// Builds a key from its private scalar, big-endian (CKA_VALUE); leading zeros may be missing
    /// or too many.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if the scalar is 0, or not below the order of the curve.
    pub fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self> {
        let key = new_key(curve)?;
        let scalar = number(scalar)?;
        // SAFETY: key and scalar are valid. AWS-LC copies the scalar and refuses one that is out of
        // range.
        let returned = unsafe { EC_KEY_set_private_key(key.as_ptr(), scalar.as_ptr()) };
        check(returned, Error::InvalidKey("the private scalar is not in the range of the curve"))?;
        let point = new_point(curve)?;
        // SAFETY: group, point and scalar are valid; with no second point this is the constant-time
        // multiplication of the curve's base point.
        let returned = unsafe {
            EC_POINT_mul(
                curve.group(),
                point.as_ptr(),
                scalar.as_ptr(),
                ptr::null(),
                ptr::null(),
                ptr::null_mut(),
            )
        };
        check(returned, Error::Internal("a public point could not be computed"))?;
        // SAFETY: key and point are valid and on one curve; AWS-LC copies the point.
        let returned = unsafe { EC_KEY_set_public_key(key.as_ptr(), point.as_ptr()) };
        check(returned, OUT_OF_MEMORY)?;
        EcKey::new(curve, &key).map(Self)
    }

    /// Reads a DER PrivateKeyInfo (PKCS#8, RFC 5958), not encrypted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse, is not EC, or its public point is not that of
    /// the scalar; [`Error::UnsupportedCurve`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        match Self::from_pkcs8_der_of_others(der) {
            Some(key) => key,
            None => Self::from_pkey(&Pkey::from_pkcs8_der(der)?),
        }
    }

    /// A key on a curve that AWS-LC cannot name; `None` if it is none.
    pub(crate) fn from_pkcs8_der_of_others(der: &[u8]) -> Option<Result<Self>> {
        ec_der::read_pkcs8(der).map(Self::from_parts)
    }

    fn from_parts((curve, scalar, point): ec_der::Parts<'_>) -> Result<Self> {
        let key = Self::from_scalar(curve, scalar)?;
        ec_der::belongs(point, &key.0.point(), curve)?;
        Ok(key)
    }

    /// Reads a DER ECPrivateKey (SEC 1, RFC 5915) that names its curve.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse, or its public point is not that of the scalar;
    /// [`Error::UnsupportedCurve`].
    pub fn from_sec1_der(der: &[u8]) -> Result<Self> {
        if let Some(parts) = ec_der::read_sec1(der) {
            return Self::from_parts(parts);
        }
        // SAFETY: `parse` passes a valid CBS, null means that the key names its curve, and the
        // caller owns the result.
        let key = parse(der, |input| unsafe {
            Owned::new(
                EC_KEY_parse_private_key(input, ptr::null()),
                Error::InvalidKey("this is not a SEC 1 private key with a known curve"),
            )
        })?;
        Self::from_pkey(&Pkey::from_ec(&key)?)
    }

    /// Makes a key anew out of one that AWS-LC parsed and checked, so that what the file left out
    /// or said unusually (no public point, a compressed one, explicit parameters) is gone from
    /// every later encoding.
    pub(crate) fn from_pkey(pkey: &Pkey) -> Result<Self> {
        let ec = pkey.ec();
        if ec.is_null() {
            return Err(Error::InvalidKey("it is not an EC key"));
        }
        // SAFETY: a parsed key is valid and has a group.
        let curve = unsafe { Curve::of(ec) }?;
        // SAFETY: as above. The scalar, if there is one, lives as long as `pkey`.
        let scalar = unsafe { private_scalar(ec, curve) }?;
        Self::from_scalar(curve, &scalar)
    }

    /// The DER PrivateKeyInfo (PKCS#8, RFC 5958), not encrypted, with the public point in it.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        if !self.0.curve.is_known_to_aws_lc() {
            return ec_der::pkcs8(self.0.curve, &self.scalar(), &self.0.point());
        }
        self.0.pkey.pkcs8_der()
    }

    /// The private scalar, as long as the curve's field.
    #[must_use]
    pub fn scalar(&self) -> Zeroizing<Vec<u8>> {
        // SAFETY: the key is valid, and nothing changes it. It has a scalar, which is below the
        // order.
        unless_out_of_memory(unsafe { private_scalar(self.0.pkey.ec(), self.0.curve) })
    }

    /// The public half. It holds nothing secret and shares no memory with the private key.
    #[must_use]
    pub fn public(&self) -> EcPublicKey {
        // The point of a checked private key is on its curve.
        unless_out_of_memory(EcPublicKey::from_point(self.0.curve, &self.0.point()))
    }

    /// The curve that the key is on.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.0.curve
    }

    /// Signs `digest` by ECDSA with a random nonce and returns r || s, twice the field's length.
    ///
    /// A digest longer than the order of the curve is cut to its leftmost bits (FIPS 186-5 section
    /// 6.4.1).
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `digest` is empty.
    pub fn sign(&self, digest: &[u8]) -> Result<Vec<u8>> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        // SAFETY: the key is valid and passed as const; `digest` is valid for its length; the
        // caller owns the result.
        let signature = unsafe {
            Owned::new(
                ECDSA_do_sign(digest.as_ptr(), digest.len(), self.0.pkey.ec()),
                Error::Internal("an ECDSA signature could not be made"),
            )
        }?;
        raw_signature(self.0.curve, &signature)
    }

    /// The x coordinate of the shared point, as long as the curve's field (SEC 1 section 3.3.1),
    /// without a KDF.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if `peer` is on another curve.
    pub fn ecdh(&self, peer: &EcPublicKey) -> Result<Zeroizing<Vec<u8>>> {
        if self.0.curve != peer.0.curve {
            return Err(Error::ParameterInvalid("the two keys are on different curves"));
        }
        let mut secret = Zeroizing::new(vec![0; self.0.curve.field_length()]);
        // SAFETY: both keys are valid, complete and passed as const; the buffer has the length
        // passed along; without a KDF the shared x coordinate is copied out.
        let length = unsafe {
            ECDH_compute_key(
                secret.as_mut_ptr().cast(),
                secret.len(),
                EC_KEY_get0_public_key(peer.0.pkey.ec()),
                self.0.pkey.ec(),
                None,
            )
        };
        if usize::try_from(length) != Ok(secret.len()) {
            return Err(failed(Error::Internal("ECDH failed")));
        }
        Ok(secret)
    }
}

impl fmt::Debug for EcPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcPrivateKey").field("curve", &self.0.curve).finish_non_exhaustive()
    }
}

/// An EC public key: a point of the curve other than infinity.
#[derive(Clone)]
pub struct EcPublicKey(EcKey);

impl EcPublicKey {
    /// Reads a point (SEC 1 section 2.3.3), uncompressed or compressed, without the OCTET STRING
    /// that CKA_EC_POINT has around it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it is not a point of this curve, or is infinity.
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<Self> {
        const NOT_ON_CURVE: Error = Error::InvalidKey("the point is not on the curve");

        // AWS-LC would also take the hybrid form, which PKCS#11 does not know.
        if !matches!(point.first(), Some(2..=4)) {
            return Err(NOT_ON_CURVE);
        }
        let key = new_key(curve)?;
        let parsed = new_point(curve)?;
        // SAFETY: group and point are valid, the slice is valid for its length, and null means no
        // scratch space. AWS-LC checks the length and that the point is on the curve.
        let returned = unsafe {
            EC_POINT_oct2point(
                curve.group(),
                parsed.as_ptr(),
                point.as_ptr(),
                point.len(),
                ptr::null_mut(),
            )
        };
        check(returned, NOT_ON_CURVE)?;
        // SAFETY: key and point are valid and on one curve; AWS-LC copies the point and refuses
        // infinity.
        let returned = unsafe { EC_KEY_set_public_key(key.as_ptr(), parsed.as_ptr()) };
        check(returned, NOT_ON_CURVE)?;
        EcKey::new(curve, &key).map(Self)
    }

    /// Reads a DER SubjectPublicKeyInfo (RFC 5480).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] if it does not parse or is not EC, [`Error::UnsupportedCurve`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self> {
        if let Some((curve, point)) = ec_der::read_spki(der) {
            return Self::from_point(curve, point);
        }
        let pkey = Pkey::from_spki_der(der)?;
        if pkey.ec().is_null() {
            return Err(Error::InvalidKey("it is not an EC key"));
        }
        // SAFETY: a parsed key is valid and has a group.
        let curve = unsafe { Curve::of(pkey.ec()) }?;
        // Made anew, so that every later encoding is the usual one.
        Self::from_point(curve, &EcKey { pkey, curve }.point())
    }

    /// The DER SubjectPublicKeyInfo (RFC 5480), with the curve named and the point uncompressed.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        if !self.0.curve.is_known_to_aws_lc() {
            return ec_der::spki(self.0.curve, &self.point());
        }
        self.0.pkey.spki_der()
    }

    /// The point, uncompressed: 0x04, x, y.
    #[must_use]
    pub fn point(&self) -> Vec<u8> {
        self.0.point()
    }

    /// The curve that the key is on.
    #[must_use]
    pub fn curve(&self) -> Curve {
        self.0.curve
    }

    /// Checks an ECDSA signature r || s over `digest`. Both halves may lack the same number of
    /// leading zeros (PKCS#11 v3.1 section 6.3.1); SunPKCS11 leaves them out.
    ///
    /// # Errors
    ///
    /// [`Error::SignatureLength`] if it is no longer than the field, longer than twice of it, or odd,
    /// [`Error::DataLength`] if `digest` is empty, [`Error::SignatureInvalid`].
    pub fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        // Numbers of half the field's length are found by nobody, only made up.
        let half = self.0.curve.field_length();
        let fits = half < signature.len() && signature.len() <= 2 * half;
        if !fits || !signature.len().is_multiple_of(2) {
            return Err(Error::SignatureLength);
        }
        let signature = parsed_signature(signature)?;
        // SAFETY: key and signature are valid and passed as const; `digest` is valid for its
        // length.
        let returned = unsafe {
            ECDSA_do_verify(digest.as_ptr(), digest.len(), signature.as_ptr(), self.0.pkey.ec())
        };
        check(returned, Error::SignatureInvalid)
    }
}

impl PartialEq for EcPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.curve == other.0.curve && self.point() == other.point()
    }
}

impl Eq for EcPublicKey {}

impl fmt::Debug for EcPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcPublicKey").field("curve", &self.0.curve).finish_non_exhaustive()
    }
}

/// Turns r || s into the DER Ecdsa-Sig-Value (RFC 3279 section 2.2.3) of X.509 and TLS.
///
/// # Errors
///
/// [`Error::SignatureLength`] if `signature` is empty or has an odd length.
pub fn signature_to_der(signature: &[u8]) -> Result<Vec<u8>> {
    if signature.is_empty() || !signature.len().is_multiple_of(2) {
        return Err(Error::SignatureLength);
    }
    let signature = parsed_signature(signature)?;
    let mut pointer = ptr::null_mut();
    let mut length = 0;
    // SAFETY: the signature is valid, and the two outputs are ours.
    let returned = unsafe { ECDSA_SIG_to_bytes(&mut pointer, &mut length, signature.as_ptr()) };
    check(returned, Error::Internal("a signature could not be encoded"))?;
    // SAFETY: ECDSA_SIG_to_bytes succeeded: the buffer holds `length` bytes and is ours.
    let der = unsafe { Buffer::new(pointer, length) };
    Ok(der.as_slice().to_vec())
}

/// Turns a DER Ecdsa-Sig-Value (RFC 3279 section 2.2.3) into r || s, both as long as the curve's
/// field.
///
/// # Errors
///
/// [`Error::SignatureInvalid`] if it does not parse or a number is too long for the curve.
pub fn signature_from_der(curve: Curve, der: &[u8]) -> Result<Vec<u8>> {
    // SAFETY: the slice is valid for its length; the function refuses trailing bytes; the caller
    // owns the result.
    let signature = unsafe {
        Owned::new(ECDSA_SIG_from_bytes(der.as_ptr(), der.len()), Error::SignatureInvalid)
    }?;
    raw_signature(curve, &signature)
}

/// What private and public keys have in common: an EVP_PKEY with an EC_KEY on `curve` that has a
/// public point.
#[derive(Clone)]
struct EcKey {
    pkey: Pkey,
    curve: Curve,
}

impl EcKey {
    fn new(curve: Curve, key: &Owned<EC_KEY>) -> Result<Self> {
        // SAFETY: the key is valid. This checks that the point is on the curve and, if there is a
        // scalar, is its point.
        let returned = unsafe { EC_KEY_check_key(key.as_ptr()) };
        check(returned, Error::InvalidKey("the public point is not that of the private scalar"))?;
        Ok(Self { pkey: Pkey::from_ec(key)?, curve })
    }

    fn point(&self) -> Vec<u8> {
        let mut point = vec![0; 1 + 2 * self.curve.field_length()];
        // SAFETY: the key has a public point that lives as long as `self`; the buffer has the
        // length passed along, which is that of an uncompressed point of this curve, so this cannot
        // fail.
        let length = unsafe {
            EC_POINT_point2oct(
                self.curve.group(),
                EC_KEY_get0_public_key(self.pkey.ec()),
                point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED,
                point.as_mut_ptr(),
                point.len(),
                ptr::null_mut(),
            )
        };
        debug_assert_eq!(length, point.len());
        point
    }
}

fn new_key(curve: Curve) -> Result<Owned<EC_KEY>> {
    // SAFETY: a constructor without arguments; the caller owns the result.
    let key = unsafe { Owned::new(EC_KEY_new(), OUT_OF_MEMORY) }?;
    // SAFETY: key and group are valid.
    let returned = unsafe { EC_KEY_set_group(key.as_ptr(), curve.group()) };
    check(returned, OUT_OF_MEMORY)?;
    Ok(key)
}

fn new_point(curve: Curve) -> Result<Owned<EC_POINT>> {
    // SAFETY: the group is valid; the caller owns the result.
    unsafe { Owned::new(EC_POINT_new(curve.group()), OUT_OF_MEMORY) }
}

/// The scalar of a private key, as long as the curve's field.
///
/// # Safety
///
/// `key` is a valid EC_KEY on `curve` that nothing changes meanwhile.
unsafe fn private_scalar(key: *const EC_KEY, curve: Curve) -> Result<Zeroizing<Vec<u8>>> {
    // SAFETY: valid by contract.
    let scalar = unsafe { EC_KEY_get0_private_key(key) };
    if scalar.is_null() {
        return Err(failed(Error::InvalidKey("there is no private scalar")));
    }
    // SAFETY: the number is valid as long as the key. The order of each of our curves is as long as
    // its field.
    unsafe {
        number_bytes_padded(
            scalar,
            curve.field_length(),
            Error::Internal("a scalar is out of range"),
        )
    }
}

/// A signature object out of r || s, of any even length.
fn parsed_signature(signature: &[u8]) -> Result<Owned<ECDSA_SIG>> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let (r, s) = (number(r)?, number(s)?);
    // SAFETY: a constructor without arguments; the caller owns the result.
    let parsed = unsafe { Owned::new(ECDSA_SIG_new(), OUT_OF_MEMORY) }?;
    // SAFETY: all three are valid. `set0` takes ownership if it succeeds, and it fails for null
    // pointers only.
    let returned = unsafe { ECDSA_SIG_set0(parsed.as_ptr(), r.into_raw(), s.into_raw()) };
    check(returned, OUT_OF_MEMORY)?;
    Ok(parsed)
}

fn raw_signature(curve: Curve, signature: &Owned<ECDSA_SIG>) -> Result<Vec<u8>> {
    let length = curve.field_length();
    let mut raw = Vec::with_capacity(2 * length);
    // SAFETY: the signature is valid, and so are its two numbers as long as it is.
    unsafe {
        for part in [ECDSA_SIG_get0_r(signature.as_ptr()), ECDSA_SIG_get0_s(signature.as_ptr())] {
            raw.extend_from_slice(&number_bytes_padded(part, length, Error::SignatureInvalid)?);
        }
    }
    Ok(raw)
}
