//! The workload of `fsx-linux`: random operations on one file, each compared with a model of it.
//!
//! LTP's program compares what `read(2)` returns and nothing else: what it reads through a mapping it copies into its model before it
//! compares the two. Here both are compared, the bytes behind the end of the file in its last page too, and the size after every
//! operation. What is written are stamps whose generation is the operation's number, so that wrong bytes say which operation they
//! come from.

mod log;
mod operation;
mod plan;
mod report;
mod shadow;
mod syncer;
mod target;

use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

pub use self::log::Log;
pub use self::operation::{Kind, Operation};
pub use self::plan::{Choice, Rules};
pub use self::report::{Report, Request, run_and_report};
pub use self::shadow::{Origins, Shadow};
use self::target::Target;
use crate::buffer::page_bytes;
use crate::engine::{self, Engine, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::random::Random;
use crate::stamp::Key;
use crate::verify::check_memory;
use crate::workload::shared::finding::Finding;

/// The model is in memory, so files beyond this are refused.
pub const SIZE_MAX: u64 = 1 << 30;

/// Which file a stamp says it was written to.
const FILE: u32 = 1;

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FsxRun", optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Created if need be, and emptied.
    pub path: PathBuf,
    /// Of the data and the choices.
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
    /// How many operations.
    pub operations: u64,
    /// The file never becomes longer than so many bytes.
    pub size_max: u64,
    /// The longest operation.
    #[serde(default = "unlimited")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<u64>"))]
    pub bytes_max: u64,
    /// Offsets of reads are multiples of it.
    pub read_align: u64,
    /// Offsets of writes are.
    pub write_align: u64,
    /// Sizes to truncate to are.
    pub truncate_align: u64,
    /// What to choose from; what the filesystem does not have is left out.
    pub kinds: Vec<Kind>,
    /// The interface for reads and writes.
    pub engine: engine::Kind,
    /// Reads and writes with `O_DIRECT`.
    pub direct: bool,
    /// What direct transfers must be aligned to.
    pub dio_offset_align: NonZeroUsize,
    /// Do these operations instead, with this log's seed.
    #[serde(skip)]
    pub replay: Option<Log>,
    /// How many bad ranges to describe.
    pub ranges_max: usize,
}

fn unlimited() -> u64 {
    u64::MAX
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// A call failed; the last operation of the log is the one.
    pub error: Option<Error>,
    /// A difference between the file and its model, found by the last operation of the log: "read", what a read returned; "mapping", what
    /// a mapping showed; "behind-end", the same behind the end of the file; "size", how much a read returned, or the file's size.
    pub finding: Option<Finding>,
    /// Operations that touched the first bad range, with their numbers; the last ones.
    pub history: Vec<(u64, Operation)>,
    /// What was done.
    pub log: Log,
    /// Choices that the file was too short for.
    pub too_short: u64,
    /// Choices that it was too long for.
    pub too_long: u64,
    /// Kinds asked for that the filesystem does not have.
    pub unsupported: Vec<Kind>,
    /// What the file should be now.
    pub origins: Origins,
    /// The queue's counts.
    pub stats: Stats,
    /// Duration of the operations.
    pub elapsed: Duration,
}

/// Does it. `progress` is told the number of operations done.
pub fn run(options: &Options, mut progress: impl FnMut(u64)) -> Outcome {
    let mut reported = Instant::now();
    let mut after = |number: u64, _: &Operation| {
        if reported.elapsed() >= crate::workload::copy::PROGRESS_INTERVAL {
            reported = Instant::now();
            progress(number);
        }
    };
    match options.engine.open(NonZeroUsize::MIN) {
        Ok(engine) => run_with(engine, options, &mut after),
        Err(error) => Outcome { error: Some(error), ..Outcome::nothing(options.log_seed()) },
    }
}

/// Does it through the given engine. `after` is called after each operation with its number, from 1.
pub fn run_with(engine: Box<dyn Engine>, options: &Options, after: &mut dyn FnMut(u64, &Operation)) -> Outcome {
    let mut outcome = Outcome::nothing(options.log_seed());
    match Run::prepare(engine, options, &mut outcome) {
        Ok(mut run) => {
            let start = Instant::now();
            outcome.error = run.all(&mut outcome, after).err();
            outcome.elapsed = start.elapsed();
            outcome.origins = run.shadow.origins().clone();
            outcome.stats = run.target.finish();
        }
        Err(error) => outcome.error = Some(error),
    }
    outcome
}

impl Options {
    /// Of the data; the choices of a replay are made already.
    fn log_seed(&self) -> u64 {
        self.replay.as_ref().map_or(self.seed, |log| log.seed)
    }
}

impl Outcome {
    fn nothing(seed: u64) -> Self {
        let key = Key { seed, file: FILE, generation: 0 };
        Self {
            error: None,
            finding: None,
            history: Vec::new(),
            log: Log { seed, operations: Vec::new() },
            too_short: 0,
            too_long: 0,
            unsupported: Vec::new(),
            origins: Shadow::new(key).origins().clone(),
            stats: Stats::default(),
            elapsed: Duration::ZERO,
        }
    }
}

