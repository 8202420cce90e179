//! Writes a file full of stamps.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::buffer::{Align, Pool};
use crate::error::{Errno, Error, Result, Step};
use crate::file;
use crate::stamp::Key;

/// Small enough to be stamped and copied into the page cache while it is in the processor's cache; a multiple of the sector.
const CHUNK_BYTES: u64 = 256 << 10;

/// Writes the first `bytes` bytes of the file with stamps of `key`, through the page cache, and `fsync`s it. The file is created with
/// mode 0666 if need be; what lies behind `bytes` stays.
pub fn fill(path: &Path, bytes: u64, key: Key) -> Result<()> {
    let file = file::open_to_write(path, true, file::Flags::default())?;
    let chunk = usize::try_from(bytes.clamp(1, CHUNK_BYTES)).unwrap_or(usize::MAX);
    let mut pool = Pool::new(1, NonZeroUsize::new(chunk).unwrap_or(NonZeroUsize::MIN), Align::Offset(0))?;
    let buffer = &mut *pool.buffers[0];
    let mut offset = 0;
    while offset < bytes {
        let chunk = &mut buffer[..usize::try_from((bytes - offset).min(CHUNK_BYTES)).unwrap_or(usize::MAX)];
        key.fill(offset, chunk);
        write(path, &file, chunk, offset)?;
        offset += chunk.len() as u64;
    }
    file::fsync(path, &file)
}

fn write(path: &Path, file: &File, chunk: &[u8], offset: u64) -> Result<()> {
    // `write_all_at` resumes short writes and retries EINTR.
    file.write_all_at(chunk, offset).map_err(|error| {
        let errno = Errno::from(&error);
        let message = match errno.0 {
            libc::ENOSPC => "The filesystem is full",
            libc::EDQUOT => "The disk quota is used up",
            libc::EFBIG => "The file would be larger than the filesystem or the limit (ulimit -f) allows",
            _ => "The file could not be written",
        };
        Error::new(Step::Write, message).errno(errno).path(path).offset(offset)
    })
}
