//! `cargo xtask test`: all tests, or all that an ordinary user can run.

use crate::cargo::{self, Target};
use crate::{Outcome, setup};
use backup_testkit::servers::{Toolbox, is_root};

/// Test targets that run pods of Kubernetes, and so need root, have names that end so.
const PODS: &str = "_pods";

pub(crate) fn run(args: &[String]) -> Outcome {
    let toolbox = Toolbox::open()?;
    let request = Request::parse(args)?;
    let all = request.choose(cargo::targets(&toolbox)?);
    let (pods, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_pods);
    let names: Vec<_> = pods.iter().map(|t| format!("{} ({})", t.name, t.package)).collect();
    let names = names.join(", ");
    if !pods.is_empty() && !request.no_pods && !is_root() {
        let mend = "run it as root, or all other tests with `cargo xtask test --no-pods`";
        return Err(format!("these tests run pods of Kubernetes, which needs root: {names}; {mend}").into());
    }
    setup()?;
    if pods.is_empty() || !request.no_pods {
        return cargo::run(&toolbox, &request.whole());
    }
    // Where targets are chosen by name, cargo wants the examples in the documentation by themselves.
    let mut runs = vec![request.without_pods(&others)];
    if others.iter().any(|t| t.kind == "lib") {
        runs.push(request.documentation());
    }
    let failed: Vec<_> = runs.iter().filter_map(|run| cargo::run(&toolbox, run).err()).collect();
    println!("left out, because they run pods of Kubernetes: {names}");
    failed.into_iter().next().map_or(Ok(()), Err)
}

fn is_pods(target: &Target) -> bool {
    target.kind == "test" && target.name.ends_with(PODS)
}

/// Whether an argument of cargo's chooses targets.
fn is_choice(arg: &str) -> bool {
    let name = arg.split('=').next().unwrap_or(arg);
    let all = [
        "--lib",
        "--bin",
        "--bins",
        "--doc",
        "--example",
        "--examples",
        "--test",
        "--tests",
        "--all-targets",
    ];
    all.contains(&name)
}

/// Whether it chooses every test target.
fn is_all(arg: &str) -> bool {
    ["--tests", "--all-targets"].contains(&arg)
}

/// What was asked for.
struct Request<'a> {
    no_pods: bool,
    /// For cargo.
    args: Vec<&'a str>,
    /// For the tests' own programs: what comes after `--`.
    rest: Vec<&'a str>,
}

impl<'a> Request<'a> {
    fn parse(args: &'a [String]) -> Result<Self, Box<dyn std::error::Error>> {
        let all: Vec<_> = args.iter().map(String::as_str).collect();
        let (own, rest) = all.split_at(all.iter().position(|a| *a == "--").unwrap_or(all.len()));
        let args = own.iter().filter(|a| **a != "--no-pods").copied().collect();
        let request = Self { no_pods: own.contains(&"--no-pods"), args, rest: rest.to_vec() };
        match request.no_pods && request.args.iter().any(|a| is_choice(a)) {
            true => Err("--no-pods chooses the targets, and you chose some too: use one of the two".into()),
            false => Ok(request),
        }
    }

    /// The values of an option of cargo's, in each of its forms.
    fn values(&self, short: &str, long: &str) -> Vec<&'a str> {
        let next = self.args.iter().zip(self.args.iter().skip(1));
        let apart = next.filter(|(name, _)| **name == short || **name == long).map(|(_, value)| *value);
        let joined = self.args.iter().filter_map(|a| a.strip_prefix(long)?.strip_prefix('='));
        apart.chain(joined).collect()
    }

    /// Those of the workspace's targets that cargo would test.
    fn choose(&self, all: Vec<Target>) -> Vec<Target> {
        let (packages, tests) = (self.values("-p", "--package"), self.values("--test", "--test"));
        let chosen = self.args.iter().any(|a| is_choice(a));
        let is_in = |t: &Target| packages.is_empty() || packages.contains(&t.package.as_str());
        let is_named =
            |t: &Target| !chosen || tests.contains(&t.name.as_str()) || self.args.iter().any(|a| is_all(a));
        all.into_iter().filter(|t| is_in(t) && is_named(t)).collect()
    }

    /// `cargo test` as asked for.
    fn whole(&self) -> Vec<&str> {
        self.cargo_test(&[])
    }

    fn documentation(&self) -> Vec<&str> {
        self.cargo_test(&["--doc"])
    }

    /// All targets but those that run pods, by name.
    fn without_pods<'b>(&'b self, others: &'b [Target]) -> Vec<&'b str> {
        let mut chosen = Vec::new();
        for (kind, flag) in [("lib", "--lib"), ("bin", "--bins"), ("example", "--examples")] {
            chosen.extend(others.iter().any(|t| t.kind == kind).then_some(flag));
        }
        let tests = others.iter().filter(|t| t.kind == "test");
        chosen.extend(tests.flat_map(|t| ["--test", t.name.as_str()]));
        self.cargo_test(&chosen)
    }

    fn cargo_test<'b>(&'b self, targets: &[&'b str]) -> Vec<&'b str> {
        let mut all = vec!["test", "--no-fail-fast"];
        let whole = self.values("-p", "--package").is_empty();
        all.extend(whole.then_some("--workspace"));
        // A target that is chosen by name must have the features that it requires.
        let features = (whole || self.no_pods) && !self.args.contains(&"--all-features");
        all.extend(features.then_some("--all-features"));
        [&all, targets, &self.args, &self.rest].concat()
    }
}

#[cfg(test)]
mod unit {
    use super::{Request, is_pods};
    use crate::cargo::Target;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn targets() -> Vec<Target> {
        let names = [("a", "lib", "a"), ("a", "test", "x_pods"), ("a", "test", "y"), ("b", "bin", "b_pods")];
        names
            .map(|(p, k, n)| Target { package: p.to_owned(), kind: k.to_owned(), name: n.to_owned() })
            .to_vec()
    }

    #[test]
    fn without_pods_every_other_target_is_named() {
        let args = words("--no-pods word -- --no-pods");
        let request = Request::parse(&args).expect("it is right");
        let others: Vec<_> = request.choose(targets()).into_iter().filter(|t| !is_pods(t)).collect();
        let run = request.without_pods(&others).join(" ");
        let wanted = "test --no-fail-fast --workspace --all-features --lib --bins --test y word -- --no-pods";
        assert_eq!((request.no_pods, run.as_str()), (true, wanted));
        assert!(Request::parse(&words("--no-pods --test y")).is_err(), "which of the two?");
    }

    #[test]
    fn only_what_would_run_needs_root() {
        let pods = |line: &str| {
            let args = words(line);
            let request = Request::parse(&args).expect("it is right");
            request.choose(targets()).iter().filter(|t| is_pods(t)).count()
        };
        assert_eq!(["-p a", "--package=a", "--test x_pods", "--tests", "word"].map(pods), [1; 5]);
        assert_eq!(["-p b", "--test y", "--lib", "--package=b"].map(pods), [0; 4]);
    }
}
