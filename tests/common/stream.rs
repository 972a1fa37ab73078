//! A JVM whose threads shake hands without a pause, while somebody breaks what
//! they rest on.

use std::process::Command;
use std::time::{Duration, Instant};

use super::jvm::{Call, Cluster, Record, Running};

/// The JVM, and the service that its keys are in.
pub struct Stream {
    pub cluster: Cluster,
    running: Running,
}

/// What it does.
pub struct Load<'a> {
    /// Of [`KEYS`](super::jvm::KEYS): the tokens' keys.
    pub key: (&'a str, &'a str),
    pub suite: &'a str,
    pub threads: u32,
    /// Of the JVM.
    pub options: &'a [&'a str],
    /// Of the program.
    pub more: &'a [&'a str],
}

impl Load<'_> {
    pub const EC: Load<'static> =
        Load { key: ("p256", "ec:p256"), suite: TLS13, threads: 64, options: &[], more: &[] };
}

impl Stream {
    /// Starts it and waits until it is under way. The module writes down each
    /// call.
    pub fn start(jdk: u32, cluster: Cluster, load: &Load<'_>) -> Self {
        Self::start_in(jdk, cluster, load, |command| command)
    }

    /// The same, by a command that is made of the JVM's.
    pub fn start_in(
        jdk: u32,
        cluster: Cluster,
        load: &Load<'_>,
        wrap: impl FnOnce(Command) -> Command,
    ) -> Self {
        cluster.log_calls();
        let key = load.key.0;
        let setup = cluster.setup(
            "stream",
            &format!(
                "case name=stream server={key}-server client={key}-client server-trust=root \
                 client-trust=root {} bytes=64\n",
                load.suite
            ),
        );
        let mut command = cluster.program_with(jdk, "HandshakeStream", load.options);
        command
            .args(["--case", "stream", "--seconds", "280", "--threads"])
            .arg(load.threads.to_string())
            .args(load.more)
            .arg("--setup")
            .arg(setup);
        let mut stream = Self { cluster, running: Running::start(&mut wrap(command)) };
        stream.goes_on(200);
        stream
    }

    /// The next report of the program.
    pub fn progress(&mut self) -> Record {
        self.running.next("progress")
    }

    /// Waits until so many more handshakes were done.
    pub fn goes_on(&mut self, more: u64) {
        let begin = number(&self.progress(), "done");
        let deadline = Instant::now() + Duration::from_secs(60);
        while number(&self.progress(), "done") < begin + more {
            assert!(Instant::now() < deadline, "no handshakes are done");
        }
    }

    /// Reads reports for so long; the slowest handshake meanwhile, in
    /// milliseconds.
    pub fn watch(&mut self, duration: Duration) -> f64 {
        let until = Instant::now() + duration;
        let mut slowest = 0.0_f64;
        while Instant::now() < until {
            slowest = slowest.max(self.progress()["slowest-lately-ms"].parse().unwrap());
        }
        slowest
    }

    /// Stops it; its sums, and the calls that the module wrote down.
    pub fn end(mut self) -> (Record, Vec<Call>) {
        self.running.go_on();
        let end = self.running.next("end");
        self.running.finish();
        (end, self.cluster.calls())
    }

    /// Stops it; not one handshake has failed, whatever was broken meanwhile.
    pub fn end_unharmed(self, what: &str) {
        let (end, _) = self.end();
        println!(
            "{what}: {} handshakes, {} failed, slowest {} ms",
            end["done"], end["failed"], end["slowest-ms"]
        );
        assert_eq!(end["failed"], "0", "{what}");
    }
}

fn number(record: &Record, field: &str) -> u64 {
    record[field].parse().unwrap()
}

const TLS13: &str = "protocol=TLSv1.3 suite=TLS_AES_128_GCM_SHA256";
