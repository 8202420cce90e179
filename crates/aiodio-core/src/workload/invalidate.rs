//! Direct writes beside other uses of the same pages.
//!
//! A direct write goes around the page cache, so the kernel drops the pages that cover its range, before and after. It drops whole
//! pages. When a write is smaller than a page, or begins inside one, that page also covers bytes of somebody else; when those are
//! dirty, being read or pinned at that moment, the page cannot be dropped. Then the kernel says "Page cache invalidation failure on
//! direct I/O", the next `fsync` fails with EIO, and the page that stays may hold old data of the written range, which its own
//! writeback then puts over the new.
//!
//! Linux does not promise to sort that out for a program that mixes direct I/O with other uses of a page; it promises to say so. So a
//! loss that `fsync` reported is permitted there. A silent one is permitted in one case only: something wrote to the same page
//! meanwhile through the page cache, and the range has the data from before. A page is read, changed and written back as a whole. When it
//! was read before the direct write reached the device, and was written back before the kernel came to drop it, it was clean then:
//! nothing was left that could tell. (Shown on Linux 6.18 by a trace of the block layer: direct write queued, block read, direct write
//! issued, block written, both complete, page dropped. open(2) warns of mixing the two.) A program that uses direct I/O alone has no
//! part in it: there any loss and any EIO is the kernel's own doing.
//!
//! The file is a row of units of whole pages. A direct write covers the middle of a unit; the collider has its head and its tail,
//! which are in the same pages. No byte is written by both, so each must be what its writer wrote.

use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::{Range, RangeInclusive};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use super::shared::overlap::{self, Watch};
use super::shared::trouble::{Trouble, Troubles};
use crate::buffer::{Align, Buffer, Memory, Pool, page_bytes};
use crate::engine::{self, Completion, Operation, Queue, RawEngine, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::file::{self, Flags};
use crate::oracle::{Content, Expected};
use crate::recorder;
use crate::stamp::Key;
use crate::sys;
use crate::verify::{BadRange, Kind, check_memory};
use crate::workload::copy::Fsync;

/// What collides with the direct writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collider {
    /// Direct writes of other ranges of the same pages, from memory of any alignment.
    Direct,
    /// Buffered writes of other ranges of the same pages.
    Buffered,
    /// Stores through a mapping to other ranges of the same pages.
    Mmap,
    /// Buffered reads of the same pages, and of the range itself.
    Reader,
    /// The pages are in a pipe meanwhile, by `splice(2)`, which holds on to them.
    Pinned,
    /// Buffered writes of the same range.
    SameRange,
}

impl Collider {
    /// The spelling in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Buffered => "buffered",
            Self::Mmap => "mmap",
            Self::Reader => "reader",
            Self::Pinned => "pinned",
            Self::SameRange => "same-range",
        }
    }

    /// What it does, for a report.
    fn doing(self) -> &'static str {
        match self {
            Self::Direct => "direct writes from unaligned memory",
            Self::Buffered | Self::SameRange => "buffered writes",
            Self::Mmap => "stores through a mapping",
            Self::Reader => "buffered reads",
            Self::Pinned => "pages pinned by splice(2)",
        }
    }
}

