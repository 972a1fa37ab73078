//! Too much at once: ten times the clients that saturate the service, and 200
//! clients that log in at the same moment.
//!
//! A closed loop: `keyward bench` is the generator and has one processor, the
//! service has another. What must hold: the rate under ten times the load is at
//! least 0.9 of the best one, nothing fails, and the slowest tenth is within its
//! deadline. Both rates are measured in turns.
//!
//! `cargo bench --bench storm` takes three minutes and fails below 0.9 of the best rate. `-- --short`
//! takes some thirty seconds, prints the same, and decides nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are measurements")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::process::Command;

use common::Service;
use serde_json::Value;

const TOKEN: &str = "bench";
/// Of the best load and ten times as much, one after the other.
const TURNS: usize = 3;
/// Of the best rate, under ten times the load.
const BOUND: f64 = 0.9;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (seconds, most) = if short { (1, 16) } else { (5, 64) };
    let apart = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    if apart {
        // What is started from here on inherits it: the service.
        let own = std::process::id().to_string();
        common::run(Command::new("taskset").args(["--cpu-list", "--pid", "0", &own]));
    } else {
        println!("one processor: the generator and the service share it, and no rate is asserted");
    }
    let service = Service::start();
    service.token(TOKEN);
    let mut failed = Vec::new();
    println!("Closed loop, {seconds} s each; latencies in ms, rates in signatures a second.");
    println!(
        "{:<10} {:>7} {:>9} {:>8} {:>8} {:>8} {:>6} {:>9} {:>10}",
        "", "threads", "rate", "p50", "p90", "max", "failed", "deadline", "generator"
    );
    for kind in ["rsa:2048", "ec:p256"] {
        let label = kind.replace(':', "-");
        service.admin(&["key", "generate", "--token", TOKEN, "--type", kind, "--label", &label]);
        let sign = |threads: u32| {
            let (count, seconds) = (threads.to_string(), seconds.to_string());
            let arguments = [
                "sign",
                "--token",
                TOKEN,
                &label,
                "--threads",
                &count,
                "--seconds",
                &seconds,
                "--no-floor",
            ];
            let report = bench(&service, apart, &arguments);
            println!(
                "{kind:<10} {threads:>7} {:>9} {:>8} {:>8} {:>8} {:>6} {:>9} {:>10}",
                number(&report, "rate"),
                number(&report, "p50_ms"),
                number(&report, "p90_ms"),
                number(&report, "max_ms"),
                number(&report, "failed"),
                number(&report, "deadline_ms"),
                number(&report, "generator_cpu"),
            );
            report
        };
        let mut curve = Vec::new();
        let mut threads = 1;
        while threads <= most {
            curve.push((threads, number(&sign(threads), "rate")));
            threads *= 2;
        }
        let peak = curve.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        // As few as come near to it.
        let saturates = curve.iter().find(|(_, rate)| *rate >= 0.9 * peak).map_or(1, |it| it.0);
        // In turns, because the machine has other things to do at times.
        let mut ratios: Vec<_> = (0..TURNS)
            .map(|_| {
                let best = number(&sign(saturates), "rate");
                let storm = sign(saturates * 10);
                let late = number(&storm, "p90_ms") >= number(&storm, "deadline_ms");
                if number(&storm, "failed") > 0.0 || late {
                    failed.push(format!("{kind}: requests failed or were late in the storm"));
                }
                number(&storm, "rate") / best
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[TURNS / 2];
        println!(
            "{kind:<10} {saturates} threads saturate it; ten times as many: {ratio:.2} of their rate \
             in the median, {:.2} to {:.2}; the best rate of all was {peak:.0}",
            ratios[0],
            ratios[TURNS - 1]
        );
        if apart && ratio < BOUND {
            failed.push(format!("{kind}: {ratio:.2} of the best rate is less than {BOUND}"));
        }
    }

    let before = peak_memory(&service);
    let report = bench(&service, apart, &["login", "--token", TOKEN, "--clients", "200"]);
    println!(
        "200 logins at once: all done in {} ms, p50 {} ms, p90 {} ms, {} failed, deadline {} ms; \
         generator {} of a processor; the service's largest memory {} MiB before, {} MiB after",
        number(&report, "all_ms"),
        number(&report, "p50_ms"),
        number(&report, "p90_ms"),
        number(&report, "failed"),
        number(&report, "deadline_ms"),
        number(&report, "generator_cpu"),
        before / 1024,
        peak_memory(&service) / 1024,
    );
    if number(&report, "failed") > 0.0 {
        failed.push("logins failed".to_owned());
    }
    // 200 hashes at once would take 2400 MiB.
    if peak_memory(&service) > 512 << 10 {
        failed.push("the service took more than 512 MiB".to_owned());
    }
    drop(service);
    // The short form shows that the benchmark works. On a machine that does other things as well
    // its figures say nothing, and decide nothing.
    if short {
        for remark in failed {
            println!("short form, not a failure: {remark}");
        }
        return;
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Runs `keyward bench`. Its failure is in the report.
fn bench(service: &Service, apart: bool, arguments: &[&str]) -> Value {
    let mut command = match apart {
        true => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", "1"]).arg(common::keyward());
            command
        }
        false => Command::new(common::keyward()),
    };
    let output = command
        .arg("bench")
        .args(arguments)
        .arg("--json")
        .env("KEYWARD_ADMIN_CONFIG", service.path().join("admin/client.toml"))
        .env("KEYWARD_PIN", common::PIN)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap()
}

/// The most memory that the service has had, in KiB.
fn peak_memory(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
