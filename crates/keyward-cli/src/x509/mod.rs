//! What the command needs of X.509: certificate requests, names, reading
//! certificates, and issuing successors.

pub mod certificate;
pub mod der;
pub mod issue;
pub mod name;
pub mod request;
