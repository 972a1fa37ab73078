//! docs/reference/conformance.md: function by function and mechanism by
//! mechanism, Keyward beside others. Keyward's column comes from its registry,
//! those of the others from the facts in this folder, which say their source.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;
use std::path::Path;

use cryptoki_sys::*;
use keyward_token::mechanism::{Policy, REGISTRY};

/// Another project, as its own tables and sources describe it.
pub struct Peer {
    pub name: &'static str,
    /// What its file says before the facts.
    source: String,
    /// The functions that it does not have, that always refuse, or that do
    /// only what is said.
    lacks: Vec<(String, String)>,
    pub mechanisms: Vec<Mechanism>,
}

pub struct Mechanism {
    pub name: String,
    /// Only where the test asks the module itself.
    pub number: Option<CK_MECHANISM_TYPE>,
    pub flags: CK_FLAGS,
    /// Only with kryoptic's feature `pqc`.
    optional: bool,
}

impl Peer {
    /// Reads `# source`, `- C_Function[: WHAT IT DOES]` and `CKM_NAME [NUMBER]: FLAG...`.
    pub fn read(name: &'static str, file: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let mut peer = Self { name, source: String::new(), lacks: vec![], mechanisms: vec![] };
        for line in text.lines() {
            if let Some(source) = line.strip_prefix("# ") {
                peer.source += source;
                peer.source.push('\n');
            } else if let Some(function) = line.strip_prefix("- ") {
                let (function, does) = function.split_once(": ").unwrap_or((function, ""));
                peer.lacks.push((function.to_owned(), does.to_owned()));
            } else {
                peer.mechanisms.push(Mechanism::parse(line));
            }
        }
        peer
    }

    fn cell(&self, name: &str) -> String {
        let Some(mechanism) = self.mechanisms.iter().find(|mechanism| mechanism.name == name)
        else {
            return String::new();
        };
        let letters = letters(mechanism.flags);
        if mechanism.optional { format!("({letters})") } else { letters }
    }
}

impl Mechanism {
    fn parse(line: &str) -> Self {
        let (name, words) = line.split_once(':').unwrap_or_else(|| panic!("no colon: {line}"));
        let (name, number) = match name.split_once(' ') {
            Some((name, number)) => (name, Some(number.strip_prefix("0x").unwrap())),
            None => (name, None),
        };
        let number = number.map(|number| CK_ULONG::from_str_radix(number, 16).unwrap());
        let mut mechanism =
            Self { name: name.to_owned(), number, flags: 0, optional: line.ends_with(" PQC") };
        for word in words.split_whitespace().filter(|word| *word != "PQC") {
            let known = OPERATIONS.iter().find(|(_, name, _)| *name == word);
            mechanism.flags |= known.unwrap_or_else(|| panic!("what is {word}?")).0;
        }
        mechanism
    }
}

/// All that is compared; C_GetMechanismInfo has more flags than these.
pub fn compared() -> CK_FLAGS {
    OPERATIONS.iter().fold(0, |all, (flag, ..)| all | flag)
}

const OPERATIONS: &[(CK_FLAGS, &str, &str)] = &[
    (CKF_GENERATE, "GENERATE", "g"),
    (CKF_GENERATE_KEY_PAIR, "GENERATE_KEY_PAIR", "G"),
    (CKF_ENCRYPT, "ENCRYPT", "e"),
    (CKF_DECRYPT, "DECRYPT", "d"),
    (CKF_MESSAGE_ENCRYPT, "MESSAGE_ENCRYPT", "E"),
    (CKF_MESSAGE_DECRYPT, "MESSAGE_DECRYPT", "D"),
    (CKF_SIGN, "SIGN", "s"),
    (CKF_VERIFY, "VERIFY", "v"),
    (CKF_SIGN_RECOVER, "SIGN_RECOVER", "r"),
    (CKF_VERIFY_RECOVER, "VERIFY_RECOVER", "R"),
    (CKF_MESSAGE_SIGN, "MESSAGE_SIGN", "S"),
    (CKF_MESSAGE_VERIFY, "MESSAGE_VERIFY", "V"),
    (CKF_DIGEST, "DIGEST", "h"),
    (CKF_WRAP, "WRAP", "w"),
    (CKF_UNWRAP, "UNWRAP", "u"),
    (CKF_DERIVE, "DERIVE", "k"),
    (CKF_ENCAPSULATE, "ENCAPSULATE", "c"),
    (CKF_DECAPSULATE, "DECAPSULATE", "C"),
];

fn letters(flags: CK_FLAGS) -> String {
    let of = |(flag, _, letter): &(CK_FLAGS, &str, &'static str)| {
        if flags & flag == 0 { "" } else { letter }
    };
    OPERATIONS.iter().map(of).collect()
}

