//! Open files.

use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Answer, Calls, dio_offset_align, ioctl, sync, truncate};
use crate::error::{Errno, Error, Result, Step};
use crate::recorder::{Begin, Kind, VERIFYING};

/// `UIO_MAXIOV` of `include/uapi/linux/uio.h`: one call takes no more vectors than this.
const VECTORS_MAX: usize = 1024;

/// Bits for [`OpenOptionsExt::custom_flags`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// `O_DIRECT`.
    pub(crate) direct: bool,
    /// `O_SYNC`.
    pub(crate) sync: bool,
}

impl Flags {
    pub(crate) const DIRECT: Self = Self { direct: true, sync: false };

    /// With `O_NOFOLLOW`: no testcase has a reason to put a symbolic link in its file's place, so whoever did is somebody else, who
    /// would have root write through it.
    pub(crate) fn bits(self) -> i32 {
        libc::O_NOFOLLOW | (if self.direct { libc::O_DIRECT } else { 0 }) | (if self.sync { libc::O_SYNC } else { 0 })
    }
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

/// An open file whose calls are recorded.
#[derive(Debug)]
pub(crate) struct File {
    open: fs::File,
    path: PathBuf,
    calls: Calls,
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.open.as_raw_fd()
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> Self {
        file.open.into()
    }
}

impl File {
    fn open(path: &Path, flags: Flags, options: &mut OpenOptions) -> Result<Self> {
        let file = options.custom_flags(flags.bits()).open(path).map_err(|error| open_error(path, flags, &error))?;
        Ok(Self::new(path, file))
    }

    /// `path` is for error messages.
    pub(crate) fn new(path: &Path, file: fs::File) -> Self {
        let calls = Calls::on(file.as_fd());
        Self { open: file, path: path.to_owned(), calls }
    }

    pub(crate) fn open_to_read(path: &Path, flags: Flags) -> Result<Self> {
        Self::open(path, flags, OpenOptions::new().read(true))
    }

    /// Creates the file with mode 0666 if need be, and truncates nothing.
    pub(crate) fn open_to_write(path: &Path, read: bool, flags: Flags) -> Result<Self> {
        Self::open(path, flags, OpenOptions::new().read(read).write(true).create(true).truncate(false).mode(0o666))
    }

    /// Marks its operations as the verification's.
    #[must_use]
    pub(crate) fn verifying(mut self) -> Self {
        self.calls.flags |= VERIFYING;
        self
    }

    /// For calls that have no function here.
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> Result<u64> {
        let failed = |error| Error::new(Step::Stat, "The file's size cannot be learnt").errno(Errno::from(&error)).path(&self.path);
        self.open.metadata().map(|metadata| metadata.len()).map_err(failed)
    }

    /// Reads until `memory` is full. Fewer bytes: the file ends there.
    pub(crate) fn read(&self, memory: &mut [u8], offset: u64) -> Answer<usize> {
        // SAFETY: the slice is borrowed for the call, exclusively.
        unsafe { self.read_raw(memory.as_mut_ptr(), memory.len(), offset) }
    }

    /// Writes all of `memory`, stamps of that generation, or 0. Fewer bytes: the kernel takes no more.
    pub(crate) fn write(&self, memory: &[u8], offset: u64, generation: u32) -> Answer<usize> {
        // SAFETY: the slice is borrowed for the call.
        unsafe { self.write_raw(memory.as_ptr(), memory.len(), offset, generation) }
    }

    /// [`Self::read`] of all: the same error as std's own where the file ends before, EINVAL.
    pub(crate) fn read_whole(&self, memory: &mut [u8], offset: u64) -> Answer<()> {
        if self.read(memory, offset)? == memory.len() { Ok(()) } else { Err(Errno(libc::EINVAL)) }
    }

    /// [`Self::write`] of all, in the same manner.
    pub(crate) fn write_whole(&self, memory: &[u8], offset: u64, generation: u32) -> Answer<()> {
        if self.write(memory, offset, generation)? == memory.len() { Ok(()) } else { Err(Errno(libc::EINVAL)) }
    }

    /// [`Self::read`] into memory that others may look at or change meanwhile.
    ///
    /// # Safety
    /// The memory must be mapped until the call is over, and no reference to it may exist.
    pub(crate) unsafe fn read_raw(&self, start: *mut u8, bytes: usize, offset: u64) -> Answer<usize> {
        // SAFETY: the caller's.
        unsafe { self.calls.transfer(self.as_raw_fd(), Kind::Read, start.cast(), bytes, offset, 0) }
    }

