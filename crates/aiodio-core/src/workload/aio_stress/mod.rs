//! The workload of `aio-stress`: sequential and random writes and reads with many requests in flight, on several files, from several
//! threads.
//!
//! LTP's program ignores what a write completes with, never looks at what it reads, and most of its runtest lines read files that are
//! empty. Here every completion is checked, every read is compared with what may be there, what nothing has written before it is
//! read is laid out first, and an oracle for each file knows what overlapping random writes may have left.

mod report;
mod worker;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use self::report::gather;
pub use self::report::{Latency, PartReport, StageReport, ThreadReport};
use self::worker::{ThreadResult, Worker};
use crate::engine::{self, Engine, Stats};
use crate::error::{Error, Result, Step};
use crate::oracle::{Change, Ending, Expected, Oracle};
use crate::sys::{File, Flags};
use crate::workload::copy::PROGRESS_INTERVAL;
use crate::workload::fill;
use crate::workload::shared::finding::Finding;
use crate::workload::shared::gate::{Gate, panicked};
use crate::{expectation, json};

/// What is done to all files before the next stage begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "AioStressStageName"))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// From a context's start on, record after record.
    Write,
    /// The same.
    Read,
    /// Anywhere behind a context's start, at multiples of the page size.
    #[serde(rename = "random write")]
    RandomWrite,
    /// The same.
    #[serde(rename = "random read")]
    RandomRead,
}

impl Stage {
    /// In LTP's order, which numbers them from 0.
    pub const ALL: [Self; 4] = [Self::Write, Self::Read, Self::RandomWrite, Self::RandomRead];

    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::RandomWrite)
    }

    fn random(self) -> bool {
        matches!(self, Self::RandomWrite | Self::RandomRead)
    }
}

/// What to do. Lengths in bytes.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// One or more, created if need be and emptied.
    pub files: Vec<PathBuf>,
    /// Of data and offsets.
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
    /// In order.
    pub stages: Vec<Stage>,
    /// Each with a queue of its own; no more than files times contexts.
    pub threads: NonZeroUsize,
    /// Places in each file that are worked on at the same time.
    pub contexts: NonZeroUsize,
    /// How far apart they begin.
    pub context_offset: u64,
    /// How long a file is taken to be: where sequential stages end and how far random ones reach.
    pub file_bytes: u64,
    /// The length of each transfer.
    pub record_bytes: NonZeroUsize,
    /// Requests in flight for each context of a file.
    pub depth: NonZeroUsize,
    /// Requests for each context of a file before the next one's turn.
    pub turn: NonZeroUsize,
    /// Rounds of such turns, at most, in each stage.
    pub rounds: u64,
    /// Requests given to the kernel at one time, at most.
    pub batch: NonZeroUsize,
    /// What is laid out, at most, in all files together, for a stage that reads what no stage has written.
    pub layout_bytes: u64,
    /// What the buffers of all threads together may be; fewer requests are in flight then.
    pub memory_bytes: usize,
    /// `O_DIRECT`; otherwise `O_SYNC`.
    pub direct: bool,
    /// `fsync(2)` after each stage.
    pub fsync: bool,
    /// The kernel's interface.
    pub engine: engine::Kind,
    /// How many bad ranges to describe.
    pub ranges_max: usize,
}

/// Requests that a thread's AIO context has room for, as in LTP.
pub const EVENTS: usize = 512;

/// How it went.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The first call or transfer that failed.
    pub error: Option<Error>,
    /// The stage of the failure, or of the wrong read.
    pub failed_stage: Option<Stage>,
    /// The first read that was wrong.
    pub finding: Option<Finding>,
    /// The stages done, the failed one included.
    pub stages: Vec<StageReport>,
    /// What each file may be now.
    #[serde(rename = "expectations", serialize_with = "expectation::keep_all")]
    #[cfg_attr(feature = "typescript", ts(type = "Array<number>"))]
    pub oracles: Vec<Oracle>,
    /// Requests in flight for each context of a file: fewer than asked for where the memory does not suffice.
    pub depth: usize,
    /// All queues' counts.
    pub stats: Stats,
}

/// Does it. `progress` is told the number of completed transfers.
pub fn run(options: &Options, progress: impl FnMut(u64) + Send) -> Outcome {
    run_with(&|depth| options.engine.open(depth), options, progress)
}

