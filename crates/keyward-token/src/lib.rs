//! What a token is: objects with their attributes, the rules by which they are
//! made and changed, the mechanisms and what a key does under them.
//!
//! There is no I/O here and no state beyond the values themselves. The service
//! uses this crate for the keys it holds, the module for session objects that
//! are not sensitive and for everything public. References to sections are to
//! PKCS#11 v3.1.

pub mod attribute;
pub mod certificate;
pub mod describe;
pub mod hsm;
pub mod key;
pub mod mechanism;
pub mod object;
mod recovery;
pub mod rules;
pub mod stage;

pub use attribute::{Attributes, Kind, Value};
pub use object::Object;
pub use stage::Stage;
