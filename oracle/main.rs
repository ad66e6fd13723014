//! Replays recordings of a kernel IPVS against this director: `scripts/oracle DIR`.
//!
//! DIR holds any of `packets/` (frames), `sched/GROUP/` (decisions) and `ipvsadm-cli/` (command lines). Prints how many
//! cases agree, then the first difference of each that does not; exits 0 only if all agree. With `--program COUNT` before DIR
//! every frame is given to the program of the fast path too, where it may be loaded: what it takes, and at least so many
//! frames, it must make as the director does. Knows no case by name.

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
use tapvs::inside::testing::Shadow;

/// Of every case of frames and decisions.
const LINKS: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [commands::WORKER, room] => commands::work(room).map(|()| true),
        [dir] => replay(Path::new(dir), None),
        ["--program", count, dir] => count
            .parse()
            .map_err(|_| format!("--program {count}: not a number of frames"))
            .and_then(|count| replay(Path::new(dir), Shadow::new(LINKS).map(|shadow| (shadow, count)))),
        _ => Err("usage: oracle [--program COUNT] DIR, where DIR holds packets/, sched/ or ipvsadm-cli/".into()),
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
fn replay(dir: &Path, program: Option<(Shadow, usize)>) -> Result<bool, String> {
    let shadow = program.as_ref().map(|(shadow, _)| shadow);
    let mut outcomes = Vec::new();
    if dir.join("packets").is_dir() {
        let cases = run_all(&dir.join("packets"), "packets", shadow, packets::replay)?;
        println!("packets: {} of {} cases agree", agreeing(&cases), cases.len());
        outcomes.extend(cases);
    }
    if dir.join("sched").is_dir() {
        for group in case::entries(&dir.join("sched"))?.into_iter().filter(|path| path.is_dir()) {
            let name = format!("sched/{}", case::stem(&group));
            let cases = run_all(&group, &name, shadow, traces::replay)?;
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
    let taken: usize = outcomes.iter().map(|case| case.by_program).sum();
    let is_enough = program.is_none_or(|(_, least)| {
        println!("fast path: {taken} frames taken by its program, of {least} at least");
        taken >= least
    });
    Ok(is_enough && agreeing(&outcomes) == outcomes.len())
}

fn agreeing(cases: &[Outcome]) -> usize {
    cases.iter().filter(|case| case.difference.is_none()).count()
}

fn run_all(
    dir: &Path,
    group: &str,
    shadow: Option<&Shadow>,
    replay: fn(&[serde_json::Value], Option<&Shadow>) -> Result<Outcome, String>,
) -> Result<Vec<Outcome>, String> {
    let files = case::entries(dir)?.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"));
    files
        .map(|path| {
            let name = format!("{group}/{}", case::stem(&path));
            let lines = case::read(&path)?;
            let outcome = replay(&lines, shadow).map_err(|error| format!("{name}: {error}"))?;
            Ok(Outcome { name, ..outcome })
        })
        .collect()
}
