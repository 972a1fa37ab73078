//! The curves that AWS-LC has no description of, given to it by their parameters: P-192 (SEC 2 section 2.2.2)
//! and those of RFC 5639 that are short or twisted.
//!
//! AWS-LC computes on them with the constant-time arithmetic that it has for every prime field.

use std::ffi::CStr;
use std::ptr;
use std::sync::OnceLock;

use aws_lc_sys::{
    BIGNUM, BN_hex2bn, BN_value_one, EC_GROUP, EC_GROUP_new_curve_GFp, EC_GROUP_set_generator,
    EC_POINT_new, EC_POINT_set_affine_coordinates_GFp,
};

use crate::curve::Curve;
use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, check, unless_out_of_memory};

/// y^2 = x^3 + ax + b over the integers modulo `p`, and the point (x, y), whose order is the curve's
/// and a prime as long as `p`. Hexadecimal.
struct Parameters {
    curve: Curve,
    p: &'static CStr,
    a: &'static CStr,
    b: &'static CStr,
    x: &'static CStr,
    y: &'static CStr,
    order: &'static CStr,
}

/// AWS-LC's description of a curve that is described here: built on first use, it lives as long as the
/// process. `None` for the others.
pub(crate) fn group(curve: Curve) -> Option<*const EC_GROUP> {
    static GROUPS: [OnceLock<Group>; PARAMETERS.len()] =
        [const { OnceLock::new() }; PARAMETERS.len()];

    let at = PARAMETERS.iter().position(|parameters| parameters.curve == curve)?;
    Some(GROUPS[at].get_or_init(|| unless_out_of_memory(PARAMETERS[at].group())).0)
}

struct Group(*const EC_GROUP);

// SAFETY: nothing changes the description once it is built, and it is never given back.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl Parameters {
    fn group(&self) -> Result<Group> {
        const WRONG: Error = Error::Internal("a curve could not be described");

        let [p, a, b] = [number(self.p)?, number(self.a)?, number(self.b)?];
        let [x, y, order] = [number(self.x)?, number(self.y)?, number(self.order)?];
        // SAFETY: the numbers are valid, null asks for scratch space of its own, and the caller owns
        // the result, which is given away for good.
        let group =
            unsafe { EC_GROUP_new_curve_GFp(p.as_ptr(), a.as_ptr(), b.as_ptr(), ptr::null_mut()) };
        if group.is_null() {
            return Err(crate::ffi::failed(WRONG));
        }
        // SAFETY: the group is valid, and the caller owns the result.
        let generator = unsafe { Owned::new(EC_POINT_new(group), OUT_OF_MEMORY) }?;
        // SAFETY: group, point and numbers are valid; AWS-LC checks that the point is on the curve.
        let returned = unsafe {
            EC_POINT_set_affine_coordinates_GFp(
                group,
                generator.as_ptr(),
                x.as_ptr(),
                y.as_ptr(),
                ptr::null_mut(),
            )
        };
        check(returned, WRONG)?;
        // SAFETY: as above; nobody else knows the group yet. The cofactor is 1 on all these curves.
        let returned = unsafe {
            EC_GROUP_set_generator(group, generator.as_ptr(), order.as_ptr(), BN_value_one())
        };
        check(returned, WRONG)?;
        Ok(Group(group))
    }
}

fn number(hexadecimal: &CStr) -> Result<Owned<BIGNUM>> {
    let mut number = ptr::null_mut();
    // SAFETY: the text ends with a NUL; into a null pointer a new number is put, which the caller owns.
    unsafe {
        BN_hex2bn(&mut number, hexadecimal.as_ptr());
        Owned::new(number, OUT_OF_MEMORY)
    }
}

