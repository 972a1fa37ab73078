//! `keyward key retire`: the end of keys in whose place another was put.

use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use keyward_token::Stage;
use keyward_wire::RetireKey;
use keyward_wire::request::Operation;
use time::OffsetDateTime;

use crate::admin::{Admin, AdminArgs};
use crate::catalogue::{Object, Stages};
use crate::output::{hex, moment};
use crate::selector::{Id, Selector};
use crate::terminal;

/// `keyward key retire`.
#[derive(Args, Debug)]
pub struct Retire {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// What the key is called, or its pkcs11: URI
    label: Option<String>,
    /// The CKA_ID of the old key: hexadecimal digits or text
    #[arg(long)]
    id: Option<Id>,
    /// Leave keys whose place was taken less than so long ago: 90s, 30m, 24h, 7d
    #[arg(long, value_name = "TIME")]
    after: Option<Span>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

impl Retire {
    pub(super) fn run(self) -> Result<()> {
        let selector = Selector::new(self.label.as_deref(), self.id.as_ref())?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let stages = Stages::load(&admin, &token)?;
        let old: Vec<_> = stages
            .superseded
            .keys()
            .into_iter()
            .filter(|key| selector.fits(key, &stages.superseded.names(key)))
            .collect();
        if old.is_empty() {
            // To run it again is no mistake, to name what never was is one.
            let key = stages.current.key(&selector)?;
            let name = stages.current.name(key);
            terminal::note(&format!("no old key of {name:?} is left in token {token:?}"));
            return Ok(());
        }
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let is_due = |key: &&Object| match (key.stage(), self.after) {
            (Stage::Superseded { since }, Some(Span(least))) => {
                u64::try_from(now).is_ok_and(|now| now.saturating_sub(since) >= least)
            }
            _ => true,
        };
        let (due, early): (Vec<_>, Vec<_>) = old.into_iter().partition(is_due);
        for key in &early {
            terminal::note(&format!("{} stays: it is not that old", described(key)));
        }
        if due.is_empty() {
            return Ok(());
        }
        let all = due.iter().map(|key| described(key)).collect::<Vec<_>>().join(" and ");
        let question = format!(
            "Destroy {all} of token {token:?}? Whoever still works with it fails from then on, \
             and it cannot be brought back."
        );
        terminal::confirm(&question, self.yes)?;
        for key in due {
            let unique_id = key.unique_id.clone();
            admin.done(&token, Operation::RetireKey(RetireKey { unique_id }))?;
            terminal::note(&format!("{} is destroyed", described(key)));
        }
        Ok(())
    }
}

fn described(key: &Object) -> String {
    let since = match key.stage() {
        Stage::Superseded { since } => moment(since),
        _ => String::new(),
    };
    format!("the old key with id 0x{}, superseded since {since},", hex(key.id()))
}

/// A time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span(u64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
        let unit = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => 0,
        };
        match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)) {
            Some(seconds) if unit > 0 => Ok(Self(seconds)),
            _ => Err("a time is a whole number and s, m, h or d, as 24h".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)]
        {
            assert_eq!(text.parse(), Ok(Span(seconds)), "{text}");
        }
        for wrong in ["", "24", "h", "-1h", "1.5h", "1w", "1 h", "99999999999999999999d", "é"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
