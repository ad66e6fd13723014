//! Answers to queries for listeners (RFC 3376 and RFC 3810, and those of old queriers): the reports of all groups are
//! spread over the time that the query gives.
//!
//! At most one answer to a general query waits for a link and a family, so that queries cannot cause more reports than their response
//! times allow (RFC 3810 section 6.2). Never answers on behalf of others.

use std::net::IpAddr;
use std::time::Duration;

use super::Host;
use crate::base::{Consumed, DropReason, Family, Instant, LinkId, Rng, map_of};
use crate::router::{Egress, Router, Turn};
use crate::wire::listener::{Query, Report};
use crate::wire::ndp::solicited_node;

/// A querier that gives less time is answered within this one: it could have any number of reports otherwise.
const LEAST: Duration = Duration::from_millis(200);
/// Between two reports, however many there are.
const SHORTEST_STEP: Duration = Duration::from_millis(1);
/// Answers about single groups that wait, on all links.
const SINGLE: usize = 16;

/// An answer that has not been sent to its end.
struct Answer {
    link: LinkId,
    family: Family,
    /// The group that was asked for; all if none.
    asked: Option<IpAddr>,
    /// An address of each group that is still to be reported, the next ones last.
    left: Vec<IpAddr>,
    due: Instant,
    /// Between two reports.
    step: Duration,
}

/// Answers that wait.
pub struct Listeners {
    answers: Vec<Answer>,
    rng: Rng,
}

impl Listeners {
    /// Nobody has asked; delays are drawn from this seed.
    pub fn new(seed: u64) -> Listeners {
        Listeners { answers: Vec::new(), rng: Rng::seeded(seed) }
    }

    /// A query came.
    pub fn queried<E>(
        &mut self,
        link: LinkId,
        query: &Query,
        host: &mut Host<'_>,
        turn: &mut Turn<E>,
    ) -> Result<(), DropReason> {
        let left = groups(link, host, query);
        if left.is_empty() {
            return Err(match query.family {
                Family::V4 => DropReason::NotForUs,
                Family::V6 => DropReason::Ndp,
            });
        }
        turn.consume(Consumed::ListenerQuery);
        if query.old {
            host.router.hear_old_querier(link, query.family, turn.now);
        }
        let answers = || self.answers.iter().filter(|answer| (answer.link, answer.family) == (link, query.family));
        // What waits already answers this query too, or there is no room.
        let is_answered = answers().any(|answer| answer.asked.is_none() || answer.asked == query.group);
        if is_answered || (query.group.is_some() && self.answers.len() >= SINGLE) {
            return Ok(());
        }
        let reports = left.len().div_ceil(host.router.groups_per_report(link, query.family, turn.now)) as u32;
        let step = (query.within.max(LEAST) / reports).max(SHORTEST_STEP);
        let delay = Duration::from_millis(self.rng.below(step.as_millis() as u64));
        let Query { family, group: asked, .. } = *query;
        self.answers.push(Answer { link, family, asked, left, due: turn.now + delay, step });
        Ok(())
    }

    /// When a report is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.answers.iter().map(|answer| answer.due).min()
    }

    /// Sends the reports that are due.
    pub fn send_due(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let now = turn.now;
        for answer in self.answers.iter_mut().filter(|answer| answer.due <= now) {
            let rest = answer.left.len().saturating_sub(router.groups_per_report(answer.link, answer.family, now));
            router.report(answer.link, Report::Current, &answer.left.split_off(rest), turn);
            answer.due = now + answer.step;
        }
        self.answers.retain(|answer| !answer.left.is_empty());
    }
}

/// An address of each of the director's groups that are asked for; a group without an address stands for itself.
fn groups(link: LinkId, host: &Host<'_>, query: &Query) -> Vec<IpAddr> {
    let joined = host.router.groups(link, query.family).map(|group| (group, group));
    let own = host.announced().into_iter().filter_map(|addr| match addr {
        IpAddr::V6(own) if query.family == Family::V6 && !host.router.virtuals.is_away(addr) => {
            Some((IpAddr::V6(solicited_node(own)), addr))
        }
        _ => None,
    });
    let wanted = own.chain(joined).filter(|(group, _)| query.group.is_none_or(|asked| asked == *group));
    map_of(wanted).into_values().collect()
}
