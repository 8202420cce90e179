//! Plain system calls on open files: the one home for "interrupted? again", "short? go on", and for writing each into the flight
//! record. Whoever calls `pread(2)` or `ftruncate(2)` himself leaves a gap in what a failure report shows.
//!
//! - [`File`] is an open file with a path for errors and a place in the record. [`File::read`] and [`File::write`] transfer all of
//!   a slice; [`File::read_raw`], [`File::write_raw`] and [`File::vectored`] do so with memory that others have too.
//! - [`Calls`] records a call of the caller's own: `calls.call(&calls.begin(Kind::Clone, offset, bytes), || unsafe { ioctl(…) })`.
//!   It is what [`File`] is made of, for descriptors that are not a `File`, or are not open.
//!
//! Results are the kernel's, a count or an [`Errno`]: what is an error is the caller's to say. A transfer that the kernel cut short
//! goes on at what was reached, for a file with `O_DIRECT` rounded down to the alignment that the file itself states
//! (`dio_offset_align` of `statx(2)`), so the bytes between are transferred twice. It ends early where the kernel gets no further:
//! a read at the end of the file.

pub(crate) mod fork;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use crate::error::{Errno, Error, Result, Step};
use crate::file::{self, Flags};
use crate::recorder::{self, Begin, Kind, OperationId, RESUMED, Recorder, VERIFYING};
use crate::stamp::SECTOR_BYTES;
use crate::storage;

/// `UIO_MAXIOV` of `include/uapi/linux/uio.h`: one call takes no more vectors than this.
pub(crate) const VECTORS_MAX: usize = 1024;

type Answer<T> = std::result::Result<T, Errno>;

/// Makes a system call, again when a signal interrupts it. What it returns is a count, or -1 with `errno`.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> T) -> Answer<usize>
where
    usize: TryFrom<T>,
{
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => match Errno::last() {
                Errno(libc::EINTR) => {}
                errno => return Err(errno),
            },
        }
    }
}

/// Records plain calls on one file, where there is a record.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    record: Option<Recorder>,
    file: u32,
    flags: u16,
}

impl Calls {
    /// On an open file, in the record that is current now.
    pub(crate) fn on(file: BorrowedFd<'_>) -> Self {
        let record = recorder::current();
        let (file, flags) = record.as_ref().map_or((0, 0), |recorder| recorder::describe(recorder, file));
        Self { record, file, flags }
    }

    /// On a descriptor that is no file's, under that name.
    pub(crate) fn named(name: &str) -> Self {
        let record = recorder::current();
        let file = record.as_ref().map_or(0, |recorder| recorder.file(name));
        Self { record, file, flags: 0 }
    }

    /// What to say of a call without memory.
    pub(crate) fn begin(&self, kind: Kind, offset: u64, bytes: u64) -> Begin {
        Begin { flags: self.flags, ..Begin::call(kind, self.file, offset, bytes) }
    }

    /// An operation begins that [`Self::end`] ends.
    pub(crate) fn start(&self, begin: &Begin) -> Option<OperationId> {
        self.record.as_ref().map(|recorder| recorder.begin(begin))
    }

    /// What [`Self::start`] began is over: bytes transferred, or a negated errno.
    pub(crate) fn end(&self, operation: Option<OperationId>, result: i64) {
        if let (Some(recorder), Some(operation)) = (&self.record, operation) {
            recorder.end(operation, result);
        }
    }

    /// Makes a system call, again when a signal interrupts it, as one operation of the record.
    pub(crate) fn call<T>(&self, begin: &Begin, call: impl FnMut() -> T) -> Answer<usize>
    where
        usize: TryFrom<T>,
    {
        let operation = self.start(begin);
        let result = uninterrupted(call);
        self.end(operation, result.map_or_else(|errno| -i64::from(errno.0), |count| count as i64));
        result
    }

