//! `keyward token`: tokens and their PINs.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use keyward_token::mechanism;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{
    CreateToken, DeleteToken, InitPin, LoginMode, PinCount, PinState, Policy, SetPin, SetPolicy,
    TokenInfo, UnlockToken, UserType,
};
use serde::Serialize;

use super::attach::Attach;
use crate::admin::{Admin, AdminArgs};
use crate::output::{self, Table, moment, yes_no};
use crate::terminal::{self, PinSource, quote};

/// Tokens and their PINs
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a token
    #[command(after_long_help = "Example:\n  keyward token create --label node1")]
    Create(Create),
    /// List the tokens
    #[command(after_long_help = "Example:\n  keyward token list --json")]
    List(List),
    /// Show a token
    #[command(after_long_help = "Example:\n  keyward token show node1")]
    Show(Show),
    /// Change a PIN, or set a new user PIN where the old one is lost
    #[command(
        after_long_help = "Logins with the old PIN end, those of running JVMs too. `keyward token unlock` lets in\nwho is locked out without that.\n\nExamples:\n  keyward token set-pin node1\n  keyward token set-pin node1 --reset"
    )]
    SetPin(SetPinArgs),
    /// Forget wrong PINs, and let in again who is locked out; logins go on
    #[command(
        after_long_help = "PINs stay as they are, and so do logins: a running JVM does not notice.\n\nExamples:\n  keyward token unlock node1\n  keyward token unlock node1 --identity node1"
    )]
    Unlock(Unlock),
    /// Choose which mechanisms and keys a token offers
    #[command(
        after_long_help = "What the new policy leaves out is refused from now on; nothing is destroyed, and a running\nprogram sees the new list of mechanisms when it asks the next time.\n\nExamples:\n  keyward token set-policy node1 fips\n  keyward token set-policy node1 default"
    )]
    SetPolicy(SetPolicyArgs),
    /// Make the keys that an HSM has already a token's
    #[command(
        after_long_help = "The token is one that was made with --hsm. The keys stay where they are; their certificates\nare copied into the token. Without a key and without --all it shows what there is.\n\nExamples:\n  keyward token attach node1\n  keyward token attach node1 node1-key\n  keyward token attach node1 --all"
    )]
    Attach(Attach),
    /// Destroy a token with everything in it
    #[command(after_long_help = "Example:\n  keyward token delete node1")]
    Delete(Delete),
}

impl TokenCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What the service said, or what is wrong with the input.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Create(args) => args.run(),
            Self::List(args) => args.run(),
            Self::Show(args) => args.run(),
            Self::SetPin(args) => args.run(),
            Self::Unlock(args) => args.run(),
            Self::SetPolicy(args) => args.run(),
            Self::Attach(args) => args.run(),
            Self::Delete(args) => args.run(),
        }
    }
}

/// How a token is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoginArg {
    /// By its user PIN (the keystore password of a JVM)
    Pin,
    /// By the identity's certificate alone, without a PIN
    Certificate,
}

impl From<LoginArg> for LoginMode {
    fn from(login: LoginArg) -> Self {
        match login {
            LoginArg::Pin => Self::Pin,
            LoginArg::Certificate => Self::Certificate,
        }
    }
}

/// What a token offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// What is sound, and SHA-1 for those who still need it
    Default,
    /// What NIST approves: no signatures with SHA-1, no encryption by PKCS#1 v1.5, nothing below
    /// 112 bits
    Fips,
    /// Old things too, for old programs and for test suites: MD5, Triple DES, DSA, Diffie-Hellman,
    /// RSA from 512 bits, elliptic curves from 160
    Compat,
}

impl From<PolicyArg> for Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Default => Self::Default,
            PolicyArg::Fips => Self::Fips,
            PolicyArg::Compat => Self::Compat,
        }
    }
}

