//! Tests that need the process to themselves: a module is initialised once in
//! a process and reads its config through the process's environment.

use std::any::type_name;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::Service;

/// Names the test that a process runs.
const VARIABLE: &str = "KEYWARD_TEST_ALONE";

/// No test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the body of a test in a process of its own. It is the test binary once
/// more, told to run just this test.
pub fn alone<F: FnOnce()>(body: F) {
    alone_within(PATIENCE, body);
}

/// The same for a test that may take longer.
pub fn alone_within<F: FnOnce()>(patience: Duration, body: F) {
    let name = test_of::<F>();
    if std::env::var(VARIABLE).is_ok_and(|running| running == name) {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(VARIABLE, name);
    let output = output_within(&mut command, patience);
    assert!(
        output.status.success(),
        "{name}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("1 passed"), "{name} has not run: {told}");
    // Shown with --nocapture.
    print!("{told}");
}

/// Makes the config known to the module.
pub fn configure(config: &Path) {
    set_variable("KEYWARD_CONFIG", config.as_os_str());
}

/// Sets a variable that a module will read.
pub fn set_variable(name: &str, value: &OsStr) {
    assert!(std::env::var_os(VARIABLE).is_some(), "only in a process of its own");
    // SAFETY: this process runs one test, and no thread of it reads the
    // environment meanwhile: modules do so in C_Initialize alone.
    unsafe { std::env::set_var(name, value) };
}

/// The output of a command that must end in time; else it is killed.
pub fn output_within(command: &mut Command, patience: Duration) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    let id = child.id().to_string();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(patience) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
            let output = receiver.recv().unwrap().unwrap();
            panic!(
                "{command:?} took longer than {patience:?}:\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

/// `sign::it_works` for a closure in the test `sign::it_works` of any binary.
fn test_of<F>() -> &'static str {
    let path = type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").unwrap().1
}

/// The token of [`service`].
pub const TOKEN: &str = "token";

/// A service with one token, [`TOKEN`], and a client for it, whose config the
/// module will find.
pub fn service() -> Service {
    let service = Service::start();
    service.token(TOKEN);
    configure(&service.identity("client", &[TOKEN], &[]));
    service
}
