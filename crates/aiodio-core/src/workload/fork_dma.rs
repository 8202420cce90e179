//! Reads directly into memory while another thread forks.
//!
//! `fork(2)` makes the pages of ordinary memory read-only for both sides, to be copied when one of them writes. A device that
//! transfers into such a page meanwhile writes to the page itself. When a thread that has the page's other half to fill makes the
//! kernel copy it at that moment, what the device delivers to the old page is lost, unless the kernel copies pinned pages at the
//! fork. Several things must come together, and this brings them together: the memory is inherited by children, it starts
//! somewhere inside a page, so that two neighbouring reads share one, and reads and forks go on without a pause.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread::ScopedJoinHandle;

use serde::{Deserialize, Serialize};

use super::shared::finding::{Finding, Verdict};
use super::shared::gate::{Gate, Passed, panicked};
use super::shared::overlap::Side;
use super::shared::pattern::Pattern;
use crate::buffer::{Align, Memory, Pool, page_bytes};
use crate::error::{Errno, Error, Result, Step};
use crate::stamp::Key;
use crate::sys::{self, Flags};

/// Enough for calls that are not deep.
const STACK_BYTES: usize = 256 << 10;

/// A worker's reads of its part of one chunk at most, where no child is made meanwhile.
const READS_MAX: u32 = 64;

/// Read in one go by all workers together, in bytes.
pub const CHUNK_BYTES: usize = 1 << 20;

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Written before with the stamps of `key`.
    pub path: PathBuf,
    /// Its size, a multiple of [`CHUNK_BYTES`].
    pub bytes: u64,
    /// Its stamps.
    pub key: Key,
    /// Where in a page the memory starts, in bytes; less than the page size.
    pub alignment: usize,
    /// Threads that read: all but the last read one page of each chunk, the last one the rest. Two to the number of pages of a
    /// chunk.
    pub workers: usize,
}

/// How it went.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why it could not go on.
    pub error: Option<Error>,
    /// One for each worker that did not get through.
    pub findings: Vec<Finding>,
    /// Reads made.
    pub reads: u64,
    /// Children made.
    pub forks: u64,
    /// Those that were made while a read was under way.
    pub forks_during_reads: u64,
}

#[derive(Debug, Default)]
struct Counts {
    reads: Side,
    forks: AtomicU64,
    overlapping: AtomicU64,
    workers_done: AtomicUsize,
}

/// Reads the file once.
pub fn run(options: &Options) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = read_all(options, &mut outcome) {
        outcome.error = Some(error);
    }
    outcome
}

/// The most workers that each have a page of a chunk.
pub fn workers_max() -> usize {
    CHUNK_BYTES / page_bytes()
}

fn read_all(options: &Options, outcome: &mut Outcome) -> Result<()> {
    let refuse = |message: String| Err(Error::new(Step::Options, message));
    if !(2..=workers_max()).contains(&options.workers) {
        return refuse(format!("There must be 2 to {} workers, not {}", workers_max(), options.workers));
    }
    if !options.bytes.is_multiple_of(CHUNK_BYTES as u64) {
        return refuse(format!("The size of {} bytes is not a multiple of {CHUNK_BYTES}", options.bytes));
    }
    let chunk = NonZeroUsize::new(CHUNK_BYTES).unwrap_or(NonZeroUsize::MIN);
    let mut buffer = Pool::of(Memory::Inherited, 1, chunk, Align::Offset(options.alignment))?.buffers.remove(0);
    let page = page_bytes();
    let mut workers = Vec::with_capacity(options.workers);
    let mut rest = &mut *buffer;
    let mut at = 0;
    for number in 0..options.workers {
        let bytes = if number + 1 == options.workers { rest.len() } else { page };
        let (memory, behind) = rest.split_at_mut(bytes);
        rest = behind;
        let file = sys::File::open_to_read(&options.path, Flags::DIRECT)?;
        workers.push(Worker { path: &options.path, file, key: options.key, at, memory });
        at += bytes as u64;
    }
    let counts = Counts::default();
    let together = Gate::new(options.workers);
    let chunks = options.bytes / CHUNK_BYTES as u64;
    let count = options.workers;
    // All threads start at once, or none: those that wait for one that cannot be started would wait for ever.
    let start = RwLock::new(false);
    let may_start = || *start.read().unwrap_or_else(PoisonError::into_inner);
    let no_thread = |error: std::io::Error| {
        Error::new(Step::Buffers, "No more threads can be started: use fewer workers").errno(Errno::from(&error))
    };
    let builder = || std::thread::Builder::new().stack_size(STACK_BYTES);
    let (found, forked) = std::thread::scope(|scope| {
        let mut go = start.write().unwrap_or_else(PoisonError::into_inner);
        let forker = builder()
            .spawn_scoped(scope, || if may_start() { fork_until_done(&counts, count) } else { Ok(()) })
            .map_err(no_thread)?;
        let mut threads = Vec::with_capacity(count);
        for worker in workers {
            let (counts, together, may_start) = (&counts, &together, &may_start);
            let thread = builder()
                .spawn_scoped(scope, move || if may_start() { worker.read_chunks(chunks, counts, together).err() } else { None })
                .map_err(no_thread)?;
            threads.push(thread);
        }
        *go = true;
        drop(go);
        let found: Result<Vec<_>> = threads.into_iter().map(|thread| joined("A reading thread", thread)).collect();
        let children = joined("The forking thread", forker);
        Ok((found?, children?))
    })?;
    outcome.findings = found.into_iter().zip(1..).filter_map(|(found, worker)| Some(found?.actor(worker))).collect();
    outcome.reads = counts.reads.begun();
    outcome.forks = counts.forks.into_inner();
    outcome.forks_during_reads = counts.overlapping.into_inner();
    forked
}