/// `keyward token create`.
#[derive(Args, Debug)]
pub struct Create {
    /// The token's label, up to 32 bytes
    #[arg(long)]
    label: String,
    /// What opens the token
    #[arg(long, value_enum, default_value = "pin")]
    login: LoginArg,
    /// Which mechanisms and keys the token offers
    #[arg(long, value_enum, default_value = "default")]
    policy: PolicyArg,
    /// The HSM that its private and secret keys are to be in, as the service's configuration calls
    /// it
    #[arg(long, value_name = "NAME")]
    hsm: Option<String>,
    /// The security officer's PIN; better given by file, KEYWARD_SO_PIN or on the terminal
    #[arg(long, value_name = "PIN")]
    so_pin: Option<String>,
    /// A file with the security officer's PIN ("-": standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "so_pin")]
    so_pin_file: Option<PathBuf>,
    /// The user PIN; better given by file, KEYWARD_PIN or on the terminal
    #[arg(long, value_name = "PIN")]
    pin: Option<String>,
    /// A file with the user PIN ("-": standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    pin_file: Option<PathBuf>,
    /// Leave the user PIN for C_InitPIN or `keyward token set-pin --reset`
    #[arg(long, conflicts_with_all = ["pin", "pin_file"])]
    no_pin: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Create {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let so_pin = PinSource {
            name: "SO PIN",
            flag: ("--so-pin", self.so_pin.as_deref()),
            file: ("--so-pin-file", self.so_pin_file.as_deref()),
            variable: Some("KEYWARD_SO_PIN"),
            twice: true,
        }
        .read()?;
        let user_pin = match self.login {
            LoginArg::Pin if !self.no_pin => PinSource {
                name: "user PIN",
                flag: ("--pin", self.pin.as_deref()),
                file: ("--pin-file", self.pin_file.as_deref()),
                variable: Some("KEYWARD_PIN"),
                twice: true,
            }
            .read()?
            .as_bytes()
            .to_vec(),
            _ => Vec::new(),
        };
        let token = create(
            &admin,
            CreateToken {
                label: self.label,
                login_mode: LoginMode::from(self.login).into(),
                so_pin: so_pin.as_bytes().to_vec(),
                user_pin,
                policy: Policy::from(self.policy).into(),
                hsm: self.hsm.unwrap_or_default(),
            },
        )?;
        if self.json {
            return output::json(&TokenView::of(&token));
        }
        terminal::note(&format!(
            "made token {:?} with serial number {}",
            token.label, token.serial
        ));
        Ok(())
    }
}

/// Makes a token.
///
/// # Errors
/// As [`Admin::call`].
pub fn create(admin: &Admin, token: CreateToken) -> Result<TokenInfo> {
    let operation = Operation::CreateToken(token);
    admin.one("", operation, |answer| match answer {
        Answer::Token(token) => Some(token),
        _ => None,
    })
}

/// `keyward token list`.
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
        let tokens: Vec<_> =
            Admin::open(&self.admin)?.tokens()?.iter().map(TokenView::of).collect();
        if self.json {
            return output::json(&tokens);
        }
        let mut table = Table::new([
            "TOKEN",
            "LOGIN",
            "USER PIN",
            "SO PIN",
            "LOCKED OUT",
            "OBJECTS",
            "CREATED",
        ]);
        for token in &tokens {
            table.row([
                token.label.clone(),
                token.login.to_owned(),
                token.user_pin_told(),
                told(token.so_pin).to_owned(),
                token.locked_told(),
                token.objects.to_string(),
                output::day(&token.created).to_owned(),
            ]);
        }
        table.print("there is no token yet; `keyward token create --label LABEL` makes one")
    }
}

