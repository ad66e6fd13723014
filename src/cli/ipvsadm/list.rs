//! `-L` and `-S`: what is asked of the director, in which order it is shown.
//!
//! What a line looks like is `ipvsadm::listing`'s.

use super::{Session, print};
use crate::base;
use crate::control::protocol::{Reply, Request, ServiceEntry};
use crate::control::strange;
use crate::io::{print_error, print_out};
use crate::ipvsadm::{self as language, Extent, Listing, Names, Opt};

const NO_SUCH_SERVICE: u8 = 1;

impl Session<'_> {
    pub(super) fn save(&mut self, options: &[Opt], extent: Extent) -> Result<u8, String> {
        let services = self.sorted(options)?;
        Ok(print(&language::saved_text(&services, extent, &names(options))))
    }

    pub(super) fn list(&mut self, listing: &Listing) -> Result<u8, String> {
        let options = listing.options.as_slice();
        if options.contains(&Opt::Connection) {
            return self.list_conns(options);
        }
        if options.contains(&Opt::Timeout) {
            let Reply::Timeouts(timeouts) = self.client.ask(&Request::Timeouts)? else { return Err(strange()) };
            return Ok(print(&language::timeouts_text(&timeouts)));
        }
        if options.contains(&Opt::Daemon) {
            let Reply::Daemons(daemons) = self.client.ask(&Request::Daemons)? else { return Err(strange()) };
            return Ok(print(&language::daemons_text(&daemons)));
        }
        let Some(key) = listing.service else {
            let services = self.sorted(options)?;
            return Ok(print(
                &(language::VERSION_LINE.to_owned() + &language::services_text(&services, options, &names(options))),
            ));
        };
        match self.client.ask(&Request::Service(key))? {
            Reply::Services { mut services, .. } => {
                arrange(&mut services, options);
                Ok(print(&language::services_text(&services, options, &names(options))))
            }
            Reply::Refused(refused) => {
                print_error(&refused.to_string());
                Ok(NO_SUCH_SERVICE)
            }
            _ => Err(strange()),
        }
    }

    fn list_conns(&mut self, options: &[Opt]) -> Result<u8, String> {
        let names = names(options);
        let mut printed = print_out(language::conns_titles(options));
        self.client.each_conn(|conns| {
            if printed.is_ok() {
                printed = print_out(&language::conns_text(conns, options, &names));
            }
        })?;
        printed.map(|()| 0)
    }

    fn sorted(&mut self, options: &[Opt]) -> Result<Vec<ServiceEntry>, String> {
        let mut services = self.client.services()?;
        arrange(&mut services, options);
        Ok(services)
    }
}

fn arrange(services: &mut Vec<ServiceEntry>, options: &[Opt]) {
    if options.contains(&Opt::NoSort) {
        // The kernel keeps marks in a table of their own, behind the other one.
        return base::sort_by(services, |one, other| one.key.is_mark().cmp(&other.key.is_mark()));
    }
    language::sort(services);
}

fn names(options: &[Opt]) -> Names {
    if options.contains(&Opt::Numeric) { Names::default() } else { Names::of_this_host() }
}
