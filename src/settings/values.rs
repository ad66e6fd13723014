//! The values that a setting takes: which there are, how they are read, and how they are told.
//!
//! Never knows a setting.

use super::field::{Ports, Value};
use Values::{Between, Mode, OneOf, PortList, Processors, Switch, Words};

/// The kernel keeps most of its numbers in an `int`.
pub(super) const INT: i64 = i32::MAX as i64;

/// The values that a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// 0 is off, any other number on.
    Switch,
    /// 0 is never, 1 under pressure, 3 always; 2 is 1, as the kernel shows it while there is pressure.
    Mode,
    /// All numbers between these two.
    Between(i64, i64),
    /// These numbers.
    OneOf(&'static [u32]),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list of processors, as in `0-3,8`.
    Processors,
    /// Ports, as in `21,2121`; none if empty.
    PortList,
}

impl Values {
    pub(super) fn read(self, text: &str) -> Result<Value, String> {
        if let Processors = self {
            return match is_processor_list(text) {
                true => Ok(Value::Text(text.to_owned())),
                false => Err(format!("'{text}' is not a list of processors, as in 0-3,8")),
            };
        }
        if let PortList = self {
            let wrong = || format!("'{text}' is not a list of {}", self.text());
            return Ports::read(text).map(|_| Value::Text(text.to_owned())).ok_or_else(wrong);
        }
        if let Words(words) = self {
            let wrong = || format!("'{text}' is not one of {}", self.text());
            return words.contains(&text).then(|| Value::Text(text.to_owned())).ok_or_else(wrong);
        }
        // A number too large for any setting is refused by the row's range, like others.
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("'{text}' is not a whole number; it takes {}", self.text()));
        }
        let number = text.parse::<i64>().ok();
        match number.filter(|number| self.contains(*number)) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(format!("{text} does not fit; it takes {}", self.text())),
        }
    }

    fn contains(self, number: i64) -> bool {
        match self {
            Switch => (0..=INT).contains(&number),
            Mode => (0..=3).contains(&number),
            Between(least, most) => (least..=most).contains(&number),
            OneOf(numbers) => numbers.iter().any(|one| i64::from(*one) == number),
            Words(_) | Processors | PortList => false,
        }
    }

    /// For people.
    pub fn text(self) -> String {
        match self {
            Switch => "0 (off) or 1 (on)".into(),
            Mode => "0 (never), 1 (under pressure) or 3 (always)".into(),
            Between(least, INT) => format!("{least} to {INT}"),
            Between(least, i64::MAX) => format!("a number from {least} on"),
            Between(least, most) => format!("{least} to {most}"),
            OneOf(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
            Words(words) => words.join(", "),
            Processors => "a list of processors, as in 0-3,8".into(),
            PortList => "at most 8 ports, as in 21,2121".into(),
        }
    }
}

fn is_processor_list(text: &str) -> bool {
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    let is_range =
        |part: &str| part.split_once('-').map_or(is_number(part), |(from, to)| is_number(from) && is_number(to));
    text.is_empty() || text.split(',').all(is_range)
}