impl std::str::FromStr for Collider {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        let all = [Self::Direct, Self::Buffered, Self::Mmap, Self::Reader, Self::Pinned, Self::SameRange];
        all.into_iter().find(|collider| collider.name() == name).ok_or_else(|| {
            let message = format!("There is no collider \"{name}\": use direct, buffered, mmap, reader, pinned or same-range");
            Error::new(Step::Options, message)
        })
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Made anew.
    pub path: PathBuf,
    /// Bytes of each direct write, a multiple of `unit_bytes`.
    pub block_bytes: NonZeroUsize,
    /// What offset and length of direct I/O must be multiples of; also where in its first page a direct write begins.
    pub unit_bytes: NonZeroUsize,
    /// What memory must be aligned to for direct I/O, in bytes.
    pub memory_bytes: NonZeroUsize,
    /// Direct writes of a round, all in flight together.
    pub writes: NonZeroUsize,
    /// How often, at least: where nothing has met by then it goes on until it has, for up to [`super::shared::overlap::EXTRA_ROUNDS`] rounds.
    pub rounds: u32,
    /// The kernel's interface.
    pub engine: engine::Kind,
    /// What collides.
    pub collider: Collider,
    /// When the file is synced. Whatever this says, it is once at the end of each round, unless it is `None`.
    pub fsync: Fsync,
    /// Where the direct writes' memory starts in its page, in bytes.
    pub offset_in_page: usize,
    /// Whether EIO from `fsync` is trouble although the collider uses the page cache.
    pub strict: bool,
    /// Seed of the data.
    pub seed: u64,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why it could not go on.
    pub error: Option<Error>,
    /// What should not be.
    pub troubles: Troubles,
    /// `fsync` failed with EIO after a collision that the kernel does not promise to sort out.
    pub permitted: u64,
    /// Rounds in which data were lost and `fsync` said so, or a page that was changed meanwhile went over a direct write, likewise.
    pub announced: u64,
    /// One of those failures, for a report.
    pub example: Option<Trouble>,
    /// Rounds done.
    pub rounds: u32,
    /// Direct writes done.
    pub writes: u64,
    /// Collisions made.
    pub collisions: u64,
    /// Those that were made while the direct write of the same unit was under way.
    pub overlaps: u64,
    /// Those of them that touched a page of the direct write.
    pub shared_pages: u64,
    /// The queue's counts.
    pub stats: Stats,
    /// What the file is now.
    pub expected: Option<Units>,
}

/// `write-error`, `short-write`, `collider-error`: the kernel's answer to what was right. `fsync-error`: the collision made
/// `fsync` fail. `direct-lost`, `buffered-lost`: the range of the one or of the other is not what was written, in the page cache.
/// `direct-lost-on-disk`, `buffered-lost-on-disk`: the page cache was right, and what is read past it, from the disk, is not.
/// `reader-saw`: a reader saw what was never there. `read-error`: the file, or its copy on the disk, could not be read.
pub const TROUBLES: [&str; 10] = [
    "write-error",
    "short-write",
    "collider-error",
    "fsync-error",
    "direct-lost",
    "buffered-lost",
    "direct-lost-on-disk",
    "buffered-lost-on-disk",
    "reader-saw",
    "read-error",
];

/// Generations of the collider's stamps where it writes to the direct writes' own range.
const OTHER: u32 = 1 << 31;

/// Where everything is.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Bytes from one unit to the next.
    stride: u64,
    /// Bytes before the direct write.
    head: u64,
    block: u64,
    writes: u64,
}

impl Layout {
    fn new(options: &Options) -> Self {
        let block = options.block_bytes.get() as u64;
        let writes = options.writes.get() as u64;
        if options.collider == Collider::SameRange {
            return Self { stride: block, head: 0, block, writes };
        }
        let head = options.unit_bytes.get() as u64;
        Self { stride: (head + block).next_multiple_of(page_bytes() as u64), head, block, writes }
    }

    fn bytes(self) -> u64 {
        self.stride * self.writes
    }

    fn unit(self, index: u64) -> Range<u64> {
        index * self.stride..(index + 1) * self.stride
    }

    fn direct(self, index: u64) -> Range<u64> {
        let start = index * self.stride + self.head;
        start..start + self.block
    }

    /// What is beside the direct write in its unit.
    fn beside(self, index: u64) -> [Range<u64>; 2] {
        let (unit, direct) = (self.unit(index), self.direct(index));
        [unit.start..direct.start, direct.end..unit.end]
    }

    /// Whether the byte belongs to a direct write, and where that, or what is beside it, ends.
    fn part(self, offset: u64) -> (bool, u64) {
        let inside = offset % self.stride;
        let (direct, end) = match inside {
            _ if inside < self.head => (false, self.head),
            _ if inside < self.head + self.block => (true, self.head + self.block),
            _ => (false, self.stride),
        };
        (direct, offset - inside + end)
    }

    /// Whether a page holds bytes of both.
    fn shares_a_page(self, index: u64, other: &Range<u64>) -> bool {
        let page = page_bytes() as u64;
        let direct = self.direct(index);
        !other.is_empty() && other.start / page <= (direct.end - 1) / page && direct.start / page <= (other.end - 1) / page
    }
}

