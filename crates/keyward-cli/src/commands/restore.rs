//! `keyward restore`: a service, or a store, from a backup.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use keyward_service::backup::Key;
use keyward_service::init::Report;
use keyward_service::transfer::{
    Place, Restore, Restored, restore_into_folder, restore_into_store,
};

use crate::commands::backup::{KeyArgs, identities};
use crate::commands::init::{EtcdArgs, Kind};
use crate::failure::Failure;
use crate::output;
use crate::service_config;
use crate::terminal::{self, quote};

/// Make a service of a backup
#[derive(Args, Debug)]
#[command(
    after_long_help = "With --dir a service is made in a new folder, as by `keyward init`, with the authority, the master\nkey and everything else of the backup, and a server certificate that its clients accept. With\n--into the empty store that a configuration names is filled. Either may be in etcd; other replicas\njoin it afterwards by `keyward init --join`. A store that exists is never touched.\n\nExamples:\n  keyward restore keyward.backup --dir /etc/keyward --listen 10.0.0.5:7512 --passphrase\n  keyward restore keyward.backup --dir /tmp/trial --master-key /etc/keyward/master.key\n  keyward restore keyward.backup --into /etc/keyward/keyward.toml --new-admin /root/admin\n  keyward restore keyward.backup --dir /etc/keyward --listen 10.0.0.5:7512 --passphrase --store etcd --etcd-endpoints https://10.0.0.21:2379 --etcd-authority etcd-ca.pem --etcd-certificate keyward-etcd.pem --etcd-private-key keyward-etcd.key"
)]
pub struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// The new service's folder: empty, or not there yet
    #[arg(long, value_name = "DIR", required_unless_present = "into", conflicts_with = "into")]
    dir: Option<PathBuf>,
    /// The configuration of a service whose store is empty, or not there
    #[arg(long, value_name = "CONFIG", conflicts_with_all = ["listen", "sans", "store"])]
    into: Option<PathBuf>,
    /// The address to accept connections on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7512")]
    listen: SocketAddr,
    /// A name or address that clients reach the service by, for its certificate
    #[arg(long = "san", value_name = "NAME|IP")]
    sans: Vec<String>,
    /// With --dir: where the keys are to be kept
    #[arg(long, value_enum, default_value = "redb")]
    store: Kind,
    #[command(flatten)]
    etcd: EtcdArgs,
    /// The name of the new administrator [default: restored-DATE-TIME]
    #[arg(long, value_name = "NAME")]
    admin_name: Option<String>,
    /// With --into: the folder for the new administrator's client.toml
    #[arg(long, value_name = "DIR", requires = "into")]
    new_admin: Option<PathBuf>,
    /// With --into or --store etcd: delete what an attempt that was cut off has left, and begin anew
    #[arg(long)]
    resume: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

impl RestoreArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// If the backup cannot be used, or there is something where it is to go.
    pub fn run(self) -> Result<()> {
        let failed = |error: keyward_service::transfer::TransferError| Failure::from_error(&error);
        let etcd = self.etcd.settings(self.store)?;
        if self.resume && self.into.is_none() && etcd.is_none() {
            return Err(Failure::usage("--resume goes with --into or --store etcd").into());
        }
        if let Some(path) = self.into {
            if let Some(folder) = self.new_admin.as_deref().filter(|folder| folder.exists()) {
                return Err(Failure::new(format!("{} exists already", folder.display()))
                    .hint("the new administrator's folder is one that is not there yet")
                    .into());
            }
            let config = service_config::load(&path)?;
            let key = self.key.with_config(&path).read()?;
            let restore = Restore { file: self.file, key, admin_name: self.admin_name };
            let folder = self.new_admin.as_deref();
            let restored =
                restore_into_store(&restore, &config, folder, self.resume).map_err(failed)?;
            return tell(&restored, None, &path, self.json);
        }
        let Some(dir) = self.dir else {
            return Err(Failure::usage("--dir is missing").into());
        };
        let key = self.key.read()?;
        let was_sealed = matches!(&key, Key::Master(master) if master.is_sealed());
        let restore = Restore { file: self.file, key, admin_name: self.admin_name };
        let mut place = Place::new(dir, self.listen);
        place.sans = self.sans;
        place.etcd = etcd;
        place.resume = self.resume;
        let (restored, report) = restore_into_folder(&restore, &place).map_err(failed)?;
        tell(&restored, Some(&report), &report.config, self.json)?;
        if was_sealed {
            terminal::hint(&format!(
                "{} is the master key as it is; `keyward master-key seal` has an HSM keep it",
                report.master_key.display()
            ));
        }
        Ok(())
    }
}

fn tell(restored: &Restored, report: Option<&Report>, config: &Path, json: bool) -> Result<()> {
    let summary = &restored.summary;
    let shown = |path: &Path| path.display().to_string();
    let created = output::moment(summary.info.created);
    let good = identities(summary, keyward_service::backup::IdentitySummary::is_good);
    let admin = restored.admin_config.as_deref().map(shown);
    if json {
        return output::json(&serde_json::json!({
            "config": shown(config),
            "backup_created": created,
            "revision": summary.info.sequence,
            "entries": summary.info.entries,
            "administrator": restored.admin_name,
            "admin_config": admin,
            "master_key": report.map(|report| shown(&report.master_key)),
            "good_identities": good,
        }));
    }
    output::print(&format!("Restored {} entries as of {created}:\n", summary.info.entries))?;
    let mut pairs = vec![("  configuration", shown(config))];
    if let Some(report) = report {
        pairs.extend(report.data.as_ref().map(|data| ("  store", shown(data))));
        pairs.push(("  master key", shown(&report.master_key)));
    }
    pairs.push(("  new administrator", restored.admin_name.clone()));
    if let Some(admin) = &admin {
        pairs.push(("    its client.toml", admin.clone()));
    }
    output::pairs(&pairs)?;
    let names: Vec<_> = summary
        .identities
        .iter()
        .filter(|identity| identity.is_good())
        .map(|identity| identity.name.as_str())
        .collect();
    output::print(&format!(
        "\nWhat was changed after {created} is gone. PINs are those of then, and so are counts of\n\
         wrong PINs. Logins from before go on; those to a PIN that was set later are refused.\n\
         Identities that were revoked since are good again. Those that may connect now:\n  {}\n\
         \nRevoke again what was revoked, and start the service:\n  keyward serve --config {}\n",
        names.join(" "),
        quote(&shown(config)),
    ))?;
    if admin.is_none() {
        terminal::hint(
            "the new administrator's key was not kept, since --new-admin named no folder; \
             administrators of the backup can connect, and may revoke it",
        );
    }
    Ok(())
}
