//! The service's clock as an object, a hardware feature. It is shown to those who
//! ask for its class, and nobody else; its time is asked for at each look.

use std::sync::Arc;

use cryptoki_sys::*;
use keyward_token::{Attributes, Object};
use keyward_wire::Result;

use super::{Handles, Known, Place};

/// The clock of a slot's token.
#[derive(Debug)]
pub(crate) struct Clock(CK_OBJECT_HANDLE);

impl Clock {
    pub(crate) fn new(handles: &Handles) -> Self {
        Self(handles.fresh())
    }

    pub(crate) fn handle(&self) -> CK_OBJECT_HANDLE {
        self.0
    }

    /// The clock as it stands, in seconds since 1970-01-01 UTC.
    pub(crate) fn at(seconds: u64) -> Result<Known> {
        let object = Object::from_attributes(Attributes::from_pairs([
            (CKA_CLASS, CKO_HW_FEATURE.into()),
            (CKA_HW_FEATURE_TYPE, CKH_CLOCK.into()),
            (CKA_TOKEN, true.into()),
            (CKA_PRIVATE, false.into()),
            (CKA_MODIFIABLE, false.into()),
            (CKA_COPYABLE, false.into()),
            (CKA_DESTROYABLE, false.into()),
            (CKA_LABEL, Vec::new().into()),
            (CKA_UNIQUE_ID, b"clock".to_vec().into()),
            (CKA_VALUE, utc(seconds).into_bytes().into()),
        ])?)?;
        Ok(Known { object: Arc::new(object), place: Place::Local })
    }
}

/// YYYYMMDDhhmmss00, as utcTime has it too.
pub(crate) fn utc(seconds: u64) -> String {
    let (mut days, of_day) = (seconds / DAY, seconds % DAY);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // Four digits are all that there is room for.
    let mut year = 1970;
    while year < 9999 && days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let day = (days + 1).min(31);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00")
}

/// Seconds.
const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    /// What `date -u -d @SECONDS +%Y%m%d%H%M%S` says.
    #[test]
    fn times_are_those_of_date() {
        for (seconds, expected) in [
            (0, "1970010100000000"),
            (951_782_399, "2000022823595900"),
            (951_782_400, "2000022900000000"),
            (951_868_800, "2000030100000000"),
            (1_709_251_199, "2024022923595900"),
            (1_735_689_599, "2024123123595900"),
            (4_107_542_399, "2100022823595900"),
            (4_107_542_400, "2100030100000000"),
            (253_402_300_799, "9999123123595900"),
        ] {
            assert_eq!(utc(seconds), expected, "{seconds}");
        }
        assert_eq!(utc(u64::MAX).len(), 16);
    }
}
