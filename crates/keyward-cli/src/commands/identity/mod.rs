//! `keyward identity`: who may use which tokens.

mod renew;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use keyward_crypto::ec::{Curve, EcPrivateKey, signature_to_der};
use keyward_service::bundle::{Bundle, Slot, SlotLogin, Written};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{
    CreateIdentity, Grant, Identity, IdentityResult, ListIdentities, LoginMode, RevokeIdentity,
};
use serde::Serialize;
use zeroize::Zeroizing;

use self::renew::Renew;
use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{self, Table, moment, yes_no};
use crate::terminal::{self, quote};
use crate::x509::certificate::to_pem;
use crate::x509::name::Subject;
use crate::x509::request::{Algorithm, CertificateRequest};

/// Who may use which tokens
#[derive(Subcommand, Debug)]
pub enum IdentityCommand {
    /// Make an identity and the folder that its machine needs
    #[command(
        after_long_help = "Examples:\n  keyward identity create node1 --token node1:ro --out node1\n  keyward identity create ops --administrator --out ops"
    )]
    Create(Create),
    /// List the identities
    #[command(after_long_help = "Example:\n  keyward identity list")]
    List(List),
    /// Show an identity
    #[command(after_long_help = "Example:\n  keyward identity show node1")]
    Show(Show),
    /// Give an identity a new certificate and key; it stays who it is
    #[command(
        after_long_help = "On the identity's machine, for itself, in place; a running JVM goes on:\n  keyward identity renew --config /etc/keyward/client.toml\n\nAnywhere, by an administrator (the only way once the certificate has expired):\n  keyward identity renew node1 --out node1-new\n\nEarlier certificates stay good until they expire, unless --revoke-old.\n\nExample:\n  keyward identity renew --config /etc/keyward/client.toml --revoke-old"
    )]
    Renew(Renew),
    /// Shut an identity out for good; its open connections end too
    #[command(after_long_help = "Example:\n  keyward identity revoke node1")]
    Revoke(Revoke),
}

impl IdentityCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What the service said, or what is wrong with the input.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Create(args) => args.run(),
            Self::List(args) => args.run(),
            Self::Show(args) => args.run(),
            Self::Renew(args) => args.run(),
            Self::Revoke(args) => args.run(),
        }
    }
}

/// A token that an identity may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// The token's label.
    pub token: String,
    /// It may not be changed.
    pub read_only: bool,
}

/// "LABEL" or "LABEL:ro".
impl FromStr for TokenGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (token, read_only) = match text.rsplit_once(':') {
            Some((token, "ro")) => (token, true),
            Some((token, "rw")) => (token, false),
            _ => (text, false),
        };
        if token.is_empty() {
            return Err("no token is named".to_owned());
        }
        Ok(Self { token: token.to_owned(), read_only })
    }
}

/// How much of a token the module shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileArg {
    /// Everything
    Full,
    /// What a JVM needs for TLS
    Tls,
}

impl ProfileArg {
    /// As client.toml has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Tls => "tls",
        }
    }
}

/// `keyward identity create`.
#[derive(Args, Debug)]
pub struct Create {
    /// The identity's name
    name: String,
    /// A token that it may use; with ":ro" it may not change the token
    #[arg(long = "token", value_name = "LABEL[:ro]")]
    grants: Vec<TokenGrant>,
    /// It may administer the service
    #[arg(long)]
    administrator: bool,
    /// The folder to make, with client.toml and what belongs to it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where its machine reaches the service [default: as the administrator does]
    #[arg(long = "endpoint", value_name = "IP:PORT")]
    endpoints: Vec<String>,
    /// The name in the service's certificate [default: as the administrator's]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// How much of a token the module shows
    #[arg(long, value_enum, default_value = "full")]
    profile: ProfileArg,
    /// How long the certificate is good for
    #[arg(long, value_name = "DAYS", default_value = "365", value_parser = clap::value_parser!(u32).range(1..))]
    valid_days: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Create {
    fn run(self) -> Result<()> {
        if self.grants.is_empty() && !self.administrator {
            return Err(Failure::usage("the identity may do nothing")
                .hint("give it a --token, or --administrator")
                .into());
        }
        let admin = Admin::open(&self.admin)?;
        let order = Order {
            name: &self.name,
            grants: &self.grants,
            administrator: self.administrator,
            valid_days: self.valid_days,
            endpoints: &self.endpoints,
            server_name: self.server_name.as_deref(),
            profile: self.profile,
        };
        let (identity, written) = order.carry_out(&admin, &self.out)?;
        if self.json {
            return output::json(&Made {
                identity: IdentityView::of(&identity),
                config: written.config.display().to_string(),
                authority: written.authority.display().to_string(),
                certificate: written.certificate.display().to_string(),
                private_key: written.private_key.display().to_string(),
            });
        }
        terminal::note(&format!(
            "made identity {:?} in {}; its certificate expires {}",
            identity.name,
            self.out.display(),
            output::day(&moment(identity.certificate_expires))
        ));
        terminal::hint(&match self.administrator {
            false => format!(
                "bring the folder to its machine and let KEYWARD_CONFIG name its client.toml there; \
                 here it is KEYWARD_CONFIG={}",
                absolute(&written.config)
            ),
            true => format!("use it by --admin {}", absolute(&written.config)),
        });
        Ok(())
    }
}

/// An identity that is to be made.
pub struct Order<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its tokens.
    pub grants: &'a [TokenGrant],
    /// Whether it may administer.
    pub administrator: bool,
    /// The life of its certificate.
    pub valid_days: u32,
    /// Empty: those of the administrator.
    pub endpoints: &'a [String],
    /// `None`: that of the administrator.
    pub server_name: Option<&'a str>,
    /// For its client.toml.
    pub profile: ProfileArg,
}

