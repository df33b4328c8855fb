//! Patterns of what is left out.

use crate::words::{Error, ErrorKind, Result};

/// The `exclude` patterns of a section.
#[derive(Clone, Debug)]
pub(super) struct Exclude {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    written: String,
    tokens: Vec<Token>,
    /// Held against the whole path, not the name.
    whole_path: bool,
    folders_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Some,
    /// `**`
    Any,
    /// Before [`Token::Folders`]: leaves it out or not.
    MaybeFolders,
    /// `**/`
    Folders,
}

impl Exclude {
    pub(super) fn new(patterns: &[String]) -> Result<Self> {
        Ok(Self { patterns: patterns.iter().map(|p| Pattern::new(p)).collect::<Result<_>>()? })
    }

    /// The number of the first pattern that matches a path inside the folder.
    pub(super) fn matches(&self, path: &[u8], is_folder: bool) -> Option<usize> {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        self.patterns.iter().position(|pattern| {
            (is_folder || !pattern.folders_only)
                && fits(&pattern.tokens, if pattern.whole_path { path } else { name })
        })
    }

    /// The patterns as they were written.
    pub(super) fn written(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| pattern.written.as_str())
    }
}

impl Pattern {
    fn new(written: &str) -> Result<Self> {
        let (body, folders_only) = written.strip_suffix('/').map_or((written, false), |body| (body, true));
        let whole_path = body.contains('/');
        let body = body.strip_prefix('/').unwrap_or(body);
        if body.is_empty() || body.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Error::new(ErrorKind::Config, "use the exclude pattern", format!("{written:?}"))
                .hint(
                    "write a name (`*.log`), a path inside the folder (`/srv/*/tmp`) or a folder (`cache/`)",
                ));
        }
        let mut tokens = Vec::new();
        let mut rest = body.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            let token = match first {
                b'?' => Token::One,
                b'*' if rest.first() == Some(&b'*') => {
                    rest = &rest[1..];
                    match rest.strip_prefix(b"/") {
                        Some(after) => {
                            rest = after;
                            tokens.push(Token::MaybeFolders);
                            Token::Folders
                        }
                        None => Token::Any,
                    }
                }
                b'*' => Token::Some,
                b'\\' if !rest.is_empty() => {
                    let escaped = rest[0];
                    rest = &rest[1..];
                    Token::Byte(escaped)
                }
                byte => Token::Byte(*byte),
            };
            tokens.push(token);
        }
        Ok(Self { written: written.to_owned(), tokens, whole_path, folders_only })
    }
}

/// Follows all ways through the pattern at once, so that no pattern takes more than its length for each byte.
fn fits(tokens: &[Token], text: &[u8]) -> bool {
    let mut at = vec![false; tokens.len() + 1];
    at[0] = true;
    skip_stars(tokens, &mut at);
    for byte in text {
        let mut next = vec![false; tokens.len() + 1];
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| at[*index]) {
            match token {
                Token::Byte(expected) => next[index + 1] |= expected == byte,
                Token::One => next[index + 1] |= *byte != b'/',
                Token::Some => next[index] |= *byte != b'/',
                Token::Any => next[index] = true,
                Token::MaybeFolders => {}
                Token::Folders => {
                    next[index] = true;
                    next[index + 1] |= *byte == b'/';
                }
            }
        }
        skip_stars(tokens, &mut next);
        at = next;
    }
    at[tokens.len()]
}

fn skip_stars(tokens: &[Token], at: &mut [bool]) {
    for (index, token) in tokens.iter().enumerate() {
        if at[index] && matches!(token, Token::Some | Token::Any | Token::MaybeFolders) {
            at[index + 1] = true;
        }
        if at[index] && *token == Token::MaybeFolders {
            at[index + 2] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str, is_folder: bool) -> bool {
        Exclude::new(&[pattern.to_owned()]).unwrap().matches(path.as_bytes(), is_folder).is_some()
    }

    #[test]
    fn patterns_match_names_paths_and_folders() {
        for (pattern, path, expected) in [
            ("*.log", "a.log", true),
            ("*.log", "x/y/a.log", true),
            ("*.log", "a.logs", false),
            ("?.log", "a.log", true),
            ("?.log", "ab.log", false),
            ("/tmp", "tmp", true),
            ("/tmp", "x/tmp", false),
            ("work/*/tmp", "work/a/tmp", true),
            ("work/*/tmp", "work/a/b/tmp", false),
            ("work/**/tmp", "work/a/b/tmp", true),
            ("work/**/tmp", "work/tmp", true),
            ("work/**/tmp", "work/xtmp", false),
            ("work/**", "work/a/b", true),
            ("**/x", "a/b/x", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(matches(pattern, path, false), expected, "{pattern} {path}");
        }
        assert!(matches("cache/", "x/cache", true));
        assert!(!matches("cache/", "x/cache", false));
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_long_time() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(150), false));
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for bad in ["", "/", "a//b", "../x", "./x"] {
            assert_eq!(Exclude::new(&[bad.to_owned()]).unwrap_err().kind(), ErrorKind::Config, "{bad:?}");
        }
    }
}
