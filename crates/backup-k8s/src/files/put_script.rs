//! The shell scripts that bring files into a place: make the folder ready, take what is sent into a staging folder, move it into
//! place by renaming.

use super::{
    put::Existing,
    script::{self, Method, Take, begin, quote},
    wanted::{OURS, Root, Wanted},
};

/// Where files are brought to.
#[derive(Clone, Debug)]
pub(super) struct Into<'a> {
    /// The site's own root.
    pub(super) base: &'a str,
    /// The folder below it.
    pub(super) folder: &'a str,
    /// Tells this restore from all others.
    pub(super) stamp: &'a str,
}

impl Into<'_> {
    fn root(&self) -> String {
        format!("{}/{}", self.base.trim_end_matches('/'), self.folder)
    }

    /// The folder in the target that what is brought is staged in.
    pub(super) fn staging(&self) -> String {
        format!("{OURS}restore-{}", self.stamp)
    }

    /// The folder in the target that what is replaced is kept in.
    pub(super) fn aside(&self) -> String {
        format!("{OURS}before-{}", self.stamp)
    }

    /// Makes the folder, and gives it `owner` (UID, GID, mode) if there is nothing in it.
    pub(super) fn prepare(&self, owner: Option<(u64, u64, u32)>) -> String {
        let root = quote(&self.root());
        let dress = owner.map_or(String::new(), |(uid, gid, mode)| {
            format!("chown {uid}:{gid} . 2>/dev/null; chmod {mode:o} . 2>/dev/null\n")
        });
        format!(
            "export LC_ALL=C\nmkdir -p {root} || exit 90\ncd {root} || exit 90\n\
             for n in * .[!.]* ..?*; do [ -e \"$n\" ] || [ -L \"$n\" ] || continue; case $n in {OURS}*) ;; *) exit 0;; esac; done\n\
             {dress}exit 0\n"
        )
    }

    /// Begins a new staging folder and stands in it.
    fn stage(&self) -> String {
        let staging = quote(&self.staging());
        format!(
            "{}rm -rf {staging}\nmkdir {staging} && chmod 700 {staging} && cd {staging} || exit 91\n",
            begin(&self.root())
        )
    }

    /// Takes a tar from standard input into a new staging folder and lists what came. The list is printed after the input has
    /// ended: as long as it is to come, the runtime keeps standard input open.
    pub(super) fn receive(&self, method: Method, gnu_find: bool) -> String {
        let tar = match method {
            Method::GnuTar => {
                "tar -x -f - -p --numeric-owner --delay-directory-restore --xattrs --xattrs-include='*'"
            }
            Method::PlainTar | Method::Cat => "tar -x -f - -p",
        };
        format!("{}{tar}\nc=$?\n[ $c = 0 ] || exit $c\n{}", self.stage(), self.list_staged(gnu_find))
    }

    /// A new staging folder for files that are brought one by one.
    pub(super) fn receive_nothing(&self) -> String {
        self.stage()
    }

    /// Takes one file's content from standard input.
    pub(super) fn receive_file(&self, path: &str, metadata: &Metadata) -> String {
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| {
            format!("mkdir -p {} || exit 92\n", quote(&format!("./{folder}")))
        });
        let file = quote(&format!("./{path}"));
        // Something must come after `cat`, or the runtime closes its input early.
        format!("{}{folder}cat >{file} || exit 93\n{}printf done\n", self.staged(), metadata.dress(&file))
    }

    /// Makes one symbolic link or folder.
    pub(super) fn make(&self, path: &str, link: Option<&str>, metadata: &Metadata) -> String {
        let quoted = quote(&format!("./{path}"));
        let made = match link {
            Some(text) => {
                let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| {
                    format!("mkdir -p {} || exit 92\n", quote(&format!("./{folder}")))
                });
                format!("{folder}ln -s -- {} {quoted} || exit 93\n", quote(text))
            }
            None => format!("mkdir -p {quoted} || exit 93\n{}", metadata.dress(&quoted)),
        };
        format!("{}{made}printf done\n", self.staged())
    }

    fn staged(&self) -> String {
        begin(&format!("{}/{}", self.root(), self.staging()))
    }

    /// Lists what is staged.
    pub(super) fn list_staged(&self, gnu_find: bool) -> String {
        let root = Root { path: String::new(), apart: Vec::new() };
        let all = Wanted { roots: vec![root], include: Vec::new(), exclude: Vec::new() };
        script::list(&format!("{}/{}", self.root(), self.staging()), &Take::Tree(&all), gnu_find)
    }

    /// Moves all that is staged into place. Says `name PATH` (ended by NUL) for the first that stay though they were to
    /// come, then `kept N`, `aside N`, `done`.
    pub(super) fn place(&self, existing: Existing, all_aside: bool) -> String {
        let skip = u8::from(existing == Existing::Skip);
        let everything = if all_aside { EVERYTHING_ASIDE } else { "" };
        format!(
            "{}S={} A={} skip={skip} k=0 a=0\n{PLACE}{everything}place ''\nrm -rf \"$S\"\n\
             printf 'kept %s\\0aside %s\\0done\\0' $k $a\n",
            begin(&self.root()),
            quote(&self.staging()),
            quote(&self.aside()),
        )
    }
}

