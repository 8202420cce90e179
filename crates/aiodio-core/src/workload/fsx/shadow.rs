//! What the file should be: its bytes, for comparing, and where each comes from, for naming what is wrong.

use std::ops::{Range, RangeInclusive};

use crate::oracle::{Content, Expected};
use crate::stamp::Key;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    end: u64,
    content: Content,
}

/// The origin of each byte of a file: consecutive segments from 0 on.
#[derive(Clone, Debug)]
pub struct Origins {
    key: Key,
    segments: Vec<Segment>,
}

impl Origins {
    fn new(key: Key) -> Self {
        Self { key, segments: Vec::new() }
    }

    fn size(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.end)
    }

    /// The index of the segment that begins at `at`, which is cut in two if none does; for the end of the file, their number.
    fn cut(&mut self, at: u64) -> usize {
        let index = self.segments.partition_point(|segment| segment.end <= at);
        let start = if index == 0 { 0 } else { self.segments[index - 1].end };
        if index == self.segments.len() || start == at {
            return index;
        }
        let content = self.segments[index].content;
        self.segments.insert(index, Segment { end: at, content });
        index + 1
    }

    /// `range` must begin within the file or at its end.
    fn replace(&mut self, range: &Range<u64>, content: Content) {
        if range.is_empty() {
            return;
        }
        let first = self.cut(range.start);
        let last = self.cut(range.end).max(first);
        self.segments.splice(first..last, [Segment { end: range.end, content }]);
        // A segment that the new one ends in begins there by itself: segments know their ends only.
    }

    fn truncate(&mut self, size: u64) {
        let keep = self.cut(size);
        self.segments.truncate(keep);
    }

    fn part(&self, range: &Range<u64>) -> Vec<(Range<u64>, Content)> {
        let mut parts = Vec::new();
        self.each(range.clone(), &mut |part, contents| parts.push((part, contents[0])));
        parts
    }
}

impl Expected for Origins {
    fn key(&self) -> Key {
        self.key
    }
    fn sizes(&self) -> RangeInclusive<u64> {
        self.size()..=self.size()
    }
    /// Behind the end of the file there are zeros: a mapping shows them.
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        let mut at = range.start;
        let first = self.segments.partition_point(|segment| segment.end <= at);
        for segment in &self.segments[first..] {
            if at >= range.end {
                return;
            }
            let end = segment.end.min(range.end);
            visit(at..end, &[segment.content]);
            at = end;
        }
        if at < range.end {
            visit(at..range.end, &[Content::Zeros]);
        }
    }
}

/// The model of one file. Offsets and lengths in bytes.
#[derive(Clone, Debug)]
pub struct Shadow {
    bytes: Vec<u8>,
    origins: Origins,
}

impl Shadow {
    /// Of an empty file whose stamps have this seed and file.
    pub fn new(key: Key) -> Self {
        Self { bytes: Vec::new(), origins: Origins::new(key) }
    }

    /// The size that the file should have.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What it should hold.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where that comes from.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Makes it longer, with zeros, if it is shorter.
    pub fn extend(&mut self, size: u64) {
        let old = self.size();
        if size > old {
            self.bytes.resize(size as usize, 0);
            self.origins.replace(&(old..size), Content::Zeros);
        }
    }

    /// `ftruncate(2)`.
    pub fn truncate(&mut self, size: u64) {
        self.extend(size);
        self.bytes.truncate(size as usize);
        self.origins.truncate(size);
    }

    /// A write of one generation's stamps.
    pub fn write(&mut self, offset: u64, bytes: u64, generation: u32) {
        self.extend(offset + bytes);
        let key = Key { generation, ..self.origins.key };
        key.fill_from(offset, &mut self.bytes[offset as usize..(offset + bytes) as usize]);
        self.origins.replace(&(offset..offset + bytes), Content::Stamp(generation));
    }

    /// Zeros as far as the file goes.
    pub fn zero(&mut self, offset: u64, bytes: u64) {
        let end = (offset + bytes).min(self.size());
        if offset < end {
            self.bytes[offset as usize..end as usize].fill(0);
            self.origins.replace(&(offset..end), Content::Zeros);
        }
    }

    /// Takes a range out; it ends before the file does.
    pub fn collapse(&mut self, offset: u64, bytes: u64) {
        self.bytes.drain(offset as usize..(offset + bytes) as usize);
        let behind = self.origins.part(&(offset + bytes..self.origins.size()));
        self.origins.truncate(offset);
        self.append(behind, -(bytes as i64));
    }

    /// Puts zeros in; `offset` lies within the file.
    pub fn insert(&mut self, offset: u64, bytes: u64) {
        let at = offset as usize;
        self.bytes.splice(at..at, std::iter::repeat_n(0, bytes as usize));
        let behind = self.origins.part(&(offset..self.origins.size()));
        self.origins.truncate(offset);
        self.origins.replace(&(offset..offset + bytes), Content::Zeros);
        self.append(behind, bytes as i64);
    }

    /// Copies a range to where it does not overlap itself; the file grows if need be.
    pub fn copy(&mut self, from: u64, bytes: u64, to: u64) {
        self.extend(to + bytes);
        self.bytes.copy_within(from as usize..(from + bytes) as usize, to as usize);
        let distance = to.wrapping_sub(from) as i64;
        for (part, content) in self.origins.part(&(from..from + bytes)) {
            let target = part.start.wrapping_add_signed(distance)..part.end.wrapping_add_signed(distance);
            self.origins.replace(&target, content.moved(distance));
        }
    }

    fn append(&mut self, parts: Vec<(Range<u64>, Content)>, distance: i64) {
        for (part, content) in parts {
            let target = part.start.wrapping_add_signed(distance)..part.end.wrapping_add_signed(distance);
            self.origins.replace(&target, content.moved(distance));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::check_memory;
    use proptest::prelude::*;

    const KEY: Key = Key { seed: 3, file: 1, generation: 0 };

    proptest! {
        #[test]
        fn the_bytes_are_where_the_origins_say(
            steps in prop::collection::vec((0..7_u8, 0..6000_u64, 1..3000_u64, 0..6000_u64), 1..60),
            flip: prop::sample::Index,
        ) {
            let mut shadow = Shadow::new(KEY);
            for (generation, (what, offset, bytes, to)) in (1..).zip(steps) {
                let size = shadow.size();
                match what {
                    0 | 1 => shadow.write(offset, bytes, generation),
                    2 => shadow.truncate(offset),
                    3 => shadow.zero(offset, bytes),
                    4 if offset + bytes < size => shadow.collapse(offset, bytes),
                    5 if offset < size => shadow.insert(offset, bytes),
                    6 if offset < size => shadow.copy(offset, bytes.min(size - offset).min(offset.abs_diff(to)), to),
                    _ => {}
                }
                prop_assert_eq!(shadow.size(), shadow.origins().size());
                let outcome = check_memory(shadow.origins(), 0, shadow.bytes(), 4);
                prop_assert_eq!(outcome.ranges_total, 0, "{:?}", outcome);
            }
            if shadow.size() > 0 {
                let mut bytes = shadow.bytes().to_vec();
                let at = flip.index(bytes.len());
                bytes[at] ^= 0x40;
                let outcome = check_memory(shadow.origins(), 0, &bytes, 4);
                prop_assert_eq!(outcome.ranges_total, 1);
                prop_assert_eq!(outcome.ranges[0].first_difference, Some(at as u64));
            }
        }
    }
}
