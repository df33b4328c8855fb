//! The shell scripts that are run in containers: what `sh`, `find`, `tar`, `sha256sum` and `stat` of Debian, of busybox and of
//! anything between them understand.
//!
//! Names of files never become part of a script but as quoted words, and come back ended by NUL.

use super::wanted::{OURS, Root, Wanted};

/// How files are read where a place's programs can do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// GNU tar: everything, extended attributes too.
    GnuTar,
    /// Any other tar, mostly busybox's: no extended attributes.
    PlainTar,
    /// `cat` and `stat`: neither extended attributes nor hard links.
    Cat,
}

impl Method {
    /// As it stands in the manifest.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GnuTar => "tar",
            Self::PlainTar => "plain tar",
            Self::Cat => "cat",
        }
    }
}

/// Which of a tree's files are read.
#[derive(Clone, Debug)]
pub(super) enum Take<'a> {
    /// All that are wanted.
    Tree(&'a Wanted),
    /// These, by their paths below the place's root.
    Names(&'a [String]),
}

/// Says what a place has: a line each. The first line is always `sh`.
pub(super) const PROBE: &str = r#"echo sh
for p in find tar cat stat sha256sum readlink mv mkdir rm; do command -v "$p" >/dev/null 2>&1 && echo "$p"; done
u=$(id -u 2>/dev/null) && echo "uid $u"
case "$(find --version 2>/dev/null)" in *GNU*) echo gnu find;; esac
case "$(tar --version 2>/dev/null)" in
*GNU*) echo gnu tar;;
*) tar -c -f - --no-recursion /. >/dev/null 2>&1 && echo plain tar;;
esac
cd "$0" || exit 3
for f in "$@"; do [ -d "./$f/." ] && printf 'folder %s\n' "$f"; done
exit 0"#;

/// The list of files with their hashes, as [`super::listing`] reads it.
pub(super) fn list(base: &str, take: &Take<'_>, gnu_find: bool) -> String {
    const HASH: &str = r#"sh -c 'h=$(sha256sum "$@"; printf .); printf "H%s\0" "$h"' sh {} +"#;
    const SIZES: &str = r#"sh -c 'printf "N%s\0" "$@"; s=$(stat -c "%s %Y %n" "$@"; printf .); h=$(sha256sum "$@"; printf .); printf "S%s\0H%s\0" "$s" "$h"' sh {} +"#;
    const LINKS: &str = r#"sh -c 'for f; do printf "L%s\0" "$f"; t=$(readlink -n "$f"; printf .); printf "%s\0" "${t%.}"; done' sh {} +"#;
    let whole = matches!(take, Take::Tree(wanted) if wanted.is_whole());
    let mut script = begin(base);
    for find in finds(take) {
        if gnu_find {
            let folders = if whole { r"-type d -printf 'D%p\0' -o " } else { "" };
            let others = if whole { r" -o ! -type d -printf 'O%p\0'" } else { "" };
            let select = &find.select;
            script += &format!(
                r"{} \( {folders}{select} \( -type l -printf 'L%p\0%l\0' -o -type f -printf 'F%s %T@ %p\0' -exec {HASH}{others} \) \) || r=$?
",
                find.head
            );
            continue;
        }
        // Busybox runs `-exec +` only outside of parentheses, and only one of them.
        let mut run = |test: &str, action: &str| {
            script += &format!("{} {} {test} -exec {action} || r=$?\n", find.head, find.select);
        };
        if whole {
            run("-type d", r"printf 'D%s\0' {} +");
            run("! -type d ! -type f ! -type l", r"printf 'O%s\0' {} +");
        }
        run("-type l", LINKS);
        run("-type f", SIZES);
    }
    script + "printf 'E%s\\0' $r\n"
}

