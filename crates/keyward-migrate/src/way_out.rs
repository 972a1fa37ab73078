//! What to do about a key that cannot go: a new one in the target, certified
//! under the same names, and a rolling switch.

use cryptoki_sys::*;

use crate::object::Object;
use crate::source::Source;
use crate::x509::Certificate;

/// The steps, one sentence or command each.
pub(crate) fn steps(object: &Object, source: &Source, target: &Source) -> Vec<String> {
    match object.class() {
        CKO_PRIVATE_KEY if object.closed.is_some() => {
            vec!["give the entry's password (--password-file takes several, one a line) and make a new plan"
                .to_owned()]
        }
        CKO_PRIVATE_KEY => new_key(object, source, target),
        CKO_SECRET_KEY => vec![
            "make a new key in the target, under the same label and id".to_owned(),
            "encrypt what the old key encrypts anew, with both keys at hand".to_owned(),
            "retire the old key when nothing needs it any more".to_owned(),
        ],
        _ => Vec::new(),
    }
}

fn new_key(object: &Object, source: &Source, target: &Source) -> Vec<String> {
    let certificate = source
        .objects
        .iter()
        .find(|other| {
            other.certificate().is_some() && other.info.is_some() && other.info == object.info
        })
        .and_then(|other| other.certificate())
        .and_then(Certificate::read);
    let token = target.token.as_ref().map(|token| token.label().to_owned()).unwrap_or_default();
    let label = match object.label() {
        label if label.is_empty() => "new-key".to_owned(),
        label => label,
    };
    let keyward = target.kind.to_ascii_lowercase().contains("keyward");
    let subject = certificate
        .as_ref()
        .map_or_else(|| format!("CN={label}"), |certificate| certificate.subject.clone());
    let names: Vec<_> = certificate.iter().flat_map(|it| it.other_names.clone()).collect();
    let mut steps = Vec::new();
    if keyward {
        steps.push(format!(
            "keyward key generate --token {} --label {} --type {}",
            quoted(&token),
            quoted(&label),
            kind_of(object)
        ));
        let names: String = names.iter().map(|name| format!(" --san {}", quoted(name))).collect();
        steps.push(format!(
            "keyward cert request --token {} --key {} --subject {}{names} --out {}.csr",
            quoted(&token),
            quoted(&label),
            quoted(&subject),
            quoted(&label)
        ));
    } else {
        steps.push(format!("make a new {} key in the target, labelled {label:?}", object.kind()));
        let names = match names.is_empty() {
            true => String::new(),
            false => format!(" and the other names {}", names.join(", ")),
        };
        steps.push(format!("make a certificate request with it for the subject {subject}{names}"));
    }
    let issuer = certificate.as_ref().map_or("your authority", |it| it.issuer.as_str());
    steps.push(format!("have {issuer} certify it, and put the chain beside the new key"));
    steps.push(
        "let every peer trust the issuer first, if it is not the old one, and restart none for it"
            .to_owned(),
    );
    steps.push(
        "switch one node to the new key, see that its peers talk to it, then the next".to_owned(),
    );
    steps.push(
        "revoke the old certificate and destroy the old key when the last node has switched"
            .to_owned(),
    );
    steps
}

/// As `keyward key generate --type` names it.
fn kind_of(object: &Object) -> String {
    let kind = object.kind().to_ascii_lowercase();
    match kind.split_once(' ') {
        Some(("rsa", bits)) => format!("rsa:{bits}"),
        Some(("ec", curve)) => format!("ec:{}", curve.replace('-', "")),
        _ => kind,
    }
}

/// One word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@,+%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
