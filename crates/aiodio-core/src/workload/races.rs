//! Further races of asynchronous and direct I/O that kernels have lost, one function for each, in one table.

use std::ffi::CString;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::gate::panicked;
use super::overlap::{self, Side};
use super::scribble;
use super::trouble::{Trouble, Troubles};
use crate::buffer::{Align, Buffer, Memory, Pool, page_bytes};
use crate::engine::libaio::{IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IoEvent, Iocb};
use crate::engine::{Completion, Kind, Operation, Queue, RawEngine};
use crate::error::{Errno, Error, Result, Step};
use crate::file::Flags;
use crate::oracle::{Content, OneOf};
use crate::recorder;
use crate::stamp::Key;
use crate::storage;
use crate::sys::{self, File};
use crate::verify::check_memory;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Made anew.
    pub path: PathBuf,
    /// A second file on the same filesystem, for races that need one; made anew.
    pub other: PathBuf,
    /// What direct offsets, lengths and memory are multiples of, in bytes.
    pub unit_bytes: NonZeroUsize,
    /// How often, at least: a race whose sides have not met by then goes on until they have, for up to [`EXTRA_ROUNDS`] rounds.
    pub rounds: u32,
    /// The kernel's interface.
    pub engine: Kind,
    /// Seed of the data.
    pub seed: u64,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why it could not go on.
    pub error: Option<Error>,
    /// The system call that the filesystem does not have.
    pub unsupported: Option<&'static str>,
    /// What should not be.
    pub troubles: Troubles,
    /// Rounds done.
    pub rounds: u32,
    /// How often both sides of the race were under way at once.
    pub overlaps: u64,
}

pub use super::overlap::EXTRA_ROUNDS;

/// Makes engines of a depth.
pub type Open<'caller> = &'caller dyn Fn(NonZeroUsize) -> Result<Box<dyn RawEngine>>;

/// A race.
pub struct Race {
    /// Its name in options and reports.
    pub name: &'static str,
    /// What happens, and where it is known from.
    pub story: &'static str,
    /// What is proven when nothing is wrong.
    pub proven: &'static str,
    /// Run when asked for by name, and not among all of them: it fails on kernels for which there is no fix.
    pub on_request: bool,
    run: fn(&mut Course<'_>) -> Result<()>,
}

impl std::fmt::Debug for Race {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Race({})", self.name)
    }
}

/// All of them. The numbers are those of xfstests' tests.
pub const TABLE: &[Race] = &[
    Race {
        name: "append-visible",
        story: "a reader sees the size of an appending write before its data (generic/465, 207)",
        proven: "below the size that a reader saw there were never zeros",
        on_request: false,
        run: append_visible,
    },
    Race {
        name: "append-fallocate",
        story: "an appending AIO write loses its size to an fallocate before it (generic/586)",
        proven: "the file was always as long as the completed write reaches",
        on_request: false,
        run: append_fallocate,
    },
    Race {
        name: "eof-pieces",
        story: "pieces of one block are written behind the end at once, and each zeroes what is not its own (generic/114)",
        proven: "every piece was there",
        on_request: false,
        run: eof_pieces,
    },
    Race {
        name: "reflink",
        story: "AIO writes into an extent that is shared with another file must not change the other",
        proven: "the clone has the new data and its source the old",
        on_request: false,
        run: reflink,
    },
    Race {
        name: "stale-readahead",
        story: "readahead fills the page cache with old data during a direct write (generic/209, 418; acc18e1c1d8c in btrfs)",
        proven: "what was read after a direct write was what it wrote",
        on_request: false,
        run: stale_readahead,
    },
    Race {
        name: "direct-toggle",
        story: "O_DIRECT is switched on and off by F_SETFL during AIO (generic/036, CVE-2014-8086)",
        proven: "every write arrived, direct or not",
        on_request: false,
        run: direct_toggle,
    },
    Race {
        name: "own-mmap",
        story: "a direct write takes its data from a mapping of the same file (generic/647, 729)",
        proven: "every write came through and copied what it should",
        on_request: false,
        run: own_mmap,
    },
    Race {
        name: "unfaulted-buffer",
        story: "a direct write takes its data from memory that is not there yet (generic/708)",
        proven: "every write came through, and nothing was lost where memory had to be fetched",
        on_request: false,
        run: unfaulted_buffer,
    },
    Race {
        name: "exit-in-flight",
        story: "a process ends with AIO in flight, which holds the last reference to its context (generic/323)",
        proven: "each write that the kernel had taken was there, whole, when the process was gone",
        on_request: false,
        run: exit_in_flight,
    },
    Race {
        name: "read-past-end",
        story: "direct reads of the last, partial block and just behind it (generic/210, 450)",
        proven: "reads ended where the file ends",
        on_request: false,
        run: read_past_end,
    },
    Race {
        name: "truncate-up",
        story: "a truncate makes the file longer while an AIO write behind its end is in flight (XFS loses the write, as of Linux 6.18; \
                249bd9087a52 mended the same with fallocate)",
        proven: "a completed write survived a truncate to a larger size",
        on_request: true,
        run: truncate_up,
    },
];

