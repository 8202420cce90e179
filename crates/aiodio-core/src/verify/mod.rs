//! Reads a stamped file back and says what is wrong with it.
//!
//! Two rungs of the verification ladder are here. `cache` is what LTP does: a buffered read, which may be answered by the page cache.
//! `disk` makes the data durable, drops it from the page cache and reads it with `O_DIRECT`. The two have their own verdicts: cache
//! bad and disk good is another bug than the reverse.
//!
//! Parts of long holes are left out where only zeros are right; [`Outcome::bytes_skipped`] says how much.

mod check;
mod explain;
mod hole;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

pub use self::check::check_memory;
use self::check::{Findings, check};
pub use self::explain::{BadRange, Kind, TornWith};
use self::hole::PIECE_BYTES;
use crate::buffer::{Align, Buffer, Pool};
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::{Content, Expected, Stamped};
use crate::stamp::{Key, SECTOR};
use crate::sys::File;
use crate::{file, storage};

/// Which copy of the data to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// A buffered read.
    Cache,
    /// A direct read, after `fdatasync(2)` and `POSIX_FADV_DONTNEED`.
    Disk,
}

impl std::str::FromStr for Rung {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "cache" => Ok(Self::Cache),
            "disk" => Ok(Self::Disk),
            _ => Err(Error::new(Step::Options, format!("There is no rung \"{name}\": use cache or disk"))),
        }
    }
}

/// What the file should be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Where its stamps begin; what lies before is not looked at.
    pub offset: u64,
    /// Its size: where its stamps end.
    pub bytes: u64,
    /// Its stamps.
    pub key: Key,
    /// Where to look.
    pub rung: Rung,
    /// How many bad ranges to describe; the others are counted.
    pub ranges_max: usize,
}

/// What the file is.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Why the file could not be verified, or not to its end.
    pub error: Option<Error>,
    /// The file's size.
    pub bytes_found: u64,
    /// Sectors expected and looked at (or missing).
    pub sectors: u64,
    /// Those that are wrong.
    pub sectors_bad: u64,
    /// The first bad ranges.
    pub ranges: Vec<BadRange>,
    /// How many bad ranges there are.
    pub ranges_total: u64,
    /// For [`Rung::Disk`]: false when the filesystem has no direct I/O or no disk; nothing was looked at then.
    pub direct: bool,
    /// How much of long holes was not read, in bytes; it counts among `sectors`. Where the page cache has something, and at both ends
    /// of a hole, everything is read, and inside one piece of 64 KiB in 64.
    pub bytes_skipped: u64,
}

impl Outcome {
    /// Whether every expected byte was read and is right, and no byte is too many.
    pub fn is_good(&self) -> bool {
        self.error.is_none() && self.ranges_total == 0
    }
}

/// A buffered read is checked while it is in the processor's cache; a direct one is long enough to keep a device busy.
const CACHE_CHUNK_BYTES: usize = 256 << 10;
const DISK_CHUNK_BYTES: usize = 1 << 20;

/// Verifies a file that holds one generation of stamps.
pub fn verify(options: &Options) -> Outcome {
    let expected = Stamped { key: options.key, offset: options.offset, bytes: options.bytes };
    verify_expected(&options.path, &expected, options.rung, options.ranges_max)
}

/// Verifies a file that should be as `expected` says, and describes up to `ranges_max` bad ranges. Its memory does not grow with the
/// file nor with what is wrong in it.
pub fn verify_expected(path: &Path, expected: &dyn Expected, rung: Rung, ranges_max: usize) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = run(path, expected, rung, ranges_max, &mut outcome) {
        outcome.error = Some(error);
    }
    outcome
}

