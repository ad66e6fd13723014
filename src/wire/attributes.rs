//! Netlink attributes as bytes, read into values. Whatever the bytes are, nothing here panics.

use nix::errno::Errno;

/// Length of an attribute's header.
pub const ATTRIBUTE_HEADER: usize = 4;
/// The highest bits of an attribute's kind say that it is nested or in network byte order.
const KIND_MASK: u16 = 0x3fff;
/// No attribute that is read here has a larger number: the largest is a link's IFLA_LINKINFO, 18.
pub(super) const ATTRIBUTES: usize = 19;

/// Attributes of one level, the last one of each kind.
#[derive(Clone, Copy, Default)]
pub struct Attributes<'a>([Option<&'a [u8]>; ATTRIBUTES]);

impl<'a> Attributes<'a> {
    /// What cannot be an attribute ends the list, as it does in the kernel.
    pub fn read(mut bytes: &'a [u8]) -> Attributes<'a> {
        let mut all = Attributes::default();
        while let (Some(len), Some(kind)) = (half(bytes, 0), half(bytes, 2)) {
            let Some(value) = bytes.get(ATTRIBUTE_HEADER..usize::from(len)) else { break };
            if let Some(slot) = all.0.get_mut(usize::from(kind & KIND_MASK)) {
                *slot = Some(value);
            }
            bytes = bytes.get(aligned(usize::from(len))..).unwrap_or(&[]);
        }
        all
    }

    /// The bytes of an attribute.
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(kind)).copied().flatten()
    }

    /// The attributes within an attribute.
    pub fn nested(&self, kind: u16) -> Option<Attributes<'a>> {
        self.get(kind).map(Attributes::read)
    }

    /// A number of one byte. One that is there but too short is an error, here as in all that follow.
    pub fn byte(&self, kind: u16) -> Result<Option<u8>, Errno> {
        Ok(self.array::<1>(kind)?.map(|[byte]| byte))
    }

    /// A number of two bytes.
    pub fn half(&self, kind: u16) -> Result<Option<u16>, Errno> {
        Ok(self.array(kind)?.map(u16::from_ne_bytes))
    }

    /// A number of four bytes.
    pub fn word(&self, kind: u16) -> Result<Option<u32>, Errno> {
        Ok(self.array(kind)?.map(u32::from_ne_bytes))
    }

    /// A port: two bytes in network order.
    pub fn port(&self, kind: u16) -> Result<Option<u16>, Errno> {
        Ok(self.array(kind)?.map(u16::from_be_bytes))
    }

    /// So many bytes, or the first of more.
    pub fn array<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, Errno> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        value.first_chunk::<N>().copied().map(Some).ok_or(Errno::ERANGE)
    }

    /// Up to so many bytes, the rest zero; more are an error.
    pub fn padded<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, Errno> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        let mut padded = [0; N];
        padded.get_mut(..value.len()).ok_or(Errno::ERANGE)?.copy_from_slice(value);
        Ok(Some(padded))
    }

    /// Text of at most so many bytes, and a zero behind it.
    pub fn text(&self, kind: u16, longest: usize) -> Result<Option<String>, Errno> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        let end = value.iter().take(longest + 1).position(|byte| *byte == 0).ok_or(Errno::EINVAL)?;
        Ok(Some(String::from_utf8_lossy(&value[..end]).into_owned()))
    }
}

/// Netlink's alignment.
pub(super) fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// A number of two bytes at that place.
pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A number of four bytes at that place.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
