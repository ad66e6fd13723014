//! Checks of servers.

use super::super::check_of_word;
use super::*;

#[test]
fn what_a_check_cannot_be_is_named_where_it_stands() {
    for (lines, wanted) in [
        (
            "check = { }",
            "/t.toml:6:9: check: no kind; use one of tcp, http, https, dns, udp, smtp, agent, exec, icmp, neigh, path",
        ),
        (
            "check = { kind = \"icmp6\" }",
            "/t.toml:6:18: kind \"icmp6\": use one of tcp, http, https, dns, udp, smtp, agent, exec, icmp, neigh, path",
        ),
        (
            "check = { kind = \"tcp\", path = \"/\" }",
            "/t.toml:6:18: kind \"tcp\": 'path' is not for this kind, which has no keys of its own",
        ),
        (
            "check = { kind = \"http\", path = \"x\" }",
            "/t.toml:6:33: path \"x\": a path begins with '/' and has no blanks; write them as %20",
        ),
        (
            "check = { kind = \"http\", status = \"2xx\" }",
            "/t.toml:6:35: status \"2xx\": not codes of HTTP, like \"200-299\" or \"200,301-308\"",
        ),
        (
            "check = { kind = \"tcp\", interval = \"1ms\" }",
            "/t.toml:6:36: interval \"1ms\": must be from 100ms to 86400s",
        ),
        (
            "check = { kind = \"tcp\", timeout = \"soon\" }",
            "/t.toml:6:35: timeout \"soon\": not a time, like \"500ms\", \"2s\" or \"10m\"",
        ),
        (
            "check = { kind = \"icmp\", port = 7 }",
            "/t.toml:6:18: kind \"icmp\": 'port' is not for this kind, whose packets are the director's own",
        ),
        (
            "check = { kind = \"path\", address = \"10.0.0.9\" }",
            "/t.toml:6:18: kind \"path\": 'address' is not for this kind, whose packets are the director's own",
        ),
        (
            "check = { kind = \"exec\" }",
            "/t.toml:6:9: check: no command; give a program's path and arguments, like [\"/usr/local/bin/check\", \"-q\"]",
        ),
        (
            "check = { kind = \"exec\", command = \"check\" }",
            "/t.toml:6:36: command \"check\": not a full path; no shell looks for it",
        ),
        (
            "check = { kind = \"udp\", payload_hex = \"0g\" }",
            "/t.toml:6:39: payload_hex \"0g\": not bytes in hex, like \"00 ff\"",
        ),
        ("on_down = \"cry\"", "/t.toml:6:11: on_down \"cry\": use keep, drop or reset"),
        ("quorum = 2\nhysteresis = 2", "/t.toml:7:14: hysteresis 2: must be less than the quorum, which is 2"),
        (
            "sorry_server = { address = \"10.0.0.9:81\", method = \"direct\" }",
            "/t.toml:6:28: sorry_server \"10.0.0.9:81\": direct cannot change the port (the service's is 80); leave it out, or use nat",
        ),
        (
            "sorry_server = { address = \"224.0.0.1:80\", method = \"nat\" }",
            "/t.toml:6:28: sorry_server \"224.0.0.1:80\": real server 224.0.0.1 is outside every route",
        ),
    ] {
        let said = service(lines);
        assert!(said.starts_with(wanted), "{lines}: {said}");
    }
}

#[test]
fn a_check_by_tls_is_refused_without_tls() {
    WITHOUT_TLS.set(true);
    let file = format!("{LINK}[[service]]\ntcp = \"10.0.0.100:443\"\ncheck = {{ kind = \"https\" }}\n");
    let said = read("/t.toml", &file).unwrap_err().to_string();
    assert!(said.contains("kind \"https\": this tapvs was built without TLS"), "{said}");
}

