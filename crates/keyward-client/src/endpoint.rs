//! The endpoints, and which of them to try first.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;

/// A dead endpoint is left alone for this long at first, then twice as long
/// each time, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// All endpoints of the service.
pub(crate) struct Endpoints {
    list: Vec<Endpoint>,
    /// Where this client begins, so that many spread over all replicas.
    first: usize,
    /// The name in the service's certificate.
    pub(crate) server_name: ServerName<'static>,
}

struct Endpoint {
    /// As the config says it.
    name: String,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    /// The last address that worked, or the one that the name is.
    address: Option<SocketAddr>,
    /// Failures since the last success.
    failures: u32,
    /// Others are tried first until then.
    rests_until: Option<Instant>,
}

impl Endpoints {
    pub(crate) fn new(names: &[String], server_name: ServerName<'static>) -> Self {
        let random = u64::from_le_bytes(keyward_crypto::random::bytes());
        let count = names.len().max(1) as u64;
        Self {
            list: names
                .iter()
                .map(|name| Endpoint { name: name.clone(), health: Mutex::default() })
                .collect(),
            first: usize::try_from(random % count).unwrap_or(0),
            server_name,
        }
    }

    /// The endpoints in the order in which to try them: those that work first,
    /// a resting one only when no other is left.
    pub(crate) fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let mut order: Vec<usize> =
            (0..self.list.len()).map(|n| (self.first + n) % self.list.len()).collect();
        order.sort_by_key(|index| {
            let health = self.health(*index);
            health.rests_until.filter(|until| *until > now)
        });
        order
    }

    /// The address to connect to. A name is resolved when there is no address
    /// for it that has worked.
    pub(crate) fn address(&self, index: usize) -> io::Result<SocketAddr> {
        if let Some(address) = self.health(index).address {
            return Ok(address);
        }
        let address = self.list[index]
            .name
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::other("the name has no address"))?;
        self.health(index).address = Some(address);
        Ok(address)
    }

    /// A connection to the endpoint was made.
    pub(crate) fn succeeded(&self, index: usize) {
        let mut health = self.health(index);
        health.failures = 0;
        health.rests_until = None;
    }

    /// A connection to the endpoint failed or broke.
    pub(crate) fn failed(&self, index: usize) {
        let jitter = u32::from(keyward_crypto::random::bytes::<1>()[0]);
        let mut health = self.health(index);
        let rest = (FIRST_REST * 2_u32.pow(health.failures.min(6))).min(LONGEST_REST);
        health.failures = health.failures.saturating_add(1);
        health.rests_until = Some(Instant::now() + rest + rest * jitter / 1024);
        // A name may lead elsewhere by now.
        if self.list[index].name.parse::<SocketAddr>().is_err() {
            health.address = None;
        }
    }

    /// The endpoint is about to stop: others are tried first for a while.
    pub(crate) fn drains(&self, index: usize) {
        self.health(index).rests_until = Some(Instant::now() + FIRST_REST);
    }

    /// The endpoint as the config says it.
    pub(crate) fn name(&self, index: usize) -> &str {
        &self.list[index].name
    }

    /// All endpoints, comma-separated.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.list.iter().map(|endpoint| endpoint.name.as_str()).collect();
        names.join(", ")
    }

    fn health(&self, index: usize) -> std::sync::MutexGuard<'_, Health> {
        self.list[index].health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_endpoint_is_tried_last_and_a_working_one_first_again() {
        let names = ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let endpoints = Endpoints::new(&names, ServerName::try_from("keyward").unwrap());
        let first = endpoints.order()[0];
        endpoints.failed(first);
        assert_eq!(endpoints.order()[1], first);
        endpoints.succeeded(first);
        assert_eq!(endpoints.order()[0], first);
    }
}
