//! Which copy of the data is looked at, and how one gets there.

use std::num::NonZeroUsize;
use std::path::Path;

use serde::Deserialize;

use super::check::Findings;
use super::explain::{BadRange, Kind};
use super::holes::Holes;
use super::verifier::Verifier;
use super::{Options, Outcome};
use crate::buffer::{Align, Pool};
use crate::error::{Errno, Result};
use crate::oracle::{Expected, Stamped};
use crate::stamp::SECTOR;
use crate::storage;
use crate::sys::{File, Flags};

/// Which copy of the data to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "VerifyLevel"))]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A buffered read.
    Cache,
    /// A direct read, after `fdatasync(2)` and `POSIX_FADV_DONTNEED`.
    Disk,
}

/// A buffered read is checked while it is in the processor's cache; a direct one is long enough to keep a device busy.
const CACHE_CHUNK_BYTES: usize = 256 << 10;
const DISK_CHUNK_BYTES: usize = 1 << 20;

/// Verifies a file that holds one generation of stamps.
pub fn verify(options: &Options) -> Outcome {
    let expected = Stamped { key: options.key, offset: options.offset, bytes: options.bytes };
    verify_expected(&options.path, &expected, options.level, options.ranges_max)
}

/// Verifies a file that should be as `expected` says, and describes up to `ranges_max` bad ranges. Its memory does not grow with the
/// file nor with what is wrong in it.
pub fn verify_expected(path: &Path, expected: &dyn Expected, level: Level, ranges_max: usize) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = run(path, expected, level, ranges_max, &mut outcome) {
        outcome.error = Some(error);
    }
    outcome
}

fn run(path: &Path, expected: &dyn Expected, level: Level, ranges_max: usize, outcome: &mut Outcome) -> Result<()> {
    let (bytes_min, bytes_max) = expected.sizes().into_inner();
    let buffered = File::open_to_read(path, Flags::default())?.verifying();
    outcome.bytes_found = buffered.size()?;
    let (file, chunk_bytes) = match level {
        Level::Cache => (buffered, CACHE_CHUNK_BYTES),
        Level::Disk => {
            buffered.fdatasync()?;
            buffered.drop_cache(0, 0);
            if storage::is_in_memory(path)? {
                return Ok(());
            }
            if storage::dio_align(&buffered)?.is_some_and(|align| align.offset_bytes == 0) {
                // Opening it with `O_DIRECT` may work all the same, and be answered by the page cache (ext4 with data=journal).
                return Ok(());
            }
            match File::open_to_read(path, Flags::DIRECT) {
                Ok(direct) => (direct.verifying(), DISK_CHUNK_BYTES),
                Err(error) if error.errno == Some(Errno(libc::EINVAL)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    outcome.direct = level == Level::Disk;
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
        holes: Holes::new(expected, unit.get() as u64, outcome.direct, outcome.bytes_found),
        bytes_skipped: 0,
        #[cfg(test)]
        unreadable: super::verifier::tests::UNREADABLE.take(),
    };
    let result = verifier.all(end, &mut buffer);
    if outcome.bytes_found > bytes_max {
        verifier.findings.add(BadRange::new(bytes_max, outcome.bytes_found - bytes_max, Kind::BeyondEnd), 0);
    }
    outcome.bytes_skipped = verifier.bytes_skipped;
    verifier.findings.finish(outcome);
    result
}
