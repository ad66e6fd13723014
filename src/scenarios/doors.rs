//! What a service and a server can be is the same through every door: flags, file, rules, ipvsadm, control socket, netlink.

use argh::FromArgs;

use crate::config::{Plan, RunArgs, read_text};
use crate::control::protocol::{Reply, Request};
use crate::genl::numbers::{cmd, dest, family, flag, kind, method, svc, top};
use crate::genl::{Address, Inbox, Message, Outcome, Sender, Server, Writer};
use crate::ipvsadm::{self, Invocation};
use crate::testing::Lab;

/// Numbers as somebody wrote them.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    persistence: &'a str,
    weight: &'a str,
    upper: &'a str,
}

const USUAL: Numbers = Numbers { persistence: "300", weight: "1", upper: "0" };

impl Numbers<'_> {
    fn rules(self) -> String {
        let Numbers { persistence, weight, upper } = self;
        format!(
            "-A -t 10.0.0.100:80 -s rr -p {persistence}\n-a -t 10.0.0.100:80 -r 10.0.0.21:8080 -m -w {weight} -x {upper}"
        )
    }
}

/// Whether a door lets them in.
type Door = fn(Numbers) -> bool;

fn flags(Numbers { persistence, weight, upper }: Numbers) -> bool {
    let server = format!("10.0.0.21:8080,nat,weight={weight},upper={upper}");
    let words = format!(
        "--bridge br0 --address 10.0.0.2/24 --service tcp/10.0.0.100:80 --persistent {persistence} --server {server}"
    );
    let args = RunArgs::from_args(&["run"], &words.split(' ').collect::<Vec<_>>());
    args.is_ok_and(|args| Plan::from_args(&args).is_ok())
}

fn file(Numbers { persistence, weight, upper }: Numbers) -> bool {
    let text = format!(
        "[[link]]\nbridge = \"br0\"\naddress = \"10.0.0.2/24\"\n[[service]]\ntcp = \"10.0.0.100:80\"\n\
         persistent = {persistence}\n[[service.server]]\naddress = \"10.0.0.21:8080\"\nmethod = \"nat\"\n\
         weight = {weight}\nupper = {upper}\n"
    );
    read_text("t.toml", &text).and_then(Plan::from_draft).is_ok()
}

fn rules(numbers: Numbers) -> bool {
    let mut lab = Lab::new("");
    let apply = |(_, command): &(usize, _)| lab.director.apply(command, lab.turn.now).is_ok();
    ipvsadm::parse_rules(&numbers.rules()).is_ok_and(|commands| commands.iter().all(apply))
}

fn command_line(numbers: Numbers) -> bool {
    let mut lab = Lab::new("");
    numbers.rules().lines().all(|line| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match ipvsadm::parse(&words) {
            Ok(Invocation::Change(command)) => lab.director.apply(&command, lab.turn.now).is_ok(),
            _ => false,
        }
    })
}

fn socket(Numbers { persistence, weight, upper }: Numbers) -> bool {
    let key = r#"{"address":[6,{"addr":"10.0.0.100","port":80}]}"#;
    let service = format!(
        r#"{{"scheduler":"rr","flags":0,"persistence":{{"timeout":{persistence}}},"engine":null,"netmask":4294967295,"one_packet":false}}"#
    );
    let server = format!(r#"{{"method":"nat","weight":{weight},"upper":{upper},"lower":0}}"#);
    let mut lab = Lab::new("");
    [
        format!(r#"{{"apply":{{"add_service":[{key},{service}]}}}}"#),
        format!(r#"{{"apply":{{"add_dest":[{key},{{"addr":"10.0.0.21","port":8080}},{server}]}}}}"#),
    ]
    .iter()
    .all(|text| {
        let Ok(request) = serde_json::from_str::<Request>(text) else { return false };
        let reply = crate::control::answer(&mut lab.director, lab.turn.ledger(), &request, lab.turn.now);
        matches!(reply, Reply::Done)
    })
}

fn netlink(Numbers { persistence, weight, upper }: Numbers) -> bool {
    // Its numbers have 32 bits.
    let numbers = [persistence, weight, upper].map(|text| text.parse::<i64>().unwrap());
    if numbers.iter().any(|number| *number > i64::from(u32::MAX)) {
        return false;
    }
    let [persistence, weight, upper] = numbers.map(|number| number as u32);
    let mut writer = Writer::default();
    for (seq, command) in (1..).zip([cmd::NEW_SERVICE, cmd::NEW_DEST]) {
        writer.message((kind::IPVS, flag::REQUEST | flag::ACK, Address { seq, port: 0 }), (command, 1), |writer| {
            writer.nest(top::SERVICE, |writer| {
                writer.put_half(svc::FAMILY, family::V4);
                writer.put_half(svc::PROTOCOL, 6);
                writer.put(svc::ADDR, &[10, 0, 0, 100]);
                writer.put_port(svc::PORT, 80);
                writer.put_text(svc::SCHEDULER, "rr");
                writer.put(svc::FLAGS, [1_u32.to_ne_bytes(), u32::MAX.to_ne_bytes()].as_flattened());
                writer.put_word(svc::TIMEOUT, persistence);
                writer.put_word(svc::NETMASK, u32::MAX);
            });
            writer.nest(top::DEST, |writer| {
                writer.put(dest::ADDR, &[10, 0, 0, 21]);
                writer.put_port(dest::PORT, 8080);
                let values = [method::NAT, weight, upper, 0];
                let kinds = [dest::METHOD, dest::WEIGHT, dest::UPPER, dest::LOWER];
                kinds.into_iter().zip(values).for_each(|(kind, value)| writer.put_word(kind, value));
            });
        });
    }
    let (mut lab, mut server) = (Lab::new(""), Server::default());
    let from = Sender { port: 7, process: 4, capped: false };
    Message::all(&writer.into_bytes()).all(|question| match server.answer(&question, from, &mut lab) {
        Ok(Outcome::Answers(answers)) => {
            let mut inbox = Inbox::default();
            inbox.push(answers);
            // Behind the header there is a number: 0 is done.
            inbox.peek(4096).is_some_and(|answer| answer[16..20] == [0; 4])
        }
        _ => false,
    })
}

const DOORS: [(&str, Door); 6] = [
    ("flags", flags),
    ("the file", file),
    ("rules", rules),
    ("ipvsadm", command_line),
    ("the control socket", socket),
    ("netlink", netlink),
];

#[test]
fn every_door_has_the_same_limits_for_the_same_numbers() {
    let days = |text: &'static str, fits| (Numbers { persistence: text, ..USUAL }, text, "persistence", fits);
    let weight = |text: &'static str, fits| (Numbers { weight: text, ..USUAL }, text, "weight", fits);
    let upper = |text: &'static str, fits| (Numbers { upper: text, ..USUAL }, text, "upper threshold", fits);
    let mut wrong = Vec::new();
    for (numbers, text, what, fits) in [
        days("1", true),
        days("2678400", true),
        days("0", false),
        days("2678401", false),
        days("4294967296", false),
        days("-1", false),
        weight("0", true),
        weight("65536", true),
        weight("2147483647", true),
        weight("2147483648", false),
        weight("4294967296", false),
        weight("-1", false),
        upper("1", true),
        upper("2147483647", true),
        upper("2147483648", false),
        upper("4294967297", false),
        upper("-1", false),
    ] {
        for (door, lets_in) in DOORS {
            if lets_in(numbers) != fits {
                wrong.push(format!("{door}: {what} {text} is {}", if fits { "refused" } else { "taken" }));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}
