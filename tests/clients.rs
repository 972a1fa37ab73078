//! Other people's clients, each doing real work that something else than the
//! module verifies: the scripts of tests/clients, on Keyward and, as the
//! control, on SoftHSM. They know of neither.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use common::alone::output_within;
use common::host::text;
use common::outside::tool;
use common::{PIN, SO_PIN, keyward, module, repository, run};
use tempfile::TempDir;

/// What SoftHSM 2.6.1 fails at, always or by chance; Keyward fails at nothing.
const SOFTHSM_FAILS: &[(&str, &str, &str)] = &[
    ("nss", "selfserv, rsa", COPY),
    ("nss", "selfserv, carried", COPY),
    ("pkcs11-tool", "its tests", "it has OAEP with SHA-1 only"),
    ("pkcs11-tool", "its tests of threads", LOSES),
    ("p11-kit", "several clients at once", LOSES),
    ("threads", "64 threads after C_Initialize(NULL)", "it locks nothing unless asked to"),
    ("threads", "64 threads after C_Initialize(OS_LOCKING_OK)", LOSES),
    ("threads", "32 threads log in at once", "it locks nothing unless asked to"),
    ("threads", "each way to initialise, one after the other", "the first ways are without locks"),
    ("threads", "every way to initialise, from many threads at once", "it crashes"),
    ("threads", "wrong arguments, from many threads at once", LOSES),
    ("threads", "C_Initialize and C_Finalize while threads work", "it crashes"),
    ("threads", "8 processes at once", LOSES),
];
const COPY: &str = "C_CopyObject without a template is CKR_ARGUMENTS_BAD";
const LOSES: &str = "it mislays its token while others write: CKR_GENERAL_ERROR";

const TOKEN: &str = "dev";
const PATIENCE: Duration = Duration::from_secs(150);

/// What a host is told about a token; the script works in a folder that is
/// empty. Its last word is what the service did meanwhile.
const ON_KEYWARD: &str = r#"
    export PKCS11_MODULE=$KEYWARD_PKCS11_MODULE PKCS11_TOKEN=$KEYWARD_TOKEN_LABEL
    export PKCS11_PIN=$KEYWARD_PIN PKCS11_SO_PIN=$KEYWARD_SO_PIN
    "$@"
    status=$?
    "$KEYWARD" status --json > ../status.json || exit 99
    exit $status
"#;

/// A client's script.
struct Client {
    name: &'static str,
    command: Vec<PathBuf>,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Client {
    fn shell(name: &'static str) -> Self {
        let script = repository(&format!("tests/clients/{name}.sh"));
        Self { name, command: vec![script], variables: Vec::new() }
    }

    fn python(name: &'static str, file: &str) -> Self {
        let interpreter = built("python");
        let script = repository(&format!("tests/clients/{file}"));
        Self { name, command: vec![interpreter, script], variables: Vec::new() }
    }

    fn node(name: &'static str) -> Self {
        let script = repository(&format!("tests/clients/{name}.js"));
        let modules = built("node");
        Self { name, command: vec!["node".into(), script], variables: vec![("NODE_PATH", modules)] }
    }

    /// Runs the script on both; Keyward passes all its parts, and its service
    /// was asked at least so often for these operations.
    fn passes(self, asked: &[(&str, u64)]) {
        let ours = self.on_keyward(asked);
        let theirs = self.on_softhsm();
        let names = |parts: &[(String, bool)]| -> Vec<String> {
            parts.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&ours), names(&theirs), "{}: they are not asked the same", self.name);
        let known: Vec<_> = SOFTHSM_FAILS.iter().filter(|entry| entry.0 == self.name).collect();
        for (_, part, _) in &known {
            assert!(names(&ours).iter().any(|name| name == part), "no part is called {part}");
        }
    }

