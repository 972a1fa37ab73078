//! Hosts of the module: Python programs, which know nothing but the C interface.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::alone::output_within;
use super::outside::tool;
use super::{SO_PIN, Service, module};

pub const TOKEN: &str = "token";

/// No number in a log looks like it.
pub const PIN: &str = "right-horse";
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What every host begins with. The structures are laid out by ctypes itself.
pub const PRELUDE: &str = r#"
import ctypes, os, signal, sys
from ctypes import byref, c_char_p, c_ubyte, c_ulong, c_void_p

class Mechanism(ctypes.Structure):
    _fields_ = [("type", c_ulong), ("parameter", c_void_p), ("length", c_ulong)]

class Attribute(ctypes.Structure):
    _fields_ = [("type", c_ulong), ("value", c_void_p), ("length", c_ulong)]

# A host that hangs is ended by the system.
signal.alarm(25)
module = ctypes.CDLL(os.environ["MODULE"])
CKM_ECDSA = 0x1041

def call(name, *arguments):
    return getattr(module, name)(*arguments) & 0xffffffff

def ok(name, *arguments):
    rv = call(name, *arguments)
    assert rv == 0, f"{name}: {rv:#x} in process {os.getpid()}"

def login():
    session = c_ulong()
    ok("C_OpenSession", c_ulong(0), c_ulong(6), None, None, byref(session))
    pin = os.environ["PIN"].encode()
    ok("C_Login", session, c_ulong(1), c_char_p(pin), c_ulong(len(pin)))
    return session

def find_key(session):
    kind = c_ulong(3)
    template = Attribute(0, ctypes.addressof(kind), 8)
    ok("C_FindObjectsInit", session, byref(template), c_ulong(1))
    key, count = c_ulong(), c_ulong()
    ok("C_FindObjects", session, byref(key), c_ulong(1), byref(count))
    ok("C_FindObjectsFinal", session)
    assert count.value == 1
    return key

def sign(session, key):
    mechanism = Mechanism(CKM_ECDSA, None, 0)
    rv = call("C_SignInit", session, byref(mechanism), key)
    if rv:
        return rv
    digest, signature, length = (c_ubyte * 32)(1), (c_ubyte * 64)(), c_ulong(64)
    return call("C_Sign", session, digest, c_ulong(32), signature, byref(length))

def wait(child):
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
"#;

/// A service with a token, an EC key in it, and a client.
pub struct Host {
    pub service: Service,
    pub config: std::path::PathBuf,
}

impl Host {
    pub fn new() -> Self {
        let service = Service::start();
        let create = ["token", "create", "--label", TOKEN, "--so-pin", SO_PIN, "--pin", PIN];
        service.admin(&create);
        service.admin(&["key", "generate", "--token", TOKEN, "--type", "ec:p256", "--label", "k"]);
        let config = service.identity("client", &[TOKEN], &[]);
        Self { service, config }
    }

    pub fn command(&self, program: &str) -> Command {
        python(&self.config, program)
    }

    /// Runs a program, which must succeed and say nothing.
    pub fn run(&self, program: &str) -> Output {
        let output = output_within(&mut self.command(program), PATIENCE);
        assert!(output.status.success(), "{}: {}", output.status, text(&output));
        assert_eq!(text(&output), "", "the module or the host has written something");
        output
    }
}

pub fn python(config: &Path, program: &str) -> Command {
    let mut command = tool("python3");
    command
        .args(["-c", &format!("{PRELUDE}\n{program}")])
        .env("MODULE", module())
        .env("KEYWARD_CONFIG", config)
        .env("PIN", PIN)
        .env_remove("KEYWARD_PKCS11_LOG");
    command
}

pub fn text(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}