/// `keyward token show`.
#[derive(Args, Debug)]
pub struct Show {
    /// The token's label
    label: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Show {
    fn run(self) -> Result<()> {
        let token = TokenView::of(&Admin::open(&self.admin)?.token(&self.label)?);
        if self.json {
            return output::json(&token);
        }
        let mut pairs = vec![
            ("Token", token.label.clone()),
            ("Serial number", token.serial.clone()),
            ("Login", token.login.to_owned()),
            ("Policy", token.policy.to_owned()),
            ("Keys", token.keys_told()),
            ("User PIN", token.user_pin_told()),
            ("SO PIN", told(token.so_pin).to_owned()),
            ("Read only", yes_no(token.read_only).to_owned()),
            ("Objects", token.objects.to_string()),
            ("Created", token.created.clone()),
        ];
        if !token.shown_label.is_empty() {
            pairs.insert(1, ("Hosts see", token.shown_label.clone()));
        }
        pairs.extend(token.wrong_pins.iter().map(|wrong| ("Wrong PINs", wrong.told())));
        output::pairs(&pairs)?;
        if token.wrong_pins.iter().any(|wrong| wrong.locked) {
            let label = quote(&token.label);
            terminal::hint(&format!(
                "keyward token unlock {label}, once the right PIN is in place"
            ));
        }
        Ok(())
    }
}

/// `keyward token set-pin`.
#[derive(Args, Debug)]
pub struct SetPinArgs {
    /// The token's label
    label: String,
    /// Change the security officer's PIN instead of the user's
    #[arg(long)]
    so: bool,
    /// Set a new user PIN without the old one
    #[arg(long, conflicts_with_all = ["so", "old_pin_file"])]
    reset: bool,
    /// A file with the PIN as it is now
    #[arg(long, value_name = "FILE")]
    old_pin_file: Option<PathBuf>,
    /// A file with the new PIN
    #[arg(long, value_name = "FILE")]
    new_pin_file: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

impl SetPinArgs {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let token = admin.token(&self.label)?;
        let (user_type, name) = if self.so {
            (UserType::SecurityOfficer, "SO PIN")
        } else {
            (UserType::User, "user PIN")
        };
        let source = |name, flag, file, twice| PinSource {
            name,
            flag: ("", None),
            file: (flag, file),
            variable: None,
            twice,
        };
        let old_name = format!("present {name}");
        let old = match self.reset {
            true => None,
            false => {
                let file = self.old_pin_file.as_deref();
                Some(source(&old_name, "--old-pin-file", file, false).read()?)
            }
        };
        let new_name = format!("new {name}");
        let new = source(&new_name, "--new-pin-file", self.new_pin_file.as_deref(), true).read()?;
        let new_pin = new.as_bytes().to_vec();
        let operation = match old {
            Some(old) => Operation::SetPin(SetPin {
                user_type: user_type.into(),
                old_pin: old.as_bytes().to_vec(),
                new_pin,
            }),
            None => Operation::InitPin(InitPin { new_pin }),
        };
        admin.done(&token.label, operation)?;
        terminal::note(&format!("the {name} of token {:?} is changed", token.label));
        if !self.so {
            terminal::hint(
                "logins with the old one have ended: restart the JVMs that use the token, or have \
                 them load their keystores anew",
            );
        }
        Ok(())
    }
}

/// `keyward token unlock`.
#[derive(Args, Debug)]
pub struct Unlock {
    /// The token's label
    label: String,
    /// Only this identity [default: all]
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Unlock {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let token = TokenView::of(&admin.token(&self.label)?);
        let identity = self.identity.clone().unwrap_or_default();
        admin.done(&token.label, Operation::UnlockToken(UnlockToken { identity }))?;
        let forgotten: Vec<_> = token
            .wrong_pins
            .iter()
            .filter(|wrong| self.identity.as_ref().is_none_or(|name| *name == wrong.identity))
            .map(WrongPins::told)
            .collect();
        terminal::note(&match forgotten.as_slice() {
            [] => format!("token {:?} has no wrong PINs to forget", token.label),
            told => format!("token {:?} has forgotten: {}", token.label, told.join("; ")),
        });
        Ok(())
    }
}

/// `keyward token set-policy`.
#[derive(Args, Debug)]
pub struct SetPolicyArgs {
    /// The token's label
    label: String,
    /// What it offers from now on
    #[arg(value_enum)]
    policy: PolicyArg,
    #[command(flatten)]
    admin: AdminArgs,
}

impl SetPolicyArgs {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let policy = Policy::from(self.policy);
        let operation = Operation::SetPolicy(SetPolicy { policy: policy.into() });
        admin.done(&self.label, operation)?;
        let name = mechanism::Policy::from(policy).name();
        terminal::note(&format!("token {:?} has the policy {name} now", self.label));
        Ok(())
    }
}

