//! Which parts of a hole need not be read.
//!
//! Reading a long hole tests how fast zeros can be made. But what `SEEK_DATA` calls one is only what the filesystem has mapped: ext4,
//! XFS and btrfs do not look into the page cache for clean pages over it, and a page there may hold anything. So of what the page
//! cache has nothing is left out, and of the rest both ends and a few pieces inside are read all the same.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use crate::buffer::page_bytes;
use crate::error::Errno;
use crate::oracle::{Content, Expected};
use crate::random::mix;
use crate::sys::File;
use crate::sys::mapping::{Mapping, resident_pages};

/// Holes are left out in pieces so long, in bytes.
pub(super) const PIECE_BYTES: u64 = 64 << 10;

/// One of so many neighbouring pieces is read all the same, chosen by the seed.
const SAMPLE_OF: u64 = 64;

/// Which holes the filesystem has told of, and what of them the page cache had.
pub(super) struct Holes<'caller> {
    expected: &'caller dyn Expected,
    /// What pieces must begin at a multiple of, in bytes.
    unit: u64,
    /// Read past the page cache, which has no say then.
    direct: bool,
    /// The file's size in bytes.
    size: u64,
    /// What the filesystem has said is one.
    hole: Range<u64>,
    /// A part of it of which the page cache had nothing before it was read.
    uncached: Range<u64>,
}

impl<'caller> Holes<'caller> {
    pub(super) fn new(expected: &'caller dyn Expected, unit: u64, direct: bool, size: u64) -> Self {
        Self { expected, unit, direct, size, hole: 0..0, uncached: 0..0 }
    }

    /// Whether the piece that begins here lies inside a hole and need not be read.
    pub(super) fn may_skip(&mut self, file: &File, offset: u64, end: u64) -> bool {
        // Asked before anything of the hole is read, which puts pages there.
        if !self.is_hole(file, offset, end) || !self.direct && !self.has_no_pages(file, offset) {
            return false;
        }
        let inside = offset >= self.expected.start() + PIECE_BYTES
            && self.is_hole(file, offset - PIECE_BYTES, end)
            && self.is_hole(file, offset + PIECE_BYTES, end);
        inside && !is_sample(self.expected.key().seed, offset)
    }

    /// Whether the page cache has nothing of the piece of a hole that begins here.
    fn has_no_pages(&mut self, file: &File, offset: u64) -> bool {
        if self.uncached.contains(&offset) {
            return true;
        }
        let mut range = offset..self.hole.end.min(self.size);
        loop {
            if is_uncached(file, &range) {
                self.uncached = range;
                return true;
            }
            let bytes = range.end - range.start;
            if bytes <= PIECE_BYTES {
                return false;
            }
            range.end = range.start + (bytes / 2).next_multiple_of(PIECE_BYTES);
        }
    }

    /// Whether [`PIECE_BYTES`] from here on are a hole, and should be.
    fn is_hole(&mut self, file: &File, offset: u64, end: u64) -> bool {
        let window = offset..offset + PIECE_BYTES;
        if !window.start.is_multiple_of(self.unit) || window.end > end {
            return false;
        }
        let mut zeros = true;
        self.expected.each(window.clone(), &mut |_, contents| zeros &= *contents == [Content::Zeros]);
        if zeros && !(self.hole.start <= offset && offset < self.hole.end) {
            // SAFETY: moves the offset of an open file, which nothing here depends on.
            let data = unsafe { libc::lseek64(file.as_raw_fd(), offset as i64, libc::SEEK_DATA) };
            self.hole = match u64::try_from(data) {
                Ok(data) => offset..data,
                // There are no data behind it. Whatever else it cannot tell is read.
                Err(_) if Errno::last() == Errno(libc::ENXIO) => offset..u64::MAX,
                Err(_) => offset..offset,
            };
        }
        zeros && window.end <= self.hole.end
    }
}

/// Whether the piece that begins at `offset` is one that is read wherever it lies.
fn is_sample(seed: u64, offset: u64) -> bool {
    let piece = offset / PIECE_BYTES;
    piece % SAMPLE_OF == mix(seed ^ mix(piece / SAMPLE_OF)) % SAMPLE_OF
}

#[repr(C)]
struct CachestatRange {
    offset: u64,
    bytes: u64,
}

/// `struct cachestat` of `linux/mman.h`: numbers of pages.
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cache: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// The same on every architecture but alpha. Linux 6.5.
const SYS_CACHESTAT: libc::c_long = 451;

/// Whether the kernel says that the page cache has no page of `range`, which must not be empty. False where it does not say.
fn is_uncached(file: &File, range: &Range<u64>) -> bool {
    cachestat(file, range).unwrap_or_else(|| mincore(file, range))
}

fn cachestat(file: &File, range: &Range<u64>) -> Option<bool> {
    let asked = CachestatRange { offset: range.start, bytes: range.end - range.start };
    let mut answer = Cachestat::default();
    // SAFETY: an open descriptor, the question, and room for the answer.
    let failed = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const asked, &raw mut answer, 0_u32) } != 0;
    (!failed).then_some(answer.cache == 0)
}

/// Mapped at a time; the answer is a byte for each page of it.
const MAPPED_BYTES: u64 = 64 << 20;

/// By a mapping that is not touched.
fn mincore(file: &File, range: &Range<u64>) -> bool {
    let page = page_bytes() as u64;
    let mut start = range.start / page * page;
    while start < range.end {
        let bytes = (range.end.next_multiple_of(page) - start).min(MAPPED_BYTES);
        let Ok(map) = Mapping::of_file(file.as_fd(), start, bytes, false) else { return false };
        if resident_pages(map.at(start), map.bytes()) != Ok(0) {
            return false;
        }
        start += bytes;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Flags;
    use std::os::unix::fs::FileExt;

    #[test]
    fn both_ways_to_ask_see_the_pages_of_a_hole() {
        let place = tempfile::NamedTempFile::new().expect("file");
        place.as_file().set_len(1 << 20).expect("size");
        let file = File::open_to_write(place.path(), true, Flags::default()).expect("open");
        // A filesystem in memory has no hole in its page cache other than its own.
        for ask in [mincore as fn(&File, &Range<u64>) -> bool, is_uncached] {
            assert!(ask(&file, &(0..1 << 20)));
            assert!(ask(&file, &((512 << 10)..(576 << 10))));
        }
        place.as_file().write_all_at(&[1], 600 << 10).expect("write");
        for ask in [mincore as fn(&File, &Range<u64>) -> bool, is_uncached] {
            assert!(!ask(&file, &(0..1 << 20)));
            assert!(!ask(&file, &((576 << 10)..(640 << 10))));
            assert!(ask(&file, &(0..512 << 10)));
        }
    }

    #[test]
    fn one_piece_of_each_group_is_a_sample_and_the_seed_chooses_it() {
        let samples = |seed: u64| -> Vec<u64> { (0..SAMPLE_OF * 8).filter(|piece| is_sample(seed, piece * PIECE_BYTES)).collect() };
        for seed in 0..4 {
            let groups: Vec<u64> = samples(seed).iter().map(|piece| piece / SAMPLE_OF).collect();
            assert_eq!(groups, (0..8).collect::<Vec<_>>());
        }
        assert_ne!(samples(1), samples(2));
    }
}
