//! Hash functions against digests and DigestInfos that OpenSSL made, in one piece and in many.

#![allow(clippy::unwrap_used)]

use keyward_crypto::{Digester, Error, Hash};

/// The message, and for each hash its digest and the DigestInfo inside a PKCS#1 v1.5 signature over
/// it (`openssl dgst -sign`, then `openssl rsautl -verify`), less the digest at the end.
const MESSAGE: &[u8] = b"keyward test message";
const VECTORS: [(Hash, &str, &str); 12] = [
    (Hash::Md5, "0b465ec4f5fcc14406e8c22fd7b24ceb", "3020300c06082a864886f70d020505000410"),
    (Hash::Sha1, "9b2f21560ae013ca64b174cbe3113b1991f01580", "3021300906052b0e03021a05000414"),
    (
        Hash::Sha224,
        "018882002b18a9937835b28d84b920a669a3de0201950342bf1fb3ad",
        "302d300d06096086480165030402040500041c",
    ),
    (
        Hash::Sha256,
        "a86ddd05774abb5e9f3d67e80e3f563fc1af2d131686eb52cdcbc7c2eb2361b8",
        "3031300d060960864801650304020105000420",
    ),
    (
        Hash::Sha384,
        "e3cdba54a65de0b9659806cef5b564f4f37bea9e66c09fd5a75c84c0df239a5b8ea66487f2992e1fbca3e0c15c8a1826",
        "3041300d060960864801650304020205000430",
    ),
    (
        Hash::Sha512,
        "5b4ea7bb5943cc519cacc2ad83954a6d3a4f6d8593b2c91689560fe479a879c1abd321dbfae9e372498b43095e78dddb742c3384a5ce47a4722118c8dde12ad6",
        "3051300d060960864801650304020305000440",
    ),
    (
        Hash::Sha512_224,
        "e1ff03057687dc1ad982d403f8eb1731ada5bf1e7b2cc4c579d13307",
        "302d300d06096086480165030402050500041c",
    ),
    (
        Hash::Sha512_256,
        "69c8633697d845e2734e072a2d2550417cfae6583d0914b0717160653561c6b0",
        "3031300d060960864801650304020605000420",
    ),
    (
        Hash::Sha3_224,
        "fcec3503f2f4856ac9715adb694f99097c25ba2786bf1e5fabc546e7",
        "302d300d06096086480165030402070500041c",
    ),
    (
        Hash::Sha3_256,
        "d69772087d3424f38b1aa4411d4acb8790dbc46cfd07f0f169e9a0dfd236182c",
        "3031300d060960864801650304020805000420",
    ),
    (
        Hash::Sha3_384,
        "3dcd31ed731b805286e95018884697829871accebc682b22c856b3d1909deedc0a85a2086b410186ad4a4b0de8eec742",
        "3041300d060960864801650304020905000430",
    ),
    (
        Hash::Sha3_512,
        "3d57062677a24d3c1a788daded964492fca5d19dbb7d661b252b479cc92bf8a129f5df621d3b5fd5101da2e4b8267919b52cf0ddc9a89eda67a8bf3856c3590d",
        "3051300d060960864801650304020a05000440",
    ),
];

#[test]
fn digests_and_digest_infos_are_those_of_openssl() {
    assert_eq!(VECTORS.map(|(hash, ..)| hash), Hash::ALL);
    for (hash, digest, prefix) in VECTORS {
        assert_eq!(hex(&hash.digest(MESSAGE)), digest, "{hash}");
        assert_eq!(hash.digest(MESSAGE).len(), hash.length(), "{hash}");
        let info = hash.digest_info(&hash.digest(MESSAGE)).unwrap();
        assert_eq!(hex(&info), format!("{prefix}{digest}"), "{hash}");
    }
}

#[test]
fn digest_info_refuses_a_digest_of_another_length() {
    for hash in Hash::ALL {
        for length in [0, hash.length() - 1, hash.length() + 1] {
            assert_eq!(
                hash.digest_info(&vec![0; length]),
                Err(Error::DataLength),
                "{hash} {length}"
            );
        }
    }
}

#[test]
fn pieces_give_the_digest_of_the_whole() {
    for hash in Hash::ALL {
        for size in [1, 7, MESSAGE.len()] {
            let mut digester = Digester::new(hash);
            digester.update(&[]);
            MESSAGE.chunks(size).for_each(|piece| digester.update(piece));
            assert_eq!(digester.finish(), hash.digest(MESSAGE), "{hash} by {size}");
        }
        assert_eq!(Digester::new(hash).finish(), hash.digest(&[]), "{hash}");
    }
}

#[test]
fn a_clone_goes_its_own_way() {
    for hash in Hash::ALL {
        let mut digester = Digester::new(hash);
        digester.update(b"common ");
        let mut clone = digester.clone();
        digester.update(b"one");
        clone.update(b"two");
        assert_eq!(digester.finish(), hash.digest(b"common one"), "{hash}");
        assert_eq!(clone.finish(), hash.digest(b"common two"), "{hash}");
    }
}

#[test]
fn block_lengths_are_those_of_the_standards() {
    let expected = [64, 64, 64, 64, 128, 128, 128, 128, 144, 136, 104, 72];
    assert_eq!(Hash::ALL.map(Hash::block_length), expected);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
