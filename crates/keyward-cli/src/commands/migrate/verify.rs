//! `keyward migrate verify` and `check`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use keyward_migrate::journal::State;
use keyward_migrate::manifest::{Manifest, SigningKey, Verdict};
use keyward_migrate::verify::verify;
use keyward_migrate::{Access, Libraries};
use time::OffsetDateTime;

use super::access::{Secrets, failed};
use super::files::PlanFiles;
use super::progress::Bar;
use crate::output::{self, Table};
use crate::terminal;

/// `keyward migrate verify`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Each key signs or decrypts a fresh challenge in the target, which the source's public key or\ncertificate judges. Beside the manifest stand its signature (.sig) and the public key (.pub).\nThe exit code is 1 if a verdict is not good.\n\nExample:\n  keyward migrate verify plan.toml --signing-key migration.key --out manifest.json \\\n      --password-file passwords --to-pin-file pin"
)]
pub struct VerifyArgs {
    #[command(flatten)]
    files: PlanFiles,
    /// An Ed25519 key in PEM, made if it is not there
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    /// The manifest
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
}

impl VerifyArgs {
    pub(super) fn run(self) -> Result<bool> {
        let plan = self.files.plan()?;
        let entries = self.files.entries()?;
        let key = SigningKey::open(&self.signing_key).map_err(failed)?;
        let mut libraries = Libraries::default();
        let (source, target) =
            self.secrets.open((&plan.source, &plan.target), &mut libraries, Access::Read)?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let bar = Bar::new();
        let manifest = verify(&plan, &source, &target, &State::of(&entries), now, &bar);
        drop(bar);
        let manifest = manifest.map_err(failed)?;
        manifest.write(&self.out, &key).map_err(failed)?;
        tell(&manifest, self.json)?;
        terminal::hint(&format!(
            "keep {0} and {0}.sig, and {0}.pub apart from them: keyward migrate check needs all three",
            self.out.display()
        ));
        Ok(manifest.complete)
    }
}

/// `keyward migrate check`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "No token is asked. The public key is one that was kept apart from the manifest.\n\nExamples:\n  keyward migrate check manifest.json --public-key migration.pub\n  openssl pkeyutl -verify -pubin -inkey migration.pub -rawin -in manifest.json -sigfile manifest.json.sig"
)]
pub struct CheckArgs {
    /// The manifest; its signature stands beside it
    manifest: PathBuf,
    /// The public key in PEM
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CheckArgs {
    pub(super) fn run(self) -> Result<bool> {
        let manifest = Manifest::check(&self.manifest, &self.public_key).map_err(failed)?;
        tell(&manifest, self.json)?;
        terminal::note(&format!("the signature is good; verified at {}", manifest.verified_at));
        Ok(manifest.complete)
    }
}

fn tell(manifest: &Manifest, json: bool) -> Result<()> {
    if json {
        return output::json(manifest);
    }
    let mut table = Table::new(["VERDICT", "WHAT", "HOW", "DIFFERENCES"]);
    for proof in &manifest.objects {
        let verdict = match &proof.verdict {
            Verdict::Same => "same".to_owned(),
            Verdict::NotProved(why) => format!("not proved: {why}"),
            Verdict::Wrong(why) => format!("wrong: {why}"),
        };
        let differences = proof.differences.join(", ");
        table.row([verdict, proof.what.clone(), proof.method.clone(), differences]);
    }
    table.print("nothing was to go")?;
    for left in &manifest.left {
        terminal::note(&format!("left: {}: {}", left.what, left.why));
    }
    Ok(())
}
