//! Reads a file while it is written, extended or truncated: the workload of LTP's `*_sparse`, `*_append`, `dio_truncate` and
//! `dio_read`.
//!
//! All of them ask the same: does a reader ever see anything that was not there? Blocks that have just been allocated hold what
//! their former owner left; they must not be seen before the new data are in them. LTP writes zeros and looks for zeros, so it can't
//! see a write that was lost. Here stamps are written, and an [`Oracle`] knows of every read which bytes were right at any moment
//! between its submission and its completion: what was written before must be there, what is being written may be, and nothing else.
//!
//! Readers are threads with an open file description each, where LTP forks; they take turns (see [`board`]), so that they can't
//! starve the writer. A race that nobody ran is no proof: reads that overlapped a change in flight are counted, and work that is
//! over before enough of them did is done again.

mod board;
mod overwrite;
mod reader;
mod writer;

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::board::{Board, Pace};
use self::reader::Look;
use self::writer::{Data, Stretch, Writer};
use crate::buffer::{Align, Pool};
use crate::engine::{DEPTH_MAX, Engine, Kind, Queue, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::{Change, Ending, Oracle};
use crate::stamp::Key;
use crate::sys::{self, Flags};
use crate::verify;
use crate::{expectation, json};

/// What happens to the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Scene {
    /// It is made `bytes` long, a hole, and written with direct I/O from `start` until `bytes` is reached; the last block may reach
    /// beyond.
    Sparse {
        /// The size.
        bytes: u64,
        /// Offset of the first block.
        start: u64,
    },
    /// Blocks are appended with direct I/O; the readers look at its end.
    Append {
        /// How many.
        appends: u64,
    },
    /// It grows with direct I/O and is truncated, while another file takes the blocks that become free; the readers use direct I/O.
    Truncate {
        /// Blocks of each growth.
        appends: u64,
        /// How often it is truncated, at least.
        rounds: u32,
        /// The other file, in the same directory.
        junk: PathBuf,
    },
    /// It once was full of other data, and is a hole now that several writers fill with the same data, all through the page cache
    /// and with `fsync(2)` after each block, while the readers use direct I/O. Always with `pwrite(2)`.
    Overwrite {
        /// The size.
        bytes: u64,
        /// How many write the whole file.
        writers: usize,
    },
}

/// Where readers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gaze {
    Whole,
    End,
}

/// What to race and how.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// What happens.
    pub scene: Scene,
    /// The file; what is in it is lost.
    pub path: PathBuf,
    /// The length of each write.
    pub block_bytes: NonZeroUsize,
    /// Writes in flight.
    pub depth: NonZeroUsize,
    /// How they are submitted.
    pub engine: Kind,
    /// How many readers.
    pub readers: usize,
    /// The length of each read.
    pub read_bytes: NonZeroUsize,
    /// The stamps' run and file, and the first generation of several.
    pub key: Key,
    /// Write zeros and, where something else is wanted, other constant bytes, as LTP does. A lost write can't be seen then.
    pub ltp_pattern: bool,
    /// Nothing more is begun after so much time; none: the work is done to its end.
    #[serde(rename = "secondsMax", default, deserialize_with = "json::read_seconds")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<f64>"))]
    pub time_max: Option<Duration>,
}

/// How hard they raced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// How often the whole work was done.
    pub rounds: u32,
    /// Writes begun.
    pub writes: u64,
    /// Reads made.
    pub reads: u64,
    /// Bytes that they returned.
    pub bytes_read: u64,
    /// Reads during which a change was in flight, or an `fsync(2)` of one.
    pub overlapping: u64,
    /// Those of them that returned bytes of which more than one content was right.
    pub touching: u64,
    /// Turns that the readers had.
    pub laps: u64,
    /// Reads that returned what they must not; at the first one all end.
    pub bad_reads: u64,
}

/// A read that returned what it must not.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct BadRead {
    /// Which reader's, from 0.
    pub reader: usize,
    /// Where it began.
    pub offset: u64,
    /// How much it returned.
    pub bytes: u64,
    /// Whether it was made with `O_DIRECT`.
    pub direct: bool,
    /// What is wrong with the bytes.
    pub found: verify::Outcome,
    /// When the read ended too early or too late: the smallest size that the file may have had.
    pub size_min: Option<u64>,
    /// The largest one.
    pub size_max: Option<u64>,
}

