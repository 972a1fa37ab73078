//! A bar for people who watch; nothing for logs but what went wrong.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyward_migrate::run::Progress;

use crate::terminal;

/// On standard error.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that shows itself when it knows how long it is.
    pub fn new() -> Self {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}")
        {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl Progress for Bar {
    fn begin(&self, total: usize, there: usize) {
        self.0.set_length(total as u64);
        self.0.set_position(there as u64);
    }

    fn made(&self, what: &str) {
        // A label may hold anything.
        self.0.set_message(what.replace(char::is_control, " "));
        self.0.inc(1);
    }

    fn failed(&self, what: &str, why: &str) {
        self.0.suspend(|| terminal::warning(&format!("{what}: {why}")));
        self.0.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