/// A collision that was made.
struct Collision {
    unit: u64,
    range: Range<u64>,
    time: Range<Instant>,
}

/// What the collider has to say after a round.
#[derive(Default)]
struct Report {
    collisions: Vec<Collision>,
    troubles: Vec<Trouble>,
}

/// Races.
pub fn run(options: &Options) -> Outcome {
    match options.engine.open(options.writes) {
        Ok(engine) => run_with(engine, options),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() },
    }
}

/// Races through the given engine.
pub fn run_with(engine: Box<dyn RawEngine>, options: &Options) -> Outcome {
    let mut outcome = Outcome::default();
    let error = race(engine, options, &mut outcome).err();
    outcome.error = error.or_else(|| outcome.troubles.full());
    outcome
}

fn race(engine: Box<dyn RawEngine>, options: &Options, outcome: &mut Outcome) -> Result<()> {
    let layout = Layout::new(options);
    let direct = file::open_to_write(&options.path, true, Flags { direct: true, sync: false })?;
    let buffered = sys::File::open_to_write(&options.path, true, Flags::default())?;
    let key = Key { seed: options.seed, file: 1, generation: 0 };
    buffered
        .truncate(0)
        .map_err(|errno| Error::new(Step::Open, "The file could not be emptied").errno(errno).path(&options.path))?;
    let whole = NonZeroUsize::new(layout.bytes() as usize).unwrap_or(NonZeroUsize::MIN);
    let mut memory = Pool::new(1, whole, Align::Offset(0))?.buffers.remove(0);
    key.fill(0, &mut memory);
    whole_transfer(buffered.write(&memory, 0, 0), memory.len())
        .map_err(|error| Error::new(Step::Write, "The file could not be filled").errno(Errno::from(&error)).path(&options.path))?;
    let pool = Pool::new(options.writes.get(), options.block_bytes, Align::Offset(options.offset_in_page))?;
    let mut queue = Queue::new(engine, options.writes, vec![OwnedFd::from(direct)], &pool.registrations, options.unit_bytes)?;
    let mut free = pool.buffers;
    let mut colliding = Colliding::new(options, layout, &buffered)?;
    let (orders, received) = channel::<u32>();
    let (reports, reported) = channel::<Report>();
    let gone = || Error::new(Step::Setup, "The colliding thread is gone");
    let result = std::thread::scope(|scope| {
        let colliding = &mut colliding;
        // Ends when the sender of orders is gone, on whichever path.
        scope.spawn(move || collide(colliding, &received, &reports));
        let orders = orders;
        for round in 1_u32.. {
            let proves = outcome.overlaps > 0 || outcome.troubles.total > 0;
            if !overlap::goes_on(options.rounds.into(), round.into(), proves) {
                break;
            }
            let mut one = Round::new(options, layout, round, outcome);
            free = one.write(&mut queue, std::mem::take(&mut free), || orders.send(round).map_err(|_| gone()))?;
            let report = reported.recv().map_err(|_| gone())?;
            one.judge(&queue, report, &mut memory)?;
        }
        Ok(())
    });
    let result = result.and_then(|()| last(&mut queue, free, &mut colliding, &mut memory, outcome));
    let fsyncs = outcome.stats.fsyncs;
    outcome.stats = Stats { fsyncs, ..queue.finish() };
    outcome.expected = Some(expected(options, layout, outcome.rounds));
    result
}

/// One round more, in which nothing meets: after all that went before, everything must be right again.
fn last(
    queue: &mut Queue,
    free: Vec<Buffer>,
    colliding: &mut Colliding<'_>,
    memory: &mut [u8],
    outcome: &mut Outcome,
) -> Result<()> {
    let (options, layout) = (colliding.options, colliding.layout);
    let round = outcome.rounds + 1;
    let mut one = Round::new(options, layout, round, outcome);
    // What is still to be reported is of the rounds before.
    one.sync(queue.file(0), None)?;
    one.settle(Vec::new());
    one.alone = true;
    drop(one.write(queue, free, || Ok(()))?);
    let mut report = Report::default();
    for index in 0..layout.writes {
        colliding.unit(index, round, &mut report);
    }
    // They are not collisions.
    report.collisions.clear();
    one.judge(queue, report, memory)
}

