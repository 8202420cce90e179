//! Writes a segment of a file and reads it back, again and again, directly on one side or on both; with children, each does that
//! to its own segment of the one file while the others do it to theirs.
//!
//! LTP's diotest programs are of this kind. What they look for is the coherence of direct I/O with the page cache: a direct read
//! must see what was written through the page cache, and a buffered read what was written past it, at once and next to others. With
//! pages larger than a segment, neighbours share pages, and one child's buffered I/O meets another's direct I/O in them.
//!
//! LTP forks its children; here they are threads, which the kernel's I/O paths cannot tell apart from processes: a child has
//! descriptors and memory of its own either way.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::shared::finding::{Finding, Verdict};
use super::shared::pattern::Pattern;
use crate::buffer::{Align, Buffer, Pool};
use crate::error::{Errno, Error, Result, Step};
use crate::json;
use crate::stamp::{Key, SECTOR};
use crate::sys::{File, Flags};
use crate::workload::copy::PROGRESS_INTERVAL;

/// What to do.
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other, like the flags of open(2)")]
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Created with mode 0666 if need be, never truncated.
    pub path: PathBuf,
    /// Where the first child's segment begins in the file, a multiple of 512; the others' follow without a gap.
    pub offset: u64,
    /// The length of one buffer in bytes, a multiple of 512.
    pub buffer_bytes: NonZeroUsize,
    /// A segment is so many buffers long.
    pub buffers: NonZeroUsize,
    /// Transfer a segment with `preadv(2)` and `pwritev(2)`, else with one `pread(2)` or `pwrite(2)` for each buffer.
    pub vectored: bool,
    /// How often each child writes and reads its segment.
    pub iterations: u32,
    /// How many work at the same time, at most [`CHILDREN_MAX`].
    pub children: NonZeroUsize,
    /// Write with `O_DIRECT`.
    pub direct_write: bool,
    /// Read with `O_DIRECT`.
    pub direct_read: bool,
    /// `fsync(2)` after each write through the page cache that a direct read follows.
    pub sync_before_direct_read: bool,
    /// Whose stamps; its generation is the last one that the file may hold from before. Iteration 1 writes the next one.
    pub key: Key,
    /// LTP's bytes instead of stamps.
    pub ltp_pattern: bool,
}

/// Each child has two descriptors.
pub const CHILDREN_MAX: usize = 10_000;

/// What all segments in memory may be together, in bytes: leaves a worker well below 200 MiB.
pub const MEMORY_BYTES: u64 = 80 << 20;

/// How it went.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why it could not start.
    pub error: Option<Error>,
    /// One for each child that did not get through; its round is the iteration.
    pub findings: Vec<Finding>,
    /// Transfers of whole segments, writes and reads.
    pub transfers: u64,
    /// Those that began while another child's was under way.
    pub overlapping: u64,
    /// From the start of the first child to the end of the last.
    #[serde(rename = "elapsedSeconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
    /// Children that could transfer at the same time: fewer than all where [`MEMORY_BYTES`] does not suffice.
    pub at_once: usize,
}

impl Options {
    fn segment_bytes(&self) -> u64 {
        self.buffer_bytes.get() as u64 * self.buffers.get() as u64
    }

    /// Where the last child's segment ends in the file.
    pub fn end(&self) -> Option<u64> {
        (self.buffer_bytes.get() as u64)
            .checked_mul(self.buffers.get() as u64)?
            .checked_mul(self.children.get() as u64)?
            .checked_add(self.offset)
            .filter(|end| i64::try_from(*end).is_ok())
    }

    fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(Step::Options, message));
        if self.end().is_none() {
            return refuse("The segments reach beyond the largest file offset: use a smaller offset or fewer buffers".to_owned());
        }
        if !self.offset.is_multiple_of(SECTOR) || !(self.buffer_bytes.get() as u64).is_multiple_of(SECTOR) {
            return refuse(format!("Offset and buffer size must be multiples of {SECTOR}"));
        }
        if self.children.get() > CHILDREN_MAX {
            return refuse(format!("{} children are more than {CHILDREN_MAX}: use fewer", self.children));
        }
        Ok(())
    }
}

/// Enough for a child's calls, which are not deep.
const STACK_BYTES: usize = 256 << 10;

/// Does it. `progress` is told the iterations that the first child has behind it.
pub fn run(options: &Options, progress: impl Fn(u32) + Sync) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = all(options, &progress, &mut outcome) {
        outcome.error = Some(error);
    }
    outcome
}

