//! Mappings of the file, and syncing what was written through them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::operation::Operation;
use crate::error::Errno;
use crate::recorder::{OperationId, Recorder};

/// How a system call went: `Err` with the call's name.
pub(super) type Call<T> = std::result::Result<T, (&'static str, Errno)>;

/// A shared mapping of whole pages, unmapped on the way out.
pub(super) struct Mapping {
    start: *mut libc::c_void,
    bytes: usize,
    /// Where in the file it starts.
    pub(super) offset: u64,
}

// SAFETY: memory that belongs to no thread; writing to it needs `&mut`.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps an operation's range, from its first page to the end of its last one.
    ///
    /// All pages are faulted in here, so that what the kernel cannot provide is an error and not a SIGBUS. Kernels before 5.14 have no
    /// such advice; faults come one by one there.
    pub(super) fn new(file: &File, operation: &Operation, page: u64, write: bool) -> Call<Self> {
        let offset = operation.offset / page * page;
        let bytes = (operation.end().next_multiple_of(page) - offset) as usize;
        let (protection, populate) = if write {
            (libc::PROT_READ | libc::PROT_WRITE, libc::MADV_POPULATE_WRITE)
        } else {
            (libc::PROT_READ, libc::MADV_POPULATE_READ)
        };
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), offset as i64) };
        if start == libc::MAP_FAILED {
            return Err(("mmap", Errno::last()));
        }
        let map = Self { start, bytes, offset };
        loop {
            // SAFETY: advice about the new mapping.
            if unsafe { libc::madvise(start, bytes, populate) } == 0 {
                return Ok(map);
            }
            match Errno::last() {
                Errno(libc::EINTR | libc::EAGAIN) => {}
                Errno(libc::EINVAL) => return Ok(map),
                errno => return Err(("mmap", errno)),
            }
        }
    }

    pub(super) fn memory(&self) -> &[u8] {
        // SAFETY: mapped for reading; what another process does to the file meanwhile is what is being tested.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>(), self.bytes) }
    }

    /// Of a mapping for writing: puts `data` where the file's byte `offset` is.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let at = (offset - self.offset) as usize;
        assert!(at + data.len() <= self.bytes, "data must fit their mapping");
        let target = self.start.cast::<u8>().wrapping_add(at);
        // SAFETY: within the mapping, which is for writing.
        unsafe { target.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
    }

    pub(super) fn sync(&self) -> Call<()> {
        // SAFETY: the whole mapping.
        if unsafe { libc::msync(self.start, self.bytes, libc::MS_SYNC) } == 0 { Ok(()) } else { Err(("msync", Errno::last())) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no slice of it is left.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

/// A write through a mapping that is to be synced.
pub(super) struct Unsynced {
    pub(super) map: Mapping,
    /// The operation, for whoever learns of a failure.
    pub(super) offset: u64,
    pub(super) record: Option<(Recorder, OperationId)>,
}

impl Unsynced {
    /// `MS_SYNC`, then the mapping goes.
    pub(super) fn sync(self) -> Synced {
        let result = self.map.sync();
        if let Some((recorder, operation)) = self.record {
            recorder.end(operation, result.as_ref().map_or_else(|(_, errno)| -i64::from(errno.0), |()| 0));
        }
        Synced { offset: self.offset, result }
    }
}

/// How syncing went.
pub(super) struct Synced {
    pub(super) offset: u64,
    pub(super) result: Call<()>,
}

/// Syncs at one time. A journal's commit serves all that wait for it.
const THREADS: usize = 4;

/// Threads that sync beside the operations that follow. Dropping it waits for them.
pub(super) struct Syncer {
    jobs: Option<Sender<Unsynced>>,
    results: Receiver<Synced>,
    threads: Vec<JoinHandle<()>>,
    pending: usize,
}

impl Syncer {
    pub(super) fn new() -> Self {
        let (jobs, queue) = channel::<Unsynced>();
        let (done, results) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let start = |_| {
            let (queue, done) = (Arc::clone(&queue), done.clone());
            std::thread::spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    if done.send(job.sync()).is_err() {
                        return;
                    }
                }
            })
        };
        Self { jobs: Some(jobs), results, threads: (0..THREADS).map(start).collect(), pending: 0 }
    }

    /// Has it synced; waits for an earlier one when all threads are busy. Returns one that is over, if any.
    pub(super) fn start(&mut self, job: Unsynced) -> Option<Synced> {
        let over = if self.pending < THREADS { self.results.try_recv().ok() } else { self.results.recv().ok() };
        self.pending -= usize::from(over.is_some());
        if let Some(jobs) = &self.jobs
            && jobs.send(job).is_ok()
        {
            self.pending += 1;
        }
        over
    }

    /// Waits for one that is not over yet; none when all are.
    pub(super) fn next(&mut self) -> Option<Synced> {
        if self.pending == 0 {
            return None;
        }
        self.pending -= 1;
        self.results.recv().ok()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic has been printed; the mapping is gone in any case.
            let _ = thread.join();
        }
    }
}