/// Runs the race of that name.
pub fn run(name: &str, options: &Options) -> Outcome {
    run_with(name, options, &|depth| options.engine.open(depth))
}

/// Runs it through engines made by `open`.
pub fn run_with(name: &str, options: &Options, open: Open<'_>) -> Outcome {
    let Some(race) = TABLE.iter().find(|race| race.name == name) else {
        let error = Error::new(Step::Options, format!("There is no race \"{name}\""));
        return Outcome { error: Some(error), ..Outcome::default() };
    };
    let mut outcome = Outcome::default();
    let mut course = Course { options, open, round: 0, outcome: &mut outcome, done: Vec::new() };
    match (race.run)(&mut course) {
        Err(error) if outcome.unsupported.is_some() && matches!(error.errno, Some(Errno(libc::EOPNOTSUPP | libc::ENOTTY))) => {
            return outcome;
        }
        Err(error) => outcome.error = Some(error),
        Ok(()) => outcome.error = outcome.troubles.full(),
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
        self.options.unit_bytes.get()
    }

    fn key(&self, generation: u32) -> Key {
        Key { seed: self.options.seed, file: 1, generation }
    }

    /// Whether there is another round.
    fn next(&mut self) -> bool {
        self.outcome.rounds = self.round;
        self.round += 1;
        let proves = self.outcome.overlaps > 0 || self.outcome.troubles.total > 0;
        overlap::goes_on(self.options.rounds.into(), self.round.into(), proves)
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
    /// the rest while they are submitted, since many are over by the time they are (see [`super::overlap`]).
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
        File::open_to_write(&self.options.path, true, Flags { direct: true, sync: false })
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
        Queue::new((self.open)(depth)?, depth, vec![file.into()], &pool.registrations, self.options.unit_bytes)
    }

    fn pool(&self, count: usize) -> Result<Pool> {
        Self::pool_of(count, self.unit())
    }

    fn pool_of(count: usize, bytes: usize) -> Result<Pool> {
        Pool::new(count, NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN), Align::Offset(0))
    }

    fn trouble(&mut self, kind: &'static str, offset: u64, bytes: usize, detail: impl Into<String>) {
        let trouble = Trouble::new(kind, self.round.into(), offset, bytes as u64, detail);
        self.outcome.troubles.add(trouble);
    }

    /// Stages the write of a round's stamps.
    fn push(&self, queue: &mut Queue, mut buffer: Buffer, offset: usize, bytes: usize) {
        let generation = self.round;
        self.key(generation).fill(offset as u64, &mut buffer[..bytes]);
        queue.push(Operation { write: true, file: 0, offset: offset as u64, bytes, buffer, generation });
    }

    /// Waits for all that is in flight; what was not done in full is trouble.
    fn reap(&mut self, queue: &mut Queue) -> Result<Vec<Buffer>> {
        let mut done = std::mem::take(&mut self.done);
        queue.wait(usize::MAX, &mut done)?;
        let mut buffers = Vec::new();
        for Completion { offset, bytes, buffer, result, .. } in done {
            buffers.push(buffer);
            match result {
                Ok(got) if got == bytes => {}
                Ok(got) => self.trouble("short-write", offset, bytes, format!("{got} of {bytes} bytes")),
                Err(errno) => {
                    let trouble = Trouble::new("write-error", self.round.into(), offset, bytes as u64, "O_DIRECT").errno(errno);
                    self.outcome.troubles.add(trouble);
                }
            }
        }
        Ok(buffers)
    }

    /// Memory must hold one of these generations, byte for byte.
    fn check(&mut self, kind: &'static str, offset: usize, memory: &[u8], generations: &[u32], detail: &str) {
        let contents = generations.iter().map(|generation| Content::Stamp(*generation)).collect();
        let generation = generations.first().copied().unwrap_or(0);
        let expected = OneOf { key: self.key(generation), sizes: 0..=u64::MAX, contents };
        for range in check_memory(&expected, offset as u64, memory, 1).ranges {
            let trouble = Trouble::new(kind, self.round.into(), range.offset, range.bytes, detail);
            self.outcome.troubles.add(trouble.range(range));
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
    /// through the cache after it need not come from the disk. None, and trouble, where they can't be read.
    fn read_disk(&mut self, path: &Path, bytes: usize) -> Result<Option<Buffer>> {
        let mut memory = Self::pool_of(1, bytes)?.buffers.remove(0);
        let read = File::open_to_read(path, Flags { direct: true, sync: false })?.read(&mut memory, 0);
        Ok(self.readable(read, 0, bytes, "on the disk").then_some(memory))
    }

    /// Whether all was read; if not, that is trouble.
    fn readable(&mut self, read: std::result::Result<usize, Errno>, offset: usize, bytes: usize, detail: &str) -> bool {
        let trouble = |detail: String| Trouble::new("read-error", self.round.into(), offset as u64, bytes as u64, detail);
        let trouble = match read {
            Ok(got) if got == bytes => return true,
            Ok(got) => trouble(format!("{got} of {bytes} bytes, {detail}")),
            Err(errno) => trouble(detail.to_owned()).errno(errno),
        };
        self.outcome.troubles.add(trouble);
        false
    }
}

fn size_of(file: &File) -> u64 {
    file.size().unwrap_or(0)
}

/// Blocks that a round appends.
const APPENDS: usize = 8;

fn append_visible(course: &mut Course<'_>) -> Result<()> {
    let unit = course.unit();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let pool = course.pool(1)?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    while course.next() {
        course.resize(&buffered, 0)?;
        let (over, reads) = (AtomicBool::new(false), Side::default());
        let key = course.key(course.round);
        let mut back = course.pool(1)?.buffers.remove(0);
        let reading = File::open_to_read(&course.options.path, Flags { direct: true, sync: false })?;
        let round = course.round;
        let seen = std::thread::scope(|scope| -> Result<Option<Trouble>> {
            let reader = scope.spawn(|| {
                let mut seen: Option<Trouble> = None;
                loop {
                    // The last look is at the finished file, so that there is one.
                    let last = over.load(Ordering::SeqCst);
                    let size = size_of(&direct) as usize;
                    if size < unit {
                        if last {
                            break;
                        }
                        std::thread::yield_now();
                        continue;
                    }
                    let offset = (size - unit) as u64;
                    let trouble = |kind, detail: String| Trouble::new(kind, round.into(), offset, unit as u64, detail);
                    let below = "below the size that the reader had seen";
                    // The file only grows in a round: what a size has promised can be read.
                    // What an earlier read left there must not pass for what this one brings.
                    back.fill(0x5a);
                    let found = match reads.during(|| reading.read(&mut back[..], offset)) {
                        Ok(got) if got == unit => {
                            let contents = vec![Content::Stamp(key.generation)];
                            let expected = OneOf { key, sizes: 0..=u64::MAX, contents };
                            let bad = check_memory(&expected, offset, &back, 1).ranges.into_iter().next();
                            bad.map(|range| trouble("early-size", below.to_owned()).range(range))
                        }
                        Ok(got) => Some(trouble("short-read", format!("{got} of {unit} bytes could be read {below}"))),
                        Err(errno) => Some(trouble("read-error", below.to_owned()).errno(errno)),
                    };
                    seen = seen.or(found);
                    if last {
                        break;
                    }
                }
                seen
            });
            // Stops the reader on every path.
            let stop = Stop(&over);
            for index in 0..APPENDS {
                let Some(buffer) = free.pop() else { break };
                course.push(&mut queue, buffer, index * unit, unit);
                let met = overlap::transfer(&mut queue, &mut course.done, &reads, || ())?;
                course.outcome.overlaps += u64::from(met);
                free = course.reap(&mut queue)?;
                let (size, least) = (size_of(&direct), ((index + 1) * unit) as u64);
                if size < least {
                    course.trouble("size-lost", size, unit, format!("{size} bytes after a write up to byte {least} completed"));
                }
            }
            drop(stop);
            reader.join().map_err(|_| Error::new(Step::Read, "The reader has panicked"))
        })?;
        if let Some(trouble) = seen {
            course.outcome.troubles.add(trouble);
        }
    }
    Ok(())
}

/// Ends what runs beside.
struct Stop<'flag>(&'flag AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn append_fallocate(course: &mut Course<'_>) -> Result<()> {
    let buffered = course.buffered()?;
    let pool = Course::pool_of(1, course.whole_blocks())?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    course.outcome.unsupported = Some("fallocate(2)");
    while course.next() {
        course.resize(&buffered, 0)?;
        let bytes = course.piece();
        let Some(buffer) = free.pop() else { break };
        course.push(&mut queue, buffer, bytes, bytes);
        let path = &course.options.path;
        let allocated = course.beside(&mut queue, || buffered.allocate(0, 0, bytes as u64))?;
        free = course.reap(&mut queue)?;
        allocated.map_err(|errno| failed("fallocate", path, errno))?;
        let size = size_of(&buffered);
        if size != 2 * bytes as u64 {
            course.trouble("size-lost", size, bytes, format!("{size} bytes, {} written and allocated", 2 * bytes));
            continue;
        }
        let round = course.round;
        course.check_file("wrong-data", &buffered, bytes, bytes, &[round], "what the append wrote");
    }
    Ok(())
}

/// Pieces that a round writes behind the end.
const PIECES: usize = 8;
/// So many of them, the first ones, by `pwrite(2)` beside the others.
const PLAIN_PIECES: usize = 2;

fn eof_pieces(course: &mut Course<'_>) -> Result<()> {
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let pool = Course::pool_of(PIECES, course.whole_blocks())?;
    let mut queue = course.queue(course.direct()?, &pool, PIECES)?;
    let mut free = pool.buffers;
    let mut rest = free.split_off(PIECES - PLAIN_PIECES);
    while course.next() {
        course.resize(&buffered, 0)?;
        let (bytes, round) = (course.piece(), course.round);
        for index in PLAIN_PIECES..PIECES {
            let Some(buffer) = free.pop() else { break };
            // The last first: it extends the file, the others fill in.
            course.push(&mut queue, buffer, (PIECES + PLAIN_PIECES - 1 - index) * bytes, bytes);
        }
        for (index, buffer) in rest.iter_mut().enumerate() {
            course.key(round).fill((index * bytes) as u64, &mut buffer[..bytes]);
        }
        let path = &course.options.path;
        let written = course.beside(&mut queue, || {
            let mut pieces = rest.iter_mut().enumerate();
            pieces.try_for_each(|(index, buffer)| {
                in_full("A direct write", path, direct.write(&buffer[..bytes], (index * bytes) as u64, round), bytes)
            })
        })?;
        free = course.reap(&mut queue)?;
        written?;
        course.check_file("piece-lost", &buffered, 0, PIECES * bytes, &[round], "written with its neighbours behind the end");
    }
    Ok(())
}

/// `FICLONE` of `linux/fs.h`: `_IOW(0x94, 9, int)`. libc has it for some targets only.
fn ficlone() -> libc::Ioctl {
    // Architectures that number the directions differently put 4 where others have 1 for "write".
    let write: u32 =
        if cfg!(any(target_arch = "powerpc64", target_arch = "mips64", target_arch = "sparc64")) { 4 << 29 } else { 1 << 30 };
    libc::Ioctl::from(write | 4 << 16 | 0x94 << 8 | 9)
}

fn reflink(course: &mut Course<'_>) -> Result<()> {
    // A clone shares whole blocks of the filesystem.
    let block = course.whole_blocks();
    let bytes = PIECES * block;
    let source = File::open_to_write(&course.options.other, true, Flags::default())?;
    course.fill(&source, bytes, 0)?;
    source.fsync()?;
    let buffered = course.buffered()?;
    let pool = Course::pool_of(PIECES, block)?;
    let mut queue = course.queue(course.direct()?, &pool, PIECES)?;
    let mut free = pool.buffers;
    let mut copy = vec![0; bytes];
    course.outcome.unsupported = Some("FICLONE");
    while course.next() {
        course.resize(&buffered, 0)?;
        let clone = buffered.calls().begin(recorder::Kind::Clone, 0, bytes as u64);
        // SAFETY: two open descriptors.
        let cloned = buffered.calls().call(&clone, || unsafe { libc::ioctl(buffered.as_raw_fd(), ficlone(), source.as_raw_fd()) });
        cloned.map_err(|errno| failed("FICLONE", &course.options.path, errno))?;
        let (piece, round) = (course.piece(), course.round);
        for index in 0..PIECES {
            let Some(buffer) = free.pop() else { break };
            course.push(&mut queue, buffer, index * block, piece);
        }
        let read = course.beside(&mut queue, || source.read(&mut copy, 0))?;
        free = course.reap(&mut queue)?;
        let detail = "the file that the extent was cloned from, read beside the writes";
        if course.readable(read, 0, bytes, detail) {
            course.check("source-changed", 0, &copy, &[0], detail);
        }
        for index in 0..PIECES {
            course.check_file("wrong-data", &buffered, index * block, piece, &[round], "written to the clone");
            let (at, rest) = (index * block + piece, block - piece);
            course.check_file("wrong-data", &buffered, at, rest, &[0], "beside it, in the same block");
        }
        course.check_file("source-changed", &source, 0, bytes, &[0], "the file that the extent was cloned from");
        if let Some(disk) = course.read_disk(&course.options.other, bytes)? {
            course.check("source-changed", 0, &disk, &[0], "the file that the extent was cloned from, on the disk");
        }
    }
    Ok(())
}

/// Blocks of the file that is read ahead.
const AHEAD: usize = 16;

fn stale_readahead(course: &mut Course<'_>) -> Result<()> {
    let block = course.whole_blocks();
    let bytes = AHEAD * block;
    let buffered = course.buffered()?;
    course.resize(&buffered, 0)?;
    course.fill(&buffered, bytes, 0)?;
    buffered.fsync()?;
    let pool = Course::pool_of(1, block)?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    let (over, readahead) = (AtomicBool::new(false), Side::default());
    std::thread::scope(|scope| {
        let beside = course.buffered()?;
        scope.spawn(|| {
            let beside = beside;
            while !over.load(Ordering::SeqCst) {
                beside.drop_cache(0, 0);
                // SAFETY: an open descriptor.
                readahead.during(|| unsafe { libc::readahead(beside.as_raw_fd(), 0, bytes) });
            }
        });
        let _stop = Stop(&over);
        while course.next() {
            let round = course.round;
            let offset = round as usize % AHEAD * block;
            let Some(mut buffer) = free.pop() else { break };
            course.key(round).fill(offset as u64, &mut buffer);
            queue.push(Operation { write: true, file: 0, offset: offset as u64, bytes: block, buffer, generation: round });
            let met = overlap::transfer(&mut queue, &mut course.done, &readahead, || ())?;
            course.outcome.overlaps += u64::from(met);
            free = course.reap(&mut queue)?;
            course.check_file("stale-cache", &buffered, offset, block, &[round], "read after the direct write completed");
        }
        Ok(())
    })
}

fn direct_toggle(course: &mut Course<'_>) -> Result<()> {
    // Whole pages: where a direct and a buffered write share one, the page's writeback may lawfully put old data over the direct one.
    let unit = course.whole_blocks();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    course.resize(&buffered, PIECES * unit)?;
    let pool = Course::pool_of(PIECES, unit)?;
    let same = direct.as_fd().try_clone_to_owned();
    let same = same.map_err(|error| failed("dup", &course.options.path, Errno::from(&error)))?;
    let mut queue = course.queue(same, &pool, PIECES)?;
    let mut free = pool.buffers;
    let (over, toggles) = (AtomicBool::new(false), Side::default());
    // SAFETY: an open descriptor.
    let flags = sys::uninterrupted(|| unsafe { libc::fcntl(direct.as_raw_fd(), libc::F_GETFL) });
    let flags = flags.map_err(|errno| failed("F_GETFL", &course.options.path, errno))? as i32;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let flags = flags ^ if toggles.begun() % 2 == 0 { libc::O_DIRECT } else { 0 };
                // SAFETY: an open descriptor.
                toggles.during(|| unsafe { libc::fcntl(direct.as_raw_fd(), libc::F_SETFL, flags) });
            }
        });
        let _stop = Stop(&over);
        while course.next() {
            // The other thread has the processor now, and keeps it for long compared with a round.
            let idle = toggles.begun();
            while toggles.begun() == idle {
                std::thread::yield_now();
            }
            for index in 0..PIECES {
                let Some(buffer) = free.pop() else { break };
                course.push(&mut queue, buffer, index * unit, unit);
            }
            let met = overlap::transfer(&mut queue, &mut course.done, &toggles, || ())?;
            course.outcome.overlaps += u64::from(met);
            free = course.reap(&mut queue)?;
            let round = course.round;
            course.check_file("wrong-data", &buffered, 0, PIECES * unit, &[round], "written while O_DIRECT came and went");
        }
        Ok(())
    })
}

