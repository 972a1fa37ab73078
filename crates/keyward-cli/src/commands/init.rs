//! `keyward init`: makes a service.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use keyward_service::config::Etcd;
use keyward_service::init::{Join, Options, Report, init, join};

use crate::failure::Failure;
use crate::output;
use crate::terminal::quote;

/// Make a new service: its configuration, keys, store and administrator
///
/// With --store etcd the store is in etcd, and --join adds one more replica of a
/// service that is there: it takes a copy of that service's master key and gets a
/// server certificate of its own.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  keyward init --dir /etc/keyward --listen 10.0.0.5:7512 --san keyward.example.org\n  \
    keyward init --dir /etc/keyward --store etcd --etcd-endpoints https://10.0.0.21:2379,https://10.0.0.22:2379,https://10.0.0.23:2379 \
    --etcd-authority etcd-ca.pem --etcd-certificate keyward-etcd.pem --etcd-private-key keyward-etcd.key"
)]
pub struct InitArgs {
    /// The service's folder: empty, or not there yet
    #[arg(long)]
    dir: PathBuf,
    /// The address to accept connections on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7512")]
    listen: SocketAddr,
    /// A name or address that clients reach the service by, for its certificate
    #[arg(long = "san", value_name = "NAME|IP")]
    sans: Vec<String>,
    /// Where the keys are kept
    #[arg(long, value_enum, default_value = "redb")]
    store: Kind,
    #[command(flatten)]
    etcd: EtcdArgs,
    /// Add a replica to the service whose store is in etcd
    #[arg(long, requires = "master_key")]
    join: bool,
    /// The master key of the service to join
    #[arg(long, value_name = "FILE", requires = "join")]
    master_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where a new service keeps its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// In a file of the service's folder
    Redb,
    /// In etcd, which all replicas share
    Etcd,
}

/// Where etcd is, and who the service is there
#[derive(Args, Debug)]
pub struct EtcdArgs {
    /// The members of etcd, with commas between them
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    etcd_endpoints: Vec<String>,
    /// PEM: the authority of etcd's certificates
    #[arg(long, value_name = "FILE")]
    etcd_authority: Option<PathBuf>,
    /// PEM: the certificate that the service shows to etcd
    #[arg(long, value_name = "FILE")]
    etcd_certificate: Option<PathBuf>,
    /// PEM: the private key to it
    #[arg(long, value_name = "FILE")]
    etcd_private_key: Option<PathBuf>,
    /// What stands before all keys [default: /keyward/]
    #[arg(long, value_name = "PREFIX")]
    etcd_prefix: Option<String>,
}

impl EtcdArgs {
    /// What is said of etcd, if the store is to be there.
    ///
    /// # Errors
    /// If too little is said, or anything without need.
    pub fn settings(self, store: Kind) -> Result<Option<Etcd>, Failure> {
        let Self {
            etcd_endpoints,
            etcd_authority,
            etcd_certificate,
            etcd_private_key,
            etcd_prefix,
        } = self;
        let files = (etcd_authority, etcd_certificate, etcd_private_key);
        if store == Kind::Redb {
            return match (etcd_endpoints.as_slice(), files, etcd_prefix) {
                ([], (None, None, None), None) => Ok(None),
                _ => Err(Failure::usage("the options --etcd-... are for --store etcd")),
            };
        }
        let (Some(authority), Some(certificate), Some(private_key)) = files else {
            return Err(Failure::usage(
                "--store etcd needs --etcd-authority, --etcd-certificate and --etcd-private-key",
            ));
        };
        if etcd_endpoints.is_empty() {
            return Err(Failure::usage("--store etcd needs --etcd-endpoints"));
        }
        let mut etcd = Etcd::new(etcd_endpoints, authority, certificate, private_key);
        if let Some(prefix) = etcd_prefix {
            etcd.prefix = prefix;
        }
        Ok(Some(etcd))
    }
}

impl InitArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// If the folder is in use or cannot be written, or etcd does not do its
    /// part.
    pub fn run(self) -> Result<()> {
        let etcd = self.etcd.settings(self.store)?;
        if let Some(master_key) = self.master_key {
            let etcd =
                etcd.ok_or_else(|| Failure::usage("--join is for a service with --store etcd"))?;
            let mut options = Join::new(self.dir, self.listen, etcd, master_key);
            options.sans = self.sans;
            return joined(&options, self.json);
        }
        let mut options = Options::new(self.dir, self.listen);
        options.sans = self.sans;
        let store = etcd
            .as_ref()
            .map(|etcd| format!("etcd at {}, under {}", etcd.endpoints.join(", "), etcd.prefix));
        options.etcd = etcd;
        let report = init(&options).map_err(|error| Failure::from_error(&error))?;
        let shown = |path: &PathBuf| path.display().to_string();
        if self.json {
            return output::json(&serde_json::json!({
                "config": shown(&report.config),
                "authority": shown(&report.authority),
                "certificate": shown(&report.certificate),
                "private_key": shown(&report.private_key),
                "master_key": shown(&report.master_key),
                "data": report.data.as_ref().map(shown),
                "admin_config": shown(&report.admin_config),
            }));
        }
        output::print("Made a service:\n")?;
        output::pairs(&[
            ("  configuration", shown(&report.config)),
            ("  authority", shown(&report.authority)),
            ("  server certificate", shown(&report.certificate)),
            ("  store", store.or(report.data.as_ref().map(shown)).unwrap_or_default()),
            ("  master key", format!("{} (keep a copy elsewhere)", shown(&report.master_key))),
            ("  administrator", shown(&report.admin_config)),
        ])?;
        output::print(&format!(
            "\nStart it, and make a token:\n  keyward serve --config {}\n  \
             keyward token create --label dev --admin {}\n",
            quote(&shown(&report.config)),
            quote(&shown(&report.admin_config)),
        ))
    }
}

/// Adds a replica.
fn joined(options: &Join, json: bool) -> Result<()> {
    let report = join(options).map_err(|error| Failure::from_error(&error))?;
    let shown = |path: &PathBuf| path.display().to_string();
    if json {
        return output::json(&serde_json::json!({
            "config": shown(&report.config),
            "authority": shown(&report.authority),
            "certificate": shown(&report.certificate),
            "private_key": shown(&report.private_key),
            "master_key": shown(&report.master_key),
        }));
    }
    output::print("Made one more replica:\n")?;
    output::pairs(&[
        ("  configuration", shown(&report.config)),
        ("  authority", shown(&report.authority)),
        ("  server certificate", shown(&report.certificate)),
        ("  master key", shown(&report.master_key)),
    ])?;
    output::print(&format!(
        "\nStart it, and name its address in the clients' endpoints:\n  \
         keyward serve --config {}\n",
        quote(&shown(&report.config)),
    ))
}

/// Makes a service with its store in its own folder.
///
/// # Errors
/// If the folder is in use or cannot be written.
pub fn make(dir: PathBuf, listen: SocketAddr) -> Result<Report, Failure> {
    init(&Options::new(dir, listen)).map_err(|error| Failure::from_error(&error))
}
