//! `keyward key`: the keys of a token.

mod import;
mod retire;
mod rotate;
mod view;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use cryptoki_sys::*;
use keyward_crypto::ec::Curve;
use keyward_token::Attributes;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, DestroyObject, GenerateKeyPair, SetAttributes};

use self::import::Import;
use self::retire::Retire;
use self::rotate::Rotate;
use self::view::KeyView;
use crate::admin::{Admin, AdminArgs};
use crate::catalogue::{Catalogue, Object, Stages};
use crate::commands::cert::CertificateView;
use crate::failure::Failure;
use crate::output::{self, Table, hex};
use crate::selector::{Id, Selector};
use crate::terminal::{self, quote};

/// The keys of a token
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Make a key pair in a token
    #[command(
        after_long_help = "Example:\n  keyward key generate --token node1 --type ec:p256 --label node1"
    )]
    Generate(Generate),
    /// List the keys of a token, with their certificates
    #[command(after_long_help = "Example:\n  keyward key list --token node1")]
    List(List),
    /// Show a key
    #[command(
        after_long_help = "Examples:\n  keyward key show --token node1 node1\n  keyward key show 'pkcs11:token=node1;object=node1'"
    )]
    Show(Show),
    /// Bring a private key from a file into a token
    #[command(
        after_long_help = "Example:\n  keyward key import --token node1 --label node1 node1.key"
    )]
    Import(Import),
    /// Give a key and its certificate another label (a JVM's alias)
    #[command(after_long_help = "Example:\n  keyward key rename --token node1 node1 node1-2027")]
    Rename(Rename),
    /// Put another key and certificate in a key's place; the old key stays usable until it is retired
    #[command(
        after_long_help = "Examples:\n  keyward key rotate --token node1 node1 --out node1.csr\n  keyward key rotate --token node1 node1 --certificate node1-chain.pem\n  keyward key rotate --token node1 node1 --ca ca.pem --ca-key ca.key --days 90"
    )]
    Rotate(Rotate),
    /// Destroy the keys in whose place another was put
    #[command(after_long_help = "Example:\n  keyward key retire --token node1 node1 --after 24h")]
    Retire(Retire),
    /// Destroy a key
    #[command(after_long_help = "Example:\n  keyward key delete --token node1 node1-2026")]
    Delete(Delete),
}

impl KeyCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What the service said, or what is wrong with the input.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Generate(args) => args.run(),
            Self::List(args) => args.run(),
            Self::Show(args) => args.run(),
            Self::Import(args) => args.run(),
            Self::Rename(args) => args.run(),
            Self::Rotate(args) => args.run(),
            Self::Retire(args) => args.run(),
            Self::Delete(args) => args.run(),
        }
    }
}

/// The kind of a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA with a modulus of so many bits.
    Rsa(u64),
    /// On a curve.
    Ec(Curve),
}

impl FromStr for KeyType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "rsa:2048" => Ok(Self::Rsa(2048)),
            "rsa:3072" => Ok(Self::Rsa(3072)),
            "rsa:4096" => Ok(Self::Rsa(4096)),
            "ec:p256" => Ok(Self::Ec(Curve::P256)),
            "ec:p384" => Ok(Self::Ec(Curve::P384)),
            "ec:p521" => Ok(Self::Ec(Curve::P521)),
            _ => {
                Err("a key is rsa:2048, rsa:3072, rsa:4096, ec:p256, ec:p384 or ec:p521".to_owned())
            }
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "rsa:{bits}"),
            Self::Ec(curve) => write!(f, "ec:{}", crate::catalogue::curve_name(*curve)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

/// `keyward key generate`.
#[derive(Args, Debug)]
pub struct Generate {
    /// The token's label
    #[arg(long)]
    token: String,
    /// rsa:2048, rsa:3072, rsa:4096, ec:p256, ec:p384 or ec:p521
    #[arg(long = "type", value_name = "TYPE")]
    key_type: KeyType,
    /// The key's label
    #[arg(long)]
    label: String,
    /// CKA_ID: hexadecimal digits or text [default: 8 random bytes]
    #[arg(long)]
    id: Option<Id>,
    /// CKA_EXTRACTABLE of the key; it stays sensitive, and no command takes it out
    #[arg(
        long,
        value_enum,
        default_value = "no",
        value_name = "yes|no",
        hide_possible_values = true
    )]
    extractable: YesNo,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Generate {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &self.token)?;
        let id = new_id(&catalogue, &self.label, self.id)?;
        let pair = NewPair {
            key_type: self.key_type,
            label: &self.label,
            id: &id,
            extractable: self.extractable == YesNo::Yes,
            successor_of: "",
        };
        let (public, private) = pair.generate(&admin, &self.token)?;
        let view = KeyView::new(&self.token, &private, Some(&public), Vec::new());
        if self.json { output::json(&view) } else { view.print() }
    }
}

