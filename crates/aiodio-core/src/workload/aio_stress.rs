//! The workload of `aio-stress`: sequential and random writes and reads with many requests in flight, on several files, from several
//! threads.
//!
//! LTP's program ignores what a write completes with, never looks at what it reads, and most of its runtest lines read files that are
//! empty. Here every completion is checked, every read is compared with what may be there, what nothing has written before it is
//! read is laid out first, and an oracle for each file knows what overlapping random writes may have left.

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::fill;
use super::shared::gate::{Gate, Passed, panicked};
use super::shared::pattern::spoil_sectors;
use crate::buffer::{Align, Buffer, Pool, page_bytes};
use crate::engine::{self, Completion, Operation, Queue, RawEngine, Stats};
use crate::error::{Error, Result, Step};
use crate::file;
use crate::oracle::{Change, ChangeId, Ending, Expected, Oracle};
use crate::random::Random;
use crate::verify::{self, check_memory};

/// What is done to all files before the next stage begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From a context's start on, record after record.
    Write,
    /// The same.
    Read,
    /// Anywhere behind a context's start, at multiples of the page size.
    RandomWrite,
    /// The same.
    RandomRead,
}

impl Stage {
    /// In LTP's order, which numbers them from 0.
    pub const ALL: [Self; 4] = [Self::Write, Self::Read, Self::RandomWrite, Self::RandomRead];

    /// LTP's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::RandomWrite => "random write",
            Self::RandomRead => "random read",
        }
    }

    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::RandomWrite)
    }

    fn random(self) -> bool {
        matches!(self, Self::RandomWrite | Self::RandomRead)
    }
}

/// What to do. Lengths in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// One or more, created if need be and emptied.
    pub files: Vec<PathBuf>,
    /// Of data and offsets.
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
    /// Where short direct transfers are resumed.
    pub direct_align: NonZeroUsize,
    /// `fsync(2)` after each stage.
    pub fsync: bool,
    /// The kernel's interface.
    pub engine: engine::Kind,
    /// How many bad ranges to describe.
    pub ranges_max: usize,
}

/// Requests that a thread's AIO context has room for, as in LTP.
pub const EVENTS: usize = 512;

/// How one context of a file fared in a stage.
#[derive(Clone, Copy, Debug)]
pub struct PartReport {
    /// Index of the file.
    pub file: usize,
    /// Transfers done.
    pub done: u64,
    /// Transfers that the whole stage would be.
    pub total: u64,
    /// Bytes transferred.
    pub bytes: u64,
    /// From the stage's begin to the last transfer.
    pub elapsed: Duration,
}

/// How one thread fared in a stage.
#[derive(Clone, Debug)]
pub struct ThreadReport {
    /// Its contexts of files.
    pub parts: Vec<PartReport>,
    /// With the `fsync`.
    pub elapsed: Duration,
    /// Time that giving requests to the kernel took.
    pub submit: Latency,
    /// Time from there to their completion.
    pub completion: Latency,
}

/// How a stage went.
#[derive(Clone, Debug)]
pub struct StageReport {
    /// Which.
    pub stage: Stage,
    /// What was laid out for it, in each file; 0 when earlier stages had written, or it writes itself.
    pub laid_out: u64,
    /// By thread.
    pub threads: Vec<ThreadReport>,
    /// From the first thread's begin to the last one's end.
    pub elapsed: Duration,
}

/// Durations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total: Duration,
    /// The shortest; zero if there is none.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// How many were shorter than each of [`Latency::BUCKETS`] and not than the one before; the last is for the others.
    pub buckets: [u64; Self::BUCKETS.len() + 1],
}

impl Latency {
    /// LTP's, in milliseconds.
    pub const BUCKETS: [u64; 6] = [100, 250, 500, 1000, 5000, 10_000];