/// How it went.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// None: every write was made in full and every read could be made.
    pub error: Option<Error>,
    /// The first read that returned what it must not.
    pub bad: Option<BadRead>,
    /// How hard they raced.
    pub tally: Tally,
    /// Whether the time was used up before the work was done.
    pub late: bool,
    /// What the file should be now.
    #[serde(rename = "expectation", serialize_with = "expectation::keep")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub oracle: Oracle,
    /// The queue's counts.
    pub stats: Stats,
    /// Duration of the race, setting up excluded.
    #[serde(rename = "elapsedSeconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
}

impl Outcome {
    /// One that could not begin.
    pub fn failed(error: Error) -> Self {
        Self {
            error: Some(error),
            bad: None,
            tally: Tally::default(),
            late: false,
            oracle: Oracle::new(0, 0),
            stats: Stats::default(),
            elapsed: Duration::ZERO,
        }
    }
}

/// A race in which fewer reads than readers overlapped a change is run again, so many times in all.
pub const ROUNDS_MAX: u32 = 512;

/// So much memory is reserved for each reader's stack.
const STACK_BYTES: usize = 256 << 10;

/// Races.
pub fn race(options: &Options) -> Outcome {
    let engine = match options.scene {
        Scene::Overwrite { .. } => Ok(Box::new(crate::engine::SyncEngine::default()) as Box<dyn Engine>),
        _ => options.engine.open(options.depth),
    };
    match engine {
        Ok(engine) => race_with(engine, options),
        Err(error) => Outcome::failed(error),
    }
}

/// Races with the writer's requests going through the given engine.
pub fn race_with(engine: Box<dyn Engine>, options: &Options) -> Outcome {
    let oracle = Oracle::new(options.key.seed, options.key.file);
    let pace = pace(options);
    let board = Board::new(oracle, pace, options.readers);
    let start = Instant::now();
    let mut stats = Stats::default();
    let mut rounds = 0;
    let mut writes = 0;
    let mut late = false;
    let result = match &options.scene {
        Scene::Overwrite { bytes, writers } => overwrite::overwrite(options, *bytes, *writers, &board).map(|done| {
            rounds = done.rounds;
            writes = done.writes;
            late = done.late;
        }),
        _ => writer(engine, options, &board).and_then(|mut writer| {
            let result = beside_readers(options, &board, || play(options, &mut writer, &mut rounds));
            writes = writer.writes;
            late = writer.is_late();
            stats = writer.queue.finish();
            result
        }),
    };
    let elapsed = start.elapsed();
    let (tally, bad, reader_error, oracle) = board.into_result();
    let tally = Tally { rounds, writes, ..tally };
    Outcome { error: result.err().or(reader_error), bad, tally, late, oracle, stats, elapsed }
}

fn pace(options: &Options) -> Pace {
    let block = options.block_bytes.get() as u64;
    // A buffered read is memory's work; a direct one is the device's, as the writes are.
    let (writes, times) = match &options.scene {
        Scene::Sparse { bytes, start } => (bytes.saturating_sub(*start).div_ceil(block), 4),
        Scene::Append { appends } => (*appends, 4),
        Scene::Truncate { appends, rounds, .. } => (appends.saturating_mul(u64::from(*rounds)), 1),
        Scene::Overwrite { bytes, writers } => (bytes.div_ceil(block).saturating_mul(*writers as u64), 1),
    };
    Pace::new(writes, block, options.readers, times)
}

/// Does `work` while the readers read, and has them end whatever becomes of it.
fn beside_readers(options: &Options, board: &Board, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (gaze, direct) = match options.scene {
        Scene::Sparse { .. } => (Gaze::Whole, false),
        Scene::Append { .. } => (Gaze::End, false),
        Scene::Truncate { .. } | Scene::Overwrite { .. } => (Gaze::Whole, true),
    };
    let look = Look { path: &options.path, gaze, direct, bytes: options.read_bytes };
    std::thread::scope(|scope| {
        let _finisher = Finisher(board);
        for number in 0..options.readers {
            let builder = std::thread::Builder::new().name(format!("reader {number}")).stack_size(STACK_BYTES);
            let spawned = builder.spawn_scoped(scope, move || {
                let _finisher = FinisherOfPanics(board);
                reader::read(board, look, number);
            });
            if let Err(error) = spawned {
                let message = format!("Reader {number} cannot be started: the limit on processes and threads is reached");
                return Err(Error::new(Step::Setup, message).errno(Errno::from(&error)));
            }
        }
        work()
    })
}

/// Ends everything when it goes out of scope.
struct Finisher<'board>(&'board Board);

impl Drop for Finisher<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Ends everything when it goes out of scope for a panic.
struct FinisherOfPanics<'board>(&'board Board);

