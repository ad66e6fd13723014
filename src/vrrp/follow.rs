//! Virtual routers that have the addresses of all services: what these are now.
//!
//! Services that are added by hand are another director's from the first moment on, as those of the file are.

use std::net::IpAddr;
use std::time::Duration;

use super::Vrrp;
use super::options::Options;
use crate::base::{self, Family, Instant};
use crate::router::Router;
use crate::service::Services;

/// Between two looks at all services: a list of many is added one by one.
const BETWEEN: Duration = Duration::from_millis(100);

impl Vrrp {
    /// Addresses of services have come or gone.
    pub fn note_services(&mut self, now: Instant) {
        if self.wanted.iter().any(|options| options.follows) {
            self.following = self.following.or(Some(now.max(self.followed + BETWEEN)));
        }
    }

    /// The options of the virtual router that has the address of a service, where no other one names it.
    pub fn follower(&self, addr: IpAddr) -> Option<&Options> {
        let is_named = self.wanted.iter().any(|options| options.addresses.contains(&addr));
        let follows = |options: &&Options| options.follows && options.family == Family::of(addr) && !is_named;
        self.wanted.iter().find(follows)
    }

    /// What is wanted, with the addresses that those have now which follow the services. One that has none rests.
    pub(super) fn with_addresses(&self, services: &Services, router: &Router) -> Vec<Options> {
        let mut wanted = self.wanted.clone();
        for options in wanted.iter_mut().filter(|options| options.follows) {
            let is_mine = |addr: &IpAddr| self.follower(*addr).is_some_and(|other| other.is_of(options));
            let is_fixed = |addr: &IpAddr| router.own_addresses().any(|own| own == *addr);
            let mut addresses: Vec<_> = services.addresses().filter(|addr| is_mine(addr) && !is_fixed(addr)).collect();
            base::sort(&mut addresses);
            addresses.dedup();
            options.addresses = addresses;
        }
        wanted.retain(|options| !options.addresses.is_empty());
        wanted
    }
}
