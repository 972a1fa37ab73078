//! The module in the life of its host: fork, exit, dlclose, output, threads,
//! signals, configs that cannot be used. The hosts are Python programs, which
//! know nothing but the C interface.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::alone::output_within;
use common::host::{Host, PATIENCE, TOKEN, python, text};

// ---- fork --------------------------------------------------------------------

#[test]
fn after_a_fork_the_child_begins_anew_and_the_parent_goes_on() {
    let host = Host::new();
    let connections = |host: &Host| -> u64 {
        let status: serde_json::Value =
            serde_json::from_str(&host.service.admin(&["status", "--json"])).unwrap();
        status["accepted"].as_u64().unwrap()
    };
    let before = connections(&host);
    host.run(
        r#"
ok("C_Initialize", None)
session = login()
key = find_key(session)
assert sign(session, key) == 0
for round in range(3):
    child = os.fork()
    if child == 0:
        # CKR_CRYPTOKI_NOT_INITIALIZED
        assert call("C_GetInfo", (c_ubyte * 256)()) == 0x190
        assert sign(session, key) == 0x190
        assert call("C_Finalize", None) == 0x190
        ok("C_Initialize", None)
        # Nothing of the parent's is the child's.
        assert sign(session, key) == 0xb3
        own = login()
        own_key = find_key(own)
        for _ in range(5):
            assert sign(own, own_key) == 0
        if round == 1:
            ok("C_Finalize", None)
        os._exit(0)
    # Both at once.
    for _ in range(5):
        assert sign(session, key) == 0
    wait(child)
    assert sign(session, key) == 0
"#,
    );
    assert_eq!(host.service.count(TOKEN, "sign"), 1 + 3 * (5 + 5 + 1));
    // One for the parent, one for each child and two for the status: the
    // parent's was never disturbed.
    let used = connections(&host) - before;
    assert!(used <= 1 + 3 + 2, "{used} connections");
}

#[test]
fn a_fork_while_other_threads_sign_leaves_a_child_that_works() {
    let host = Host::new();
    host.run(
        r#"
import threading
ok("C_Initialize", None)
session = login()
key = find_key(session)
over = threading.Event()
failed = []

def work():
    own = c_ulong()
    ok("C_OpenSession", c_ulong(0), c_ulong(4), None, None, byref(own))
    while not over.is_set():
        rv = sign(own, key)
        if rv:
            failed.append(rv)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        ok("C_Initialize", None)
        own = login()
        assert sign(own, find_key(own)) == 0
        os._exit(0)
    wait(child)
over.set()
for thread in threads:
    thread.join()
assert not failed, failed
"#,
    );
}

#[test]
fn a_child_that_ends_without_a_word_does_not_disturb_its_parent() {
    let host = Host::new();
    host.run(
        r#"
ok("C_Initialize", None)
session = login()
key = find_key(session)
for _ in range(10):
    child = os.fork()
    if child == 0:
        # With destructors and all, but without PKCS#11.
        sys.exit(0)
    wait(child)
    assert sign(session, key) == 0
"#,
    );
    assert_eq!(host.service.count(TOKEN, "login"), 1);
}

// ---- exit and dlclose ------------------------------------------------------------

#[test]
fn a_host_may_exit_without_c_finalize() {
    let host = Host::new();
    for end in ["sys.exit(0)", "os._exit(0)", "ctypes.CDLL(None).exit(0)"] {
        host.run(&format!(
            "ok('C_Initialize', None)\nsession = login()\nassert sign(session, find_key(session)) == 0\n{end}"
        ));
    }
}

#[test]
fn a_host_may_load_and_unload_it_a_hundred_times() {
    let host = Host::new();
    host.run(
        r#"
import _ctypes
for round in range(100):
    ok("C_Initialize", None)
    session = c_ulong()
    ok("C_OpenSession", c_ulong(0), c_ulong(4), None, None, byref(session))
    if round % 20 == 0:
        session = login()
        assert sign(session, find_key(session)) == 0
    if round % 2 == 0:
        ok("C_Finalize", None)
        finalized = True
    else:
        finalized = False
    _ctypes.dlclose(module._handle)
    module = ctypes.CDLL(os.environ["MODULE"])
    # It stays mapped, so what was not ended goes on.
    rv = call("C_GetSlotList", c_ubyte(1), None, byref(c_ulong()))
    assert rv == (0x190 if finalized else 0), rv
    if not finalized:
        ok("C_Finalize", None)
"#,
    );
}

// ---- threads and signals -----------------------------------------------------------

#[test]
fn no_thread_is_started_in_the_host() {
    let host = Host::new();
    host.run(
        r#"
def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
ok("C_Initialize", None)
session = login()
key = find_key(session)
for _ in range(5):
    assert sign(session, key) == 0
    assert threads() == before, threads()
ok("C_Finalize", None)
assert threads() == before
"#,
    );
}

#[test]
fn no_file_is_left_open_after_c_finalize() {
    let host = Host::new();
    host.run(
        r#"
def files():
    return sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                  if os.path.exists(f"/proc/self/fd/{n}"))

before = files()
for _ in range(5):
    ok("C_Initialize", None)
    session = login()
    assert sign(session, find_key(session)) == 0
    assert len(files()) > len(before)
    ok("C_Finalize", None)
    assert files() == before, files()
"#,
    );
}

