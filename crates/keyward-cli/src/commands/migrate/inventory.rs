//! `keyward migrate inventory`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use keyward_migrate::inventory::{Inventory, Listed};
use keyward_migrate::{Access, Libraries, report};
use time::OffsetDateTime;

use super::access::SourceSecrets;
use crate::output::{self, Table, day};
use crate::terminal;

/// `keyward migrate inventory`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Sources are keystores (JKS, JCEKS, PKCS12), PEM and DER files, folders of them, or one PKCS#11\ntoken. Nothing is changed. The report is one HTML file without a secret in it.\n\nExamples:\n  keyward migrate inventory --from /etc/dse/conf --password-file passwords\n  keyward migrate inventory --from node1.jks --from node2.jks --html inventory.html\n  keyward migrate inventory --json \\\n      --from 'pkcs11:token=old?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/root/pin'"
)]
pub struct InventoryArgs {
    /// A keystore, key or certificate file, a folder, or a token's pkcs11: URI
    #[arg(long, value_name = "SOURCE", required = true)]
    from: Vec<String>,
    /// Write a report that one can mail
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: SourceSecrets,
}

impl InventoryArgs {
    pub(super) fn run(self) -> Result<bool> {
        let mut libraries = Libraries::default();
        let source = self.secrets.open(&self.from, &mut libraries, Access::Read)?;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let inventory = Inventory::of(&source, now);
        if let Some(path) = &self.html {
            std::fs::write(path, report::html(&inventory))
                .with_context(|| format!("{} cannot be written", path.display()))?;
            terminal::note(&format!("the report is in {}", path.display()));
        }
        if self.json {
            output::json(&inventory)?;
        } else {
            print(&inventory)?;
        }
        Ok(!inventory.remarks.iter().any(|remark| remark.problem))
    }
}

fn print(inventory: &Inventory) -> Result<()> {
    let mut table = Table::new(["CLASS", "KIND", "LABEL", "ID", "BELONGS TO", "UNTIL", "WHERE"]);
    let label_of = |reference: &String| {
        let found = inventory.objects.iter().find(|object| object.reference == *reference);
        found.map(|object| object.label.clone()).unwrap_or_default()
    };
    for object in &inventory.objects {
        let certificate = object.certificate.as_ref();
        let until = certificate.map(|certificate| day(&certificate.not_after)).unwrap_or_default();
        table.row([
            object.class.to_owned(),
            object.kind.clone(),
            object.label.clone(),
            shortened(&object.id),
            belongs(object, label_of),
            until.to_owned(),
            object.place.clone(),
        ]);
    }
    table.print("there is nothing")?;
    for finding in &inventory.findings {
        terminal::note(&format!("{}: {}", finding.kind, finding.text));
    }
    for remark in &inventory.remarks {
        let text = format!("{}: {}", remark.place, remark.text);
        match remark.problem {
            true => terminal::warning(&text),
            false => terminal::note(&text),
        }
    }
    Ok(())
}

fn belongs(object: &Listed, label_of: impl Fn(&String) -> String) -> String {
    let labels =
        |references: &[String]| references.iter().map(&label_of).collect::<Vec<_>>().join(", ");
    match object.class {
        "private key" => match object.certificates.as_slice() {
            [] => "no certificate".to_owned(),
            certificates => format!("certificate {}", labels(certificates)),
        },
        "certificate" if !object.chain.is_empty() => format!("issuer {}", labels(&object.chain)),
        _ => String::new(),
    }
}

/// The first bytes of a long CKA_ID.
fn shortened(id: &str) -> String {
    match id.get(..16) {
        Some(start) if id.len() > 20 => format!("{start}..."),
        _ => id.to_owned(),
    }
}