    /// Makes `call(done)`, which transfers from byte `done` on, until all of `begin` is transferred or it gets no further. Each
    /// call is an operation of the record. `unit` is asked only when a transfer came short.
    fn all(&self, begin: &Begin, unit: impl Fn() -> usize, mut call: impl FnMut(usize) -> isize) -> Answer<usize> {
        let bytes = begin.bytes as usize;
        let (mut at, mut reached) = (0, 0);
        loop {
            let part = Begin {
                flags: begin.flags | if at > 0 { RESUMED } else { 0 },
                offset: begin.offset + at as u64,
                bytes: (bytes - at) as u64,
                address: begin.address + at as u64,
                ..*begin
            };
            let end = at + self.call(&part, || call(at))?;
            if end >= bytes || end <= reached {
                return Ok(reached.max(end));
            }
            reached = end;
            at = resume_at(begin.offset, reached, unit());
        }
    }
}

/// Where a transfer that began at byte `offset` of the file and came `reached` bytes far goes on, in bytes from its start.
///
/// `unit` is what the file states; who began inside one knows better (XFS takes whole sectors of a file whose blocks are shared,
/// though it states blocks), and is resumed at a sector.
pub(crate) fn resume_at(offset: u64, reached: usize, unit: usize) -> usize {
    let unit = if offset.is_multiple_of(unit as u64) { unit } else { unit.min(SECTOR_BYTES) };
    let aligned = (offset + reached as u64) / unit as u64 * unit as u64;
    aligned.saturating_sub(offset) as usize
}

/// The unit in bytes for [`resume_at`]: 1 of a file without `O_DIRECT`.
pub(crate) fn resume_unit(file: BorrowedFd<'_>) -> usize {
    // SAFETY: asks about an open file.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags >= 0 && flags & libc::O_DIRECT == 0 { 1 } else { storage::direct_unit(file).unwrap_or(SECTOR_BYTES) }
}

/// `fsync(2)` or `fdatasync(2)`, by the record's kind. After an error the kernel may have dropped the dirty pages and will not report it
/// again, so it is never repeated.
pub(crate) fn sync(path: &Path, calls: &Calls, file: BorrowedFd<'_>, kind: Kind) -> Result<()> {
    let fd = file.as_raw_fd();
    let result = calls.call(&calls.begin(kind, 0, 0), || {
        let call = if kind == Kind::Fsync { libc::fsync } else { libc::fdatasync };
        // SAFETY: an open descriptor.
        unsafe { call(fd) }
    });
    let failed = |errno| Error::new(Step::Fsync, "The file's data did not reach the disk").errno(errno).path(path);
    result.map(drop).map_err(failed)
}