    /// [`Self::write`] from memory that others may change meanwhile.
    ///
    /// # Safety
    /// The memory must be mapped until the call is over, and no exclusive reference to it may exist.
    pub(crate) unsafe fn write_raw(&self, start: *const u8, bytes: usize, offset: u64, generation: u32) -> Answer<usize> {
        // SAFETY: the caller's; a write does not change it.
        unsafe { self.calls.transfer(self.as_raw_fd(), Kind::Write, start.cast_mut().cast(), bytes, offset, generation) }
    }

    /// Transfers all of the vectors, with `preadv(2)` or `pwritev(2)`: one call for each [`VECTORS_MAX`] of them.
    ///
    /// # Safety
    /// As for [`Self::read_raw`], or with `write` [`Self::write_raw`].
    pub(crate) unsafe fn vectored(&self, write: bool, vectors: &[libc::iovec], offset: u64, generation: u32) -> Answer<usize> {
        let bytes: usize = vectors.iter().map(|vector| vector.iov_len).sum();
        let kind = if write { Kind::Write } else { Kind::Read };
        let address = vectors.first().map_or(0, |vector| vector.iov_base as u64);
        let begin = Begin { address, generation, ..self.calls.begin(kind, offset, bytes as u64) };
        let fd = self.as_raw_fd();
        self.calls.all(
            &begin,
            || dio_offset_align(self.as_fd()),
            |at| {
                let rest = rest(vectors, at);
                let (start, count) = (rest.as_ptr(), rest.len().min(VECTORS_MAX) as i32);
                let offset = (offset + at as u64) as libc::off64_t;
                if write {
                    // SAFETY: the caller vouches for the memory; the vectors live as long as the call.
                    unsafe { libc::pwritev64(fd, start, count, offset) }
                } else {
                    // SAFETY: as above.
                    unsafe { libc::preadv64(fd, start, count, offset) }
                }
            },
        )
    }

    /// `fsync(2)`.
    pub(crate) fn fsync(&self) -> Result<()> {
        sync(&self.path, &self.calls, self.as_fd(), Kind::Fsync)
    }

    /// `fdatasync(2)`.
    pub(crate) fn fdatasync(&self) -> Result<()> {
        sync(&self.path, &self.calls, self.as_fd(), Kind::Fdatasync)
    }

    /// `ftruncate(2)`.
    pub(crate) fn truncate(&self, size: u64) -> Answer<()> {
        truncate(&self.calls, self.as_fd(), size)
    }

    /// `fallocate(2)` with flags `mode`, of which `FALLOC_FL_*` each are a kind of the record's own.
    pub(crate) fn allocate(&self, mode: i32, offset: u64, bytes: u64) -> Answer<()> {
        let kinds = [
            (libc::FALLOC_FL_PUNCH_HOLE, Kind::Punch),
            (libc::FALLOC_FL_ZERO_RANGE, Kind::ZeroRange),
            (libc::FALLOC_FL_COLLAPSE_RANGE, Kind::Collapse),
            (libc::FALLOC_FL_INSERT_RANGE, Kind::Insert),
        ];
        let kind = kinds.iter().find(|(flag, _)| mode & flag != 0).map_or(Kind::Allocate, |(_, kind)| *kind);
        let fd = self.as_raw_fd();
        // SAFETY: an open descriptor.
        let call = || unsafe { libc::fallocate64(fd, mode, offset as i64, bytes as i64) };
        self.calls.call(&self.calls.begin(kind, offset, bytes), call).map(drop)
    }

    /// `FICLONERANGE`: shares `bytes` bytes of `source`, from `offset` on, with byte `to` of this file on.
    pub(crate) fn clone_range(&self, source: &Self, offset: u64, bytes: u64, to: u64) -> Answer<()> {
        let range = ioctl::CloneRange { source: source.as_raw_fd().into(), offset, bytes, to };
        // SAFETY: the request reads this structure.
        let call = || unsafe { ioctl::raw(self.as_fd(), ioctl::FICLONERANGE, &raw const range) };
        self.calls.call(&self.calls.begin(Kind::Clone, to, bytes), call).map(drop)
    }

