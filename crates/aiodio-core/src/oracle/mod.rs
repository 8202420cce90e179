//! What each byte of a file may be, given what was done to it and when.
//!
//! A write that is under way may or may not have happened; two that overlapped in time may have happened in either order; one that
//! failed, was cut short or was cancelled may have happened in part. So a byte has a set of contents that are right. Submitting
//! widens the set, a clean completion narrows it: whatever had ended before the write was submitted is gone then. That removes the
//! false alarms of overlapping I/O and still catches old data that look perfectly valid.
//!
//! Punching a hole, zeroing a range and truncating are writes of zeros here, and an extent that was only allocated is zeros that
//! nobody wrote; each of them must be free of older stamps just as a write must be.
//!
//! Where more than one content is right, any mixture of them is: neither POSIX nor Linux promises that a concurrent write is seen in
//! one piece (a buffered read of ext4 takes no lock against a write, and a loop device copies with `memcpy`). There is one exception,
//! for data at rest: a device takes a logical block whole or not at all, so where each content comes from a direct write of all of the
//! block ([`Oracle::begin_direct`]), and all these writes are over, the block holds one of them ([`Expected::keeps_blocks_whole`]).
//! Writes through the page cache are left out, since nobody promises how much of a page is copied before it is written back.

mod expected;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Range, RangeInclusive};

pub use self::expected::{Content, Expected, OneOf, Stamped};
use crate::error::Errno;
use crate::stamp::Key;

/// A change of a file's content, size or both.
#[derive(Clone, Debug)]
pub struct Change {
    /// Bytes that it concerns.
    pub range: Range<u64>,
    /// What they become.
    pub content: Content,
    /// What becomes of the file's size.
    pub size: SizeChange,
}

/// What an operation does to a file's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeChange {
    /// Nothing (`FALLOC_FL_KEEP_SIZE`).
    Keep,
    /// The file becomes at least so long.
    Extend(u64),
    /// The file becomes exactly so long.
    Set(u64),
}

impl Change {
    /// A write of one generation's stamps.
    pub fn write(offset: u64, bytes: u64, generation: u32) -> Self {
        let end = offset + bytes;
        Self { range: offset..end, content: Content::Stamp(generation), size: SizeChange::Extend(end) }
    }

    /// `FALLOC_FL_PUNCH_HOLE`, or `FALLOC_FL_ZERO_RANGE` with `FALLOC_FL_KEEP_SIZE`.
    pub fn zero(offset: u64, bytes: u64) -> Self {
        Self { range: offset..offset + bytes, content: Content::Zeros, size: SizeChange::Keep }
    }

    /// `ftruncate(2)`: what lay behind is gone, also for whoever makes the file longer again.
    pub fn truncate(size: u64) -> Self {
        Self { range: size..u64::MAX, content: Content::Zeros, size: SizeChange::Set(size) }
    }

    /// `fallocate(2)` without flags: content stays, the file may become longer.
    pub fn allocate(offset: u64, bytes: u64) -> Self {
        Self { range: 0..0, content: Content::Zeros, size: SizeChange::Extend(offset + bytes) }
    }
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As asked for.
    Done,
    /// So many bytes from its start as asked for, the rest perhaps.
    Partial(u64),
    /// With an error, or cancelled: perhaps.
    Failed,
}

impl Ending {
    /// Of a change of `bytes` bytes, by the kernel's answer.
    pub fn of(answer: std::result::Result<usize, Errno>, bytes: usize) -> Self {
        match answer {
            Ok(got) if got == bytes => Self::Done,
            Ok(got) => Self::Partial(got as u64),
            Err(_) => Self::Failed,
        }
    }
}

/// A change between its submission and its completion. Every one must be given to [`Oracle::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(u64);

/// A read between its submission and its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(u64);