/// A whole direct write from memory that may not be there; short writes are gone on with, as they are legal.
fn write_from(course: &mut Course<'_>, file: &File, from: &Buffer, bytes: usize, offset: usize) {
    let mut done = 0;
    while done < bytes {
        // SAFETY: mapped for so many bytes.
        let result = unsafe {
            libc::pwrite64(file.as_raw_fd(), from.as_ptr().wrapping_add(done).cast(), bytes - done, (offset + done) as i64)
        };
        match usize::try_from(result) {
            Ok(got) if got > 0 => done += got,
            Ok(_) => return course.trouble("short-write", offset as u64, bytes, format!("{done} of {bytes} bytes")),
            Err(_) => {
                let errno = Errno::last();
                if errno == Errno(libc::EINTR) {
                    continue;
                }
                let detail = "O_DIRECT from a mapping";
                let trouble = Trouble::new("write-error", course.round.into(), offset as u64, bytes as u64, detail);
                return course.outcome.troubles.add(trouble.errno(errno));
            }
        }
    }
}

/// Whether the first `bytes` of a mapped file are not all in memory.
fn is_missing(mapping: &Buffer, bytes: usize) -> bool {
    let mut pages = vec![0_u8; bytes.div_ceil(page_bytes())];
    // SAFETY: mapped for so many bytes, and a byte for each page.
    let result = unsafe { libc::mincore(mapping.as_ptr().cast(), bytes, pages.as_mut_ptr()) };
    result == 0 && pages.iter().any(|page| page & 1 == 0)
}

