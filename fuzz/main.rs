//! Fuzzing on the command line: `scripts/fuzz TARGET SECONDS [SEED]`, `scripts/fuzz TARGET FILE`.
//!
//! Inputs are made from a seed, so that a run can be repeated; the targets are in `tapvs::inside::testing::fuzz`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tapvs::inside::testing::fuzz::{Fuzzer, TARGETS, Target};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let known = |name: &str| TARGETS.iter().find(|target| target.name == name);
    let done = match words[..] {
        [name, what] => known(name).map(|target| run(target, what, "1")),
        [name, seconds, seed] => known(name).map(|target| run(target, seconds, seed)),
        _ => None,
    };
    match done {
        Some(Ok(said)) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Some(Err(what)) => {
            eprintln!("fuzz: {what}");
            ExitCode::FAILURE
        }
        None => {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("usage: fuzz TARGET SECONDS [SEED], or fuzz TARGET FILE; targets: {}", names.join(" "));
            ExitCode::from(2)
        }
    }
}

fn run(target: &'static Target, what: &str, seed: &str) -> Result<String, String> {
    match (what.parse(), seed.parse()) {
        (Ok(seconds), Ok(seed)) => search(target, Duration::from_secs(seconds), seed),
        (Err(_), _) => replay(target, Path::new(what)),
        (Ok(_), Err(_)) => Err(format!("seed '{seed}' is not a number")),
    }
}

fn replay(target: &Target, path: &Path) -> Result<String, String> {
    let input = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    target.check(&input).map(|place| format!("{}: {place}", path.display()))
}

fn search(target: &'static Target, time: Duration, seed: u64) -> Result<String, String> {
    let began = Instant::now();
    let mut fuzzer = Fuzzer::new(target, regressions(target.name), seed);
    let mut inputs = 0u64;
    let mut outcome = fuzzer.begin();
    while outcome.is_ok() && began.elapsed() < time {
        outcome = fuzzer.step();
        inputs += 1;
    }
    match outcome {
        Ok(()) => Ok(format!("{}: {inputs} inputs, {} places, nothing broken", target.name, fuzzer.places())),
        Err(broken) => {
            let path = PathBuf::from(format!("fuzz/found-{}-{seed}-{inputs}", target.name));
            std::fs::write(&path, &broken.input).map_err(|error| format!("{}: {error}", path.display()))?;
            let path = path.display();
            let (name, what) = (target.name, broken.what);
            Err(format!(
                "{name}: {what}\n{path} has the input; once mended, it belongs under a name that says what broke, in fuzz/regress/{name}"
            ))
        }
    }
}

/// Inputs that broke a promise once are a good beginning.
fn regressions(name: &str) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(format!("fuzz/regress/{name}")).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = files.map(|file| file.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}