fn all(options: &Options, progress: &(impl Fn(u32) + Sync), outcome: &mut Outcome) -> Result<()> {
    options.check()?;
    let counts = Counts::default();
    let memory = Memory::new(options)?;
    outcome.at_once = memory.segments;
    let mut children = Vec::with_capacity(options.children.get());
    for number in 0..options.children.get() {
        children.push(Child::new(options, &counts, &memory, number)?);
    }
    // All start at once, or none: a child that cannot be started must not leave the others racing alone.
    let start = RwLock::new(false);
    let began = Instant::now();
    let ended: Vec<Option<Finding>> = std::thread::scope(|scope| {
        let mut go = start.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut threads = Vec::with_capacity(children.len());
        for child in &children {
            let start = &start;
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || {
                if !*start.read().unwrap_or_else(std::sync::PoisonError::into_inner) {
                    return None;
                }
                child.work(progress)
            });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    let message = "No more threads can be started: use fewer children";
                    return Err(Error::new(Step::Buffers, message).errno(Errno::from(&error)));
                }
            }
        }
        *go = true;
        drop(go);
        Ok(threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect())
    })?;
    outcome.elapsed = began.elapsed();
    outcome.findings = ended.into_iter().flatten().collect();
    outcome.transfers = counts.transfers.into_inner();
    outcome.overlapping = counts.overlapping.into_inner();
    Ok(())
}

#[derive(Debug, Default)]
struct Counts {
    under_way: AtomicUsize,
    transfers: AtomicU64,
    overlapping: AtomicU64,
}

/// Buffers for segments, each lent for one iteration of a child.
struct Memory {
    segments: usize,
    free: Mutex<Receiver<Vec<Buffer>>>,
    back: Sender<Vec<Buffer>>,
}

impl Memory {
    fn new(options: &Options) -> Result<Self> {
        let most = usize::try_from(MEMORY_BYTES / options.segment_bytes().max(1)).unwrap_or(usize::MAX);
        let segments = most.clamp(1, options.children.get());
        let (back, free) = channel();
        for _ in 0..segments {
            let pool = Pool::new(options.buffers.get(), options.buffer_bytes, Align::Offset(0))?;
            back.send(pool.buffers).unwrap_or_else(|_| unreachable!("the receiver is here"));
        }
        Ok(Self { segments, free: Mutex::new(free), back })
    }

    /// Waits until a segment's buffers are free. Whoever waits first gets what is given back next, not who has just done so.
    fn lend(&self) -> Lent<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let buffers = free.recv().unwrap_or_else(|_| unreachable!("a sender is here"));
        Lent { memory: self, buffers }
    }
}

/// Gives them back, panics included: others may wait for them.
struct Lent<'memory> {
    memory: &'memory Memory,
    /// Written from, spoilt, and read into: what is read is compared with what it must be, not with a copy.
    buffers: Vec<Buffer>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        drop(self.memory.back.send(std::mem::take(&mut self.buffers)));
    }
}

struct Child<'run> {
    options: &'run Options,
    counts: &'run Counts,
    memory: &'run Memory,
    number: usize,
    offset: u64,
    writer: File,
    reader: File,
}

impl<'run> Child<'run> {
    fn new(options: &'run Options, counts: &'run Counts, memory: &'run Memory, number: usize) -> Result<Self> {
        let writer = File::open_to_write(&options.path, false, Flags { direct: options.direct_write, sync: false })?;
        let reader = File::open_to_read(&options.path, Flags { direct: options.direct_read, sync: false })?;
        let offset = options.offset + options.segment_bytes() * number as u64;
        Ok(Self { options, counts, memory, number, offset, writer, reader })
    }

    /// Until it finds something.
    fn work(&self, progress: &impl Fn(u32)) -> Option<Finding> {
        let mut reported = Instant::now();
        for iteration in 1..=self.options.iterations {
            if let Err(found) = self.iteration(iteration) {
                return Some(found.round(iteration).actor(self.number + 1));
            }
            if self.number == 0 && reported.elapsed() >= PROGRESS_INTERVAL {
                reported = Instant::now();
                progress(iteration);
            }
        }
        None
    }

    fn iteration(&self, iteration: u32) -> Verdict {
        let Options { key, ltp_pattern, direct_write, direct_read, .. } = self.options;
        let generation = key.generation.wrapping_add(iteration);
        let pattern = Pattern::of(Key { generation, ..*key }, *ltp_pattern);
        let bytes = self.options.buffer_bytes.get() as u64;
        let mut lent = self.memory.lend();
        let buffers = &mut lent.buffers;
        for (buffer, index) in buffers.iter_mut().zip(0..) {
            pattern.fill(self.offset + index * bytes, buffer);
        }
        self.transfer(buffers, Some(generation), *direct_write)?;
        if self.options.sync_before_direct_read && *direct_read && !*direct_write {
            self.writer.fsync()?;
        }
        for buffer in buffers.iter_mut() {
            pattern.spoil(buffer);
        }
        self.transfer(buffers, None, *direct_read)?;
        for (buffer, index) in buffers.iter().zip(0..) {
            pattern.check(self.offset + index * bytes, buffer)?;
        }
        Ok(())
    }

