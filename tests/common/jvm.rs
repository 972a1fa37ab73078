//! JVMs that run the programs of `tests/jvm`, and tokens for them to use.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::{PIN, SO_PIN, Service, repository, run, target};

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
}

impl Cluster {
    /// Tokens KEY-server and KEY-client for each kind of key, and one more,
    /// `scratch`, which is empty.
    pub fn start(keys: &[(&str, &str)], profile: &str) -> Self {
        Self::of(Service::start(), keys, profile)
    }

    /// The same of a service that runs.
    pub fn of(service: Service, keys: &[(&str, &str)], profile: &str) -> Self {
        let pki = pki();
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
        Self { service, config, tokens, pki }
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
        program(version, class, &[], &self.config)
    }

    /// The same with options for the JVM.
    pub fn program_with(&self, version: u32, class: &str, options: &[&str]) -> Command {
        program(version, class, options, &self.config)
    }

    /// Runs the TLS matrix; all of it passes, by the work of the service.
    pub fn passes_the_matrix(&self, jdk: u32) {
        // Signatures and decryptions.
        let work = |token: &String| {
            self.service.count(token, "sign") + self.service.count(token, "decrypt")
        };
        let cases = std::fs::read_to_string(repository("tests/jvm/matrix.cases")).unwrap();
        let setup = self.setup(&format!("matrix-{jdk}"), &cases);
        let before: Vec<_> = self.tokens.iter().map(work).collect();
        let all = records(self.program(jdk, "Handshakes").arg("--setup").arg(setup));
        let ran = of_kind(&all, "case");
        assert_eq!(ran.len(), cases.lines().filter(|line| line.starts_with("case ")).count());
        assert!(ran.iter().all(|case| case["pass"] == "true"), "{ran:#?}");
        for store in of_kind(&all, "store") {
            assert_eq!(store["encoded"], "null", "{store:?}");
        }
        for (token, before) in self.tokens.iter().zip(before) {
            if token != "scratch" {
                assert!(work(token) > before, "{token} did nothing: JSSE signed in software");
            }
        }
    }

    /// A JVM that has no provider yet.
    pub fn console(&self, version: u32) -> Console {
        Console::start(version, &[], &self.config)
    }

    /// Has the module write down each call from the next start on.
    pub fn log_calls(&self) {
        log_calls(&self.config);
    }

    /// What the module has written down.
    pub fn calls(&self) -> Vec<Call> {
        calls(&self.config)
    }

    /// The options that name a token to a program.
    pub fn token_options(&self, token: &str) -> Vec<String> {
        let library = module().display().to_string();
        ["--library", &library, "--slot", &self.slot(token), "--pin", PIN].map(str::to_owned).into()
    }
}

/// What a [`Node`] is to be.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub token: &'a str,
    pub kind: &'a str,
    /// `pin` or `certificate`.
    pub login: &'a str,
    /// Behind the token's name: "" or `:ro`.
    pub grant: &'a str,
    pub profile: &'a str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self { token: "node1", kind: "ec:p256", login: "pin", grant: "", profile: "tls" }
    }
}

/// A database node as the how-to sets it up: a service with one token, its key
/// and chain, and the JVM's files. The module writes down each call.
pub struct Node {
    pub service: Service,
    pub token: String,
    pub config: PathBuf,
    jdk: u32,
}

impl Node {
    pub fn start(jdk: u32, plan: Plan<'_>) -> Self {
        Self::of(Service::start(), jdk, plan)
    }

    /// The same of a service that runs.
    pub fn of(service: Service, jdk: u32, plan: Plan<'_>) -> Self {
        let mut node = Self::without_key_of(service, jdk, plan);
        make_node(&node.service, &pki(), plan.token, plan.kind);
        // What was asked until now was asked by the administrator.
        node.service.stop();
        node.service.resume();
        node
    }

    /// The same with an empty token.
    pub fn without_key(jdk: u32, plan: Plan<'_>) -> Self {
        Self::without_key_of(Service::start(), jdk, plan)
    }

