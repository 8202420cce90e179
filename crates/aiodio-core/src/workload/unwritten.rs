//! Asynchronous direct writes into space that has no data yet, read back the moment they complete.
//!
//! A filesystem marks such space unwritten until the data are on the disk, and converts it afterwards, which needs a transaction and
//! so cannot be done where the device's completion arrives. Whoever tells the completion first lets a reader find zeros.

use std::fs;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::shared::finding::{Finding, Findings};
use crate::buffer::{Align, Buffer, Pool, page_bytes};
use crate::engine::{Completion, Engine, Kind, Op, Operation, Queue, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::{Change, ChangeId, Content, Ending, OneOf, Oracle};
use crate::random::mix;
use crate::recorder;
use crate::stamp::Key;
use crate::sys::mapping::Mapping;
use crate::sys::{File, Flags};
use crate::verify::{self, check_memory};
use crate::{expectation, json};

/// What is written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// A file of holes, as in the report.
    Hole,
    /// Preallocated (`fallocate(2)`).
    Allocated,
    /// Written, and punched out.
    Punched,
    /// Written, and zeroed (`FALLOC_FL_ZERO_RANGE`).
    Zeroed,
    /// Behind the end of the file.
    Extended,
}

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Made anew.
    pub path: PathBuf,
    /// Its size; writes go to a random place in it. At least [`Options::window`].
    pub bytes: u64,
    /// Bytes of each write, which direct I/O must be able to do.
    pub block_bytes: NonZeroUsize,
    /// Neighbouring blocks in flight together.
    pub depth: NonZeroUsize,
    /// How often.
    pub rounds: u32,
    /// The kernel's interface.
    pub engine: Kind,
    /// What is written into.
    pub space: Space,
    /// Seed of the data and the places.
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
}

impl Options {
    /// Bytes that one round writes to.
    pub fn window(&self) -> u64 {
        (self.block_bytes.get() * self.depth.get()) as u64
    }
}

/// How it went.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why it could not go on; with EOPNOTSUPP: the filesystem has no such space.
    pub error: Option<Error>,
    /// What should not be.
    pub findings: Findings,
    /// Rounds done.
    pub rounds: u32,
    /// Writes completed.
    pub writes: u64,
    /// Reads at once after a completion.
    pub reads: u64,
    /// Those while other writes to the same extent were in flight.
    pub overlaps: u64,
    /// The queue's counts.
    #[serde(serialize_with = "Stats::of_race")]
    #[cfg_attr(
        feature = "typescript",
        ts(
            type = "Pick<EngineStats, \"submitted\" | \"inFlightMax\" | \"retriedEintr\" | \"retriedEagain\" | \"shortReads\" | \"shortWrites\">"
        )
    )]
    pub stats: Stats,
    /// What the file is now.
    #[serde(rename = "expectation", serialize_with = "expectation::keep_if_any")]
    #[cfg_attr(feature = "typescript", ts(type = "number", optional))]
    pub expected: Option<Oracle>,
}

/// `write-error`, `short-write`, `read-error`, `short-read`: the kernel's answer. `not-converted`: zeros where a write has completed.
/// `wrong-data`: something else there. `size-lost`: the file is shorter than a completed write reaches. `neighbour`: bytes that nobody
/// wrote to are not zero.
pub const KINDS: [&str; 8] =
    ["write-error", "short-write", "read-error", "short-read", "not-converted", "wrong-data", "size-lost", "neighbour"];

/// How something is read back.
const WAYS: [&str; 3] = ["O_DIRECT", "the page cache", "a mapping"];

/// Races.
pub fn run(options: &Options) -> Outcome {
    match options.engine.open(options.depth) {
        Ok(engine) => run_with(engine, options),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() },
    }
}

/// Races through the given engine.
pub fn run_with(engine: Box<dyn Engine>, options: &Options) -> Outcome {
    let mut outcome = Outcome::default();
    match Race::new(engine, options) {
        Ok(mut race) => {
            let error = race.rounds(&mut outcome).err();
            outcome.error = error.or_else(|| outcome.findings.full());
            outcome.stats = race.queue.finish();
            outcome.expected = Some(race.oracle);
        }
        Err(error) => outcome.error = Some(error),
    }
    outcome
}

