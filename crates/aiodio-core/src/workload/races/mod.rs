//! Further races of asynchronous and direct I/O that kernels have lost: a file for each, which begins with its story, and one table.

mod append_fallocate;
mod append_visible;
mod direct_toggle;
mod eof_pieces;
mod exit_in_flight;
mod own_mmap;
mod read_past_end;
mod reflink;
mod stale_readahead;
mod truncate_up;
mod unfaulted_buffer;

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::shared::finding::{Finding, Findings};
use super::shared::gate::panicked;
use super::shared::overlap::{self, Side};
use crate::buffer::{Align, Buffer, Pool, page_bytes};
use crate::engine::{Completion, Engine, Kind, Op, Operation, Queue};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::oracle::{Content, OneOf};
use crate::stamp::Key;
use crate::sys::mapping::resident_pages;
use crate::sys::{File, Flags};
use crate::verify::check_memory;

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Which of [`TABLE`].
    pub race: String,
    /// Made anew.
    pub path: PathBuf,
    /// A second file on the same filesystem, for races that need one; made anew.
    pub other: PathBuf,
    /// What direct offsets, lengths and memory are multiples of, in bytes.
    pub dio_align: NonZeroUsize,
    /// How often, at least: a race whose sides have not met by then goes on until they have, for up to [`overlap::EXTRA_ROUNDS`] rounds.
    pub rounds: u32,
    /// The kernel's interface.
    pub engine: Kind,
    /// Seed of the data.
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
    /// The system call that the filesystem does not have.
    pub unsupported: Option<&'static str>,
    /// What should not be.
    pub findings: Findings,
    /// Rounds done.
    pub rounds: u32,
    /// How often both sides of the race were under way at once.
    pub overlaps: u64,
}

/// Makes engines of a depth.
pub type Open<'caller> = &'caller dyn Fn(NonZeroUsize) -> Result<Box<dyn Engine>>;

/// A race.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Race {
    /// Its name in options and reports.
    pub name: &'static str,
    /// What happens, and where it is known from.
    pub story: &'static str,
    /// What is proven when nothing is wrong.
    pub proven: &'static str,
    /// Run when asked for by name, and not among all of them: it fails on kernels for which there is no fix.
    pub on_request: bool,
    #[serde(skip)]
    run: fn(&mut Course<'_>) -> Result<()>,
}

impl std::fmt::Debug for Race {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Race({})", self.name)
    }
}

/// All of them. The numbers are those of xfstests' tests.
pub const TABLE: &[Race] = &[
    append_visible::RACE,
    append_fallocate::RACE,
    eof_pieces::RACE,
    reflink::RACE,
    stale_readahead::RACE,
    direct_toggle::RACE,
    own_mmap::RACE,
    unfaulted_buffer::RACE,
    exit_in_flight::RACE,
    read_past_end::RACE,
    truncate_up::RACE,
];

/// Runs the race of that name.
pub fn run(options: &Options) -> Outcome {
    run_with(options, &|depth| options.engine.open(depth))
}

/// Runs it through engines made by `open`.
pub fn run_with(options: &Options, open: Open<'_>) -> Outcome {
    let Some(race) = TABLE.iter().find(|race| race.name == options.race) else {
        let error = Error::new(Step::Options, format!("There is no race \"{}\"", options.race));
        return Outcome { error: Some(error), ..Outcome::default() };
    };
    let mut outcome = Outcome::default();
    let mut course = Course { options, open, round: 0, outcome: &mut outcome, done: Vec::new() };
    match (race.run)(&mut course) {
        Err(error) if outcome.unsupported.is_some() && matches!(error.errno, Some(Errno(libc::EOPNOTSUPP | libc::ENOTTY))) => {
            return outcome;
        }
        Err(error) => outcome.error = Some(error),
        Ok(()) => outcome.error = outcome.findings.full(),
    }
    // It was not that: another error must not be taken for it.
    outcome.unsupported = None;
    outcome
}

/// One race's run.
struct Course<'caller> {
    options: &'caller Options,
    open: Open<'caller>,
    round: u32,
    outcome: &'caller mut Outcome,
    /// Reaped before all were waited for.
    done: Vec<Completion>,
}

fn failed(what: &str, path: &Path, errno: Errno) -> Error {
    Error::new(Step::Write, format!("{what} failed")).errno(errno).path(path)
}

/// What must be transferred in full for the race to go on.
fn in_full(what: &str, path: &Path, result: std::result::Result<usize, Errno>, bytes: usize) -> Result<()> {
    match result {
        Ok(got) if got == bytes => Ok(()),
        Ok(got) => Err(Error::new(Step::Write, format!("{what} ended after {got} of {bytes} bytes")).path(path)),
        Err(errno) => Err(failed(what, path, errno)),
    }
}