/// What the file may be: one thing where the direct writes are, another beside them.
#[derive(Clone, Debug)]
pub struct Units {
    key: Key,
    layout: Layout,
    direct: Vec<Content>,
    beside: Vec<Content>,
}

impl Expected for Units {
    fn key(&self) -> Key {
        self.key
    }
    fn sizes(&self) -> RangeInclusive<u64> {
        self.layout.bytes()..=self.layout.bytes()
    }
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        let mut at = range.start;
        while at < range.end {
            let (direct, end) = self.layout.part(at);
            let end = end.min(range.end);
            visit(at..end, if direct { &self.direct } else { &self.beside });
            at = end;
        }
    }
}

/// What the file should be after a round.
fn expected(options: &Options, layout: Layout, round: u32) -> Units {
    let mut direct = vec![Content::Stamp(round)];
    let mut beside = vec![Content::Stamp(round)];
    match options.collider {
        // Both wrote everything.
        Collider::SameRange if round > 0 => direct.push(Content::Stamp(OTHER | round)),
        // Nobody wrote what is beside the direct writes.
        Collider::Reader | Collider::Pinned => beside = vec![Content::Stamp(0)],
        _ => {}
    }
    Units { key: Key { seed: options.seed, file: 1, generation: round }, layout, direct, beside }
}

/// A direct write, and when it was under way.
struct DirectWrite {
    unit: u64,
    certainly: Range<Instant>,
    possibly: Range<Instant>,
}

struct Round<'race> {
    options: &'race Options,
    layout: Layout,
    number: u32,
    outcome: &'race mut Outcome,
    writes: Vec<DirectWrite>,
    /// Units of which a page that the direct write touches was, perhaps, changed while that was under way.
    changed: Vec<u64>,
    /// What `fsync` said that may be permitted.
    reported: Vec<Trouble>,
    /// Nothing meets: nothing is permitted.
    alone: bool,
}

impl<'race> Round<'race> {
    fn new(options: &'race Options, layout: Layout, number: u32, outcome: &'race mut Outcome) -> Self {
        Self { options, layout, number, outcome, writes: Vec::new(), changed: Vec::new(), reported: Vec::new(), alone: false }
    }

    fn write(&mut self, queue: &mut Queue, mut free: Vec<Buffer>, ready: impl FnOnce() -> Result<()>) -> Result<Vec<Buffer>> {
        let key = Key { seed: self.options.seed, file: 1, generation: self.number };
        for index in 0..self.layout.writes {
            let Some(mut buffer) = free.pop() else { break };
            let Range { start: offset, .. } = self.layout.direct(index);
            key.fill(offset, &mut buffer);
            let bytes = self.options.block_bytes.get();
            queue.push(Operation { write: true, file: 0, offset, bytes, buffer, generation: self.number });
        }
        ready()?;
        let mut done = Vec::new();
        let mut watch = Watch::submit(queue)?;
        while queue.in_flight() > 0 || !done.is_empty() {
            if done.is_empty() {
                watch.poll(queue, &mut done)?;
            }
            let some = self.number.is_multiple_of(2);
            for Completion { offset, bytes, buffer, result, .. } in done.drain(..) {
                free.push(buffer);
                let index = offset / self.layout.stride;
                self.writes.push(DirectWrite { unit: index, certainly: watch.certain(), possibly: watch.possible() });
                self.outcome.writes += 1;
                let trouble = |kind, detail| Trouble::new(kind, self.number.into(), offset, bytes as u64, detail);
                match result {
                    Ok(got) if got == bytes => {}
                    Ok(got) => self.outcome.troubles.add(trouble("short-write", format!("{got} of {bytes} bytes"))),
                    Err(errno) => self.outcome.troubles.add(trouble("write-error", "O_DIRECT".to_owned()).errno(errno)),
                }
                if self.options.fsync == Fsync::Each || self.options.fsync == Fsync::Batch && some {
                    self.sync(queue.file(0), Some(index))?;
                }
            }
        }
        Ok(free)
    }