    fn add(&mut self, duration: Duration) {
        self.min = if self.count == 0 { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
        self.total += duration;
        self.count += 1;
        let bucket = Self::BUCKETS.iter().position(|limit| duration < Duration::from_millis(*limit));
        self.buckets[bucket.unwrap_or(Self::BUCKETS.len())] += 1;
    }
}

/// A read that returned what it must not have.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// Index of the file.
    pub file: usize,
    /// When.
    pub stage: Stage,
    /// Offset of the read.
    pub offset: u64,
    /// The bad ranges.
    pub found: verify::Outcome,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The first call or transfer that failed.
    pub error: Option<Error>,
    /// The stage that it failed in.
    pub failed_stage: Option<Stage>,
    /// The first read that was wrong.
    pub mismatch: Option<Mismatch>,
    /// The stages done, the failed one included.
    pub stages: Vec<StageReport>,
    /// What each file may be now.
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
    open: &(dyn Fn(NonZeroUsize) -> Result<Box<dyn RawEngine>> + Sync),
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
    let Failure { error, stage, mismatch } = shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcome.error = error;
    outcome.failed_stage = stage;
    outcome.mismatch = mismatch;
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
            let file = file::open_to_write(path, true, file::Flags::default())?;
            file.set_len(0)
                .map_err(|error| Error::new(Step::Write, "The file cannot be emptied").errno((&error).into()).path(path))?;
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
    mismatch: Option<Mismatch>,
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
    fn fail(&self, stage: Stage, error: Option<Error>, mismatch: Option<Mismatch>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.stage.is_none() {
            *failure = Failure { error, stage: Some(stage), mismatch };
        }
    }

    fn tested(&self, file: usize) -> std::sync::RwLockWriteGuard<'_, Tested> {
        self.files[file].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn advanced(&self, by: u64) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.done += by;
        if progress.reported.elapsed() >= crate::workload::copy::PROGRESS_INTERVAL {
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
            let file = file::open_to_read(path, file::Flags::default())?;
            // SAFETY: advice about an open file.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
        *self.laid_out.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        Ok(())
    }
}

/// A context of a file.
struct Part {
    /// Index of the file, and in the thread's queue.
    file: usize,
    queue_file: u32,
    context: u64,
    start: u64,
    /// Where the stage's transfers end.
    end: u64,
    total: u64,
    submitted: u64,
    in_flight: usize,
    done: u64,
    bytes: u64,
    elapsed: Duration,
}

#[derive(Default)]
struct ThreadResult {
    stages: Vec<(Stage, u64, ThreadReport, Instant, Instant)>,
    stats: Stats,
}

struct Worker<'shared, 'options> {
    shared: &'shared Shared<'options>,
    parts: Vec<Part>,
    free: Vec<Buffer>,
    random: Random,
    /// Writes in flight, by file and generation.
    changes: HashMap<(u32, u32), ChangeId>,
    /// When the request that uses a buffer was given to the kernel, by the buffer's address.
    begun: HashMap<usize, Instant>,
    done: Vec<Completion>,
    submit: Latency,
    completion: Latency,
    batched: usize,
    stage: Stage,
    stage_begun: Instant,
}