/// The page.
pub fn page() -> String {
    let peers = [
        Peer::read("SoftHSM 2.6.1", "softhsm.txt"),
        Peer::read("kryoptic", "kryoptic.txt"),
        Peer::read("nethsm-pkcs11", "nethsm-pkcs11.txt"),
        Peer::read("kmsp11", "kmsp11.txt"),
    ];
    let mut page = PROLOGUE.to_owned();
    page += "\n## Where this is from\n\nKeyward: its registry of mechanisms and its table of functions, of this version.\n";
    for peer in &peers {
        let source = peer.source.trim_end().replace('\n', " ");
        let linked = source
            .split(' ')
            .map(|word| match word.strip_suffix(',') {
                Some(url) if url.starts_with("https://") => format!("<{url}>,"),
                _ => word.to_owned(),
            })
            .collect::<Vec<_>>()
            .join(" ");
        // Writing to a String does not fail.
        let _ = writeln!(page, "\n- {linked}");
    }
    page += "\n## Functions\n\n";
    page += &head("Function", &peers);
    for function in functions() {
        let _ = write!(page, "| {function} | {} |", keyward(&function));
        for peer in &peers {
            let lacks = peer.lacks.iter().find(|(name, _)| *name == function);
            let _ = write!(page, " {} |", lacks.map_or("yes", |(_, does)| does));
        }
        page.push('\n');
    }
    page += "\n## Mechanisms of Keyward\n\n";
    page += &head("Mechanism", &peers);
    for mechanism in REGISTRY {
        let offered = Policy::Default.offer(mechanism).map_or(0, |offer| offer.flags);
        let mut own = letters(offered);
        if let more @ 1.. = mechanism.flags & !offered & compared() {
            let _ = write!(own, "({})", letters(more));
        }
        row(&mut page, mechanism.name, &own, &peers);
    }
    page += "\n## Mechanisms that only others list\n\n";
    page += &head("Mechanism", &peers);
    let mut seen: Vec<&str> = REGISTRY.iter().map(|mechanism| mechanism.name).collect();
    for peer in &peers {
        for mechanism in &peer.mechanisms {
            if !seen.contains(&mechanism.name.as_str()) {
                seen.push(&mechanism.name);
                row(&mut page, &mechanism.name, "", &peers);
            }
        }
    }
    page
}

fn head(first: &str, peers: &[Peer]) -> String {
    let names: String = peers.iter().map(|peer| format!(" {} |", peer.name)).collect();
    format!("| {first} | Keyward |{names}\n|---|---|{}\n", "---|".repeat(peers.len()))
}

fn row(page: &mut String, name: &str, own: &str, peers: &[Peer]) {
    let _ = write!(page, "| `{name}` | {own} |");
    for peer in peers {
        let _ = write!(page, " {} |", peer.cell(name));
    }
    page.push('\n');
}

/// All functions, in the order of the standard.
fn functions() -> Vec<String> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi/table.rs");
    let table = std::fs::read_to_string(table).unwrap();
    let name = |line: &str| {
        let line = line.trim_start();
        let rest = line.strip_prefix("library ").or_else(|| line.strip_prefix("free "))?;
        rest.starts_with("C_").then(|| rest.split('(').next().unwrap().to_owned())
    };
    let functions: Vec<_> = table.lines().filter_map(name).collect();
    assert_eq!(functions.len(), 68 + 24 + 12, "v2.40, v3.0, v3.2");
    functions
}

/// A function that no mechanism can be used with always refuses.
fn keyward(function: &str) -> &'static str {
    let listed = |flag| REGISTRY.iter().any(|mechanism| mechanism.flags & flag != 0);
    let has = match function {
        "C_WrapKey" => listed(CKF_WRAP),
        "C_UnwrapKey" => listed(CKF_UNWRAP),
        "C_DeriveKey" => listed(CKF_DERIVE),
        "C_EncapsulateKey" => listed(CKF_ENCAPSULATE),
        "C_DecapsulateKey" => listed(CKF_DECAPSULATE),
        // Nothing is ever pending.
        "C_AsyncComplete" | "C_AsyncGetID" | "C_AsyncJoin" => false,
        _ if function.contains("MessageEncrypt") || function.contains("EncryptMessage") => {
            listed(CKF_MESSAGE_ENCRYPT)
        }
        _ if function.contains("MessageDecrypt") || function.contains("DecryptMessage") => {
            listed(CKF_MESSAGE_DECRYPT)
        }
        _ => true,
    };
    if has { "yes" } else { "" }
}

const PROLOGUE: &str = "\
# Conformance

<!-- Made by tests/docs.rs from the registry, src/abi/table.rs and the facts in tests/conformance; do not edit. -->

What of PKCS#11 Keyward does, beside other projects of its kind. The tables say what is there, not how well it works:
that Keyward and SoftHSM answer alike where the standard prescribes it, and that other people's clients work with both,
is tested ([other clients](../how-to/other-clients.md)). [The module](module.md) says what each function does, and
[the mechanisms](mechanisms.md) their sizes.

Functions: an empty cell is CKR_FUNCTION_NOT_SUPPORTED, a function that is not exported, or one that always refuses.
C_GetFunctionStatus and C_CancelFunction answer CKR_FUNCTION_NOT_PARALLEL, which is all that the standard lets them do.

Mechanisms: one letter for each operation that C_GetMechanismInfo names. g generates a key, G a key pair; e encrypts, d
decrypts, E and D messages; s signs, v verifies, S and V messages, r and R with recovery; h is a digest; w wraps, u
unwraps, k derives a key; c encapsulates, C decapsulates. In brackets: with Keyward's policy `compat`, and with a feature
of kryoptic that is not on by default.

The letters are what each project's own source says of itself. They differ in care: nethsm-pkcs11 lists CKM_RSA_PKCS_OAEP
as a signature although it decrypts, and kmsp11 CKM_AES_KEY_GEN as a cipher. kmsp11 lists HMAC and AES only when its
configuration allows them.
";
