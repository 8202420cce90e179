//! Reads all of a file but the inside of long holes, piece by piece, and narrows read errors down.

use std::path::Path;

use super::check::{Findings, check};
use super::explain::{BadRange, Kind};
use super::holes::{Holes, PIECE_BYTES};
use crate::buffer::Buffer;
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::Expected;
#[cfg(test)]
use crate::stamp::Key;
use crate::stamp::SECTOR;
use crate::sys::File;

pub(super) struct Verifier<'caller> {
    pub(super) path: &'caller Path,
    pub(super) expected: &'caller dyn Expected,
    /// What is missing before this is missing.
    pub(super) bytes_min: u64,
    pub(super) file: File,
    /// The smallest piece that a read error can be narrowed down to, and for a direct read the alignment it needs.
    pub(super) unit: u64,
    pub(super) findings: Findings,
    /// What the device writes whole, in bytes.
    pub(super) block: Option<u64>,
    pub(super) holes: Holes<'caller>,
    pub(super) bytes_skipped: u64,
    /// Bytes that cannot be read, for the test of what happens then.
    #[cfg(test)]
    pub(super) unreadable: Vec<std::ops::Range<u64>>,
}

impl Verifier<'_> {
    /// Everything before `end`, and what is missing behind it.
    pub(super) fn all(&mut self, end: u64, buffer: &mut Buffer) -> Result<()> {
        let mut offset = self.expected.start() / self.unit * self.unit;
        while offset < end {
            if self.holes.may_skip(&self.file, offset, end) {
                offset += PIECE_BYTES;
                self.bytes_skipped += PIECE_BYTES;
                continue;
            }
            let mut bytes = (end - offset).min(buffer.len() as u64);
            let pieces = 1..bytes / PIECE_BYTES;
            if let Some(hole) = pieces.map(|index| index * PIECE_BYTES).find(|at| self.holes.may_skip(&self.file, offset + at, end))
            {
                bytes = hole;
            }
            match self.piece(offset, bytes, buffer)? {
                Read::All => offset += bytes,
                // The file has become shorter since its size was asked for.
                Read::EndsAt(shorter) => {
                    self.missing(shorter);
                    return Ok(());
                }
            }
        }
        self.missing(end);
        Ok(())
    }

    fn missing(&mut self, end: u64) {
        let end = end.max(self.expected.start());
        if end < self.bytes_min {
            let mut sectors = self.bytes_min.div_ceil(SECTOR) - end / SECTOR;
            // The sector that the file ends in counts once.
            if !end.is_multiple_of(SECTOR) && self.findings.ends_at(end) {
                sectors -= 1;
            }
            self.findings.add(BadRange::new(end, self.bytes_min - end, Kind::Missing), sectors);
        }
    }

    /// Reads and checks a piece; in case of a read error, its halves.
    fn piece(&mut self, offset: u64, bytes: u64, buffer: &mut Buffer) -> Result<Read> {
        match self.read(offset, bytes, buffer) {
            Ok(got) => {
                check(self.expected, offset, &buffer[..got as usize], self.block, &mut self.findings);
                Ok(if got == bytes { Read::All } else { Read::EndsAt(offset + got) })
            }
            Err(errno) if is_about_the_medium(errno) => {
                if bytes <= self.unit {
                    let range = BadRange { errno: Some(errno), ..BadRange::new(offset, bytes, Kind::ReadError) };
                    self.findings.add(range, bytes.div_ceil(SECTOR));
                    return Ok(Read::All);
                }
                let errors = self.findings.read_errors();
                let half = (bytes / 2).next_multiple_of(self.unit).min(bytes - 1) / self.unit * self.unit;
                let read = match self.piece(offset, half, buffer)? {
                    Read::All => self.piece(offset + half, bytes - half, buffer)?,
                    Read::EndsAt(end) => Read::EndsAt(end),
                };
                if self.findings.read_errors() == errors {
                    let passed = BadRange { errno: Some(errno), ..BadRange::new(offset, bytes, Kind::ReadErrorOnce) };
                    self.findings.add_passed(passed);
                }
                Ok(read)
            }
            Err(errno) => {
                let message = format!("Reading {bytes} bytes at offset {offset} failed");
                Err(Error::new(Step::Read, message).errno(errno).path(self.path).offset(offset))
            }
        }
    }

    /// Fewer bytes only at the end of the file.
    fn read(&self, offset: u64, bytes: u64, buffer: &mut Buffer) -> std::result::Result<u64, Errno> {
        #[cfg(test)]
        if self.unreadable.iter().any(|bad| bad.start < offset + bytes && offset < bad.end) {
            return Err(Errno(libc::EIO));
        }
        #[cfg(test)]
        if tests::UNREADABLE_ONCE.with_borrow_mut(|ranges| {
            let hit = ranges.iter().position(|bad| bad.start < offset + bytes && offset < bad.end);
            hit.map(|index| ranges.remove(index)).is_some()
        }) {
            return Err(Errno(libc::EIO));
        }
        // A direct read has to end at a multiple of the unit.
        let length = bytes.next_multiple_of(self.unit).min(buffer.len() as u64);
        let got = self.file.read(&mut buffer[..length as usize], offset)?;
        #[cfg(test)]
        tests::EXPOSED.with_borrow(|exposed| {
            let seen = exposed.start.max(offset)..exposed.end.min(offset + got as u64);
            if !seen.is_empty() {
                let old = Key { file: crate::stamp::STALE_DISK_FILE, ..self.expected.key() };
                old.fill(seen.start, &mut buffer[(seen.start - offset) as usize..(seen.end - offset) as usize]);
            }
        });
        Ok(bytes.min(got as u64))
    }
}