    /// When both are done: whether they met, and what has become of the file.
    fn judge(&mut self, queue: &Queue, report: Report, memory: &mut [u8]) -> Result<()> {
        for trouble in report.troubles {
            self.outcome.troubles.add(trouble);
        }
        for collision in report.collisions {
            self.meet(collision);
        }
        let mut lost = self.check(memory, false)?;
        // Without an fsync there is nothing that could report a loss.
        if self.options.fsync != Fsync::None || !lost.is_empty() {
            self.sync(queue.file(0), None)?;
            if lost.is_empty() {
                // Dropping the page cache would leave what is mapped, and read that again.
                lost = self.check(memory, true)?;
            }
        }
        self.settle(lost);
        self.outcome.rounds = self.number;
        Ok(())
    }

    /// Whether a collision met the direct write of its unit.
    fn meet(&mut self, Collision { unit, range, time }: Collision) {
        self.outcome.collisions += 1;
        let shares = self.layout.shares_a_page(unit, &range);
        let during = |under_way: &Range<Instant>| under_way.start < time.end && time.start < under_way.end;
        let mut writes = self.writes.iter().filter(|write| write.unit == unit);
        if writes.clone().any(|write| during(&write.certainly)) {
            self.outcome.overlaps += 1;
            self.outcome.shared_pages += u64::from(shares);
        }
        if shares && writes.any(|write| during(&write.possibly)) {
            self.changed.push(unit);
        }
    }

    /// What is permitted is counted, what is not is trouble.
    fn settle(&mut self, lost: Vec<Trouble>) {
        let mixes = self.options.collider != Collider::Direct && !self.options.strict && !self.alone;
        let reported = std::mem::take(&mut self.reported);
        let (permitted, refused): (Vec<_>, Vec<_>) =
            reported.into_iter().partition(|trouble| mixes && trouble.errno == Some(Errno(libc::EIO)));
        let told = !permitted.is_empty();
        let silent = refused.is_empty() && !told;
        let (excused, lost): (Vec<_>, Vec<_>) =
            lost.into_iter().partition(|trouble| told || mixes && self.went_with_its_page(trouble));
        self.outcome.permitted += permitted.len() as u64;
        self.outcome.announced += u64::from(!excused.is_empty());
        let note = |mut trouble: Trouble| {
            trouble.detail.push_str(if silent { ", and fsync did not tell" } else { ", and fsync told" });
            trouble
        };
        if let Some(first) = permitted.into_iter().next().or_else(|| excused.into_iter().next().map(note)) {
            self.outcome.example.get_or_insert(first);
        }
        let lost = lost.into_iter().map(note);
        for trouble in refused.into_iter().chain(lost) {
            self.outcome.troubles.add(trouble);
        }
    }

    /// Whether the range has the data from before because the page around it was changed meanwhile, and written back as a whole.
    fn went_with_its_page(&self, lost: &Trouble) -> bool {
        let (direct, _) = self.layout.part(lost.offset);
        lost.range.as_ref().is_some_and(|range| range.kind == Kind::Stale)
            && !self.options.unit_bytes.get().is_multiple_of(page_bytes())
            && match self.options.collider {
                // Only the kernel knows when it looks at what was stored.
                Collider::Mmap => true,
                Collider::Buffered => direct && self.changed.contains(&(lost.offset / self.layout.stride)),
                Collider::Direct | Collider::Reader | Collider::Pinned | Collider::SameRange => false,
            }
    }

    /// Syncs, and says which collision it was that made it fail.
    fn sync(&mut self, file: &OwnedFd, index: Option<u64>) -> Result<()> {
        self.outcome.stats.fsyncs += 1;
        let Err(error) = file::fsync(&self.options.path, file.as_fd()) else { return Ok(()) };
        let Some(errno) = error.errno else { return Err(error) };
        let range = index.map_or(0..self.layout.bytes(), |index| self.layout.direct(index));
        let what = if index.is_some() { "the direct write" } else { "one of this round's direct writes" };
        let detail = format!("{what} met {} in its pages", self.options.collider.doing());
        let trouble = Trouble::new("fsync-error", self.number.into(), range.start, range.end - range.start, detail);
        self.reported.push(trouble.errno(errno));
        Ok(())
    }

