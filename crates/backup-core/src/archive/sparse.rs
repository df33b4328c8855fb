//! Maps of sparse files: GNU sparse format 1.0 ("Storing Sparse Files" in GNU tar's manual).

use super::{
    entry::Extent,
    header::{BLOCK, padding},
};

/// More extents than these are not kept in memory.
pub(crate) const MOST_EXTENTS: usize = 1 << 16;

/// The map before the data: decimal numbers, one a line: how many extents, then offset and length of each; padded to a block.
pub(super) fn map(extents: &[Extent], size: u64) -> Vec<u8> {
    let end = extents.last().map_or(0, |extent| extent.offset + extent.length);
    // A hole at the end is said by an empty extent there, as GNU tar writes it.
    let tail = (end < size).then_some(Extent { offset: size, length: 0 });
    let count = extents.len() + usize::from(tail.is_some());
    let mut map = format!("{count}\n").into_bytes();
    for extent in extents.iter().chain(&tail) {
        map.extend_from_slice(format!("{}\n{}\n", extent.offset, extent.length).as_bytes());
    }
    map.resize(map.len() + padding(map.len() as u64), 0);
    map
}

/// Reads a map block by block from `next_block`; `None` when it is not well formed or does not fit a file of `size` bytes.
/// Empty extents are dropped. The number is that of the bytes read.
pub(super) fn parse_map(
    size: u64,
    mut next_block: impl FnMut() -> crate::words::Result<[u8; BLOCK]>,
) -> crate::words::Result<Option<(Vec<Extent>, u64)>> {
    let mut block = next_block()?;
    let (mut at, mut read) = (0, BLOCK as u64);
    let mut number = || -> crate::words::Result<Option<u64>> {
        let mut digits = Vec::new();
        loop {
            if at == BLOCK {
                (block, at) = (next_block()?, 0);
                read += BLOCK as u64;
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'0'..=b'9' if digits.len() < 20 => digits.push(byte),
                b'\n' => return Ok(String::from_utf8_lossy(&digits).parse().ok()),
                _ => return Ok(None),
            }
        }
    };
    let Some(count) = number()?.filter(|count| *count <= MOST_EXTENTS as u64 + 1) else { return Ok(None) };
    let mut extents = Vec::new();
    let mut end = 0u64;
    for _ in 0..count {
        let (Some(offset), Some(length)) = (number()?, number()?) else { return Ok(None) };
        if offset < end {
            return Ok(None);
        }
        match offset.checked_add(length).filter(|end| *end <= size) {
            Some(next) => end = next,
            None => return Ok(None),
        }
        if length > 0 {
            extents.push(Extent { offset, length });
        }
    }
    Ok(Some((extents, read)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(map: &[u8], size: u64) -> Option<(Vec<Extent>, u64)> {
        let mut blocks = map.chunks_exact(BLOCK);
        parse_map(size, || Ok(blocks.next().map_or([b'x'; BLOCK], |b| b.try_into().unwrap()))).unwrap()
    }

    #[test]
    fn a_map_that_lies_is_refused() {
        for bad in
            ["2\n0\n10\n5\n10\n", "1\n0\n101\n", "1\n18446744073709551615\n2\n", "x", "70000\n", "1\n0\n"]
        {
            let mut map = bad.as_bytes().to_vec();
            map.resize(BLOCK, 0);
            assert!(parsed(&map, 100).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn maps_are_read_as_written(runs in prop::collection::vec((1u64..1 << 40, 1u64..1 << 40), 0..100), tail in 0u64..9) {
            let mut at = 0;
            let mut extents = Vec::new();
            for (hole, length) in runs {
                extents.push(Extent { offset: at + hole, length });
                at += hole + length;
            }
            let map = map(&extents, at + tail);
            prop_assert_eq!(map.len() % BLOCK, 0);
            prop_assert_eq!(parsed(&map, at + tail), Some((extents, map.len() as u64)));
        }
    }
}
