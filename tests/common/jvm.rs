//! JVMs that run the programs of `tests/jvm`, and tokens for them to use.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::{PIN, Service, module, repository, run, target};

/// One line of a program's output: `key=value` fields, `record` first.
pub type Record = BTreeMap<String, String>;

/// The kinds of key of the TLS matrix, as `tests/jvm/matrix.cases` and
/// `keyward key generate` name them.
pub const KEYS: [(&str, &str); 6] = [
    ("rsa2048", "rsa:2048"),
    ("rsa3072", "rsa:3072"),
    ("rsa4096", "rsa:4096"),
    ("p256", "ec:p256"),
    ("p384", "ec:p384"),
    ("p521", "ec:p521"),
];

/// A service with a token for each end of each case, keys made in it, and
/// certificates from a CA that is not ours.
pub struct Cluster {
    pub service: Service,
    /// The module's config: a slot for each token.
    pub config: PathBuf,
    pub tokens: Vec<String>,
    pub pki: PathBuf,
    classes: PathBuf,
}

impl Cluster {
    /// Tokens KEY-server and KEY-client for each kind of key, and one more,
    /// `scratch`, which is empty.
    pub fn start(keys: &[(&str, &str)], profile: &str) -> Self {
        let service = Service::start();
        let pki = service.dir.path().join("pki");
        // Keys in files too: for truststores and the CA, not for the tokens.
        run(Command::new(repository("tests/jvm/make-pki.sh"))
            .arg(&pki)
            .arg("p256")
            .env("KEYWARD_JAVA17", java(17)));
        let mut tokens = Vec::new();
        for (name, kind) in keys {
            for side in ["server", "client"] {
                let token = format!("{name}-{side}");
                service.token(&token);
                make_node(&service, &pki, &token, kind);
                tokens.push(token);
            }
        }
        service.token("scratch");
        tokens.push("scratch".to_owned());
        let granted: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let config = service.identity("cluster", &granted, &["--profile", profile]);
        let classes = run(Command::new(repository("tests/jvm/build.sh"))
            .arg(target().join("jvm-classes"))
            .env("KEYWARD_JAVA17", java(17)));
        Self { service, config, tokens, pki, classes: PathBuf::from(classes.trim()) }
    }

    /// The slot id of a token: its place in the config.
    pub fn slot(&self, token: &str) -> String {
        self.tokens.iter().position(|known| known == token).unwrap().to_string()
    }

    /// A setup file for `keyward.Handshakes`: all stores, then `cases`.
    pub fn setup(&self, name: &str, cases: &str) -> PathBuf {
        let mut text = String::new();
        for token in self.tokens.iter().filter(|token| *token != "scratch") {
            text += &format!(
                "store name={token} library={} slot={} pin={PIN}\n",
                module().display(),
                self.slot(token)
            );
        }
        for (name, file) in [
            ("root", "root.p12"),
            ("root-jks", "root.jks"),
            ("impostor", "impostor.p12"),
            ("stranger", "stranger.p12"),
        ] {
            let file = self.pki.join(file);
            text += &format!("trust name={name} file={} password=changeit\n", file.display());
        }
        let path = self.service.dir.path().join(name);
        std::fs::write(&path, text + cases).unwrap();
        path
    }

    /// The command that runs a program on a JVM.
    pub fn program(&self, version: u32, class: &str) -> Command {
        let mut command = Command::new(java(version));
        command
            .env("KEYWARD_CONFIG", &self.config)
            // Two processors are not many: let the JVM not take all of them for
            // compiling itself.
            .args(["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp"])
            .arg(&self.classes)
            .arg(format!("keyward.{class}"));
        command
    }

    /// The options that name a token to a program.
    pub fn token_options(&self, token: &str) -> Vec<String> {
        let library = module().display().to_string();
        ["--library", &library, "--slot", &self.slot(token), "--pin", PIN]
            .map(str::to_owned)
            .into()
    }
}

/// Makes a token's key, has it certified, and puts the chain in.
pub fn make_node(service: &Service, pki: &Path, token: &str, kind: &str) {
    let file = |end: &str| service.dir.path().join(format!("{token}.{end}"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    service.admin(&["key", "generate", "--token", token, "--type", kind, "--label", token]);
    service.admin(&[
        "cert", "request", "--token", token, "--key", token, "--subject",
        &format!("CN={token},O=Keyward tests"), "--san", "127.0.0.1", "--out", &text(&file("csr")),
    ]);
    std::fs::write(
        file("ext"),
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n\
         basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n",
    )
    .unwrap();
    run(Command::new("openssl")
        .args(["x509", "-req", "-days", "30", "-in"])
        .arg(file("csr"))
        .arg("-CA")
        .arg(pki.join("ca.pem"))
        .arg("-CAkey")
        .arg(pki.join("ca.key"))
        .arg("-extfile")
        .arg(file("ext"))
        .arg("-out")
        .arg(file("pem")));
    let mut chain = std::fs::read(file("pem")).unwrap();
    for issuer in ["ca.pem", "root.pem"] {
        chain.extend(std::fs::read(pki.join(issuer)).unwrap());
    }
    std::fs::write(file("chain"), chain).unwrap();
    service.admin(&["cert", "import", "--token", token, "--key", token, &text(&file("chain"))]);
}

/// Runs a program to its end, which must be a good one, and gives back its
/// records.
pub fn records(command: &mut Command) -> Vec<Record> {
    run(command).lines().map(record).collect()
}

/// The records of one kind.
pub fn of_kind<'a>(records: &'a [Record], kind: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.get("record").is_some_and(|is| is == kind)).collect()
}

fn record(line: &str) -> Record {
    line.split('\t')
        .filter_map(|field| field.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A program that waits for the test at its pauses.
pub struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// The next record of a kind; the program's own deadline bounds the wait.
    pub fn next(&mut self, kind: &str) -> Record {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the program ended before {kind}");
            let record = record(line.trim_end());
            if record.get("record").is_some_and(|is| is == kind) {
                return record;
            }
        }
    }

    /// Ends the program's pause.
    pub fn go_on(&mut self) {
        writeln!(self.input).unwrap();
    }

    /// Waits for the end, which must be a good one.
    pub fn finish(mut self) {
        drop(self.input);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// The command that starts a JVM of this version.
pub fn java(version: u32) -> PathBuf {
    let file = repository("tests/.cache/jdks.env");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| {
        panic!("{} is missing: `make test` writes it, by tests/tools/install.sh", file.display())
    });
    let name = format!("KEYWARD_JAVA{version}=");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    PathBuf::from(line.unwrap_or_else(|| panic!("no Java {version} in {}", file.display())))
}