    /// Reads the whole file, through the page cache or past it, and says what is lost. That it can't be read is trouble at once.
    fn check(&mut self, memory: &mut [u8], on_disk: bool) -> Result<Vec<Trouble>> {
        let file = sys::File::open_to_read(&self.options.path, Flags { direct: on_disk, sync: false })?;
        let whole = memory.len();
        let read = file.read(memory, 0);
        if read != Ok(whole) {
            let how = if on_disk { "past" } else { "through" };
            let detail = format!("{} of {whole} bytes were read {how} the page cache", read.unwrap_or(0));
            let trouble = Trouble::new("read-error", self.number.into(), 0, whole as u64, detail);
            self.outcome.troubles.add(match read {
                Ok(_) => trouble,
                Err(errno) => trouble.errno(errno),
            });
            return Ok(Vec::new());
        }
        // All of them: one that is permitted must not hide one that is not.
        let parts = 3 * self.options.writes.get();
        let outcome = check_memory(&expected(self.options, self.layout, self.number), 0, memory, parts);
        let trouble = |range: BadRange| {
            let kind = match (self.layout.part(range.offset).0, on_disk) {
                (true, false) => "direct-lost",
                (false, false) => "buffered-lost",
                (true, true) => "direct-lost-on-disk",
                (false, true) => "buffered-lost-on-disk",
            };
            let BadRange { offset, bytes, .. } = range;
            let detail = format!("beside {}", self.options.collider.doing());
            Trouble::new(kind, self.number.into(), offset, bytes, detail).range(range)
        };
        Ok(outcome.ranges.into_iter().map(trouble).collect())
    }
}

/// The collider's hands.
struct Colliding<'race> {
    options: &'race Options,
    layout: Layout,
    file: &'race sys::File,
    /// The file's pages, for stores and nothing else.
    mapped: Option<Buffer>,
    memory: Vec<u8>,
    /// Opened with `O_DIRECT`, and memory for it.
    direct: Option<(sys::File, Buffer)>,
    pipe: Option<(File, File)>,
}

impl<'race> Colliding<'race> {
    fn new(options: &'race Options, layout: Layout, file: &'race sys::File) -> Result<Self> {
        let mapped = if options.collider == Collider::Mmap {
            let bytes = NonZeroUsize::new(layout.bytes() as usize).unwrap_or(NonZeroUsize::MIN);
            Pool::of(Memory::File(file.as_fd()), 1, bytes, Align::Offset(0))?.buffers.pop()
        } else {
            None
        };
        let pipe = if options.collider == Collider::Pinned { Some(pipe(layout.stride)?) } else { None };
        let direct = if options.collider == Collider::Direct {
            // Room to begin at any alignment that the device allows.
            let bytes = NonZeroUsize::new(layout.stride as usize + page_bytes()).unwrap_or(NonZeroUsize::MIN);
            let file = sys::File::open_to_write(&options.path, true, Flags { direct: true, sync: false })?;
            Pool::new(1, bytes, Align::Offset(0))?.buffers.pop().map(|buffer| (file, buffer))
        } else {
            None
        };
        Ok(Self { options, layout, file, direct, mapped, memory: vec![0; layout.stride as usize], pipe })
    }

    fn key(&self, generation: u32) -> Key {
        Key { seed: self.options.seed, file: 1, generation }
    }

    /// One unit's collisions.
    fn unit(&mut self, index: u64, round: u32, report: &mut Report) {
        let ranges: Vec<Range<u64>> = match self.options.collider {
            Collider::Direct | Collider::Buffered | Collider::Mmap => {
                self.layout.beside(index).into_iter().filter(|range| !range.is_empty()).collect()
            }
            Collider::SameRange => vec![self.layout.direct(index)],
            Collider::Reader | Collider::Pinned => vec![self.layout.unit(index)],
        };
        for range in ranges {
            let start = Instant::now();
            let result = self.one(&range, round, report);
            let time = start..Instant::now();
            if let Err(error) = result {
                let detail = self.options.collider.doing();
                let trouble = Trouble::new("collider-error", round.into(), range.start, range.end - range.start, detail);
                report.troubles.push(trouble.errno(Errno::from(&error)));
            }
            report.collisions.push(Collision { unit: index, range, time });
        }
    }