impl Order<'_> {
    /// Makes the identity and its folder. The key is made here and does not
    /// leave the folder.
    ///
    /// # Errors
    /// If the folder is not empty, a token is not there, and as [`Admin::call`].
    pub fn carry_out(&self, admin: &Admin, folder: &Path) -> Result<(Identity, Written)> {
        refuse_occupied(folder)?;
        let slots = self.slots(admin)?;
        let key = EcPrivateKey::generate(Curve::P256)?;
        let result = self.create(admin, &key)?;
        let identity = result.identity.context("the service gave no identity")?;
        let private_key = Zeroizing::new(to_pem("PRIVATE KEY", &key.to_pkcs8_der()));
        let endpoints = match self.endpoints {
            [] => admin.config().endpoints.as_slice(),
            endpoints => endpoints,
        };
        let written = Bundle {
            endpoints,
            server_name: self.server_name.unwrap_or(&admin.config().server_name),
            slots: &slots,
            profile: self.profile.name(),
            authority: &result.authority,
            certificate: &result.certificate,
            private_key: &private_key,
        }
        .write(folder)
        .map_err(|error| {
            Failure::from_error(&error).hint(format!(
                "the identity is made, but its key is lost: keyward identity revoke {}",
                quote(self.name)
            ))
        })?;
        Ok((identity, written))
    }

    /// One slot for each token, opened as the token is.
    fn slots(&self, admin: &Admin) -> Result<Vec<Slot>> {
        self.grants
            .iter()
            .map(|grant| {
                let token = admin.token(&grant.token)?;
                Ok(Slot {
                    token: grant.token.clone(),
                    login: match token.login_mode() {
                        LoginMode::Certificate => SlotLogin::Certificate,
                        _ => SlotLogin::Pin,
                    },
                    writable: !grant.read_only,
                })
            })
            .collect()
    }

    fn create(&self, admin: &Admin, key: &EcPrivateKey) -> Result<IdentityResult> {
        let certificate_request = certificate_request(key, self.name)?;
        let grant =
            |grant: &TokenGrant| Grant { token: grant.token.clone(), read_only: grant.read_only };
        let operation = Operation::CreateIdentity(CreateIdentity {
            name: self.name.to_owned(),
            grants: self.grants.iter().map(grant).collect(),
            administrator: self.administrator,
            certificate_request,
            valid_days: self.valid_days,
        });
        admin.one("", operation, |answer| match answer {
            Answer::Identity(identity) => Some(identity),
            _ => None,
        })
    }
}

/// A certificate request (PKCS#10, DER) for a key on P-256.
fn certificate_request(key: &EcPrivateKey, name: &str) -> Result<Vec<u8>> {
    let subject = Subject::common_name(name);
    let request = CertificateRequest {
        subject: subject.der(),
        other_names: &[],
        public_key_info: &key.public().spki_der(),
    };
    request.sign(Algorithm::ecdsa(Curve::P256), |digest| Ok(signature_to_der(&key.sign(digest)?)?))
}

/// A path from the root, as a word for a shell.
fn absolute(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    quote(&path.display().to_string())
}

fn refuse_occupied(folder: &Path) -> Result<()> {
    let occupied = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || folder.is_file() {
        return Err(Failure::new(format!("{} is not empty", folder.display()))
            .hint("name a folder that is not there yet; nothing is written over")
            .into());
    }
    Ok(())
}

/// `keyward identity list`.
#[derive(Args, Debug)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl List {
    fn run(self) -> Result<()> {
        let identities = identities(&Admin::open(&self.admin)?)?;
        if self.json {
            return output::json(&identities);
        }
        let mut table = Table::new(["IDENTITY", "TOKENS", "ADMIN", "CONNECTIONS", "EXPIRES"]);
        for identity in &identities {
            table.row([
                identity.name.clone(),
                identity.grants_told(),
                yes_no(identity.administrator).to_owned(),
                identity.connections.to_string(),
                identity.expiry_told(),
            ]);
        }
        table.print("there is no identity")
    }
}

