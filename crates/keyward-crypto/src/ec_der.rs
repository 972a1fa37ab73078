//! EC keys in DER, on the curves that AWS-LC cannot name.

use zeroize::Zeroizing;

use crate::curve::Curve;
use crate::error::{Error, Result};

/// A PrivateKeyInfo (RFC 5958) around an ECPrivateKey (RFC 5915) with its public point.
pub(crate) fn pkcs8(curve: Curve, scalar: &[u8], point: &[u8]) -> Zeroizing<Vec<u8>> {
    let public = tagged(CONTEXT_1, &[&*tagged(BIT_STRING, &[&[0], point])]);
    let key = tagged(SEQUENCE, &[&[INTEGER, 1, 1], &*tagged(OCTET_STRING, &[scalar]), &*public]);
    tagged(SEQUENCE, &[&[INTEGER, 1, 0], &*algorithm(curve), &*tagged(OCTET_STRING, &[&*key])])
}

/// A SubjectPublicKeyInfo (RFC 5480).
pub(crate) fn spki(curve: Curve, point: &[u8]) -> Vec<u8> {
    let public = tagged(BIT_STRING, &[&[0], point]);
    std::mem::take(&mut *tagged(SEQUENCE, &[&*algorithm(curve), &*public]))
}

/// The curve, the scalar, and the point if there is one.
pub(crate) type Parts<'a> = (Curve, &'a [u8], Option<&'a [u8]>);

/// What is in a PrivateKeyInfo on a curve that AWS-LC
/// cannot name; `None` for anything else.
pub(crate) fn read_pkcs8(der: &[u8]) -> Option<Parts<'_>> {
    let mut info = whole(SEQUENCE, der)?;
    // Version 2 would bring a public key along.
    (info.take(INTEGER)? == [0]).then_some(())?;
    let curve = read_algorithm(info.take(SEQUENCE)?)?;
    // Attributes may follow.
    let (named, scalar, point) = ec_private_key(info.take(OCTET_STRING)?)?;
    named.is_none_or(|named| named == curve).then_some((curve, scalar, point))
}

/// As [`read_pkcs8`], of an ECPrivateKey that names its curve.
pub(crate) fn read_sec1(der: &[u8]) -> Option<Parts<'_>> {
    let (curve, scalar, point) = ec_private_key(der)?;
    Some((curve?, scalar, point))
}

/// The curve and the point of a SubjectPublicKeyInfo on a curve that AWS-LC cannot name; `None` for
/// anything else.
pub(crate) fn read_spki(der: &[u8]) -> Option<(Curve, &[u8])> {
    let mut info = whole(SEQUENCE, der)?;
    let curve = read_algorithm(info.take(SEQUENCE)?)?;
    let point = info.take(BIT_STRING)?.strip_prefix(&[0])?;
    info.0.is_empty().then_some((curve, point))
}

/// Refuses a private key with the public point of another.
pub(crate) fn belongs(given: Option<&[u8]>, point: &[u8], curve: Curve) -> Result<()> {
    let same = given.is_none_or(|given| {
        given == point
            || crate::ec::EcPublicKey::from_point(curve, given)
                .is_ok_and(|given| given.point() == point)
    });
    same.then_some(())
        .ok_or(Error::InvalidKey("the public point is not that of the private scalar"))
}

/// As [`Parts`]; the curve, if it is named there.
type NamedParts<'a> = (Option<Curve>, &'a [u8], Option<&'a [u8]>);

fn ec_private_key(der: &[u8]) -> Option<NamedParts<'_>> {
    let mut key = whole(SEQUENCE, der)?;
    (key.take(INTEGER)? == [1]).then_some(())?;
    let scalar = key.take(OCTET_STRING)?;
    let curve = match key.take(CONTEXT_0) {
        Some(params) => Some(foreign(params)?),
        None => None,
    };
    let point = match key.take(CONTEXT_1) {
        Some(point) => Some(whole(BIT_STRING, point)?.0.strip_prefix(&[0])?),
        None => None,
    };
    key.0.is_empty().then_some((curve, scalar, point))
}

fn algorithm(curve: Curve) -> Zeroizing<Vec<u8>> {
    tagged(SEQUENCE, &[&EC_PUBLIC_KEY, curve.oid_der()])
}

fn read_algorithm(content: &[u8]) -> Option<Curve> {
    foreign(content.strip_prefix(&EC_PUBLIC_KEY)?)
}

fn foreign(params: &[u8]) -> Option<Curve> {
    Curve::from_params_der(params)
        .ok()
        .filter(|curve| !curve.is_known_to_aws_lc() && params == curve.oid_der())
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = Zeroizing::new(Vec::with_capacity(length + 4));
    der.push(tag);
    // No key is longer than 65,535 bytes.
    match length {
        0..=0x7f => der.push(length as u8),
        0x80..=0xff => der.extend([0x81, length as u8]),
        _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (content, rest) = element(tag, self.0)?;
        self.0 = rest;
        Some(content)
    }
}

/// The content of the one element that `der` is.
fn whole(tag: u8, der: &[u8]) -> Option<Reader<'_>> {
    let (content, rest) = element(tag, der)?;
    rest.is_empty().then_some(Reader(content))
}

/// The content of the first element, if it has this tag and the shortest length, and what follows.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[first, short], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match (short, rest) {
        (0..=0x7f, _) => (usize::from(short), rest),
        (0x81, &[length @ 0x80..=0xff, ref rest @ ..]) => (usize::from(length), rest),
        (0x82, &[high @ 1..=0xff, low, ref rest @ ..]) => {
            (usize::from(u16::from_be_bytes([high, low])), rest)
        }
        _ => return None,
    };
    (first == tag).then_some(())?;
    rest.split_at_checked(length)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1: u8 = 0xa1;

/// id-ecPublicKey, 1.2.840.10045.2.1.
const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