    fn one(&mut self, range: &Range<u64>, round: u32, report: &mut Report) -> std::io::Result<()> {
        let bytes = (range.end - range.start) as usize;
        let generation = if self.options.collider == Collider::SameRange { OTHER | round } else { round };
        let key = self.key(generation);
        let memory = &mut self.memory[..bytes];
        match self.options.collider {
            Collider::Direct => {
                let Some((file, buffer)) = &mut self.direct else { return Ok(()) };
                // As LTP's buffers: aligned to the device's block, and mostly to no page.
                let step = (range.start / self.layout.stride + u64::from(round)) as usize * self.options.memory_bytes.get();
                let start = step % page_bytes();
                let part = &mut buffer[start..start + bytes];
                key.fill(range.start, part);
                whole_transfer(file.write(part, range.start, generation), bytes)
            }
            Collider::Buffered | Collider::SameRange => {
                key.fill(range.start, memory);
                whole_transfer(self.file.write(memory, range.start, generation), bytes)
            }
            Collider::Mmap => {
                key.fill(range.start, memory);
                let Some(buffer) = &mut self.mapped else { return Ok(()) };
                buffer.store(range.start as usize, memory);
                Ok(())
            }
            Collider::Reader => {
                whole_transfer(self.file.read(memory, range.start), bytes)?;
                let direct = vec![Content::Stamp(round - 1), Content::Stamp(round)];
                let seen = Units { direct, ..expected(self.options, self.layout, round) };
                let outcome = check_memory(&seen, range.start, memory, 1);
                if let Some(found) = outcome.ranges.into_iter().next() {
                    let trouble = Trouble::new("reader-saw", round.into(), found.offset, found.bytes, "during direct writes");
                    report.troubles.push(trouble.range(found));
                }
                Ok(())
            }
            Collider::Pinned => {
                let Some((out, into)) = &self.pipe else { return Ok(()) };
                let mut offset = range.start as libc::loff_t;
                // The pipe is empty: there is nothing that it would have to wait for.
                let calls = self.file.calls();
                let count = calls.call(&calls.begin(recorder::Kind::Read, range.start, bytes as u64), || {
                    // SAFETY: two open descriptors and an offset.
                    unsafe {
                        libc::splice(self.file.as_raw_fd(), &raw mut offset, into.as_raw_fd(), std::ptr::null_mut(), bytes, 0)
                    }
                });
                let count = count.map_err(|errno| std::io::Error::from_raw_os_error(errno.0))?;
                std::io::Read::read_exact(&mut &*out, &mut memory[..count])
            }
        }
    }
}

/// Whether all was transferred.
fn whole_transfer(result: std::result::Result<usize, Errno>, bytes: usize) -> std::io::Result<()> {
    match result {
        Ok(count) if count == bytes => Ok(()),
        Ok(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        Err(errno) => Err(std::io::Error::from_raw_os_error(errno.0)),
    }
}

/// With room for so many bytes.
fn pipe(bytes: u64) -> Result<(File, File)> {
    let failed = || Error::new(Step::Setup, "A pipe could not be made").errno(Errno::last());
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(failed());
    }
    // SAFETY: a new descriptor that nobody else has.
    let out = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let into = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(ends[1]) };
    // SAFETY: an open descriptor. Less room makes the splices shorter, no more.
    unsafe { libc::fcntl(into.as_raw_fd(), libc::F_SETPIPE_SZ, i32::try_from(bytes).unwrap_or(i32::MAX)) };
    Ok((out, into))
}

