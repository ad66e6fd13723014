//! Replays recordings of a kernel IPVS against this director: `scripts/oracle DIR`.
//!
//! DIR holds any of `packets/` (frames), `sched/GROUP/` (decisions) and `ipvsadm-cli/` (command lines). Prints how many
//! cases agree, then the first difference of each that does not; exits 0 only if all agree. Knows no case by name.

mod build;
mod case;
mod commands;
mod describe;
mod lab;
mod packets;
mod traces;

use std::path::Path;
use std::process::ExitCode;

use case::Outcome;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [commands::WORKER, room] => commands::work(room).map(|()| true),
        [dir] => replay(Path::new(dir)),
        _ => Err("usage: oracle DIR, where DIR holds packets/, sched/ or ipvsadm-cli/".into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("oracle: {sentence}");
            ExitCode::from(2)
        }
    }
}

/// True if every case agreed.
fn replay(dir: &Path) -> Result<bool, String> {
    let mut outcomes = Vec::new();
    if dir.join("packets").is_dir() {
        let cases = run_all(&dir.join("packets"), "packets", packets::replay)?;
        println!("packets: {} of {} cases agree", agreeing(&cases), cases.len());
        outcomes.extend(cases);
    }
    if dir.join("sched").is_dir() {
        for group in case::entries(&dir.join("sched"))?.into_iter().filter(|path| path.is_dir()) {
            let name = format!("sched/{}", case::stem(&group));
            let cases = run_all(&group, &name, traces::replay)?;
            let right: usize = cases.iter().map(|case| case.decisions_right).sum();
            let all: usize = cases.iter().map(|case| case.decisions).sum();
            println!("{name}: {} of {} cases agree, {right} of {all} decisions", agreeing(&cases), cases.len());
            outcomes.extend(cases);
        }
    }
    if dir.join("ipvsadm-cli").is_dir() {
        let cases = commands::replay(&dir.join("ipvsadm-cli"))?;
        println!("ipvsadm-cli: {} of {} cases agree", agreeing(&cases), cases.len());
        outcomes.extend(cases);
    }
    if outcomes.is_empty() {
        return Err(format!("{}: no recordings there; expected packets/, sched/ or ipvsadm-cli/", dir.display()));
    }
    for case in &outcomes {
        if let Some(difference) = &case.difference {
            println!("{}: {difference}", case.name);
        }
    }
    Ok(agreeing(&outcomes) == outcomes.len())
}

fn agreeing(cases: &[Outcome]) -> usize {
    cases.iter().filter(|case| case.difference.is_none()).count()
}

fn run_all(
    dir: &Path,
    group: &str,
    replay: fn(&[serde_json::Value]) -> Result<Outcome, String>,
) -> Result<Vec<Outcome>, String> {
    let files = case::entries(dir)?.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"));
    files
        .map(|path| {
            let name = format!("{group}/{}", case::stem(&path));
            let lines = case::read(&path)?;
            let outcome = replay(&lines).map_err(|error| format!("{name}: {error}"))?;
            Ok(Outcome { name, ..outcome })
        })
        .collect()
}
