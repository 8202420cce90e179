//! Reads a stamped file back and says what is wrong with it.
//!
//! Two rungs of the verification ladder are here. `cache` is what LTP does: a buffered read, which may be answered by the page cache.
//! `disk` makes the data durable, drops it from the page cache and reads it with `O_DIRECT`. The two have their own verdicts: cache
//! bad and disk good is another bug than the reverse.

mod explain;

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use self::explain::explain;
pub use self::explain::{BadRange, Kind, TornWith};
use crate::buffer::{Align, Buffer, Pool};
use crate::error::{Errno, Error, Result, Step};
use crate::stamp::{Key, SECTOR, SECTOR_BYTES};
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
    /// Its size.
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
}

impl Outcome {
    /// Whether every expected byte was read and is right, and no byte is too many.
    pub fn is_good(&self, bytes: u64) -> bool {
        self.error.is_none() && self.sectors_bad == 0 && self.bytes_found == bytes
    }
}

/// A buffered read is checked while it is in the processor's cache; a direct one is long enough to keep a device busy.
const CACHE_CHUNK_BYTES: usize = 256 << 10;
const DISK_CHUNK_BYTES: usize = 1 << 20;

/// Verifies. Its memory does not grow with the file nor with what is wrong in it.
pub fn verify(options: &Options) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = run(options, &mut outcome) {
        outcome.error = Some(error);
    }
    outcome
}

