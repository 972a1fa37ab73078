//! The module's log: one line for each call, or for each that failed.
//!
//! Nothing is written unless the config or the environment says so. A line is
//! one `write`, so that lines of several threads and processes stay whole.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cryptoki_sys::{CK_RV, CKR_OK};
use keyward_client::config::{self, Level};

use crate::error::{self, Result};

/// Says what is logged when the config does not: `off`, `error` or `trace`.
const VARIABLE: &str = "KEYWARD_PKCS11_LOG";

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Log {
    level: Level,
    /// `None`: stderr.
    file: Option<Mutex<File>>,
}

impl Log {
    /// The log that the config asks for; the environment may ask for more. A
    /// log file that cannot be opened does not stop the host.
    pub(crate) fn new(config: &config::Log) -> Self {
        let file = config
            .file
            .as_ref()
            .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok())
            .map(Mutex::new);
        Self { level: config.level.max(level_of_environment()), file }
    }

    /// The log before there is a config.
    pub(crate) fn of_environment() -> Self {
        Self { level: level_of_environment(), file: None }
    }

    /// Logs what a call came to.
    pub(crate) fn call(&self, function: &str, result: &Result<()>, took: Duration) {
        let took = took.as_micros();
        match result {
            Ok(()) if self.level >= Level::Trace => {
                self.line(format_args!("{function} CKR_OK us={took}"));
            }
            Err(error) if self.level >= level_of(error.rv) => {
                let rv = error::name(error.rv);
                // One line, whatever a file's parser has to say.
                let message = error.message.replace('\n', " / ");
                self.line(format_args!("{function} {rv} us={took} {message}"));
            }
            _ => {}
        }
    }

    /// Logs what is no call's result, and an operator should know.
    pub(crate) fn notice(&self, what: std::fmt::Arguments<'_>) {
        if self.level >= Level::Error {
            self.line(what);
        }
    }

    /// Logs what is no call's result, for who looks closely.
    pub(crate) fn detail(&self, what: std::fmt::Arguments<'_>) {
        if self.level >= Level::Trace {
            self.line(what);
        }
    }

    fn line(&self, what: std::fmt::Arguments<'_>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!(
            "keyward {}.{:06} pid={} {what}\n",
            now.as_secs(),
            now.subsec_micros(),
            std::process::id(),
        );
        // A log that cannot be written must not hurt the host.
        let _ = match &self.file {
            Some(file) => match file.lock() {
                Ok(mut file) => file.write_all(line.as_bytes()),
                Err(_) => Ok(()),
            },
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// What is part of everyday work, as a buffer that is too small, is no error.
fn level_of(rv: CK_RV) -> Level {
    use cryptoki_sys::{
        CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL,
        CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_NO_EVENT, CKR_USER_ALREADY_LOGGED_IN,
    };
    match rv {
        CKR_OK
        | CKR_ATTRIBUTE_SENSITIVE
        | CKR_ATTRIBUTE_TYPE_INVALID
        | CKR_BUFFER_TOO_SMALL
        | CKR_CRYPTOKI_ALREADY_INITIALIZED
        | CKR_NO_EVENT
        | CKR_USER_ALREADY_LOGGED_IN => Level::Trace,
        _ => Level::Error,
    }
}

fn level_of_environment() -> Level {
    match std::env::var(VARIABLE).as_deref() {
        Ok("error") => Level::Error,
        Ok("trace") => Level::Trace,
        _ => Level::Off,
    }
}