/// Moments are counted, not measured: each submission and completion is a tick.
type Tick = u64;
const NEVER: Tick = Tick::MAX;
/// Ended so long ago that nothing in flight overlapped it.
const LONG_AGO: Tick = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    content: Content,
    /// When the change that makes it was submitted, which names the change too.
    begun: Tick,
    ended: Tick,
    /// From then on it is wrong; reads submitted before may still see it.
    superseded: Tick,
    /// Made by direct writes alone, or the only content at its time.
    direct: bool,
}

impl Candidate {
    const fn settled(content: Content) -> Self {
        Self { content, begun: LONG_AGO, ended: LONG_AGO, superseded: NEVER, direct: true }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    end: u64,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Debug)]
struct InFlight {
    range: Range<u64>,
    size: SizeChange,
}

#[derive(Clone, Copy, Debug)]
struct SizeEvent {
    ended: Tick,
    change: SizeChange,
}

/// What one file may be. Its memory grows with the number of ranges that differ, not with the file.
///
/// Call [`Self::begin`] before the operation is submitted and [`Self::end`] after its completion is reaped: the oracle then takes it
/// for under way a little longer than it is, which can only make it more lenient.
#[derive(Clone, Debug)]
pub struct Oracle {
    key: Key,
    tick: Tick,
    /// Covers 0..`u64::MAX` without gaps.
    segments: BTreeMap<u64, Segment>,
    in_flight: BTreeMap<Tick, InFlight>,
    reads: BTreeSet<Tick>,
    /// Ranges with a lone candidate that something in flight may have overlapped, by the end of its change.
    unsettled: VecDeque<(Tick, Range<u64>)>,
    /// Ranges with superseded candidates, kept for reads, by the moment since when they are.
    superseded: VecDeque<(Tick, Range<u64>)>,
    sizes: RangeInclusive<u64>,
    /// Changes of the size that overlap one in flight.
    size_events: Vec<SizeEvent>,
}

impl Oracle {
    /// For an empty file.
    pub fn new(seed: u64, file: u32) -> Self {
        let whole = Segment { end: u64::MAX, candidates: vec![Candidate::settled(Content::Zeros)] };
        Self {
            key: Key { seed, file, generation: 0 },
            tick: LONG_AGO,
            segments: BTreeMap::from([(0, whole)]),
            in_flight: BTreeMap::new(),
            reads: BTreeSet::new(),
            unsettled: VecDeque::new(),
            superseded: VecDeque::new(),
            sizes: 0..=0,
            size_events: Vec::new(),
        }
    }

    /// The number of ranges it keeps apart.
    pub fn ranges(&self) -> usize {
        self.segments.len()
    }

    /// Changes that have begun and not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Run and file of the stamps, with a generation.
    pub fn stamps(&self, generation: u32) -> Key {
        Key { generation, ..self.key }
    }

    /// A change is about to be submitted.
    pub fn begin(&mut self, change: Change) -> ChangeId {
        self.begin_as(change, false)
    }

    /// A write with `O_DIRECT` is about to be submitted, from memory that nobody changes meanwhile.
    pub fn begin_direct(&mut self, change: Change) -> ChangeId {
        self.begin_as(change, true)
    }

    fn begin_as(&mut self, change: Change, direct: bool) -> ChangeId {
        self.tick += 1;
        let begun = self.tick;
        let Change { range, content, size } = change;
        let (low, high) = (*self.sizes.start(), *self.sizes.end());
        match size {
            SizeChange::Keep => {}
            SizeChange::Extend(to) => self.sizes = low..=high.max(to),
            SizeChange::Set(to) => self.sizes = low.min(to)..=high.max(to),
        }
        let oldest_read = self.oldest_read();
        self.for_each_mut(&range, |segment| {
            segment.candidates.retain(|candidate| candidate.superseded > oldest_read);
            segment.candidates.push(Candidate { content, begun, ended: NEVER, superseded: NEVER, direct });
        });
        self.in_flight.insert(begun, InFlight { range, size });
        ChangeId(begun)
    }

