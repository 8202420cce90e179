//! Random operations by many threads on a few files, through several of the kernel's interfaces at once, under a storm of signals.
//!
//! Each file has an [`Oracle`] that is told of every change before it is submitted and after it is reaped, so that reads are checked
//! when they complete and the files can be verified when all is over. A buffer is used again only after its completion
//! ([`Queue`](crate::engine::Queue) sees to it); with [`Options::commit_old_mistake`] the test does what fsstress did before 2023, to
//! prove that this is found to be the test's own fault.

mod mistake;
mod outcome;
mod plan;
mod storm;
mod turn;
mod worker;

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Deserialize;

pub use self::outcome::{FileLeft, Outcome};
pub use self::plan::{Action, Weights};
use self::storm::{Storm, Targets};
use self::turn::Turns;
use self::worker::Worker;
use crate::buffer::Align;
use crate::engine::{Engine, Kind, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::oracle::Oracle;
use crate::storage;
use crate::sys::{self, Flags};
use crate::workload::shared::finding::{Finding, Findings};
use crate::workload::shared::gate::panicked;

/// What to do.
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other, like the flags of open(2)")]
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Where the files are made: `stress0`, `stress1`, …; older ones of these names are removed.
    pub directory: PathBuf,
    /// Threads.
    pub workers: NonZeroUsize,
    /// Operations of each.
    pub operations: u64,
    /// What the plan and the stamps follow from.
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
    /// The first file's number in the stamps.
    pub first_file: u32,
    /// How many files they share.
    pub files: NonZeroUsize,
    /// How long a file may become, in bytes; at least `block_bytes`.
    pub file_bytes: u64,
    /// The longest operation, in bytes; a multiple of `dio_offset_align`.
    pub block_bytes: NonZeroUsize,
    /// Operations that a worker has in flight at most.
    pub depth: NonZeroUsize,
    /// The kernel's interfaces; each asynchronous operation goes through one of them, at random.
    pub engines: Vec<Kind>,
    /// Use `O_DIRECT`, where the filesystem has it.
    pub direct: bool,
    /// Use the page cache too.
    pub buffered: bool,
    /// Where the buffers lie in their pages.
    pub align: Align,
    /// What direct offsets and lengths must be multiples of.
    pub dio_offset_align: NonZeroUsize,
    /// Truncate while other operations on the file are in flight, instead of between them.
    pub truncate_beside: bool,
    /// Signal the workers all the time.
    pub signals: bool,
    /// Use the buffer of a direct write through [`Kind::Libaio`] again as soon as a signal interrupts the wait for it.
    /// A worker that has had no occasion goes on, for up to 1000 operations more.
    pub commit_old_mistake: bool,
}

/// Where a fault is in everything, going on shows nothing new.
const FINDINGS_ENOUGH: u64 = 1000;

/// One of the files, as the workers share it.
#[derive(Debug)]
struct File {
    path: PathBuf,
    name: String,
    turns: Turns,
    state: Mutex<State>,
}

/// What the oracle does not keep.
#[derive(Debug)]
struct State {
    oracle: Oracle,
    generation: u32,
    sizing: Sizing,
}

/// What happens to a file's size: a read that no truncate touched knows what it was.
#[derive(Clone, Copy, Debug, Default)]
struct Sizing {
    /// The file was at least so long; only in a copy.
    least: u64,
    /// Truncates so far, the unfinished included.
    truncates: u64,
    truncating: u64,
}

impl File {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the workers share.
struct Run<'caller> {
    options: &'caller Options,
    /// [`Options::engines`] opened for a worker.
    open: &'caller (dyn Fn(Kind, NonZeroUsize) -> Result<Box<dyn Engine>> + Sync),
    weights: Weights,
    files: Vec<File>,
    /// Whether the files can be opened with `O_DIRECT`.
    direct: bool,
    /// Whether they are on XFS.
    is_xfs: bool,
    targets: Targets,
    stop: AtomicBool,
    unsupported: [AtomicBool; Action::ALL.len()],
    finished: AtomicU64,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    error: Option<Error>,
    findings: Findings,
    stats: Stats,
    done: [u64; Action::ALL.len()],
    direct: u64,
    interrupted_calls: u64,
    mistakes: u64,
    collisions: u64,
}

impl Run<'_> {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full filesystem ends the test.
    fn add(&self, finding: Finding) -> Result<()> {
        let mut found = self.found();
        found.findings.add(finding);
        if found.findings.total >= FINDINGS_ENOUGH {
            self.stop.store(true, Ordering::Relaxed);
        }
        found.findings.full().map_or(Ok(()), Err)
    }

    fn give_up(&self, error: Error) {
        self.found().error.get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Does it all. `progress` is told the operations done so far, now and then.
pub fn run(options: &Options, progress: impl FnMut(u64)) -> Outcome {
    run_with(&Kind::open, options, progress)
}

/// The same through engines that `open` makes.
pub fn run_with(
    open: &(dyn Fn(Kind, NonZeroUsize) -> Result<Box<dyn Engine>> + Sync),
    options: &Options,
    progress: impl FnMut(u64),
) -> Outcome {
    match prepare(open, options) {
        Ok(run) => run.all(progress),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() },
    }
}

