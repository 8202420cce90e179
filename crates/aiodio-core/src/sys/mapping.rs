//! Mapped memory.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use super::Answer;
use crate::buffer::page_bytes;
use crate::error::Errno;

fn answer(result: libc::c_int) -> Answer<()> {
    if result == 0 { Ok(()) } else { Err(Errno::last()) }
}

/// `mmap(2)`, until it is dropped. It gives its memory to nobody but by pointer.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    bytes: usize,
    /// Where in the file it starts.
    pub(crate) offset: u64,
}

// SAFETY: whoever uses the pointer must take care of others who do.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by `new`; whoever has a pointer has the mapping, too.
        unsafe { libc::munmap(self.start.as_ptr(), self.bytes) };
    }
}

impl Mapping {
    /// At an address of the kernel's choice: of a file from byte `offset` on, which begins a page, or with none of memory
    /// (`MAP_ANONYMOUS`).
    pub(crate) fn new(bytes: usize, protection: i32, flags: i32, file: Option<BorrowedFd<'_>>, offset: u64) -> Answer<Self> {
        let (fd, anonymous) = file.map_or((-1, libc::MAP_ANONYMOUS), |file| (file.as_raw_fd(), 0));
        // SAFETY: a new mapping, in nobody's place.
        let start =
            unsafe { libc::mmap64(std::ptr::null_mut(), bytes, protection, flags | anonymous, fd, offset as libc::off64_t) };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        NonNull::new(start).map(|start| Self { start, bytes, offset }).ok_or(Errno(libc::ENOMEM))
    }

    /// The whole pages of a file, shared with everyone, that hold a range of its bytes; nothing is faulted in.
    pub(crate) fn of_file(file: BorrowedFd<'_>, offset: u64, bytes: u64, write: bool) -> Answer<Self> {
        let page = page_bytes() as u64;
        let start = offset / page * page;
        let bytes = (offset + bytes).next_multiple_of(page) - start;
        let protection = libc::PROT_READ | if write { libc::PROT_WRITE } else { 0 };
        Self::new(bytes as usize, protection, libc::MAP_SHARED, Some(file), start)
    }

    pub(crate) fn start(&self) -> NonNull<c_void> {
        self.start
    }

    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where in memory the file's byte `offset` is.
    pub(crate) fn at(&self, offset: u64) -> *mut u8 {
        self.start.as_ptr().cast::<u8>().wrapping_add((offset - self.offset) as usize)
    }

    /// `madvise(2)` about all of it.
    pub(crate) fn advise(&self, advice: i32) -> Answer<()> {
        // SAFETY: no advice that is used here takes memory away.
        answer(unsafe { libc::madvise(self.start.as_ptr(), self.bytes, advice) })
    }

    /// Faults all pages in, so that what the kernel cannot provide is an error and not a SIGBUS. EINVAL before Linux 5.14.
    pub(crate) fn populate(&self, write: bool) -> Answer<()> {
        let advice = if write { libc::MADV_POPULATE_WRITE } else { libc::MADV_POPULATE_READ };
        loop {
            match self.advise(advice) {
                Err(Errno(libc::EINTR | libc::EAGAIN)) => {}
                result => return result,
            }
        }
    }

    /// `MS_SYNC`.
    pub(crate) fn sync(&self) -> Answer<()> {
        // SAFETY: the whole mapping.
        answer(unsafe { libc::msync(self.start.as_ptr(), self.bytes, libc::MS_SYNC) })
    }

    /// `mprotect(2)`.
    pub(crate) fn protect(&mut self, protection: i32) -> Answer<()> {
        // SAFETY: the mapping is this value's.
        answer(unsafe { libc::mprotect(self.start.as_ptr(), self.bytes, protection) })
    }
}

/// Of the mapped pages from `start` on, which begins one, how many are in memory (`mincore(2)`). It says that all pages of a file
/// are there to who may not write to it.
pub(crate) fn resident_pages(start: *mut u8, bytes: usize) -> Answer<usize> {
    let mut pages = vec![0_u8; bytes.div_ceil(page_bytes())];
    // SAFETY: a byte for each page; of what is not mapped it says so.
    answer(unsafe { libc::mincore(start.cast(), bytes, pages.as_mut_ptr()) })?;
    Ok(pages.iter().filter(|page| *page & 1 != 0).count())
}
