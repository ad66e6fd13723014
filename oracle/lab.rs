//! The director between two links as in a recording: permanent neighbours, a whole prefix of virtual addresses, a clock
//! that is moved by hand.
//!
//! Everything comes from the first line of a case. Never a device, never the real time.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde_json::Value;
use tapvs::inside::base::{Chance, Endpoint, LinkId, Prefix, Proto, Tuple};
use tapvs::inside::conn::Conn;
use tapvs::inside::director::{Director, Settings};
use tapvs::inside::ipvsadm;
use tapvs::inside::router::Link;
use tapvs::inside::service::MarkRule;
use tapvs::inside::service::command::{Command, ServiceKey};
use tapvs::inside::testing::{self, Frame, Shadow, mac_of, without_outer_id};
use tapvs::inside::wire::{Vnet, ip_packet};

use super::case;

const CLIENT_LINK: LinkId = LinkId(0);
const SERVER_LINK: LinkId = LinkId(1);
/// Between two events of a recording.
const STEP: Duration = Duration::from_millis(5);

fn without_neighbours(mut sent: Vec<Frame>) -> Vec<Frame> {
    sent.retain(|frame| !is_about_neighbours(&frame.bytes));
    sent
}

/// ARP, neighbour discovery, and which groups are listened to: the kernel's neighbours were permanent, and what it
/// announced by itself was not recorded.
fn is_about_neighbours(frame: &[u8]) -> bool {
    let reports = frame.get(..6) == Some(&[0x33, 0x33, 0, 0, 0, 0x16]);
    let solicits = frame.get(20) == Some(&58) && frame.get(54).is_some_and(|kind| (133..=137).contains(kind));
    match frame.get(12..14) {
        Some([0x08, 0x06]) => true,
        Some([0x86, 0xdd]) => solicits || reports,
        _ => false,
    }
}

/// The lab of a case.
pub struct Lab {
    lab: testing::Lab,
    /// The program of the fast path, which is given every frame too.
    shadow: Option<Shadow>,
    /// Frames that the program has taken.
    pub taken: usize,
    /// The first that it has not made as the director has.
    pub otherwise: Option<String>,
}

impl Deref for Lab {
    type Target = testing::Lab;

    fn deref(&self) -> &testing::Lab {
        &self.lab
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut testing::Lab {
        &mut self.lab
    }
}

impl Lab {
    /// Links, addresses, neighbours and settings from the first line of a case.
    pub fn new(header: &Value, shadow: Option<&Shadow>) -> Result<Lab, String> {
        let settings = Settings { icmp_rate: 0, ..Settings::default() };
        let mut director = Director::new(settings, Chance::KNOWN);
        director.set("kernel_faults", "1")?;
        for (name, value) in header["sysctl"].as_object().into_iter().flatten() {
            let name = name.rsplit('.').next().unwrap_or(name);
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            director.set(name, &value)?;
        }
        let lab = testing::Lab::of(director);
        let mut lab = Lab { lab, shadow: shadow.cloned(), taken: 0, otherwise: None };
        lab.add_links(header)?;
        if let Some(shadow) = shadow {
            shadow.empty();
            lab.director.fast().start(Box::new(shadow.clone()), 0);
        }
        for rule in header["marks"].as_array().into_iter().flatten() {
            lab.director.flows.services.add_mark(mark_rule(rule)?);
        }
        Ok(lab)
    }

