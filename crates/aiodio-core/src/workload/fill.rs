//! Writes a file full of stamps.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::buffer::{Align, Pool};
use crate::error::{Error, Result, Step};
use crate::stamp::Key;
use crate::sys::{File, Flags};

/// What to write.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// How much of it.
    pub bytes: u64,
    /// Its stamps.
    pub key: Key,
}

/// Small enough to be stamped and copied into the page cache while it is in the processor's cache; a multiple of the sector.
const CHUNK_BYTES: u64 = 256 << 10;

/// Writes the first `bytes` bytes of the file with stamps of `key`, through the page cache, and `fsync`s it. The file is created with
/// mode 0666 if need be; what lies behind `bytes` stays.
pub fn fill(path: &Path, bytes: u64, key: Key) -> Result<()> {
    let file = File::open_to_write(path, true, Flags::default())?;
    let chunk = usize::try_from(bytes.clamp(1, CHUNK_BYTES)).unwrap_or(usize::MAX);
    let mut pool = Pool::new(1, NonZeroUsize::new(chunk).unwrap_or(NonZeroUsize::MIN), Align::Offset(0))?;
    let buffer = &mut *pool.buffers[0];
    let mut offset = 0;
    while offset < bytes {
        let chunk = &mut buffer[..usize::try_from((bytes - offset).min(CHUNK_BYTES)).unwrap_or(usize::MAX)];
        key.fill(offset, chunk);
        write(path, &file, chunk, offset, key.generation)?;
        offset += chunk.len() as u64;
    }
    file.fsync()
}

fn write(path: &Path, file: &File, chunk: &[u8], offset: u64, generation: u32) -> Result<()> {
    let errno = match file.write(chunk, offset, generation) {
        Ok(written) if written == chunk.len() => return Ok(()),
        Ok(written) => {
            let message = format!("Only {written} of {} bytes could be written at offset {offset}", chunk.len());
            let error = Error::new(Step::ShortWrite, message).path(path).offset(offset);
            return Err(error.transferred(chunk.len() as u64, written as u64));
        }
        Err(errno) => errno,
    };
    let message = match errno.0 {
        libc::ENOSPC => "The filesystem is full",
        libc::EDQUOT => "The disk quota is used up",
        libc::EFBIG => "The file would be larger than the filesystem or the limit (ulimit -f) allows",
        _ => "The file could not be written",
    };
    Err(Error::new(Step::Write, message).errno(errno).path(path).offset(offset))
}