fn run(path: &Path, expected: &dyn Expected, rung: Rung, ranges_max: usize, outcome: &mut Outcome) -> Result<()> {
    let (bytes_min, bytes_max) = expected.sizes().into_inner();
    let buffered = File::open_to_read(path, file::Flags::default())?.verifying();
    outcome.bytes_found = buffered.size()?;
    let (file, chunk_bytes) = match rung {
        Rung::Cache => (buffered, CACHE_CHUNK_BYTES),
        Rung::Disk => {
            buffered.fdatasync()?;
            buffered.drop_cache(0, 0);
            if storage::is_in_memory(path)? {
                return Ok(());
            }
            if storage::dio_align(&buffered)?.is_some_and(|align| align.offset_bytes == 0) {
                // Opening it with `O_DIRECT` may work all the same, and be answered by the page cache (ext4 with data=journal).
                return Ok(());
            }
            match File::open_to_read(path, file::Flags { direct: true, sync: false }) {
                Ok(direct) => (direct.verifying(), DISK_CHUNK_BYTES),
                Err(error) if error.errno == Some(Errno(libc::EINVAL)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    outcome.direct = rung == Rung::Disk;
    let end = bytes_max.min(outcome.bytes_found);
    outcome.sectors = end.max(bytes_min).div_ceil(SECTOR).saturating_sub(expected.start() / SECTOR);
    let unit = NonZeroUsize::new(storage::direct_unit(&file)?).unwrap_or(NonZeroUsize::MIN);
    let chunk_bytes = chunk_bytes.max(unit.get());
    let wanted = usize::try_from(end).unwrap_or(usize::MAX).clamp(1, chunk_bytes);
    let chunk = NonZeroUsize::new(wanted.next_multiple_of(unit.get())).unwrap_or(unit);
    let mut buffer = Pool::new(1, chunk, Align::Offset(0))?.buffers.remove(0);
    let mut verifier = Verifier {
        path,
        expected,
        bytes_min,
        file,
        unit: unit.get() as u64,
        findings: Findings::new(ranges_max),
        block: storage::whole_block_bytes(path)?,
        direct: outcome.direct,
        bytes_found: outcome.bytes_found,
        hole: 0..0,
        uncached: 0..0,
        bytes_skipped: 0,
        #[cfg(test)]
        unreadable: tests::UNREADABLE.take(),
    };
    let result = verifier.all(end, &mut buffer);
    if outcome.bytes_found > bytes_max {
        verifier.findings.add(BadRange::new(bytes_max, outcome.bytes_found - bytes_max, Kind::BeyondEnd), 0);
    }
    outcome.bytes_skipped = verifier.bytes_skipped;
    verifier.findings.finish(outcome);
    result
}

struct Verifier<'caller> {
    path: &'caller Path,
    expected: &'caller dyn Expected,
    /// What is missing before this is missing.
    bytes_min: u64,
    file: File,
    /// The smallest piece that a read error can be narrowed down to, and for a direct read the alignment it needs.
    unit: u64,
    findings: Findings,
    /// What the device writes whole, in bytes.
    block: Option<u64>,
    direct: bool,
    bytes_found: u64,
    /// What the filesystem has said is one.
    hole: Range<u64>,
    /// A part of it of which the page cache had nothing before it was read.
    uncached: Range<u64>,
    bytes_skipped: u64,
    /// Bytes that cannot be read, for the test of what happens then.
    #[cfg(test)]
    unreadable: Vec<std::ops::Range<u64>>,
}

impl Verifier<'_> {
    /// Everything before `end`, and what is missing behind it.
    fn all(&mut self, end: u64, buffer: &mut Buffer) -> Result<()> {
        let mut offset = self.expected.start() / self.unit * self.unit;
        while offset < end {
            if self.may_skip(offset, end) {
                offset += PIECE_BYTES;
                self.bytes_skipped += PIECE_BYTES;
                continue;
            }
            let mut bytes = (end - offset).min(buffer.len() as u64);
            let pieces = 1..bytes / PIECE_BYTES;
            if let Some(hole) = pieces.map(|index| index * PIECE_BYTES).find(|at| self.may_skip(offset + at, end)) {
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

    /// Whether the piece that begins here lies inside a hole and need not be read.
    fn may_skip(&mut self, offset: u64, end: u64) -> bool {
        // Asked before anything of the hole is read, which puts pages there.
        if !self.is_hole(offset, end) || !self.direct && !self.is_uncached(offset) {
            return false;
        }
        let inside = offset >= self.expected.start() + PIECE_BYTES
            && self.is_hole(offset - PIECE_BYTES, end)
            && self.is_hole(offset + PIECE_BYTES, end);
        inside && !hole::is_sample(self.expected.key().seed, offset)
    }

    /// Whether the page cache has nothing of the piece of a hole that begins here.
    fn is_uncached(&mut self, offset: u64) -> bool {
        if self.uncached.contains(&offset) {
            return true;
        }
        let mut range = offset..self.hole.end.min(self.bytes_found);
        loop {
            if hole::is_uncached(&self.file, &range) {
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
    fn is_hole(&mut self, offset: u64, end: u64) -> bool {
        let window = offset..offset + PIECE_BYTES;
        if !window.start.is_multiple_of(self.unit) || window.end > end {
            return false;
        }
        let mut zeros = true;
        self.expected.each(window.clone(), &mut |_, contents| zeros &= *contents == [Content::Zeros]);
        if zeros && !(self.hole.start <= offset && offset < self.hole.end) {
            // SAFETY: moves the offset of an open file, which nothing here depends on.
            let data = unsafe { libc::lseek64(self.file.as_raw_fd(), offset as i64, libc::SEEK_DATA) };
            self.hole = match u64::try_from(data) {
                Ok(data) => offset..data,
                // There are no data behind it. Whatever else it cannot tell is read.
                Err(_) if Errno::last() == Errno(libc::ENXIO) => offset..u64::MAX,
                Err(_) => offset..offset,
            };
        }
        zeros && window.end <= self.hole.end
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
mod tests {
    use super::*;
    use crate::stamp::SECTOR_BYTES;
    use std::cell::RefCell;

    thread_local! {
        /// Bytes whose next read fails.
        pub(super) static UNREADABLE_ONCE: RefCell<Vec<std::ops::Range<u64>>> = const { RefCell::new(Vec::new()) };
        /// Bytes that reads return old disk content for.
        pub(super) static EXPOSED: RefCell<std::ops::Range<u64>> = const { RefCell::new(0..0) };
        pub(super) static UNREADABLE: RefCell<Vec<std::ops::Range<u64>>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn an_error_that_does_not_come_again_is_told() {
        let key = Key { seed: 1, file: 2, generation: 3 };
        let bytes = 1 << 20;
        let file = tempfile::NamedTempFile::new().expect("file");
        crate::workload::fill::fill(file.path(), bytes, key).expect("fill");
        UNREADABLE_ONCE.with_borrow_mut(|ranges| ranges.push(300_000..300_001));
        let options = Options { path: file.path().to_owned(), offset: 0, bytes, key, rung: Rung::Cache, ranges_max: 9 };
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
        for rung in [Rung::Cache, Rung::Disk] {
            let file = tempfile::NamedTempFile::new().expect("file");
            crate::workload::fill::fill(file.path(), bytes, key).expect("fill");
            // A bad sector in front of two more and of the last, partial one.
            std::os::unix::fs::FileExt::write_all_at(file.as_file(), &[0; 512], 2 << 20).expect("write");
            UNREADABLE.set(vec![5000..5001, (1 << 20) - 1..(1 << 20) + 1, bytes - 1..bytes]);
            let options = Options { path: file.path().to_owned(), offset: 0, bytes, key, rung, ranges_max: 9 };
            let outcome = verify(&options);
            assert!(outcome.error.is_none(), "{outcome:?}");
            if rung == Rung::Disk && !outcome.direct {
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
        for rung in [Rung::Cache, Rung::Disk] {
            let file = tempfile::NamedTempFile::new().expect("file");
            let mut memory = vec![7; bytes as usize];
            key.fill(offset, &mut memory[offset as usize..]);
            memory[20 * SECTOR_BYTES..][..SECTOR_BYTES].fill(0);
            std::os::unix::fs::FileExt::write_all_at(file.as_file(), &memory, 0).expect("write");
            let options = Options { path: file.path().to_owned(), offset, bytes, key, rung, ranges_max: 9 };
            let outcome = verify(&options);
            assert!(outcome.error.is_none(), "{outcome:?}");
            if rung == Rung::Disk && !outcome.direct {
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
            let found = verify_expected(file.path(), &zeros(bytes), Rung::Cache, 4);
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
            for rung in [Rung::Cache, Rung::Disk] {
                let good = verify_expected(file.path(), &zeros(bytes), rung, 4);
                assert!(good.is_good(), "{good:?}");
                assert!(good.bytes_skipped > bytes / 10 * 9, "{rung:?}: {}", good.bytes_skipped);
                for exposed in [0..65536, bytes - 65536..bytes, 65536 * 64..65536 * 128] {
                    File::open_to_read(file.path(), file::Flags::default()).expect("open").drop_cache(0, 0);
                    EXPOSED.set(exposed.clone());
                    let found = verify_expected(file.path(), &zeros(bytes), rung, 4);
                    EXPOSED.set(0..0);
                    assert_eq!(found.ranges.first().map(|range| range.kind), Some(Kind::StaleDisk), "{rung:?} {exposed:?}");
                }
            }
        }
    }
}