    /// Its completion has been reaped.
    ///
    /// # Panics
    /// When the change has ended before.
    pub fn end(&mut self, id: ChangeId, ending: Ending) {
        let begun = id.0;
        let InFlight { range, size } = self.in_flight.remove(&begun).expect("a change ends once");
        self.tick += 1;
        let now = self.tick;
        let clean = match ending {
            Ending::Done => range.clone(),
            Ending::Partial(bytes) => range.start..range.end.min(range.start.saturating_add(bytes)),
            Ending::Failed => range.start..range.start,
        };
        let unclean = clean.end..range.end;
        let keep = !self.reads.is_empty();
        self.for_each_mut(&clean, |segment| {
            for candidate in &mut segment.candidates {
                if candidate.begun == begun {
                    candidate.ended = now;
                } else if candidate.ended < begun && candidate.superseded == NEVER {
                    candidate.superseded = now;
                }
            }
            if !keep {
                segment.candidates.retain(|candidate| candidate.superseded == NEVER);
            }
        });
        self.for_each_mut(&unclean, |segment| {
            // One that ended earlier with the same content says nothing more.
            let content = segment.candidates.iter().find(|candidate| candidate.begun == begun).map(|candidate| candidate.content);
            segment.candidates.retain(|candidate| {
                candidate.begun == begun
                    || candidate.ended == NEVER
                    || candidate.superseded != NEVER
                    || Some(candidate.content) != content
            });
            for candidate in &mut segment.candidates {
                if candidate.begun == begun {
                    candidate.ended = now;
                }
            }
        });
        if keep && !clean.is_empty() {
            self.superseded.push_back((now, clean.clone()));
        }
        self.end_size(begun, now, size, ending, clean.end);
        self.unsettled.push_back((now, clean));
        self.merge(&unclean);
        self.settle();
    }

    fn end_size(&mut self, begun: Tick, now: Tick, size: SizeChange, ending: Ending, reached: u64) {
        let overlapped = |event: &&SizeEvent| event.ended > begun;
        let in_flight = self.in_flight.values().map(|operation| SizeEvent { ended: NEVER, change: operation.size });
        let others: Vec<SizeEvent> = self.size_events.iter().filter(overlapped).copied().chain(in_flight).collect();
        let set_meanwhile = others.iter().any(|event| matches!(event.change, SizeChange::Set(_)));
        let (low, high) = (*self.sizes.start(), *self.sizes.end());
        match (size, ending) {
            (SizeChange::Extend(to), Ending::Done) if !set_meanwhile => self.sizes = low.max(to)..=high,
            (SizeChange::Extend(_), Ending::Partial(bytes)) if bytes > 0 && !set_meanwhile => self.sizes = low.max(reached)..=high,
            (SizeChange::Set(to), Ending::Done) if !set_meanwhile => {
                let extended = others.iter().filter_map(|event| match event.change {
                    SizeChange::Extend(to) => Some(to),
                    _ => None,
                });
                self.sizes = to..=extended.max().unwrap_or(to).max(to);
            }
            _ => {}
        }
        if size != SizeChange::Keep {
            self.size_events.push(SizeEvent { ended: now, change: size });
        }
        let oldest = self.oldest_in_flight();
        self.size_events.retain(|event| event.ended > oldest);
    }

    /// A read is about to be submitted.
    pub fn begin_read(&mut self) -> ReadId {
        self.tick += 1;
        self.reads.insert(self.tick);
        ReadId(self.tick)
    }

