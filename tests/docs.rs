//! Documents that are made from code. A test fails when a file is not what the
//! code says; `KEYWARD_BLESS=1 cargo test --test docs` writes it anew.

#![allow(clippy::unwrap_used, missing_docs)]

mod conformance;

use std::fmt::Write as _;
use std::path::Path;

use cryptoki_sys::*;
use keyward_token::mechanism::{Mechanism, Policy, REGISTRY};

const MECHANISMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/mechanisms.md");
const CONFORMANCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/conformance.md");
const ERRORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/errors.md");

#[test]
fn the_page_of_mechanisms_is_what_the_registry_says() {
    is_fresh(MECHANISMS, &page());
}

#[test]
fn the_page_of_conformance_is_what_the_registry_and_the_facts_say() {
    is_fresh(CONFORMANCE, &conformance::page());
}

fn is_fresh(path: &str, page: &str) {
    if std::env::var_os("KEYWARD_BLESS").is_some() {
        std::fs::write(path, page).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    if let Some((old, new)) = there.lines().zip(page.lines()).find(|(old, new)| old != new) {
        panic!("{path} is stale: KEYWARD_BLESS=1 cargo test --test docs\n{old}\n{new}");
    }
    assert_eq!(there.len(), page.len(), "{path} is stale: KEYWARD_BLESS=1 cargo test --test docs");
}

#[test]
fn every_message_of_the_page_of_errors_is_said_somewhere() {
    let sources = sources(Path::new(env!("CARGO_MANIFEST_DIR")));
    let page = std::fs::read_to_string(ERRORS).unwrap();
    let mut messages = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let message = line.split('|').nth(1).unwrap().trim();
        for part in parts(message) {
            messages += 1;
            assert!(sources.contains(&part), "no source says {part:?}, of {message:?} in {ERRORS}");
        }
    }
    assert!(messages > 80, "{messages}");
}

#[test]
fn every_flag_of_a_mechanism_has_a_name() {
    for mechanism in REGISTRY {
        let named = FLAGS.iter().fold(0, |all, (flag, _)| all | flag);
        assert_eq!(mechanism.flags & !named, 0, "{}", mechanism.name);
    }
}

/// What stands in a source as it stands in a message: what is put in at run
/// time, and what rustls and the operating system say, is cut out.
fn parts(message: &str) -> Vec<String> {
    const CUTS: [&str; 12] = [
        "...",
        "; ",
        "`",
        "Message",
        "(command)",
        "CKA_SIGN",
        "no SO PIN is given, no user PIN",
        "certificate 2 of the file, ..., did not issue certificate 1",
        "Connection refused",
        "No such file or directory, Permission denied",
        "certificate not valid for name",
        "UnknownIssuer",
    ];
    let mut parts = vec![message.to_owned()];
    for cut in CUTS.iter().rev() {
        parts = parts.iter().flat_map(|part| part.split(cut)).map(str::to_owned).collect();
    }
    let trim = |part: &String| part.trim_matches(|c| " ,:()".contains(c)).to_owned();
    let long = |part: &String| part.len() > 5 && !part.ends_with("CKA_") && !part.ends_with("0x");
    parts.iter().map(trim).filter(long).filter(|part| !part.contains("peer certificate")).collect()
}

/// All sources of the programs, a line break within a string taken out.
fn sources(root: &Path) -> String {
    let mut folders = vec![root.join("src")];
    folders.extend(
        std::fs::read_dir(root.join("crates")).unwrap().map(|one| one.unwrap().path().join("src")),
    );
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(path).unwrap().replace("\\\n", " ");
                all.extend(text.split_whitespace().flat_map(|word| [word, " "]));
            }
        }
    }
    all
}

fn page() -> String {
    let mut page = PROLOGUE.to_owned();
    for mechanism in REGISTRY {
        // Writing to a String does not fail.
        let _ = writeln!(
            page,
            "| `{}` | {:#x} | {} | {} | {} | {} | {} |",
            mechanism.name,
            mechanism.number,
            sizes(mechanism),
            flags(mechanism),
            if mechanism.tls { "yes" } else { "" },
            under(Policy::Default, mechanism),
            under(Policy::Fips, mechanism),
        );
    }
    page + EPILOGUE
}

/// What a policy leaves of a mechanism.
fn under(policy: Policy, mechanism: &'static Mechanism) -> String {
    let Some(offer) = policy.offer(mechanism) else { return "no".to_owned() };
    let mut left = Vec::new();
    if offer.flags != mechanism.flags {
        let missing = Mechanism { flags: mechanism.flags & !offer.flags, ..*mechanism };
        left.push(format!("without {}", flags(&missing)));
    }
    let compat = Policy::Compat.offer(mechanism).map_or(0, |offer| offer.min_key_size);
    if offer.min_key_size != compat {
        left.push(format!("from {}", offer.min_key_size));
    }
    left.join("; ")
}

fn sizes(mechanism: &'static Mechanism) -> String {
    let least = Policy::Compat.offer(mechanism).map_or(0, |offer| offer.min_key_size);
    match (least, mechanism.max_key_size) {
        (0, 0) => String::new(),
        (least, most) => format!("{least} to {most}"),
    }
}

fn flags(mechanism: &Mechanism) -> String {
    let named: Vec<_> = FLAGS
        .iter()
        .filter(|(flag, _)| mechanism.flags & flag != 0)
        .map(|(_, name)| *name)
        .collect();
    named.join(", ")
}

