//! `include/keyward_pkcs11.h`, made from the table. The test fails when the
//! file is not what the table says; `KEYWARD_BLESS=1 cargo test header` writes
//! it anew.

use super::table::{FUNCTIONS_2_40, FUNCTIONS_3_0, FUNCTIONS_3_2, Signature};

const PROLOGUE: &str = "\
/*
 * Keyward's PKCS#11 module, libkeyward_pkcs11.so: its exported symbols.
 *
 * Generated from src/abi/table.rs; do not edit.
 *
 * The types come from the PKCS#11 headers of your choice (OASIS, p11-kit,
 * NSS); include them first. What is newer than they are is left out. Hosts call
 * through C_GetFunctionList or C_GetInterface; the other symbols are there for
 * those that look functions up by name.
 */

#ifndef KEYWARD_PKCS11_H
#define KEYWARD_PKCS11_H

/* The version of the standard that C_GetFunctionList speaks. */
#define KEYWARD_CRYPTOKI_VERSION_MAJOR 2
#define KEYWARD_CRYPTOKI_VERSION_MINOR 40

/*
 * Environment: KEYWARD_CONFIG names the config file, else it is
 * /etc/keyward/client.toml. KEYWARD_PKCS11_LOG=error|trace logs to stderr.
 * There are no vendor-defined mechanisms or return values, and one attribute.
 */

/*
 * Bytes, for reading only, on the objects of a key that another key has
 * replaced: the word superseded, a blank, and since when, in seconds since 1970-01-01 UTC.
 */
#define CKA_KEYWARD_STAGE 0xcb570001UL

#ifdef __cplusplus
extern \"C\" {
#endif
";

const EPILOGUE: &str = "
#ifdef __cplusplus
}
#endif

#endif /* KEYWARD_PKCS11_H */
";

fn header() -> String {
    let since = |condition: &str, functions| {
        format!("\n#if {condition}\n{}\n#endif\n", prototypes(functions))
    };
    [
        PROLOGUE.to_owned(),
        prototypes(FUNCTIONS_2_40),
        since("CRYPTOKI_VERSION_MAJOR >= 3", FUNCTIONS_3_0),
        since(
            "CRYPTOKI_VERSION_MAJOR > 3 || CRYPTOKI_VERSION_MAJOR == 3 && CRYPTOKI_VERSION_MINOR >= 2",
            FUNCTIONS_3_2,
        ),
        EPILOGUE.to_owned(),
    ]
    .concat()
}

fn prototypes(functions: &[Signature]) -> String {
    functions
        .iter()
        .map(|(name, arguments)| {
            let arguments: Vec<String> = arguments
                .iter()
                .map(|(name, kind)| format!("    {kind} {}", name.trim_start_matches("r#")))
                .collect();
            format!("\nCK_RV {name}(\n{});\n", arguments.join(",\n"))
        })
        .collect()
}

#[test]
fn header_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/include/keyward_pkcs11.h");
    if std::env::var_os("KEYWARD_BLESS").is_some() {
        std::fs::write(path, header()).unwrap();
    }
    let same = std::fs::read_to_string(path).is_ok_and(|file| file == header());
    assert!(same, "include/keyward_pkcs11.h is out of date: KEYWARD_BLESS=1 cargo test header");
}