/// The archive of the same files; of a tree also the folders, each before what is in it.
pub(super) fn archive(base: &str, take: &Take<'_>, method: Method, nonce: &str) -> String {
    const GNU: &str = "tar -c -f - -b 128 --format=posix --pax-option=delete=atime,delete=ctime --xattrs \
                       --numeric-owner --no-recursion --null --no-unquote -T -";
    const PLAIN: &str = "tar -c -f - --no-recursion {} +";
    const FRAMES: &str = r#"sh -c 's=$(stat -c "%f %u %g %Y %y %n" "$@"; printf .); printf "B%s\0" "$s"
for f; do
if [ -L "$f" ]; then printf "L%s\0" "$f"; readlink -n "$f"; printf %s "$0"
elif [ -d "$f" ]; then printf "D%s\0" "$f"
elif [ -f "$f" ]; then printf "F%s\0" "$f"; cat "$f"; printf %s "$0"
fi; done'"#;
    let mut script = begin(base);
    let action = match method {
        Method::GnuTar => "-print0".to_owned(),
        Method::PlainTar => format!("-exec {PLAIN}"),
        Method::Cat => format!("-exec {FRAMES} {nonce} {{}} +"),
    };
    if method == Method::GnuTar {
        script += "{\n";
    }
    for find in finds(take) {
        let folders = if matches!(take, Take::Tree(_)) { "-type d -o " } else { "" };
        script += &format!(
            r"{} \( {folders}{} \( -type l -o -type f \) \) {action} || r=$?
",
            find.head, find.select
        );
    }
    script += &match method {
        Method::GnuTar => format!("}} | {GNU}\n"),
        Method::PlainTar => "exit $r\n".to_owned(),
        Method::Cat => "printf 'E%s\\0' $r\nexit $r\n".to_owned(),
    };
    script
}

/// Begins a script in the place's root. What `find` says is English, and names are bytes.
pub(super) fn begin(base: &str) -> String {
    format!("export LC_ALL=C\nr=0\ncd {} || exit 90\n", quote(base))
}

/// The beginning of a `find`, and the names that it selects ("" for all).
struct Find {
    head: String,
    select: String,
}

fn finds(take: &Take<'_>) -> Vec<Find> {
    match take {
        Take::Tree(wanted) => wanted.roots.iter().map(|root| find_in(root, wanted)).collect(),
        Take::Names(names) => {
            let names: Vec<String> = names.iter().map(|name| quote(&format!("./{name}"))).collect();
            vec![Find { head: format!("find {} -prune", names.join(" ")), select: String::new() }]
        }
    }
}

/// A folder's own name is `.` here, so that no pattern matches it; and a link that stands for it is followed.
fn find_in(root: &Root, wanted: &Wanted) -> Find {
    let start = start(&root.path);
    let ours = format!("{OURS}*");
    let names = wanted.exclude.iter().chain([&ours]).map(|name| format!("-name {}", quote(name)));
    let apart = root.apart.iter().map(|path| {
        let below = path.strip_prefix(&root.path).unwrap_or(path).trim_start_matches('/');
        format!("-path {}", quote(&format!("{}/{}", escape(&start), escape(below))))
    });
    let pruned: Vec<String> = names.chain(apart).collect();
    let selected: Vec<String> = wanted.include.iter().map(|name| format!("-name {}", quote(name))).collect();
    let select =
        if selected.is_empty() { String::new() } else { format!(r"\( {} \)", selected.join(" -o ")) };
    let head = format!(r"find {} -xdev ! -name . \( {} \) -prune -o", quote(&start), pruned.join(" -o "));
    Find { head, select }
}

fn start(path: &str) -> String {
    if path.is_empty() { "./.".to_owned() } else { format!("./{path}/.") }
}

/// A word of the shell that stands for `text` and nothing else.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A pattern that matches `text` only.
fn escape(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_patterns_stand_for_themselves() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(escape("a*[b]?\\"), r"a\*\[b\]\?\\");
    }

    #[test]
    fn what_is_mounted_in_a_root_is_not_looked_into() {
        let root = Root { path: "app".into(), apart: vec!["app/da*ta".into()] };
        let wanted = Wanted {
            roots: vec![root],
            include: vec!["*.json".into()],
            exclude: vec!["node_modules".into()],
        };
        let script = list("/", &Take::Tree(&wanted), true);
        assert!(
            script.contains(
                r"find './app/.' -xdev ! -name . \( -name 'node_modules' -o -name '.ha-backup-*' -o -path './app/./da\*ta' \) -prune -o"
            ),
            "{script}"
        );
    }
}