fn own_mmap(course: &mut Course<'_>) -> Result<()> {
    let block = course.whole_blocks();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let bytes = 2 * PIECES * block;
    course.resize(&buffered, bytes)?;
    let whole = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    while course.next() {
        let (half, round) = (bytes / 2, course.round);
        let mut memory = vec![0; half];
        course.key(round).fill(0, &mut memory);
        in_full("A write", &course.options.path, buffered.write(&memory, 0, round), half)?;
        buffered.fsync()?;
        buffered.drop_cache(0, 0);
        // The pages are not there: the write itself has to fetch them from the file that it holds locked.
        let mapping = Pool::unpopulated(Memory::File(buffered.as_fd()), whole)?;
        course.outcome.overlaps += u64::from(is_missing(&mapping, half));
        write_from(course, &direct, &mapping, half, half);
        let mut copy = vec![0; half];
        let detail = "the second half of the file, written from a mapping of the first";
        let read = buffered.read(&mut copy, half as u64);
        if course.readable(read, half, half, detail) {
            // The stamps are those of where the data came from.
            course.check("wrong-data", 0, &copy, &[round], detail);
        }
    }
    Ok(())
}

fn unfaulted_buffer(course: &mut Course<'_>) -> Result<()> {
    let block = course.whole_blocks();
    let bytes = 4 * PIECES * block;
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let source = File::open_to_write(&course.options.other, true, Flags::default())?;
    let whole = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    while course.next() {
        let round = course.round;
        course.resize(&buffered, 0)?;
        course.fill(&source, bytes, round)?;
        source.fsync()?;
        source.drop_cache(0, 0);
        let mapping = Pool::unpopulated(Memory::File(source.as_fd()), whole)?;
        course.outcome.overlaps += u64::from(is_missing(&mapping, bytes));
        write_from(course, &direct, &mapping, bytes, 0);
        course.check_file("wrong-data", &buffered, 0, bytes, &[round], "written from pages that had to be fetched");
    }
    Ok(())
}

