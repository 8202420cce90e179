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

mod file;
pub(crate) mod fork;
pub(crate) mod ioctl;
pub(crate) mod mapping;

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use file::{File, Flags};

use crate::error::{Errno, Error, Result, Step};
use crate::recorder::{self, Begin, Kind, OperationId, RESUMED, Recorder};
use crate::stamp::SECTOR_BYTES;
use crate::storage;

pub(crate) type Answer<T> = std::result::Result<T, Errno>;

/// So often a call that signals interrupt is made again. They may come faster than a filesystem can do it even once (`fallocate(2)`).
const TRIES_MAX: u32 = 1000;

/// Makes a system call, again when a signal interrupts it. What it returns is a count, or -1 with `errno`.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> T) -> Answer<usize>
where
    usize: TryFrom<T>,
{
    let mut tries = 0;
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => match Errno::last() {
                Errno(libc::EINTR) if tries < TRIES_MAX => tries += 1,
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
    interrupted: Arc<AtomicU64>,
}

impl Calls {
    /// On an open file, in the record that is current now.
    pub(crate) fn on(file: BorrowedFd<'_>) -> Self {
        let record = recorder::current();
        let (file, flags) = record.as_ref().map_or((0, 0), |recorder| recorder::describe(recorder, file));
        Self { record, file, flags, interrupted: Arc::default() }
    }

    /// On a descriptor that is no file's, under that name.
    pub(crate) fn named(name: &str) -> Self {
        let record = recorder::current();
        let file = record.as_ref().map_or(0, |recorder| recorder.file(name));
        Self { record, file, flags: 0, interrupted: Arc::default() }
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
    pub(crate) fn call<T>(&self, begin: &Begin, mut call: impl FnMut() -> T) -> Answer<usize>
    where
        usize: TryFrom<T>,
    {
        let operation = self.start(begin);
        let mut tries = 0;
        let result = uninterrupted(|| {
            tries += 1;
            call()
        });
        self.interrupted.fetch_add(tries - 1, Ordering::Relaxed);
        self.end(operation, result.map_or_else(|errno| -i64::from(errno.0), |count| count as i64));
        result
    }

    /// Calls that a signal interrupted.
    pub(crate) fn interrupted(&self) -> u64 {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// `pread(2)` or `pwrite(2)`, by the record's kind, on a descriptor that may be none. Fewer bytes than were asked for: the file
    /// ends there, or the kernel takes no more.
    ///
    /// # Safety
    /// The memory must be mapped until the call is over, or nobody's, and no reference to it may exist which forbids that it is read
    /// (a write) or changed (a read).
    pub(crate) unsafe fn transfer(
        &self,
        fd: RawFd,
        kind: Kind,
        start: *mut c_void,
        bytes: usize,
        offset: u64,
        generation: u32,
    ) -> Answer<usize> {
        let begin = Begin { address: start as u64, generation, ..self.begin(kind, offset, bytes as u64) };
        // SAFETY: asked when something was transferred, so it is open.
        let unit = || dio_offset_align(unsafe { BorrowedFd::borrow_raw(fd) });
        self.all(&begin, unit, |at| {
            let (start, bytes, offset) = (start.wrapping_byte_add(at), bytes - at, (offset + at as u64) as libc::off64_t);
            if kind == Kind::Write {
                // SAFETY: the caller vouches for the memory, of which this is the end.
                unsafe { libc::pwrite64(fd, start, bytes, offset) }
            } else {
                // SAFETY: as above.
                unsafe { libc::pread64(fd, start, bytes, offset) }
            }
        })
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

/// What offsets and lengths of this file's transfers must be multiples of, in bytes: 1 without `O_DIRECT`.
pub(crate) fn dio_offset_align(file: BorrowedFd<'_>) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let calls = Calls { record: Some(recorder.clone()), file: recorder.file("f"), flags: 0, interrupted: Arc::default() };
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
}