enum Read {
    All,
    EndsAt(u64),
}

/// Errors that smaller reads can go around: the data is unreadable or fails its checksum, here and maybe not elsewhere.
fn is_about_the_medium(errno: Errno) -> bool {
    matches!(errno.0, libc::EIO | libc::EBADMSG | libc::EUCLEAN | libc::EILSEQ | libc::ENODATA | libc::EREMOTEIO | libc::ETIMEDOUT)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Level, Options, verify, verify_expected};
    use super::*;
    use crate::oracle::Content;
    use crate::stamp::SECTOR_BYTES;
    use crate::storage;
    use crate::sys::Flags;
    use std::cell::RefCell;

    thread_local! {
        /// Bytes whose next read fails.
        pub(super) static UNREADABLE_ONCE: RefCell<Vec<std::ops::Range<u64>>> = const { RefCell::new(Vec::new()) };
        /// Bytes that reads return old disk content for.
        pub(super) static EXPOSED: RefCell<std::ops::Range<u64>> = const { RefCell::new(0..0) };
        pub(in super::super) static UNREADABLE: RefCell<Vec<std::ops::Range<u64>>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn an_error_that_does_not_come_again_is_told() {
        let key = Key { seed: 1, file: 2, generation: 3 };
        let bytes = 1 << 20;
        let file = tempfile::NamedTempFile::new().expect("file");
        crate::workload::fill::fill(file.path(), bytes, key).expect("fill");
        UNREADABLE_ONCE.with_borrow_mut(|ranges| ranges.push(300_000..300_001));
        let options = Options { path: file.path().to_owned(), offset: 0, bytes, key, level: Level::Cache, ranges_max: 9 };
        let outcome = verify(&options);
        let [range] = outcome.ranges.as_slice() else { panic!("{outcome:?}") };
        assert_eq!((range.kind, range.errno), (Kind::ReadErrorOnce, Some(Errno(libc::EIO))));
        assert!((range.offset..range.offset + range.bytes).contains(&300_000));
        assert_eq!((outcome.sectors_bad, outcome.ranges_total, outcome.is_good()), (0, 1, false));
        assert!(verify(&options).is_good());
    }

    #[test]
    fn read_errors_are_narrowed_down_and_the_rest_is_verified() {
        let key = Key { seed: 1, file: 2, generation: 3 };
        let bytes = (3 << 20) + 1234;
        for level in [Level::Cache, Level::Disk] {
            let file = tempfile::NamedTempFile::new().expect("file");
            crate::workload::fill::fill(file.path(), bytes, key).expect("fill");
            // A bad sector in front of two more and of the last, partial one.
            std::os::unix::fs::FileExt::write_all_at(file.as_file(), &[0; 512], 2 << 20).expect("write");
            UNREADABLE.set(vec![5000..5001, (1 << 20) - 1..(1 << 20) + 1, bytes - 1..bytes]);
            let options = Options { path: file.path().to_owned(), offset: 0, bytes, key, level, ranges_max: 9 };
            let outcome = verify(&options);
            assert!(outcome.error.is_none(), "{outcome:?}");
            if level == Level::Disk && !outcome.direct {
                continue;
            }
            let unit = outcome.ranges[0].bytes;
            assert!(unit.is_power_of_two() && unit <= 64 << 10);
            let found: Vec<_> = outcome.ranges.iter().map(|range| (range.kind, range.offset, range.bytes)).collect();
            let last = bytes / unit * unit;
            let expected = [
                (Kind::ReadError, 5000 / unit * unit, unit),
                (Kind::ReadError, (1 << 20) - unit, 2 * unit),
                (Kind::Zeros, 2 << 20, 512),
                (Kind::ReadError, last, bytes - last),
            ];
            assert_eq!(found, expected);
            assert_eq!(outcome.ranges[0].errno, Some(Errno(libc::EIO)));
            assert_eq!(outcome.sectors_bad, 3 * unit / 512 + 1 + (bytes - last).div_ceil(512));
        }
    }

    #[test]
    fn what_lies_before_the_stamps_is_not_looked_at() {
        let key = Key { seed: 1, file: 2, generation: 3 };
        let (offset, bytes) = (5 * SECTOR, 40 * SECTOR + 100);
        for level in [Level::Cache, Level::Disk] {
            let file = tempfile::NamedTempFile::new().expect("file");
            let mut memory = vec![7; bytes as usize];
            key.fill(offset, &mut memory[offset as usize..]);
            memory[20 * SECTOR_BYTES..][..SECTOR_BYTES].fill(0);
            std::os::unix::fs::FileExt::write_all_at(file.as_file(), &memory, 0).expect("write");
            let options = Options { path: file.path().to_owned(), offset, bytes, key, level, ranges_max: 9 };
            let outcome = verify(&options);
            assert!(outcome.error.is_none(), "{outcome:?}");
            if level == Level::Disk && !outcome.direct {
                continue;
            }
            assert_eq!((outcome.sectors, outcome.sectors_bad), (36, 1));
            assert_eq!((outcome.ranges[0].kind, outcome.ranges[0].offset), (Kind::Zeros, 20 * SECTOR));
            // A file that ends before its stamps begin misses all of them.
            file.as_file().set_len(2 * SECTOR).expect("truncate");
            let outcome = verify(&options);
            assert_eq!((outcome.sectors, outcome.sectors_bad), (36, 36));
            assert_eq!((outcome.ranges[0].kind, outcome.ranges[0].offset), (Kind::Missing, offset));
        }
    }

    /// Zeros of so many bytes.
    fn zeros(bytes: u64) -> crate::oracle::OneOf {
        let key = Key { seed: 1, file: 2, generation: 3 };
        crate::oracle::OneOf { key, sizes: bytes..=bytes, contents: vec![Content::Zeros] }
    }

    /// Files that are one hole, on each filesystem at hand that has a disk: in memory, a hole is where the page cache has nothing.
    fn sparse(bytes: u64) -> Vec<tempfile::NamedTempFile> {
        let directories = std::env::var_os("AIODIO_TEST_DIRS")
            .map_or_else(|| vec![std::env::temp_dir()], |directories| std::env::split_paths(&directories).collect());
        let make = |directory| {
            let file = tempfile::NamedTempFile::new_in(directory).expect("file");
            file.as_file().set_len(bytes).expect("size");
            file
        };
        directories.into_iter().filter(|directory| !storage::is_in_memory(directory).expect("statfs")).map(make).collect()
    }

    #[test]
    fn pages_over_a_hole_are_read() {
        let bytes = 256 << 10;
        for file in sparse(bytes) {
            // All of it is in the page cache, where SEEK_DATA does not look.
            let mut seen = vec![1; bytes as usize];
            std::os::unix::fs::FileExt::read_exact_at(file.as_file(), &mut seen, 0).expect("read");
            EXPOSED.set(64 << 10..192 << 10);
            let found = verify_expected(file.path(), &zeros(bytes), Level::Cache, 4);
            EXPOSED.set(0..0);
            let [range] = found.ranges.as_slice() else { panic!("{found:?}") };
            assert_eq!((range.kind, range.offset, range.bytes), (Kind::StaleDisk, 64 << 10, 128 << 10));
            assert_eq!(found.bytes_skipped, 0);
        }
    }

    #[test]
    fn a_hole_that_shows_old_blocks_is_found_by_its_ends_and_samples() {
        let bytes = 64 << 20;
        for file in sparse(bytes) {
            for level in [Level::Cache, Level::Disk] {
                let good = verify_expected(file.path(), &zeros(bytes), level, 4);
                assert!(good.is_good(), "{good:?}");
                assert!(good.bytes_skipped > bytes / 10 * 9, "{level:?}: {}", good.bytes_skipped);
                for exposed in [0..65536, bytes - 65536..bytes, 65536 * 64..65536 * 128] {
                    File::open_to_read(file.path(), Flags::default()).expect("open").drop_cache(0, 0);
                    EXPOSED.set(exposed.clone());
                    let found = verify_expected(file.path(), &zeros(bytes), level, 4);
                    EXPOSED.set(0..0);
                    assert_eq!(found.ranges.first().map(|range| range.kind), Some(Kind::StaleDisk), "{level:?} {exposed:?}");
                }
            }
        }
    }
}