/// A connection that the service has reset raises SIGPIPE in who writes to it
/// without care. Python ignores that signal; a host in C does not.
#[test]
fn a_connection_that_was_reset_does_not_kill_the_host() {
    let mut host = Host::new();
    let program = r#"
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
ok("C_Initialize", None)
session = login()
key = find_key(session)
assert sign(session, key) == 0
print("signed", flush=True)
sys.stdin.readline()
for _ in range(3):
    assert sign(session, key) == 0
print(signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL, flush=True)
"#;
    let mut child = host
        .command(program)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "signed");
    host.service.kill();
    host.service.resume();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "True");
    assert!(child.wait().unwrap().success());
}

// ---- output -----------------------------------------------------------------------

/// A bit of everything, with failures.
const WORK: &str = r#"
ok("C_Initialize", None)
session = c_ulong()
ok("C_OpenSession", c_ulong(0), c_ulong(6), None, None, byref(session))
wrong = b"wrong-horse"
assert call("C_Login", session, c_ulong(1), c_char_p(wrong), c_ulong(len(wrong))) == 0xa0
session = login()
assert sign(session, c_ulong(4711)) == 0x60
assert sign(session, find_key(session)) == 0
"#;

#[test]
fn nothing_is_written_unless_asked_for() {
    let host = Host::new();
    host.run(WORK);
    let failing = "assert call('C_Initialize', None) == 5";
    let mut command = python(Path::new("/nonexistent/client.toml"), failing);
    let output = output_within(&mut command, PATIENCE);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "");
}

#[test]
fn the_log_names_function_and_result_and_no_pin() {
    let host = Host::new();
    let logged = |level: &str| {
        let mut command = host.command(WORK);
        let output = output_within(command.env("KEYWARD_PKCS11_LOG", level), PATIENCE);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        String::from_utf8(output.stderr).unwrap()
    };
    let errors = logged("error");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 2, "{errors}");
    assert!(lines[0].contains("C_Login CKR_PIN_INCORRECT"), "{errors}");
    assert!(lines[1].contains("C_SignInit CKR_KEY_HANDLE_INVALID"), "{errors}");
    let all = logged("trace");
    for function in ["C_Initialize", "C_OpenSession", "C_Login", "C_FindObjects", "C_Sign"] {
        assert!(all.contains(function), "{function} is missing: {all}");
    }
    for log in [&errors, &all] {
        assert!(!log.contains("horse"), "a PIN is in {log}");
    }
    assert_eq!(logged("something else"), "");
}

#[test]
fn the_log_may_go_to_a_file() {
    let host = Host::new();
    let text = std::fs::read_to_string(&host.config).unwrap();
    let logging = "[log]\nlevel = \"error\"\nfile = \"module.log\"\n";
    let logging = text.replace("[log]\n", logging);
    assert_ne!(logging, text, "client.toml has no [log]");
    std::fs::write(&host.config, logging).unwrap();
    host.run(WORK);
    let log = std::fs::read_to_string(host.config.with_file_name("module.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}

// ---- configs that cannot be used ------------------------------------------------------

#[test]
fn a_config_that_cannot_be_used_is_one_sentence_in_the_log() {
    let host = Host::new();
    let good = std::fs::read_to_string(&host.config).unwrap();
    let folder = host.config.parent().unwrap();
    for (name, config, word) in [
        ("syntax.toml", "endpoints = [".to_owned(), "syntax.toml"),
        ("empty.toml", String::new(), "endpoints"),
        ("typo.toml", good.replace("server_name", "servername"), "servername"),
        ("port.toml", good.replace("127.0.0.1:", "127.0.0.1:x"), "127.0.0.1:x"),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, config).unwrap();
        refused(&path, word);
    }
    refused(&folder.join("missing.toml"), "missing.toml");
}

/// CKR_GENERAL_ERROR from C_Initialize, silently or with a sentence.
fn refused(config: &Path, word: &str) {
    let program = "assert call('C_Initialize', None) == 5";
    let output = output_within(&mut python(config, program), PATIENCE);
    assert!(output.status.success(), "{word}: {}", text(&output));
    assert_eq!(text(&output), "", "{word}");
    let mut command = python(config, program);
    let output = output_within(command.env("KEYWARD_PKCS11_LOG", "error"), PATIENCE);
    let log = text(&output);
    assert!(log.contains(word) && log.contains("C_Initialize"), "{word}: {log}");
    assert_eq!(log.matches("keyward ").count(), 1, "{word}: {log}");
}

#[test]
fn a_private_key_that_others_can_read_is_refused_with_a_hint() {
    let host = Host::new();
    let key = host.config.with_file_name("identity.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let program = r#"
ok("C_Initialize", None)
session = c_ulong()
ok("C_OpenSession", c_ulong(0), c_ulong(4), None, None, byref(session))
pin = b"1234"
rv = call("C_Login", session, c_ulong(1), c_char_p(pin), c_ulong(4))
assert rv != 0, rv
"#;
    let mut command = host.command(program);
    let output = output_within(command.env("KEYWARD_PKCS11_LOG", "error"), PATIENCE);
    let log = text(&output);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("chmod 600") && log.contains("identity.key"), "{log}");
    assert_eq!(host.service.count(TOKEN, "login"), 0);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    host.run(WORK);
}
