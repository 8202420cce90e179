//! Further races of asynchronous and direct I/O that kernels have lost, one function for each, in one table.

use std::ffi::CString;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::scribble;
use super::trouble::{Trouble, Troubles};
use crate::buffer::{Align, Buffer, Memory, Pool, page_bytes};
use crate::engine::libaio::{IOCB_CMD_PWRITE, Iocb};
use crate::engine::{Completion, Kind, Operation, Queue, RawEngine};
use crate::error::{Errno, Error, Result, Step};
use crate::file::{self, Flags};
use crate::oracle::{Content, OneOf};
use crate::stamp::Key;
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
    /// How often.
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
        run: append_visible,
    },
    Race {
        name: "append-fallocate",
        story: "an appending AIO write loses its size to an fallocate before it (generic/586)",
        proven: "the file was always as long as the completed write reaches",
        run: append_fallocate,
    },
    Race {
        name: "eof-pieces",
        story: "pieces of one block are written behind the end at once, and each zeroes what is not its own (generic/114)",
        proven: "every piece was there",
        run: eof_pieces,
    },
    Race {
        name: "reflink",
        story: "AIO writes into an extent that is shared with another file must not change the other",
        proven: "the clone has the new data and its source the old",
        run: reflink,
    },
    Race {
        name: "stale-readahead",
        story: "readahead fills the page cache with old data during a direct write (generic/209, 418; acc18e1c1d8c in btrfs)",
        proven: "what was read after a direct write was what it wrote",
        run: stale_readahead,
    },
    Race {
        name: "direct-toggle",
        story: "O_DIRECT is switched on and off by F_SETFL during AIO (generic/036, CVE-2014-8086)",
        proven: "every write arrived, direct or not",
        run: direct_toggle,
    },
    Race {
        name: "own-mmap",
        story: "a direct write takes its data from a mapping of the same file (generic/647, 729)",
        proven: "every write came through and copied what it should",
        run: own_mmap,
    },
    Race {
        name: "unfaulted-buffer",
        story: "a direct write takes its data from memory that is not there yet (generic/708)",
        proven: "every write came through, and nothing was lost where memory had to be fetched",
        run: unfaulted_buffer,
    },
    Race {
        name: "exit-in-flight",
        story: "a process ends with AIO in flight, which holds the last reference to its context (generic/323)",
        proven: "each block is wholly old or wholly new",
        run: exit_in_flight,
    },
    Race {
        name: "read-past-end",
        story: "direct reads of the last, partial block and just behind it (generic/210, 450)",
        proven: "reads ended where the file ends",
        run: read_past_end,
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
    if let Err(error) = (race.run)(&mut course) {
        if matches!(error.errno, Some(Errno(libc::EOPNOTSUPP | libc::ENOTTY))) && outcome.unsupported.is_some() {
            return outcome;
        }
        outcome.error = Some(error);
    } else {
        outcome.unsupported = None;
        outcome.error = outcome.troubles.full();
    }
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

fn io_error(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(Step::Write, format!("{what} failed")).errno(Errno::from(error)).path(path)
}

/// The result of a system call that returns -1 in case of an error.
fn checked(what: &str, path: &Path, result: i64) -> Result<usize> {
    usize::try_from(result).map_err(|_| io_error(what, path, &std::io::Error::last_os_error()))
}

impl Course<'_> {
    fn unit(&self) -> usize {
        self.options.unit_bytes.get()
    }

    fn key(&self, generation: u32) -> Key {
        Key { seed: self.options.seed, file: 1, generation }
    }

    fn next(&mut self) -> bool {
        self.outcome.rounds = self.round;
        self.round += 1;
        self.round <= self.options.rounds
    }

    fn direct(&self) -> Result<File> {
        file::open_to_write(&self.options.path, true, Flags { direct: true, sync: false })
    }

    fn buffered(&self) -> Result<File> {
        file::open_to_write(&self.options.path, true, Flags::default())
    }

    fn resize(&self, file: &File, bytes: usize) -> Result<()> {
        file.set_len(0).and_then(|()| file.set_len(bytes as u64)).map_err(|error| io_error("ftruncate", &self.options.path, &error))
    }

    /// Fills a file from its start, through the page cache.
    fn fill(&self, file: &File, bytes: usize, generation: u32) -> Result<()> {
        let mut memory = vec![0; bytes];
        self.key(generation).fill(0, &mut memory);
        file.write_all_at(&memory, 0).map_err(|error| io_error("A write", &self.options.path, &error))
    }

    fn queue(&self, file: File, pool: &Pool, depth: usize) -> Result<Queue> {
        let depth = NonZeroUsize::new(depth).unwrap_or(NonZeroUsize::MIN);
        Queue::new((self.open)(depth)?, depth, vec![file.into()], &pool.registrations, self.options.unit_bytes)
    }

    fn pool(&self, count: usize) -> Result<Pool> {
        Pool::new(count, self.options.unit_bytes, Align::Offset(0))
    }

    fn trouble(&mut self, kind: &'static str, offset: u64, bytes: usize, detail: impl Into<String>) {
        let trouble = Trouble::new(kind, self.round.into(), offset, bytes as u64, detail);
        self.outcome.troubles.add(trouble);
    }

    /// Stages the write of a round's stamps.
    fn push(&self, queue: &mut Queue, mut buffer: Buffer, offset: usize) {
        self.key(self.round).fill(offset as u64, &mut buffer);
        let (bytes, generation) = (self.unit(), self.round);
        queue.push(Operation { write: true, file: 0, offset: offset as u64, bytes, buffer, generation });
    }

    /// Submits, and says how many are not over yet.
    fn under_way(&mut self, queue: &mut Queue) -> Result<usize> {
        queue.poll(&mut self.done)?;
        Ok(queue.in_flight())
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
        match file.read_exact_at(&mut memory, offset as u64) {
            Ok(()) => self.check(kind, offset, &memory, generations, detail),
            Err(error) => {
                let trouble = Trouble::new("read-error", self.round.into(), offset as u64, bytes as u64, detail);
                self.outcome.troubles.add(trouble.errno(Errno::from(&error)));
            }
        }
    }
}

