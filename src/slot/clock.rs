//! What time it is in the service.

use cryptoki_sys::CK_OBJECT_HANDLE;
use keyward_client::config::Profile;
use keyward_token::Attributes;

use super::Slot;
use crate::error::Result;
use crate::object::{Clock, Known};
use crate::remote::{Remote, unexpected};

impl Slot {
    /// What the service's clock says, in seconds since 1970-01-01 UTC, as far as
    /// that is known; in profile `full`.
    pub(crate) fn time(&self) -> Option<u64> {
        let state = self.state();
        let (info, when) = state.info.as_ref()?;
        let told = self.profile == Profile::Full && info.time > 0;
        told.then(|| info.time + when.elapsed().as_secs())
    }

    /// The clock as it stands now: the service is asked.
    pub(super) fn clock(&self, remote: &Remote) -> Result<Known> {
        let tokens = remote.tokens()?;
        let token = tokens.into_iter().find(|token| token.label == self.config.token);
        let time = token.map(|token| token.time).filter(|time| *time > 0).ok_or_else(unexpected)?;
        Ok(Clock::at(time)?)
    }

    /// The handles of the hardware features that match. An older service has none.
    pub(super) fn search_features(
        &self,
        remote: &Remote,
        template: &Attributes,
    ) -> Result<Vec<CK_OBJECT_HANDLE>> {
        self.news(remote, false);
        let Some(time) = self.time() else { return Ok(Vec::new()) };
        let clock = self.clock.get_or_init(|| Clock::new(&self.handles));
        let matches = Clock::at(time)?.object.matches(template);
        Ok(matches.then(|| clock.handle()).into_iter().collect())
    }
}
