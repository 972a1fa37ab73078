//! `keyward dev`: a service to try things with, and to test against.

mod environment;
mod service;
mod supervise;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use keyward_client::config::Profile;
use keyward_service::config::Config;
use keyward_wire::request::Operation;
use keyward_wire::{CreateToken, LoginMode, Policy, SetPolicy};
use tempfile::TempDir;

use crate::admin::{Admin, AdminArgs};
use crate::commands::dev::environment::Environment;
use crate::commands::dev::service::Service;
use crate::commands::dev::supervise::Signals;
use crate::commands::identity::{self, Order, ProfileArg, TokenGrant};
use crate::commands::init;
use crate::commands::token::{self, PolicyArg};
use crate::failure::Failure;
use crate::output;
use crate::terminal;

/// Run a command with a service, a token and the module's configuration at hand
#[derive(Args, Debug)]
#[command(after_long_help = "\
COMMAND finds in its environment: KEYWARD_CONFIG, KEYWARD_PKCS11_MODULE, KEYWARD_TOKEN_LABEL,
KEYWARD_PIN, KEYWARD_SO_PIN, KEYWARD_ENDPOINT, KEYWARD_SERVICE_PID, KEYWARD_DIR and
KEYWARD_ADMIN_CONFIG. The service stops when COMMAND ends, and its status is that of COMMAND.
Without COMMAND the variables are printed for a shell, and the service runs until interrupted.

The PINs are known to everybody. Use `keyward init` and `keyward serve` for real keys.

Examples:
  keyward dev -- sh -c 'pkcs11-tool --module \"$KEYWARD_PKCS11_MODULE\" --list-slots'
  keyward dev --dir ~/keyward-dev
  keyward dev --policy compat -- ./old-program")]
