//! Opening and asking about files, with errors that name them. std retries EINTR in `open`.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Errno, Error, Result, Step};
use crate::recorder::Kind;
use crate::sys::{self, Calls};

/// Bits for [`OpenOptionsExt::custom_flags`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// `O_DIRECT`.
    pub(crate) direct: bool,
    /// `O_SYNC`.
    pub(crate) sync: bool,
}

impl Flags {
    fn bits(self) -> i32 {
        (if self.direct { libc::O_DIRECT } else { 0 }) | (if self.sync { libc::O_SYNC } else { 0 })
    }
}

pub(crate) fn open_to_read(path: &Path, flags: Flags) -> Result<File> {
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| open_error(path, flags, &error))
}

/// Creates the file with mode 0666 if need be, and truncates nothing.
pub(crate) fn open_to_write(path: &Path, read: bool, flags: Flags) -> Result<File> {
    OpenOptions::new()
        .read(read)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o666)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(|error| open_error(path, flags, &error))
}

fn open_error(path: &Path, flags: Flags, error: &std::io::Error) -> Error {
    let errno = Errno::from(error);
    let message = match errno.0 {
        libc::EINVAL if flags.direct => "The filesystem refuses direct I/O (O_DIRECT)",
        libc::ENOENT => "There is no such file",
        libc::EACCES | libc::EPERM => "The file may not be opened by this user",
        libc::EROFS => "The filesystem is mounted read-only",
        _ => "The file cannot be opened",
    };
    Error::new(Step::Open, message).errno(errno).path(path)
}

pub(crate) fn size(path: &Path, file: &File) -> Result<u64> {
    match file.metadata() {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) => Err(Error::new(Step::Stat, "The file's size cannot be learnt").errno(Errno::from(&error)).path(path)),
    }
}

/// `fsync(2)` on any descriptor.
pub(crate) fn fsync(path: &Path, file: impl AsFd) -> Result<()> {
    sys::sync(path, &Calls::on(file.as_fd()), file.as_fd(), Kind::Fsync)
}
