//! What a run has done, line by line in a file that is only ever added to. A line
//! is on the disk before what it announces begins, so that a run that was killed
//! at any point goes on where it was.
//!
//! Each line has a check over itself and the line before: what was changed by
//! hand or by a bad disk is noticed. A last line that a crash cut off is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::material::fingerprint;

/// A journal that is open for one run.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// The last line's.
    check: String,
    /// All lines so far.
    entries: Vec<Entry>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// RFC 3339, in UTC.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happens in a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run begins, for the first time or again.
    Begin {
        /// Of the plan.
        plan: String,
        /// Who signed it off.
        signed_off_by: String,
        /// The target's URI.
        target: String,
    },
    /// An object is about to be made; it was not there before.
    Making {
        /// The plan's name for it.
        reference: String,
    },
    /// It is there.
    Made {
        /// The plan's name for it.
        reference: String,
        /// How it went.
        way: String,
        /// CKA_UNIQUE_ID, where the target gives one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unique_id: Option<String>,
    },
    /// It could not be made, and nothing of it is there.
    Failed {
        /// The plan's name for it.
        reference: String,
        /// Why.
        why: String,
    },
    /// The run is over; `complete` if nothing is left.
    End {
        /// Whether each object is where it should be.
        complete: bool,
    },
    /// An object was verified and removed from the source.
    RemovedAtSource {
        /// The plan's name for it.
        reference: String,
    },
    /// An object that this run made is about to be removed from the target.
    RollingBack {
        /// The plan's name for it.
        reference: String,
    },
    /// It is gone.
    RolledBack {
        /// The plan's name for it.
        reference: String,
    },
}

/// A line as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Line {
    check: String,
    entry: Entry,
}

impl Journal {
    /// Opens a journal, makes it if there is none, and keeps others out while it
    /// is open.
    ///
    /// # Errors
    /// If it cannot be written, was changed, or another run has it.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let refused = |error: std::io::Error| {
            Error::new(format!("the journal {name} cannot be used: {error}"))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(refused)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
            |_| Error::new(format!("another run has the journal {name}")).hint("wait for its end"),
        )?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(refused)?;
        let (entries, check, whole) =
            parse(&text).map_err(|error| error.of(format!("the journal {name}")))?;
        if whole < text.len() {
            // What a crash cut off was never acted on.
            file.set_len(whole as u64).map_err(refused)?;
        }
        file.seek(SeekFrom::End(0)).map_err(refused)?;
        file.sync_all().map_err(refused)?;
        // The file's own entry in its folder, too.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|it| it.sync_all())
            .map_err(refused)?;
        Ok(Self { file, path: path.to_owned(), check, entries })
    }

    /// Reads a journal that is there.
    ///
    /// # Errors
    /// If there is none, or it was changed.
    pub fn read(path: &Path) -> Result<Vec<Entry>> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::new(format!("the journal {name} cannot be read: {error}")))?;
        let (entries, ..) =
            parse(&text).map_err(|error| error.of(format!("the journal {name}")))?;
        Ok(entries)
    }

    /// Adds a line, and is done when the disk has it.
    ///
    /// # Errors
    /// If it cannot be written: nothing may be done then.
    pub fn add(&mut self, event: Event) -> Result<()> {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let entry = Entry { at: crate::moment(now), event };
        let check = check(&self.check, &entry)?;
        let line = Line { check: check.clone(), entry: entry.clone() };
        let mut text = json(&line)?;
        text.push('\n');
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            let name = self.path.display();
            Error::token(format!("the journal {name} cannot be written: {error}"))
                .hint("nothing more was done; run this again when it can")
        })?;
        self.check = check;
        self.entries.push(entry);
        Ok(())
    }

    /// All lines so far.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// What the lines of a journal come to.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The plan that it belongs to.
    pub plan: Option<String>,
    /// Objects that are there, with their CKA_UNIQUE_ID where one is known.
    pub made: BTreeMap<String, Option<String>>,
    /// In the order in which they were made.
    pub order: Vec<String>,
    /// Objects that may be there: a run ended while it made them.
    pub unknown: BTreeSet<String>,
    /// Objects that could not be made, and why.
    pub failed: BTreeMap<String, String>,
    /// Objects that were removed from the source.
    pub removed: BTreeSet<String>,
}

impl State {
    /// Follows the lines of a journal.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut state = Self::default();
        for entry in entries {
            match entry.event.clone() {
                Event::Begin { plan, .. } => state.plan = Some(plan),
                Event::Making { reference } => {
                    state.failed.remove(&reference);
                    state.unknown.insert(reference);
                }
                Event::Made { reference, unique_id, .. } => {
                    state.unknown.remove(&reference);
                    state.order.retain(|other| *other != reference);
                    state.order.push(reference.clone());
                    state.made.insert(reference, unique_id);
                }
                Event::Failed { reference, why } => {
                    state.unknown.remove(&reference);
                    state.failed.insert(reference, why);
                }
                Event::RemovedAtSource { reference } => {
                    state.removed.insert(reference);
                }
                Event::RolledBack { reference } => {
                    state.made.remove(&reference);
                    state.unknown.remove(&reference);
                    state.order.retain(|other| *other != reference);
                }
                Event::RollingBack { .. } | Event::End { .. } => {}
            }
        }
        state
    }
}

/// The lines, the last one's check, and how many bytes they have.
fn parse(text: &str) -> Result<(Vec<Entry>, String, usize)> {
    let mut entries = Vec::new();
    let mut last = String::new();
    let mut whole = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some(content) = line.strip_suffix('\n') else { break };
        let changed = || {
            Error::new(format!("line {} is damaged or was changed", index + 1))
                .hint("what it says of the target cannot be relied on; compare both by hand")
        };
        let is_last = whole + line.len() == text.len();
        let parsed: Line = match serde_json::from_str(content) {
            Ok(line) => line,
            // Pages of a file may reach the disk in any order.
            Err(_) if is_last => break,
            Err(_) => return Err(changed()),
        };
        if check(&last, &parsed.entry)? != parsed.check {
            return Err(changed());
        }
        last = parsed.check;
        whole += line.len();
        entries.push(parsed.entry);
    }
    Ok((entries, last, whole))
}

fn check(last: &str, entry: &Entry) -> Result<String> {
    Ok(fingerprint(format!("{last}{}", json(entry)?).as_bytes())[..16].to_owned())
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(format!("a journal's line cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(reference: &str) -> Event {
        Event::Made { reference: reference.into(), way: "plain".into(), unique_id: None }
    }

    #[test]
    fn a_line_that_was_cut_off_is_none_and_one_that_was_changed_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        for reference in ["a", "b"] {
            journal.add(Event::Making { reference: reference.into() }).unwrap();
            journal.add(made(reference)).unwrap();
        }
        assert!(Journal::open(&path).unwrap_err().to_string().contains("another run"));
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let third = whole.split_inclusive(|byte| *byte == b'\n').take(3).map(<[u8]>::len).sum();
        for cut in third..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let state = State::of(Journal::open(&path).unwrap().entries());
            assert_eq!(state.made.keys().collect::<Vec<_>>(), ["a"]);
            assert!(state.unknown.contains("b"));
        }
        let text = String::from_utf8(whole).unwrap();
        std::fs::write(&path, text.replacen("\"a\"", "\"c\"", 1)).unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().contains("line 1 "));
        // A line that is missing, too.
        let without: String = text.split_inclusive('\n').skip(1).collect();
        std::fs::write(&path, without).unwrap();
        assert!(Journal::read(&path).is_err());
    }
}
