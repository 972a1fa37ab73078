//! From one store to another.

use super::{TransferError, damaged, destination, fill, is_carried, unwrapped, wait_for};
use crate::backup::Inventory;
use crate::config::Config;
use crate::server;
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
/// another names. An embedded source must not be in use; from one that is
/// shared everything is read at one revision. If the second configuration has
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
        let (master, new_master) = (from.master_key.read()?, to.master_key.read()?);
        let source = server::connect(from).await?;
        let snapshot = server::read(from, &*source).await?;
        let vault = server::unlock(from, &master, &snapshot)?;
        let wrapped = snapshot.value(crate::store::paths::DATA_KEY_KEY).unwrap_or_default();
        let wrapped = Vault::wrap_anew(&master, wrapped, &new_master)
            .map_err(|error| unwrapped(&source_name, &error))?;
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
        let filled = fill(&*store, &name, resume, &mut next, &vault, wrapped).await;
        store.close();
        // Held to the end: nobody changes the source meanwhile.
        source.close();
        let other_master_key = *master != *new_master;
        Ok(Copied { from: source_name, to: name, entries: filled?, other_master_key })
    })
}

fn same(from: &Config, to: &Config) -> bool {
    let real = |config: &Config| config.data.canonicalize().ok();
    from.store_name() == to.store_name() || real(from).is_some_and(|from| Some(from) == real(to))
}