fn joined<T>(who: &str, thread: ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|panic| panicked(who, &*panic))
}

/// Counts a worker that has gone, whatever for: the forking thread waits for all of them.
struct Gone<'counts>(&'counts Counts);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.workers_done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Makes children, one after the other, that end at once.
fn fork_until_done(counts: &Counts, workers: usize) -> Result<()> {
    while counts.workers_done.load(Ordering::SeqCst) < workers {
        // SAFETY: the child does nothing.
        let (child, met) = counts.reads.beside(|| unsafe { sys::fork::fork(|_| ()) });
        let child = child?;
        counts.forks.fetch_add(1, Ordering::Relaxed);
        counts.overlapping.fetch_add(u64::from(met), Ordering::Relaxed);
        child.wait();
    }
    Ok(())
}

/// One reading thread.
struct Worker<'run> {
    path: &'run Path,
    file: sys::File,
    key: Key,
    /// Where its part of a chunk begins, in bytes.
    at: u64,
    memory: &'run mut [u8],
}

impl Worker<'_> {
    /// Reads its part of each chunk, at the same time as the others theirs, and again until a child was made meanwhile: a fork of a
    /// large process takes longer than a read. After a finding it goes on waiting with them, and reads nothing.
    fn read_chunks(mut self, chunks: u64, counts: &Counts, together: &Gate) -> Verdict {
        let _opener = together.opened_by_panic();
        let _gone = Gone(counts);
        let mut result = Ok(());
        for chunk in 0..chunks {
            #[cfg(test)]
            tests::panic_where_planted(chunk, self.at);
            if together.wait() == Passed::Broken {
                break;
            }
            let before = counts.overlapping.load(Ordering::Relaxed);
            let mut reads = 0;
            // Once at least: a child may be made before the first of them, during another's.
            while result.is_ok() && (reads == 0 || reads < READS_MAX && counts.overlapping.load(Ordering::Relaxed) == before) {
                result = self.read_chunk(chunk, counts);
                reads += 1;
            }
        }
        result
    }

    fn read_chunk(&mut self, chunk: u64, counts: &Counts) -> Verdict {
        let offset = chunk * CHUNK_BYTES as u64 + self.at;
        let pattern = Pattern::Stamps(self.key);
        pattern.spoil(self.memory);
        counts.reads.during(|| self.read(offset))?;
        pattern.check(offset, self.memory)
    }

    fn read(&mut self, offset: u64) -> Result<()> {
        let bytes = self.memory.len();
        let path = self.path;
        match self.file.read(self.memory, offset) {
            Ok(read) if read == bytes => Ok(()),
            Ok(read) => {
                let message = format!("Only {read} of {bytes} bytes could be read at offset {offset}");
                let error = Error::new(Step::ShortRead, message).path(path).offset(offset);
                Err(error.transferred(bytes as u64, read as u64))
            }
            Err(errno) => {
                let message = format!("Reading {bytes} bytes directly at offset {offset} failed");
                Err(Error::new(Step::Read, message).errno(errno).path(path).offset(offset))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// Where the next worker panics that comes there.
    static PLANTED: AtomicBool = AtomicBool::new(false);

    pub(super) fn panic_where_planted(chunk: u64, at: u64) {
        assert!(chunk != 1 || at == 0 || !PLANTED.swap(false, Ordering::SeqCst), "planted");
    }

    #[test]
    fn a_worker_that_panics_is_an_error_and_nobody_waits_for_it() {
        let place = tempfile::NamedTempFile::new().expect("file");
        let key = Key { seed: 1, file: 1, generation: 1 };
        let bytes = 3 * CHUNK_BYTES as u64;
        crate::workload::fill::fill(place.path(), bytes, key).expect("fill");
        let options = Options { path: place.path().to_owned(), bytes, workers: 3, alignment: 0, key };
        PLANTED.store(true, Ordering::SeqCst);
        let outcome = run(&options);
        let error = outcome.error.map(|error| error.message).unwrap_or_default();
        assert!(error.starts_with("A reading thread panicked, which is a mistake of the test's own: planted"), "{error}");
    }
}