/// A key pair that is to be made.
struct NewPair<'a> {
    key_type: KeyType,
    label: &'a str,
    id: &'a [u8],
    extractable: bool,
    /// CKA_UNIQUE_ID of the key whose place it is to take; empty: of none.
    successor_of: &'a str,
}

impl NewPair<'_> {
    /// Has it made: the public half and the private one.
    fn generate(&self, admin: &Admin, token: &str) -> Result<(Object, Object)> {
        let mut public = key_template(self.label, self.id);
        let mut private = key_template(self.label, self.id);
        let mechanism = match self.key_type {
            KeyType::Rsa(bits) => {
                public.set(CKA_MODULUS_BITS, bits);
                CKM_RSA_PKCS_KEY_PAIR_GEN
            }
            KeyType::Ec(curve) => {
                public.set(CKA_EC_PARAMS, curve.oid_der());
                CKM_EC_KEY_PAIR_GEN
            }
        };
        public.set(CKA_PRIVATE, false);
        private.set(CKA_PRIVATE, true);
        private.set(CKA_SENSITIVE, true);
        private.set(CKA_EXTRACTABLE, self.extractable);
        let operation = Operation::GenerateKeyPair(GenerateKeyPair {
            mechanism,
            public_template: (&public).into(),
            private_template: (&private).into(),
            successor_of: self.successor_of.to_owned(),
        });
        let pair = admin.one(token, operation, |answer| match answer {
            Answer::KeyPair(pair) => Some(pair),
            _ => None,
        })?;
        let object = |object: Option<wire::Object>| {
            Object::try_from(object.context("the service gave half a key pair")?)
        };
        Ok((object(pair.public_key)?, object(pair.private_key)?))
    }
}

/// `keyward key list`.
#[derive(Args, Debug)]
pub struct List {
    /// The token's label
    #[arg(long)]
    token: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl List {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let stages = Stages::load(&admin, &self.token)?;
        let keys: Vec<_> = [&stages.current, &stages.pending, &stages.superseded]
            .into_iter()
            .flat_map(|catalogue| {
                let view = |key| KeyView::of(catalogue, &self.token, key);
                catalogue.keys().into_iter().map(view).collect::<Vec<_>>()
            })
            .collect();
        if self.json {
            output::json(&keys)?;
        } else {
            let mut table = Table::new(["KEY", "TYPE", "ID", "STATE", "CERTIFICATE", "EXPIRES"]);
            for key in &keys {
                let certificate = key.certificates.first();
                table.row([
                    key.name.clone(),
                    key.key_type.clone(),
                    key.id.clone(),
                    key.state(),
                    certificate.map_or_else(|| "none".to_owned(), |it| it.subject.clone()),
                    certificate.map(CertificateView::expiry).unwrap_or_default(),
                ]);
            }
            table.print(&format!("token {:?} has no key", self.token))?;
        }
        warn_of_several(&stages.current, &self.token);
        Ok(())
    }
}

