//! The types of settings: how a checked value becomes one, and how one is shown.
//!
//! Never checks a value.

/// A value that a row has checked.
pub(super) enum Value {
    Number(i64),
    Text(String),
}

/// The type of a field. The row's values are within its range, which a test checks; the conversions are safe therefore.
pub(super) trait Field {
    fn show(&self) -> String;
    fn put(&mut self, value: Value);
}

macro_rules! number_fields {
    ($($type:ty),*) => { $(impl Field for $type {
        fn show(&self) -> String {
            self.to_string()
        }

        fn put(&mut self, value: Value) {
            if let Value::Number(number) = value {
                *self = <$type>::try_from(number).unwrap_or(*self);
            }
        }
    })* };
}

number_fields!(u8, u32, i32, u64, usize);

impl Field for bool {
    fn show(&self) -> String {
        u8::from(*self).to_string()
    }

    fn put(&mut self, value: Value) {
        if let Value::Number(number) = value {
            *self = number != 0;
        }
    }
}

impl Field for String {
    fn show(&self) -> String {
        self.clone()
    }

    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value {
            *self = text;
        }
    }
}

/// At most eight ports, as many as a helper of the kernel takes (`IP_VS_APP_MAX_PORTS`); the places that are left are 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports([u16; 8]);

impl Ports {
    /// This one alone.
    pub(super) const fn one(port: u16) -> Ports {
        Ports([port, 0, 0, 0, 0, 0, 0, 0])
    }

    /// True for one of them.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        port != 0 && self.0.contains(&port)
    }

    pub(super) fn read(text: &str) -> Option<Ports> {
        let mut ports = Ports([0; 8]);
        let words: Vec<&str> = text.split(',').filter(|_| !text.is_empty()).collect();
        for (number, word) in words.into_iter().enumerate() {
            *ports.0.get_mut(number)? = word.trim().parse().ok().filter(|port| *port != 0)?;
        }
        Some(ports)
    }
}

impl Field for Ports {
    fn show(&self) -> String {
        let ports: Vec<String> = self.0.iter().filter(|port| **port != 0).map(u16::to_string).collect();
        ports.join(",")
    }

    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value {
            *self = Ports::read(&text).unwrap_or(*self);
        }
    }
}
