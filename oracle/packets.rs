//! Frame cases: what goes out for each frame in, byte for byte but for what the kernel draws at random.
//!
//! Frames of one event are compared link by link: between links there is no order.

use std::time::Duration;

use serde_json::Value;
use tapvs::inside::base::LinkId;
use tapvs::inside::testing::{Frame, Shadow};

use super::case::{Outcome, same, text, texts};
use super::lab::{Lab, link_name};

/// Replays one case.
pub fn replay(lines: &[Value], shadow: Option<&Shadow>) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let (header, events) = lines.split_first().ok_or("an empty recording")?;
    let mut lab = match Lab::new(header, shadow) {
        Ok(lab) => lab,
        Err(error) => {
            outcome.note("settings", Err(error));
            return Ok(outcome);
        }
    };
    for line in events {
        for rule in texts(line, "config") {
            match lab.command(&rule) {
                Ok(status) => outcome.note(&rule, same("exit status", status, 0)),
                Err(error) => outcome.note("config", Err(error)),
            }
        }
        if line["n"].is_u64() {
            let place = format!("event {} ({})", line["n"], text(line, "note"));
            let checked = event(&mut lab, line)?;
            outcome.note(place, checked);
        }
    }
    outcome.note_program(&lab);
    Ok(outcome)
}

fn event(lab: &mut Lab, line: &Value) -> Result<Result<(), String>, String> {
    let sent = match line["wait"].as_f64() {
        Some(secs) => lab.wait(Duration::from_secs_f64(secs)),
        None => lab.receive(text(&line["in"], "at"), &unhex(text(&line["in"], "frame"))?),
    };
    Ok(compare_frames(&sent, line).and_then(|()| match line["conns"].is_array() {
        true => same("the table", lab.conns(), texts(line, "conns")),
        false => Ok(()),
    }))
}

fn compare_frames(sent: &[Frame], line: &Value) -> Result<(), String> {
    let recorded: Vec<&Value> = line["out"].as_array().into_iter().flatten().collect();
    for link in [LinkId(0), LinkId(1)] {
        let ours: Vec<&Vec<u8>> = sent.iter().filter(|frame| frame.link == link).map(|frame| &frame.bytes).collect();
        let theirs: Vec<&&Value> = recorded.iter().filter(|frame| text(frame, "at") == link_name(link)).collect();
        if ours.len() != theirs.len() {
            let words: Vec<String> = ours.iter().map(|frame| super::describe::frame(frame)).collect();
            let expected: Vec<&str> = theirs.iter().map(|frame| text(frame, "text")).collect();
            return Err(format!("{} frames out of {}: {words:?}, recorded {expected:?}", ours.len(), link_name(link)));
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            compare_frame(ours, theirs)?;
        }
    }
    Ok(())
}

fn compare_frame(ours: &[u8], recorded: &Value) -> Result<(), String> {
    let theirs = unhex(text(recorded, "frame"))?;
    let ranges: Vec<(usize, usize)> = recorded["vol"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|range| (range[0].as_u64().unwrap_or(0) as usize, range[1].as_u64().unwrap_or(0) as usize))
        .collect();
    let ignored = |at: usize| ranges.iter().any(|(from, len)| (*from..from + len).contains(&at));
    let length = ours.len().max(theirs.len());
    match (0..length).find(|at| ours.get(*at) != theirs.get(*at) && !ignored(*at)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "byte {at} of {} ({} bytes, recorded {}):\n    ours     {}\n    recorded {}",
            text(recorded, "text"),
            ours.len(),
            theirs.len(),
            window(ours, at),
            window(&theirs, at)
        )),
    }
}

/// The bytes around a difference.
fn window(frame: &[u8], at: usize) -> String {
    let from = at.saturating_sub(8).min(frame.len());
    let shown = &frame[from..frame.len().min(from + 40)];
    format!("[{from}..] {}", shown.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    digits.map(|pair| u8::from_str_radix(pair, 16).map_err(|_| format!("'{pair}' is not a byte"))).collect()
}