/// `keyward identity show`.
#[derive(Args, Debug)]
pub struct Show {
    /// The identity's name
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Show {
    fn run(self) -> Result<()> {
        let identity = identity(&Admin::open(&self.admin)?, &self.name)?;
        if self.json {
            return output::json(&identity);
        }
        output::pairs(&[
            ("Identity", identity.name.clone()),
            ("Tokens", identity.grants_told()),
            ("Administrator", yes_no(identity.administrator).to_owned()),
            ("Revoked", yes_no(identity.revoked).to_owned()),
            ("Created", identity.created.clone()),
            ("Certificate expires", identity.certificate_expires.clone()),
            ("Connections", identity.connections.to_string()),
        ])
    }
}

/// `keyward identity revoke`.
#[derive(Args, Debug)]
pub struct Revoke {
    /// The identity's name
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Revoke {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let identity = identity(&admin, &self.name)?;
        if identity.revoked {
            terminal::note(&format!("identity {:?} is revoked already", self.name));
            return Ok(());
        }
        let question = format!(
            "Revoke identity {:?}? {} It cannot be brought back.",
            self.name,
            match identity.connections {
                0 => "It has no connection now.".to_owned(),
                1 => "Its open connection ends now.".to_owned(),
                count => format!("Its {count} open connections end now."),
            }
        );
        terminal::confirm(&question, self.yes)?;
        let name = self.name.clone();
        admin.done("", Operation::RevokeIdentity(RevokeIdentity { name }))?;
        terminal::note(&format!("identity {:?} is revoked", self.name));
        Ok(())
    }
}

fn identities(admin: &Admin) -> Result<Vec<IdentityView>> {
    let mut identities = Vec::new();
    for answer in admin.call("", Operation::ListIdentities(ListIdentities {}))? {
        if let Answer::Identities(list) = answer {
            identities.extend(list.identities.iter().map(IdentityView::of));
        }
    }
    identities.sort_by_cached_key(IdentityView::order);
    Ok(identities)
}

/// Whether there is an identity of this name, revoked or not.
///
/// # Errors
/// As [`Admin::call`].
pub fn exists(admin: &Admin, name: &str) -> Result<bool> {
    Ok(identities(admin)?.iter().any(|identity| identity.name == name))
}

/// The identity of this name that is not revoked; if there is none, the one
/// that was revoked last.
fn identity(admin: &Admin, name: &str) -> Result<IdentityView> {
    // Of one name the living one comes last.
    let last = identities(admin)?.into_iter().rfind(|identity| identity.name == name);
    last.ok_or_else(|| {
        Failure::new(format!("there is no identity {name:?}"))
            .hint("`keyward identity list` shows them")
            .into()
    })
}

/// What `identity create --json` shows.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    identity: IdentityView,
    config: String,
    authority: String,
    certificate: String,
    private_key: String,
}

/// An identity as `--json` shows it.
#[derive(Serialize)]
struct IdentityView {
    name: String,
    grants: Vec<GrantView>,
    administrator: bool,
    revoked: bool,
    created: String,
    certificate_expires: String,
    connections: u32,
}

#[derive(Serialize)]
struct GrantView {
    token: String,
    read_only: bool,
}

impl IdentityView {
    fn of(identity: &Identity) -> Self {
        let grant =
            |grant: &Grant| GrantView { token: grant.token.clone(), read_only: grant.read_only };
        Self {
            name: identity.name.clone(),
            grants: identity.grants.iter().map(grant).collect(),
            administrator: identity.administrator,
            revoked: identity.revoked,
            created: moment(identity.created),
            certificate_expires: moment(identity.certificate_expires),
            connections: identity.connections,
        }
    }

    /// By name; of one name the revoked ones first, by age.
    fn order(&self) -> (String, bool, String) {
        (self.name.clone(), !self.revoked, self.created.clone())
    }

    fn grants_told(&self) -> String {
        let told: Vec<_> = self
            .grants
            .iter()
            .map(|grant| match grant.read_only {
                true => format!("{} (read only)", grant.token),
                false => grant.token.clone(),
            })
            .collect();
        match told.as_slice() {
            [] => "-".to_owned(),
            told => told.join(", "),
        }
    }

    fn expiry_told(&self) -> String {
        match self.revoked {
            true => "(revoked)".to_owned(),
            false => output::day(&self.certificate_expires).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_may_be_read_only_and_a_label_may_have_colons() {
        for (text, token, read_only) in
            [("a", "a", false), ("a:ro", "a", true), ("a:b", "a:b", false), ("a:b:ro", "a:b", true)]
        {
            assert_eq!(text.parse(), Ok(TokenGrant { token: token.to_owned(), read_only }));
        }
        assert!(":ro".parse::<TokenGrant>().is_err());
    }
}