fn size_of(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
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
        let (over, writing) = (AtomicBool::new(false), AtomicBool::new(false));
        let (met, key) = (AtomicU64::new(0), course.key(course.round));
        let mut back = course.pool(1)?.buffers.remove(0);
        let seen = std::thread::scope(|scope| -> Result<Option<crate::verify::BadRange>> {
            let reader = scope.spawn(|| {
                let mut seen = None;
                while !over.load(Ordering::SeqCst) {
                    let size = size_of(&direct) as usize;
                    if size < unit {
                        std::thread::yield_now();
                        continue;
                    }
                    let offset = (size - unit) as u64;
                    met.fetch_add(u64::from(writing.load(Ordering::SeqCst)), Ordering::SeqCst);
                    if direct.read_at(&mut back, offset).is_ok_and(|got| got == unit) {
                        let contents = vec![Content::Stamp(key.generation)];
                        let expected = OneOf { key, sizes: 0..=u64::MAX, contents };
                        seen = seen.or_else(|| check_memory(&expected, offset, &back, 1).ranges.into_iter().next());
                    }
                }
                seen
            });
            // Stops the reader on every path.
            let stop = Stop(&over);
            for index in 0..APPENDS {
                let Some(buffer) = free.pop() else { break };
                course.push(&mut queue, buffer, index * unit);
                writing.store(true, Ordering::SeqCst);
                queue.submit()?;
                free = course.reap(&mut queue)?;
                writing.store(false, Ordering::SeqCst);
                let (size, least) = (size_of(&direct), ((index + 1) * unit) as u64);
                if size < least {
                    course.trouble("size-lost", size, unit, format!("{size} bytes after a write up to byte {least} completed"));
                }
            }
            drop(stop);
            Ok(reader.join().unwrap_or(None))
        })?;
        course.outcome.overlaps += met.into_inner();
        if let Some(range) = seen {
            let detail = "below the size that the reader had seen";
            let trouble = Trouble::new("early-size", course.round.into(), range.offset, range.bytes, detail);
            course.outcome.troubles.add(trouble.range(range));
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
    let unit = course.unit();
    let buffered = course.buffered()?;
    let pool = course.pool(1)?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    course.outcome.unsupported = Some("fallocate(2)");
    while course.next() {
        course.resize(&buffered, 0)?;
        let Some(buffer) = free.pop() else { break };
        course.push(&mut queue, buffer, unit);
        course.outcome.overlaps += u64::from(course.under_way(&mut queue)? > 0);
        // SAFETY: an open descriptor.
        let result = unsafe { libc::fallocate64(buffered.as_raw_fd(), 0, 0, unit as i64) };
        let allocated = checked("fallocate", &course.options.path, result.into());
        free = course.reap(&mut queue)?;
        allocated?;
        let size = size_of(&buffered);
        if size != 2 * unit as u64 {
            course.trouble("size-lost", size, unit, format!("{size} bytes, {} written and allocated", 2 * unit));
            continue;
        }
        let round = course.round;
        course.check_file("wrong-data", &buffered, unit, unit, &[round], "what the append wrote");
    }
    Ok(())
}

/// Pieces that a round writes behind the end.
const PIECES: usize = 8;

fn eof_pieces(course: &mut Course<'_>) -> Result<()> {
    let unit = course.unit();
    let buffered = course.buffered()?;
    let pool = course.pool(PIECES)?;
    let mut queue = course.queue(course.direct()?, &pool, PIECES)?;
    let mut free = pool.buffers;
    while course.next() {
        course.resize(&buffered, 0)?;
        for index in 0..PIECES {
            let Some(buffer) = free.pop() else { break };
            // The last first: it extends the file, the others fill in.
            course.push(&mut queue, buffer, (PIECES - 1 - index) * unit);
        }
        course.outcome.overlaps += u64::from(course.under_way(&mut queue)? > 0);
        free = course.reap(&mut queue)?;
        let round = course.round;
        course.check_file("piece-lost", &buffered, 0, PIECES * unit, &[round], "written with its neighbours behind the end");
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
    let block = course.unit().max(page_bytes());
    let bytes = PIECES * block;
    let source = file::open_to_write(&course.options.other, true, Flags::default())?;
    course.fill(&source, bytes, 0)?;
    file::fsync(&course.options.other, &source)?;
    let buffered = course.buffered()?;
    let pool = Pool::new(PIECES, NonZeroUsize::new(course.unit()).unwrap_or(NonZeroUsize::MIN), Align::Offset(0))?;
    let mut queue = course.queue(course.direct()?, &pool, PIECES)?;
    let mut free = pool.buffers;
    course.outcome.unsupported = Some("FICLONE");
    while course.next() {
        course.resize(&buffered, 0)?;
        // SAFETY: two open descriptors.
        let result = unsafe { libc::ioctl(buffered.as_raw_fd(), ficlone(), source.as_raw_fd()) };
        checked("FICLONE", &course.options.path, result.into())?;
        for index in 0..PIECES {
            let Some(buffer) = free.pop() else { break };
            course.push(&mut queue, buffer, index * block);
        }
        course.outcome.overlaps += u64::from(course.under_way(&mut queue)? > 0);
        // While they are under way the source is as it was.
        course.check_file("source-changed", &source, 0, bytes, &[0], "the file that the extent was cloned from");
        free = course.reap(&mut queue)?;
        let (unit, round) = (course.unit(), course.round);
        for index in 0..PIECES {
            course.check_file("wrong-data", &buffered, index * block, unit, &[round], "written to the clone");
            if unit < block {
                course.check_file(
                    "wrong-data",
                    &buffered,
                    index * block + unit,
                    block - unit,
                    &[0],
                    "beside it, in the same block",
                );
            }
        }
        drop_pages(&source);
        course.check_file("source-changed", &source, 0, bytes, &[0], "the file that the extent was cloned from, on the disk");
    }
    Ok(())
}

fn drop_pages(file: &File) {
    // SAFETY: advice about an open file.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

/// Blocks of the file that is read ahead.
const AHEAD: usize = 16;

fn stale_readahead(course: &mut Course<'_>) -> Result<()> {
    let block = course.unit().max(page_bytes());
    let bytes = AHEAD * block;
    let buffered = course.buffered()?;
    course.resize(&buffered, 0)?;
    course.fill(&buffered, bytes, 0)?;
    file::fsync(&course.options.path, &buffered)?;
    let size = NonZeroUsize::new(block).unwrap_or(NonZeroUsize::MIN);
    let pool = Pool::new(1, size, Align::Offset(0))?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    let (over, passes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let beside = course.buffered()?;
        scope.spawn(|| {
            let beside = beside;
            while !over.load(Ordering::SeqCst) {
                drop_pages(&beside);
                // SAFETY: an open descriptor.
                unsafe { libc::readahead(beside.as_raw_fd(), 0, bytes) };
                passes.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _stop = Stop(&over);
        while course.next() {
            let round = course.round;
            let offset = round as usize % AHEAD * block;
            let Some(mut buffer) = free.pop() else { break };
            course.key(round).fill(offset as u64, &mut buffer);
            let before = passes.load(Ordering::SeqCst);
            queue.push(Operation { write: true, file: 0, offset: offset as u64, bytes: block, buffer, generation: round });
            queue.submit()?;
            free = course.reap(&mut queue)?;
            course.outcome.overlaps += u64::from(passes.load(Ordering::SeqCst) > before);
            course.check_file("stale-cache", &buffered, offset, block, &[round], "read after the direct write completed");
        }
        Ok(())
    })
}

fn direct_toggle(course: &mut Course<'_>) -> Result<()> {
    let unit = course.unit();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    course.resize(&buffered, PIECES * unit)?;
    let pool = course.pool(PIECES)?;
    let same = direct.try_clone().map_err(|error| io_error("dup", &course.options.path, &error))?;
    let mut queue = course.queue(same, &pool, PIECES)?;
    let mut free = pool.buffers;
    let (over, toggles) = (AtomicBool::new(false), AtomicU64::new(0));
    // SAFETY: an open descriptor.
    let flags = checked("F_GETFL", &course.options.path, unsafe { libc::fcntl(direct.as_raw_fd(), libc::F_GETFL) }.into())? as i32;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let flags = flags ^ if toggles.fetch_add(1, Ordering::SeqCst) % 2 == 0 { libc::O_DIRECT } else { 0 };
                // SAFETY: an open descriptor.
                unsafe { libc::fcntl(direct.as_raw_fd(), libc::F_SETFL, flags) };
            }
        });
        let _stop = Stop(&over);
        while course.next() {
            let before = toggles.load(Ordering::SeqCst);
            for index in 0..PIECES {
                let Some(buffer) = free.pop() else { break };
                course.push(&mut queue, buffer, index * unit);
            }
            free = course.reap(&mut queue)?;
            course.outcome.overlaps += u64::from(toggles.load(Ordering::SeqCst) > before);
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

fn own_mmap(course: &mut Course<'_>) -> Result<()> {
    let block = course.unit().max(page_bytes());
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let bytes = 2 * PIECES * block;
    course.resize(&buffered, bytes)?;
    let whole = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    while course.next() {
        let (half, round) = (bytes / 2, course.round);
        let mut memory = vec![0; half];
        course.key(round).fill(0, &mut memory);
        buffered.write_all_at(&memory, 0).map_err(|error| io_error("A write", &course.options.path, &error))?;
        file::fsync(&course.options.path, &buffered)?;
        drop_pages(&buffered);
        // The pages are not there: the write itself has to fetch them from the file that it holds locked.
        let mapping = Pool::unpopulated(Memory::File(buffered.as_fd()), whole)?;
        write_from(course, &direct, &mapping, half, half);
        course.outcome.overlaps += 1;
        let mut copy = vec![0; half];
        buffered.read_exact_at(&mut copy, half as u64).map_err(|error| io_error("A read", &course.options.path, &error))?;
        // The stamps are those of where the data came from.
        course.check("wrong-data", 0, &copy, &[round], "the second half of the file, written from a mapping of the first");
    }
    Ok(())
}

fn unfaulted_buffer(course: &mut Course<'_>) -> Result<()> {
    let block = course.unit().max(page_bytes());
    let bytes = 4 * PIECES * block;
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let source = file::open_to_write(&course.options.other, true, Flags::default())?;
    let whole = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    while course.next() {
        let round = course.round;
        course.resize(&buffered, 0)?;
        course.fill(&source, bytes, round)?;
        file::fsync(&course.options.other, &source)?;
        drop_pages(&source);
        let mapping = Pool::unpopulated(Memory::File(source.as_fd()), whole)?;
        write_from(course, &direct, &mapping, bytes, 0);
        course.outcome.overlaps += 1;
        course.check_file("wrong-data", &buffered, 0, bytes, &[round], "written from pages that had to be fetched");
    }
    Ok(())
}

fn exit_in_flight(course: &mut Course<'_>) -> Result<()> {
    let unit = course.unit();
    let bytes = PIECES * unit;
    let buffered = course.buffered()?;
    course.resize(&buffered, 0)?;
    course.fill(&buffered, bytes, 0)?;
    file::fsync(&course.options.path, &buffered)?;
    let path = CString::new(course.options.path.as_os_str().as_bytes())
        .map_err(|_| Error::new(Step::Options, "A path cannot contain a NUL byte"))?;
    let size = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    let mut buffer = Pool::of(Memory::Inherited, 1, size, Align::Offset(0))?.buffers.remove(0);
    let mut generations = vec![0];
    while course.next() {
        course.key(course.round).fill(0, &mut buffer);
        let start = buffer.as_ptr() as u64;
        let mut blocks = [Iocb::default(); PIECES];
        let mut pointers = [std::ptr::null_mut::<Iocb>(); PIECES];
        for (index, block) in blocks.iter_mut().enumerate() {
            let at = index * unit;
            *block = Iocb { opcode: IOCB_CMD_PWRITE, buf: start + at as u64, nbytes: unit as u64, offset: at as i64, ..*block };
        }
        for (pointer, block) in pointers.iter_mut().zip(&mut blocks) {
            *pointer = block;
        }
        let body = |_| {
            // SAFETY: a path that ends in NUL.
            let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_DIRECT) };
            let mut context: libc::c_ulong = 0;
            // SAFETY: room for a context.
            let made = unsafe { libc::syscall(libc::SYS_io_setup, PIECES, &raw mut context) };
            if fd < 0 || made != 0 {
                // SAFETY: ends the child.
                unsafe { libc::_exit(2) };
            }
            for pointer in pointers {
                // SAFETY: the child's own copy.
                unsafe { (*pointer).fildes = fd as u32 };
            }
            // SAFETY: the control blocks and their memory are the child's own copies, which live until it ends.
            let taken = unsafe { libc::syscall(libc::SYS_io_submit, context, PIECES, pointers.as_ptr()) };
            // SAFETY: ends the child, with the transfers in flight.
            unsafe { libc::_exit(i32::from(taken != PIECES as i64)) };
        };
        // SAFETY: system calls, and memory that was made before.
        let status = unsafe { scribble::fork(body) }?.wait();
        match status {
            Some(0) => course.outcome.overlaps += 1,
            Some(2) => return Err(Error::new(Step::Setup, "The child could not open the file or make an AIO context")),
            _ => course.trouble("child", 0, bytes, format!("the child's io_submit was not accepted (status {status:?})")),
        }
        generations.push(course.round);
        // The kernel waits for a process's AIO before the process is gone, so that what is there now stays.
        let all = generations.clone();
        course.check_file("wrong-data", &buffered, 0, bytes, &all, "after the process with the transfers was gone");
        let mut first = vec![0; bytes];
        let mut second = vec![0; bytes];
        let direct = course.direct()?;
        let mut memory = Pool::new(1, size, Align::Offset(0))?.buffers.remove(0);
        for copy in [&mut first, &mut second] {
            direct.read_exact_at(&mut memory, 0).map_err(|error| io_error("A read", &course.options.path, &error))?;
            copy.copy_from_slice(&memory);
        }
        if let Some(at) = (0..bytes).find(|at| first[*at] != second[*at]) {
            course.trouble("late-write", at as u64, 1, "the file changed when nobody wrote to it any more");
        }
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
