//! The clock: found by those who ask for its class, and read anew each time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cryptoki_sys::*;

use crate::common::alone::{alone, service};
use crate::common::raw::{Module, Template, call, ok};

fn token_info(module: &Module) -> CK_TOKEN_INFO {
    // SAFETY: numbers and arrays of them, for which zero is a value.
    let mut info: CK_TOKEN_INFO = unsafe { std::mem::zeroed() };
    ok(call!(module, C_GetTokenInfo(0, &raw mut info))).unwrap();
    info
}

/// Seconds since 1970 of YYYYMMDDhhmmss00, by way of the days of a year that has
/// the Gregorian rule written out another way.
fn seconds(time: &[u8]) -> u64 {
    assert!(time.len() == 16 && time.iter().all(u8::is_ascii_digit), "{time:?}");
    assert!(time.ends_with(b"00"));
    let number = |from: usize, to: usize| -> u64 {
        std::str::from_utf8(&time[from..to]).unwrap().parse().unwrap()
    };
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    // March comes first, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    (days - 719_468) * 86_400 + number(8, 10) * 3600 + number(10, 12) * 60 + number(12, 14)
}

fn is_now(time: &[u8]) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    seconds(time).abs_diff(now) < 60
}

#[test]
fn the_clock_is_found_by_its_class_and_read_anew() {
    alone(|| {
        let mut service = service();
        let module = Module::initialized();
        let info = token_info(&module);
        assert_ne!(info.flags & CKF_CLOCK_ON_TOKEN, 0);
        assert!(is_now(&info.utcTime));
        let session = module.open(0, CKF_RW_SESSION).unwrap();
        let find = |template: Template| module.find(session, template).unwrap();
        let feature = || Template::new().number(CKA_CLASS, CKO_HW_FEATURE);
        let clock = find(feature())[0];
        assert_eq!(find(feature().number(CKA_HW_FEATURE_TYPE, CKH_CLOCK)), [clock]);
        assert!(find(feature().number(CKA_HW_FEATURE_TYPE, CKH_MONOTONIC_COUNTER)).is_empty());
        // Who does not ask for the class does not see it.
        let others = [
            Template::new(),
            Template::new().number(CKA_HW_FEATURE_TYPE, CKH_CLOCK),
            Template::new().flag(CKA_TOKEN, true),
        ];
        for template in others {
            assert!(!find(template).contains(&clock));
        }
        let read = || module.get(session, clock, CKA_VALUE);
        let first = read().unwrap();
        assert!(is_now(&first));
        let deadline = Instant::now() + Duration::from_secs(20);
        while read().unwrap() == first {
            assert!(Instant::now() < deadline, "the clock stands still");
            std::thread::sleep(Duration::from_millis(50));
        }
        // It is nobody's to set, copy or destroy.
        module.login(session, crate::common::PIN).unwrap();
        let mut other = Template::new().bytes(CKA_VALUE, b"2000010100000000");
        let mut array = other.array();
        let (at, count) = (array.as_mut_ptr(), array.len() as CK_ULONG);
        let set = call!(module, C_SetAttributeValue(session, clock, at, count));
        assert!(matches!(set, CKR_ACTION_PROHIBITED | CKR_ATTRIBUTE_READ_ONLY), "{set:#x}");
        assert_eq!(module.copy(session, clock, Template::new()), Err(CKR_ACTION_PROHIBITED));
        assert_eq!(module.destroy(session, clock), Err(CKR_ACTION_PROHIBITED));
        assert!(module.create(session, feature()).is_err());
        assert!(is_now(&read().unwrap()));
        // Without the service there is no time, and not an old one.
        service.stop();
        assert_eq!(read(), Err(CKR_DEVICE_ERROR));
    });
}