    /// `copy_file_range(2)` inside of the file. Fewer bytes: it ends there.
    pub(crate) fn copy_range(&self, offset: u64, bytes: u64, to: u64) -> Answer<usize> {
        let fd = self.as_raw_fd();
        let copy = |at: usize| {
            let (mut from, mut to) = ((offset + at as u64) as i64, (to + at as u64) as i64);
            // SAFETY: both offsets live during the call.
            unsafe { libc::copy_file_range(fd, &raw mut from, fd, &raw mut to, bytes as usize - at, 0) }
        };
        self.calls.all(&self.calls.begin(Kind::Clone, to, bytes), || 1, copy)
    }

    /// `POSIX_FADV_DONTNEED`, advice that the kernel follows for clean pages which nobody has mapped, and silently leaves
    /// undone for all others. With 0 bytes: from `offset` to the end.
    pub(crate) fn drop_cache(&self, offset: u64, bytes: u64) {
        let fd = self.as_raw_fd();
        let begin = self.calls.begin(Kind::DropCache, offset, bytes);
        let advise = || {
            // SAFETY: advice about an open file.
            unsafe { libc::posix_fadvise64(fd, offset as i64, bytes as i64, libc::POSIX_FADV_DONTNEED) };
            0
        };
        // Advice cannot fail in a way that matters.
        let (Ok(_) | Err(_)) = self.calls.call::<i32>(&begin, advise);
    }

    /// `readahead(2)`, which is not recorded.
    pub(crate) fn read_ahead(&self, offset: u64, bytes: u64) {
        // SAFETY: reads into the page cache only.
        unsafe { libc::readahead(self.as_raw_fd(), offset as i64, bytes as usize) };
    }
}

/// What is left of the vectors behind the first `done` bytes.
fn rest(vectors: &[libc::iovec], mut done: usize) -> Vec<libc::iovec> {
    let mut rest = Vec::with_capacity(vectors.len());
    for vector in vectors {
        let skipped = done.min(vector.iov_len);
        done -= skipped;
        if skipped < vector.iov_len {
            rest.push(libc::iovec { iov_base: vector.iov_base.wrapping_byte_add(skipped), iov_len: vector.iov_len - skipped });
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    #[test]
    fn a_symbolic_link_in_a_files_place_is_not_followed() {
        let place = tempfile::tempdir().expect("directory");
        let (target, link) = (place.path().join("target"), place.path().join("link"));
        std::fs::write(&target, "somebody's").expect("target");
        std::os::unix::fs::symlink(&target, &link).expect("link");
        for opened in [File::open_to_write(&link, true, Flags::default()), File::open_to_read(&link, Flags::default())] {
            let error = opened.expect_err("followed");
            assert_eq!((error.step, error.errno), (Step::Open, Some(Errno(libc::ELOOP))));
        }
        // Nor is what it points to made.
        std::fs::remove_file(&target).expect("target");
        File::open_to_write(&link, false, Flags::default()).expect_err("followed");
        assert!(!target.exists());
        File::open_to_write(&target, false, Flags::default()).expect("a file that is none");
    }

    #[test]
    fn more_vectors_than_one_call_takes_are_transferred_in_several() {
        let file = File::new(Path::new("temporary"), tempfile::tempfile().expect("file"));
        let mut memory: Vec<[u8; 3]> = (0..2500_u32).map(|index| [1, index as u8, (index >> 8) as u8]).collect();
        let written = memory.clone();
        let vectors = |memory: &mut [[u8; 3]]| -> Vec<libc::iovec> {
            memory.iter_mut().map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 3 }).collect()
        };
        let parts = vectors(&mut memory);
        // SAFETY: the memory outlives the call and is not touched meanwhile.
        assert_eq!(unsafe { file.vectored(true, &parts, 1, 0) }, Ok(7500));
        memory.fill([0; 3]);
        let parts = vectors(&mut memory);
        // SAFETY: the same.
        assert_eq!(unsafe { file.vectored(false, &parts, 1, 0) }, Ok(7500));
        assert_eq!(memory, written);
        assert_eq!(file.size().map_err(|_| ()), Ok(7501));
    }

    #[test]
    fn what_the_file_states_is_what_direct_transfers_go_on_at() {
        let place = tempfile::NamedTempFile::new().expect("file");
        assert_eq!(dio_offset_align(place.as_file().as_fd()), 1);
        let direct = File::open_to_read(place.path(), Flags::DIRECT);
        if let Ok(direct) = direct {
            let unit = dio_offset_align(direct.as_fd());
            assert!(NonZeroUsize::new(unit).is_some_and(NonZeroUsize::is_power_of_two) && unit >= 512, "{unit}");
        }
    }
}
