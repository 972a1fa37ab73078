//! From one store to another.

use super::{TransferError, damaged, destination, fill, is_carried, unopened, unwrapped, wait_for};
use crate::backup::Inventory;
use crate::config::Config;
use crate::server;
use crate::store::paths;
use crate::store::vault::Vault;

/// What was copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Copied {
    /// Where from.
    pub from: String,
    /// Where to.
    pub to: String,
    /// How many entries.
    pub entries: u64,
    /// Whether the destination has a master key of its own.
    pub other_master_key: bool,
}

/// Copies the store that one configuration names into the empty one that
/// another names. An embedded source must not be in use; one that is shared is
/// read at one revision, and must not change until the end. If the second
/// configuration has
/// another master key, that one wraps the data key from there on.
///
/// # Errors
/// [`TransferError`]; a destination that is half written is no store.
pub fn copy(from: &Config, to: &Config, resume: bool) -> Result<Copied, TransferError> {
    wait_for(async {
        let (source_name, name) = (from.store_name(), to.store_name());
        if same(from, to) {
            return Err(TransferError::SameStore(name));
        }
        let (master, new_master) = (from.master().read()?, to.master().read()?);
        let source = server::connect(from).await?;
        // Who runs this is not to wait for etcd as a service does.
        let failed = |error| unopened(&source_name, &error);
        let snapshot = source.snapshot("").await.map_err(failed)?;
        let vault = server::unlock(from, &master, &snapshot)?;
        let wrapped = snapshot.value(paths::DATA_KEY_KEY).unwrap_or_default();
        let wrapped = Vault::wrap_anew(&master, wrapped, &new_master)
            .map_err(|error| unwrapped(&source_name, &error))?;
        let of_clock = |(key, _): &&(String, _)| key == paths::CLOCK_KEY;
        let clock: Vec<_> = snapshot.entries.iter().filter(of_clock).cloned().collect();
        let mut inventory = Inventory::default();
        let mut entries = Vec::with_capacity(snapshot.entries.len());
        for (key, versioned) in snapshot.entries {
            if is_carried(&key) {
                inventory
                    .add(&vault, &key, &versioned.value)
                    .map_err(|error| damaged(&source_name, &error))?;
                entries.push((key, versioned.value));
            }
        }
        let store = destination(to).await?;
        let mut entries = entries.into_iter();
        let mut next = || Ok(entries.next());
        let copied = async {
            let filled = fill(&*store, &name, resume, &mut next, &vault).await?;
            // One that is embedded is nobody else's until it is closed.
            let now = source.snapshot(paths::CLOCK_KEY).await.map_err(failed)?;
            if now.entries != clock {
                return Err(TransferError::Changed(source_name.clone()));
            }
            filled.finish(wrapped).await
        };
        let copied = copied.await;
        store.close();
        source.close();
        let other_master_key = *master != *new_master;
        Ok(Copied { from: source_name, to: name, entries: copied?, other_master_key })
    })
}

fn same(from: &Config, to: &Config) -> bool {
    match (&from.etcd, &to.etcd) {
        (Some(from), Some(to)) => {
            let shared = from.endpoints.iter().any(|member| to.endpoints.contains(member));
            shared && from.prefix == to.prefix
        }
        (None, None) => {
            let real = |config: &Config| config.data.canonicalize().ok();
            from.data == to.data || real(from).is_some_and(|from| Some(from) == real(to))
        }
        _ => false,
    }
}
