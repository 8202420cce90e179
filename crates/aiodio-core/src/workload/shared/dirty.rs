//! Leaves recognisable old data in a filesystem's free blocks, so that a file that shows what its blocks held before is caught.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::buffer::{Align, Pool};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::stamp::{Key, STALE_DISK_FILE};
use crate::sys::ioctl::{FreeBlocks, XFS_IOC_FREE_EOFBLOCKS, ioctl};
use crate::sys::{File, Flags};

/// What to leave old data with.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Must not exist.
    pub path: PathBuf,
    /// How much.
    pub bytes: u64,
    /// Of the stamps.
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
}

/// Long enough to keep a device busy; the same block is written again and again, since nobody asks which of them was exposed.
const CHUNK_BYTES: usize = 4 << 20;

/// Writes `bytes` bytes (rounded up to a page) of stale stamps to a file of that name, with direct I/O where the filesystem has it,
/// removes it, and waits until its blocks are free: journalling filesystems hand out the blocks of a removed file only when the
/// removal is on the disk.
pub fn dirty_free_blocks(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    let written = write(path, bytes, seed);
    // The blocks must be free again, whatever went wrong.
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return written,
        Err(error) => {
            let error = Error::new(Step::Open, "The file cannot be removed").errno(Errno::from(&error)).path(path);
            return written.and(Err(error));
        }
    }
    written?;
    sync_filesystem(path.parent().unwrap_or(Path::new(".")))
}

/// `syncfs(2)`: what was deleted is free to be used again only from then on (btrfs pins it until its transaction commits).
fn sync_filesystem(directory: &Path) -> Result<()> {
    let handle = File::open_to_read(directory, Flags::default())?;
    // SAFETY: a descriptor that is open during the call.
    if unsafe { libc::syncfs(handle.as_raw_fd()) } == 0 {
        return Ok(());
    }
    Err(Error::new(Step::Fsync, "The filesystem could not be synced").errno(Errno::last()).path(directory))
}

/// Whether so many bytes are free in a directory's filesystem, for whoever has no right to what is reserved, when all that was deleted
/// is counted as free: btrfs frees it with the next transaction, which `syncfs(2)` waits for, and XFS in the background (Linux 5.14),
/// which `XFS_IOC_FREE_EOFBLOCKS` waits for. Nothing is allocated to find out: what does not fit would fill the filesystem first, and
/// whoever writes there at that moment would get ENOSPC.
pub fn has_room(directory: &Path, bytes: u64) -> Result<bool> {
    sync_filesystem(directory)?;
    let failed = |error: Errno| Error::new(Step::Stat, "Free space cannot be learnt").errno(error).path(directory);
    let handle = File::open_to_read(directory, Flags::default())?;
    let all = FreeBlocks { version: 1, flags_and_owners: [0; 5], size_and_reserved: [0; 13] };
    // Other filesystems don't know it, and only root may ask: then what is counted has to do.
    // SAFETY: the request takes a pointer to this structure, and reads it.
    let (Ok(_) | Err(_)) = unsafe { ioctl(handle.as_fd(), XFS_IOC_FREE_EOFBLOCKS, &raw const all) };
    let mut space = std::mem::MaybeUninit::<libc::statvfs64>::uninit();
    // SAFETY: an open descriptor, and room for what is told.
    if unsafe { libc::fstatvfs64(handle.as_raw_fd(), space.as_mut_ptr()) } != 0 {
        return Err(failed(Errno::last()));
    }
    // SAFETY: the call has filled it.
    let space = unsafe { space.assume_init() };
    Ok(u128::from(space.f_bavail) * u128::from(space.f_frsize) >= u128::from(bytes))
}

fn write(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    let direct = Flags::DIRECT;
    let (file, direct) = match File::open_to_write(path, false, direct) {
        Ok(file) => (file, true),
        Err(error) if error.errno == Some(Errno(libc::EINVAL)) => (File::open_to_write(path, false, Flags::default())?, false),
        Err(error) => return Err(error),
    };
    let bytes = bytes.next_multiple_of(crate::buffer::page_bytes() as u64);
    let chunk = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, CHUNK_BYTES);
    let mut pool = Pool::new(1, NonZeroUsize::new(chunk).unwrap_or(NonZeroUsize::MIN), Align::Offset(0))?;
    let buffer = &mut *pool.buffers[0];
    Key { seed, file: STALE_DISK_FILE, generation: 0 }.fill(0, buffer);
    let mut offset = 0;
    while offset < bytes {
        let length = (bytes - offset).min(chunk as u64);
        let failed = || Error::new(Step::Write, "The free blocks cannot be filled with old data").path(path).offset(offset);
        match file.write(&buffer[..length as usize], offset, 0) {
            Ok(written) if written as u64 == length => offset += length,
            Ok(written) => return Err(failed().transferred(length, written as u64)),
            Err(errno) => return Err(failed().errno(errno)),
        }
    }
    if direct { Ok(()) } else { file.fsync() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_gone_afterwards() {
        let place = tempfile::tempdir().expect("directory");
        let path = place.path().join("dirty_file");
        dirty_free_blocks(&path, 5 << 20, 1).expect("dirty");
        assert!(!path.exists());
        let error = dirty_free_blocks(&place.path().join("missing/dirty_file"), 4096, 1).expect_err("must fail");
        assert_eq!(error.step, Step::Open);
    }

    #[test]
    fn what_it_writes_is_recognised_as_old_data() {
        let file = tempfile::NamedTempFile::new().expect("file");
        write(file.path(), (4 << 20) + 4096, 9).expect("write");
        let expected = crate::oracle::Stamped { key: Key { seed: 9, file: 1, generation: 1 }, offset: 0, bytes: (4 << 20) + 4096 };
        let found = crate::verify::verify_expected(file.path(), &expected, crate::verify::Level::Cache, 1);
        assert_eq!(found.sectors_bad, found.sectors);
        assert_eq!(found.ranges[0].kind, crate::verify::Kind::StaleDisk);
    }
}