/// Operations that a history has at most.
const HISTORY_MAX: usize = 16;

/// Choices in a row that cannot be done, after which none ever can: no kind that could be is missed so often.
const IMPOSSIBLE_MAX: u64 = 100_000;

struct Run<'options> {
    options: &'options Options,
    target: Target,
    shadow: Shadow,
    rules: Rules,
    random: Random,
}

impl<'options> Run<'options> {
    fn prepare(engine: Box<dyn Engine>, options: &'options Options, outcome: &mut Outcome) -> Result<Self> {
        let refuse = |message: String| Err(Error::new(Step::Options, message));
        if options.size_max == 0 || options.size_max > SIZE_MAX {
            return refuse(format!("A file of up to {} bytes: choose 1 to {SIZE_MAX}", options.size_max));
        }
        let dio_offset_align = if options.direct { options.dio_offset_align.get() as u64 } else { 1 };
        let mut bytes_max = options.size_max.next_multiple_of(dio_offset_align);
        let directory = options.path.parent().unwrap_or(Path::new("."));
        if let Some(log) = &options.replay {
            let longest = |operation: &Operation| match operation.kind {
                Kind::Read | Kind::Write => operation.bytes,
                _ => 0,
            };
            bytes_max = log.operations.iter().map(longest).max().unwrap_or(0).max(1);
            if bytes_max > SIZE_MAX {
                return refuse(format!("The log has an operation of {bytes_max} bytes; {SIZE_MAX} is the limit"));
            }
        }
        let bytes_max = NonZeroUsize::new(bytes_max as usize).unwrap_or(NonZeroUsize::MIN);
        let target = Target::open(&options.path, engine, options.direct, bytes_max)?;
        let metadata = std::fs::metadata(&options.path).map_err(|error| {
            Error::new(Step::Stat, "The file cannot be examined").errno(Errno::from(&error)).path(&options.path)
        })?;
        let block = metadata.blksize().max(512);
        let missing = if options.kinds.iter().all(|kind| Kind::LTP.contains(kind)) {
            Vec::new()
        } else {
            target::unsupported(directory, block)?
        };
        let (unsupported, kinds): (Vec<Kind>, Vec<Kind>) = options.kinds.iter().partition(|kind| missing.contains(kind));
        if kinds.is_empty() && options.replay.is_none() {
            return refuse("The filesystem has none of the operations asked for".to_owned());
        }
        outcome.unsupported = unsupported;
        let rules = Rules {
            size_max: options.size_max,
            bytes_max: options.bytes_max,
            read_align: options.read_align.max(1),
            write_align: options.write_align.max(1),
            truncate_align: options.truncate_align.max(1),
            dio_offset_align,
            page_bytes: page_bytes() as u64,
            block_bytes: block,
            kinds,
        };
        let key = outcome.log_key();
        Ok(Self { options, target, shadow: Shadow::new(key), rules, random: Random::new(options.seed) })
    }

    fn all(&mut self, outcome: &mut Outcome, after: &mut dyn FnMut(u64, &Operation)) -> Result<()> {
        let planned = self.options.replay.as_ref().map(|log| log.operations.as_slice());
        let total = planned.map_or(self.options.operations, |operations| operations.len() as u64);
        let mut number = 0;
        let mut impossible = 0;
        while number < total {
            if impossible == IMPOSSIBLE_MAX {
                let size = self.shadow.size();
                let message = format!("None of the operations can be done on a file of {size} bytes: allow more kinds");
                return Err(Error::new(Step::Options, message).path(&self.options.path));
            }
            let operation = match planned {
                Some(operations) => {
                    let operation = operations[number as usize];
                    self.check_replayed(number + 1, &operation)?;
                    operation
                }
                None => match self.rules.choose(&mut self.random, self.shadow.size()) {
                    Choice::Do(operation) => operation,
                    Choice::TooShort(_) => {
                        outcome.too_short += 1;
                        impossible += 1;
                        continue;
                    }
                    Choice::TooLong(_) => {
                        outcome.too_long += 1;
                        impossible += 1;
                        continue;
                    }
                },
            };
            impossible = 0;
            number += 1;
            outcome.log.operations.push(operation);
            let finding = match self.step(&operation, number as u32)? {
                None => self.check_size()?,
                found => found,
            };
            if let Some(finding) = finding {
                outcome.history = history(&outcome.log, &finding);
                outcome.finding = Some(finding);
                return Ok(());
            }
            after(number, &operation);
        }
        self.target.all_synced()
    }