fn run(options: &Options, outcome: &mut Outcome) -> Result<()> {
    let path = &options.path;
    let buffered = file::open_to_read(path, file::Flags::default())?;
    outcome.bytes_found = file::size(path, &buffered)?;
    let (file, chunk_bytes) = match options.rung {
        Rung::Cache => (buffered, CACHE_CHUNK_BYTES),
        Rung::Disk => {
            file::sync(path, buffered.sync_data())?;
            // SAFETY: advice about an open file.
            unsafe { libc::posix_fadvise(buffered.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
            if storage::is_in_memory(path)? {
                return Ok(());
            }
            match file::open_to_read(path, file::Flags { direct: true, sync: false }) {
                Ok(direct) => (direct, DISK_CHUNK_BYTES),
                Err(error) if error.errno == Some(Errno(libc::EINVAL)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    outcome.direct = options.rung == Rung::Disk;
    outcome.sectors = options.bytes.div_ceil(SECTOR);
    let unit = read_unit(path, &file, outcome.direct)?;
    let chunk_bytes = chunk_bytes.max(unit.get());
    let wanted = usize::try_from(options.bytes).unwrap_or(usize::MAX).clamp(1, chunk_bytes);
    let chunk = NonZeroUsize::new(wanted.next_multiple_of(unit.get())).unwrap_or(unit);
    let mut buffer = Pool::new(1, chunk, Align::Offset(0))?.buffers.remove(0);
    let mut verifier = Verifier {
        options,
        file,
        unit: unit.get() as u64,
        findings: Findings::new(options.ranges_max),
        #[cfg(test)]
        unreadable: tests::UNREADABLE.take(),
    };
    let end = options.bytes.min(outcome.bytes_found);
    let result = verifier.all(end, &mut buffer);
    verifier.findings.finish(outcome);
    result
}

/// The smallest piece that a read error can be narrowed down to, and for a direct read the alignment it needs: the filesystem's own
/// statement, else its block size (which for btrfs is what its direct I/O needs).
fn read_unit(path: &Path, file: &File, direct: bool) -> Result<NonZeroUsize> {
    let stated = if direct { storage::dio_align(file)?.map(|align| align.offset_bytes) } else { None };
    let block = match stated {
        Some(bytes) if bytes > 0 => bytes,
        _ => match file.metadata() {
            Ok(metadata) => metadata.blksize() as usize,
            Err(error) => {
                return Err(Error::new(Step::Stat, "The file cannot be examined").errno(Errno::from(&error)).path(path));
            }
        },
    };
    let block = block.clamp(SECTOR_BYTES, 64 << 10).next_power_of_two();
    Ok(NonZeroUsize::new(block).unwrap_or(NonZeroUsize::MIN))
}

struct Verifier<'options> {
    options: &'options Options,
    file: File,
    unit: u64,
    findings: Findings,
    /// Bytes that cannot be read, for the test of what happens then.
    #[cfg(test)]
    unreadable: Vec<std::ops::Range<u64>>,
}

impl Verifier<'_> {
    /// Everything before `end`, and what is missing behind it.
    fn all(&mut self, end: u64, buffer: &mut Buffer) -> Result<()> {
        let mut offset = 0;
        while offset < end {
            let bytes = (end - offset).min(buffer.len() as u64);
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
        if end < self.options.bytes {
            let mut sectors = self.options.bytes.div_ceil(SECTOR) - end / SECTOR;
            // The sector that the file ends in counts once.
            if !end.is_multiple_of(SECTOR) && self.findings.ends_at(end) {
                sectors -= 1;
            }
            self.findings.add(BadRange::new(end, self.options.bytes - end, Kind::Missing), sectors);
        }
    }

    /// Reads and checks a piece; in case of a read error, its halves.
    fn piece(&mut self, offset: u64, bytes: u64, buffer: &mut Buffer) -> Result<Read> {
        match self.read(offset, bytes, buffer) {
            Ok(got) => {
                self.check(offset, &buffer[..got as usize]);
                Ok(if got == bytes { Read::All } else { Read::EndsAt(offset + got) })
            }
            Err(errno) if is_about_the_medium(errno) => {
                if bytes <= self.unit {
                    let range = BadRange { errno: Some(errno), ..BadRange::new(offset, bytes, Kind::ReadError) };
                    self.findings.add(range, bytes.div_ceil(SECTOR));
                    return Ok(Read::All);
                }
                let half = (bytes / 2).next_multiple_of(self.unit).min(bytes - 1) / self.unit * self.unit;
                match self.piece(offset, half, buffer)? {
                    Read::All => self.piece(offset + half, bytes - half, buffer),
                    Read::EndsAt(end) => Ok(Read::EndsAt(end)),
                }
            }
            Err(errno) => {
                let message = format!("Reading {bytes} bytes at offset {offset} failed");
                Err(Error::new(Step::Read, message).errno(errno).path(&self.options.path).offset(offset))
            }
        }
    }

    /// Fewer bytes only at the end of the file.
    fn read(&self, offset: u64, bytes: u64, buffer: &mut Buffer) -> std::result::Result<u64, Errno> {
        #[cfg(test)]
        if self.unreadable.iter().any(|bad| bad.start < offset + bytes && offset < bad.end) {
            return Err(Errno(libc::EIO));
        }
        let mut got = 0;
        while got < bytes {
            // A direct read has to go on at a multiple of the unit, and to end at one.
            let at = got / self.unit * self.unit;
            let length = bytes.next_multiple_of(self.unit).min(buffer.len() as u64) - at;
            let target = &mut buffer[at as usize..(at + length) as usize];
            // SAFETY: `target` has room for `length` bytes.
            let count =
                unsafe { libc::pread64(self.file.as_raw_fd(), target.as_mut_ptr().cast(), target.len(), (offset + at) as i64) };
            let Ok(count) = u64::try_from(count) else {
                match Errno::last() {
                    Errno(libc::EINTR) => continue,
                    errno => return Err(errno),
                }
            };
            if at + count <= got {
                break;
            }
            got = at + count;
        }
        Ok(got.min(bytes))
    }

    /// Compares memory with the stamps of its place in the file.
    fn check(&mut self, offset: u64, memory: &[u8]) {
        let key = self.options.key;
        let mut sector = offset / SECTOR;
        let (whole, rest) = memory.as_chunks::<SECTOR_BYTES>();
        for found in whole {
            if !key.at(sector).matches(found) {
                self.findings.add(explain(key.at(sector), found), 1);
            }
            sector += 1;
        }
        if !rest.is_empty() && *rest != key.at(sector).bytes()[..rest.len()] {
            self.findings.add(explain(key.at(sector), rest), 1);
        }
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

/// Collects bad ranges in ascending order, merging neighbours.
#[derive(Debug)]
struct Findings {
    max: usize,
    ranges: Vec<BadRange>,
    total: u64,
    sectors_bad: u64,
    open: Option<BadRange>,
}

impl Findings {
    fn new(max: usize) -> Self {
        Self { max, ranges: Vec::new(), total: 0, sectors_bad: 0, open: None }
    }

    fn add(&mut self, next: BadRange, sectors: u64) {
        self.sectors_bad += sectors;
        if let Some(open) = &mut self.open
            && open.continues_with(&next)
        {
            open.bytes += next.bytes;
            open.differing_bytes += next.differing_bytes;
            open.differing_bits += next.differing_bits;
            return;
        }
        self.close();
        self.open = Some(next);
    }

    fn ends_at(&self, offset: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.offset + open.bytes == offset)
    }

    fn close(&mut self) {
        if let Some(range) = self.open.take() {
            self.total += 1;
            if self.ranges.len() < self.max {
                self.ranges.push(range);
            }
        }
    }

    fn finish(mut self, outcome: &mut Outcome) {
        self.close();
        outcome.sectors_bad = self.sectors_bad;
        outcome.ranges = self.ranges;
        outcome.ranges_total = self.total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    thread_local! {
        pub(super) static UNREADABLE: RefCell<Vec<std::ops::Range<u64>>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn read_errors_are_narrowed_down_and_the_rest_is_verified() {
        let key = Key { seed: 1, file: 2, generation: 3 };
        let bytes = (3 << 20) + 1234;
        for rung in [Rung::Cache, Rung::Disk] {
            let file = tempfile::NamedTempFile::new().expect("file");
            crate::fill::fill(file.path(), bytes, key).expect("fill");
            // A bad sector in front of two more and of the last, partial one.
            std::os::unix::fs::FileExt::write_all_at(file.as_file(), &[0; 512], 2 << 20).expect("write");
            UNREADABLE.set(vec![5000..5001, (1 << 20) - 1..(1 << 20) + 1, bytes - 1..bytes]);
            let options = Options { path: file.path().to_owned(), bytes, key, rung, ranges_max: 9 };
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
}