fn prepare<'caller>(
    open: &'caller (dyn Fn(Kind, NonZeroUsize) -> Result<Box<dyn Engine>> + Sync),
    options: &'caller Options,
) -> Result<Run<'caller>> {
    let (block, unit) = (options.block_bytes.get() as u64, options.dio_offset_align.get() as u64);
    let wrong = if options.engines.is_empty() || !(options.direct || options.buffered) {
        Some("There is nothing to do without an engine, or with neither direct nor buffered I/O")
    } else if !block.is_multiple_of(unit) || options.file_bytes <= block {
        Some("The block size must be a multiple of what direct I/O needs, and smaller than the file")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Err(Error::new(Step::Options, wrong));
    }
    let mut files = Vec::new();
    for index in 0..options.files.get() {
        let name = format!("stress{index}");
        let path = options.directory.join(&name);
        create_anew(&path)?;
        let oracle = Oracle::new(options.seed, options.first_file + index as u32);
        let state = Mutex::new(State { oracle, generation: 0, sizing: Sizing::default() });
        files.push(File { path, name, turns: Turns::default(), state });
    }
    let direct = options.direct
        && match sys::File::open_to_write(&files[0].path, true, Flags::DIRECT) {
            Ok(_) => true,
            Err(error) if error.errno == Some(Errno(libc::EINVAL)) && options.buffered => false,
            Err(error) => return Err(error),
        };
    Ok(Run {
        options,
        open,
        weights: Weights::new(options.seed),
        files,
        direct,
        is_xfs: storage::is_xfs(&options.directory)?,
        targets: Targets::default(),
        stop: AtomicBool::new(false),
        unsupported: Default::default(),
        finished: AtomicU64::new(0),
        found: Mutex::default(),
    })
}

fn create_anew(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Step::Open, "The file of an earlier run cannot be removed").errno(Errno::from(&error)).path(path))
        }
        _ => sys::File::open_to_write(path, true, Flags::default()).map(|_| ()),
    }
}

impl Run<'_> {
    fn all(self, mut progress: impl FnMut(u64)) -> Outcome {
        let start = Instant::now();
        let mut signals = 0;
        let storm = if self.options.signals { Some(Storm::start(self.targets.clone())) } else { None }.transpose();
        match storm {
            Err(error) => self.give_up(error),
            Ok(storm) => {
                self.workers(&mut progress);
                signals = storm.as_ref().map_or(0, Storm::sent);
            }
        }
        let elapsed = start.elapsed();
        let found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let is_off = |action: &Action| self.unsupported[action.index()].load(Ordering::Relaxed);
        let files = self.files.into_iter().map(|file| FileLeft {
            path: file.path,
            expected: file.state.into_inner().unwrap_or_else(PoisonError::into_inner).oracle,
        });
        Outcome {
            error: found.error,
            findings: found.findings,
            files: files.collect(),
            stats: found.stats,
            done: found.done,
            direct: found.direct,
            left_out: self.weights.left_out().collect(),
            unsupported: Action::ALL.into_iter().filter(is_off).collect(),
            no_direct: self.options.direct && !self.direct,
            signals,
            interrupted_calls: found.interrupted_calls,
            mistakes: found.mistakes,
            collisions: found.collisions,
            elapsed,
        }
    }

    fn workers(&self, progress: &mut impl FnMut(u64)) {
        let (done, finished) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            for index in 0..self.options.workers.get() {
                let done = done.clone();
                let worker = move || {
                    let _target = self.targets.add();
                    // A panic would leave a turn that others wait for.
                    match catch_unwind(AssertUnwindSafe(|| Worker::new(self, index).and_then(Worker::run))) {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => self.give_up(error),
                        Err(panic) => {
                            self.give_up(panicked("A worker", &*panic));
                            for file in &self.files {
                                file.turns.close();
                            }
                        }
                    }
                    drop(done);
                };
                let spawned = std::thread::Builder::new().name(format!("stress-{index}")).spawn_scoped(scope, worker);
                if let Err(error) = spawned {
                    self.give_up(Error::new(Step::Setup, "A worker thread could not be made").errno(Errno::from(&error)));
                }
            }
            drop(done);
            // Nothing is sent: the channel closes when the last worker has ended.
            while finished.recv_timeout(crate::workload::copy::PROGRESS_INTERVAL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                progress(self.finished.load(Ordering::Relaxed));
            }
        });
        progress(self.finished.load(Ordering::Relaxed));
    }
}
