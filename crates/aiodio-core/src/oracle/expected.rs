//! What a file should be, for whoever compares.

use std::ops::{Range, RangeInclusive};

use crate::stamp::Key;

/// What a byte can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Zero: a hole, an unwritten extent, a range that was punched, zeroed or lies behind a former end of the file.
    Zeros,
    /// This byte of the stamp of this place with that generation.
    Stamp(u32),
    /// The same of another place, `by` bytes before this one (behind it, when negative): what a clone or a collapse has moved.
    Moved {
        /// The stamps' generation.
        generation: u32,
        /// How far the byte is from where it was written; not 0.
        by: i64,
    },
    /// Whatever a writer that is not under control has put there.
    Anything,
}

impl Content {
    /// What it is when it has been moved so many bytes towards the end of the file.
    #[must_use]
    pub fn moved(self, distance: i64) -> Self {
        let (generation, by) = match self {
            Self::Stamp(generation) => (generation, distance),
            Self::Moved { generation, by } => (generation, by + distance),
            Self::Zeros | Self::Anything => return self,
        };
        if by == 0 { Self::Stamp(generation) } else { Self::Moved { generation, by } }
    }
}

/// What a file should be: stamps of one run and file, and a size.
pub trait Expected {
    /// Run and file of the stamps; the generation is the usual one, for naming what is missing.
    fn key(&self) -> Key;
    /// The sizes in bytes that are right.
    fn sizes(&self) -> RangeInclusive<u64>;
    /// Offset before which anything is right, so that nobody need read it.
    fn start(&self) -> u64 {
        0
    }
    /// Calls `visit` with consecutive parts of `range` and the contents that are right in each; never with none.
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content]));
    /// Whether at rest, on a device that writes whole logical blocks, each of them in `range` holds one of the contents, and no
    /// mixture. Asked for ranges with the same contents everywhere.
    fn keeps_blocks_whole(&self, range: &Range<u64>) -> bool {
        let _ = range;
        false
    }
}

/// A file of so many bytes that holds one generation of stamps, throughout or from an offset on.
#[derive(Clone, Copy, Debug)]
pub struct Stamped {
    /// Its stamps.
    pub key: Key,
    /// Where they begin.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
}

impl Expected for Stamped {
    fn key(&self) -> Key {
        self.key
    }
    fn sizes(&self) -> RangeInclusive<u64> {
        self.bytes..=self.bytes
    }
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        let start = self.offset.clamp(range.start, range.end);
        if range.start < start {
            visit(range.start..start, &[Content::Anything]);
        }
        if start < range.end {
            visit(start..range.end, &[Content::Stamp(self.key.generation)]);
        }
    }
    fn start(&self) -> u64 {
        self.offset
    }
}

/// A file of so many bytes each of which is one of a few contents, for readers that do not know how far a writer is.
#[derive(Clone, Debug)]
pub struct OneOf {
    /// Run and file.
    pub key: Key,
    /// Its sizes.
    pub sizes: RangeInclusive<u64>,
    /// What every byte may be, and any mixture of them.
    pub contents: Vec<Content>,
}

impl Expected for OneOf {
    fn key(&self) -> Key {
        self.key
    }
    fn sizes(&self) -> RangeInclusive<u64> {
        self.sizes.clone()
    }
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        visit(range, &self.contents);
    }
}
