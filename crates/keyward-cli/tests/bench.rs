//! `keyward bench`.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::dev;

#[test]
fn bench_measures_beside_a_floor_and_refuses_nonsense() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        for kind in rsa:2048 ec:p384; do
            "$keyward" key generate --token dev --type $kind --label "$kind" >/dev/null
        done
        "$keyward" bench sign --token dev rsa:2048 --mechanism rsa-pkcs --seconds 1 --threads 3 --json
        echo ,
        "$keyward" bench sign --token dev ec:p384 --seconds 1 --no-floor --json
        echo ,
        KEYWARD_PIN=1234 "$keyward" bench login --token dev --clients 20 --json
        "$keyward" bench sign --token dev ec:p384 --seconds 1 > table
        grep -q 'Median to floor' table
        refused() {
            code=$1; shift
            if "$keyward" bench "$@" > out 2>> errors; then exit 3; else test $? = "$code"; fi
            test ! -s out
        }
        refused 2 sign --token dev ec:p384 --threads 0
        refused 2 sign --token dev ec:p384 --seconds 0
        refused 2 sign --token dev ec:p384 --mechanism rsa-pss
        refused 2 sign --token dev rsa:2048 --mechanism ecdsa
        refused 1 sign --token dev nothing
        KEYWARD_PIN=4321 refused 1 login --token dev --clients 20
        "$keyward" token show dev --json > token
    "#;
    let printed = dev(folder.path(), &[], script).fine();
    let reports: serde_json::Value = serde_json::from_str(&format!("[{printed}]")).unwrap();
    let number = |report: usize, name: &str| reports[report][name].as_f64().unwrap();
    for report in 0..2 {
        assert!(number(report, "signatures") > 10.0, "{printed}");
        assert_eq!(number(report, "failed"), 0.0, "{printed}");
        let latencies = ["p50_ms", "p90_ms", "p99_ms", "max_ms"].map(|name| number(report, name));
        assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{printed}");
    }
    assert!(reports[0]["floor"]["round_trip"]["p50_ms"].as_f64().unwrap() > 0.0, "{printed}");
    assert!(number(0, "ratio") > 0.0 && reports[1]["floor"].is_null(), "{printed}");
    assert_eq!((number(2, "logins"), number(2, "failed")), (20.0, 0.0), "{printed}");
    // A wrong PIN is tried once, not by all clients.
    let token = std::fs::read_to_string(folder.path().join("token")).unwrap();
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    assert_eq!(token["wrong_pins"][0]["wrong"], 1, "{token}");
}
