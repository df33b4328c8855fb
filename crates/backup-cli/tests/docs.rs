//! The documentation holds: links lead somewhere, the tutorial can be followed to its end.

mod support;

use std::path::{Path, PathBuf};

use support::Bench;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every page: those at the root, in docs/ and beside what is deployed.
fn pages() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md"].map(|name| root().join(name)).into();
    for folder in ["docs", "deploy", "examples"] {
        walk(&root().join(folder), &mut found);
    }
    found
}

/// What a heading is called in links: GitHub's rule.
fn anchor(heading: &str) -> String {
    let plain = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Targets of `[text](target)` outside blocks of code.
fn links(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        }
        if inside {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            found.extend(rest.find(')').map(|end| rest[..end].to_owned()));
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            tried += 1;
            let (path, heading) = link.split_once('#').map_or((link.as_str(), None), |(p, h)| (p, Some(h)));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let found = match heading {
                _ if !target.exists() => false,
                None => true,
                Some(heading) => {
                    let text = std::fs::read_to_string(&target).unwrap_or_default();
                    text.lines().any(|line| line.starts_with('#') && anchor(line) == heading)
                }
            };
            if !found {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(tried > 60, "{tried}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_can_be_found_from_the_readme() {
    let mut seen = vec![root().join("README.md")];
    let mut next = 0;
    while let Some(page) = seen.get(next).cloned() {
        next += 1;
        for link in links(&std::fs::read_to_string(&page).unwrap()) {
            let path = page.parent().unwrap().join(link.split('#').next().unwrap());
            let Ok(path) = path.canonicalize() else { continue };
            if path.extension().is_some_and(|extension| extension == "md") && !seen.contains(&path) {
                seen.push(path);
            }
        }
    }
    let docs = root().join("docs");
    let lost: Vec<PathBuf> =
        pages().into_iter().filter(|page| page.parent() == Some(&docs) && !seen.contains(page)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// The steps of docs/tutorial.md, as they stand there: each block of `sh` is run by a shell, each of `toml` is the
/// configuration from then on.
#[test]
fn the_tutorial_is_followed_to_a_proven_restore() {
    let bench = Bench::empty();
    std::fs::create_dir(bench.path("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ha-backup"), bench.path("bin/ha-backup")).unwrap();
    let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
    let text = std::fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, body)), None) => body.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    let mut steps = 0;
    for (language, body) in blocks.into_iter().filter(|(language, _)| *language == "sh") {
        steps += 1;
        let output = std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", &body])
            .current_dir(bench.path(""))
            .env("PATH", &path)
            .env("HOME", bench.path(""))
            .env_remove("HA_BACKUP_CONFIG")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{language}: {body}\n{said}\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    assert!(steps >= 8, "{steps}");
    let restored = std::fs::read_to_string(bench.path("restored/notes/today.txt")).unwrap();
    assert_eq!(restored, "worth keeping\n");
}
