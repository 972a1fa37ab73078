//! The end of the module's life in a host: C_Finalize among running calls, an
//! unloaded library, exit handlers, peers that reset.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use common::alone::output_within;
use common::host::{Host, PATIENCE, PIN, text};
use common::proxy::{Line, Proxy, reset, route};
use common::{module, run};

#[test]
fn c_finalize_among_running_calls_harms_nobody() {
    let host = Host::new();
    host.run(
        r#"
import threading, time
ok("C_Initialize", None)
over = threading.Event()
signed, strange = [], []

def work():
    # Not initialised, session unknown, not logged in, key unknown: what a call
    # may hear that comes too late or too early.
    known = {0x190, 0xb3, 0x101, 0x60, 0x82, 0x100}
    while not over.is_set():
        session = c_ulong()
        rv = call("C_OpenSession", c_ulong(0), c_ulong(6), None, None, byref(session))
        pin = os.environ["PIN"].encode()
        rv = rv or call("C_Login", session, c_ulong(1), c_char_p(pin), c_ulong(len(pin)))
        try:
            key = find_key(session)
        except AssertionError:
            continue
        while not over.is_set():
            rv = sign(session, key)
            if rv:
                if rv not in known:
                    strange.append(hex(rv))
                break
            signed.append(1)

threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for _ in range(25):
    before = len(signed)
    deadline = time.monotonic() + 2
    while len(signed) < before + 20 and time.monotonic() < deadline:
        time.sleep(0.005)
    ok("C_Finalize", None)
    ok("C_Initialize", None)
over.set()
for thread in threads:
    thread.join()
assert not strange, strange
assert len(signed) > 100, len(signed)
"#,
    );
}

#[test]
fn c_finalize_does_not_wait_for_a_call_that_waits_for_the_service() {
    let host = Host::new();
    let proxy = Proxy::start(&host.service.endpoint);
    route(&host.config, &[&proxy.endpoint]);
    let program = r#"
import threading, time
ok("C_Initialize", None)
session = login()
key = find_key(session)
assert sign(session, key) == 0
print("signed", flush=True)
sys.stdin.readline()
results = []
threads = [threading.Thread(target=lambda: results.append(sign(session, key))) for _ in range(1)]
for thread in threads:
    thread.start()
time.sleep(0.5)
started = time.monotonic()
ok("C_Finalize", None)
took = time.monotonic() - started
assert took < 2, took
ok("C_Initialize", None)
for thread in threads:
    thread.join()
# CKR_DEVICE_ERROR, in its own time.
assert results == [0x30], results
print("ended", flush=True)
"#;
    let mut child =
        host.command(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "signed");
    proxy.set(Line::Stalls);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "ended");
    assert!(child.wait().unwrap().success());
}

/// Destructors of thread-local values must not be run from memory that is gone.
#[test]
fn threads_that_signed_outlive_a_thousand_unloadings() {
    let host = Host::new();
    host.run(
        r#"
import _ctypes, threading
ok("C_Initialize", None)
session = login()
key = find_key(session)
ready = threading.Barrier(9)
go_on = threading.Event()
failed = []

def work(again):
    own = c_ulong()
    ok("C_OpenSession", c_ulong(0), c_ulong(4), None, None, byref(own))
    failed.append(sign(own, key))
    ready.wait()
    go_on.wait()
    if again:
        failed.append(sign(own, key))

threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(8)]
for thread in threads:
    thread.start()
ready.wait()
for _ in range(1000):
    _ctypes.dlclose(module._handle)
    module = ctypes.CDLL(os.environ["MODULE"])
_ctypes.dlclose(module._handle)
go_on.set()
for thread in threads:
    thread.join()
assert failed == [0] * 12, failed
ok("C_Finalize", None)
"#,
    );
}

// ---- a host in C ---------------------------------------------------------------------

/// As little of a host as there can be: signals as the system sets them, exit
/// handlers as OpenSSL's users have them.
const HOST: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long num;
static void *module;
#define CALL(name, ...) (((num (*)())dlsym(module, name))(__VA_ARGS__))
#define OK(name, ...) do { num rv = CALL(name, __VA_ARGS__); \
    if (rv) { fprintf(stderr, "%s: %#lx\n", name, rv); _exit(3); } } while (0)

static void finalize(void) {
    OK("C_Finalize", (void *)0);
    puts("finalized");
    fflush(stdout);
}

static num session, key;

