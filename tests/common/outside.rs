//! The second opinion: OpenSSL's command line, which shares nothing with the
//! module.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::alone::output_within;

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder in which `openssl` works.
pub struct OpenSsl {
    dir: TempDir,
}

impl OpenSsl {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Writes a file for `openssl` to read; gives back its path.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a file has come to hold.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs `openssl` in the folder; `Err` holds what it complained of.
    pub fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = tool("openssl");
        let output = output_within(command.args(arguments).current_dir(&self.dir), PATIENCE);
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(format!(
                "{arguments:?}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ))
        }
    }

    /// A digest, with `sha256` and the like.
    pub fn digest(&self, hash: &str, data: &[u8]) -> Vec<u8> {
        self.file("data", data);
        self.run(&["dgst", &format!("-{hash}"), "-binary", "data"]).unwrap()
    }

    /// Verifies a signature over `input`, which is mostly a digest.
    /// `public` is the DER of a SubjectPublicKeyInfo.
    pub fn verify(
        &self,
        public: &[u8],
        options: &[&str],
        input: &[u8],
        signature: &[u8],
    ) -> Result<(), String> {
        self.file("public.der", public);
        self.file("input", input);
        self.file("signature", signature);
        let mut arguments = vec!["pkeyutl", "-verify", "-pubin", "-keyform", "DER"];
        arguments.extend(["-inkey", "public.der", "-in", "input", "-sigfile", "signature"]);
        for option in options {
            arguments.extend(["-pkeyopt", option]);
        }
        self.run(&arguments).map(|_| ())
    }

    /// Encrypts for a public key.
    pub fn encrypt(&self, public: &[u8], options: &[&str], data: &[u8]) -> Vec<u8> {
        self.file("public.der", public);
        self.file("input", data);
        let mut arguments = vec!["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER"];
        arguments.extend(["-inkey", "public.der", "-in", "input", "-out", "encrypted"]);
        for option in options {
            arguments.extend(["-pkeyopt", option]);
        }
        self.run(&arguments).unwrap();
        self.read("encrypted")
    }

    /// A self-signed certificate, DER, with `CN=name`.
    pub fn certificate(&self, name: &str) -> Vec<u8> {
        if !self.path("key.pem").exists() {
            let curve = "ec_paramgen_curve:P-256";
            self.run(&["genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", "key.pem"])
                .unwrap();
        }
        let subject = format!("/CN={name}");
        self.run(&[
            "req",
            "-new",
            "-x509",
            "-key",
            "key.pem",
            "-subj",
            &subject,
            "-days",
            "2",
            "-outform",
            "DER",
            "-out",
            "certificate.der",
        ])
        .unwrap();
        self.read("certificate.der")
    }
}

/// A program that the tests need; a missing one is a failure.
pub fn tool(name: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    assert!(found, "{name} is not there: make test installs it");
    Command::new(name)
}

/// An ECDSA signature as r || s, in the DER that everybody but PKCS#11 uses.
pub fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    tagged(0x30, &body)
}

/// The other way round: fixed width `width` for each of r and s.
pub fn ecdsa_raw(der: &[u8], width: usize) -> Vec<u8> {
    let (_, body, _) = parse(der);
    let (_, r, rest) = parse(body);
    let (_, s, _) = parse(rest);
    let pad = |number: &[u8]| {
        let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
        [vec![0; width - number.len()], number.to_vec()].concat()
    };
    [pad(r), pad(s)].concat()
}

/// Tag, content and what follows.
pub fn parse(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (start, length) = match der[1] {
        short @ 0..0x80 => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            let length =
                der[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (2 + count, length)
        }
    };
    (der[0], &der[start..start + length], &der[start + length..])
}

fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let mut number = number[zeros.min(number.len() - 1)..].to_vec();
    if number[0] & 0x80 != 0 {
        number.insert(0, 0);
    }
    tagged(0x02, &number)
}

fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    if body.len() < 0x80 {
        der.push(body.len() as u8);
    } else {
        let length = body.len().to_be_bytes();
        let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
        der.push(0x80 | length.len() as u8);
        der.extend(length);
    }
    der.extend(body);
    der
}