struct Race<'options> {
    options: &'options Options,
    queue: Queue<ChangeId>,
    free: Vec<Buffer>,
    direct: File,
    buffered: File,
    /// For direct reads.
    back: Buffer,
    memory: Vec<u8>,
    scratch: fs::File,
    oracle: Oracle,
    round: u32,
}

impl<'options> Race<'options> {
    fn new(engine: Box<dyn Engine>, options: &'options Options) -> Result<Self> {
        if options.bytes < options.window() + options.block_bytes.get() as u64 * 2 {
            let message = format!("A file of {} bytes has no room for {} in flight", options.bytes, options.window());
            return Err(Error::new(Step::Options, message));
        }
        let direct = File::open_to_write(&options.path, true, Flags::DIRECT)?;
        let writing = File::open_to_write(&options.path, true, Flags::DIRECT)?;
        let buffered = File::open_to_write(&options.path, true, Flags::default())?;
        // SAFETY: advice about an open file: nothing is to be read ahead, so that only what is asked for is looked at.
        unsafe { libc::posix_fadvise(buffered.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
        let pool = Pool::new(options.depth.get(), options.block_bytes, Align::Offset(0))?;
        let queue = Queue::new(engine, options.depth, vec![writing.into()], &pool.registrations)?;
        let back = Pool::new(1, options.block_bytes, Align::Offset(0))?.buffers.remove(0);
        let memory = vec![0; options.block_bytes.get()];
        let oracle = Oracle::new(options.seed, 1);
        Ok(Self { options, queue, free: pool.buffers, direct, buffered, back, memory, scratch: scratch()?, oracle, round: 0 })
    }

    fn rounds(&mut self, outcome: &mut Outcome) -> Result<()> {
        while self.round < self.options.rounds {
            self.round += 1;
            let start = self.prepare()?;
            self.write(start, outcome)?;
            self.neighbours(start, outcome);
            outcome.rounds = self.round;
        }
        Ok(())
    }

    fn failed(&self, what: &str, errno: Errno) -> Error {
        Error::new(Step::Write, format!("{what} failed")).errno(errno).path(&self.options.path)
    }

    /// Makes the file anew, and says where this round writes to.
    fn prepare(&mut self) -> Result<u64> {
        let Options { bytes, space, seed, .. } = *self.options;
        let (window, block) = (self.options.window(), self.options.block_bytes.get() as u64);
        // One block before and one behind the window are left alone.
        let places = (bytes - window - 2 * block) / block + 1;
        let start = block + mix(seed ^ u64::from(self.round)) % places * block;
        let guard = start - block..start + window + block;
        let before = if space == Space::Extended { start } else { bytes };
        let emptied = self.buffered.truncate(0).and_then(|()| self.buffered.truncate(before));
        emptied.map_err(|errno| self.failed("ftruncate", errno))?;
        self.oracle = Oracle::new(seed, 1);
        let id = self.oracle.begin(Change::truncate(before));
        self.oracle.end(id, Ending::Done);
        let length = guard.end - guard.start;
        match space {
            Space::Hole | Space::Extended => {}
            Space::Allocated => {
                self.buffered.allocate(0, guard.start, length).map_err(|errno| self.failed("fallocate", errno))?;
            }
            Space::Punched | Space::Zeroed => {
                // What comes back if the punched or zeroed range is not honoured is recognised by its generation, 0.
                let mut old = vec![0; length as usize];
                self.oracle.stamps(0).fill(guard.start, &mut old);
                self.buffered.write_whole(&old, guard.start, 0).map_err(|errno| self.failed("A write", errno))?;
                self.buffered.fsync()?;
                let mode = if space == Space::Punched { libc::FALLOC_FL_PUNCH_HOLE } else { libc::FALLOC_FL_ZERO_RANGE };
                let changed = self.buffered.allocate(mode | libc::FALLOC_FL_KEEP_SIZE, guard.start, length);
                changed.map_err(|errno| self.failed("fallocate", errno))?;
            }
        }
        Ok(start)
    }

    fn write(&mut self, start: u64, outcome: &mut Outcome) -> Result<()> {
        let bytes = self.options.block_bytes.get();
        let depth = self.options.depth.get() as u64;
        let key = self.key();
        // Not in the order of the file, so that no extent just grows.
        let first = mix(self.options.seed ^ u64::from(self.round) << 32) % depth;
        for index in 0..depth {
            let Some(mut buffer) = self.free.pop() else { break };
            let offset = start + (first + index) % depth * bytes as u64;
            key.fill(offset, &mut buffer);
            let user_data = self.oracle.begin(Change::write(offset, bytes as u64, self.round));
            self.queue.push(Operation { op: Op::Write, file: 0, offset, bytes, buffer, generation: self.round, user_data });
        }
        let mut done = Vec::new();
        let mut completed = Vec::new();
        self.queue.submit()?;
        while self.queue.in_flight() > 0 || !done.is_empty() {
            if done.is_empty() {
                self.queue.wait(1, &mut done)?;
            }
            let Some(Completion { offset, buffer, user_data: change, result, .. }) = done.pop() else { continue };
            self.free.push(buffer);
            outcome.writes += 1;
            self.oracle.end(change, Ending::of(result, bytes));
            if !outcome.findings.transfer(Op::Write, self.round.into(), offset, bytes, result, "O_DIRECT") {
                continue;
            }
            self.size(offset + bytes as u64, outcome);
            self.queue.poll(&mut done)?;
            self.read_back(offset, &mut completed, outcome);
            // The others that the kernel has still, it had while that was read.
            outcome.overlaps += u64::from(self.queue.still_with_kernel()? > 0);
            self.queue.poll(&mut done)?;
        }
        // Those whose pages others were writing to.
        for offset in completed {
            self.read(offset, 1, outcome);
            self.read(offset, 2, outcome);
        }
        Ok(())
    }

    fn key(&self) -> Key {
        self.oracle.stamps(self.round)
    }

    fn size(&self, least: u64, outcome: &mut Outcome) {
        let Ok(size) = self.buffered.size() else { return };
        if size < least {
            let detail = format!("the file has {size} bytes when a write up to byte {least} has completed");
            outcome.findings.add(Finding::new("size-lost", size, least - size, detail).round(self.round));
        }
    }

    /// At once, each way first in its turn. What is read through the page cache waits where others write to the same page: it would
    /// be a collision (see the workload of that name), not this race.
    fn read_back(&mut self, offset: u64, later: &mut Vec<u64>, outcome: &mut Outcome) {
        let whole_pages = self.options.block_bytes.get().is_multiple_of(page_bytes());
        if !whole_pages {
            self.read(offset, 0, outcome);
            later.push(offset);
            return;
        }
        let first = outcome.writes as usize;
        for turn in 0..WAYS.len() {
            self.read(offset, (first + turn) % WAYS.len(), outcome);
        }
    }

    fn read(&mut self, offset: u64, way: usize, outcome: &mut Outcome) {
        outcome.reads += 1;
        let got = match way {
            0 => self.direct.read(&mut self.back, offset),
            1 => self.buffered.read(&mut self.memory, offset),
            _ => map_once(&self.buffered, &self.scratch, &mut self.memory, offset),
        };
        let bytes = self.memory.len();
        let finding = |kind, detail: String| Finding::new(kind, offset, bytes as u64, detail).round(self.round);
        match got {
            Err(errno) => outcome.findings.add(finding("read-error", format!("by {}", WAYS[way])).errno(errno)),
            Ok(got) if got < bytes => {
                outcome.findings.add(finding("short-read", format!("{got} of {bytes} bytes by {}", WAYS[way])));
            }
            Ok(_) => {
                let memory: &[u8] = if way == 0 { &self.back } else { &self.memory };
                let contents = vec![Content::Stamp(self.round)];
                let expected = OneOf { key: self.key(), sizes: 0..=u64::MAX, contents };
                for range in check_memory(&expected, offset, memory, 1).ranges {
                    let kind = if range.kind == verify::Kind::Zeros { "not-converted" } else { "wrong-data" };
                    let detail = format!("by {}, after the write's completion", WAYS[way]);
                    outcome.findings.add(Finding::of_range(kind, range, detail).round(self.round));
                }
            }
        }
    }

    /// One block before and one behind.
    fn neighbours(&mut self, start: u64, outcome: &mut Outcome) {
        let block = self.options.block_bytes.get() as u64;
        for offset in [start - block, start + self.options.window()] {
            // Behind the end there is none: nothing is read there.
            let got = match self.buffered.read(&mut self.memory, offset) {
                Ok(got) => got,
                Err(errno) => {
                    let finding = Finding::new("read-error", offset, block, "beside the writes");
                    outcome.findings.add(finding.round(self.round).errno(errno));
                    continue;
                }
            };
            let expected = OneOf { key: self.key(), sizes: 0..=u64::MAX, contents: vec![Content::Zeros] };
            for range in check_memory(&expected, offset, &self.memory[..got], 1).ranges {
                outcome.findings.add(Finding::of_range("neighbour", range, "beside the writes").round(self.round));
            }
        }
    }
}

/// Reads through a mapping made for it. The kernel does the copying, by way of `scratch`, so that a page that can't be had is an
/// error and no SIGBUS.
fn map_once(file: &File, scratch: &fs::File, memory: &mut [u8], offset: u64) -> std::result::Result<usize, Errno> {
    let map = Mapping::of_file(file.as_fd(), offset, memory.len() as u64, false)?;
    // Else the kernel reads neighbours around the fault, which may be under direct writes: a collision that nobody promises to end
    // well. (`POSIX_FADV_RANDOM` does not concern mappings.)
    let (Ok(()) | Err(_)) = map.advise(libc::MADV_RANDOM);
    let begin = file.calls().begin(recorder::Kind::MmapRead, offset, memory.len() as u64);
    let copied = file.calls().call(&begin, || {
        // SAFETY: mapped, whether or not there are pages.
        unsafe { libc::pwrite64(scratch.as_raw_fd(), map.at(offset).cast(), memory.len(), 0) }
    })?;
    scratch.read_at(&mut memory[..copied], 0).map_err(|error| Errno::from(&error))
}

/// A file in memory.
fn scratch() -> Result<fs::File> {
    // SAFETY: a name that ends in NUL.
    let fd = unsafe { libc::memfd_create(c"scratch".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(Error::new(Step::Setup, "A file in memory could not be made").errno(Errno::last()));
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { <fs::File as std::os::fd::FromRawFd>::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_that_cannot_be_read_is_told() {
        let place = tempfile::tempdir().expect("directory");
        let block = NonZeroUsize::new(page_bytes()).expect("not 0");
        let options = Options {
            path: place.path().join("file"),
            bytes: 64 * page_bytes() as u64,
            block_bytes: block,
            depth: NonZeroUsize::MIN,
            rounds: 1,
            engine: Kind::Sync,
            space: Space::Hole,
            seed: 1,
        };
        let mut race = match Race::new(Box::new(crate::engine::SyncEngine::default()), &options) {
            Err(error) if error.errno == Some(Errno(libc::EINVAL)) => return eprintln!("skipped: no O_DIRECT there"),
            race => race.expect("race"),
        };
        // A descriptor that nothing can be read from.
        race.buffered = File::new(&options.path, fs::File::options().write(true).open(&options.path).expect("file"));
        let mut outcome = Outcome::default();
        race.neighbours(2 * page_bytes() as u64, &mut outcome);
        let found: Vec<_> = outcome.findings.first.iter().map(|finding| (finding.kind, finding.errno)).collect();
        assert_eq!(found, [("read-error", Some(Errno(libc::EBADF))); 2]);
    }
}
