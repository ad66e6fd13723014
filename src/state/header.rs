//! The numbers at the beginning of the file: what it is, of which size, key, time and boot, and a check over them.
//!
//! Never reads further than they go.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Unusable;
use crate::base::siphash13;
use crate::io::monotonic_millis;

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"tapvs st");
/// Changes whenever what lies in the file does.
pub(super) const LAYOUT: u64 = 3;

/// The header's numbers, and the check over them.
pub(super) fn header_for(max: usize, secret: [u64; 2], epoch: u64, boot: [u64; 2]) -> [u64; 9] {
    let said = [MAGIC, LAYOUT, max as u64, secret[0], secret[1], epoch, boot[0], boot[1]];
    let [a, b, c, d, e, f, g, h] = said;
    [a, b, c, d, e, f, g, h, siphash13([MAGIC, LAYOUT], said)]
}

/// The numbers of a file's header.
pub(super) fn header_in(file: &File) -> Option<[u64; 9]> {
    let mut bytes = [0; 9 * size_of::<u64>()];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let (words, _) = bytes.as_chunks();
    let mut header = [0; 9];
    header.iter_mut().zip(words).for_each(|(number, word)| *number = u64::from_ne_bytes(*word));
    Some(header)
}

pub(super) fn check_header(header: &[u64], max: usize, boot: [u64; 2]) -> Result<(), Unusable> {
    let [magic, layout, conns, a, b, epoch, boot0, boot1, _] = *header else { return Err("no header".into()) };
    if magic != MAGIC {
        return Err("it is no state of tapvs".into());
    }
    if layout != LAYOUT {
        return Err(format!("its layout is {layout}, this version knows {LAYOUT}"));
    }
    if header != header_for(conns as usize, [a, b], epoch, [boot0, boot1]) {
        return Err("its header is damaged".into());
    }
    if conns != max as u64 {
        return Err(format!("it is of a flow table of {conns} conns, not {max}"));
    }
    if [boot0, boot1] != boot || epoch > monotonic_millis() {
        return Err("it is from before the last boot".into());
    }
    Ok(())
}