/// Does it through engines that `open` makes, one for each thread.
pub fn run_with(
    open: &(dyn Fn(NonZeroUsize) -> Result<Box<dyn Engine>> + Sync),
    options: &Options,
    progress: impl FnMut(u64) + Send,
) -> Outcome {
    let files = options.files.len();
    let parts = files * options.contexts.get();
    let threads = options.threads.get().min(parts.max(1));
    let by_memory = options.memory_bytes / options.record_bytes / parts.max(1);
    let by_events = EVENTS / parts.div_ceil(threads).max(1);
    let depth = options.depth.get().min(by_memory).min(by_events).max(1);
    let shared = Shared {
        options,
        files: (1..).take(files).map(|id| RwLock::new(Tested { oracle: Oracle::new(options.seed, id), generation: 0 })).collect(),
        gate: Gate::new(threads),
        stop: AtomicBool::new(false),
        over: AtomicBool::new(false),
        failure: Mutex::default(),
        laid_out: Mutex::new(0),
        progress: Mutex::new(Progress { done: 0, reported: Instant::now(), tell: Box::new(progress) }),
        threads,
        depth,
    };
    let mut outcome = Outcome { depth, ..Outcome::default() };
    let results: Vec<ThreadResult> = match options.prepare() {
        Ok(()) => std::thread::scope(|scope| {
            let shared = &shared;
            let start = |index| scope.spawn(move || Worker::run(index, shared, open));
            let handles: Vec<_> = (0..threads).map(start).collect();
            handles
                .into_iter()
                .map(|handle| {
                    handle.join().unwrap_or_else(|panic| {
                        shared.fail(shared.options.first_stage(), Some(panicked("A thread", &*panic)), None);
                        ThreadResult::default()
                    })
                })
                .collect()
        }),
        Err(error) => {
            outcome.error = Some(error);
            return outcome;
        }
    };
    let Failure { error, stage, finding } = shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcome.error = error;
    outcome.failed_stage = stage;
    outcome.finding = finding;
    outcome.stages = gather(&results, options);
    for result in &results {
        outcome.stats += result.stats;
    }
    // All threads work at once: what they may have had with the kernel together.
    outcome.stats.in_flight_max = results.iter().map(|result| result.stats.in_flight_max).sum();
    let oracle = |file: RwLock<Tested>| file.into_inner().unwrap_or_else(PoisonError::into_inner).oracle;
    outcome.oracles = shared.files.into_iter().map(oracle).collect();
    outcome
}

impl Options {
    /// The first that runs.
    fn first_stage(&self) -> Stage {
        self.stages.first().copied().unwrap_or(Stage::Write)
    }

    fn prepare(&self) -> Result<()> {
        if self.contexts.get() as u64 > 1 && self.file_bytes < self.contexts.get() as u64 * self.context_offset {
            let message = format!("file size {} too small for {} contexts", self.file_bytes, self.contexts);
            return Err(Error::new(Step::Options, message));
        }
        if (self.record_bytes.get() as u64) > self.file_bytes {
            let message = format!("A record of {} bytes does not fit a file of {}", self.record_bytes, self.file_bytes);
            return Err(Error::new(Step::Options, message));
        }
        for path in &self.files {
            let file = File::open_to_write(path, true, Flags::default())?;
            file.truncate(0).map_err(|errno| Error::new(Step::Write, "The file cannot be emptied").errno(errno).path(path))?;
        }
        Ok(())
    }
}

/// A file and what is known about it.
struct Tested {
    oracle: Oracle,
    generation: u32,
}

#[derive(Default)]
struct Failure {
    error: Option<Error>,
    stage: Option<Stage>,
    finding: Option<Finding>,
}

struct Progress<'tell> {
    done: u64,
    reported: Instant,
    tell: Box<dyn FnMut(u64) + Send + 'tell>,
}

struct Shared<'options> {
    options: &'options Options,
    files: Vec<RwLock<Tested>>,
    gate: Gate,
    /// Whoever works is to stop.
    stop: AtomicBool,
    /// `stop` as it was before the stage: all threads see the same.
    over: AtomicBool,
    failure: Mutex<Failure>,
    /// How long the files are that were laid out; 0 when stages have written them.
    laid_out: Mutex<u64>,
    progress: Mutex<Progress<'options>>,
    threads: usize,
    depth: usize,
}

impl Shared<'_> {
    fn fail(&self, stage: Stage, error: Option<Error>, finding: Option<Finding>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.stage.is_none() {
            *failure = Failure { error, stage: Some(stage), finding };
        }
    }

    fn tested(&self, file: usize) -> std::sync::RwLockWriteGuard<'_, Tested> {
        self.files[file].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn advanced(&self, by: u64) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.done += by;
        if progress.reported.elapsed() >= PROGRESS_INTERVAL {
            progress.reported = Instant::now();
            let done = progress.done;
            (progress.tell)(done);
        }
    }

    /// Before a stage, while no thread works: what it is to read and nothing has written is laid out.
    fn lay_out(&self, stage: Stage) -> Result<()> {
        let options = self.options;
        let untouched = (0..self.files.len()).all(|file| *self.tested(file).oracle.sizes().end() == 0);
        if stage.writes() || !untouched {
            return Ok(());
        }
        let record = options.record_bytes.get() as u64;
        let contexts = options.contexts.get() as u64;
        let share = options.layout_bytes / self.files.len().max(1) as u64;
        // At least a record for each context; sequential reads need no more than they will read.
        let transfers = options.rounds.saturating_mul(options.turn.get() as u64).max(1);
        let needed = if stage.random() || contexts > 1 { options.file_bytes } else { transfers.saturating_mul(record) };
        let bytes = share.min(needed).max(contexts * record).min(options.file_bytes) / record * record;
        for (index, path) in options.files.iter().enumerate() {
            let mut tested = self.tested(index);
            tested.generation += 1;
            let generation = tested.generation;
            let change = tested.oracle.begin(Change::write(0, bytes, generation));
            let result = fill::fill(path, bytes, tested.oracle.stamps(generation));
            tested.oracle.end(change, if result.is_ok() { Ending::Done } else { Ending::Failed });
            result?;
            // What is in the page cache already would not be read from the disk.
            File::open_to_read(path, Flags::default())?.drop_cache(0, 0);
        }
        *self.laid_out.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        Ok(())
    }
}