    /// Writes that generation, or reads.
    fn transfer(&self, buffers: &mut [Buffer], write: Option<u32>, direct: bool) -> Result<()> {
        let others = self.counts.under_way.fetch_add(1, Ordering::SeqCst);
        self.counts.transfers.fetch_add(1, Ordering::Relaxed);
        self.counts.overlapping.fetch_add(u64::from(others > 0), Ordering::Relaxed);
        let file = if write.is_some() { &self.writer } else { &self.reader };
        let transfer = Transfer { path: &self.options.path, file, write, direct };
        let result = if self.options.vectored {
            transfer.all(buffers, self.offset)
        } else {
            let bytes = self.options.buffer_bytes.get() as u64;
            let mut offsets = (0..).map(|index| self.offset + index * bytes);
            buffers.iter_mut().try_for_each(|buffer| transfer.all(std::slice::from_mut(buffer), offsets.next().unwrap_or_default()))
        };
        self.counts.under_way.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

/// One side of one file.
struct Transfer<'run> {
    path: &'run Path,
    file: &'run File,
    /// Writes that generation, or reads.
    write: Option<u32>,
    direct: bool,
}

impl Transfer<'_> {
    /// Transfers all buffers, which lie one behind the other in the file.
    fn all(&self, buffers: &mut [Buffer], offset: u64) -> Result<()> {
        let total: usize = buffers.iter().map(Buffer::len).sum();
        let result = match (buffers, self.write) {
            ([one], Some(generation)) => self.file.write(one, offset, generation),
            ([one], None) => self.file.read(one, offset),
            (many, write) => {
                let vector = |buffer: &mut Buffer| libc::iovec { iov_base: buffer.as_ptr().cast(), iov_len: buffer.len() };
                let vectors: Vec<libc::iovec> = many.iter_mut().map(vector).collect();
                // SAFETY: the buffers are borrowed for the call, exclusively.
                unsafe { self.file.vectored(write.is_some(), &vectors, offset, write.unwrap_or(0)) }
            }
        };
        match result {
            Ok(reached) if reached >= total => Ok(()),
            Ok(reached) => Err(self.short(total, reached, offset)),
            Err(errno) => Err(self.failed(errno, total, offset)),
        }
    }

    fn failed(&self, errno: Errno, bytes: usize, offset: u64) -> Error {
        let (step, what) = if self.write.is_some() { (Step::Write, "Writing") } else { (Step::Read, "Reading") };
        let how = if self.direct { " directly" } else { "" };
        let message = format!("{what} {bytes} bytes{how} at offset {offset} failed");
        Error::new(step, message).errno(errno).path(self.path).offset(offset)
    }

    fn short(&self, bytes: usize, got: usize, offset: u64) -> Error {
        let (step, what) = if self.write.is_some() { (Step::ShortWrite, "written") } else { (Step::ShortRead, "read") };
        let message = format!("Only {got} of {bytes} bytes could be {what} at offset {offset}");
        Error::new(step, message).path(self.path).offset(offset).transferred(bytes as u64, got as u64)
    }
}

/// A file of blocks.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blocks {
    /// The file.
    pub path: PathBuf,
    /// A multiple of 512.
    pub block_bytes: NonZeroUsize,
    /// How many.
    pub blocks: u64,
    /// Whose stamps.
    pub key: Key,
    /// LTP's bytes, the block's number, instead of stamps.
    pub ltp_pattern: bool,
}

impl Blocks {
    /// What each block holds.
    pub fn pattern(&self) -> impl Fn(u64) -> Pattern + use<> {
        let Self { key, ltp_pattern, .. } = *self;
        move |block| if ltp_pattern { Pattern::Byte(block as u8) } else { Pattern::Stamps(key) }
    }
}

/// Creates the file, which must not exist, and writes it with `O_DIRECT`, block by block.
pub fn write_blocks(path: &Path, block_bytes: NonZeroUsize, blocks: u64, pattern: impl Fn(u64) -> Pattern) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o666)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .map_err(|error| Error::new(Step::Open, "The file cannot be created").errno(Errno::from(&error)).path(path))?;
    let file = File::new(path, file);
    let mut pool = Pool::new(1, block_bytes, Align::Offset(0))?;
    for block in 0..blocks {
        let offset = block * block_bytes.get() as u64;
        let pattern = pattern(block);
        pattern.fill(offset, &mut pool.buffers[0]);
        Transfer { path, file: &file, write: Some(pattern.generation()), direct: true }.all(&mut pool.buffers, offset)?;
    }
    Ok(())
}

/// Reads the file through the page cache and compares each block with its pattern: LTP's comparison.
pub fn check_blocks(path: &Path, block_bytes: NonZeroUsize, blocks: u64, pattern: impl Fn(u64) -> Pattern) -> Verdict {
    let file = File::open_to_read(path, Flags::default())?;
    let mut pool = Pool::new(1, block_bytes, Align::Offset(0))?;
    let transfer = Transfer { path, file: &file, write: None, direct: false };
    for block in 0..blocks {
        let offset = block * block_bytes.get() as u64;
        pattern(block).spoil(&mut pool.buffers[0]);
        transfer.all(&mut pool.buffers, offset)?;
        pattern(block).check(offset, &pool.buffers[0])?;
    }
    Ok(())
}

/// Whether the file can be opened, or made, with `O_DIRECT`.
pub fn probe_direct(path: &Path) -> Result<()> {
    File::open_to_write(path, true, Flags::DIRECT).map(drop)
}