impl Course<'_> {
    fn unit(&self) -> usize {
        self.options.dio_align.get()
    }

    fn key(&self, generation: u32) -> Key {
        Key { seed: self.options.seed, file: 1, generation }
    }

    /// Whether there is another round.
    fn next(&mut self) -> bool {
        self.outcome.rounds = self.round;
        self.round += 1;
        overlap::goes_on(self.options.rounds, self.round, self.outcome.overlaps > 0, self.outcome.findings.total)
    }

    /// The length of a round's writes: what direct I/O needs at least in two rounds, in the next two a page. The former meet in a
    /// block; most filesystems do not let them be in flight together.
    fn piece(&self) -> usize {
        if self.round % 4 < 2 { self.whole_blocks() } else { self.unit() }
    }

    /// A length that filesystems with blocks up to the page size do asynchronously, and clone.
    fn whole_blocks(&self) -> usize {
        self.unit().max(page_bytes())
    }

    /// Submits what is staged and does `other` beside it, in a thread: in every other round once the transfers are with the kernel, in
    /// the rest while they are submitted, since many are over by the time they are (see [`super::shared::overlap`]).
    fn beside<R: Send>(&mut self, queue: &mut Queue, other: impl FnOnce() -> R + Send) -> Result<R> {
        let (side, go) = (Side::default(), AtomicBool::new(self.round.is_multiple_of(2)));
        let (transferred, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                while !go.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                side.during(other)
            });
            let transferred = {
                // On every path, or the thread would wait for ever.
                let _go = Stop(&go);
                overlap::transfer(queue, &mut self.done, &side, || go.store(true, Ordering::SeqCst))
            };
            (transferred, other.join())
        });
        self.outcome.overlaps += u64::from(transferred?);
        other.map_err(|panic| panicked("The other side of the race", &*panic))
    }

    fn direct(&self) -> Result<File> {
        File::open_to_write(&self.options.path, true, Flags::DIRECT)
    }

    fn buffered(&self) -> Result<File> {
        File::open_to_write(&self.options.path, true, Flags::default())
    }

    fn resize(&self, file: &File, bytes: usize) -> Result<()> {
        file.truncate(0).and_then(|()| file.truncate(bytes as u64)).map_err(|errno| failed("ftruncate", &self.options.path, errno))
    }

    /// Fills a file from its start, through the page cache.
    fn fill(&self, file: &File, bytes: usize, generation: u32) -> Result<()> {
        let mut memory = vec![0; bytes];
        self.key(generation).fill(0, &mut memory);
        in_full("A write", &self.options.path, file.write(&memory, 0, generation), bytes)
    }

    fn queue(&self, file: impl Into<OwnedFd>, pool: &Pool, depth: usize) -> Result<Queue> {
        let depth = NonZeroUsize::new(depth).unwrap_or(NonZeroUsize::MIN);
        Queue::new((self.open)(depth)?, depth, vec![file.into()], &pool.registrations)
    }

    fn pool(&self, count: usize) -> Result<Pool> {
        Self::pool_of(count, self.unit())
    }

    fn pool_of(count: usize, bytes: usize) -> Result<Pool> {
        Pool::new(count, NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN), Align::Offset(0))
    }

    fn found(&mut self, kind: &'static str, offset: u64, bytes: usize, detail: impl Into<String>) {
        self.outcome.findings.add(Finding::new(kind, offset, bytes as u64, detail).round(self.round));
    }

    /// Stages the write of a round's stamps.
    fn push(&self, queue: &mut Queue, mut buffer: Buffer, offset: usize, bytes: usize) {
        let generation = self.round;
        self.key(generation).fill(offset as u64, &mut buffer[..bytes]);
        queue.push(Operation { op: Op::Write, file: 0, offset: offset as u64, bytes, buffer, generation, user_data: () });
    }

    /// Waits for all that is in flight; what was not done in full is a finding.
    fn reap(&mut self, queue: &mut Queue) -> Result<Vec<Buffer>> {
        let mut done = std::mem::take(&mut self.done);
        queue.wait(usize::MAX, &mut done)?;
        let mut buffers = Vec::new();
        for Completion { offset, bytes, buffer, result, .. } in done {
            buffers.push(buffer);
            self.outcome.findings.transfer(Op::Write, self.round.into(), offset, bytes, result, "O_DIRECT");
        }
        Ok(buffers)
    }

    /// Memory must hold one of these generations, byte for byte.
    fn check(&mut self, kind: &'static str, offset: usize, memory: &[u8], generations: &[u32], detail: &str) {
        let contents = generations.iter().map(|generation| Content::Stamp(*generation)).collect();
        let generation = generations.first().copied().unwrap_or(0);
        let expected = OneOf { key: self.key(generation), sizes: 0..=u64::MAX, contents };
        for range in check_memory(&expected, offset as u64, memory, 1).ranges {
            self.outcome.findings.add(Finding::of_range(kind, range, detail).round(self.round));
        }
    }

    /// Reads what must be there, through the page cache.
    fn check_file(&mut self, kind: &'static str, file: &File, offset: usize, bytes: usize, generations: &[u32], detail: &str) {
        let mut memory = vec![0; bytes];
        let read = file.read(&mut memory, offset as u64);
        if self.readable(read, offset, bytes, detail) {
            self.check(kind, offset, &memory, generations, detail);
        }
    }

    /// The file's first bytes, past the page cache: `POSIX_FADV_DONTNEED` drops no page that is mapped, dirty or in use, so what is read
    /// through the cache after it need not come from the disk. None, and a finding, where they can't be read.
    fn read_disk(&mut self, path: &Path, bytes: usize) -> Result<Option<Buffer>> {
        let mut memory = Self::pool_of(1, bytes)?.buffers.remove(0);
        let read = File::open_to_read(path, Flags::DIRECT)?.read(&mut memory, 0);
        Ok(self.readable(read, 0, bytes, "on the disk").then_some(memory))
    }

    /// Whether all was read; if not, that is a finding.
    fn readable(&mut self, read: std::result::Result<usize, Errno>, offset: usize, bytes: usize, detail: &str) -> bool {
        let finding = |detail: String| Finding::new("read-error", offset as u64, bytes as u64, detail).round(self.round);
        let finding = match read {
            Ok(got) if got == bytes => return true,
            Ok(got) => finding(format!("{got} of {bytes} bytes, {detail}")),
            Err(errno) => finding(detail.to_owned()).errno(errno),
        };
        self.outcome.findings.add(finding);
        false
    }
}