static num try(void) {
    num mechanism[3] = {0x1041, 0, 0};
    unsigned char digest[32] = {1}, signature[64];
    num length = sizeof signature;
    OK("C_SignInit", session, mechanism, key);
    return CALL("C_Sign", session, digest, (num)32, signature, &length);
}

static void sign(void) {
    num rv = try();
    if (rv) { fprintf(stderr, "C_Sign: %#lx\n", rv); _exit(3); }
}

int main(int count, char **arguments) {
    alarm(25);
    module = dlopen(getenv("MODULE"), RTLD_NOW);
    if (!module) { fprintf(stderr, "%s\n", dlerror()); return 2; }
    int exits = !strcmp(arguments[1], "exit");
    /* Registered first, so run last: after OpenSSL's own handler. */
    if (exits) atexit(finalize);
    void *crypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL);
    if (!crypto) { fprintf(stderr, "%s\n", dlerror()); return 2; }
    ((int (*)(unsigned long, void *))dlsym(crypto, "OPENSSL_init_crypto"))(0, 0);
    const char *pin = getenv("PIN");
    OK("C_Initialize", (void *)0);
    OK("C_OpenSession", (num)0, (num)6, (void *)0, (void *)0, &session);
    OK("C_Login", session, (num)1, pin, (num)strlen(pin));
    num kind = 3, found = 0;
    struct { num type; void *value; num length; } template = {0, &kind, sizeof kind};
    OK("C_FindObjectsInit", session, &template, (num)1);
    OK("C_FindObjects", session, &key, (num)1, &found);
    OK("C_FindObjectsFinal", session);
    sign();
    if (exits) {
        if (count > 2) ((void (*)(void))dlsym(crypto, "OPENSSL_cleanup"))();
        return 0;
    }
    char line[8];
    if (count > 2) {
        num rv = 0;
        puts("signed"), fflush(stdout), fgets(line, sizeof line, stdin);
        for (int round = 0; round < 200; round++) rv = try();
        return rv == 0x30 ? 0 : 4;
    }
    while (puts("signed"), fflush(stdout), fgets(line, sizeof line, stdin)) sign();
    return 0;
}
"#;

/// The C host, built and ready to be started.
fn host_in_c(host: &Host) -> Command {
    let folder = host.service.dir.path();
    let source = folder.join("host.c");
    std::fs::write(&source, HOST).unwrap();
    let program = folder.join("host");
    run(Command::new("cc").args(["-std=gnu11", "-w", "-o"]).arg(&program).arg(&source).arg("-ldl"));
    let mut command = Command::new(program);
    command.env("MODULE", module()).env("KEYWARD_CONFIG", &host.config).env("PIN", PIN);
    command
}

#[test]
fn c_finalize_from_an_exit_handler_after_openssls_own_is_harmless() {
    let host = Host::new();
    for arguments in [&["exit"][..], &["exit", "cleanup"]] {
        let output = output_within(host_in_c(&host).args(arguments), PATIENCE);
        assert!(output.status.success(), "{arguments:?}: {}: {}", output.status, text(&output));
        assert_eq!(text(&output), "finalized\n", "{arguments:?}");
    }
}

/// Whoever writes to a connection that was reset is sent SIGPIPE, which ends a
/// program that has not asked for anything else.
#[test]
fn a_peer_that_resets_does_not_end_a_host_with_default_signals() {
    let host = Host::new();
    let proxy = Proxy::start(&host.service.endpoint);
    route(&host.config, &[&proxy.endpoint]);
    let mut child =
        host_in_c(&host).arg("reset").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for round in 0..10 {
        assert_eq!(lines.next().unwrap().unwrap(), "signed", "round {round}");
        proxy.set(Line::Resets);
        // Half of the time the reset is there before the request.
        if round % 2 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        input.write_all(b"\n").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        proxy.set(Line::Forwards);
    }
    assert_eq!(lines.next().unwrap().unwrap(), "signed");
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// It says something that is no TLS, ends, and resets: the alert that TLS wants
/// to send goes nowhere.
#[test]
fn a_peer_that_talks_nonsense_and_resets_does_not_either() {
    let host = Host::new();
    let proxy = Proxy::start(&host.service.endpoint);
    route(&host.config, &[&proxy.endpoint]);
    let mut child = host_in_c(&host)
        .args(["reset", "nonsense"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "signed");
    proxy.set(Line::Refuses);
    let listener = std::net::TcpListener::bind(&proxy.endpoint).unwrap();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().map_while(Result::ok) {
            let _ = peer.read(&mut [0; 4096]);
            let _ = peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = peer.shutdown(std::net::Shutdown::Write);
            reset(&peer);
        }
    });
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
}
