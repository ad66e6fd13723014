//! Decision traces: which server each packet went to, and every state and counter afterwards.
//!
//! All fields of an event are compared; decisions are counted apart, for they are what schedulers answer for.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tapvs::inside::base::{LinkId, Tuple};
use tapvs::inside::conn::Conn;
use tapvs::inside::testing::{Frame, Shadow};

use super::build;
use super::case::{Outcome, same, text, texts};
use super::describe;
use super::lab::{Lab, endpoint, link_name, proto, sorted};

/// Replays one case.
pub fn replay(lines: &[Value], shadow: Option<&Shadow>) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let (header, events) = lines.split_first().ok_or("an empty recording")?;
    outcome.decisions = events.iter().filter(|line| line.get("to").is_some()).count();
    let mut lab = match Lab::new(header, shadow) {
        Ok(lab) => lab,
        Err(error) => {
            outcome.note("settings", Err(error));
            return Ok(outcome);
        }
    };
    let servers: Vec<IpAddr> = texts(header, "servers").iter().filter_map(|text| text.parse().ok()).collect();
    for line in events {
        for rule in texts(line, "config") {
            let status = lab.command(&rule);
            outcome.note(&rule, status.and_then(|status| same("exit status", status, 0)));
        }
        match text(line, "ev") {
            "pkt" => packet(&mut lab, line, &servers, &mut outcome)?,
            "cmd" => {
                let status = lab.command(text(line, "args"));
                let checked = status.and_then(|status| same("exit status", status, line["rc"].as_i64().unwrap_or(0)));
                outcome.note(place(line), checked);
            }
            "sleep" => {
                lab.wait(Duration::from_secs_f64(line["sec"].as_f64().unwrap_or_default()));
            }
            "sysctl" => outcome.note(place(line), setting(&mut lab, line)),
            "" => {}
            other => return Err(format!("event '{other}' is not known here")),
        }
        outcome.note(place(line), compare_tables(&lab, line));
    }
    outcome.note_program(&lab);
    Ok(outcome)
}

fn place(line: &Value) -> String {
    match (line["n"].as_u64(), text(line, "ev")) {
        (Some(number), "cmd") => format!("event {number} ({})", text(line, "args")),
        (Some(number), "pkt") => {
            let packet = &line["pkt"];
            let word = |key| packet[key].as_str().map_or_else(|| packet[key].to_string(), str::to_owned);
            let ends = format!("{}:{}>{}:{}", word("src"), word("sport"), word("dst"), word("dport"));
            format!("event {number} ({} {} {ends} {}{})", word("at"), word("proto"), word("flags"), word("chunks"))
        }
        (Some(number), kind) => format!("event {number} ({kind})"),
        (None, _) if line.get("end").is_some() => "the end".into(),
        (None, _) => "config".into(),
    }
}

fn setting(lab: &mut Lab, line: &Value) -> Result<(), String> {
    let name = text(line, "name").rsplit('.').next().unwrap_or_default();
    lab.director.set(name, text(line, "value"))
}

fn packet(lab: &mut Lab, line: &Value, servers: &[IpAddr], outcome: &mut Outcome) -> Result<(), String> {
    let packet = &line["pkt"];
    let src = endpoint(packet, "src", "sport")?;
    let dst = endpoint(packet, "dst", "dport")?;
    let tuple = Tuple { proto: proto(text(packet, "proto"))?, src, dst };
    let before = lab.director.conn_of(&tuple);
    let sent = lab.receive(text(packet, "at"), &build::frame(packet)?);
    let to = taker(&sent, servers);
    if line.get("to").is_some() {
        let checked = same("the server", to, line["to"].as_str().map(str::to_owned));
        outcome.decisions_right += usize::from(checked.is_ok());
        outcome.note(place(line), checked);
    }
    let words = sent.iter().map(|sent| format!("{} {}", link_name(sent.link), describe::sent(&sent.bytes, servers)));
    outcome.note(place(line), same("output", sorted(words), sorted(texts(line, "out").into_iter())));
    let conn = lab.conn(&tuple);
    outcome.note(place(line), compare_conn(lab, conn, &line["conn"]));
    if let Some(new) = line["new"].as_bool() {
        let made = conn.is_some() && before.is_none();
        if conn.is_some() {
            outcome.note(place(line), same("a new conn", made, new));
        }
    }
    Ok(())
}

/// The server that a packet went to: with the port where the packet is addressed to it.
fn taker(sent: &[Frame], servers: &[IpAddr]) -> Option<String> {
    let frame = &sent.iter().find(|frame| frame.link == LinkId(1))?.bytes;
    let ip = tapvs::inside::wire::ip_packet(frame).ok()?;
    if let Some(tuple) = ip.tuple().filter(|tuple| servers.contains(&tuple.dst.addr)) {
        return Some(tuple.dst.to_string());
    }
    if servers.contains(&ip.dst) {
        return Some(ip.dst.to_string());
    }
    describe::server_behind(frame, servers).map(|addr| addr.to_string())
}

fn compare_conn(lab: &Lab, ours: Option<&Conn>, recorded: &Value) -> Result<(), String> {
    let (Some(conn), Some(recorded)) = (ours, recorded.as_object()) else {
        let ours = ours.map(|conn| lab.server_of(conn));
        return same("the conn's server", ours, recorded["d"].as_str().map(str::to_owned));
    };
    same("the conn's server", lab.server_of(conn).as_str(), recorded["d"].as_str().unwrap_or_default())?;
    same("the state", lab.director.flows.state_name(conn), recorded["state"].as_str().unwrap_or_default())?;
    let left = lab.director.flows.conns.deadline(conn).since(lab.turn.now).as_secs_f64();
    match recorded.get("exp").and_then(Value::as_f64) {
        Some(seconds) if (left - seconds).abs() > 1.0 => Err(format!("expires in {left:.1} s, recorded {seconds}")),
        _ => Ok(()),
    }
}

fn compare_tables(lab: &Lab, line: &Value) -> Result<(), String> {
    if line.get("svc").is_some() {
        same("the services", services(lab), line["svc"].clone())?;
    }
    if line.get("templates").is_some() {
        same("the templates", templates(lab), sorted(texts(line, "templates").into_iter()))?;
    }
    if line.get("conns").is_some() {
        same("the table", lab.conns(), texts(line, "conns"))?;
    }
    Ok(())
}

/// Services with their servers in list order: address, weight, active, inactive.
fn services(lab: &Lab) -> Value {
    let server = |id: &_| {
        let server = lab.director.flows.services.server(*id);
        json!([server.endpoint.to_string(), server.weight, server.active, server.inactive])
    };
    let service = |service: &tapvs::inside::service::Service| {
        (Lab::service_name(service.key), service.dests.iter().map(server).collect::<Value>())
    };
    Value::Object(lab.director.flows.services.iter().map(service).collect::<Map<_, _>>())
}

fn templates(lab: &Lab) -> Vec<String> {
    let templates = lab.director.flows.conns.iter().filter(|(_, conn)| conn.is_template());
    sorted(templates.map(|(id, conn)| {
        let (client, virt) = (conn.client(), conn.virt());
        let engine = lab
            .director
            .flows
            .calls
            .engine_data(id)
            .map(|(name, data)| format!(" {name} {}", String::from_utf8_lossy(data)));
        format!("{} {client} {virt} {}{}", conn.proto(), lab.server_of(conn), engine.unwrap_or_default())
    }))
}
