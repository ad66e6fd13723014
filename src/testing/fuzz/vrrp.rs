//! Advertisements of VRRP: whatever is read can be written and read again as the same.

use std::net::IpAddr;

use crate::base::{Family, Proto};
use crate::wire::checksum::{self, with_pseudo};
use crate::wire::vrrp::{self, GROUP4, GROUP6};
use crate::wire::{ETH_LEN, PacketBuf, ip::header_len};

/// A message of either family, whose checksum is made right or left; the first byte chooses.
pub fn vrrp(input: &[u8]) -> Result<String, String> {
    let Some((first, message)) = input.split_first() else { return Ok("empty".into()) };
    let (src, dst): (IpAddr, IpAddr) = match first % 2 {
        0 => (IpAddr::from([10, 9, 0, 1]), GROUP4),
        _ => (IpAddr::from([0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1]), GROUP6),
    };
    let mut message = message.to_vec();
    if first & 2 == 0 && message.len() >= 8 {
        message[6..8].fill(0);
        let sum = if dst.is_ipv6() { with_pseudo(src, dst, Proto::VRRP, &message) } else { checksum::sum(&message) };
        message[6..8].copy_from_slice(&(!sum).to_be_bytes());
    }
    let (advert, covers) = match vrrp::parse(&message, src, dst) {
        Ok(read) => read,
        Err(fault) => return Ok(format!("{fault:?}")),
    };
    let mut buf = PacketBuf::new();
    vrrp::build(&mut buf, (src, dst), &advert, covers);
    let written = &buf.frame()[ETH_LEN + header_len(Family::of(dst))..];
    match vrrp::parse(written, src, dst) {
        Ok((again, _)) if again == advert => {
            let (is_v3, seconds) = (advert.version == vrrp::Version::V3, advert.interval.as_secs());
            Ok(format!("{is_v3} {} {} {seconds}", advert.addresses.len(), advert.priority))
        }
        other => Err(format!("{advert:?} was written and read again as {other:?}")),
    }
}

/// Sound messages.
pub fn vrrp_seeds() -> Vec<Vec<u8>> {
    let four = [0x31, 7, 200, 1, 0, 20, 0xfc, 0x75, 10, 9, 0, 100];
    let two = [&[0x21, 51, 150, 1, 0, 1, 0x3e, 0x5d, 10, 9, 0, 100][..], &[0; 8]].concat();
    let addresses = [[0xfe80, 0, 0, 0, 0, 0, 0, 0x100], [0xfd09, 0, 0, 0, 0, 0, 0, 0x100]];
    let octets = addresses.map(|addr| std::net::Ipv6Addr::from(addr).octets()).concat();
    let six = [&[0x31, 8, 200, 2, 0, 50, 0x0c, 0x09][..], &octets].concat();
    [(2, four.to_vec()), (0, two), (3, six.clone()), (1, six)]
        .into_iter()
        .map(|(first, rest)| [vec![first], rest].concat())
        .collect()
}
