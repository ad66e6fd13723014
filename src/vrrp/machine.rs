//! The state machine of a virtual router (RFC 9568 6.4; RFC 3768 6.4 for version 2).
//!
//! ```text
//! Initialize --start--> Backup --no advertisement in time--> Active
//!                         ^                                    |
//!                         +---- a better advertisement --------+
//! ```
//! Pure: time and what was heard come in, what is to be done goes out.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::Instant;

/// The priority of the address owner (RFC 9568 5.2.4). Addresses that move have no owner: a router of this priority here takes
/// them at once when it begins, what it tracks does not move it, and it advertises the highest priority that others may have.
pub const OWNER: u8 = 255;
/// The highest priority of a router that does not own the addresses.
const HIGHEST: u8 = 254;

/// What a virtual router is told by its configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rank {
    /// 1 to 255.
    pub priority: u8,
    /// Between two own advertisements.
    pub interval: Duration,
    /// Takes over from a lower priority.
    pub preempt: bool,
    /// For how long it hears of a lower priority before.
    pub preempt_delay: Duration,
    /// The skew of version 2 is a part of a second, whatever the interval (RFC 3768 6.1).
    pub is_v2: bool,
}

/// The state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Not started, or stopped.
    #[default]
    Initialize,
    /// Another one is active.
    Backup,
    /// Has the addresses.
    Active,
    /// Something that it tracks has failed: it takes no part.
    Fault,
}

impl State {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            State::Initialize => "initialize",
            State::Backup => "backup",
            State::Active => "active",
            State::Fault => "fault",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing.
    None,
    /// Advertise with this priority.
    Advertise(u8),
    /// Advertise, and announce the addresses.
    TakeOver,
    /// Advertise, and announce the addresses again: another one has advertised and may have misled neighbours.
    Insist,
    /// Give the addresses up.
    Yield,
}

/// An advertisement of another router.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Its priority; 0: it leaves.
    pub priority: u8,
    /// Its interval.
    pub interval: Duration,
    /// Whom it is from.
    pub from: IpAddr,
}

/// One virtual router.
#[derive(Debug)]
pub struct Machine {
    rank: Rank,
    state: State,
    /// The interval of the one that is active.
    active_interval: Duration,
    /// It has given up for maintenance: it takes over when nobody else is there, and preempts nobody.
    gave_up: bool,
    /// It preempts nobody for now.
    held: bool,
    /// Whom the last advertisement was from, and the highest priority that it has had.
    reign: Option<(IpAddr, u8)>,
    /// Since when a lower priority advertises that is to be preempted.
    lower_since: Option<Instant>,
    /// It would take over, and waits for others of its group.
    wants: bool,
    /// When an advertisement is due (active) or is missed (backup).
    due: Option<Instant>,
}

