//! `keyward token attach`: keys that are in an HSM already become a token's.

use anyhow::Result;
use clap::Args;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{AttachKeys, HsmKey, HsmKeyState, ListHsmKeys, Object};
use serde::Serialize;

use crate::admin::{Admin, AdminArgs};
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::terminal;

/// `keyward token attach`.
#[derive(Args, Debug)]
pub struct Attach {
    /// The token's label
    label: String,
    /// The keys, by CKA_LABEL or by CKA_ID in hexadecimal digits
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// All keys that can be attached
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    /// Show the keys and attach none
    #[arg(long, conflicts_with_all = ["keys", "all"])]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// A key of the HSM as `--json` shows it.
#[derive(Serialize)]
struct KeyView {
    label: String,
    /// Hexadecimal digits.
    id: String,
    kind: String,
    certificates: u32,
    /// "free", "attached" or "unfit".
    state: &'static str,
    /// Why it is unfit, or the token that has it.
    reason: String,
}

impl Attach {
    /// Runs the command.
    ///
    /// # Errors
    /// What the service or the HSM says.
    pub fn run(self) -> Result<()> {
        let admin = Admin::open(&self.admin)?;
        let keys =
            admin.one(
                &self.label,
                Operation::ListHsmKeys(ListHsmKeys {}),
                |answer| match answer {
                    Answer::HsmKeys(list) => Some(list.keys),
                    _ => None,
                },
            )?;
        if self.list || (self.keys.is_empty() && !self.all) {
            return self.show(&keys);
        }
        let chosen = self.chosen(&keys)?;
        let mut attached: Vec<Object> = Vec::new();
        for some in chosen.chunks(MOST_AT_ONCE) {
            let references = some.iter().map(|key| key.reference.clone()).collect();
            let operation = Operation::AttachKeys(AttachKeys { references });
            attached.extend(admin.one(&self.label, operation, |answer| match answer {
                Answer::Attached(list) => Some(list.objects),
                _ => None,
            })?);
        }
        if self.json {
            let views: Vec<_> = chosen.iter().map(|key| KeyView::of(key)).collect();
            return output::json(&views);
        }
        for key in &chosen {
            terminal::note(&format!("attached {} ({})", name(key), key.kind));
        }
        terminal::note(&format!(
            "{} new in token {:?}",
            match attached.len() {
                1 => "1 object is".to_owned(),
                count => format!("{count} objects are"),
            },
            self.label
        ));
        Ok(())
    }

    fn show(&self, keys: &[HsmKey]) -> Result<()> {
        let views: Vec<_> = keys.iter().map(KeyView::of).collect();
        if self.json {
            return output::json(&views);
        }
        let mut table = Table::new(["LABEL", "ID", "KEY", "CERTIFICATES", "STATE", ""]);
        for key in &views {
            table.row([
                key.label.clone(),
                key.id.clone(),
                key.kind.clone(),
                key.certificates.to_string(),
                key.state.to_owned(),
                key.reason.clone(),
            ]);
        }
        table.print("there is no private or secret key in the token's HSM")?;
        if !self.list && views.iter().any(|key| key.state == "free") {
            terminal::hint("name the keys that are to be attached, or say --all");
        }
        Ok(())
    }

    fn chosen<'a>(&self, keys: &'a [HsmKey]) -> Result<Vec<&'a HsmKey>> {
        if self.all {
            for key in keys.iter().filter(|key| key.state() == HsmKeyState::Unfit) {
                terminal::warning(&format!("{} stays outside: {}", name(key), key.reason));
            }
            return Ok(keys.iter().filter(|key| key.state() == HsmKeyState::Free).collect());
        }
        let mut chosen = Vec::new();
        for wanted in &self.keys {
            let found: Vec<_> = keys
                .iter()
                .filter(|key| {
                    key.label == wanted.as_bytes()
                        || output::hex(&key.id) == wanted.to_ascii_lowercase()
                })
                .collect();
            let [key] = found.as_slice() else {
                let problem = match found.len() {
                    0 => format!("the HSM has no key {wanted:?}"),
                    count => format!("the HSM has {count} keys called {wanted:?}"),
                };
                return Err(Failure::new(problem)
                    .hint("`keyward token attach TOKEN --list` shows the keys with their IDs")
                    .into());
            };
            match key.state() {
                HsmKeyState::Free => chosen.push(*key),
                HsmKeyState::Attached => {
                    terminal::note(&format!("{} is in token {:?} already", name(key), key.reason));
                }
                _ => {
                    let problem = format!("{} cannot be attached: {}", name(key), key.reason);
                    return Err(Failure::new(problem).into());
                }
            }
        }
        Ok(chosen)
    }
}

impl KeyView {
    fn of(key: &HsmKey) -> Self {
        Self {
            label: String::from_utf8_lossy(&key.label).into_owned(),
            id: output::hex(&key.id),
            kind: key.kind.clone(),
            certificates: key.certificates,
            state: match key.state() {
                HsmKeyState::Free => "free",
                HsmKeyState::Attached => "attached",
                HsmKeyState::Unfit | HsmKeyState::Unspecified => "unfit",
            },
            reason: match key.state() {
                HsmKeyState::Attached => format!("token {:?}", key.reason),
                _ => key.reason.clone(),
            },
        }
    }
}

/// What a key is called: its label, else its CKA_ID.
fn name(key: &HsmKey) -> String {
    match key.label.as_slice() {
        [] => format!("the key with CKA_ID {}", output::hex(&key.id)),
        label => format!("the key {:?}", String::from_utf8_lossy(label)),
    }
}

/// What the service takes.
const MOST_AT_ONCE: usize = 20;
