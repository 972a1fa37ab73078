//! The command `keyward`: makes and runs the Keyward service, and administers
//! its tokens, keys, certificates and identities.
//!
//! [`terminal`] says how it talks to a person; [`failure`] is an error with a
//! hint; a command's code is in the file of its name below [`commands`]. Exit
//! codes: 0, 1 for a failure, 2 for a wrong command line, 78 for a service that
//! must not be started again as it is.

mod admin;
mod catalogue;
mod commands;
mod failure;
mod output;
mod selector;
mod service_config;
mod terminal;
mod x509;

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::commands::backup::BackupArgs;
use crate::commands::bench::BenchCommand;
use crate::commands::cert::CertCommand;
use crate::commands::completions::CompletionsArgs;
use crate::commands::dev::DevArgs;
use crate::commands::identity::IdentityCommand;
use crate::commands::init::InitArgs;
use crate::commands::key::KeyCommand;
use crate::commands::man::ManArgs;
use crate::commands::master_key::MasterKeyCommand;
use crate::commands::migrate::MigrateCommand;
use crate::commands::restore::RestoreArgs;
use crate::commands::serve::ServeArgs;
use crate::commands::status::StatusArgs;
use crate::commands::store::StoreCommand;
use crate::commands::token::TokenCommand;
use crate::commands::version::VersionArgs;
use crate::failure::{FAILURE, Failure, USAGE};

/// Private keys that stay in one place, used from everywhere through PKCS#11
#[derive(Parser, Debug)]
#[command(name = "keyward", version, help_template = HELP, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Init(InitArgs),
    Serve(ServeArgs),
    Dev(DevArgs),
    Status(StatusArgs),
    #[command(subcommand)]
    Bench(BenchCommand),
    #[command(subcommand)]
    Token(TokenCommand),
    #[command(subcommand)]
    Key(KeyCommand),
    #[command(subcommand)]
    Cert(CertCommand),
    #[command(subcommand)]
    Identity(IdentityCommand),
    #[command(subcommand)]
    Migrate(MigrateCommand),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    #[command(subcommand)]
    Store(StoreCommand),
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
    Completions(CompletionsArgs),
    Man(ManArgs),
    Version(VersionArgs),
    /// Hold the library of an HSM for `keyward serve`, which starts this itself
    #[command(hide = true)]
    HsmWorker,
}

const HELP: &str = "\
{about}

{usage-heading} {usage}

Try it:
  dev          Run a command with a service, a token and the module at hand

Run the service:
  init         Make a new service: configuration, keys, store, administrator
  serve        Run the service in the foreground
  status       Show what the service has done since it started
  bench        sign, login: how fast the service is

Look after tokens and what is in them:
  token        create, list, show, set-pin, unlock, set-policy, attach, delete
  key          generate, list, show, import, rename, rotate, retire, delete
  cert         request, import, list, export, delete
  identity     create, list, show, renew, revoke: who may use which tokens

Bring keys from keystores and HSMs:
  migrate      inventory, plan, run, verify, check, rollback, remove-source

Keep it safe:
  backup       Write all that a running service holds into one encrypted file; verify
  restore      Make a service of a backup
  store        copy: move a store from one place to another
  master-key   seal, unseal, show: have an HSM keep the key that unlocks the store

And:
  completions  Print the completions of a shell
  man          Write the man pages
  version      Print the version

Options:
{options}

`keyward COMMAND --help` says more, with an example.
";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_command_line(&error),
    };
    let result = match cli.command {
        Command::Dev(args) => args.run(),
        Command::Init(args) => done(args.run()),
        Command::Serve(args) => done(args.run()),
        Command::Status(args) => done(args.run()),
        Command::Bench(command) => done(command.run()),
        Command::Token(command) => done(command.run()),
        Command::Key(command) => done(command.run()),
        Command::Cert(command) => done(command.run()),
        Command::Identity(command) => done(command.run()),
        Command::Migrate(command) => command.run(),
        Command::Backup(args) => done(args.run()),
        Command::Restore(args) => done(args.run()),
        Command::Store(command) => done(command.run()),
        Command::MasterKey(command) => done(command.run()),
        Command::Completions(args) => done(args.run()),
        Command::Man(args) => done(args.run()),
        Command::Version(args) => done(args.run()),
        Command::HsmWorker => done(keyward_hsm::worker::run().map_err(Into::into)),
    };
    result.unwrap_or_else(|error| failed(&error))
}

fn done(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let reader_gone = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<io::Error>().is_some_and(reader_gone) {
        return ExitCode::FAILURE;
    }
    terminal::error(error);
    ExitCode::from(error.downcast_ref::<Failure>().map_or(FAILURE, Failure::code))
}

/// Help goes to standard output; what is wrong, to standard error as everything
/// else that is wrong.
fn wrong_command_line(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Nobody is left to tell that the help could not be printed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    match text.strip_prefix("error: ") {
        Some(rest) => eprint!("keyward: error: {rest}"),
        None => eprint!("{text}"),
    }
    ExitCode::from(USAGE)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_subcommand_is_in_the_help() {
        let cli = Cli::command();
        for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let line = HELP
                .lines()
                .find(|line| line.trim_start().starts_with(&format!("{name} ")))
                .unwrap_or_else(|| panic!("{name} is not in the help"));
            for subcommand in command.get_subcommands() {
                assert!(line.contains(subcommand.get_name()), "{name} {}", subcommand.get_name());
            }
        }
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().filter(|it| !it.is_hide_set()).for_each(check);
                return;
            }
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
        check(&Cli::command());
    }
}
