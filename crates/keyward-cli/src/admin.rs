//! The administrator's connection to the service.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::Args;
use clap::builder::OsStringValueParser;
use keyward_client::{Client, Config, StreamError};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{Backup, ErrorCode, Hello, HelloResult, ListTokens, Request, TokenInfo};

use crate::failure::Failure;

/// How the service is reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct AdminArgs {
    /// The administrator's client.toml
    // As text, because a variable that is set and empty is as good as none.
    #[arg(
        long = "admin",
        value_name = "FILE",
        env = "KEYWARD_ADMIN_CONFIG",
        value_parser = OsStringValueParser::new(),
        default_value = ADMIN_CONFIG
    )]
    pub config: OsString,
}

/// Where `keyward init --dir /etc/keyward` puts it.
const ADMIN_CONFIG: &str = "/etc/keyward/admin/client.toml";

/// A connection with an administrator's identity.
pub struct Admin {
    client: Client,
    path: PathBuf,
}

impl Admin {
    /// Reads the config; the connection itself is made with the first call.
    ///
    /// # Errors
    /// If the config cannot be read.
    pub fn open(args: &AdminArgs) -> Result<Self> {
        let path = match args.config.is_empty() {
            true => PathBuf::from(ADMIN_CONFIG),
            false => PathBuf::from(&args.config),
        };
        let config = Config::load(&path).map_err(|error| {
            Failure::from_error(&error).hint(
                "the administrator's client.toml lies where `keyward init` made it, in DIR/admin; \
                 name it by --admin or KEYWARD_ADMIN_CONFIG",
            )
        })?;
        Ok(Self { client: Client::new(config), path })
    }

    /// A connection with whatever identity a client.toml names.
    ///
    /// # Errors
    /// If the config cannot be read.
    pub fn of_client(path: &Path) -> Result<Self> {
        let config = Config::load(path).map_err(|error| Failure::from_error(&error))?;
        Ok(Self { client: Client::new(config), path: path.to_owned() })
    }

    /// Who this is, as the service sees it.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn hello(&self) -> Result<HelloResult> {
        let software = concat!("keyward ", env!("CARGO_PKG_VERSION")).to_owned();
        self.one("", Operation::Hello(Hello { software }), |answer| match answer {
            Answer::Hello(hello) => Some(hello),
            _ => None,
        })
    }

    /// Refuses an identity that is no administrator's.
    ///
    /// # Errors
    /// If it is none, and as [`Admin::call`].
    pub fn must_administer(&self) -> Result<()> {
        let hello = self.hello()?;
        if hello.administrator {
            return Ok(());
        }
        Err(self
            .no_administrator(format!(
                "identity {:?} is no administrator: it sees no private key without a login",
                hello.identity
            ))
            .into())
    }

    /// The config of the connection.
    pub fn config(&self) -> &Config {
        self.client.config()
    }

    /// Sends one operation and gives back all frames of its answer.
    ///
    /// # Errors
    /// What the service said, or that it cannot be reached.
    pub fn call(&self, token: &str, operation: Operation) -> Result<Vec<Answer>> {
        let request =
            Request { token: token.to_owned(), operation: Some(operation), ..Request::default() };
        let frames = self.client.call(request).map_err(|error| self.explain(error, token))?;
        Ok(frames.into_iter().filter_map(|frame| frame.result).collect())
    }

    /// As [`Admin::call`], for an answer of one frame; `pick` takes it if it is
    /// of the kind that the operation has.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn one<T>(
        &self,
        token: &str,
        operation: Operation,
        pick: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T> {
        let answers = self.call(token, operation)?;
        answers
            .into_iter()
            .next()
            .and_then(pick)
            .ok_or_else(|| anyhow!("the service gave an answer that does not fit the question"))
    }

    /// As [`Admin::one`], for an answer that says nothing.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn done(&self, token: &str, operation: Operation) -> Result<()> {
        self.call(token, operation).map(|_| ())
    }

    /// Has the service make a backup, and gives the file away part by part.
    ///
    /// # Errors
    /// As [`Admin::call`], and those of `take`.
    pub fn backup(&self, backup: Backup, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let request = Request { operation: Some(Operation::Backup(backup)), ..Request::default() };
        let taken = self.client.stream(request, |answer| match answer {
            Answer::Backup(part) => take(&part.bytes),
            _ => Err(anyhow!("the service gave an answer that does not fit the question")),
        });
        taken.map_err(|error| match error {
            StreamError::Client(error) => self.explain(error, ""),
            StreamError::Taker(error) => error,
        })
    }

    /// All tokens.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn tokens(&self) -> Result<Vec<TokenInfo>> {
        let answers = self.call("", Operation::ListTokens(ListTokens {}))?;
        let mut tokens = Vec::new();
        for answer in answers {
            if let Answer::Tokens(list) = answer {
                tokens.extend(list.tokens);
            }
        }
        tokens.sort_by(|one, other| one.label.cmp(&other.label));
        Ok(tokens)
    }

    /// One token.
    ///
    /// # Errors
    /// If there is none of this label, and as [`Admin::call`].
    pub fn token(&self, label: &str) -> Result<TokenInfo> {
        let mut tokens = self.tokens()?;
        match tokens.iter().position(|token| token.label == label) {
            Some(index) => Ok(tokens.swap_remove(index)),
            None => Err(no_token(label).into()),
        }
    }

    fn explain(&self, error: keyward_client::Error, token: &str) -> anyhow::Error {
        let code = error.code();
        let file = self.path.display();
        let failure = match &error {
            keyward_client::Error::Unreachable { .. } => Failure::new(error.to_string())
                .hint(format!("is the service running, and are the endpoints in {file} right?")),
            keyward_client::Error::Config(_) => Failure::from_error(&error),
            keyward_client::Error::Refused { .. } | keyward_client::Error::Busy => {
                match error.hint() {
                    Some(hint) => Failure::new(error.to_string()).hint(hint),
                    None => Failure::new(error.to_string()),
                }
            }
            keyward_client::Error::Service(_) => match code {
                ErrorCode::TokenNotPresent if !token.is_empty() => no_token(token),
                ErrorCode::NotPermitted | ErrorCode::UserNotLoggedIn => {
                    self.no_administrator(error.to_string())
                }
                _ => match error.hint() {
                    Some(hint) => Failure::new(error.to_string()).hint(hint),
                    None => Failure::new(error.to_string()),
                },
            },
        };
        failure.into()
    }

    fn no_administrator(&self, sentence: String) -> Failure {
        Failure::new(sentence).hint(format!(
            "{} must hold an administrator's identity; --admin names another",
            self.path.display()
        ))
    }
}

fn no_token(label: &str) -> Failure {
    Failure::new(format!("there is no token {label:?}"))
        .hint("`keyward token list` shows the tokens, `keyward token create` makes one")
}
