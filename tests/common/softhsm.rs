//! SoftHSM: the control, and the HSM behind a service.

use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki_sys::CK_SLOT_ID;
use tempfile::TempDir;

use super::alone::set_variable;
use super::{PIN, SO_PIN, repository, run, target};

/// Makes a token in the folder; the path of SoftHSM's module and the slot.
pub fn soft_hsm(folder: &Path) -> (String, CK_SLOT_ID) {
    let [conf, module, slot] = made(folder);
    set_variable("SOFTHSM2_CONF", conf.as_ref());
    (module, slot.parse().unwrap())
}

/// SOFTHSM2_CONF, the module's path and the slot of a token in the folder.
fn made(folder: &Path) -> [String; 3] {
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
    let lines: Vec<String> = told.lines().map(str::to_owned).collect();
    lines.try_into().unwrap()
}

/// A SoftHSM token for a service, which fails where the test wants it.
pub struct SoftHsm {
    dir: TempDir,
    conf: String,
    module: String,
}

impl SoftHsm {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [conf, module, _] = made(&dir.path().join("softhsm"));
        let hsm = Self { dir, conf, module };
        hsm.set_pin(PIN);
        hsm.faults("");
        hsm
    }

    /// `[[hsm]]` of the service's configuration.
    pub fn section(&self, library: &Path, more: &str) -> String {
        let path = self.dir.path().display();
        format!(
            "[[hsm]]\nname = \"main\"\nlibrary = {library:?}\ntoken = \"keyward-test\"\n\
             pin.file = \"{path}/pin\"\n{more}\n[hsm.environment]\nSOFTHSM2_CONF = {:?}\n\
             FAULTY_LIBRARY = {:?}\nFAULTY_FILE = \"{path}/faults\"\n",
            self.conf, self.module
        )
    }

    /// SoftHSM itself.
    pub fn module(&self) -> PathBuf {
        self.module.clone().into()
    }

    /// SoftHSM's own configuration.
    pub fn conf(&self) -> &str {
        &self.conf
    }

    /// The PIN that the service is told.
    pub fn set_pin(&self, pin: &str) {
        use std::os::unix::fs::PermissionsExt;

        let path = self.dir.path().join("pin");
        std::fs::write(&path, pin).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// What the faulty library does from now on: see `tests/hsm/faulty.c`.
    pub fn faults(&self, faults: &str) {
        let path = self.dir.path().join("faults");
        std::fs::write(path.with_extension("to"), faults).unwrap();
        std::fs::rename(path.with_extension("to"), path).unwrap();
    }

    /// How often the faulty library was told a PIN.
    pub fn logins(&self) -> usize {
        let path = self.dir.path().join("faults.logins");
        std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
    }

    /// pkcs11-tool on SoftHSM itself.
    pub fn tool(&self, arguments: &[&str]) -> String {
        run(Command::new("pkcs11-tool")
            .args(["--module", &self.module, "--token-label", "keyward-test", "--login"])
            .args(["--pin", PIN])
            .args(arguments)
            .env("SOFTHSM2_CONF", &self.conf))
    }
}

/// The library that fails, built once by each test program.
pub fn faulty() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = target().join("tests");
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("faulty-{}.so", std::process::id()));
            run(Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-Wno-strict-prototypes", "-o"])
                .arg(&path)
                .arg(repository("tests/hsm/faulty.c"))
                .args(["-ldl", "-lpthread"]));
            path
        })
        .clone()
}
