//! SoftHSM: the control.

use std::path::Path;
use std::process::Command;

use cryptoki_sys::CK_SLOT_ID;

use super::alone::set_variable;
use super::{PIN, SO_PIN, repository, run};

/// Makes a token in the folder; the path of SoftHSM's module and the slot.
pub fn soft_hsm(folder: &Path) -> (String, CK_SLOT_ID) {
    let told = run(Command::new("bash")
        .args([
            "-c",
            r#"set -e
            variables=$("$1" --dir "$2" --pin "$3" --so-pin "$4") && eval "$variables"
            printf '%s\n' "$SOFTHSM2_CONF" "$SOFTHSM2_MODULE" "$SOFTHSM2_SLOT""#,
            "softhsm",
        ])
        .arg(repository("softhsm-setup.sh"))
        .arg(folder)
        .args([PIN, SO_PIN]));
    let mut lines = told.lines();
    set_variable("SOFTHSM2_CONF", lines.next().unwrap().as_ref());
    (lines.next().unwrap().to_owned(), lines.next().unwrap().parse().unwrap())
}
