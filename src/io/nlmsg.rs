//! Netlink messages as bytes: header, fixed part, attributes (RFC 3549).
//!
//! Pure: no socket here. Every length that the kernel names is checked against the buffer.

/// Bytes of the message header.
const HEADER: usize = 16;
/// Set on attributes that hold attributes.
const NESTED: u16 = 0x8000;
/// The bits of an attribute's type that are the type.
const TYPE_MASK: u16 = 0x3fff;

/// A message under construction.
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A message of type `kind`; `fixed` is what comes before the attributes (ifinfomsg, ifaddrmsg).
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Request {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        let mut request = Request { bytes };
        request.pad();
        request
    }

    /// Appends an attribute.
    pub fn attr(mut self, kind: u16, value: &[u8]) -> Request {
        let len = 4 + value.len() as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends an attribute that holds a string, with the zero the kernel wants.
    pub fn text(self, kind: u16, value: &str) -> Request {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Appends an attribute that holds one string attribute.
    pub fn nested_text(self, outer: u16, inner: u16, value: &str) -> Request {
        let inside = Request { bytes: Vec::new() }.text(inner, value);
        self.attr(outer | NESTED, &inside.bytes)
    }

    /// The finished message.
    pub fn finish(mut self, seq: u32) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&seq.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A message received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// The number of the request it answers.
    pub seq: u32,
    /// Everything after the header.
    pub body: &'a [u8],
}

/// The messages of one datagram; ends at the first that contradicts the length.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<HEADER>()?;
        let len = u32_at(header, 0)? as usize;
        let body = bytes.get(HEADER..len)?;
        let message = Message { kind: u16_at(header, 4)?, seq: u32_at(header, 8)?, body };
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// Type and value of each attribute; ends at the first that contradicts the length.
pub fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The value of the first attribute of type `kind`.
pub fn attr(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Two bytes in the machine's order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes in the machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Text up to its zero.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = Request::new(16, 5, &[9; 16]).text(3, "tap0").nested_text(18, 1, "ipip").finish(7);
        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kind, all[0].seq), (16, 7));
        let attrs_at = &all[0].body[16..];
        assert_eq!(text(attr(attrs_at, 3).unwrap()), "tap0");
        assert_eq!(text(attr(attr(attrs_at, 18).unwrap(), 1).unwrap()), "ipip");
        assert_eq!(attr(attrs_at, 4), None);
    }

    #[test]
    fn a_length_beyond_the_buffer_ends_the_list() {
        let whole = Request::new(16, 5, &[0; 16]).text(3, "tap0").finish(1);
        for cut in 0..whole.len() {
            assert_eq!(messages(&whole[..cut]).count(), 0, "{cut}");
        }
        assert_eq!(attrs(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(attrs(&[200, 0, 1, 0, 5]).count(), 0);
        let mut short = whole;
        short[..4].copy_from_slice(&3u32.to_ne_bytes());
        assert_eq!(messages(&short).count(), 0);
    }
}