/// What the child's exit status says: how many transfers the kernel had taken, and, as bits, whether some of them were in flight still,
/// and whether it could not even begin.
const TAKEN: i32 = 0x1f;
const IN_FLIGHT: i32 = 0x20;
const NOT_SET_UP: i32 = 0x40;

/// Whether this filesystem writes a block in one piece. What a process leaves behind it can't go on with.
fn writes_whole(course: &Course<'_>, bytes: usize) -> Result<bool> {
    let direct = course.direct()?;
    let mut memory = Course::pool_of(1, bytes)?.buffers.remove(0);
    course.key(0).fill(0, &mut memory);
    // SAFETY: an open descriptor and so much memory.
    let result = sys::uninterrupted(|| unsafe { libc::pwrite64(direct.as_raw_fd(), memory.as_ptr().cast(), bytes, 0) });
    match result {
        Ok(written) => Ok(written == bytes),
        Err(errno) => Err(Error::new(Step::Write, "A direct write failed").errno(errno).path(&course.options.path)),
    }
}

fn exit_in_flight(course: &mut Course<'_>) -> Result<()> {
    let unit = course.whole_blocks();
    // The first half is written. The other is read, since writes may be over when they are submitted (btrfs with data checksums).
    let (half, bytes) = (PIECES * unit, 2 * PIECES * unit);
    let buffered = course.buffered()?;
    course.resize(&buffered, 0)?;
    course.fill(&buffered, bytes, 0)?;
    buffered.fsync()?;
    course.outcome.unsupported = Some("direct writes in one piece, and nobody goes on with what a process has left");
    if !writes_whole(course, unit)? {
        return Err(Error::new(Step::Write, "A direct write was cut short").errno(Errno(libc::EOPNOTSUPP)));
    }
    course.outcome.unsupported = None;
    let path = CString::new(course.options.path.as_os_str().as_bytes())
        .map_err(|_| Error::new(Step::Options, "A path cannot contain a NUL byte"))?;
    let size = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    let mut buffer = Pool::of(Memory::Inherited, 1, size, Align::Offset(0))?.buffers.remove(0);
    // What each block holds.
    let mut held = [0; PIECES];
    while course.next() {
        course.key(course.round).fill(0, &mut buffer[..half]);
        let memory = buffer.as_ptr();
        let mut blocks = [Iocb::default(); 2 * PIECES];
        let mut pointers = [std::ptr::null_mut::<Iocb>(); 2 * PIECES];
        for (index, block) in blocks.iter_mut().enumerate() {
            let at = index * unit;
            let opcode = if at < half { IOCB_CMD_PWRITE } else { IOCB_CMD_PREAD };
            *block = Iocb { opcode, buf: memory as u64 + at as u64, nbytes: unit as u64, offset: at as i64, ..*block };
        }
        for (pointer, block) in pointers.iter_mut().zip(&mut blocks) {
            *pointer = block;
        }
        let body = |_| {
            // SAFETY: a path that ends in NUL.
            let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_DIRECT | libc::O_NOFOLLOW) };
            let mut context: libc::c_ulong = 0;
            // SAFETY: room for a context.
            let made = unsafe { libc::syscall(libc::SYS_io_setup, pointers.len(), &raw mut context) };
            if fd < 0 || made != 0 {
                // SAFETY: ends the child.
                unsafe { libc::_exit(NOT_SET_UP) };
            }
            for pointer in pointers {
                // SAFETY: the child's own copy.
                unsafe { (*pointer).fildes = fd as u32 };
            }
            for at in (half..bytes).step_by(page_bytes()) {
                // btrfs waits for reads into pages that are still shared with the parent.
                // SAFETY: inside the child's own copy.
                unsafe { memory.wrapping_add(at).write_volatile(0) };
            }
            let mut taken = 0;
            while taken < pointers.len() {
                let left = pointers.len() - taken;
                let rest = pointers.as_ptr().wrapping_add(taken);
                // SAFETY: the control blocks and their memory are the child's own copies, which live until it ends.
                let more = unsafe { libc::syscall(libc::SYS_io_submit, context, left, rest) };
                // The kernel may take some only, or none more: what it has taken is what it answers for.
                if more <= 0 {
                    break;
                }
                taken += more as usize;
            }
            let mut events = [IoEvent::default(); 2 * PIECES];
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: room for so many events.
            let over =
                unsafe { libc::syscall(libc::SYS_io_getevents, context, 0_usize, events.len(), events.as_mut_ptr(), &raw mut now) };
            let in_flight = if (0..taken as i64).contains(&over) { IN_FLIGHT } else { 0 };
            // SAFETY: ends the child, with the transfers in flight.
            unsafe { libc::_exit(taken as i32 | in_flight) };
        };
        // SAFETY: system calls, and memory that was made before.
        let taken = match unsafe { scribble::fork(body) }?.wait() {
            Some(status) if status & NOT_SET_UP == 0 => {
                course.outcome.overlaps += u64::from(status & IN_FLIGHT != 0);
                (status & TAKEN) as usize
            }
            Some(_) => return Err(Error::new(Step::Setup, "The child could not open the file or make an AIO context")),
            None => return Err(Error::new(Step::Submit, "The child was killed")),
        };
        held[..taken.min(PIECES)].fill(course.round);
        // The kernel waits for a process's AIO before the process is gone (exit_aio), so that all of it is there, and stays.
        for (index, generation) in held.into_iter().enumerate() {
            let detail = "after the process with the transfers was gone";
            course.check_file("wrong-data", &buffered, index * unit, unit, &[generation], detail);
        }
        course.check_file("wrong-data", &buffered, half, half, &[0], "what that process only read");
        let path = &course.options.path;
        let Some(first) = course.read_disk(path, bytes)? else { continue };
        for (index, generation) in held.into_iter().enumerate() {
            let part = &first[index * unit..(index + 1) * unit];
            course.check("wrong-data", index * unit, part, &[generation], "the same, on the disk");
        }
        let Some(second) = course.read_disk(path, bytes)? else { continue };
        if let Some(at) = (0..bytes).find(|at| first[*at] != second[*at]) {
            course.trouble("late-write", at as u64, 1, "the file changed when nobody wrote to it any more");
        }
    }
    // A server may be one that the kernel waits for in io_submit(2) (no FUSE_ASYNC_DIO): then there is nothing to leave in flight.
    if course.outcome.overlaps == 0 && course.outcome.troubles.total == 0 && storage::is_fuse(&course.options.path)? {
        course.outcome.unsupported = Some("asynchronous I/O that was ever in flight when a process ended");
        return Err(Error::new(Step::Submit, "Nothing was ever in flight").errno(Errno(libc::EOPNOTSUPP)));
    }
    Ok(())
}