impl<'shared, 'options> Worker<'shared, 'options> {
    fn run(
        index: usize,
        shared: &'shared Shared<'options>,
        open: &(dyn Fn(NonZeroUsize) -> Result<Box<dyn RawEngine>> + Sync),
    ) -> ThreadResult {
        let stages = &shared.options.stages;
        let first = shared.options.first_stage();
        let _opener = shared.gate.opened_by_panic();
        let mut result = ThreadResult::default();
        let mut prepared = Self::prepare(index, shared, open, first);
        if let Err(error) = &prepared {
            shared.fail(first, Some(error.clone()), None);
        }
        for stage in stages {
            let passed = shared.gate.wait();
            if passed == Passed::Last {
                if !shared.stop.load(Ordering::Relaxed)
                    && let Err(error) = shared.lay_out(*stage)
                {
                    shared.fail(*stage, Some(error), None);
                }
                shared.over.store(shared.stop.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            if passed == Passed::Broken || shared.gate.wait() == Passed::Broken {
                break;
            }
            // Not `stop`: a thread that is quicker may have failed since, and would wait for this one at the next barrier.
            if shared.over.load(Ordering::Relaxed) {
                break;
            }
            let Ok((worker, queue)) = &mut prepared else { break };
            let begin = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| worker.all(queue, *stage))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(*stage, Some(error), None),
                Err(panic) => shared.fail(*stage, Some(panicked("A thread", &*panic)), None),
            }
            let laid_out = *shared.laid_out.lock().unwrap_or_else(PoisonError::into_inner);
            let laid_out = if stage.writes() { 0 } else { laid_out };
            result.stages.push((*stage, laid_out, worker.report(begin.elapsed()), begin, Instant::now()));
        }
        if let Ok((_, queue)) = prepared {
            result.stats = queue.finish();
        }
        result
    }

    fn prepare(
        index: usize,
        shared: &'shared Shared<'options>,
        open: &(dyn Fn(NonZeroUsize) -> Result<Box<dyn RawEngine>> + Sync),
        stage: Stage,
    ) -> Result<(Self, Queue)> {
        let options = shared.options;
        let files = options.files.len();
        let mut opened: Vec<usize> = Vec::new();
        let mut parts = Vec::new();
        for number in (index..files * options.contexts.get()).step_by(shared.threads) {
            let file = number % files;
            let queue_file = opened.iter().position(|known| *known == file).unwrap_or_else(|| {
                opened.push(file);
                opened.len() - 1
            });
            parts.push(Part {
                file,
                queue_file: queue_file as u32,
                context: (number / files) as u64,
                start: 0,
                end: 0,
                total: 0,
                submitted: 0,
                in_flight: 0,
                done: 0,
                bytes: 0,
                elapsed: Duration::ZERO,
            });
        }
        let flags = file::Flags { direct: options.direct, sync: !options.direct };
        let open_file = |file: &usize| file::open_to_write(&options.files[*file], true, flags);
        let fds: Vec<File> = opened.iter().map(open_file).collect::<Result<_>>()?;
        let depth = NonZeroUsize::new(shared.depth * parts.len()).unwrap_or(NonZeroUsize::MIN);
        let pool = Pool::new(depth.get(), options.record_bytes, Align::Offset(0))?;
        let resume = if options.direct { options.direct_align } else { NonZeroUsize::MIN };
        let queue = Queue::new(open(depth)?, depth, fds.into_iter().map(Into::into).collect(), &pool.registrations, resume)?;
        let worker = Self {
            shared,
            parts,
            free: pool.buffers,
            random: Random::new(options.seed ^ (index as u64) << 32),
            changes: HashMap::new(),
            begun: HashMap::new(),
            done: Vec::new(),
            submit: Latency::default(),
            completion: Latency::default(),
            batched: 0,
            stage,
            stage_begun: Instant::now(),
        };
        Ok((worker, queue))
    }

