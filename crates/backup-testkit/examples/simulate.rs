//! `cargo xtask simulate`: random histories, as many as wanted; those that break something are printed.

use std::{process::ExitCode, time::Instant};

use backup_testkit::suites::simulation::{Outcome, simulate, simulate_all};

const USAGE: &str =
    "usage: cargo xtask simulate [--seeds N] [--first N] | --seed N (one, with everything that happened)";
/// So many are tried between two signs of life.
const BATCH: u64 = 10_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mut first, mut seeds, mut one) = (0, 2000, None);
    for pair in args.chunks(2) {
        match (pair[0].as_str(), pair.get(1).and_then(|number| number.parse().ok())) {
            ("--first", Some(number)) => first = number,
            ("--seeds", Some(number)) => seeds = number,
            ("--seed", Some(number)) => one = Some(number),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if let Some(seed) = one {
        return show(&simulate(seed));
    }
    let begun = Instant::now();
    let mut broken = Vec::new();
    for from in (first..first + seeds).step_by(BATCH as usize) {
        let to = (first + seeds).min(from + BATCH);
        broken.extend(simulate_all(from..to));
        eprintln!("seeds {first} to {}: {} broke something ({:.0?})", to - 1, broken.len(), begun.elapsed());
    }
    let Some(outcome) = broken.first() else { return ExitCode::SUCCESS };
    let seeds: Vec<u64> = broken.iter().map(|outcome| outcome.seed).collect();
    println!("broken: {seeds:?}; the first of them:");
    show(outcome)
}

fn show(outcome: &Outcome) -> ExitCode {
    println!("{}\nseed {}:", outcome.trace.text(), outcome.seed);
    for violation in &outcome.broken {
        println!("  {violation}");
    }
    println!("again: cargo xtask simulate --seed {}", outcome.seed);
    if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
