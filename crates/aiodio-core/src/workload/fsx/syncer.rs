//! Syncing what was written through mappings of the file, beside what follows.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::recorder::OperationId;
use crate::sys::mapping::Mapping;
use crate::sys::{Answer, Calls};

/// A write through a mapping that is to be synced.
pub(super) struct Unsynced {
    pub(super) map: Mapping,
    /// The operation, for whoever learns of a failure.
    pub(super) offset: u64,
    pub(super) calls: Calls,
    pub(super) operation: Option<OperationId>,
}

impl Unsynced {
    /// `MS_SYNC`, then the mapping goes.
    pub(super) fn sync(self) -> Synced {
        let result = self.map.sync();
        self.calls.end(self.operation, result.map_or_else(|errno| -i64::from(errno.0), |()| 0));
        Synced { offset: self.offset, result }
    }
}

/// How syncing went.
pub(super) struct Synced {
    pub(super) offset: u64,
    pub(super) result: Answer<()>,
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
