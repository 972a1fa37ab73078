//! Where an endpoint is. A name is looked up as seldom as possible, because
//! `getaddrinfo` has no deadline.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A name that has an address is not looked up again sooner than this.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where an endpoint is.
pub(crate) struct Address {
    /// `IP:port` or `name:port`.
    name: String,
    fixed: Option<SocketAddr>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What the name was when it was looked up with success.
    addresses: Vec<SocketAddr>,
    /// Which of them to try: `< addresses.len()`, if there are any.
    turn: usize,
    /// All of them have failed since the name was looked up.
    doubtful: bool,
    looked_up: Option<Instant>,
    /// A thread is at it.
    looking_up: bool,
}

impl Address {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), fixed: name.parse().ok(), known: Mutex::default() }
    }

    /// As the config says it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it can be told without looking a name up.
    pub(crate) fn is_known(&self) -> bool {
        self.fixed.is_some() || !self.known().addresses.is_empty()
    }

    /// The address to connect to. One thread at a time looks a name up; others
    /// use the last good address meanwhile, or try again a moment later.
    pub(crate) fn current(&self) -> io::Result<SocketAddr> {
        self.current_by(|name| Ok(name.to_socket_addrs()?.collect()))
    }

    fn current_by(
        &self,
        look_up: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>>,
    ) -> io::Result<SocketAddr> {
        if let Some(address) = self.fixed {
            return Ok(address);
        }
        let mut known = self.known();
        let rested = known.looked_up.is_none_or(|when| when.elapsed() >= LOOK_AGAIN);
        let wanted = known.addresses.is_empty() || (known.doubtful && rested);
        if !wanted || known.looking_up {
            return known.address();
        }
        known.looking_up = true;
        drop(known);
        let found = look_up(&self.name);
        let mut known = self.known();
        known.looking_up = false;
        known.looked_up = Some(Instant::now());
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                known.doubtful = false;
                known.turn = 0;
                known.addresses = addresses;
            }
            // The last good ones have to do.
            _ if !known.addresses.is_empty() => {}
            Ok(_) => return Err(io::Error::other("the name has no address")),
            Err(error) => return Err(error),
        }
        known.address()
    }

    /// The address has failed: the name's next one is to be tried, and when
    /// there is none the name may lead elsewhere by now.
    pub(crate) fn failed(&self) {
        let mut known = self.known();
        let count = known.addresses.len();
        if count > 0 {
            known.turn = (known.turn + 1) % count;
            known.doubtful |= known.turn == 0;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn address(&self) -> io::Result<SocketAddr> {
        let address = self.addresses.get(self.turn).copied();
        address.ok_or_else(|| io::Error::other("the name is being looked up"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, number], 7512))
    }

    #[test]
    fn a_name_is_looked_up_once_and_its_addresses_are_tried_in_turn() {
        let endpoint = Address::new("keyward.example:7512");
        assert!(!endpoint.is_known());
        let two = |_: &str| Ok(vec![address(1), address(2)]);
        assert_eq!(endpoint.current_by(two).unwrap(), address(1));
        assert!(endpoint.is_known());
        endpoint.failed();
        let never = |_: &str| panic!("looked up again");
        assert_eq!(endpoint.current_by(never).unwrap(), address(2));
        // All have failed, but the last look at the name is not old.
        endpoint.failed();
        assert_eq!(endpoint.current_by(never).unwrap(), address(1));
    }

    #[test]
    fn the_last_good_address_stays_when_nobody_answers_for_the_name() {
        let endpoint = Address::new("keyward.example:7512");
        let gone = |_: &str| Err(io::Error::other("no such name"));
        assert!(endpoint.current_by(gone).is_err());
        assert_eq!(endpoint.current_by(|_| Ok(vec![address(1)])).unwrap(), address(1));
        endpoint.failed();
        endpoint.known().looked_up = Instant::now().checked_sub(LOOK_AGAIN);
        assert_eq!(endpoint.current_by(gone).unwrap(), address(1));
        endpoint.known().looked_up = Instant::now().checked_sub(LOOK_AGAIN);
        assert_eq!(endpoint.current_by(|_| Ok(vec![address(3)])).unwrap(), address(3));
    }

    #[test]
    fn who_comes_during_a_look_up_does_not_wait_for_it() {
        let endpoint = Address::new("keyward.example:7512");
        let found = endpoint.current_by(|_| {
            assert!(endpoint.current().is_err());
            Ok(vec![address(1)])
        });
        assert_eq!(found.unwrap(), address(1));
    }
}
