//! Frames from the words of a trace: protocol, ends, flags or chunks, payload.
//!
//! Checksums are right; what a trace does not say (sequence numbers, window, TTL) does not matter to it.

use serde_json::Value;
use tapvs::inside::base::{Mac, Proto};
use tapvs::inside::testing::{Kind, Packet, mac_of};

use super::case::{text, texts};
use super::lab::{endpoint, parse, proto};

/// The frame of a trace's packet.
pub fn frame(packet: &Value) -> Result<Vec<u8>, String> {
    let (src, dst) = (endpoint(packet, "src", "sport")?, endpoint(packet, "dst", "dport")?);
    let mut payload = match packet["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => vec![b'x'; packet["data"].as_u64().unwrap_or_default() as usize],
    };
    let kind = match proto(text(packet, "proto"))? {
        Proto::TCP => Kind::Tcp(Packet::flags(text(packet, "flags"))?),
        Proto::UDP => Kind::Udp,
        _ => {
            payload = sctp((src.port, dst.port), &texts(packet, "chunks"), &payload)?;
            Kind::Other(Proto::SCTP.0)
        }
    };
    let (to, from): (Mac, Mac) = match text(packet, "at") {
        "r0" => (parse("02:00:00:00:0d:01")?, mac_of(src.addr)),
        _ => (parse("02:00:00:00:0c:01")?, parse("02:00:00:00:0c:fe")?),
    };
    let built = Packet { src, dst, seq: 1, ack: 0, kind, payload, ..Packet::udp("0.0.0.0", "0.0.0.0") };
    Ok(built.frame(from, to))
}

/// An SCTP packet (RFC 9260 3): common header, chunks of one size, what the last of them carries.
fn sctp((from, to): (u16, u16), chunks: &[String], data: &[u8]) -> Result<Vec<u8>, String> {
    const NAMES: [&str; 15] = [
        "DATA",
        "INIT",
        "INIT_ACK",
        "SACK",
        "HEARTBEAT",
        "HEARTBEAT_ACK",
        "ABORT",
        "SHUTDOWN",
        "SHUTDOWN_ACK",
        "ERROR",
        "COOKIE_ECHO",
        "COOKIE_ACK",
        "ECNE",
        "CWR",
        "SHUTDOWN_COMPLETE",
    ];
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.resize(12, 0);
    for chunk in chunks {
        let kind = NAMES.iter().position(|name| name == chunk).ok_or_else(|| format!("'{chunk}' is not a chunk"))?;
        packet.extend_from_slice(&[kind as u8, 0, 0, 20]);
        packet.extend_from_slice(&[0; 16]);
    }
    packet.extend_from_slice(data);
    let sum = crc32c::crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    Ok(packet)
}