    fn without_key_of(service: Service, jdk: u32, plan: Plan<'_>) -> Self {
        let mut create = vec!["token", "create", "--label", plan.token, "--so-pin", SO_PIN];
        create.extend(match plan.login {
            "pin" => ["--pin", PIN],
            other => ["--login", other],
        });
        service.admin(&create);
        let grant = format!("{}{}", plan.token, plan.grant);
        let config = service.identity("node", &[&grant], &["--profile", plan.profile]);
        log_calls(&config);
        let node = Self { service, token: plan.token.to_owned(), config, jdk };
        let cfg = node.cfg();
        std::fs::write(
            &cfg,
            format!("name = Keyward\nlibrary = {}\nslotListIndex = 0\n", module().display()),
        )
        .unwrap();
        // The lines of the how-to, each the last of its JDK's list.
        let line = match jdk {
            8 => "security.provider.10=sun.security.pkcs11.SunPKCS11",
            _ => "security.provider.12=SunPKCS11",
        };
        std::fs::write(node.security(), format!("{line} {}\n", cfg.display())).unwrap();
        node
    }

    /// SunPKCS11's configuration.
    pub fn cfg(&self) -> PathBuf {
        self.config.with_file_name("pkcs11.cfg")
    }

    /// What goes over the JDK's `java.security`.
    pub fn security(&self) -> PathBuf {
        self.config.with_file_name("java.security")
    }

    /// A JVM with the provider in its list.
    pub fn console(&self) -> Console {
        let option = format!("-Djava.security.properties={}", self.security().display());
        self.console_with(&[&option])
    }

    /// A JVM whose list is as it was installed.
    pub fn bare_console(&self) -> Console {
        self.console_with(&[])
    }

    /// A JVM that makes its TLS as Cassandra and DSE do, from the settings of
    /// cassandra.yaml.
    pub fn database(&self) -> Running {
        let option = format!("-Djava.security.properties={}", self.security().display());
        let mut command = program(self.jdk, "Node", &[&option], &self.config);
        let trust = pki().join("root.jks");
        command.args([
            "--keystore-password",
            PIN,
            "--truststore-password",
            "changeit",
            "--truststore",
        ]);
        let mut running = Running::start(command.arg(trust));
        running.next("ready");
        running
    }

    fn console_with(&self, options: &[&str]) -> Console {
        Console::start(self.jdk, options, &self.config)
    }

    /// The C functions that the module was called by, in their order, each with
    /// what it answered.
    pub fn calls(&self) -> Vec<(String, String)> {
        calls(&self.config).into_iter().map(|call| (call.function, call.rv)).collect()
    }

    /// What the module has written down.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.config.with_file_name("module.log")).unwrap_or_default()
    }

    /// How often the module was called by this function.
    pub fn called(&self, function: &str) -> usize {
        self.calls().iter().filter(|(called, _)| called == function).count()
    }

    /// How often the service was asked for this, since it started.
    pub fn asked(&self, operation: &str) -> u64 {
        self.service.count(&self.token, operation)
    }
}

/// A call that the module has written down.
pub struct Call {
    pub function: String,
    pub rv: String,
    /// Since the epoch.
    pub ended: Duration,
    pub took: Duration,
}

fn log_calls(config: &Path) {
    let text = std::fs::read_to_string(config).unwrap();
    let log = "[log]\nlevel = \"trace\"\nfile = \"module.log\"\n";
    assert!(text.contains("\n[log]\n"), "{text}");
    std::fs::write(config, text.replacen("[log]\n", log, 1)).unwrap();
}

fn calls(config: &Path) -> Vec<Call> {
    let log = std::fs::read_to_string(config.with_file_name("module.log")).unwrap_or_default();
    log.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            // What is no call's result is told in words.
            if !words[3].starts_with("C_") {
                return None;
            }
            let (seconds, micros) = words[1].split_once('.').unwrap();
            let took = words[5].strip_prefix("us=").unwrap();
            Some(Call {
                function: words[3].to_owned(),
                rv: words[4].to_owned(),
                ended: Duration::from_secs(seconds.parse().unwrap())
                    + Duration::from_micros(micros.parse().unwrap()),
                took: Duration::from_micros(took.parse().unwrap()),
            })
        })
        .collect()
}