fn size_of(file: &File) -> u64 {
    file.size().unwrap_or(0)
}

/// Ends what runs beside.
struct Stop<'flag>(&'flag AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Pieces that a round writes behind the end.
const PIECES: usize = 8;

/// A whole direct write from memory that may not be there.
fn write_from(course: &mut Course<'_>, file: &File, from: &Buffer, bytes: usize, offset: usize) {
    // SAFETY: mapped for so many bytes, and no slice.
    let written = unsafe { file.write_raw(from.as_ptr(), bytes, offset as u64, course.round) };
    let detail = "O_DIRECT from a mapping";
    course.outcome.findings.transfer(Op::Write, course.round.into(), offset as u64, bytes, written, detail);
}

/// Whether the first `bytes` of a mapped file are not all in memory.
fn is_missing(mapping: &Buffer, bytes: usize) -> bool {
    resident_pages(mapping.as_ptr(), bytes).is_ok_and(|pages| pages < bytes.div_ceil(page_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::shared::overlap::EXTRA_ROUNDS;

    /// The rounds of a race that meets in one of them, or never, and finds something or nothing.
    fn rounds(meets_in: u32, finds_in: u32) -> u32 {
        let options = Options {
            race: String::new(),
            path: PathBuf::new(),
            other: PathBuf::new(),
            dio_align: NonZeroUsize::MIN,
            rounds: 20,
            engine: Kind::Sync,
            seed: 1,
        };
        let mut outcome = Outcome::default();
        let open = |depth| Kind::Sync.open(depth);
        let mut course = Course { options: &options, open: &open, round: 0, outcome: &mut outcome, done: Vec::new() };
        while course.next() {
            course.outcome.overlaps += u64::from(course.round == meets_in);
            if course.round == finds_in {
                course.found("wrong-data", 0, 1, "planted");
            }
        }
        outcome.rounds
    }

    #[test]
    fn a_race_goes_on_until_its_sides_have_met_but_not_for_ever() {
        assert_eq!(rounds(1, 0), 20);
        assert_eq!(rounds(20, 0), 20);
        assert_eq!(rounds(33, 0), 33);
        assert_eq!(rounds(20 + EXTRA_ROUNDS, 0), 20 + EXTRA_ROUNDS);
        assert_eq!(rounds(0, 0), 20 + EXTRA_ROUNDS);
        assert_eq!(rounds(0, 5), 20, "what is found needs no more proof");
    }
}
