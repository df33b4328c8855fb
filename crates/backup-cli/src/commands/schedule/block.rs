//! A block of lines between two markers in a text that belongs to others.

use backup_core::words::{Error, ErrorKind, Result};

/// Whose block it is.
#[derive(Debug)]
pub(super) struct Block {
    begin: String,
    end: String,
}

impl Block {
    /// The block of `owner`.
    pub(super) fn new(owner: &str) -> Self {
        Self { begin: format!("# BEGIN ha-backup: {owner}"), end: format!("# END ha-backup: {owner}") }
    }

    /// The block with its markers.
    pub(super) fn around(&self, lines: &str) -> String {
        format!("{}\n{}\n{}\n", self.begin, lines.trim_end(), self.end)
    }

    /// `text` with `lines` in the block's place, or at the end where there is none yet; without the block for no lines.
    /// Everything else stays as it is, byte for byte.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when the markers are not one pair: what is between them is not known to be ours.
    pub(super) fn put(&self, text: &[u8], lines: Option<&str>) -> Result<Vec<u8>> {
        let new = lines.map(|lines| self.around(lines)).unwrap_or_default();
        let (before, after) = match self.find(text)? {
            Some((from, to)) => (&text[..from], &text[to..]),
            None => (text, &[][..]),
        };
        let mut put = before.to_vec();
        if !put.is_empty() && !put.ends_with(b"\n") && !new.is_empty() {
            put.push(b'\n');
        }
        put.extend_from_slice(new.as_bytes());
        put.extend_from_slice(after);
        Ok(put)
    }

    /// From the first byte of the block to the one after its last.
    fn find(&self, text: &[u8]) -> Result<Option<(usize, usize)>> {
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        let mut at = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let words = line.trim_ascii_end();
            if words == self.begin.as_bytes() {
                begins.push(at);
            } else if words == self.end.as_bytes() {
                ends.push(at + line.len());
            }
            at += line.len();
        }
        match (begins.as_slice(), ends.as_slice()) {
            ([], []) => Ok(None),
            ([from], [to]) if from < to => Ok(Some((*from, *to))),
            _ => Err(Error::new(ErrorKind::Refused, "change the block", self.begin.clone())
                .detail("its lines BEGIN and END are not there once each, one after the other")
                .hint("put them right, or remove them and what is between them by hand")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block() -> Block {
        Block::new("crm, /etc/c.toml")
    }

    #[test]
    fn a_block_is_put_at_the_end_replaced_in_place_and_taken_out() {
        let first = block().put(b"MAILTO=x\n", Some("1")).unwrap();
        let expected =
            "MAILTO=x\n# BEGIN ha-backup: crm, /etc/c.toml\n1\n# END ha-backup: crm, /etc/c.toml\n";
        assert_eq!(String::from_utf8(first.clone()).unwrap(), expected);
        let longer = [&first[..], b"later\n"].concat();
        let second = block().put(&longer, Some("2\n3\n")).unwrap();
        assert_eq!(String::from_utf8(second.clone()).unwrap(), expected.replace("1\n", "2\n3\n") + "later\n");
        assert_eq!(block().put(&second, None).unwrap(), b"MAILTO=x\nlater\n");
    }

    #[test]
    fn the_block_of_another_configuration_is_left_alone() {
        let other = Block::new("crm, /etc/d.toml").put(b"", Some("theirs")).unwrap();
        let both = block().put(&other, Some("ours")).unwrap();
        assert_eq!(block().put(&both, None).unwrap(), other);
    }

    #[test]
    fn a_block_that_is_not_whole_is_refused() {
        let whole = String::from_utf8(block().put(b"", Some("x")).unwrap()).unwrap();
        let without_end = whole.lines().take(2).collect::<Vec<_>>().join("\n");
        let without_begin = whole.lines().skip(1).collect::<Vec<_>>().join("\n");
        for text in [without_end, without_begin, whole.repeat(2)] {
            assert_eq!(block().put(text.as_bytes(), None).unwrap_err().kind(), ErrorKind::Refused, "{text}");
        }
    }

    proptest! {
        /// Whatever else is there: twice is as once, and taken out nothing is left of it or lost with it.
        #[test]
        fn what_others_wrote_stays(before in "([a-z*#% ]{0,9}\n){0,5}", after in "([a-z*#% ]{0,9}\n){0,5}", lines in "[a-z]{1,9}(\n[a-z]{1,9}){0,3}") {
            let once = block().put(before.as_bytes(), Some(&lines)).unwrap();
            let grown = [&once[..], after.as_bytes()].concat();
            prop_assert_eq!(&block().put(&grown, Some(&lines)).unwrap(), &grown);
            let taken_out = block().put(&grown, None).unwrap();
            prop_assert_eq!(taken_out, [before.as_bytes(), after.as_bytes()].concat());
        }

        /// Other bytes than text stay too.
        #[test]
        fn bytes_stay(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut text = text;
            text.push(b'\n');
            let put = block().put(&text, Some("x")).unwrap();
            prop_assert_eq!(block().put(&put, None).unwrap(), text);
        }
    }
}
