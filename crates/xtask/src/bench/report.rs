//! Medians and ratios.

use super::Measured;

/// Runs by case, in the order of their first appearance.
#[derive(Default)]
pub(super) struct Table {
    cases: Vec<(String, Vec<Measured>)>,
}

impl Table {
    /// Adds a run of a case.
    pub(super) fn add(&mut self, case: &str, run: &Measured) {
        match self.cases.iter_mut().find(|(name, _)| name == case) {
            Some((_, runs)) => runs.push(run.clone()),
            None => self.cases.push((case.to_owned(), vec![run.clone()])),
        }
    }

    /// Prints every case, then the ratios that the project holds itself to.
    pub(super) fn print(&self) {
        println!(
            "\n{:<42} {:>8} {:>16} {:>7} {:>9} {:>9}",
            "case", "wall s", "(min-max)", "CPU s", "peak MiB", "MiB out"
        );
        for (name, runs) in &self.cases {
            let walls: Vec<f64> = runs.iter().map(|run| run.wall).collect();
            let (least, most) = walls.iter().fold((f64::MAX, 0.0_f64), |(a, b), w| (a.min(*w), b.max(*w)));
            println!(
                "{name:<42} {:>8.2} {:>16} {:>7.2} {:>9.1} {:>9.1}",
                median(walls),
                format!("({least:.2}-{most:.2})"),
                median(runs.iter().map(|run| run.cpu).collect()),
                median(runs.iter().map(|run| run.peak_mib).collect()),
                median(runs.iter().map(|run| run.bytes as f64 / 1_048_576.0).collect()),
            );
        }
        println!("\nratios: medians of each round's ratio");
        let wall = |run: &Measured| run.wall;
        self.ratio(
            "whole, gzip / scripts, wall (goal 0.25)",
            "ha-backup: whole, gzip",
            "scripts: whole",
            wall,
        );
        self.ratio("whole, gzip / scripts, size", "ha-backup: whole, gzip", "scripts: whole", |run| {
            run.bytes as f64
        });
        self.ratio(
            "whole, zstd / scripts, wall (goal 0.15)",
            "ha-backup: whole, zstd",
            "scripts: whole",
            wall,
        );
        let (ours, peer) = ("ha-backup: postgres, zstd", "pg_dumpall | zstd -T2 -3");
        self.ratio("postgres, zstd / pg_dumpall | zstd -T2 -3, wall (goal 1.0)", ours, peer, wall);
        self.ratio("postgres, zstd / pg_dumpall | zstd -T2 -3, size", ours, peer, |run| run.bytes as f64);
        self.sum_ratio();
        self.ratio(
            "verify --level checksum / sha256sum, speed (goal 0.85)",
            "sha256sum of the same files",
            "ha-backup: verify --level checksum",
            wall,
        );
    }

    fn runs(&self, case: &str) -> &[Measured] {
        self.cases.iter().find(|(name, _)| name == case).map(|(_, runs)| runs.as_slice()).unwrap_or_default()
    }

    fn ratio(&self, title: &str, ours: &str, theirs: &str, of: fn(&Measured) -> f64) {
        let pairs = self.runs(ours).iter().zip(self.runs(theirs));
        print_ratio(title, pairs.map(|(ours, theirs)| of(ours) / of(theirs)).collect());
    }

    /// Our CPU against pg_dump's and the codec's alone.
    fn sum_ratio(&self) {
        let alone = self.runs("pg_dump alone").iter().zip(self.runs("zstd -T2 -3 alone"));
        let pairs = self.runs("ha-backup: postgres, zstd").iter().zip(alone);
        let ratios = pairs.map(|(ours, (dump, codec))| ours.cpu / (dump.cpu + codec.cpu)).collect();
        print_ratio("postgres, zstd / (pg_dump + zstd alone), CPU (goal 1.15)", ratios);
    }
}

fn print_ratio(title: &str, ratios: Vec<f64>) {
    println!("  {title:<62} {:.3}", median(ratios));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
