//! Which of a library's tokens is meant.

use cryptoki::context::Pkcs11;
use cryptoki::error::Result;
use cryptoki::slot::{Slot, TokenInfo};

/// The tokens of a library.
#[derive(Debug)]
pub struct Tokens {
    /// Those that are meant: one, if all is well.
    pub meant: Vec<(Slot, TokenInfo)>,
    /// All, as people call them.
    pub all: Vec<String>,
}

/// Looks at the tokens that are initialised.
///
/// # Errors
/// What the library says. A slot that says nothing of its token is passed over.
pub fn tokens(library: &Pkcs11, is_meant: impl Fn(Slot, &TokenInfo) -> bool) -> Result<Tokens> {
    let mut tokens = Tokens { meant: Vec::new(), all: Vec::new() };
    for slot in library.get_slots_with_token()? {
        let Ok(info) = library.get_token_info(slot) else { continue };
        if !info.token_initialized() {
            continue;
        }
        tokens.all.push(format!("{:?} (serial number {})", info.label(), info.serial_number()));
        if is_meant(slot, &info) {
            tokens.meant.push((slot, info));
        }
    }
    tokens.all.sort();
    Ok(tokens)
}
