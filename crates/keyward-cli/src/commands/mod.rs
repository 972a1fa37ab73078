//! The commands: one file for each noun or verb.

pub mod attach;
pub mod backup;
pub mod bench;
pub mod cert;
pub mod completions;
pub mod dev;
pub mod identity;
pub mod init;
pub mod key;
pub mod man;
pub mod master_key;
pub mod migrate;
pub mod restore;
pub mod serve;
pub mod status;
pub mod store;
pub mod token;
pub mod version;