    fn on_keyward(&self, asked: &[(&str, u64)]) -> Vec<(String, bool)> {
        let scratch = Scratch::new();
        module();
        let mut command = in_own_network();
        command
            .arg(keyward())
            .args(["dev", "--token-label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN])
            .args(["--", "bash", "-c", ON_KEYWARD, "client"])
            .args(&self.command)
            .env("KEYWARD", keyward());
        let output = self.output(&mut command, &scratch);
        let parts = parts(&output);
        let passed = parts.iter().all(|part| part.1) && !parts.is_empty();
        assert!(passed && output.status.success(), "{} on Keyward: {}", self.name, text(&output));
        let counts = scratch.counts();
        for (operation, least) in asked {
            let count = counts[*operation]["count"].as_u64().unwrap_or(0);
            assert!(count >= *least, "{}: {count} times {operation}: {counts}", self.name);
        }
        parts
    }

    fn on_softhsm(&self) -> Vec<(String, bool)> {
        let scratch = Scratch::new();
        let told = run(Command::new(repository("softhsm-setup.sh"))
            .args(["--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN, "--dir"])
            .arg(scratch.dir.path().join("softhsm")));
        let mut command = in_own_network();
        command
            // What the setup tells is for a shell.
            .args(["bash", "-c", &format!(r#"{told}{ON_SOFTHSM}"#), "client"])
            .args(&self.command)
            .envs([("PKCS11_TOKEN", TOKEN), ("PKCS11_PIN", PIN), ("PKCS11_SO_PIN", SO_PIN)])
            // It hangs now and then.
            .env("PATIENCE", "15");
        let output = self.output(&mut command, &scratch);
        let parts = parts(&output);
        for (part, passed) in &parts {
            let known =
                SOFTHSM_FAILS.iter().any(|(name, known, _)| *name == self.name && known == part);
            assert!(*passed || known, "{} on SoftHSM, {part}: {}", self.name, text(&output));
        }
        parts
    }

    fn output(&self, command: &mut Command, scratch: &Scratch) -> Output {
        command
            .current_dir(scratch.dir.path().join("work"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        output_within(command, PATIENCE)
    }
}

const ON_SOFTHSM: &str = r#"
    export SOFTHSM2_CONF PKCS11_MODULE=$SOFTHSM2_MODULE
    exec "$@"
"#;

/// Some servers of the clients listen on all addresses: in a network of their
/// own there is but the loopback.
fn in_own_network() -> Command {
    let mut command = tool("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "network"]);
    command
}

/// What tests/tools/clients.sh builds.
fn built(what: &str) -> PathBuf {
    run(Command::new(repository("tests/tools/clients.sh")).arg(what)).trim().into()
}

/// `passed: NAME` and `failed: NAME`, line by line.
fn parts(output: &Output) -> Vec<(String, bool)> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let part = |line: &str| match line.split_once(": ")? {
        ("passed", name) => Some((name.to_owned(), true)),
        ("failed", name) => Some((name.to_owned(), false)),
        _ => None,
    };
    stdout.lines().filter_map(part).collect()
}

/// A folder with an empty one in it.
struct Scratch {
    dir: TempDir,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("work")).unwrap();
        Self { dir }
    }

    /// The service's operations on the token.
    fn counts(&self) -> serde_json::Value {
        let status = std::fs::read(self.dir.path().join("status.json")).unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
        let tokens = status["tokens"].as_array().unwrap();
        tokens.iter().find(|entry| entry["token"] == TOKEN).unwrap()["operations"].clone()
    }
}

#[test]
fn openssl_by_its_engine() {
    Client::shell("openssl").passes(&[("sign", 17), ("decrypt", 3)]);
}

#[test]
fn gnutls() {
    Client::shell("gnutls").passes(&[("generate_key_pair", 2), ("sign", 12), ("create_object", 2)]);
}

#[test]
fn nss() {
    Client::shell("nss").passes(&[("generate_key_pair", 2), ("sign", 16), ("create_object", 3)]);
}

#[test]
fn ssh() {
    let mut client = Client::shell("ssh");
    // The machine's sshd, or the one that tests/tools/install.sh has unpacked.
    let own = repository("tests/.cache/sshd");
    if !Path::new("/usr/sbin/sshd").exists() {
        let sshd = own.join("usr/sbin/sshd");
        assert!(sshd.exists(), "no sshd: run tests/tools/install.sh");
        let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        client.variables = vec![("SSHD", sshd), ("SSHD_LIBRARIES", own.join(libraries))];
    }
    client.passes(&[("sign", 7)]);
}

#[test]
fn p11_kit_as_a_server() {
    Client::shell("p11-kit").passes(&[("sign", 8), ("decrypt", 1)]);
}

#[test]
fn pkcs11_tool_by_its_own_tests() {
    Client::shell("pkcs11-tool").passes(&[("decrypt", 1)]);
}

#[test]
fn python_pkcs11() {
    Client::python("python-pkcs11", "python_pkcs11.py").passes(&[("sign", 7), ("encrypt", 1)]);
}

#[test]
fn pykcs11() {
    Client::python("PyKCS11", "pykcs11.py").passes(&[("sign", 5), ("decrypt", 4)]);
}

#[test]
fn node_pkcs11js() {
    Client::node("pkcs11js").passes(&[("sign", 6), ("decrypt", 2)]);
}

#[test]
fn node_graphene() {
    Client::node("graphene").passes(&[("sign", 5), ("decrypt", 2)]);
}

#[test]
fn go_crypto11() {
    let client = Client { name: "crypto11", command: vec![built("go")], variables: Vec::new() };
    client.passes(&[("sign", 170), ("decrypt", 2), ("encrypt", 2)]);
}

/// Many threads and processes.
#[test]
fn threads_and_processes() {
    Client::python("threads", "threads.py").passes(&[("sign", 64 * 6 * 2)]);
}
