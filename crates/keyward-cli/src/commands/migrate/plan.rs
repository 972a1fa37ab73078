//! `keyward migrate plan`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use keyward_migrate::plan::{Plan, Way};
use keyward_migrate::planning::Planning;
use keyward_migrate::{Access, Libraries};
use time::OffsetDateTime;

use super::access::{Secrets, failed};
use crate::output::{self, Table};
use crate::terminal::{self, quote};

/// `keyward migrate plan`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Both sides are asked what they can do, the target also with keys that live for the question only.\nNothing is changed on either. A Keyward token is reached through libkeyward_pkcs11.so, with\nKEYWARD_CONFIG naming a client.toml in which its slot has `writable = true`.\n\nExamples:\n  keyward migrate plan --from /etc/dse/conf --password-file passwords --out plan.toml \\\n      --to 'pkcs11:token=node1?module-path=/usr/lib/libkeyward_pkcs11.so' --to-pin-file pin\n  keyward migrate plan --from 'pkcs11:token=old?module-path=/usr/lib/softhsm/libsofthsm2.so' \\\n      --to 'pkcs11:token=new?module-path=/usr/lib/other.so' --out plan.toml"
)]
pub struct PlanArgs {
    /// A keystore, key or certificate file, a folder, or a token's pkcs11: URI
    #[arg(long, value_name = "SOURCE", required = true)]
    from: Vec<String>,
    /// The target's pkcs11: URI
    #[arg(long, value_name = "URI")]
    to: String,
    /// The file to write; one that is there is not replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the plan as JSON, too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
}

impl PlanArgs {
    pub(super) fn run(self) -> Result<bool> {
        let mut libraries = Libraries::default();
        let names = absolute(&self.from);
        let (source, target) =
            self.secrets.open((&names, &self.to), &mut libraries, Access::Read)?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let plan = Planning::new(&source, &target)
            .and_then(|mut planning| planning.plan(names, now))
            .map_err(failed)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.out)
            .with_context(|| format!("{} cannot be made", self.out.display()))?;
        file.write_all(plan.text().map_err(failed)?.as_bytes())?;
        file.sync_all()?;
        if self.json {
            output::json(&plan)?;
        } else {
            print(&plan)?;
        }
        for remark in source.remarks.iter().filter(|remark| remark.problem) {
            terminal::warning(&format!("{}: {}", remark.place, remark.text));
        }
        terminal::hint(&format!(
            "read {}, sign it off there, then: keyward migrate run {}",
            self.out.display(),
            quote(&self.out.display().to_string())
        ));
        Ok(true)
    }
}

/// A plan is read from anywhere later on.
fn absolute(names: &[String]) -> Vec<String> {
    names
        .iter()
        .map(|name| match keyward_migrate::Uri::is_one(name) {
            true => name.clone(),
            false => Path::new(name)
                .canonicalize()
                .map_or_else(|_| name.clone(), |path| path.display().to_string()),
        })
        .collect()
}

fn print(plan: &Plan) -> Result<()> {
    let mut table = Table::new(["WAY", "WHAT", "WHY", "LOST"]);
    for step in &plan.steps {
        let lost: Vec<_> = step.lost.iter().map(|lost| lost.attribute.as_str()).collect();
        table.row([
            step.way.name().to_owned(),
            step.what.clone(),
            step.reason.clone(),
            lost.join(", "),
        ]);
    }
    table.print("there is nothing to move")?;
    let count = |way| plan.counts().get(&way).copied().unwrap_or_default();
    terminal::note(&format!(
        "{} plain, {} wrapped, {} left, {} cannot go",
        count(Way::Plain),
        count(Way::Wrapped),
        count(Way::Leave),
        count(Way::NotAtAll)
    ));
    Ok(())
}