impl Machine {
    /// Not started.
    pub fn new(rank: Rank) -> Machine {
        Machine {
            rank,
            state: State::Initialize,
            active_interval: rank.interval,
            gave_up: false,
            held: false,
            reign: None,
            lower_since: None,
            wants: false,
            due: None,
        }
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// When `tick` has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Preempts nobody for now, or as its rank says.
    pub fn hold_back(&mut self, held: bool) {
        self.held = held;
    }

    /// Another rank from now on; the state stays.
    pub fn set_rank(&mut self, rank: Rank) {
        self.rank = rank;
    }

    /// Begins.
    pub fn start(&mut self, now: Instant) -> Action {
        self.active_interval = self.rank.interval;
        if self.rank.priority == OWNER {
            return self.become_active(now);
        }
        self.become_backup(now);
        Action::None
    }

    /// Begins where another process has just ended, as active.
    pub fn resume(&mut self, now: Instant) -> Action {
        self.become_active(now)
    }

    /// Ends; whoever stands by is told to take over.
    pub fn stop(&mut self) -> Action {
        self.due = None;
        match std::mem::replace(&mut self.state, State::Initialize) {
            State::Active => Action::Advertise(0),
            State::Initialize | State::Backup | State::Fault => Action::None,
        }
    }

    /// Something that it tracks has failed.
    pub fn fail(&mut self) -> Action {
        let action = self.stop();
        self.state = State::Fault;
        action
    }

    /// Gives the addresses up for as long as others have them; they take over at once.
    pub fn give_up(&mut self, now: Instant) -> Action {
        self.gave_up |= self.state == State::Active;
        self.step_down(now)
    }

    /// Gives the addresses up; others take over at once, or it does again.
    pub fn step_down(&mut self, now: Instant) -> Action {
        if self.state != State::Active {
            return Action::None;
        }
        self.active_interval = self.rank.interval;
        self.become_backup(now);
        Action::Advertise(0)
    }

    /// True if it is active and has sent nothing for so long that another one has taken over: its process was frozen. What
    /// it does then must not begin with packets that have waited meanwhile.
    pub fn has_overslept(&self, now: Instant) -> bool {
        self.state == State::Active && self.due.is_some_and(|due| due + self.rank.interval * 2 <= now)
    }

    /// Stands by after it has overslept, for as long as another one takes to be heard.
    pub fn wake(&mut self, now: Instant) {
        self.active_interval = self.rank.interval;
        (self.state, self.due) = (State::Backup, Some(now + self.rank.interval + self.skew()));
    }

    /// The priority that it advertises, where it has this one.
    pub fn advertised(priority: u8) -> u8 {
        priority.min(HIGHEST)
    }

    /// True if nobody else has its addresses, as far as it knows.
    pub fn may_be_active(&self, now: Instant) -> bool {
        let missed = self.wants || self.due.is_some_and(|due| due <= now);
        self.state == State::Active || (self.state == State::Backup && missed)
    }

    /// It would take over, but for others of its group; it asks again at that time.
    pub fn wait(&mut self, until: Instant) {
        self.wants = true;
        self.due = Some(until);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Action {
        if self.due.is_none_or(|due| now < due) {
            return Action::None;
        }
        match self.state {
            State::Initialize | State::Fault => Action::None,
            State::Backup => self.become_active(now),
            State::Active => {
                self.due = Some(now + self.rank.interval);
                Action::Advertise(self.rank.priority)
            }
        }
    }

    /// Another router has advertised; `own` is the address that the own advertisements come from.
    pub fn hear(&mut self, heard: Heard, own: IpAddr, now: Instant) -> Action {
        match self.state {
            State::Initialize | State::Fault => Action::None,
            State::Backup => {
                if heard.priority == 0 {
                    self.due = Some(now + self.skew());
                } else if !self.preempts(heard, now) {
                    self.heed(heard, now);
                }
                Action::None
            }
            State::Active if heard.priority == 0 => {
                self.due = Some(now + self.rank.interval);
                Action::Advertise(self.rank.priority)
            }
            State::Active if (heard.priority, heard.from) > (Machine::advertised(self.rank.priority), own) => {
                (self.state, self.reign) = (State::Backup, Some((heard.from, heard.priority)));
                self.heed(heard, now);
                Action::Yield
            }
            State::Active => {
                self.due = Some(now + self.rank.interval);
                Action::Insist
            }
        }
    }

    /// True if this advertisement does not keep it from taking over. One whose priority has fallen is preempted in any case:
    /// something that it tracks has failed.
    fn preempts(&mut self, heard: Heard, now: Instant) -> bool {
        let before = self.reign.filter(|(from, _)| *from == heard.from).map_or(0, |(_, priority)| priority);
        self.reign = Some((heard.from, before.max(heard.priority)));
        let wanted = self.rank.preempt || heard.priority < before;
        if !wanted || self.gave_up || self.held || heard.priority >= self.rank.priority {
            self.lower_since = None;
            return false;
        }
        let since = *self.lower_since.get_or_insert(now);
        now.since(since) >= self.rank.preempt_delay
    }

    /// The active one is there.
    fn heed(&mut self, heard: Heard, now: Instant) {
        self.active_interval = heard.interval;
        self.wants = false;
        self.due = Some(now + self.active_down());
    }

    fn become_active(&mut self, now: Instant) -> Action {
        (self.gave_up, self.wants, self.reign, self.lower_since) = (false, false, None, None);
        (self.state, self.due) = (State::Active, Some(now + self.rank.interval));
        Action::TakeOver
    }

    fn become_backup(&mut self, now: Instant) {
        (self.state, self.due) = (State::Backup, Some(now + self.active_down()));
    }

    /// How long a backup waits for an advertisement.
    fn active_down(&self) -> Duration {
        self.active_interval * 3 + self.skew()
    }

    /// The higher the priority, the sooner it takes over.
    fn skew(&self) -> Duration {
        let whole = if self.rank.is_v2 { Duration::from_secs(1) } else { self.active_interval };
        whole * (256 - u32::from(self.rank.priority)) / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rank(priority: u8) -> Rank {
        Rank { priority, interval: SECOND, preempt: false, preempt_delay: Duration::ZERO, is_v2: false }
    }

    fn addr(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn at(millis: u64) -> Instant {
        Instant(millis)
    }

    fn heard(priority: u8, last: u8) -> Heard {
        Heard { priority, interval: SECOND, from: addr(last) }
    }

    fn active(rank: Rank) -> Machine {
        let mut machine = Machine::new(rank);
        machine.start(at(0));
        while machine.state() != State::Active {
            machine.tick(machine.due().unwrap());
        }
        machine
    }

    #[test]
    fn a_backup_takes_over_after_three_intervals_and_its_skew() {
        for (priority, interval, is_v2, down) in [
            (254, 1000, false, 3007),
            (200, 1000, false, 3218),
            (100, 1000, false, 3609),
            (1, 1000, false, 3996),
            (200, 100, false, 321),
            (100, 100, false, 360),
            (100, 5000, true, 15_609),
        ] {
            let interval = Duration::from_millis(interval);
            let mut machine = Machine::new(Rank { interval, is_v2, ..rank(priority) });
            assert_eq!((machine.start(at(0)), machine.due()), (Action::None, Some(at(down))), "{priority}");
            assert_eq!((machine.tick(at(down - 1)), machine.state()), (Action::None, State::Backup));
            assert_eq!((machine.tick(at(down)), machine.state()), (Action::TakeOver, State::Active));
            assert_eq!(machine.due(), Some(at(down) + interval));
            assert_eq!(machine.tick(at(down) + interval), Action::Advertise(priority));
        }
        let mut owner = Machine::new(rank(OWNER));
        assert_eq!((owner.start(at(0)), owner.state()), (Action::TakeOver, State::Active));
    }

    #[test]
    fn a_backup_waits_while_it_hears_of_the_active_one() {
        let mut machine = Machine::new(rank(100));
        machine.start(at(0));
        for (priority, due) in [(100, 4609), (200, 4609), (1, 4609)] {
            assert_eq!(machine.hear(heard(priority, 9), addr(1), at(1000)), Action::None);
            assert_eq!(machine.due(), Some(at(due)), "without preemption any priority is heeded: {priority}");
        }
        let slow = Heard { interval: SECOND * 4, ..heard(150, 9) };
        machine.hear(slow, addr(1), at(2000));
        assert_eq!(machine.due(), Some(at(2000 + 12_000 + 2437)), "its interval counts");
        machine.hear(heard(150, 9), addr(1), at(3000));
        machine.hear(heard(0, 9), addr(1), at(3000));
        assert_eq!(machine.due(), Some(at(3609)), "it leaves: the skew alone");
    }

    #[test]
    fn a_lower_priority_is_preempted_only_where_that_is_wanted() {
        let mut machine = Machine::new(Rank { preempt: true, ..rank(100) });
        machine.start(at(0));
        machine.hear(heard(99, 9), addr(1), at(1000));
        assert_eq!(machine.due(), Some(at(3609)), "not heeded");
        machine.hear(heard(100, 9), addr(1), at(1000));
        assert_eq!(machine.due(), Some(at(4609)), "an equal one is");
        machine.hold_back(true);
        machine.hear(heard(99, 9), addr(1), at(2000));
        assert_eq!(machine.due(), Some(at(5609)), "and any, while conns are not known here");
        machine.hold_back(false);
        machine.hear(heard(99, 9), addr(1), at(3000));
        assert_eq!(machine.due(), Some(at(5609)));
    }

    #[test]
    fn one_whose_priority_has_fallen_is_preempted_and_a_delay_is_kept() {
        let mut machine = Machine::new(rank(100));
        machine.start(at(0));
        machine.hear(heard(150, 9), addr(1), at(1000));
        machine.hear(heard(90, 9), addr(1), at(2000));
        assert_eq!(machine.due(), Some(at(4609)), "it was 150");
        machine.hear(heard(90, 8), addr(1), at(3000));
        assert_eq!(machine.due(), Some(at(6609)), "another one never was");
        let mut machine = active(rank(100));
        machine.hear(heard(150, 9), addr(1), at(10_000));
        machine.hear(heard(90, 9), addr(1), at(11_000));
        assert_eq!(machine.due(), Some(at(13_609)), "it was 150 when it took over");
        let delay = Duration::from_secs(5);
        let mut machine = Machine::new(Rank { preempt: true, preempt_delay: delay, ..rank(100) });
        machine.start(at(0));
        (1..=6).for_each(|second| _ = machine.hear(heard(90, 9), addr(1), at(second * 1000)));
        assert_eq!(machine.due(), Some(at(8609)), "heeded for five seconds");
    }

    #[test]
    fn one_that_has_failed_takes_no_part_until_it_starts_again() {
        let mut machine = active(rank(100));
        assert_eq!((machine.fail(), machine.state()), (Action::Advertise(0), State::Fault));
        assert_eq!(machine.hear(heard(50, 9), addr(5), at(9000)), Action::None);
        assert_eq!((machine.tick(at(99_000)), machine.due()), (Action::None, None));
        assert_eq!((machine.start(at(99_000)), machine.state()), (Action::None, State::Backup));
    }

    #[test]
    fn the_better_one_of_two_active_ones_stays() {
        for (priority, from, action, state) in [
            (101, 0, Action::Yield, State::Backup),
            (100, 9, Action::Yield, State::Backup),
            (100, 5, Action::Insist, State::Active),
            (100, 1, Action::Insist, State::Active),
            (99, 9, Action::Insist, State::Active),
            (0, 9, Action::Advertise(100), State::Active),
        ] {
            let mut machine = active(rank(100));
            let now = at(10_000);
            assert_eq!(machine.hear(heard(priority, from), addr(5), now), action, "{priority} {from}");
            assert_eq!(machine.state(), state);
            let due = if state == State::Active { 11_000 } else { 13_609 };
            assert_eq!(machine.due(), Some(at(due)), "{priority} {from}");
        }
    }

    #[test]
    fn one_that_was_frozen_stands_by_until_it_knows_whether_another_one_is_active() {
        let mut machine = active(rank(100));
        let due = machine.due().unwrap();
        // The last advertisement left one interval before this one was due.
        assert!(!machine.has_overslept(due + SECOND * 2 - Duration::from_millis(1)), "nobody has missed it yet");
        assert!(machine.has_overslept(due + SECOND * 2));
        let now = due + SECOND * 60;
        machine.wake(now);
        assert_eq!((machine.state(), machine.due()), (State::Backup, Some(now + Duration::from_millis(1609))));
        assert!(!machine.has_overslept(now + SECOND * 60), "a backup waits anyway");
        machine.hear(heard(50, 9), addr(5), now + SECOND);
        assert_eq!((machine.tick(now + SECOND * 4), machine.state()), (Action::None, State::Backup));
        let mut alone = active(rank(100));
        alone.wake(now);
        assert_eq!(alone.tick(now + SECOND * 2), Action::TakeOver);
    }

    #[test]
    fn nobody_owns_addresses_that_move() {
        let mut machine = active(rank(OWNER));
        assert_eq!(Machine::advertised(OWNER), 254);
        assert_eq!(machine.hear(heard(254, 1), addr(5), at(1000)), Action::Insist);
        assert_eq!(machine.hear(heard(254, 9), addr(5), at(1000)), Action::Yield, "one of two stays");
    }

    #[test]
    fn whoever_leaves_says_so() {
        let mut machine = active(Rank { preempt: true, ..rank(100) });
        assert_eq!((machine.give_up(at(5000)), machine.state()), (Action::Advertise(0), State::Backup));
        assert_eq!(machine.due(), Some(at(8609)), "and comes back if nobody takes over");
        assert_eq!(machine.give_up(at(5000)), Action::None);
        machine.hear(heard(50, 9), addr(5), at(6000));
        assert_eq!(machine.due(), Some(at(9609)), "nor preempts who has taken over");
        assert_eq!((machine.stop(), machine.state(), machine.due()), (Action::None, State::Initialize, None));
        assert_eq!(machine.hear(heard(1, 1), addr(5), at(5000)), Action::None);
        let mut machine = active(rank(100));
        assert_eq!((machine.stop(), machine.state()), (Action::Advertise(0), State::Initialize));
    }
}
