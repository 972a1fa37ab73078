//! What the command needs of X.509: certificate requests, names, and reading
//! certificates.

pub mod certificate;
mod der;
pub mod name;
pub mod request;