/// A JVM that does what it is told, a line at a time.
pub struct Console {
    pub running: Running,
}

impl Console {
    fn start(jdk: u32, options: &[&str], config: &Path) -> Self {
        let mut options = options.to_vec();
        if jdk > 8 {
            // For the command `wrapper`.
            options.push("--add-opens=jdk.crypto.cryptoki/sun.security.pkcs11=ALL-UNNAMED");
        }
        let mut command = program(jdk, "Console", &options, config);
        let trust = pki().join("root.jks");
        command.arg("--truststore").arg(trust).args(["--truststore-password", "changeit"]);
        let mut running = Running::start(&mut command);
        running.next("ready");
        Self { running }
    }

    /// Has something done, however it goes.
    pub fn tell(&mut self, line: &str) -> Record {
        self.running.say(line);
        self.running.next(line.split(' ').next().unwrap())
    }

    /// Has something done that must go well.
    pub fn ask(&mut self, line: &str) -> Record {
        let told = self.tell(line);
        assert_eq!(told["ok"], "true", "{line}: {told:?}");
        told
    }

    /// Has something done that must fail; gives back the chain of exceptions.
    pub fn refused(&mut self, line: &str) -> String {
        let told = self.tell(line);
        assert_eq!(told["ok"], "false", "{line}: {told:?}");
        told["error"].clone()
    }

    pub fn finish(self) {
        self.running.finish();
    }
}

/// The command that runs one of the programs on a JVM.
pub fn program(version: u32, class: &str, options: &[&str], config: &Path) -> Command {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    let classes = CLASSES.get_or_init(|| {
        let folder = run(Command::new(repository("tests/jvm/build.sh"))
            .arg(target().join("jvm-classes"))
            .env("KEYWARD_JAVA17", java(17)));
        PathBuf::from(folder.trim())
    });
    let mut command = jdk(version, "java");
    command
        .env("KEYWARD_CONFIG", config)
        .arg("-Xshare:auto")
        .args(options)
        .arg("-cp")
        .arg(classes)
        .arg(format!("keyward.{class}"));
    command
}

/// A CA, truststores, and a key in files; one set for all tests of a binary.
pub fn pki() -> PathBuf {
    static PKI: OnceLock<PathBuf> = OnceLock::new();
    PKI.get_or_init(|| {
        let scratch = target().join("tests");
        std::fs::create_dir_all(&scratch).unwrap();
        // What processes that have ended left behind.
        for left in std::fs::read_dir(&scratch).unwrap().map_while(Result::ok) {
            let name = left.file_name().into_string().unwrap_or_default();
            if let Some(process) = name.strip_prefix("pki-")
                && !Path::new("/proc").join(process).exists()
            {
                let _ = std::fs::remove_dir_all(left.path());
            }
        }
        let folder = scratch.join(format!("pki-{}", std::process::id()));
        run(Command::new(repository("tests/jvm/make-pki.sh"))
            .arg(&folder)
            .arg("p256")
            .env("KEYWARD_JAVA17", java(17)));
        folder
    })
    .clone()
}