fn read_past_end(course: &mut Course<'_>) -> Result<()> {
    let unit = course.unit();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let pool = course.pool(3)?;
    let mut queue = course.queue(direct, &pool, 3)?;
    let mut free = pool.buffers;
    while course.next() {
        let round = course.round;
        // From a byte behind a boundary to a byte before the next.
        let tail = 1 + round as usize * 37 % (unit - 1);
        let bytes = 2 * unit + tail;
        course.resize(&buffered, 0)?;
        course.fill(&buffered, bytes, round)?;
        for index in 2..5 {
            let Some(mut buffer) = free.pop() else { break };
            buffer.fill(0x5a);
            queue.push(Operation { write: false, file: 0, offset: (index * unit) as u64, bytes: unit, buffer, generation: 0 });
        }
        // Nothing runs beside: each round is the case itself.
        course.outcome.overlaps += 1;
        let mut done = Vec::new();
        queue.wait(usize::MAX, &mut done)?;
        for Completion { offset, buffer, result, .. } in done {
            let right = bytes.saturating_sub(offset as usize).min(unit);
            match result {
                Ok(got) if got == right => {
                    course.check("wrong-data", offset as usize, &buffer[..got], &[round], "the file's last bytes");
                }
                Ok(got) => {
                    course.trouble("read-past-end", offset, unit, format!("{got} bytes where the file has {right} more"));
                }
                Err(errno) => {
                    let trouble = Trouble::new("read-error", round.into(), offset, unit as u64, "at the file's end");
                    course.outcome.troubles.add(trouble.errno(errno));
                }
            }
            free.push(buffer);
        }
    }
    Ok(())
}

