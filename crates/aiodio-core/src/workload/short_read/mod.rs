//! Reads through the page cache, many in flight, while other threads drop, read ahead and reclaim the pages: each must return all it
//! was asked for, and nothing behind what it says it returned may have changed.
//!
//! The disturbers act at the beat of the reads, once for each batch that is reaped: no thread is ever busy waiting.

mod disturbers;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::disturbers::{Beat, Disturbances, Over, disturb};
use super::shared::finding::{Finding, Findings};
use super::shared::overlap;
use crate::buffer::{Align, Buffer, Pool};
use crate::engine::{Completion, Engine, Kind, Op, Operation, Queue, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::oracle::Stamped;
use crate::random::Random;
use crate::stamp::{Key, SECTOR, SECTOR_BYTES};
use crate::sys::{File, Flags};
use crate::verify::check_memory;
use crate::workload::copy::PROGRESS_INTERVAL;

/// What to read and how.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// A file full of stamps.
    pub path: PathBuf,
    /// Its size in bytes; not 0. It need not be a multiple of the block: the last read is then shorter, and rightly so.
    pub bytes: u64,
    /// Its stamps.
    pub key: Key,
    /// Length of a read; a multiple of 512.
    pub block_bytes: NonZeroUsize,
    /// Reads in flight.
    pub depth: NonZeroUsize,
    /// The kernel's interface.
    pub engine: Kind,
    /// Where the buffers lie in their pages.
    pub align: Align,
    /// How often the file is read, at least: in order, which the kernel's readahead follows, and in random order, by turns. Where not all
    /// that disturbs has had its turn by then it goes on until it has, for up to [`super::shared::overlap::EXTRA_ROUNDS`] passes.
    pub passes: u32,
    /// Go on where a read ended short, as careful programs do, instead of reporting it.
    pub resubmit: bool,
    /// Disturb the page cache.
    pub disturb: bool,
    /// What the order of the reads and the disturbances follow from.
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
}

/// How it went.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why it could not go on.
    pub error: Option<Error>,
    /// The reads that went wrong.
    pub findings: Findings,
    /// Reads that were checked.
    pub reads: u64,
    /// Of these, those that ended at the end of the file, short and right.
    pub at_end: u64,
    /// Times that pages were dropped (`POSIX_FADV_DONTNEED`).
    pub dropped: u64,
    /// Times that pages were read ahead (`readahead(2)`).
    pub read_ahead: u64,
    /// Times that pages were reclaimed (`MADV_PAGEOUT`).
    pub reclaimed: u64,
    /// The kernel has no `MADV_PAGEOUT` or `MADV_POPULATE_READ` (Linux 5.14).
    pub no_reclaim: bool,
    /// The queue's counts.
    pub stats: Stats,
    /// The reading alone.
    #[serde(rename = "elapsedSeconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
}

const RANGES_MAX: usize = 4;
/// No stamp has a sector of it.
const POISON: u8 = 0xa5;

/// Reads. `progress` is told the bytes read so far.
pub fn run(options: &Options, progress: impl FnMut(u64)) -> Outcome {
    match options.engine.open(options.depth) {
        Ok(engine) => run_with(engine, options, progress),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() },
    }
}

/// Reads through the given engine.
pub fn run_with(engine: Box<dyn Engine>, options: &Options, progress: impl FnMut(u64)) -> Outcome {
    match Reader::prepare(engine, options) {
        Ok((reader, queue)) => reader.run(queue, progress),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() },
    }
}

struct Reader<'options> {
    options: &'options Options,
    expected: Stamped,
    free: Vec<Buffer>,
    random: Random,
    outcome: Outcome,
}

impl<'options> Reader<'options> {
    fn prepare(engine: Box<dyn Engine>, options: &'options Options) -> Result<(Self, Queue)> {
        if options.bytes == 0 || !options.block_bytes.get().is_multiple_of(SECTOR_BYTES) {
            return Err(Error::new(Step::Options, "The block size must be a multiple of 512, and the file not empty"));
        }
        let file = File::open_to_read(&options.path, Flags::default())?;
        // What filling the file has left in the page cache says nothing of the disk.
        file.drop_cache(0, 0);
        let pool = Pool::new(options.depth.get(), options.block_bytes, options.align)?;
        let queue = Queue::new(engine, options.depth, vec![file.into()], &pool.registrations)?;
        let queue = if options.resubmit { queue } else { queue.report_short() };
        let reader = Self {
            options,
            expected: Stamped { key: options.key, offset: 0, bytes: options.bytes },
            free: pool.buffers,
            random: Random::new(options.seed),
            outcome: Outcome::default(),
        };
        Ok((reader, queue))
    }

