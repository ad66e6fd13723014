//! SYNs that the program of the fast path answers by cookies: the bytes are the director's, and what it cannot know it leaves.

mod services;
mod syns;

use crate::base::Instant;
use crate::director::Settings;
use crate::testing::{DIRECTOR, Frame, LINK, Lab, Packet, ROUTER, Shadow};

/// As much earlier is the time of the kernel's answers (director/fast/answers.rs).
const BEHIND: u64 = 32;

/// A director whose kernel answers.
struct Answering {
    lab: Lab,
    shadow: Shadow,
    /// The moment of the kernel's clock that is 0 to the director.
    epoch: u64,
}

impl Answering {
    fn new(rules: &str) -> Option<Answering> {
        Answering::with(Settings { icmp_rate: 0, ..Settings::default() }, rules)
    }

    fn with(settings: Settings, rules: &str) -> Option<Answering> {
        let (mut lab, shadow) = (Lab::with(settings, rules), Shadow::new(1)?);
        let epoch = Shadow::millis().saturating_sub(100_000);
        lab.director.fast().start(Box::new(shadow.clone()), epoch);
        lab.director.fast().heed();
        let mut answering = Answering { lab, shadow, epoch };
        answering.set_clock();
        Some(answering)
    }

    fn set_clock(&mut self) {
        self.lab.turn.now = Instant(Shadow::millis() - self.epoch);
    }

    /// What the kernel answers, if it does.
    fn kernel(&self, frame: &[u8]) -> Option<Vec<u8>> {
        self.shadow.run(LINK, frame)
    }

    fn answers(&self, syn: &Packet) -> bool {
        self.kernel(&syn.frame(ROUTER, DIRECTOR)).is_some()
    }

    /// True if the kernel answers a SYN as the director would, false if it leaves it; anything else is an error.
    #[track_caller]
    fn agrees(&mut self, frame: &[u8]) -> bool {
        let before = Shadow::millis();
        let Some(answer) = self.kernel(frame) else { return false };
        let wanted: Vec<Vec<Frame>> = (before..=Shadow::millis())
            .map(|moment| {
                self.lab.turn.now = Instant(moment - self.epoch - BEHIND);
                self.lab.frame(frame)
            })
            .collect();
        let is_wanted = |frames: &Vec<Frame>| matches!(&frames[..], [only] if only.bytes == answer);
        assert!(wanted.iter().any(is_wanted), "{frame:02x?}\n{answer:02x?}\n{wanted:02x?}");
        true
    }

    /// Counters as everybody sees them.
    fn count(&mut self) {
        self.lab.director.fast().read_all();
        self.lab.director.fast().account(&mut self.lab.turn);
    }
}

fn syn(client: &str, virt: &str) -> Packet {
    Packet { seq: 5000, ..Packet::tcp(client, virt, "S") }
}
