//! SCTP checksums.

use super::CLIENT;
use crate::testing::{DIRECTOR, Kind, Lab, Packet, ROUTER};

/// An INIT whose checksum is `crc`; the right one with `None`.
fn sctp_init(from: u16, to: u16, crc: Option<u32>) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend([0; 8]);
    bytes.extend([1, 0, 0, 20]);
    bytes.extend([7; 16]);
    let crc = crc.unwrap_or_else(|| crc32c(&bytes));
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// CRC-32C bit by bit (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn an_sctp_checksum_is_made_anew_only_when_the_port_changes() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    for (port, wanted) in [(3868, sctp_init(4000, 3868, Some(0xbad))), (3869, sctp_init(4000, 3869, None))] {
        let rules = format!(
            "-A --sctp-service 198.51.100.1:3868 -s rr\n-a --sctp-service 198.51.100.1:3868 -r 10.0.0.21:{port} -m"
        );
        let mut lab = Lab::new(&rules);
        let init = Packet::new(CLIENT, "198.51.100.1:3868", Kind::Other(132));
        let sent = lab.frame(&init.carrying(sctp_init(4000, 3868, Some(0xbad))).frame(ROUTER, DIRECTOR));
        assert_eq!(sent[0].behind_ip(), wanted, "port {port}");
    }
}
