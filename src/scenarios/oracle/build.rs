//! Frames from the words of a trace: protocol, ends, flags or chunks, payload.
//!
//! Checksums are right; what a trace does not say (sequence numbers, window, TTL) does not matter to it.

use serde_json::Value;
use tapvs::base::{Endpoint, Family, Mac, Proto};
use tapvs::wire::icmp::{Header, ip_header};
use tapvs::wire::{ETH_LEN, checksum};

use super::case::{text, texts};
use super::lab::{endpoint, mac_of, parse, proto};

/// The frame of a trace's packet.
pub fn frame(packet: &Value) -> Result<Vec<u8>, String> {
    let proto = proto(text(packet, "proto"))?;
    let (src, dst) = (endpoint(packet, "src", "sport")?, endpoint(packet, "dst", "dport")?);
    let payload = match packet["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => vec![b'x'; packet["data"].as_u64().unwrap_or_default() as usize],
    };
    let mut segment = match proto {
        Proto::TCP => tcp(text(packet, "flags"))?,
        Proto::UDP => udp(payload.len()),
        _ => sctp(&texts(packet, "chunks"))?,
    };
    segment[..2].copy_from_slice(&src.port.to_be_bytes());
    segment[2..4].copy_from_slice(&dst.port.to_be_bytes());
    segment.extend_from_slice(&payload);
    finish(&mut segment, proto, src, dst);
    let macs: (Mac, Mac) = match text(packet, "at") {
        "r0" => (parse("02:00:00:00:0d:01")?, mac_of(src.addr)),
        _ => (parse("02:00:00:00:0c:01")?, parse("02:00:00:00:0c:fe")?),
    };
    Ok(framed(&segment, proto, src, dst, macs))
}

fn tcp(flags: &str) -> Result<Vec<u8>, String> {
    let bit = |letter| match letter {
        'F' => Ok(0x01),
        'S' => Ok(0x02),
        'R' => Ok(0x04),
        'P' => Ok(0x08),
        'A' => Ok(0x10),
        'U' => Ok(0x20),
        _ => Err(format!("'{letter}' is not a TCP flag")),
    };
    let flags = flags.chars().map(bit).try_fold(0u8, |all, bit| bit.map(|bit| all | bit))?;
    let mut header = vec![0; 20];
    header[7] = 1;
    header[12] = 5 << 4;
    header[13] = flags;
    header[14..16].copy_from_slice(&64_240u16.to_be_bytes());
    Ok(header)
}

fn udp(payload: usize) -> Vec<u8> {
    let mut header = vec![0; 8];
    header[4..6].copy_from_slice(&((payload + 8) as u16).to_be_bytes());
    header
}

fn sctp(chunks: &[String]) -> Result<Vec<u8>, String> {
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
    let mut packet = vec![0; 12];
    for chunk in chunks {
        let kind = NAMES.iter().position(|name| name == chunk).ok_or_else(|| format!("'{chunk}' is not a chunk"))?;
        packet.extend_from_slice(&[kind as u8, 0, 0, 20]);
        packet.extend_from_slice(&[0; 16]);
    }
    Ok(packet)
}

fn finish(segment: &mut [u8], proto: Proto, src: Endpoint, dst: Endpoint) {
    if proto == Proto::SCTP {
        let sum = crc32c::crc32c(segment);
        segment[8..12].copy_from_slice(&sum.to_le_bytes());
        return;
    }
    let at = if proto == Proto::TCP { 16 } else { 6 };
    let pseudo = checksum::pseudo(src.addr, dst.addr, proto, segment.len());
    let sum = !checksum::add(pseudo, checksum::sum(segment));
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn framed(segment: &[u8], proto: Proto, src: Endpoint, dst: Endpoint, (to, from): (Mac, Mac)) -> Vec<u8> {
    let (ethertype, header) = match Family::of(dst.addr) {
        Family::V4 => ([0x08, 0x00], 20),
        Family::V6 => ([0x86, 0xdd], 40),
    };
    let mut frame = vec![0; ETH_LEN + header];
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&from.0);
    frame[12..14].copy_from_slice(&ethertype);
    frame.extend_from_slice(segment);
    let fields = Header { src: src.addr, dst: dst.addr, proto, ttl: 64, tos: 0, id: 0x1234, dont_fragment: true };
    ip_header(&mut frame, &fields);
    frame
}
