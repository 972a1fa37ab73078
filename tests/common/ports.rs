//! Ports for servers that are told theirs before they start.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::SystemTime;

/// A port of 127.0.0.1 that was free a moment ago. It is below those that the system gives to
/// connections, and each process begins somewhere else: nobody else takes it in between.
pub fn free_port() -> u16 {
    static START: OnceLock<u16> = OnceLock::new();
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = *START.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mixed = now.subsec_nanos() ^ std::process::id().wrapping_mul(0x9e37_79b1);
        (mixed % u32::from(COUNT)) as u16
    });
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_add(offset)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}

const FIRST: u16 = 15_000;
const COUNT: u16 = 16_000;
