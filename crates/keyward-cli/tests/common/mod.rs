//! Runs the real program.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub mod service;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Its standard output, if it ended well.
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its error message, if it ended with this code and said nothing on
    /// standard output.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        assert!(self.stderr.starts_with("keyward: error: "), "{}", self.stderr);
        self.stderr
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// `keyward` without anything that this process has in its environment for it.
pub fn keyward<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(KEYWARD);
    command.args(arguments);
    for variable in [
        "KEYWARD_CONFIG",
        "KEYWARD_ADMIN_CONFIG",
        "KEYWARD_PKCS11_MODULE",
        "KEYWARD_PIN",
        "KEYWARD_SO_PIN",
        "KEYWARD_LOG",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs `keyward` to its end.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Said {
    keyward(arguments).output().unwrap().into()
}

/// Starts `keyward serve` and waits until it says that it is ready.
pub fn serve<S: AsRef<OsStr>>(config: S) -> Child {
    let mut child = keyward(["serve", "--announce", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready 127.0.0.1:"), "{line}");
    child
}

/// Runs a shell script inside `keyward dev`, in `folder`, with `$keyward` set.
pub fn dev(folder: &Path, options: &[&str], script: &str) -> Said {
    let mut arguments = vec!["dev", "--no-module"];
    arguments.extend(options);
    arguments.extend(["--", "sh", "-euc", script]);
    keyward(arguments).env("keyward", KEYWARD).current_dir(folder).output().unwrap().into()
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("still not: {what}");
}

/// Whether a process exists.
pub fn lives(pid: &str) -> bool {
    Path::new("/proc").join(pid.trim()).exists()
}
