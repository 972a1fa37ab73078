//! What a client needs to reach the service: a folder with `client.toml`,
//! `ca.pem`, `identity.pem` and `identity.key`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::files::{self, FileError};

/// How a slot's token is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotLogin {
    /// C_Login with the user PIN.
    #[default]
    Pin,
    /// The certificate alone.
    Certificate,
}

/// A `[[slot]]` of `client.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The token's label.
    pub token: String,
    /// How it is opened.
    pub login: SlotLogin,
    /// Whether the module may change it.
    pub writable: bool,
}

/// Everything for one client.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    /// `IP:port` or `name:port`.
    pub endpoints: &'a [String],
    /// The name in the server's certificate; "keyward" in one made by `init`.
    pub server_name: &'a str,
    /// The module's slots; none: the service is asked which tokens there are.
    pub slots: &'a [Slot],
    /// "full" or "tls".
    pub profile: &'a str,
    /// DER: the authority's certificate.
    pub authority: &'a [u8],
    /// DER: the identity's certificate.
    pub certificate: &'a [u8],
    /// PEM: the private key to it.
    pub private_key: &'a str,
}

/// Where the parts of a bundle were written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Written {
    /// `client.toml`.
    pub config: PathBuf,
    /// `ca.pem`.
    pub authority: PathBuf,
    /// `identity.pem`.
    pub certificate: PathBuf,
    /// `identity.key`, which only its owner can read.
    pub private_key: PathBuf,
}

impl Bundle<'_> {
    /// Writes the bundle into `folder`, which is made if it is not there. The
    /// configuration comes last: where it is, everything else is too.
    ///
    /// # Errors
    /// [`FileError::Write`], also if one of the files is there already.
    pub fn write(&self, folder: &Path) -> Result<Written, FileError> {
        let written = write_identity(folder, self.authority, self.certificate, self.private_key)?;
        files::write_new(&written.config, self.config().as_bytes(), files::PUBLIC)?;
        Ok(written)
    }

    /// The text of `client.toml`.
    #[must_use]
    pub fn config(&self) -> String {
        let endpoints: Vec<_> = self.endpoints.iter().map(|one| quoted(one)).collect();
        let mut text = format!(
            "# How a client reaches the Keyward service. File names are relative to this file.\n\
             \n\
             # A client begins with one of them at random, then tries the others in this\n\
             # order; IP:port needs no name service.\n\
             endpoints = [{}]\n\
             # The name that the server's certificate must carry.\n\
             server_name = {}\n\
             # Who signs the server's certificate.\n\
             authority = \"ca.pem\"\n\
             # Who this client is.\n\
             certificate = \"identity.pem\"\n\
             private_key = \"identity.key\"\n\
             # \"full\" shows everything, \"tls\" what a TLS stack can use.\n\
             profile = {}\n\
             \n\
             [deadlines]\n\
             # In milliseconds: to connect, for a request, for a whole PKCS#11 call.\n\
             # connect_ms = 1000\n\
             # request_ms = 2000\n\
             # call_ms = 5000\n\
             # For C_Decrypt in profile \"tls\": a JVM may hold up garbage collection meanwhile.\n\
             # decrypt_ms = 1000\n\
             \n\
             [log]\n\
             # The module's: \"off\", \"error\" (each call that failed) or \"trace\" (each call), to\n\
             # stderr or appended to a file.\n\
             # level = \"off\"\n\
             # file = \"/var/log/keyward-module.log\"\n",
            endpoints.join(", "),
            quoted(self.server_name),
            quoted(self.profile),
        );
        if self.slots.is_empty() {
            text.push_str(
                "\n# The module's slots. Without any the service is asked which tokens there are.\n\
                 # [[slot]]\n\
                 # token = \"node0\"\n\
                 # login = \"pin\"        # or \"certificate\": no PIN is asked for\n\
                 # writable = false\n",
            );
        }
        for slot in self.slots {
            let login = match slot.login {
                SlotLogin::Pin => "pin",
                SlotLogin::Certificate => "certificate",
            };
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "\n[[slot]]\ntoken = {}\nlogin = \"{login}\"\nwritable = {}\n",
                quoted(&slot.token),
                slot.writable,
            );
            if slot.login == SlotLogin::Certificate {
                text.push_str(
                    "# Programs may start while the service is away, with what is kept in this file\n\
                     # (a folder that they may write to) of the token's public side.\n\
                     # offline_start = { file = \"/var/lib/keyward/token.snapshot\", hours = 24 }\n",
                );
            }
        }
        text
    }
}

/// Writes what says who a client is, without its `client.toml`, into `folder`,
/// which is made if it is not there: the authority's certificate (DER), the
/// identity's (DER) and the key to it (PEM).
///
/// # Errors
/// [`FileError::Write`], also if one of the files is there already.
pub fn write_identity(
    folder: &Path,
    authority: &[u8],
    certificate: &[u8],
    private_key: &str,
) -> Result<Written, FileError> {
    files::make_folder(folder)?;
    let written = Written {
        config: folder.join("client.toml"),
        authority: folder.join("ca.pem"),
        certificate: folder.join("identity.pem"),
        private_key: folder.join("identity.key"),
    };
    let authority = certificate_pem(authority);
    let certificate = certificate_pem(certificate);
    files::write_new(&written.private_key, private_key.as_bytes(), files::SECRET)?;
    files::write_new(&written.authority, authority.as_bytes(), files::PUBLIC)?;
    files::write_new(&written.certificate, certificate.as_bytes(), files::PUBLIC)?;
    Ok(written)
}

/// A certificate's PEM.
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    pem("CERTIFICATE", der)
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let encoded = base64(der);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}

/// Standard base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain([0; 2].iter().take(3 - chunk.len()))
            .fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for place in 0..4 {
            if place <= chunk.len() {
                let digit = group >> (18 - 6 * place) & 63;
                text.push(char::from(ALPHABET[digit]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn the_configuration_parses_whatever_the_label() {
        let slots = [Slot {
            token: "quote \" and \\ back\nslash".to_owned(),
            login: SlotLogin::Certificate,
            writable: false,
        }];
        let bundle = Bundle {
            endpoints: &["127.0.0.1:7512".to_owned(), "[::1]:7512".to_owned()],
            server_name: "keyward",
            slots: &slots,
            profile: "full",
            authority: b"",
            certificate: b"",
            private_key: "",
        };
        let parsed: toml::Table = toml::from_str(&bundle.config()).unwrap();
        assert_eq!(parsed["slot"][0]["token"].as_str(), Some(slots[0].token.as_str()));
        assert_eq!(parsed["endpoints"].as_array().unwrap().len(), 2);
        assert!(parsed["deadlines"].is_table());
    }
}