/// Makes a token's key, has it certified, and puts the chain in.
pub fn make_node(service: &Service, pki: &Path, token: &str, kind: &str) {
    let file = |end: &str| service.dir.path().join(format!("{token}.{end}"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    service.admin(&["key", "generate", "--token", token, "--type", kind, "--label", token]);
    service.admin(&[
        "cert",
        "request",
        "--token",
        token,
        "--key",
        token,
        "--subject",
        &format!("CN={token},O=Keyward tests"),
        "--san",
        "127.0.0.1",
        "--out",
        &text(&file("csr")),
    ]);
    certify(pki, &file("csr"), &file("chain"));
    service.admin(&["cert", "import", "--token", token, "--key", token, &text(&file("chain"))]);
}

/// Has the CA certify a request: the chain, leaf first, goes to a file.
pub fn certify(pki: &Path, request: &Path, chain: &Path) {
    let extensions = chain.with_extension("ext");
    std::fs::write(
        &extensions,
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth,codeSigning\n\
         basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n",
    )
    .unwrap();
    run(Command::new("openssl")
        .args(["x509", "-req", "-days", "30", "-in"])
        .arg(request)
        .arg("-CA")
        .arg(pki.join("ca.pem"))
        .arg("-CAkey")
        .arg(pki.join("ca.key"))
        .arg("-extfile")
        .arg(extensions)
        .arg("-out")
        .arg(chain));
    let mut all = std::fs::read(chain).unwrap();
    for issuer in ["ca.pem", "root.pem"] {
        all.extend(std::fs::read(pki.join(issuer)).unwrap());
    }
    std::fs::write(chain, all).unwrap();
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

pub fn record(line: &str) -> Record {
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
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// The next record of a kind; the program's own deadline bounds the wait.
    pub fn next(&mut self, kind: &str) -> Record {
        loop {
            let mut line = String::new();
            assert!(
                self.output.read_line(&mut line).unwrap() > 0,
                "the program ended before {kind}"
            );
            let record = record(line.trim_end());
            if record.get("record").is_some_and(|is| is == kind) {
                return record;
            }
        }
    }

    /// Ends the program's pause.
    pub fn go_on(&mut self) {
        self.say("");
    }

    /// Gives the program a line.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Waits for the end, which must be a good one.
    pub fn finish(mut self) {
        drop(self.input);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// A program of the JDK of this version: java, keytool, jarsigner. If the JDK
/// runs in a root of its own, it finds this build there too.
pub fn jdk(version: u32, program: &str) -> Command {
    let path = java(version).with_file_name(program);
    assert!(path.exists(), "{} is missing; run tests/tools/install.sh", path.display());
    let mut command = Command::new(path);
    command.env("KEYWARD_ROOT_BIND", target().parent().unwrap());
    // Two processors are not many: let no JVM take all of them for compiling itself.
    let option = "-XX:TieredStopAtLevel=1";
    match program {
        "java" => command.arg(option),
        _ => command.arg(format!("-J{option}")),
    };
    command
}

/// The command that starts a JVM of this version.
pub fn java(version: u32) -> PathBuf {
    let file = repository("tests/.cache/jdks.env");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| {
        panic!("{} is missing: `make test` writes it, by tests/tools/install.sh", file.display())
    });
    let name = format!("KEYWARD_JAVA{version}=");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    PathBuf::from(line.unwrap_or_else(|| {
        panic!("no Java {version} in {}: run tests/tools/install.sh", file.display())
    }))
}

/// The library as it is released, for an old glibc: all JVMs load that one, and
/// the one of JDK 11 could load no other.
pub fn module() -> PathBuf {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(released).clone()
}

fn released() -> PathBuf {
    let folder = target().with_file_name("portable");
    let module = folder
        .join(format!("{}-unknown-linux-gnu/release/libkeyward_pkcs11.so", std::env::consts::ARCH));
    let again = "run tests/tools/build-release.sh";
    let built = std::fs::metadata(&module)
        .and_then(|metadata| metadata.modified())
        .unwrap_or_else(|_| panic!("{} is not built: {again}", module.display()));
    // Cargo lists there what the library was made of.
    let sources = std::fs::read_to_string(module.with_extension("d")).unwrap();
    for source in sources.split_whitespace().filter(|word| !word.ends_with(':')) {
        let changed = std::fs::metadata(source).and_then(|metadata| metadata.modified());
        assert!(
            changed.is_ok_and(|changed| changed <= built),
            "{} is older than {source}: {again}",
            module.display()
        );
    }
    module
}

/// Makes tests of functions that take the version of a JDK: one on each.
#[macro_export]
macro_rules! on_each_jdk {
    ($($name:ident)*) => {
        mod jdk8 { $(#[test] fn $name() { super::$name(8); })* }
        mod jdk11 { $(#[test] fn $name() { super::$name(11); })* }
        mod jdk17 { $(#[test] fn $name() { super::$name(17); })* }
        mod jdk25 { $(#[test] fn $name() { super::$name(25); })* }
    };
}