fn collide(colliding: &mut Colliding<'_>, orders: &Receiver<u32>, reports: &Sender<Report>) {
    while let Ok(round) = orders.recv() {
        let mut report = Report::default();
        for index in 0..colliding.layout.writes {
            colliding.unit(index, round, &mut report);
        }
        if reports.send(report).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(collider: Collider, unit_bytes: usize) -> Options {
        let size = |bytes| NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
        Options {
            path: PathBuf::new(),
            block_bytes: size(unit_bytes),
            unit_bytes: size(unit_bytes),
            memory_bytes: size(unit_bytes),
            writes: size(2),
            rounds: 1,
            engine: engine::Kind::Sync,
            collider,
            fsync: Fsync::Batch,
            offset_in_page: 0,
            strict: false,
            seed: 1,
        }
    }

    /// What a round makes of the second unit's direct write when that is lost, with the data from before or something else, and of what
    /// `fsync` said: losses that it permits, and troubles.
    fn settled(options: &Options, changed: &[u64], found: Kind, beside: bool) -> (u64, u64) {
        let layout = Layout::new(options);
        let mut outcome = Outcome::default();
        let mut round = Round::new(options, layout, 1, &mut outcome);
        round.changed.extend(changed);
        let Range { start, .. } = if beside { layout.unit(1) } else { layout.direct(1) };
        let range = BadRange { kind: found, ..bad_range(start) };
        round.settle(vec![Trouble::new("direct-lost", 1, start, 512, "").range(range)]);
        (outcome.announced, outcome.troubles.total)
    }

    fn bad_range(offset: u64) -> BadRange {
        let key = Key { seed: 1, file: 1, generation: 1 };
        let seen = Units {
            key,
            layout: Layout::new(&options(Collider::Buffered, 512)),
            direct: vec![Content::Zeros],
            beside: vec![Content::Zeros],
        };
        check_memory(&seen, offset, &[7; 512], 1).ranges.remove(0)
    }

    #[test]
    fn a_silent_loss_is_permitted_only_where_the_page_was_changed_meanwhile() {
        let part = page_bytes() / 8;
        let buffered = options(Collider::Buffered, part);
        let (permitted, trouble) = ((1, 0), (0, 1));
        assert_eq!(settled(&buffered, &[1], Kind::Stale, false), permitted);
        assert_eq!(settled(&buffered, &[0], Kind::Stale, false), trouble, "another page was changed");
        assert_eq!(settled(&buffered, &[1], Kind::Garbage, false), trouble, "no page had that");
        assert_eq!(settled(&buffered, &[1], Kind::Stale, true), trouble, "it is the buffered write that is lost");
        assert_eq!(settled(&Options { strict: true, ..buffered.clone() }, &[1], Kind::Stale, false), trouble);
        assert_eq!(settled(&options(Collider::Buffered, page_bytes()), &[1], Kind::Stale, false), trouble, "no page is shared");
        assert_eq!(settled(&options(Collider::Mmap, part), &[], Kind::Stale, false), permitted);
        for collider in [Collider::Direct, Collider::Reader, Collider::Pinned] {
            assert_eq!(settled(&options(collider, part), &[1], Kind::Stale, false), trouble, "{collider:?} changes no page");
        }
    }

    #[test]
    fn a_page_was_changed_meanwhile_only_by_what_touched_it_while_the_write_may_have_been_under_way() {
        let options = options(Collider::Buffered, page_bytes() / 8);
        let layout = Layout::new(&options);
        let mut outcome = Outcome::default();
        let start = Instant::now();
        let at = |milliseconds| start + std::time::Duration::from_millis(milliseconds);
        let mut round = Round::new(&options, layout, 1, &mut outcome);
        round.writes.push(DirectWrite { unit: 1, certainly: at(20)..at(30), possibly: at(10)..at(40) });
        let [head, _] = layout.beside(1);
        let mut made = |unit, time| round.meet(Collision { unit, range: head.clone(), time });
        made(1, at(0)..at(10));
        made(1, at(40)..at(50));
        made(0, at(20)..at(30));
        assert!(round.changed.is_empty());
        let mut made = |time| round.meet(Collision { unit: 1, range: head.clone(), time });
        made(at(5)..at(15));
        assert_eq!((round.outcome.overlaps, round.changed.as_slice()), (0, &[1][..]));
        let mut made = |time| round.meet(Collision { unit: 1, range: head.clone(), time });
        made(at(25)..at(26));
        assert_eq!((round.outcome.overlaps, round.outcome.collisions), (1, 5));
    }
}