/// What a file is dressed with where there is no tar to do it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metadata {
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mode: u32,
    pub(super) seconds: i64,
}

impl Metadata {
    fn dress(&self, quoted: &str) -> String {
        let Self { uid, gid, mode, seconds } = self;
        format!(
            "chown {uid}:{gid} {quoted} 2>/dev/null\nchmod {mode:o} {quoted} 2>/dev/null\ntouch -d @{seconds} {quoted} 2>/dev/null\n"
        )
    }
}

/// What stands in the way goes aside under its own name. What an interrupted run has put aside is the older one, and stays.
///
/// A folder is entered only when it is one: never through a link. Where nothing stands in the way, all goes at once.
const PLACE: &str = r#"aside() {
  mkdir -p "./$A/$1" || exit 94
  if [ -e "./$A/$1$2" ] || [ -L "./$A/$1$2" ]; then rm -rf "./$1$2"; else mv "./$1$2" "./$A/$1$2"; fi || exit 95
  a=$((a + 1))
}
free() {
  for n in "$S/$1"* "$S/$1".[!.]* "$S/$1"..?*; do
    [ -e "$n" ] || [ -L "$n" ] || continue
    t=${n##*/}
    if [ -e "./$1$t" ] || [ -L "./$1$t" ]; then return 1; fi
  done
}
place() {
  if free "$1"; then find "./$S/$1." ! -name . -prune -exec mv -t "./$1." {} + 2>/dev/null; fi
  for n in "$S/$1"* "$S/$1".[!.]* "$S/$1"..?*; do
    [ -e "$n" ] || [ -L "$n" ] || continue
    t=${n##*/}
    if [ -e "./$1$t" ] || [ -L "./$1$t" ]; then
      if [ -d "$n" ] && [ ! -L "$n" ] && [ -d "./$1$t" ] && [ ! -L "./$1$t" ]; then place "$1$t/"; continue; fi
      if [ $skip = 1 ]; then k=$((k + 1)); [ $k -gt 20 ] || printf 'name %s\0' "$1$t"; continue; fi
      aside "$1" "$t"
    fi
    mv "./$n" "./$1$t" || exit 96
  done
}
"#;

/// Once, even if it is interrupted: only then is anything placed.
const EVERYTHING_ASIDE: &str = r#"if [ ! -e "./$A/.ha-backup-moved" ]; then
  mkdir -p "./$A" || exit 94
  for t in * .[!.]* ..?*; do
    [ -e "./$t" ] || [ -L "./$t" ] || continue
    case $t in .ha-backup-*) ;; *) aside '' "$t";; esac
  done
  : >"./$A/.ha-backup-moved"
