//! `keyward migrate`: keys from keystores and tokens to a token, with proof.

mod access;
mod files;
mod inventory;
mod plan;
mod progress;
mod remove;
mod run;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use self::inventory::InventoryArgs;
use self::plan::PlanArgs;
use self::remove::{RemoveSourceArgs, RollbackArgs};
use self::run::RunArgs;
use self::verify::{CheckArgs, VerifyArgs};

/// Bring keys and certificates from keystores and PKCS#11 tokens to a token
#[derive(Subcommand, Debug)]
pub enum MigrateCommand {
    /// Say what keys and certificates are there
    Inventory(InventoryArgs),
    /// Say how each object would go, in a file to be read, edited and signed off
    Plan(PlanArgs),
    /// Do what a plan says; run it again after it was cut off
    Run(RunArgs),
    /// Prove that the target has what the source has, in a signed manifest
    Verify(VerifyArgs),
    /// Check the signature of a manifest, and say what it proves
    Check(CheckArgs),
    /// Remove from the target what a run put there
    Rollback(RollbackArgs),
    /// Remove from a source token what a manifest proves to be in the target
    RemoveSource(RemoveSourceArgs),
}

impl MigrateCommand {
    /// Runs the command; the exit code is 1 if an object is not where it should
    /// be.
    ///
    /// # Errors
    /// What is wrong with the input, or what a token said.
    pub fn run(self) -> Result<ExitCode> {
        let good = match self {
            Self::Inventory(args) => args.run()?,
            Self::Plan(args) => args.run()?,
            Self::Run(args) => args.run()?,
            Self::Verify(args) => args.run()?,
            Self::Check(args) => args.run()?,
            Self::Rollback(args) => args.run()?,
            Self::RemoveSource(args) => args.run()?,
        };
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
