//! Reload: the configuration is read anew, and only what differs from the running director is done.
//!
//! A bad configuration, or one that needs a restart, changes nothing.

use super::Reload;
use crate::base::Instant;
use crate::config::{Plan, Problems, RunArgs, describe, diff, rules_of};
use crate::director::Director;
use crate::io::Processors;
use crate::settings::{self, Effect};

/// How the daemon reloads what it was started with.
///
/// `usual`: the processors that the process was started with.
pub fn reload(args: RunArgs, mut running: Plan, usual: Processors) -> Reload {
    Box::new(move |director, checks, now| {
        if !args.can_be_read_again() {
            return Err(vec!["there is no file to read again: this instance was configured by flags".into()]);
        }
        let plan = Plan::from_args(&args).map_err(|problems| problems.0)?;
        check_fixed(&running, &plan).map_err(|problems| problems.0)?;
        let links: Vec<_> = director.router.links().map(|(_, link)| (link.name.clone(), link.mtu)).collect();
        let wanted = plan.rehearse_on(&links).map_err(|problems| problems.0)?;
        // May be refused by the kernel, so it comes before all that cannot be.
        let mut lines = change_processor(&running, &plan, &usual).map_err(|problems| problems.0)?;
        running.cpu = plan.cpu;
        lines.extend(bring_in_line(director, &wanted, now).map_err(|problems| problems.0)?);
        if running.health != plan.health {
            describe::note_checks(&running.health, &plan.health, &mut lines);
            checks.configure(plan.health.clone(), director, now);
            running.health = plan.health;
        }
        Ok(lines)
    })
}

/// What devices and memory depend on cannot change while packets flow.
fn check_fixed(running: &Plan, plan: &Plan) -> Result<(), Problems> {
    let mut problems = Problems::default();
    if running.links != plan.links {
        let names = |plan: &Plan| plan.links.iter().map(describe::link_text).collect::<Vec<_>>();
        let (before, after) = (names(running), names(plan));
        before.iter().filter(|link| !after.contains(link)).for_each(|link| problems.0.push(format!("- {link}")));
        after.iter().filter(|link| !before.contains(link)).for_each(|link| problems.0.push(format!("+ {link}")));
        problems.0.push("links cannot change while tapvs runs; put them back, or start tapvs again".into());
    }
    for row in settings::ROWS.iter().filter(|row| row.effect == Effect::AtStart) {
        let (before, after) = (running.settings.get(row.name), plan.settings.get(row.name));
        if let (Some(before), Some(after)) = (&before, &after)
            && before != after
        {
            let what = format!("{} {before} -> {after}: cannot change while tapvs runs; start it again", row.name);
            problems.0.push(what);
        }
    }
    let metrics = |plan: &Plan| plan.metrics.as_ref().map_or("none".into(), |at| at.value.to_string());
    if metrics(running) != metrics(plan) {
        let (before, after) = (metrics(running), metrics(plan));
        problems.0.push(format!("metrics {before} -> {after}: cannot change while tapvs runs; start it again"));
    }
    problems.none_or(())
}

/// Goes where the plan says, if that is elsewhere: what somebody else bound the process to stays otherwise.
fn change_processor(running: &Plan, plan: &Plan, usual: &Processors) -> Result<Vec<String>, Problems> {
    let Some(line) = describe::processor_text(running, plan) else { return Ok(Vec::new()) };
    plan.run_on_processor(usual)?;
    Ok(vec![line])
}

