//! Which certificate is a key's, and who issued whom.

use keyward_token::certificate::Parts;
use keyward_token::key::PublicKey;

/// The certificate of the key with this SubjectPublicKeyInfo.
pub(crate) fn certificate_of<'a>(info: &[u8], certificates: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
    certificates.iter().find(|der| {
        Parts::of(der).is_ok_and(|parts| PublicKey::is_same(info, &parts.public_key_info))
    })
}

/// A certificate and its issuers, one after the other, as far as they are there.
pub(crate) fn chain(own: &[u8], certificates: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chain = vec![own.to_vec()];
    while let Some(issuer) = issuer_of(chain.last().map_or(own, Vec::as_slice), certificates) {
        if chain.contains(issuer) {
            break;
        }
        chain.push(issuer.clone());
    }
    chain
}

/// The certificate of who issued this one; itself if it did.
pub(crate) fn issuer_of<'a>(der: &[u8], certificates: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
    let issuer = Parts::of(der).ok()?.issuer;
    let mut named = certificates
        .iter()
        .filter(|other| Parts::of(other).is_ok_and(|parts| parts.subject == issuer));
    // An authority that renewed its certificate has several; the one in use is the one that says
    // so itself.
    let first = named.clone().next();
    named.find(|candidate| is_identified(der, candidate)).or(first)
}

/// Whether the authority key identifier of one is the subject key identifier of
/// the other (RFC 5280 section 4.2.1.1).
fn is_identified(der: &[u8], issuer: &[u8]) -> bool {
    use x509_parser::extensions::ParsedExtension;
    use x509_parser::prelude::{FromDer, X509Certificate};

    let Ok((_, der)) = X509Certificate::from_der(der) else { return false };
    let Ok((_, issuer)) = X509Certificate::from_der(issuer) else { return false };
    let wanted = der.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    let own = issuer.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    wanted.is_some() && wanted == own
}