/// `keyward key show`.
#[derive(Args, Debug)]
pub struct Show {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// The key's label, or its pkcs11: URI
    label: Option<String>,
    /// The key's CKA_ID: hexadecimal digits or text
    #[arg(long)]
    id: Option<Id>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Show {
    fn run(self) -> Result<()> {
        let selector = Selector::new(self.label.as_deref(), self.id.as_ref())?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let stages = Stages::load(&admin, &token)?;
        // A key that is not current is meant only if no current one is.
        let (catalogue, key) = [&stages.pending, &stages.superseded]
            .into_iter()
            .filter(|_| !stages.current.has_key(&selector))
            .find(|catalogue| catalogue.has_key(&selector))
            .map_or((&stages.current, stages.current.key(&selector)), |catalogue| {
                (catalogue, catalogue.key(&selector))
            });
        let view = KeyView::of(catalogue, &token, key?);
        if self.json {
            output::json(&view)?;
        } else {
            view.print()?;
        }
        warn_of_several(&stages.current, &token);
        Ok(())
    }
}

/// `keyward key rename`.
#[derive(Args, Debug)]
pub struct Rename {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// The key's label, or its pkcs11: URI
    from: String,
    /// The new label
    to: String,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Rename {
    fn run(self) -> Result<()> {
        let selector = Selector::new(Some(&self.from), None)?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &token)?;
        let key = catalogue.key(&selector)?;
        refuse_label(&catalogue, &self.to)?;
        let mut template = Attributes::new();
        template.set(CKA_LABEL, self.to.as_bytes());
        let certificates = catalogue.certificates_of(key);
        let objects = [Some(key), catalogue.public_of(key)]
            .into_iter()
            .flatten()
            .chain(certificates.iter().map(|entry| &entry.object));
        for object in objects {
            let operation = Operation::SetAttributes(SetAttributes {
                object: Some(wire_key(object)),
                template: (&template).into(),
            });
            admin.done(&token, operation)?;
        }
        terminal::note(&format!("key {:?} is now {:?}", catalogue.name(key), self.to));
        Ok(())
    }
}

/// `keyward key delete`.
#[derive(Args, Debug)]
pub struct Delete {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// The key's label, or its pkcs11: URI
    label: Option<String>,
    /// The key's CKA_ID: hexadecimal digits or text
    #[arg(long)]
    id: Option<Id>,
    /// Keep the key's certificates
    #[arg(long)]
    keep_certificates: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Delete {
    fn run(self) -> Result<()> {
        let selector = Selector::new(self.label.as_deref(), self.id.as_ref())?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &token)?;
        let key = catalogue.key(&selector)?;
        let certificates = match self.keep_certificates {
            true => Vec::new(),
            false => catalogue.certificates_of(key),
        };
        let question = format!(
            "Destroy key {:?} of token {:?}{}? It cannot be brought back.",
            catalogue.name(key),
            token,
            match certificates.len() {
                0 => String::new(),
                1 => " and its certificate".to_owned(),
                count => format!(" and its {count} certificates"),
            }
        );
        terminal::confirm(&question, self.yes)?;
        // The private key goes first: a certificate without its key hurts
        // nobody, the reverse neither, and a repeat finds what is left.
        let objects = [Some(key), catalogue.public_of(key)]
            .into_iter()
            .flatten()
            .chain(certificates.iter().map(|entry| &entry.object));
        for object in objects {
            let unique_id = object.unique_id.clone();
            admin.done(&token, Operation::DestroyObject(DestroyObject { unique_id }))?;
        }
        terminal::note(&format!("key {:?} of token {token:?} is destroyed", catalogue.name(key)));
        Ok(())
    }
}

/// How a request names an object of a token.
pub fn wire_key(object: &Object) -> wire::Key {
    wire::Key { key: Some(wire::key::Key::UniqueId(object.unique_id.clone())) }
}

/// Warns when a JVM could take the wrong key: JSSE takes any that fits.
fn warn_of_several(catalogue: &Catalogue, token: &str) {
    let usable =
        catalogue.keys().iter().filter(|key| !catalogue.certificates_of(key).is_empty()).count();
    if usable > 1 {
        terminal::warning(&format!(
            "{usable} keys of token {token:?} have certificates; a JVM takes any of them that fits"
        ));
        terminal::hint("give each node a token of its own with one key in it");
    }
    for key in catalogue.keys() {
        if catalogue.certificates_of(key).len() > 1 {
            terminal::warning(&format!(
                "key {:?} has several certificates; a JVM gives such an entry another alias",
                catalogue.name(key)
            ));
            terminal::hint(&format!(
                "keyward cert list --token {}, then keyward cert delete",
                quote(token)
            ));
        }
    }
}

fn refuse_label(catalogue: &Catalogue, label: &str) -> Result<()> {
    if catalogue.keys().iter().any(|key| catalogue.name(key) == label) {
        return Err(Failure::new(format!("there is a key {label:?} in the token already"))
            .hint("a label is a JVM's alias and should be given once")
            .into());
    }
    Ok(())
}

/// The CKA_ID of a new key: what was asked for if no other key has it.
fn new_id(catalogue: &Catalogue, label: &str, id: Option<Id>) -> Result<Vec<u8>> {
    refuse_label(catalogue, label)?;
    let Some(Id(id)) = id else {
        return Ok(keyward_crypto::random::bytes::<8>().to_vec());
    };
    if catalogue.keys().iter().any(|key| key.id() == id) {
        return Err(Failure::new(format!("a key of the token has the id 0x{} already", hex(&id)))
            .hint("a JVM cannot load a keystore where two keys share an id; leave out --id")
            .into());
    }
    Ok(id)
}

fn key_template(label: &str, id: &[u8]) -> Attributes {
    let mut template = Attributes::new();
    template.set(CKA_TOKEN, true);
    template.set(CKA_LABEL, label.as_bytes());
    template.set(CKA_ID, id);
    template
}
