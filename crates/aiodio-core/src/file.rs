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
    /// With `O_NOFOLLOW`: no testcase has a reason to put a symbolic link in its file's place, so whoever did is somebody else, who
    /// would have root write through it.
    pub(crate) fn bits(self) -> i32 {
        libc::O_NOFOLLOW | (if self.direct { libc::O_DIRECT } else { 0 }) | (if self.sync { libc::O_SYNC } else { 0 })
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
        libc::ELOOP => "There is a symbolic link in the file's place, which is not followed",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbolic_link_in_a_files_place_is_not_followed() {
        let place = tempfile::tempdir().expect("directory");
        let (target, link) = (place.path().join("target"), place.path().join("link"));
        std::fs::write(&target, "somebody's").expect("target");
        std::os::unix::fs::symlink(&target, &link).expect("link");
        for opened in [open_to_write(&link, true, Flags::default()), open_to_read(&link, Flags::default())] {
            let error = opened.expect_err("followed");
            assert_eq!((error.step, error.errno), (Step::Open, Some(Errno(libc::ELOOP))));
        }
        // Nor is what it points to made.
        std::fs::remove_file(&target).expect("target");
        open_to_write(&link, false, Flags::default()).expect_err("followed");
        assert!(!target.exists());
        open_to_write(&target, false, Flags::default()).expect("a file that is none");
    }
}