/// `keyward token delete`.
#[derive(Args, Debug)]
pub struct Delete {
    /// The token's label
    label: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Delete {
    fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let token = admin.token(&self.label)?;
        let question = format!(
            "Destroy token {:?}{}? Whoever uses it is cut off now; it cannot be brought back.",
            token.label,
            match token.objects {
                0 => String::new(),
                1 => " and the object in it".to_owned(),
                count => format!(" and the {count} objects in it"),
            }
        );
        terminal::confirm(&question, self.yes)?;
        admin.done(&token.label, Operation::DeleteToken(DeleteToken {}))?;
        terminal::note(&format!("token {:?} is destroyed", token.label));
        Ok(())
    }
}

/// A token as `--json` shows it.
#[derive(Serialize)]
struct TokenView {
    label: String,
    /// What a host named it in C_InitToken, and hosts see; empty: the label.
    shown_label: String,
    serial: String,
    login: &'static str,
    policy: &'static str,
    /// "software": the keys are in the store; "pkcs11": in an HSM.
    backend: &'static str,
    /// The HSM that its keys are in; empty: in the store.
    hsm: String,
    user_pin_initialized: bool,
    user_pin: &'static str,
    so_pin: &'static str,
    read_only: bool,
    objects: u64,
    created: String,
    /// Who has tried wrong PINs since the last right one.
    wrong_pins: Vec<WrongPins>,
}

/// Wrong PINs of an identity as `--json` shows them.
#[derive(Serialize)]
struct WrongPins {
    identity: String,
    /// "user" or "so".
    pin: &'static str,
    wrong: u32,
    locked: bool,
}

impl WrongPins {
    fn of(count: &PinCount) -> Self {
        Self {
            identity: count.identity.clone(),
            pin: match count.user_type() {
                UserType::SecurityOfficer => "so",
                _ => "user",
            },
            wrong: count.wrong,
            locked: count.locked,
        }
    }

    fn told(&self) -> String {
        let pin = match self.pin {
            "so" => "SO PIN",
            _ => "user PIN",
        };
        let locked = if self.locked { ", locked out" } else { "" };
        format!("{} wrong {pin}(s) of identity {:?}{locked}", self.wrong, self.identity)
    }
}

impl TokenView {
    fn of(token: &TokenInfo) -> Self {
        Self {
            label: token.label.clone(),
            shown_label: token.shown_label.clone(),
            serial: token.serial.clone(),
            policy: mechanism::Policy::from(token.policy()).name(),
            backend: if token.hsm.is_empty() { "software" } else { "pkcs11" },
            hsm: token.hsm.clone(),
            login: match token.login_mode() {
                LoginMode::Certificate => "certificate",
                _ => "pin",
            },
            user_pin_initialized: token.user_pin_initialized,
            user_pin: pin_state(token.user_pin()),
            so_pin: pin_state(token.so_pin()),
            read_only: token.read_only,
            objects: token.objects,
            created: moment(token.created),
            wrong_pins: token.pin_counts.iter().map(WrongPins::of).collect(),
        }
    }

    fn keys_told(&self) -> String {
        match self.hsm.as_str() {
            "" => "in the store".to_owned(),
            hsm => format!("in the HSM {hsm:?}"),
        }
    }

    /// Who is locked out.
    fn locked_told(&self) -> String {
        let locked = self.wrong_pins.iter().filter(|wrong| wrong.locked);
        let mut names: Vec<_> = locked.map(|wrong| wrong.identity.as_str()).collect();
        names.dedup();
        if names.is_empty() { "-".to_owned() } else { names.join(", ") }
    }

    fn user_pin_told(&self) -> String {
        match (self.login, self.user_pin_initialized) {
            ("pin", false) => "not set".to_owned(),
            ("certificate", false) => "none".to_owned(),
            _ => told(self.user_pin).to_owned(),
        }
    }
}

fn pin_state(state: PinState) -> &'static str {
    match state {
        PinState::Unspecified | PinState::Fine => "fine",
        PinState::CountLow => "count_low",
        PinState::FinalTry => "final_try",
        PinState::Locked => "locked",
    }
}

/// A PIN's state in words.
fn told(state: &'static str) -> &'static str {
    match state {
        "count_low" => "wrong tries",
        "final_try" => "one try left",
        other => other,
    }
}