/// Does what is different. The plan was tried as a whole, so nothing is refused half-way.
fn bring_in_line(director: &mut Director, wanted: &Director, now: Instant) -> Result<Vec<String>, Problems> {
    let mut lines = Vec::new();
    let in_vain = wanted.flows.settings.without_effect(&director.flows.settings);
    for name in settings::ROWS.iter().filter(|row| row.effect != Effect::AtStart).map(|row| row.name) {
        let both = (director.flows.settings.get(name), wanted.flows.settings.get(name));
        if let (Some(before), Some(after)) = both
            && before != after
        {
            lines.push(format!("~ setting {name} {before} -> {after}"));
            director.set(name, &after).map_err(|what| Problems(vec![what]))?;
        }
    }
    lines.extend(in_vain);
    if director.router.routes != wanted.router.routes {
        let routes = |of: &Director| of.router.routes.by_neighbour().map(describe::route_text).collect::<Vec<_>>();
        describe::note_moves(&routes(director), &routes(wanted), &mut lines);
        director.router.routes = wanted.router.routes.clone();
    }
    if director.flows.services.marks() != wanted.flows.services.marks() {
        let marks =
            |of: &Director| of.flows.services.marks().rules().iter().map(describe::mark_text).collect::<Vec<_>>();
        describe::note_moves(&marks(director), &marks(wanted), &mut lines);
        director.set_marks(wanted.flows.services.marks().clone(), now);
    }
    let rules = rules_of(director);
    for command in diff(&rules, &rules_of(wanted)) {
        lines.push(describe::describe(&rules, &command));
        if let Err(refused) = director.apply(&command, now) {
            lines.push(format!("! refused: {refused}"));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use argh::FromArgs;

    use super::super::checks::Checks;
    use super::*;
    use crate::ipvsadm::{Names, dest_line, service_line};
    use crate::service::command::Command;

    /// A file that goes with the test.
    struct File(PathBuf);

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const LINK: &str = "[[link]]\nbridge = \"br0\"\naddress = \"10.0.0.2/24\"\n";
    const SERVER: &str = "[[service.server]]\nmethod = \"nat\"\n";

    /// What reloads of these texts in turn say, after a start with the first one; each must leave the director as if it
    /// had been started with the text, or as it was.
    fn reloads<const N: usize>(name: &str, first: &str, then: [&str; N]) -> [Result<Vec<String>, Vec<String>>; N] {
        let file = File(std::env::temp_dir().join(format!("tapvs-reload-{}-{name}.toml", std::process::id())));
        let path = file.0.display().to_string();
        std::fs::write(&file.0, first).unwrap();
        let args = RunArgs::from_args(&["run"], &["--config", &path]).unwrap();
        let plan = Plan::from_args(&args).unwrap();
        let mut director = plan.rehearse().unwrap();
        let mut checks = Checks::new(plan.health.clone(), 1, Instant::START);
        let mut reload = reload(args.clone(), plan, Processors::allowed());
        then.map(|text| {
            std::fs::write(&file.0, text).unwrap();
            let before = rules_of(&director);
            let said = reload(&mut director, &mut checks, Instant::START);
            let wanted =
                if said.is_ok() { rules_of(&Plan::from_args(&args).unwrap().rehearse().unwrap()) } else { before };
            assert_eq!(diff(&rules_of(&director), &wanted), []);
            said.map_err(|problems| problems.into_iter().map(|problem| problem.replace(&path, "FILE")).collect())
        })
    }

    #[test]
    fn a_reload_tells_each_change_and_a_second_one_none() {
        let first = format!(
            "{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\n{SERVER}address = \"10.0.0.21\"\n{SERVER}address = \"10.0.0.22\"\n\
             [[service]]\nudp = \"10.0.0.100:53\"\n[[mark]]\nmark = 7\ndestination = \"10.0.0.101\"\n"
        );
        let second = format!(
            "{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\nscheduler = \"rr\"\nlocal_address = \"10.0.0.30\"\n\
             {SERVER}address = \"10.0.0.21\"\nweight = 3\n{SERVER}address = \"10.0.0.23:8080\"\nupper = 9\n\
             [[service]]\nmark = 7\npersistent = 60\n[[mark]]\nmark = 8\nprotocol = \"tcp\"\nports = 80\n\
             [[route]]\nto = \"10.1.0.0/16\"\nvia = \"10.0.0.1\"\n[settings]\ndrop_entry = 1\n[timeouts]\nudp = 30\n"
        );
        let [changes, none, back] = reloads("changes", &first, [&second, &second, &first]);
        let wanted = [
            "~ setting drop_entry 0 -> 1",
            "+ route 10.1.0.0/16 via 10.0.0.1",
            "- mark 7=any/10.0.0.101/32",
            "+ mark 8=tcp/any:80-80",
            "- server 10.0.0.22:80 of tcp/10.0.0.100:80",
            "- service udp/10.0.0.100:53",
            "~ timeouts udp 300 -> 30",
            "~ service tcp/10.0.0.100:80 scheduler wlc -> rr",
            "+ local address 10.0.0.30 of tcp/10.0.0.100:80",
            "~ server 10.0.0.21:80 of tcp/10.0.0.100:80 weight 1 -> 3",
            "+ server 10.0.0.23:8080 of tcp/10.0.0.100:80 method nat weight 1 upper 9",
            "+ service fwmark/7 scheduler wlc persistent 60",
        ];
        assert_eq!(changes.unwrap(), wanted);
        assert_eq!(none.unwrap(), [""; 0]);
        assert_eq!(back.unwrap().len(), wanted.len());
    }

    #[test]
    fn every_form_of_rule_is_loaded_and_is_there_as_it_was_written() {
        let rules = "\
-A -t 10.0.0.100:80 -s wrr
-a -t 10.0.0.100:80 -r 10.0.0.11:8080 -m -w 3
-a -t 10.0.0.100:80 -r 10.0.0.12:8080 --fullnat -w 0
-A -t 10.0.0.100:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 10.0.0.100:443 -r 10.0.0.11:443 -i -w 2 --tun-type gre --tun-csum
-a -t 10.0.0.100:443 -r 10.0.0.12:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-A -u 10.0.0.100:53 -s rr -o
-a -u 10.0.0.100:53 -r 10.0.0.11:53 -i -w 0 --tun-type ipip
-A -u 10.0.0.100:5060 -s rr -p 600 --pe sip
-A --sctp-service 10.0.0.100:3868 -s lc
-A -t [2001:db8::80]:80 -s mh -p 360 -M 64 -b mh-port
-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:80 -g -w 1
-A -f 7 -s wlc -p 360
-a -f 7 -r 10.0.0.11:0 -g -w 1
-A -f 8 -6 -s rr -b flag-1,flag-3
-a -f 8 -6 -r [2001:db8::a0a0]:0 -m -w 1
";
        let file = File(std::env::temp_dir().join(format!("tapvs-rules-{}", std::process::id())));
        std::fs::write(&file.0, rules).unwrap();
        let path = file.0.display().to_string();
        let words = ["--bridge", "br0", "--address", "10.0.0.2/24", "--address", "2001:db8::2/64", "--rules", &path];
        let args = RunArgs::from_args(&["run"], &words).unwrap();
        let plan = Plan::from_args(&args).unwrap();
        let mut director = plan.rehearse().unwrap();
        assert_eq!(printed(&director), rules);

        std::fs::write(&file.0, rules.replace("-w 3", "-w 4")).unwrap();
        let mut checks = Checks::new(Vec::new(), 1, Instant::START);
        let mut reload = reload(args, plan, Processors::allowed());
        let said = reload(&mut director, &mut checks, Instant::START).unwrap();
        assert_eq!(said, ["~ server 10.0.0.11:8080 of tcp/10.0.0.100:80 weight 3 -> 4"]);
        std::fs::write(&file.0, "-A -t 10.0.0.100:80 -s nobody\n").unwrap();
        let said = reload(&mut director, &mut checks, Instant::START).unwrap_err();
        assert!(said[0].starts_with(&format!("{path}:1: unknown scheduler 'nobody'; known are rr ")), "{said:?}");
        assert_eq!(printed(&director), rules.replace("-w 3", "-w 4"));
    }

    /// The rules in the order in which they were given, as `ipvsadm -S -n` writes each.
    fn printed(director: &Director) -> String {
        let line = |rule: &Command| match rule {
            Command::AddService(key, options) => Some(service_line(*key, options, &Names::default()) + "\n"),
            Command::AddDest(key, real, options) => Some(dest_line(*key, *real, options, &Names::default()) + "\n"),
            _ => None,
        };
        rules_of(director).iter().filter_map(line).collect()
    }

    #[test]
    fn a_bad_file_changes_nothing_and_says_why() {
        let good = format!("{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\n{SERVER}address = \"10.0.0.21\"\n");
        let half = format!("{LINK}[[service]]\ntcp = \"10.0.0.101:80\"\n{SERVER}address = \"10.9.0.21\"\n");
        let [bad] = reloads("bad", &good, [&half]);
        let why = "FILE:8:11: server \"10.9.0.21\": real server 10.9.0.21 is outside every route; add a gateway, or an address in its net";
        assert_eq!(bad.unwrap_err(), [why]);
    }

    #[test]
    fn a_synchronisation_daemon_is_started_and_told_anew_and_stopped() {
        let link = format!("{LINK}tap = \"t\"\n");
        let with = |id: u8| format!("{link}[[sync]]\nrole = \"master\"\nlink = \"t\"\nsyncid = {id}\n");
        let said = reloads("sync", &link, [&with(1), &with(1), &with(2), &link]);
        let (start, stop) = ("+ master sync daemon on t", "- master sync daemon");
        assert_eq!(said.map(Result::unwrap), [vec![start], vec![], vec![stop, start], vec![stop]]);
    }

    /// The test's own thread is moved, and back.
    #[test]
    fn the_processor_changes_while_tapvs_runs_and_one_that_is_not_there_changes_nothing() {
        let on = |cpu: usize| format!("cpu = {cpu}\n{LINK}");
        let service = format!("{}[[service]]\ntcp = \"10.0.0.100:80\"\n", on(1023));
        let allowed = || format!("{:?}", Processors::allowed());
        let usual = allowed();
        let [there, same, bad, back] = reloads("cpu", LINK, [&on(0), &on(0), &service, LINK]);
        assert_eq!((there.unwrap(), same.unwrap()), (vec!["~ cpu any -> 0".to_owned()], vec![]));
        let bad = bad.unwrap_err();
        assert!(bad[0].starts_with("FILE:1:7: cpu 1023: Invalid argument; it may run on 0"), "{bad:?}");
        assert_eq!(back.unwrap(), ["~ cpu 0 -> any"]);
        assert_eq!(allowed(), usual);
    }

    #[test]
    fn what_needs_a_restart_is_refused_as_a_whole() {
        let good = format!("{LINK}[[service]]\ntcp = \"10.0.0.100:80\"\n");
        let other = good.replace("br0", "br1").replace(":80", ":81");
        let [links, flows] = reloads("restart", &good, [&other, &format!("max_flows = 7\n{good}")]);
        let link = |bridge| format!("link bridge {bridge} address 10.0.0.2/24 mac 02:74:0a:00:00:02 offload true");
        let wanted = [
            format!("- {}", link("br0")),
            format!("+ {}", link("br1")),
            "links cannot change while tapvs runs; put them back, or start tapvs again".into(),
        ];
        assert_eq!(links.unwrap_err(), wanted);
        let room = crate::io::room_for_conns();
        let wanted = format!("max_flows {room} -> 7: cannot change while tapvs runs; start it again");
        assert_eq!(flows.unwrap_err(), [wanted]);
    }
}
