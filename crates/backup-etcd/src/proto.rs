//! The little of the protobuf wire format that etcd's stored messages need.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in the order in which they stand; an item is `None` where the bytes are no message.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((u32::try_from(tag >> 3).ok()?, value))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for index in 0..10 {
            let byte = *self.rest.get(index)?;
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.rest.get(..length)?;
        self.rest = &self.rest[length..];
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A message being built.
#[derive(Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a number, also when it is zero.
    pub(crate) fn number(mut self, field: u32, number: u64) -> Self {
        self.push(u64::from(field) << 3);
        self.push(number);
        self
    }

    /// Adds bytes, a string or a message.
    pub(crate) fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.push(u64::from(field) << 3 | 2);
        self.push(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }

    fn push(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_built_is_read_back(numbers: Vec<u64>, bytes: Vec<u8>) {
            let mut message = Message::new();
            for number in &numbers {
                message = message.number(1, *number);
            }
            let message = message.bytes(300, &bytes).done();
            let fields: Vec<_> = Fields::of(&message).collect::<Option<_>>().unwrap();
            let mut expected: Vec<_> = numbers.iter().map(|n| (1, Value::Number(*n))).collect();
            expected.push((300, Value::Bytes(&bytes)));
            prop_assert_eq!(fields, expected);
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            prop_assert!(Fields::of(&bytes).count() <= bytes.len());
        }
    }

    #[test]
    fn a_cut_message_is_none() {
        let message = Message::new().bytes(1, b"abc").done();
        assert_eq!(Fields::of(&message[..3]).next(), Some(None));
    }
}
