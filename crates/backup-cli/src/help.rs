//! Examples that `--help` shows. A test reads each of them as a command line.

pub(crate) const ALL: &str = "\
Examples:
  ha-backup init                     a configuration to begin with, and the repository
  ha-backup check                    are all components and stores reached?
  ha-backup backup                   a recovery point of everything
  ha-backup drill                    restore it for real, into a throwaway place
  ha-backup restore latest all       show what would be done, ask, do it

Exit codes: 0 good, 1 failed, 2 usage or configuration, 3 finished with problems, 10 no such session or store, \
11 locked, 12 wrong key, 130 interrupted; `ha-backup explain CODE` says more.";

pub(crate) const INIT: &str = "\
Examples:
  ha-backup init                              ./ha-backup.toml, and a store beside it
  ha-backup init --wizard                     asks first
  ha-backup --config /etc/ha-backup/config.toml init --detect 10.0.0.1 10.0.0.2";

pub(crate) const BACKUP: &str = "\
Examples:
  ha-backup backup                            the first job, its type by the calendar
  ha-backup backup weekly --job full          another job, of this type
  ha-backup backup --component etcd           a part of the job only
  ha-backup backup --dry-run                  what would be done";

pub(crate) const RUN: &str = "\
Examples:
  ha-backup -q run full                       from cron: silent when it ends well
  ha-backup run verify --wait";

pub(crate) const LIST: &str = "\
Examples:
  ha-backup list
  ha-backup list --json                       for scripts
  ha-backup list --removed                    what retention removed and is still to be had";

pub(crate) const SHOW: &str = "\
Examples:
  ha-backup show                              the newest good session
  ha-backup show backup_20260108_020000";

pub(crate) const VERIFY: &str = "\
Examples:
  ha-backup verify                            read the newest session back
  ha-backup verify --all --level content      all of them, as deep as can be without restoring
  ha-backup verify latest --store s3          the copy in one store";

pub(crate) const DRILL: &str = "\
Examples:
  ha-backup drill                             all components of the newest session
  ha-backup drill latest postgres --junit drill.xml
  ha-backup drill --check drill-20260108_020000.json";

pub(crate) const RESTORE: &str = "\
Examples:
  ha-backup restore latest all --plan         what would be done; changes nothing
  ha-backup restore latest postgres           shows the plan and asks
  ha-backup restore latest etcd --yes --set data_dir=/var/lib/etcd-restored
  ha-backup restore backup_20260108_020000 all --yes";

pub(crate) const EXTRACT: &str = "\
Examples:
  ha-backup extract latest --to /tmp/plain            the files as any tool reads them
  ha-backup extract latest postgres --to /tmp/plain";

pub(crate) const COPY: &str = "\
Examples:
  ha-backup copy --to s3                      the newest session
  ha-backup copy --all --to s3                all that the store lacks and would keep";

pub(crate) const CLEANUP: &str = "\
Examples:
  ha-backup cleanup --dry-run                 what is kept and what would go, and why
  ha-backup cleanup";

pub(crate) const PIN: &str = "\
Examples:
  ha-backup pin latest --reason 'before the upgrade'
  ha-backup unpin latest";

pub(crate) const HEALTH: &str = "\
Examples:
  ha-backup health                            one line for each check; exit code 0 or 3
  ha-backup health --nagios                   as a monitoring plugin";

pub(crate) const REPORT: &str = "\
Examples:
  ha-backup report                            the newest good session
  ha-backup report latest --html              a page; its output goes to a file
  ha-backup report --period month             the last whole month, for auditors
  ha-backup report --period 2026-Q1 --csv     its sessions, for a spreadsheet";

pub(crate) const STATUS: &str = "\
Examples:
  ha-backup status
  ha-backup status --watch 30                 again every 30 seconds, until Ctrl-C";

pub(crate) const METRICS: &str = "\
Examples:
  ha-backup metrics
  ha-backup metrics --textfile /var/lib/prometheus/node-exporter/ha_backup.prom";

pub(crate) const DAEMON: &str = "\
Examples:
  ha-backup daemon                            until SIGTERM; SIGHUP reads the configuration again
  ha-backup daemon --grace 30m";