    /// What a read that has completed may have seen: all that was right at any moment since its submission.
    pub fn seen_by(&self, read: ReadId) -> impl Expected + '_ {
        View { oracle: self, since: read.0 }
    }

    /// The read has been checked.
    pub fn end_read(&mut self, read: ReadId) {
        self.reads.remove(&read.0);
        let oldest = self.oldest_read();
        while let Some((since, _)) = self.superseded.front()
            && *since <= oldest
        {
            let Some((_, range)) = self.superseded.pop_front() else { return };
            self.for_each_mut(&range, |segment| segment.candidates.retain(|candidate| candidate.superseded > oldest));
            self.merge(&range);
        }
    }

    fn oldest_in_flight(&self) -> Tick {
        self.in_flight.keys().next().copied().unwrap_or(NEVER)
    }

    fn oldest_read(&self) -> Tick {
        self.reads.first().copied().unwrap_or(NEVER - 1)
    }

    /// Forgets when things happened where it can make no difference any more, so that neighbours become equal and one.
    fn settle(&mut self) {
        let oldest = self.oldest_in_flight();
        while let Some((ended, _)) = self.unsettled.front()
            && *ended < oldest
        {
            let Some((_, range)) = self.unsettled.pop_front() else { return };
            self.merge(&range);
        }
    }

    /// Cuts the segments at the ends of `range` and visits those inside.
    fn for_each_mut(&mut self, range: &Range<u64>, mut visit: impl FnMut(&mut Segment)) {
        if range.is_empty() {
            return;
        }
        self.cut(range.start);
        self.cut(range.end);
        for (_, segment) in self.segments.range_mut(range.clone()) {
            visit(segment);
        }
    }

    fn cut(&mut self, at: u64) {
        let Some((start, segment)) = self.segments.range_mut(..at).next_back() else { return };
        if *start < at && at < segment.end {
            let tail = segment.clone();
            segment.end = at;
            self.segments.insert(at, tail);
        }
    }

    /// Joins equal neighbours in and around `range`.
    fn merge(&mut self, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        let oldest = self.oldest_in_flight();
        let first = self.segments.range(..range.start).next_back().map_or(0, |(start, _)| *start);
        let starts: Vec<u64> = self.segments.range(first..=range.end).map(|(start, _)| *start).collect();
        let mut kept: Option<u64> = None;
        for start in starts {
            let Some(segment) = self.segments.get_mut(&start) else { continue };
            if let [lone] = segment.candidates.as_mut_slice()
                && lone.ended < oldest
                && lone.superseded == NEVER
            {
                *lone = Candidate::settled(lone.content);
            }
            if let Some(before) = kept
                && self.segments[&before].candidates == self.segments[&start].candidates
                && let Some(joined) = self.segments.remove(&start)
                && let Some(before) = self.segments.get_mut(&before)
            {
                before.end = joined.end;
            } else {
                kept = Some(start);
            }
        }
    }

    fn each_since(&self, since: Tick, range: &Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        if range.is_empty() {
            return;
        }
        let first = self.segments.range(..=range.start).next_back().map_or(0, |(start, _)| *start);
        for (start, segment) in self.segments.range(first..range.end) {
            let part = range.start.max(*start)..range.end.min(segment.end);
            if let [lone] = segment.candidates.as_slice() {
                visit(part, std::slice::from_ref(&lone.content));
                continue;
            }
            let live = segment.candidates.iter().filter(|candidate| candidate.superseded > since);
            let mut contents: Vec<Content> = live.map(|candidate| candidate.content).collect();
            contents.sort_unstable();
            contents.dedup();
            visit(part, &contents);
        }
    }
}

impl Expected for Oracle {
    fn key(&self) -> Key {
        self.key
    }
    fn sizes(&self) -> RangeInclusive<u64> {
        self.sizes.clone()
    }
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        self.each_since(self.tick, &range, visit);
    }
    fn keeps_blocks_whole(&self, range: &Range<u64>) -> bool {
        let Some((_, segment)) = self.segments.range(..=range.start).next_back() else { return false };
        let mut live = segment.candidates.iter().filter(|candidate| candidate.superseded == NEVER);
        range.end <= segment.end && live.all(|candidate| candidate.direct && candidate.ended != NEVER)
    }
}

/// The oracle as a read sees it.
struct View<'oracle> {
    oracle: &'oracle Oracle,
    since: Tick,
}

impl Expected for View<'_> {
    fn key(&self) -> Key {
        self.oracle.key
    }
    fn sizes(&self) -> RangeInclusive<u64> {
        self.oracle.sizes.clone()
    }
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(Range<u64>, &[Content])) {
        self.oracle.each_since(self.since, &range, visit);
    }
}
