//! The service's certificate authority: it signs the server's certificate and
//! those of identities.

use std::net::IpAddr;

use keyward_wire::IDENTITY_URI;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, DnsName, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::id::Id;
use crate::store::records::AuthorityRecord;

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AuthorityError(String);

/// The authority with its private key.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    expires: OffsetDateTime,
}

/// What a certificate says of whoever shows it.
pub(crate) struct Shown {
    /// The identity.
    pub(crate) uid: Id,
    /// The certificate's serial number, without leading zero bytes.
    pub(crate) serial: Vec<u8>,
    /// Seconds since 1970-01-01 UTC.
    pub(crate) expires: u64,
}

impl Authority {
    /// A new authority, good for 20 years.
    pub(crate) fn create() -> Result<(Self, AuthorityRecord), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = params("Keyward authority", 20 * 365)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        let record = AuthorityRecord {
            certificate: certificate.der().to_vec(),
            private_key: key.serialize_der(),
        };
        Ok((Self::open(&record)?, record))
    }

    /// The authority of a store.
    pub(crate) fn open(record: &AuthorityRecord) -> Result<Self, AuthorityError> {
        let certificate = CertificateDer::from(record.certificate.clone());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(record.private_key.as_slice()),
            &PKCS_ECDSA_P256_SHA256,
        )
        .map_err(failed)?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|error| AuthorityError(error.to_string()))?;
        let expires = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(failed)?;
        Ok(Self { certificate, issuer, expires })
    }

    /// Its certificate, DER.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A server's certificate and its key, for the names "keyward" and
    /// "localhost", 127.0.0.1, and these.
    pub(crate) fn server(
        &self,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<(CertificateDer<'static>, KeyPair), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = params("Keyward service", 10 * 365)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut sans = Vec::new();
        for name in ["keyward", "localhost"].into_iter().chain(names.iter().map(String::as_str)) {
            let refused = || AuthorityError(format!("{name:?} is no DNS name and no IP address"));
            DnsName::try_from(name).map_err(|_| refused())?;
            sans.push(SanType::DnsName(name.to_owned().try_into().map_err(|_| refused())?));
        }
        sans.push(SanType::IpAddress(IpAddr::from([127, 0, 0, 1])));
        sans.extend(addresses.iter().copied().map(SanType::IpAddress));
        for san in sans {
            if !params.subject_alt_names.contains(&san) {
                params.subject_alt_names.push(san);
            }
        }
        let certificate = self.sign(params, &key)?;
        Ok((certificate, key))
    }

    /// An identity's certificate for a key that its owner keeps, and what it
    /// says.
    pub(crate) fn identity(
        &self,
        uid: Id,
        name: &str,
        key: &impl PublicKeyData,
        days: u32,
    ) -> Result<(CertificateDer<'static>, Shown), AuthorityError> {
        let mut params = params(name, days)?;
        params.not_after = params.not_after.min(self.expires);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = format!("{IDENTITY_URI}{uid}")
            .try_into()
            .map_err(|_| AuthorityError("an identifier that is no URI".to_owned()))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        let certificate = self.sign(params, key)?;
        let shown = shown(&certificate)
            .ok_or_else(|| AuthorityError("a certificate that names no identity".to_owned()))?;
        Ok((certificate, shown))
    }

    fn sign(
        &self,
        params: CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let certificate = params.signed_by(key, &self.issuer).map_err(failed)?;
        Ok(certificate.der().clone())
    }
}

/// The public key of a certificate request whose own signature is right.
pub(crate) fn requested_key(der: &[u8]) -> Result<impl PublicKeyData, AuthorityError> {
    let request = CertificateSigningRequestDer::from(der);
    CertificateSigningRequestParams::from_der(&request)
        .map(|request| RequestedKey(request.public_key))
        .map_err(|error| AuthorityError(format!("the certificate request is not valid: {error}")))
}

/// The identity that a certificate names. Its signature was checked before.
pub(crate) fn shown(certificate: &CertificateDer<'_>) -> Option<Shown> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let uid = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Id::from_hex(uri.strip_prefix(IDENTITY_URI)?),
        _ => None,
    })?;
    let expires = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    let serial = parsed.raw_serial();
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    Some(Shown { uid, serial: serial[zeros..].to_vec(), expires })
}

struct RequestedKey(rcgen::PublicKey);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

/// What all certificates have: a name, a random serial number, a life that
/// began an hour ago, for clocks that are behind.
fn params(name: &str, days: u32) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial = keyward_crypto::random::bytes::<16>();
    // Positive, and not shorter than it looks.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(i64::from(days));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn failed(error: rcgen::Error) -> AuthorityError {
    AuthorityError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_from_the_certificate_that_was_issued_for_it() {
        let (authority, record) = Authority::create().unwrap();
        let authority_again = Authority::open(&record).unwrap();
        assert_eq!(authority.certificate(), authority_again.certificate());
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let requested = requested_key(request.der()).unwrap();
        let uid = Id::random();
        let (certificate, issued) =
            authority_again.identity(uid, "node-1", &requested, 30).unwrap();
        let shown = shown(&certificate).unwrap();
        assert_eq!(shown.uid, uid);
        assert_eq!((&shown.serial, shown.expires), (&issued.serial, issued.expires));
        assert_eq!(shown.serial.len(), 16);
        let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
    }

    #[test]
    fn a_request_with_a_wrong_signature_is_refused() {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let mut der = request.der().to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(requested_key(&der).is_err());
    }
}