pub(crate) const IMPORT: &str = "\
Examples:
  ha-backup import /opt/crm-backups --dry-run
  ha-backup import /opt/crm-backups --job full --time-zone Europe/Berlin";

pub(crate) const SERVE: &str = "\
Examples:
  ha-backup serve                             for a browser on this host: http://127.0.0.1:8080
  ha-backup serve --listen 127.0.0.1:9000
From elsewhere: `ssh -L 8080:127.0.0.1:8080 backup-host`, and then http://127.0.0.1:8080.";

#[cfg(feature = "encryption")]
pub(crate) const KEYGEN: &str = "\
Examples:
  ha-backup keygen --output key.txt --passphrase";

#[cfg(feature = "encryption")]
pub(crate) const REWRAP: &str = "\
Examples:
  ha-backup rewrap --all --identity old-key.txt       after the recipients were changed";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  ha-backup completions bash          its output goes to /etc/bash_completion.d/ha-backup
  ha-backup completions zsh           its output goes to a folder of $fpath, as _ha-backup";

pub(crate) const MAN: &str = "\
Examples:
  ha-backup man restore
  ha-backup man --to /usr/share/man/man1";

pub(crate) const CONFIG: &str = "\
Examples:
  ha-backup config check
  ha-backup config show
  ha-backup config schema             its output is for editors";

pub(crate) const EXPLAIN: &str = "\
Examples:
  ha-backup explain 12
  ha-backup explain NoSpace";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use crate::args::Cli;

    #[test]
    fn every_example_can_be_typed() {
        let command = Cli::command();
        let helps = std::iter::once(&command).chain(command.get_subcommands());
        let helps = helps.filter_map(|command| command.get_after_help().map(ToString::to_string));
        let mut tried = 0;
        for line in helps.flat_map(|help| help.lines().map(str::to_owned).collect::<Vec<_>>()) {
            let Some(line) = line.strip_prefix("  ha-backup ") else { continue };
            // Comments are two spaces away.
            let words = line.split("  ").next().unwrap_or_default().replace("'before the upgrade'", "reason");
            let parsed = Cli::try_parse_from(std::iter::once("ha-backup").chain(words.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            tried += 1;
        }
        assert!(tried > 30, "{tried}");
    }

    /// Lines of documentation that are typed into a shell.
    fn documented() -> Vec<(String, String)> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut pages = vec![root.join("README.md")];
        pages.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
        let mut found = Vec::new();
        for page in pages.into_iter().filter(|page| page.extension().is_some_and(|e| e == "md")) {
            let text = std::fs::read_to_string(&page).unwrap();
            let name = page.file_name().unwrap().to_string_lossy().into_owned();
            let typed = |line: &str| {
                let line = line.trim();
                let line = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")).unwrap_or(line);
                line.strip_prefix("ha-backup ").map(str::to_owned)
            };
            let mut inside = None;
            for line in text.lines() {
                match line.trim().strip_prefix("```") {
                    Some(language) => inside = inside.is_none().then_some(language),
                    None if matches!(inside, Some("console" | "sh" | "")) => {
                        found.extend(typed(line).map(|line| (name.clone(), line)))
                    }
                    None => {}
                }
            }
        }
        found
    }

    #[test]
    fn every_documented_command_can_be_typed() {
        let documented = documented();
        assert!(documented.len() > 60, "{}", documented.len());
        for (page, line) in documented {
            // What follows is a comment, another program or a file.
            let end = ["  #", " | ", " > ", " && "].iter().filter_map(|mark| line.find(mark)).min();
            let line = line[..end.unwrap_or(line.len())].trim();
            let words = shell_words(line);
            let parsed = Cli::try_parse_from(std::iter::once("ha-backup".to_owned()).chain(words));
            assert!(parsed.is_ok(), "{page}: {line}: {}", parsed.unwrap_err());
        }
    }

    /// Words as a shell sees them, as far as documentation goes.
    fn shell_words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars() {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                (None, ' ') => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
                _ => word.push(c),
            }
        }
        words.extend(Some(word).filter(|word| !word.is_empty()));
        words
    }
}