/// A multiple of every block size that a filesystem can have, so that XFS need not wait for the write before it returns.
const BEHIND_BYTES: usize = 64 << 10;

fn truncate_up(course: &mut Course<'_>) -> Result<()> {
    let bytes = course.unit().max(BEHIND_BYTES);
    let buffered = course.buffered()?;
    let pool = Course::pool_of(1, bytes)?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    while course.next() {
        course.resize(&buffered, 0)?;
        course.fill(&buffered, bytes, 0)?;
        let (round, longer) = (course.round, 4 * bytes);
        let Some(buffer) = free.pop() else { break };
        course.push(&mut queue, buffer, bytes, bytes);
        let path = &course.options.path;
        let truncated = course.beside(&mut queue, || buffered.truncate(longer as u64))?;
        free = course.reap(&mut queue)?;
        truncated.map_err(|errno| failed("ftruncate", path, errno))?;
        // Whichever came first, the write ends before the file does.
        let size = size_of(&buffered);
        if size != longer as u64 {
            course.trouble("size-lost", size, bytes, format!("{size} bytes after a truncate to {longer}"));
        }
        course.check_file("truncated-away", &buffered, bytes, bytes, &[round], "it completed, and ends before the new end");
        course.check_file("wrong-data", &buffered, 0, bytes, &[0], "before it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rounds of a race that meets in one of them, or never, and finds trouble or nothing.
    fn rounds(meets_in: u32, finds_in: u32) -> u32 {
        let options = Options {
            path: PathBuf::new(),
            other: PathBuf::new(),
            unit_bytes: NonZeroUsize::MIN,
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
                course.trouble("wrong-data", 0, 1, "planted");
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