/// `ftruncate(2)`.
pub(crate) fn truncate(calls: &Calls, file: BorrowedFd<'_>, size: u64) -> Answer<()> {
    let fd = file.as_raw_fd();
    // SAFETY: an open descriptor.
    calls.call(&calls.begin(Kind::Truncate, 0, size), || unsafe { libc::ftruncate64(fd, size as i64) }).map(drop)
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
    /// `path` is for error messages.
    pub(crate) fn new(path: &Path, file: fs::File) -> Self {
        let calls = Calls::on(file.as_fd());
        Self { open: file, path: path.to_owned(), calls }
    }

    pub(crate) fn open_to_read(path: &Path, flags: Flags) -> Result<Self> {
        Ok(Self::new(path, file::open_to_read(path, flags)?))
    }

    /// Creates the file with mode 0666 if need be, and truncates nothing.
    pub(crate) fn open_to_write(path: &Path, read: bool, flags: Flags) -> Result<Self> {
        Ok(Self::new(path, file::open_to_write(path, read, flags)?))
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
        file::size(&self.path, &self.open)
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

    /// [`Self::read`] into memory that others may look at or change meanwhile.
    ///
    /// # Safety
    /// The memory must be mapped until the call is over, and no reference to it may exist.
    pub(crate) unsafe fn read_raw(&self, start: *mut u8, bytes: usize, offset: u64) -> Answer<usize> {
        let begin = Begin { address: start as u64, ..self.calls.begin(Kind::Read, offset, bytes as u64) };
        let fd = self.as_raw_fd();
        self.calls.all(
            &begin,
            || resume_unit(self.as_fd()),
            |at| {
                // SAFETY: the caller vouches for the memory, of which this is the end.
                unsafe { libc::pread64(fd, start.wrapping_add(at).cast(), bytes - at, (offset + at as u64) as libc::off64_t) }
            },
        )
    }

    /// [`Self::write`] from memory that others may change meanwhile.
    ///
    /// # Safety
    /// The memory must be mapped until the call is over, and no exclusive reference to it may exist.
    pub(crate) unsafe fn write_raw(&self, start: *const u8, bytes: usize, offset: u64, generation: u32) -> Answer<usize> {
        let begin = Begin { address: start as u64, generation, ..self.calls.begin(Kind::Write, offset, bytes as u64) };
        let fd = self.as_raw_fd();
        self.calls.all(
            &begin,
            || resume_unit(self.as_fd()),
            |at| {
                // SAFETY: the caller vouches for the memory, of which this is the end.
                unsafe { libc::pwrite64(fd, start.wrapping_add(at).cast(), bytes - at, (offset + at as u64) as libc::off64_t) }
            },
        )
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
            || resume_unit(self.as_fd()),
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
    fn a_transfer_goes_on_at_the_files_own_alignment() {
        assert_eq!(resume_at(8192, 5 * 512, 1), 5 * 512);
        assert_eq!(resume_at(8192, 5 * 512, 512), 5 * 512);
        assert_eq!(resume_at(8192, 9 * 512, 4096), 4096);
        // Resumed at a sector by who began at one.
        assert_eq!(resume_at(8192 + 512, 9 * 512 + 7, 4096), 9 * 512);
    }

    #[test]
    fn short_and_interrupted_calls_go_on_and_each_is_recorded() {
        let recorder = Recorder::create(None, 16).expect("record");
        let calls = Calls { record: Some(recorder.clone()), file: recorder.file("f"), flags: 0 };
        let begin = Begin { address: 1 << 20, ..calls.begin(Kind::Write, 8192, 12288) };
        let mut answers = [3 * 512, 9 * 512].into_iter();
        let mut asked = Vec::new();
        let reached = calls.all(
            &begin,
            || 4096,
            |at| {
                asked.push(at);
                if asked.len() == 2 {
                    // SAFETY: this thread's own.
                    let errno = unsafe { libc::__errno_location() };
                    // SAFETY: the same.
                    unsafe { errno.write(libc::EINTR) };
                    return -1;
                }
                answers.next().unwrap_or(12288 - at as isize)
            },
        );
        assert_eq!((reached, asked.as_slice()), (Ok(12288), &[0, 0, 0, 4096][..]));
        let operations = recorder.read().operations;
        let seen: Vec<_> = operations.iter().map(|op| (op.begin.offset, op.begin.address - (1 << 20), op.result)).collect();
        assert_eq!(seen, [(8192, 0, 1536), (8192, 0, 4608), (12288, 4096, 8192)]);
        assert_eq!(operations.iter().map(|op| op.begin.flags).collect::<Vec<_>>(), [0, 0, RESUMED]);
        // It ends where the kernel gets no further.
        assert_eq!(calls.all(&begin, || 4096, |at| if at == 0 { 5000 } else { 904 }), Ok(5000));
        assert_eq!(calls.all(&begin, || 1, |at| if at == 0 { 5000 } else { 0 }), Ok(5000));
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
        assert_eq!(resume_unit(place.as_file().as_fd()), 1);
        let direct = file::open_to_read(place.path(), Flags { direct: true, sync: false });
        if let Ok(direct) = direct {
            let unit = resume_unit(direct.as_fd());
            assert!(NonZeroUsize::new(unit).is_some_and(NonZeroUsize::is_power_of_two) && unit >= 512, "{unit}");
        }
    }
}