const PARAMETERS: [Parameters; 10] = [
    Parameters {
        curve: Curve::P192,
        p: c"fffffffffffffffffffffffffffffffeffffffffffffffff",
        a: c"fffffffffffffffffffffffffffffffefffffffffffffffc",
        b: c"64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1",
        x: c"188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012",
        y: c"07192b95ffc8da78631011ed6b24cdd573f977a11e794811",
        order: c"ffffffffffffffffffffffff99def836146bc9b1b4d22831",
    },
    Parameters {
        curve: Curve::BrainpoolP160r1,
        p: c"e95e4a5f737059dc60dfc7ad95b3d8139515620f",
        a: c"340e7be2a280eb74e2be61bada745d97e8f7c300",
        b: c"1e589a8595423412134faa2dbdec95c8d8675e58",
        x: c"bed5af16ea3f6a4f62938c4631eb5af7bdbcdbc3",
        y: c"1667cb477a1a8ec338f94741669c976316da6321",
        order: c"e95e4a5f737059dc60df5991d45029409e60fc09",
    },
    Parameters {
        curve: Curve::BrainpoolP160t1,
        p: c"e95e4a5f737059dc60dfc7ad95b3d8139515620f",
        a: c"e95e4a5f737059dc60dfc7ad95b3d8139515620c",
        b: c"7a556b6dae535b7b51ed2c4d7daa7a0b5c55f380",
        x: c"b199b13b9b34efc1397e64baeb05acc265ff2378",
        y: c"add6718b7c7c1961f0991b842443772152c9e0ad",
        order: c"e95e4a5f737059dc60df5991d45029409e60fc09",
    },
    Parameters {
        curve: Curve::BrainpoolP192r1,
        p: c"c302f41d932a36cda7a3463093d18db78fce476de1a86297",
        a: c"6a91174076b1e0e19c39c031fe8685c1cae040e5c69a28ef",
        b: c"469a28ef7c28cca3dc721d044f4496bcca7ef4146fbf25c9",
        x: c"c0a0647eaab6a48753b033c56cb0f0900a2f5c4853375fd6",
        y: c"14b690866abd5bb88b5f4828c1490002e6773fa2fa299b8f",
        order: c"c302f41d932a36cda7a3462f9e9e916b5be8f1029ac4acc1",
    },
    Parameters {
        curve: Curve::BrainpoolP192t1,
        p: c"c302f41d932a36cda7a3463093d18db78fce476de1a86297",
        a: c"c302f41d932a36cda7a3463093d18db78fce476de1a86294",
        b: c"13d56ffaec78681e68f9deb43b35bec2fb68542e27897b79",
        x: c"3ae9e58c82f63c30282e1fe7bbf43fa72c446af6f4618129",
        y: c"097e2c5667c2223a902ab5ca449d0084b7e5b3de7ccc01c9",
        order: c"c302f41d932a36cda7a3462f9e9e916b5be8f1029ac4acc1",
    },
    Parameters {
        curve: Curve::BrainpoolP224t1,
        p: c"d7c134aa264366862a18302575d1d787b09f075797da89f57ec8c0ff",
        a: c"d7c134aa264366862a18302575d1d787b09f075797da89f57ec8c0fc",
        b: c"4b337d934104cd7bef271bf60ced1ed20da14c08b3bb64f18a60888d",
        x: c"6ab1e344ce25ff3896424e7ffe14762ecb49f8928ac0c76029b4d580",
        y: c"0374e9f5143e568cd23f3f4d7c0d4b1e41c8cc0d1c6abd5f1a46db4c",
        order: c"d7c134aa264366862a18302575d0fb98d116bc4b6ddebca3a5a7939f",
    },
    Parameters {
        curve: Curve::BrainpoolP256t1,
        p: c"a9fb57dba1eea9bc3e660a909d838d726e3bf623d52620282013481d1f6e5377",
        a: c"a9fb57dba1eea9bc3e660a909d838d726e3bf623d52620282013481d1f6e5374",
        b: c"662c61c430d84ea4fe66a7733d0b76b7bf93ebc4af2f49256ae58101fee92b04",
        x: c"a3e8eb3cc1cfe7b7732213b23a656149afa142c47aafbc2b79a191562e1305f4",
        y: c"2d996c823439c56d7f7b22e14644417e69bcb6de39d027001dabe8f35b25c9be",
        order: c"a9fb57dba1eea9bc3e660a909d838d718c397aa3b561a6f7901e0e82974856a7",
    },
    Parameters {
        curve: Curve::BrainpoolP320t1,
        p: c"d35e472036bc4fb7e13c785ed201e065f98fcfa6f6f40def4f92b9ec7893ec28fcd412b1f1b32e27",
        a: c"d35e472036bc4fb7e13c785ed201e065f98fcfa6f6f40def4f92b9ec7893ec28fcd412b1f1b32e24",
        b: c"a7f561e038eb1ed560b3d147db782013064c19f27ed27c6780aaf77fb8a547ceb5b4fef422340353",
        x: c"925be9fb01afc6fb4d3e7d4990010f813408ab106c4f09cb7ee07868cc136fff3357f624a21bed52",
        y: c"63ba3a7a27483ebf6671dbef7abb30ebee084e58a0b077ad42a5a0989d1ee71b1b9bc0455fb0d2c3",
        order: c"d35e472036bc4fb7e13c785ed201e065f98fcfa5b68f12a32d482ec7ee8658e98691555b44c59311",
    },
    Parameters {
        curve: Curve::BrainpoolP384t1,
        p: c"8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b412b1da197fb71123acd3a729901d1a71874700133107ec53",
        a: c"8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b412b1da197fb71123acd3a729901d1a71874700133107ec50",
        b: c"7f519eada7bda81bd826dba647910f8c4b9346ed8ccdc64e4b1abd11756dce1d2074aa263b88805ced70355a33b471ee",
        x: c"18de98b02db9a306f2afcd7235f72a819b80ab12ebd653172476fecd462aabffc4ff191b946a5f54d8d0aa2f418808cc",
        y: c"25ab056962d30651a114afd2755ad336747f93475b7a1fca3b88f2b6a208ccfe469408584dc2b2912675bf5b9e582928",
        order: c"8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b31f166e6cac0425a7cf3ab6af6b7fc3103b883202e9046565",
    },
    Parameters {
        curve: Curve::BrainpoolP512t1,
        p: c"aadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca703308717d4d9b009bc66842aecda12ae6a380e62881ff2f2d82c68528aa6056583a48f3",
        a: c"aadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca703308717d4d9b009bc66842aecda12ae6a380e62881ff2f2d82c68528aa6056583a48f0",
        b: c"7cbbbcf9441cfab76e1890e46884eae321f70c0bcb4981527897504bec3e36a62bcdfa2304976540f6450085f2dae145c22553b465763689180ea2571867423e",
        x: c"640ece5c12788717b9c1ba06cbc2a6feba85842458c56dde9db1758d39c0313d82ba51735cdb3ea499aa77a7d6943a64f7a3f25fe26f06b51baa2696fa9035da",
        y: c"5b534bd595f5af0fa2c892376c84ace1bb4e3019b71634c01131159cae03cee9d9932184beef216bd71df2dadf86a627306ecff96dbb8bace198b61e00f8b332",
        order: c"aadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca70330870553e5c414ca92619418661197fac10471db1d381085ddaddb58796829ca90069",
    },
];