    /// One stage, to its end or the limit of rounds.
    fn all(&mut self, queue: &mut Queue, stage: Stage) -> Result<()> {
        let options = self.shared.options;
        self.begin(stage);
        for _ in 0..options.rounds {
            if self.shared.stop.load(Ordering::Relaxed) || self.parts.iter().all(|part| part.submitted == part.total) {
                break;
            }
            for index in 0..self.parts.len() {
                for _ in 0..options.turn.get() {
                    let part = &self.parts[index];
                    if part.submitted == part.total {
                        break;
                    }
                    while self.parts[index].in_flight >= self.shared.depth || self.free.is_empty() {
                        self.reap(queue, 1)?;
                    }
                    self.push(queue, index)?;
                }
            }
            self.hand_over(queue)?;
        }
        while queue.in_flight() > 0 {
            self.reap(queue, 1)?;
        }
        if options.fsync && stage.writes() {
            for part in &self.parts {
                queue.stats_mut().fsyncs += 1;
                file::fsync(&options.files[part.file], queue.file(part.queue_file as usize))?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, stage: Stage) {
        let options = self.shared.options;
        let laid_out = *self.shared.laid_out.lock().unwrap_or_else(PoisonError::into_inner);
        let record = options.record_bytes.get() as u64;
        for part in &mut self.parts {
            let size = *self.shared.tested(part.file).oracle.sizes().end();
            // Contexts move together in a file that is shorter than the one they were asked for.
            let apart = if laid_out > 0 && !stage.writes() {
                options.context_offset.min(laid_out / options.contexts.get() as u64 / record * record)
            } else {
                options.context_offset
            };
            part.start = part.context * apart;
            part.end = match stage {
                Stage::Write | Stage::RandomWrite => options.file_bytes,
                Stage::Read | Stage::RandomRead => options.file_bytes.min(size),
            };
            part.total = part.end.saturating_sub(part.start) / record;
            (part.submitted, part.done, part.bytes, part.elapsed) = (0, 0, 0, Duration::ZERO);
        }
        (self.submit, self.completion) = (Latency::default(), Latency::default());
        self.batched = 0;
        self.stage = stage;
        self.stage_begun = Instant::now();
    }

    fn push(&mut self, queue: &mut Queue, index: usize) -> Result<()> {
        let options = self.shared.options;
        let bytes = options.record_bytes.get();
        let part = &mut self.parts[index];
        let offset = if self.stage.random() {
            let page = page_bytes() as u64;
            let first = part.start.div_ceil(page);
            let last = (part.end - bytes as u64) / page;
            if last < first { part.start } else { (first + self.random.below(last - first + 1)) * page }
        } else {
            part.start + part.submitted * bytes as u64
        };
        let Some(mut buffer) = self.free.pop() else { return Ok(()) };
        let write = self.stage.writes();
        let mut generation = 0;
        if write {
            let mut tested = self.shared.tested(part.file);
            tested.generation += 1;
            generation = tested.generation;
            let change = tested.oracle.begin(Change::write(offset, bytes as u64, generation));
            let stamps = tested.oracle.stamps(generation);
            drop(tested);
            self.changes.insert((part.queue_file, generation), change);
            stamps.fill_from(offset, &mut buffer);
        } else {
            // What an earlier transfer left there, maybe of the same place, must not pass for what is read.
            spoil_sectors(&mut buffer);
        }
        part.submitted += 1;
        part.in_flight += 1;
        self.begun.insert(buffer.as_ptr() as usize, Instant::now());
        queue.push(Operation { write, file: part.queue_file, offset, bytes, buffer, generation });
        self.batched += 1;
        if self.batched >= options.batch.get() {
            self.hand_over(queue)?;
        }
        Ok(())
    }

    fn hand_over(&mut self, queue: &mut Queue) -> Result<()> {
        if self.batched > 0 {
            self.batched = 0;
            let begin = Instant::now();
            queue.submit()?;
            self.submit.add(begin.elapsed());
        }
        Ok(())
    }

    fn reap(&mut self, queue: &mut Queue, min: usize) -> Result<()> {
        self.hand_over(queue)?;
        let mut done = std::mem::take(&mut self.done);
        let result = queue.wait(min, &mut done);
        self.shared.advanced(done.len() as u64);
        let mut first_error = result.err();
        for completion in done.drain(..) {
            if let Err(error) = self.complete(completion) {
                first_error.get_or_insert(error);
            }
        }
        self.done = done;
        first_error.map_or(Ok(()), Err)
    }

    fn complete(&mut self, completion: Completion) -> Result<()> {
        let Completion { write, file, offset, bytes, buffer, generation, result } = completion;
        if let Some(begun) = self.begun.remove(&(buffer.as_ptr() as usize)) {
            self.completion.add(begun.elapsed());
        }
        // Contexts of one file in one thread share its requests: which of them this was makes no difference to the counts' sum.
        let index = self.parts.iter().position(|part| part.queue_file == file && part.in_flight > 0);
        let Some(part) = index.map(|index| &mut self.parts[index]) else { return Ok(()) };
        part.in_flight -= 1;
        part.elapsed = self.stage_begun.elapsed();
        let (number, path) = (part.file, &self.shared.options.files[part.file]);
        let got = match result {
            Ok(got) => got as u64,
            Err(errno) => {
                self.end_change(number, file, generation, Ending::Failed);
                let (step, what) = if write { (Step::Write, "Writing") } else { (Step::Read, "Reading") };
                let message = format!("{what} {bytes} bytes at offset {offset} failed");
                return Err(Error::new(step, message).errno(errno).path(path).offset(offset));
            }
        };
        part.done += 1;
        part.bytes += got;
        if write {
            let ending = if got == bytes as u64 { Ending::Done } else { Ending::Partial(got) };
            self.end_change(number, file, generation, ending);
        }
        let expected = if write { bytes as u64 } else { self.readable(number, offset, bytes as u64) };
        if got != expected {
            let (step, what) = if write { (Step::ShortWrite, "written") } else { (Step::ShortRead, "read") };
            let message = format!("{got} bytes were {what} at offset {offset} where {expected} should be");
            return Err(Error::new(step, message).path(path).offset(offset).transferred(expected, got));
        }
        if !write {
            self.check(number, offset, &buffer[..got as usize]);
        }
        self.free.push(buffer);
        Ok(())
    }

    /// How much of a read's range the file has. Nothing is being written meanwhile.
    fn readable(&self, file: usize, offset: u64, bytes: u64) -> u64 {
        let size = *self.shared.files[file].read().unwrap_or_else(PoisonError::into_inner).oracle.sizes().end();
        size.saturating_sub(offset).min(bytes)
    }

    fn check(&self, file: usize, offset: u64, memory: &[u8]) {
        let tested = self.shared.files[file].read().unwrap_or_else(PoisonError::into_inner);
        let found = check_memory(&tested.oracle, offset, memory, self.shared.options.ranges_max);
        if !found.is_good() {
            self.shared.fail(self.stage, None, Some(Mismatch { file, stage: self.stage, offset, found }));
        }
    }

    fn end_change(&mut self, number: usize, file: u32, generation: u32, ending: Ending) {
        if let Some(change) = self.changes.remove(&(file, generation)) {
            self.shared.tested(number).oracle.end(change, ending);
        }
    }

    fn report(&self, elapsed: Duration) -> ThreadReport {
        let report = |part: &Part| PartReport {
            file: part.file,
            done: part.done,
            total: part.total,
            bytes: part.bytes,
            elapsed: part.elapsed,
        };
        ThreadReport { parts: self.parts.iter().map(report).collect(), elapsed, submit: self.submit, completion: self.completion }
    }
}

/// By stage what the threads have by thread.
fn gather(results: &[ThreadResult], options: &Options) -> Vec<StageReport> {
    let mut stages = Vec::new();
    for index in 0..options.stages.len() {
        let of_stage: Vec<_> = results.iter().filter_map(|result| result.stages.get(index)).collect();
        let Some((stage, laid_out, ..)) = of_stage.first().copied() else { break };
        let begin = of_stage.iter().map(|(_, _, _, begin, _)| *begin).min();
        let end = of_stage.iter().map(|(_, _, _, _, end)| *end).max();
        let elapsed = begin.zip(end).map_or(Duration::ZERO, |(begin, end)| end - begin);
        let threads = of_stage.iter().map(|(_, _, report, _, _)| report.clone()).collect();
        stages.push(StageReport { stage: *stage, laid_out: *laid_out, threads, elapsed });
    }
    stages
}