    /// Does one operation on the file and on the model, and compares what it shows.
    fn step(&mut self, operation: &Operation, generation: u32) -> Result<Option<Finding>> {
        let Operation { kind, offset, bytes, to, flag } = *operation;
        let (from, end) = (offset as usize, operation.end());
        match kind {
            Kind::Read => {
                let expected = self.shadow.bytes();
                let expected = &expected[from.min(expected.len())..(end as usize).min(expected.len())];
                let origins = self.shadow.origins();
                let got = self.target.read(operation)?;
                if got.len() != expected.len() {
                    return Ok(Some(wrong_size(expected.len() as u64, got.len() as u64)));
                }
                return Ok(compare("read", origins, offset, got, expected, self.options.ranges_max));
            }
            Kind::MapRead => {
                let Self { shadow, options, .. } = self;
                return self.target.map_read(operation, |start, memory| look(shadow, operation, start, memory, options.ranges_max));
            }
            Kind::Write | Kind::MapWrite => {
                let size = self.shadow.size();
                self.shadow.write(offset, bytes, generation);
                let data = &self.shadow.bytes()[from..end as usize];
                if kind == Kind::Write {
                    self.target.write(operation, data, generation)?;
                } else {
                    if end > size {
                        self.target.extend(end)?;
                    }
                    self.target.map_write(operation, data, generation)?;
                }
                return Ok(None);
            }
            Kind::Truncate => self.shadow.truncate(offset),
            Kind::Allocate => {
                if !flag {
                    self.shadow.extend(end);
                }
            }
            Kind::Punch => self.shadow.zero(offset, bytes),
            Kind::Zero => {
                if !flag {
                    self.shadow.extend(end);
                }
                self.shadow.zero(offset, bytes);
            }
            Kind::Collapse => self.shadow.collapse(offset, bytes),
            Kind::Insert => self.shadow.insert(offset, bytes),
            Kind::Clone | Kind::Copy => self.shadow.copy(offset, bytes, to),
        }
        self.target.change(operation)?;
        Ok(None)
    }

    fn check_size(&self) -> Result<Option<Finding>> {
        let (expected, found) = (self.shadow.size(), self.target.size()?);
        Ok((expected != found).then(|| wrong_size(expected, found)))
    }

    /// A log may have been written by hand.
    fn check_replayed(&self, number: u64, operation: &Operation) -> Result<()> {
        let size = self.shadow.size();
        let end = operation.end();
        let possible = match operation.kind {
            Kind::MapRead => end <= size,
            Kind::Collapse => end < size,
            Kind::Insert => operation.offset < size && size + operation.bytes <= SIZE_MAX,
            Kind::Clone | Kind::Copy => end <= size && operation.offset.abs_diff(operation.to) >= operation.bytes,
            _ => true,
        };
        if possible && end.max(operation.to + operation.bytes) <= SIZE_MAX {
            return Ok(());
        }
        let message = format!("Operation {number} of the log, {operation}, cannot be done on a file of {size} bytes");
        Err(Error::new(Step::Options, message))
    }
}

impl Outcome {
    fn log_key(&self) -> Key {
        Key { seed: self.log.seed, file: FILE, generation: 0 }
    }
}

fn compare(
    kind: &'static str,
    origins: &Origins,
    offset: u64,
    found: &[u8],
    expected: &[u8],
    ranges_max: usize,
) -> Option<Finding> {
    if found == expected {
        return None;
    }
    let wrong = check_memory(origins, offset, found, ranges_max);
    Some(Finding { kind, ..Finding::wrong_data(offset, found.len(), wrong) })
}

/// What a mapping shows: the operation's range, and zeros behind the end of the file when its last page is there.
fn look(shadow: &Shadow, operation: &Operation, start: u64, memory: &[u8], ranges_max: usize) -> Option<Finding> {
    let (expected, origins) = (shadow.bytes(), shadow.origins());
    let (from, to) = (operation.offset as usize, operation.end() as usize);
    let at = from - start as usize;
    let wrong = compare("mapping", origins, operation.offset, &memory[at..at + (to - from)], &expected[from..to], ranges_max);
    if wrong.is_some() || to < expected.len() {
        return wrong;
    }
    let behind = &memory[to - start as usize..];
    compare("behind-end", origins, to as u64, behind, &vec![0; behind.len()], ranges_max)
}

/// From the last byte that is right to the last one that is not.
fn wrong_size(expected: u64, found: u64) -> Finding {
    let last_good = expected.min(found).saturating_sub(1);
    let bytes = expected.max(found) - last_good;
    Finding { got: Some(found), least: Some(expected), most: Some(expected), ..Finding::new("size", last_good, bytes, "") }
}

/// The last operations that touched the first bad range, the one that found it included.
fn history(log: &Log, finding: &Finding) -> Vec<(u64, Operation)> {
    let (offset, bytes) = finding.ranges.first().map_or((finding.offset, finding.bytes), |range| (range.offset, range.bytes));
    let numbered = (1_u64..).zip(log.operations.iter().copied());
    let mut touching: Vec<(u64, Operation)> = numbered.filter(|(_, operation)| operation.touches(offset, bytes)).collect();
    touching.drain(..touching.len().saturating_sub(HISTORY_MAX));
    touching
}