pub struct DevArgs {
    /// The service's folder, made if it is not there [default: a temporary one, removed at the end]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The address of a new service [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// The token's label
    #[arg(long, value_name = "LABEL", default_value = "dev")]
    token_label: String,
    /// The security officer's PIN of a new token
    #[arg(long, value_name = "PIN", default_value = "12345678")]
    so_pin: String,
    /// The user PIN of a new token
    #[arg(long, value_name = "PIN", default_value = "1234")]
    pin: String,
    /// Which mechanisms and keys the token offers [default: default, or as the token is]
    #[arg(long, value_enum)]
    policy: Option<PolicyArg>,
    /// A file with an [[hsm]] as in keyward.toml, paths absolute: a new token's keys are in that HSM
    #[arg(long, value_name = "FILE")]
    hsm: Option<PathBuf>,
    /// How much of the token the module shows [default: full]
    #[arg(long, value_enum)]
    profile: Option<ProfileArg>,
    /// Do without the module
    #[arg(long, hide = true)]
    no_module: bool,
    /// What to run
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl DevArgs {
    /// Runs the command; its exit code is COMMAND's.
    ///
    /// # Errors
    /// If the service, the token or the identity cannot be had.
    pub fn run(self) -> Result<ExitCode> {
        let module = match self.no_module {
            true => None,
            false => Some(environment::module()?),
        };
        let home = Home::open(self.dir.as_deref())?;
        self.make_service(home.path())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the event loop cannot be made")?;
        let code = runtime.block_on(self.with_service(home.path(), module));
        home.close();
        code
    }

    /// Makes the service in `dir`, unless there is one.
    fn make_service(&self, dir: &Path) -> Result<()> {
        let path = dir.join("keyward.toml");
        if !path.exists() {
            let listen = match self.listen {
                Some(listen) => listen,
                None => free_address()?,
            };
            init::make(dir.to_owned(), listen)?;
            return self.add_hsm(&path);
        }
        let there = Config::load(&path).map_err(|error| Failure::from_error(&error))?.listen;
        match self.listen {
            Some(listen) if listen != there => {
                Err(Failure::new(format!("the service in {} listens on {there}", dir.display()))
                    .hint(format!("leave out --listen, or change it in {}", path.display()))
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// Puts the HSM into the configuration of a new service.
    fn add_hsm(&self, config: &Path) -> Result<()> {
        let Some(hsm) = &self.hsm else { return Ok(()) };
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))
        };
        let text = format!("{}\n{}", read(config)?, read(hsm)?);
        std::fs::write(config, text)
            .with_context(|| format!("{} cannot be written", config.display()))
    }

    /// The HSM that a new token's keys are to be in.
    fn hsm(&self, dir: &Path) -> Result<String> {
        let Some(path) = &self.hsm else { return Ok(String::new()) };
        let config =
            Config::load(&dir.join("keyward.toml")).map_err(|error| Failure::from_error(&error))?;
        match config.hsm.as_slice() {
            [hsm, ..] => Ok(hsm.name.clone()),
            [] => Err(Failure::new(format!("{} has no [[hsm]]", path.display())).into()),
        }
    }

    async fn with_service(&self, dir: &Path, module: Option<PathBuf>) -> Result<ExitCode> {
        let mut signals = Signals::listen()?;
        let mut service = Service::start(dir, &mut signals).await?;
        let code = self.work(dir, module, &mut service, &mut signals).await;
        service.stop(&mut signals).await;
        code
    }

    async fn work(
        &self,
        dir: &Path,
        module: Option<PathBuf>,
        service: &mut Service,
        signals: &mut Signals,
    ) -> Result<ExitCode> {
        let admin_config = dir.join("admin/client.toml");
        let admin = Admin::open(&AdminArgs { config: admin_config.clone().into() })?;
        self.make_token(&admin, dir)?;
        let config = self.make_identity(&admin, dir)?;
        let endpoint = admin.config().endpoints.first().cloned().unwrap_or_default();
        // The counters that COMMAND sees are its own: no connection of ours stays.
        drop(admin);
        let environment = Environment {
            config: &config,
            module: module.as_deref(),
            token_label: &self.token_label,
            pin: &self.pin,
            so_pin: &self.so_pin,
            endpoint: &endpoint,
            service_pid: service.id(),
            dir,
            admin_config: &admin_config,
        };
        match self.command.split_first() {
            Some((program, arguments)) => {
                supervise::command(program, arguments, &environment.variables(), service, signals)
                    .await
            }
            None => {
                output::print(&environment.exports())?;
                terminal::note("the service runs; an interrupt (Ctrl-C) ends it");
                supervise::until_interrupted(service, signals).await
            }
        }
    }

    fn make_token(&self, admin: &Admin, dir: &Path) -> Result<()> {
        if admin.tokens()?.iter().any(|token| token.label == self.token_label) {
            if let Some(policy) = self.policy {
                let policy = SetPolicy { policy: Policy::from(policy).into() };
                admin.done(&self.token_label, Operation::SetPolicy(policy))?;
            }
            return Ok(());
        }
        let policy = self.policy.unwrap_or(PolicyArg::Default);
        token::create(
            admin,
            CreateToken {
                label: self.token_label.clone(),
                login_mode: LoginMode::Pin.into(),
                so_pin: self.so_pin.as_bytes().to_vec(),
                user_pin: self.pin.as_bytes().to_vec(),
                policy: Policy::from(policy).into(),
                hsm: self.hsm(dir)?,
            },
        )?;
        Ok(())
    }

    /// Makes the identity of the module, unless there is one: the path of its
    /// client.toml.
    fn make_identity(&self, admin: &Admin, dir: &Path) -> Result<PathBuf> {
        let folder = dir.join("client");
        let config = folder.join("client.toml");
        if config.exists() {
            self.check_identity(&config)?;
            return Ok(config);
        }
        if folder.exists() {
            // The configuration is written last: what is here is of no use.
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("{} cannot be removed", folder.display()))?;
        }
        let name = match identity::exists(admin, NAME)? {
            false => NAME.to_owned(),
            true => format!("{NAME}-{}", output::hex(&keyward_crypto::random::bytes::<4>())),
        };
        let grants = [TokenGrant { token: self.token_label.clone(), read_only: false }];
        let order = Order {
            name: &name,
            grants: &grants,
            administrator: false,
            valid_days: 365,
            endpoints: &[],
            server_name: None,
            profile: self.profile.unwrap_or(ProfileArg::Full),
        };
        order.carry_out(admin, &folder)?;
        Ok(config)
    }

    /// Whether the client.toml that is there is what was asked for.
    fn check_identity(&self, path: &Path) -> Result<()> {
        let config =
            keyward_client::Config::load(path).map_err(|error| Failure::from_error(&error))?;
        if !config.slots.iter().any(|slot| slot.token == self.token_label) {
            return Err(Failure::new(format!(
                "{} has no slot for token {:?}",
                path.display(),
                self.token_label
            ))
            .hint("name another --dir, or the --token-label that it was made with")
            .into());
        }
        let there = match config.profile {
            Profile::Full => ProfileArg::Full,
            Profile::Tls => ProfileArg::Tls,
        };
        if self.profile.is_some_and(|profile| profile != there) {
            return Err(Failure::new(format!(
                "{} has the profile {:?}",
                path.display(),
                there.name()
            ))
            .hint("change it there, or leave out --profile")
            .into());
        }
        Ok(())
    }
}

/// The service's folder.
enum Home {
    Named(PathBuf),
    Temporary(TempDir),
}

impl Home {
    fn open(dir: Option<&Path>) -> Result<Self> {
        match dir {
            Some(dir) => Ok(Self::Named(std::path::absolute(dir)?)),
            None => Ok(Self::Temporary(
                tempfile::Builder::new()
                    .prefix("keyward-dev-")
                    .tempdir()
                    .context("a temporary folder cannot be made")?,
            )),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn close(self) {
        if let Self::Temporary(folder) = self {
            let path = folder.path().to_owned();
            if let Err(error) = folder.close() {
                terminal::warning(&format!("{} cannot be removed: {error}", path.display()));
            }
        }
    }
}

/// The identity of the module.
const NAME: &str = "dev";

/// Ports that outgoing connections do not use by default, on any system: one
/// that is free now will be free in a moment.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// So many ports are tried.
const TRIES: u32 = 100;

fn free_address() -> Result<SocketAddr> {
    for _ in 0..TRIES {
        let random = u16::from_be_bytes(keyward_crypto::random::bytes());
        let port = PORTS.start + random % (PORTS.end - PORTS.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Failure::new("no free port was found on 127.0.0.1").hint("name one by --listen").into())
}