    fn run(mut self, mut queue: Queue, progress: impl FnMut(u64)) -> Outcome {
        let start = Instant::now();
        let (beat, disturbances) = (Beat::default(), Disturbances::default());
        let result = std::thread::scope(|scope| {
            let over = Over(&beat);
            if self.options.disturb {
                let file = queue.file(0).try_clone().map_err(|error| once_more(&self.options.path, &error))?;
                let file = File::new(&self.options.path, file.into());
                disturb(scope, self.options, file, &beat, &disturbances)?;
            }
            let result = self.passes(&mut queue, &beat, &disturbances, progress);
            drop(over);
            result
        });
        self.outcome.error = result.err().or_else(|| self.outcome.findings.full());
        self.outcome.elapsed = start.elapsed();
        self.outcome.stats = queue.finish();
        self.outcome.dropped = disturbances.dropped.load(Ordering::Relaxed);
        self.outcome.read_ahead = disturbances.read_ahead.load(Ordering::Relaxed);
        self.outcome.reclaimed = disturbances.reclaimed.load(Ordering::Relaxed);
        self.outcome.no_reclaim = disturbances.no_reclaim.load(Ordering::Relaxed);
        self.outcome
    }

    fn passes(&mut self, queue: &mut Queue, beat: &Beat, disturbances: &Disturbances, mut progress: impl FnMut(u64)) -> Result<()> {
        let block = self.options.block_bytes.get() as u64;
        let blocks = self.options.bytes.div_ceil(block);
        let mut done = Vec::with_capacity(self.free.len());
        let mut reported = Instant::now();
        for pass in 0_u64.. {
            let met = !self.options.disturb || disturbances.met();
            if !overlap::goes_on(self.options.passes, pass + 1, met, self.outcome.findings.total) {
                break;
            }
            let mut next = 0;
            while next < blocks || queue.in_flight() > 0 {
                while next < blocks
                    && let Some(mut buffer) = self.free.pop()
                {
                    let number = if pass % 2 == 0 { next } else { self.random.below(blocks) };
                    // What an earlier read left must not pass for what this one returns.
                    buffer.fill(POISON);
                    let bytes = buffer.len();
                    queue.push(Operation {
                        op: Op::Read,
                        file: 0,
                        offset: number * block,
                        bytes,
                        buffer,
                        generation: 0,
                        user_data: (),
                    });
                    next += 1;
                }
                queue.wait(1, &mut done).map_err(|error| error.path(&self.options.path))?;
                for completion in done.drain(..) {
                    self.complete(completion);
                }
                beat.next();
                if reported.elapsed() >= PROGRESS_INTERVAL {
                    reported = Instant::now();
                    progress(self.outcome.reads * block);
                }
            }
        }
        progress(self.outcome.reads * block);
        Ok(())
    }

    fn complete(&mut self, completion: Completion) {
        let Completion { offset, bytes, buffer, result, .. } = completion;
        let (asked, expected) = (bytes as u64, (self.options.bytes - offset).min(bytes as u64));
        let got = *result.as_ref().unwrap_or(&0) as u64;
        let found = match result {
            Ok(_) => self.check(offset, expected, got, &buffer),
            Err(errno) => Some(Finding::new("refused", offset, asked, "").errno(errno)),
        };
        self.outcome.reads += 1;
        self.outcome.at_end += u64::from(expected < asked);
        self.free.push(buffer);
        if let Some(found) = found {
            self.outcome.findings.add(Finding { got: Some(got), least: Some(expected), most: Some(expected), ..found });
        }
    }

    fn check(&self, offset: u64, expected: u64, got: u64, memory: &[u8]) -> Option<Finding> {
        let finding = |kind, detail: String| Some(Finding::new(kind, offset, memory.len() as u64, detail));
        if got > expected {
            return finding("long", String::new());
        }
        let (read, rest) = memory.split_at(got as usize);
        let found = check_memory(&self.expected, offset, read, RANGES_MAX);
        if let Some(first) = found.ranges.first() {
            // The first bad sector is as it was before the read: the kernel did not come there.
            let at = (first.offset - offset) / SECTOR * SECTOR;
            let end = (at as usize + SECTOR_BYTES).min(read.len());
            if read[at as usize..end].iter().all(|byte| *byte == POISON) {
                return finding("unfilled", format!("from byte {at} on"));
            }
            return Some(Finding::wrong_data(offset, memory.len(), found));
        }
        // Behind the end of a resumed read there may be what an earlier part of it left.
        if !self.options.resubmit
            && let Some(at) = rest.iter().position(|byte| *byte != POISON)
        {
            return finding("touched", format!("first at byte {}", got + at as u64));
        }
        if got < expected { finding("short", String::new()) } else { None }
    }
}

fn once_more(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Step::Open, "The file cannot be opened once more").errno(Errno::from(error)).path(path)
}
