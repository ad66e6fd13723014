//! One line of an agent, in the grammar of HAProxy's agent-check: words between blanks, tabs or commas, ended by the
//! line's end or the close.
//!
//! ```text
//! 75%  weight:75%           percent of the administrator's weight
//! weight:30                 a weight of its own
//! ready | drain | maint     the administrator's part
//! up | down[#text] | fail[#text] | stopped[#text]     the verdict
//! maxconn:N                 taken and not used
//! ```
//! A line with any other word is nonsense as a whole, and changes nothing.

use super::super::outcome::{Agent, AgentAdmin, Outcome, Reason, Stage};
use super::{Step, wrong};
use crate::service::Share;

/// The longest line.
const LONGEST: usize = 1024;
/// The largest weight that IPVS has, and the largest percentage.
const LARGEST: u32 = 65_535;

/// What was heard of the line.
#[derive(Debug, Default)]
pub struct Listener(Vec<u8>);

impl Listener {
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Step {
        let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        self.0.extend_from_slice(&bytes[..end.unwrap_or(bytes.len()).min(LONGEST + 1)]);
        if self.0.len() > LONGEST {
            return wrong(format!("a line of more than {LONGEST} bytes"));
        }
        if end.is_some() { Step::Done(self.close()) } else { Step::More }
    }

    pub(super) fn close(&self) -> Outcome {
        match parse(&String::from_utf8_lossy(&self.0)) {
            Ok(agent) => Outcome::Agent(agent),
            Err(what) => Outcome::Failed(Reason::new(Stage::Answer, what)),
        }
    }
}

/// The words of a line, or what is wrong with it.
fn parse(line: &str) -> Result<Agent, String> {
    let mut agent = Agent::default();
    // What follows a '#' is a text, blanks included.
    let (words, text) = match line.split_once('#') {
        Some((words, text)) => (words, Some(text)),
        None => (line, None),
    };
    let mut said = false;
    let mut words = words.split([' ', '\t', ',']).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        said = true;
        let text = text.filter(|_| words.peek().is_none());
        match word {
            "ready" => agent.admin = Some(AgentAdmin::Ready),
            "drain" => agent.admin = Some(AgentAdmin::Drain),
            "maint" => agent.admin = Some(AgentAdmin::Maint),
            "up" => agent.verdict = Some(Ok(())),
            "down" | "fail" | "stopped" => {
                let what = text.map_or(word.to_owned(), |text| format!("{word}: {text}"));
                agent.verdict = Some(Err(Reason::new(Stage::Answer, what)));
            }
            word => number(word, &mut agent).ok_or_else(|| format!("'{word}' is no word of an agent"))?,
        }
    }
    if said { Ok(agent) } else { Err("an empty line".into()) }
}

/// `75%`, `weight:75%`, `weight:30`, `maxconn:9`.
fn number(word: &str, agent: &mut Agent) -> Option<()> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    if let Some(count) = word.strip_prefix("maxconn:") {
        return digits(count).map(|_: u32| ());
    }
    let value = word.strip_prefix("weight:");
    let share = match (value.unwrap_or(word).strip_suffix('%'), value) {
        (Some(percent), _) => Share::Percent(digits(percent)?.min(LARGEST)),
        (None, Some(weight)) => Share::Absolute(digits(weight)?.min(LARGEST)),
        (None, None) => return None,
    };
    agent.share = Some(share);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{Dialogue, testing};
    use super::*;
    use crate::base::Rng;

    fn heard(line: &[u8]) -> Outcome {
        testing::outcome(|| Dialogue::Agent(Listener::default()), line)
    }

    fn down(what: &str) -> Option<Result<(), Reason>> {
        Some(Err(Reason::new(Stage::Answer, what)))
    }

    #[test]
    fn the_grammar_is_haproxys() {
        let (percent, absolute) = (|n| Some(Share::Percent(n)), |n| Some(Share::Absolute(n)));
        for (line, share, admin, verdict) in [
            ("75%\n", percent(75), None, None),
            ("weight:75%\r\n", percent(75), None, None),
            ("weight:30", absolute(30), None, None),
            ("ready 100% up\n", percent(100), Some(AgentAdmin::Ready), Some(Ok(()))),
            ("drain,\t50%\n", percent(50), Some(AgentAdmin::Drain), None),
            ("maint\n", None, Some(AgentAdmin::Maint), None),
            ("down#disk full, at last\n", None, None, down("down: disk full, at last")),
            ("10% stopped\n", percent(10), None, down("stopped")),
            ("fail\nup\n", None, None, down("fail")),
            ("maxconn:30 up\n", None, None, Some(Ok(()))),
            ("99999999%\n", None, None, None),
        ] {
            let share = if line.starts_with("9999") { percent(LARGEST) } else { share };
            assert_eq!(heard(line.as_bytes()), Outcome::Agent(Agent { share, admin, verdict }), "{line}");
        }
    }

    #[test]
    fn nonsense_is_no_verdict() {
        let long = vec![b'a'; 100_000];
        for line in [
            b"".as_slice(),
            b"\n",
            b"hello\n",
            b"up hello\n",
            b"75\n",
            b"-5%\n",
            b"weight:\n",
            b"%\n",
            b"\xff\n",
            &long,
        ] {
            assert!(matches!(heard(line), Outcome::Failed(_)), "{:?}", heard(line));
        }
        let mut rng = Rng::seeded(2);
        for _ in 0..20_000 {
            let letters = b" ,%#:0159updownweight\n";
            let line: Vec<u8> = (0..rng.below(20)).map(|_| letters[rng.below(letters.len() as u64) as usize]).collect();
            heard(&line);
        }
    }
}
