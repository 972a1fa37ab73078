//! A way to the service that can be closed: then nothing comes through, and
//! nobody is told, as when a host hangs or a firewall swallows packets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Passes on what clients and service say to each other, while it is open. Its
/// threads end with the process, or with their connections.
pub struct Gate {
    /// Where clients are to go.
    pub endpoint: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// An open gate in front of this endpoint.
    pub fn before(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let (service, shared) = (service.to_owned(), Arc::clone(&state));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&service) else { continue };
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, server), back] {
                    let state = Arc::clone(&shared);
                    thread::spawn(move || state.pass(from, to));
                }
            }
        });
        Self { endpoint, state }
    }

    /// From now on nothing comes through; what was said is kept.
    pub fn close(&self) {
        *self.state.closed.lock().unwrap() = true;
    }

    /// Lets everything through, what was kept too.
    pub fn open(&self) {
        *self.state.closed.lock().unwrap() = false;
        self.state.opened.notify_all();
    }
}

impl State {
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let closed = self.closed.lock().unwrap();
            drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
