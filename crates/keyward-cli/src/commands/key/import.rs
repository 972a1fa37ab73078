//! `keyward key import`: private keys out of files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use cryptoki_sys::*;
use keyward_crypto::PrivateKey;
use keyward_crypto::ec::EcPrivateKey;
use keyward_crypto::rsa::RsaPrivateKey;
use keyward_token::Attributes;
use keyward_wire::CreateObject;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use zeroize::Zeroizing;

use super::view::KeyView;
use super::{key_template, new_id};
use crate::admin::{Admin, AdminArgs};
use crate::catalogue::{Catalogue, Object};
use crate::failure::Failure;
use crate::output;
use crate::selector::Id;
use crate::terminal::{self, quote};

/// `keyward key import`.
#[derive(Args, Debug)]
pub struct Import {
    /// The token's label
    #[arg(long)]
    token: String,
    /// The key's label
    #[arg(long)]
    label: String,
    /// CKA_ID: hexadecimal digits or text [default: 8 random bytes]
    #[arg(long)]
    id: Option<Id>,
    /// PKCS#8, PKCS#1 or SEC1, in PEM, not encrypted
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Import {
    pub(super) fn run(self) -> Result<()> {
        let key = read_private_key(&self.file)?;
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &self.token)?;
        let information = key.public_spki_der();
        if let Some(there) = catalogue.key_with(&information) {
            return Err(Failure::new(format!(
                "this key is in token {:?} already, as {:?}",
                self.token,
                catalogue.name(there)
            ))
            .into());
        }
        let id = new_id(&catalogue, &self.label, self.id)?;
        let (public, private) = templates(&key, &self.label, &id)?;
        let create = |template: &Attributes| -> Result<Object> {
            let operation = Operation::CreateObject(CreateObject { template: template.into() });
            let object = admin.one(&self.token, operation, |answer| match answer {
                Answer::Object(result) => result.object,
                _ => None,
            })?;
            Object::try_from(object)
        };
        let private = create(&private)?;
        let public = create(&public)?;
        terminal::hint(&format!(
            "the key is in the token now; whoever has {} still has it too",
            self.file.display()
        ));
        let view = KeyView::new(&self.token, &private, Some(&public), Vec::new());
        if self.json { output::json(&view) } else { view.print() }
    }
}

/// Reads the private key of a file that nobody else can read.
///
/// # Errors
/// If there is none, it is encrypted, or others can read it.
pub fn read_private_key(path: &Path) -> Result<PrivateKey> {
    let mut file =
        File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let mut text = Zeroizing::new(Vec::new());
    file.read_to_end(&mut text).with_context(|| format!("{} cannot be read", path.display()))?;
    // What is no key is no secret that others could read.
    let blocks = pem::parse_many(&*text).map_err(|_| no_key(path))?;
    for block in blocks {
        let tag = block.tag().to_owned();
        let encrypted = block.headers().get("DEK-Info").is_some();
        let der = Zeroizing::new(block.into_contents());
        let key = match tag.as_str() {
            _ if encrypted => return Err(encrypted_key(path).into()),
            "ENCRYPTED PRIVATE KEY" => return Err(encrypted_key(path).into()),
            "PRIVATE KEY" => PrivateKey::from_pkcs8_der(&der),
            "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(&der).map(PrivateKey::Rsa),
            "EC PRIVATE KEY" => EcPrivateKey::from_sec1_der(&der).map(PrivateKey::Ec),
            _ => continue,
        };
        terminal::refuse_exposed(path, &file)?;
        return key.with_context(|| format!("{}", path.display()));
    }
    Err(no_key(path).into())
}

fn no_key(path: &Path) -> Failure {
    Failure::new(format!("{} holds no private key", path.display())).hint(
        "it takes a PEM file with a block \"PRIVATE KEY\", \"RSA PRIVATE KEY\" or \"EC PRIVATE KEY\"",
    )
}

fn encrypted_key(path: &Path) -> Failure {
    let file = quote(&path.display().to_string());
    Failure::new(format!("the key in {} is encrypted", path.display())).hint(format!(
        "(umask 077; openssl pkey -in {file} -out plain.key), import plain.key, and destroy it"
    ))
}

/// The templates of an imported key's two objects.
fn templates(key: &PrivateKey, label: &str, id: &[u8]) -> Result<(Attributes, Attributes)> {
    let mut public = key_template(label, id);
    let mut private = key_template(label, id);
    public.set(CKA_CLASS, CKO_PUBLIC_KEY);
    public.set(CKA_PRIVATE, false);
    private.set(CKA_CLASS, CKO_PRIVATE_KEY);
    private.set(CKA_PRIVATE, true);
    private.set(CKA_SENSITIVE, true);
    private.set(CKA_EXTRACTABLE, false);
    match key {
        PrivateKey::Rsa(key) => {
            let parts = key.components()?;
            for template in [&mut public, &mut private] {
                template.set(CKA_KEY_TYPE, CKK_RSA);
                template.set(CKA_MODULUS, parts.modulus.clone());
                template.set(CKA_PUBLIC_EXPONENT, parts.public_exponent.clone());
            }
            private.set(CKA_PRIVATE_EXPONENT, parts.private_exponent.to_vec());
            if let Some(primes) = parts.primes {
                for (attribute, part) in [
                    (CKA_PRIME_1, primes.prime_1),
                    (CKA_PRIME_2, primes.prime_2),
                    (CKA_EXPONENT_1, primes.exponent_1),
                    (CKA_EXPONENT_2, primes.exponent_2),
                    (CKA_COEFFICIENT, primes.coefficient),
                ] {
                    private.set(attribute, part.to_vec());
                }
            }
        }
        PrivateKey::Ec(key) => {
            for template in [&mut public, &mut private] {
                template.set(CKA_KEY_TYPE, CKK_EC);
                template.set(CKA_EC_PARAMS, key.curve().oid_der());
            }
            public.set(CKA_EC_POINT, key.public().point());
            private.set(CKA_VALUE, key.scalar().to_vec());
        }
    }
    Ok((public, private))
}