impl Drop for FinisherOfPanics<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.finish();
        }
    }
}

fn writer<'board>(engine: Box<dyn Engine>, options: &Options, board: &'board Board) -> Result<Writer<'board>> {
    if options.depth.get() > DEPTH_MAX {
        let message = format!("{} control blocks are more than the {DEPTH_MAX} that make sense: use fewer", options.depth);
        return Err(Error::new(Step::Options, message));
    }
    let direct = Flags::DIRECT;
    let mut paths = vec![options.path.clone()];
    if let Scene::Truncate { junk, .. } = &options.scene {
        paths.push(junk.clone());
    }
    let mut files: Vec<OwnedFd> = Vec::new();
    for path in &paths {
        let file = sys::File::open_to_write(path, false, direct)?;
        truncated(path, 0, file.truncate(0))?;
        files.push(file.into());
    }
    let pool = Pool::new(options.depth.get(), options.block_bytes, Align::Offset(0))?;
    let queue = Queue::new(engine, options.depth, files, &pool.registrations)?;
    Ok(Writer {
        queue,
        free: pool.buffers,
        block_bytes: options.block_bytes.get(),
        paths,
        board,
        deadline: options.time_max.map(|time| Instant::now() + time),
        writes: 0,
    })
}

/// The writer's part.
fn play(options: &Options, writer: &mut Writer<'_>, rounds: &mut u32) -> Result<()> {
    let block = options.block_bytes.get() as u64;
    match &options.scene {
        Scene::Sparse { bytes, start } => repeat(options, writer, rounds, Some(*bytes), *start..*bytes),
        Scene::Append { appends } => repeat(options, writer, rounds, None, 0..appends.saturating_mul(block)),
        Scene::Truncate { appends, rounds: wanted, .. } => {
            let range = 0..appends.saturating_mul(block);
            writer.board.start_readers();
            let enough = |rounds: u32, board: &Board| {
                rounds >= *wanted && (board.overlapping() >= options.readers as u64 || rounds >= wanted.saturating_add(ROUNDS_MAX))
            };
            while !enough(*rounds, writer.board) && !writer.is_stopped() {
                writer.write(&Stretch { file: 0, range: range.clone(), data: data(options, *rounds) })?;
                resize(writer, 0)?;
                let junk = if options.ltp_pattern {
                    Data::Byte(0xaa)
                } else {
                    Data::Stamps(Key { file: options.key.file + 1, generation: options.key.generation + *rounds, ..options.key })
                };
                writer.write(&Stretch { file: 1, range: range.clone(), data: junk })?;
                truncated(&writer.paths[1], 0, writer.queue.truncate(1, 0))?;
                *rounds += 1;
            }
            Ok(())
        }
        Scene::Overwrite { .. } => Ok(()),
    }
}

/// Writes the range, on a file of that size if one is given, until enough reads have overlapped a write.
fn repeat(
    options: &Options,
    writer: &mut Writer<'_>,
    rounds: &mut u32,
    size: Option<u64>,
    range: std::ops::Range<u64>,
) -> Result<()> {
    loop {
        if *rounds > 0 {
            resize(writer, 0)?;
        }
        if let Some(size) = size {
            resize(writer, size)?;
        }
        writer.board.start_readers();
        writer.write(&Stretch { file: 0, range: range.clone(), data: data(options, *rounds) })?;
        *rounds += 1;
        let enough = writer.board.overlapping() >= options.readers as u64;
        if enough || range.is_empty() || options.readers == 0 || *rounds == ROUNDS_MAX || writer.is_stopped() {
            return Ok(());
        }
    }
}

/// What the writer writes in that round.
fn data(options: &Options, round: u32) -> Data {
    if options.ltp_pattern {
        Data::Byte(0)
    } else {
        Data::Stamps(Key { generation: options.key.generation + round, ..options.key })
    }
}

/// Gives the file that is read another size.
fn resize(writer: &Writer<'_>, size: u64) -> Result<()> {
    let change = writer.board.begin(Change::truncate(size));
    let result = truncated(&writer.paths[0], size, writer.queue.truncate(0, size));
    writer.board.end(change, if result.is_ok() { Ending::Done } else { Ending::Failed });
    result
}

/// What an `ftruncate(2)` to `size` bytes came to.
fn truncated(path: &Path, size: u64, result: std::result::Result<(), Errno>) -> Result<()> {
    result.map_err(|errno| Error::new(Step::Truncate, format!("The file cannot be made {size} bytes long")).errno(errno).path(path))
}
