//! What goes to standard output: tables for people, JSON for programs.

use std::io::{self, Write};

use anyhow::Result;
use comfy_table::{ContentArrangement, Row, presets};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Prints `value` as one JSON document.
///
/// # Errors
/// If standard output cannot be written.
pub fn json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// Prints text as it is.
///
/// # Errors
/// If standard output cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// A table without lines. On a terminal its cells are wrapped to the width;
/// anywhere else a row is a line, whatever its length.
pub struct Table(comfy_table::Table);

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut table = plain();
        table.set_header(headings);
        Self(table)
    }

    /// Adds a row.
    pub fn row<T: Into<Row>>(&mut self, cells: T) {
        self.0.add_row(cells);
    }

    /// Prints the table, or `empty` on standard error if it has no row.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn print(&self, empty: &str) -> Result<()> {
        if self.0.is_empty() {
            crate::terminal::note(empty);
            return Ok(());
        }
        print(&lines(&self.0))
    }
}

/// Prints names and values, one pair a line.
///
/// # Errors
/// If standard output cannot be written.
pub fn pairs(pairs: &[(&str, String)]) -> Result<()> {
    let mut table = plain();
    for (name, value) in pairs {
        table.add_row([*name, value.as_str()]);
    }
    print(&lines(&table))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A moment as RFC 3339 text in UTC; empty if there is none. `seconds` count
/// from 1970-01-01.
pub fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds != 0)
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// The day of a moment that [`moment`] wrote.
pub fn day(moment: &str) -> &str {
    moment.split('T').next().unwrap_or(moment)
}

/// "yes" or "no".
pub fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn plain() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING);
    match rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col >= NARROWEST => {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(size.ws_col);
        }
        _ => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table
}

/// Below so many columns wrapping makes a table worse.
const NARROWEST: u16 = 40;

fn lines(table: &comfy_table::Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.strip_prefix(' ').unwrap_or(&line).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339_and_zero_is_none() {
        assert_eq!(moment(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(moment(0), "");
        assert_eq!(day("2023-11-14T22:13:20Z"), "2023-11-14");
    }

    #[test]
    fn a_table_has_no_lines_and_no_trailing_blanks() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["one", "x"]);
        assert_eq!(lines(&table.0), "A    LONG\none  x\n");
    }
}