const FLAGS: &[(CK_FLAGS, &str)] = &[
    (CKF_GENERATE, "GENERATE"),
    (CKF_GENERATE_KEY_PAIR, "GENERATE_KEY_PAIR"),
    (CKF_SIGN, "SIGN"),
    (CKF_VERIFY, "VERIFY"),
    (CKF_MESSAGE_SIGN, "MESSAGE_SIGN"),
    (CKF_MESSAGE_VERIFY, "MESSAGE_VERIFY"),
    (CKF_SIGN_RECOVER, "SIGN_RECOVER"),
    (CKF_VERIFY_RECOVER, "VERIFY_RECOVER"),
    (CKF_ENCRYPT, "ENCRYPT"),
    (CKF_DECRYPT, "DECRYPT"),
    (CKF_MESSAGE_ENCRYPT, "MESSAGE_ENCRYPT"),
    (CKF_MESSAGE_DECRYPT, "MESSAGE_DECRYPT"),
    (CKF_WRAP, "WRAP"),
    (CKF_UNWRAP, "UNWRAP"),
    (CKF_DERIVE, "DERIVE"),
    (CKF_ENCAPSULATE, "ENCAPSULATE"),
    (CKF_DECAPSULATE, "DECAPSULATE"),
    (CKF_DIGEST, "DIGEST"),
    (CKF_EC_F_P, "EC_F_P"),
    (CKF_EC_OID, "EC_OID"),
    (CKF_EC_UNCOMPRESS, "EC_UNCOMPRESS"),
    (CKF_EC_CURVENAME, "EC_CURVENAME"),
];

const PROLOGUE: &str = "\
# Mechanisms

<!-- Made from REGISTRY in crates/keyward-token/src/mechanism/registry.rs by tests/docs.rs; do not edit. -->

In the order of C_GetMechanismList. Key sizes are in bits for key pairs and in bytes for
secret keys, flags are those of C_GetMechanismInfo without their CKF_.
\"tls\" says what the profile `tls` lists; there C_GetMechanismInfo also answers for CKM_SHA256, CKM_SHA384 and CKM_SHA512,
because the JDK offers PSS only with hashes that it can ask about.

A token's [policy](cli.md#token-set-policy-label-policy) chooses: `compat` offers all of the table, \"default\" and \"fips\" say what
those policies take away of it (\"no\": all).

| Mechanism | Number | Key sizes | Flags | tls | default | fips |
|---|---|---|---|---|---|---|
";

const EPILOGUE: &str = "
EC keys are on the named curves P-224, P-256, P-384, P-521, secp256k1 and brainpoolP224r1 to brainpoolP512r1; under the policy
`compat` also on P-192, brainpoolP160r1, brainpoolP192r1 and the twins brainpoolP160t1 to brainpoolP512t1; under `fips` on NIST's
from P-224 on only. CKA_EC_PARAMS is the curve's OID, or its name as a PrintableString. Montgomery keys are X25519's and Edwards keys
Ed25519's, by OID or name; CKM_ECDH1_DERIVE takes EC and Montgomery keys. CKM_EDDSA signs the message, or with CK_EDDSA_PARAMS a
digest or under a context. ML-DSA and ML-KEM come in the three sets of each standard, CKA_PARAMETER_SET; sizes are those of
their public keys in bytes. ML-DSA signatures are hedged; CKH_DETERMINISTIC_REQUIRED is refused. Of an ML-DSA message only
FIPS 204's mu, 64 bytes, goes to the service. An ECDSA signature is r || s, each as long as the curve's field (66 bytes for P-521).

CKM_DES_* are for old programs and for test suites alone: 56 bits keep nothing secret. C_GenerateKey makes domain parameters
(CKO_DOMAIN_PARAMETERS) by CKM_DSA_PARAMETER_GEN and CKM_DH_PKCS_PARAMETER_GEN, in the service, within a minute or not at all: DSA
primes of 1024 to 3072 bits in steps of 64, with a subprime of 160 bits and from 2048 on 256 (FIPS 186-4's 224 is not made, and
imported); Diffie-Hellman safe primes with the base 2, of 1536, 2048, 3072, 4096, 6144 and 8192 bits those of RFC 3526, of other
sizes below 2048 new ones.

CKM_TLS12_KEY_AND_MAC_DERIVE and its like give up to four keys and two initialisation vectors by one request; a premaster secret
by CKM_TLS_PRE_MASTER_KEY_GEN may be wrapped unless its template says otherwise, since that is all that it is for. Export keys and
SSL 3 there are none.

CKM_PKCS5_PBKD2 takes CK_PKCS5_PBKD2_PARAMS2, or the structure of v2.40 that NSS has, and 1 to 10,000,000 iterations. CKM_PUB_KEY_FROM_PRIV_KEY gives the public half of
RSA, EC, Edwards, Montgomery, ML-DSA and ML-KEM keys; DSA and Diffie-Hellman keys do not show theirs.

What happens where: digests, verification and encryption with public keys are done inside the module. For a signature by a
mechanism with a hash the module makes the digest and sends only that. HMAC, CMAC and AES with a key of the token need the
data: ECB, CBC, CTR, OFB and CFB work in steps of 512 KiB, and whatever comes in parts is answered part by part; GCM, CCM and
authentication codes, and CKM_EDDSA without a digest, take at most 16 MiB, and give nothing before the end. CKM_RSA_PKCS signs what it is given, which is a DER DigestInfo
or, for TLS 1.1 and older, 36 bytes.

PSS and OAEP take SHA-1, SHA-224 to SHA-512 and SHA3-224 to SHA3-512 as hashAlg and mgf, each on its own; a mechanism
with a hash insists on that one as hashAlg. The salt is at most 1024 bytes, and shorter if the key has no room for it.
";