fi
"#;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::Path,
        process::{Command, Output},
    };

    use super::*;

    fn run(script: &str) -> Output {
        Command::new("sh").arg("-c").arg(script).output().unwrap()
    }

    fn place(root: &Path, existing: Existing, all_aside: bool) -> String {
        let into = into(root);
        let output = run(&into.place(existing, all_aside));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().replace('\0', ";")
    }

    fn into(root: &Path) -> Into<'_> {
        Into { base: root.to_str().unwrap(), folder: "app", stamp: "x" }
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join("app").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(root: &Path, path: &str) -> String {
        fs::read_to_string(root.join("app").join(path)).unwrap_or_else(|e| e.kind().to_string())
    }

    fn staged() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in
            [("a", "new a"), ("b c\n'", "new b"), (".hidden", "new h"), ("sub/x", "new x"), ("sub/in/y", "y")]
        {
            write(root.path(), &format!(".ha-backup-restore-x/{path}"), text);
        }
        symlink("/etc/passwd", root.path().join("app/.ha-backup-restore-x/link")).unwrap();
        root
    }

    #[test]
    fn all_goes_at_once_where_nothing_stands_in_the_way() {
        let root = staged();
        assert_eq!(place(root.path(), Existing::Skip, false), "kept 0;aside 0;done;");
        for (path, text) in [("a", "new a"), ("b c\n'", "new b"), (".hidden", "new h"), ("sub/in/y", "y")] {
            assert_eq!(read(root.path(), path), text, "{path}");
        }
        assert!(root.path().join("app/link").is_symlink());
        assert_eq!(fs::read_dir(root.path().join("app")).unwrap().count(), 5);
    }

    #[test]
    fn what_exists_stays_or_goes_aside() {
        let root = staged();
        write(root.path(), "sub/x", "old x");
        write(root.path(), "own", "own");
        assert_eq!(place(root.path(), Existing::Skip, false), "name sub/x;kept 1;aside 0;done;");
        assert_eq!(
            (read(root.path(), "sub/x").as_str(), read(root.path(), "sub/in/y").as_str()),
            ("old x", "y")
        );

        let root = staged();
        write(root.path(), "sub/x", "old x");
        write(root.path(), "own", "own");
        assert_eq!(place(root.path(), Existing::Update, false), "kept 0;aside 1;done;");
        assert_eq!(read(root.path(), "sub/x"), "new x");
        assert_eq!(read(root.path(), ".ha-backup-before-x/sub/x"), "old x");
        assert_eq!(read(root.path(), "own"), "own");
    }

    #[test]
    fn a_second_run_keeps_what_the_first_put_aside() {
        let root = staged();
        write(root.path(), "sub/x", "half of a first run");
        write(root.path(), ".ha-backup-before-x/sub/x", "old x");
        place(root.path(), Existing::Update, false);
        assert_eq!(read(root.path(), ".ha-backup-before-x/sub/x"), "old x");
        assert_eq!(read(root.path(), "sub/x"), "new x");
    }

    #[test]
    fn all_goes_aside_once_when_a_folder_is_replaced() {
        let root = staged();
        write(root.path(), "own", "own");
        write(root.path(), "sub/x", "old x");
        place(root.path(), Existing::Replace, true);
        assert_eq!(read(root.path(), "own"), "entity not found");
        assert_eq!(read(root.path(), ".ha-backup-before-x/own"), "own");
        assert_eq!(read(root.path(), ".ha-backup-before-x/sub/x"), "old x");
        assert_eq!(read(root.path(), "sub/x"), "new x");
        // Again, after an interruption at its end: nothing of what came goes aside.
        write(root.path(), ".ha-backup-restore-x/a", "new a");
        assert_eq!(place(root.path(), Existing::Replace, true), "kept 0;aside 1;done;");
        assert_eq!(read(root.path(), ".ha-backup-before-x/own"), "own");
    }

    #[test]
    fn nothing_goes_through_a_link() {
        let root = staged();
        fs::create_dir(root.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", root.path().join("app/sub")).unwrap();
        assert_eq!(place(root.path(), Existing::Skip, false), "name sub;kept 1;aside 0;done;");
        let root_of_update = staged();
        fs::create_dir(root_of_update.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", root_of_update.path().join("app/sub")).unwrap();
        place(root_of_update.path(), Existing::Update, false);
        for root in [&root, &root_of_update] {
            assert_eq!(fs::read_dir(root.path().join("elsewhere")).unwrap().count(), 0);
        }
        assert_eq!(read(root_of_update.path(), "sub/x"), "new x");
        assert!(root_of_update.path().join("app/.ha-backup-before-x/sub").is_symlink());
    }

    #[test]
    fn an_empty_folder_gets_its_owner_and_mode() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let mode = || fs::metadata(root.path().join("app")).unwrap().permissions().mode() & 0o7777;
        assert!(run(&into(root.path()).prepare(Some((0, 0, 0o2750)))).status.success());
        assert_eq!(mode(), 0o2750);
        write(root.path(), "a", "a");
        assert!(run(&into(root.path()).prepare(Some((0, 0, 0o700)))).status.success());
        assert_eq!(mode(), 0o2750);
    }

    #[test]
    fn a_single_file_comes_with_what_it_wears() {
        let root = tempfile::tempdir().unwrap();
        let into = into(root.path());
        assert!(run(&into.prepare(None)).status.success());
        assert!(run(&into.receive_nothing()).status.success());
        let metadata = Metadata { uid: 0, gid: 0, mode: 0o640, seconds: 1_000_000_000 };
        let script = format!("printf hello | {{ {} }}", into.receive_file("d/it's", &metadata));
        assert!(run(&script).status.success());
        assert!(run(&into.make("d/l", Some("it's"), &metadata)).status.success());
        let file = root.path().join("app/.ha-backup-restore-x/d/it's");
        assert_eq!(fs::read_to_string(&file).unwrap(), "hello");
        assert_eq!(
            fs::metadata(&file).unwrap().modified().unwrap().elapsed().unwrap().as_secs() / 1_000_000_000,
            0
        );
        assert_eq!(fs::read_link(file.with_file_name("l")).unwrap().to_str(), Some("it's"));
    }
}