#[test]
#[cfg(feature = "tls")]
fn checks_are_read_with_all_their_words() {
    let file = format!(
        "{LINK}[[service]]\ntcp = \"10.0.0.100:443\"\ncheck = [{{ kind = \"tcp\" }}, {{ kind = \"https\", host = \"shop.example\", \
         status = \"200,301-308\", interval = \"500ms\", rise = 1 }}]\nquorum = 2\nslow_start = 30\non_down = \"reset\"\n\
         [[service.server]]\naddress = \"10.0.0.21:8443\"\nmethod = \"nat\"\ncheck = {{ kind = \"agent\", port = 9000 }}\n"
    );
    let draft = read("/t.toml", &file).unwrap();
    let plan = crate::config::Plan::from_draft(draft).unwrap();
    let [health] = &plan.health[..] else { panic!("{:?}", plan.health) };
    let names: Vec<String> = health.checks.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["tcp", "https:/"]);
    let timing = health.checks[1].timing;
    assert_eq!(
        [timing.interval, timing.fast, timing.down, timing.timeout].map(|time| time.as_millis()),
        [500, 500, 5000, 500],
        "what is not given follows the interval"
    );
    assert_eq!((timing.rise, timing.fall, health.policy.quorum.least), (1, 3, 2));
    assert_eq!(health.policy.slow_start.as_secs(), 30);
    let (server, own) = &health.own[0];
    assert_eq!((server.to_string(), own[0].to_string()), ("10.0.0.21:8443".into(), "agent@:9000".into()));
}

#[test]
fn a_flag_says_a_check_in_one_word() {
    let check = |word: &str| check_of_word(word);
    assert_eq!(check("http:/healthz,status=200-299,interval=5s").unwrap().to_string(), "http:/healthz");
    assert_eq!(check("agent:9000").unwrap().port, Some(9000));
    assert_eq!(check("tcp").unwrap().timing, crate::health::Timing::default());
    for (word, wanted) in [
        ("", "--check : kind \"\": use one of"),
        ("ftp", "--check ftp: kind \"ftp\": use one of"),
        ("http:/x,colour=red", "--check http:/x,colour=red: 'colour=red' is not KEY=VALUE of a check"),
        ("tcp,interval=never", "--check tcp,interval=never: interval \"never\": not a time"),
    ] {
        let said = check(word).unwrap_err().to_string();
        assert!(said.starts_with(wanted), "{word}: {said}");
    }
}

/// What is not said, of every kind and of what follows: the figures of the manual, not whatever the code has.
#[test]
#[cfg(feature = "tls")]
fn what_is_not_said_of_checks_is_as_the_manual_has_it() {
    let kinds = "{ kind = \"tcp\" }, { kind = \"http\" }, { kind = \"https\" }, { kind = \"dns\" }, { kind = \"udp\" }, \
                 { kind = \"smtp\" }, { kind = \"exec\", command = [\"/x\"] }";
    let server = "[[service.server]]\naddress = \"10.0.0.21:80\"\nmethod = \"nat\"\n";
    let file = format!("{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\ncheck = [{kinds}]\n{server}");
    let plan = crate::config::Plan::from_draft(read("/t.toml", &file).unwrap()).unwrap();
    let health = &plan.health[0];
    for check in &health.checks {
        let crate::health::Timing { interval, fast, down, timeout, rise, fall } = check.timing;
        assert_eq!([interval, fast, down, timeout].map(|time| time.as_secs()), [2, 1, 5, 1], "{check}");
        assert_eq!((rise, fall, check.address, check.port, check.bind), (2, 3, None, None, None), "{check}");
    }
    let said: Vec<String> = health.checks.iter().map(|check| format!("{:?}", check.kind)).collect();
    let http = "method: Get, path: \"/\", host: None, status: [200..=299], contains: None })";
    assert_eq!(
        said,
        [
            "Tcp".to_owned(),
            format!("Http(Http {{ tls: None, {http}"),
            format!("Http(Http {{ tls: Some(Tls {{ verify: None, sni: None }}), {http}"),
            "Dns(Dns { name: \".\", qtype: 6, nxdomain: false, empty: false, expect: None })".into(),
            "Udp(Udp { payload: [], silence: false, contains: None })".into(),
            "Smtp(\"localhost\")".into(),
            "Exec(Exec { command: [\"/x\"], dynamic: false, user: None })".into(),
        ]
    );
    assert_eq!(
        format!("{:?}", health.policy),
        "Policy { quorum: Quorum { least: 1, hysteresis: 0 }, sorry: None, slow_start: 0ns, on_down: Drop, grace: 10s, \
         if_all_down: Sorry, passive: true, quorum_up: [], quorum_user: None, quorum_down: [] }"
    );
}
