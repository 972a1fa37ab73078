//! SoftHSM tokens of a test's own, and the command with what opens them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{PIN, SO_PIN, keyward, module, repository, run};

/// Tokens in a folder of their own.
pub struct Hsm {
    pub folder: TempDir,
    pub config: PathBuf,
    pub module: String,
}

impl Hsm {
    pub fn new(labels: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut told = String::new();
        for label in labels {
            told = run(Command::new(repository("softhsm-setup.sh"))
                .args(["--pin", PIN, "--so-pin", SO_PIN, "--label", label, "--dir"])
                .arg(folder.path()));
        }
        let value = |name: &str| {
            let start = format!("export {name}=");
            told.lines().find_map(|line| line.strip_prefix(&start)).unwrap().to_owned()
        };
        let (config, module) = (value("SOFTHSM2_CONF").into(), value("SOFTHSM2_MODULE"));
        Self { folder, config, module }
    }

    pub fn uri(&self, label: &str) -> String {
        format!("pkcs11:token={label}?module-path={}", self.module)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `keyward migrate` in the folder, with all PINs at hand.
    pub fn migrate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(keyward());
        command.arg("migrate").args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        for (name, value) in [
            ("KEYWARD_MIGRATE_FROM_PIN", PIN),
            ("KEYWARD_MIGRATE_TO_PIN", PIN),
            ("KEYWARD_MIGRATE_FROM_SO_PIN", SO_PIN),
            ("KEYWARD_MIGRATE_PASSWORD", "changeit"),
        ] {
            command.env(name, value);
        }
        command.env("SOFTHSM2_CONF", &self.config).env_remove("KEYWARD_CONFIG");
        command
    }

    /// Makes a plan, looks at it, and signs it off.
    pub fn plan(&self, from: &str, to: &str, name: &str, config: Option<&Path>) -> Plan {
        let mut command =
            self.migrate(&["plan", "--json", "--from", from, "--to", to, "--out", name]);
        if let Some(config) = config {
            command.env("KEYWARD_CONFIG", config);
        }
        let told = run(&mut command);
        let path = self.file(name);
        sign_off(&path);
        Plan(serde_json::from_str(&told).unwrap())
    }

    /// Each object's line of pkcs11-tool for a token: its kind and label.
    pub fn listed(&self, label: &str) -> Vec<String> {
        listed(&self.module, label, &[("SOFTHSM2_CONF", &self.config)])
    }

    pub fn pkcs11_tool(&self, label: &str, arguments: &[&str]) -> Command {
        let mut command = pkcs11_tool(&self.module, label);
        command.args(arguments).env("SOFTHSM2_CONF", &self.config);
        command.current_dir(self.folder.path());
        command
    }
}

/// The URI of a Keyward token.
pub fn keyward_uri(label: &str) -> String {
    format!("pkcs11:token={label}?module-path={}", module().display())
}

/// Each object's line of pkcs11-tool for a token: its kind and label.
pub fn listed(library: &str, label: &str, variables: &[(&str, &PathBuf)]) -> Vec<String> {
    let mut command = pkcs11_tool(library, label);
    for (name, value) in variables {
        command.env(name, value);
    }
    let told = run(command.arg("--list-objects"));
    let mut objects: Vec<String> = Vec::new();
    for line in told.lines() {
        let kind = line.split(" Object").next().unwrap();
        if line.contains(" Object") && !line.starts_with(' ') {
            objects.push(kind.to_owned());
        } else if let (Some(label), Some(last)) =
            (line.trim().strip_prefix("label:"), objects.last_mut())
        {
            last.push(' ');
            last.push_str(label.trim());
        }
    }
    objects.sort();
    objects
}

fn pkcs11_tool(library: &str, label: &str) -> Command {
    let mut command = Command::new("pkcs11-tool");
    command.args(["--module", library, "--token-label", label, "--login", "--pin", PIN]);
    command
}

/// Writes a name under [sign_off].
pub fn sign_off(plan: &Path) {
    let text = std::fs::read_to_string(plan).unwrap();
    assert!(text.contains("by = \"\""), "{text}");
    std::fs::write(plan, text.replacen("by = \"\"", "by = \"A. Tester\"", 1)).unwrap();
}

/// A plan as `--json` prints it.
pub struct Plan(pub Value);

impl Plan {
    pub fn step(&self, what: &str) -> &Value {
        let steps = self.0["object"].as_array().unwrap();
        let found = steps.iter().find(|step| step["what"].as_str().unwrap().contains(what));
        found.unwrap_or_else(|| panic!("no {what} in {}", self.0))
    }

    pub fn way(&self, what: &str) -> &str {
        self.step(what)["way"].as_str().unwrap()
    }
}

/// `openssl`, with words that hold no blanks, in a folder.
pub fn openssl(folder: &Path, words: &str) -> String {
    run(Command::new("openssl").args(words.split(' ')).current_dir(folder))
}

/// A new key and a certificate that it signed itself.
pub fn self_signed(folder: &Path, kind: &str, name: &str, (key, certificate): (&str, &str)) {
    let subject = format!("-subj /CN={name} -days 9");
    openssl(
        folder,
        &format!("req -x509 -newkey {kind} -nodes -keyout {key} -out {certificate} {subject}"),
    );
}

/// What a command says to people, when it ends with this code.
pub fn said(command: &mut Command, code: i32) -> String {
    let output: Output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{printed}{text}");
    text
}

/// For [`self_signed`].
pub const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