    fn add_links(&mut self, header: &Value) -> Result<(), String> {
        let net = &header["net"];
        for (name, mac) in [("c", "02:00:00:00:0c:01"), ("r", "02:00:00:00:0d:01")] {
            let addresses = [format!("{name}4"), format!("{name}6")]
                .iter()
                .filter_map(|side| net[side]["director"].as_str())
                .map(parse::<Prefix>)
                .collect::<Result<Vec<_>, _>>()?;
            let device = format!("{name}0");
            let mtu = header["mtu"][&device].as_u64().unwrap_or(1500) as u16;
            self.director.router.add_link(Link { name: device, mac: parse(mac)?, mtu, addresses });
        }
        for side in ["c4", "c6"] {
            let Some(router) = net[side]["router"].as_str() else { continue };
            let router: IpAddr = parse(router)?;
            let everything = if router.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            self.director.router.routes.add(parse(everything)?, Some(router), CLIENT_LINK);
            self.director.router.neighbours.add_permanent(CLIENT_LINK, router, parse("02:00:00:00:0c:fe")?);
        }
        for side in ["vip4", "vip6"] {
            if let Some(prefix) = net[side].as_str() {
                self.director.router.add_local_prefix(parse(prefix)?);
            }
        }
        let servers = case::texts(header, "servers").into_iter();
        let others = header["mac"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
        servers.chain(others).filter_map(|text| text.parse().ok()).for_each(|addr| self.know(addr));
        Ok(())
    }

    /// A permanent neighbour on the servers' side; its MAC follows from its address.
    fn know(&mut self, addr: IpAddr) {
        self.director.router.neighbours.add_permanent(SERVER_LINK, addr, mac_of(addr));
    }

    /// Carries out a command line of `ipvsadm`; the exit status it would have had.
    pub fn command(&mut self, line: &str) -> Result<i64, String> {
        let commands = ipvsadm::parse_rules(line).map_err(|error| format!("'{line}': {error}"))?;
        for (_, command) in commands {
            if let Command::AddDest(_, endpoint, _) = &command {
                self.know(endpoint.addr);
            }
            let now = self.turn.now;
            if self.director.apply(&command, now).is_err() {
                return Ok(255);
            }
        }
        Ok(0)
    }

    /// Lets time pass; the frames that leave.
    pub fn wait(&mut self, time: Duration) -> Vec<Frame> {
        without_neighbours(self.advance(time))
    }

    /// A frame that arrives on `c0` or `r0`; what leaves in answer.
    pub fn receive(&mut self, at: &str, frame: &[u8]) -> Vec<Frame> {
        let link = if at == "r0" { SERVER_LINK } else { CLIENT_LINK };
        let mut sent = self.advance(STEP);
        let by_program = self.by_program(link, frame);
        let answers = self.arrive(link, frame, Vnet::default());
        if let Some(bytes) = by_program {
            self.compare(frame, bytes, &answers);
        }
        sent.extend(answers);
        without_neighbours(sent)
    }

    /// What the program of the fast path makes of a frame; its conn is offered before, however few packets it has had.
    fn by_program(&mut self, link: LinkId, frame: &[u8]) -> Option<Vec<u8>> {
        let shadow = self.shadow.clone()?;
        let tuple = ip_packet(frame).ok()?.tuple()?;
        if let Some(id) = self.director.conn_of(&tuple) {
            let now = self.turn.now;
            self.director.fast.offer(id);
            self.director.fast().admit(now);
        }
        shadow.run(link, frame)
    }

    /// The director has sent the same bytes, and nothing else but what it tells groups of the conn.
    fn compare(&mut self, frame: &[u8], by_program: Vec<u8>, answers: &[Frame]) {
        self.taken += 1;
        let is_to_one = |frame: &&Frame| frame.bytes[0] & 1 == 0;
        let alone: Vec<Vec<u8>> =
            answers.iter().filter(is_to_one).map(|frame| without_outer_id(frame.bytes.clone())).collect();
        let by_program = without_outer_id(by_program);
        if alone != [by_program.clone()] && self.otherwise.is_none() {
            self.otherwise = Some(format!(
                "of {frame:02x?}\n    the director makes {alone:02x?}\n    the program {by_program:02x?}"
            ));
        }
    }

    /// The conn a packet belongs to.
    pub fn conn(&self, tuple: &Tuple) -> Option<&Conn> {
        self.director.conn_of(tuple).map(|id| self.director.flows.conns.get(id))
    }

    /// The dest of a conn as listings show it.
    pub fn server_of(&self, conn: &Conn) -> String {
        self.director.flows.conns.real(conn).to_string()
    }

    /// All conns and templates, as `ipvsadm -Lnc` would list them less their timers, sorted.
    pub fn conns(&self) -> Vec<String> {
        let conns = self.director.flows.conns.iter();
        let line = |conn: &Conn| {
            let state = self.director.flows.state_name(conn);
            format!("{} {} {} {} {state}", conn.proto(), conn.client(), conn.virt(), self.server_of(conn))
        };
        sorted(conns.map(|(_, conn)| line(conn)))
    }

    /// The name of a service in recordings.
    pub fn service_name(key: ServiceKey) -> String {
        match key {
            ServiceKey::Address(proto, vip) => format!("{proto} {vip}"),
            ServiceKey::Mark(_, mark) => format!("FWM {mark}"),
        }
    }
}

/// Lines in order.
pub fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// The name of a link in recordings.
pub fn link_name(link: LinkId) -> &'static str {
    if link == SERVER_LINK { "r0" } else { "c0" }
}

fn mark_rule(rule: &Value) -> Result<MarkRule, String> {
    let port = rule["dport"].as_u64().map(|port| port as u16);
    Ok(MarkRule {
        proto: rule["proto"].as_str().map(proto).transpose()?,
        src: None,
        dst: rule["dst"].as_str().map(parse).transpose()?,
        ports: port.map(|port| port..=port),
        mark: rule["mark"].as_u64().unwrap_or_default() as u32,
    })
}

/// A protocol by its lower-case name.
pub fn proto(name: &str) -> Result<Proto, String> {
    match name {
        "tcp" => Ok(Proto::TCP),
        "udp" => Ok(Proto::UDP),
        "sctp" => Ok(Proto::SCTP),
        _ => Err(format!("protocol '{name}' is not known here")),
    }
}

/// An endpoint from its two members.
pub fn endpoint(packet: &Value, addr: &str, port: &str) -> Result<Endpoint, String> {
    Ok(Endpoint::new(parse(case::text(packet, addr))?, packet[port].as_u64().unwrap_or_default() as u16))
}

/// Anything that can be read from a word.
pub fn parse<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("cannot read '{word}'"))
}
