//! A round of direct writes, and what has become of the file when both sides are done.

use std::ops::Range;
use std::time::Instant;

use super::colliders::{Collision, Report};
use super::layout::{Layout, expected};
use super::{Collider, Options, Outcome};
use crate::buffer::{Buffer, page_bytes};
use crate::engine::{Completion, Op, Operation, Queue};
use crate::error::{Errno, Result};
use crate::stamp::Key;
use crate::sys::{self, Flags};
use crate::verify::{BadRange, Kind, check_memory};
use crate::workload::copy::Fsync;
use crate::workload::shared::finding::Finding;
use crate::workload::shared::overlap::Watch;

/// A direct write, and when it was under way.
struct DirectWrite {
    unit: u64,
    certainly: Range<Instant>,
    possibly: Range<Instant>,
}

pub(super) struct Round<'race> {
    options: &'race Options,
    layout: Layout,
    number: u32,
    outcome: &'race mut Outcome,
    writes: Vec<DirectWrite>,
    /// Units of which a page that the direct write touches was, perhaps, changed while that was under way.
    changed: Vec<u64>,
    /// What `fsync` said that may be permitted.
    reported: Vec<Finding>,
    /// Nothing meets: nothing is permitted.
    pub(super) alone: bool,
}

impl<'race> Round<'race> {
    pub(super) fn new(options: &'race Options, layout: Layout, number: u32, outcome: &'race mut Outcome) -> Self {
        Self { options, layout, number, outcome, writes: Vec::new(), changed: Vec::new(), reported: Vec::new(), alone: false }
    }

    pub(super) fn write(
        &mut self,
        queue: &mut Queue,
        mut free: Vec<Buffer>,
        ready: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<Buffer>> {
        let key = Key { seed: self.options.seed, file: 1, generation: self.number };
        for index in 0..self.layout.writes {
            let Some(mut buffer) = free.pop() else { break };
            let Range { start: offset, .. } = self.layout.direct(index);
            key.fill(offset, &mut buffer);
            let bytes = self.options.block_bytes.get();
            queue.push(Operation { op: Op::Write, file: 0, offset, bytes, buffer, generation: self.number, user_data: () });
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
                self.outcome.findings.transfer(Op::Write, self.number.into(), offset, bytes, result, "O_DIRECT");
                if self.options.fsync == Fsync::Each || self.options.fsync == Fsync::Batch && some {
                    self.sync(queue, Some(index))?;
                }
            }
        }
        Ok(free)
    }

    /// When both are done: whether they met, and what has become of the file.
    pub(super) fn judge(&mut self, queue: &mut Queue, report: Report, memory: &mut [u8]) -> Result<()> {
        for finding in report.findings {
            self.outcome.findings.add(finding);
        }
        for collision in report.collisions {
            self.meet(collision);
        }
        let mut lost = self.check(memory, false)?;
        // Without an fsync there is nothing that could report a loss.
        if self.options.fsync != Fsync::None || !lost.is_empty() {
            self.sync(queue, None)?;
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

    /// What is permitted is counted, what is not is a finding.
    pub(super) fn settle(&mut self, lost: Vec<Finding>) {
        let mixes = self.options.collider != Collider::Direct && !self.options.strict && !self.alone;
        let reported = std::mem::take(&mut self.reported);
        let (permitted, refused): (Vec<_>, Vec<_>) =
            reported.into_iter().partition(|finding| mixes && finding.errno == Some(Errno(libc::EIO)));
        let told = !permitted.is_empty();
        let silent = refused.is_empty() && !told;
        let (excused, lost): (Vec<_>, Vec<_>) =
            lost.into_iter().partition(|finding| told || mixes && self.went_with_its_page(finding));
        self.outcome.permitted += permitted.len() as u64;
        self.outcome.announced += u64::from(!excused.is_empty());
        let note = |mut finding: Finding| {
            finding.detail.push_str(if silent { ", and fsync did not tell" } else { ", and fsync told" });
            finding
        };
        if let Some(first) = permitted.into_iter().next().or_else(|| excused.into_iter().next().map(note)) {
            self.outcome.example.get_or_insert(first);
        }
        let lost = lost.into_iter().map(note);
        for finding in refused.into_iter().chain(lost) {
            self.outcome.findings.add(finding);
        }
    }

    /// Whether the range has the data from before because the page around it was changed meanwhile, and written back as a whole.
    fn went_with_its_page(&self, lost: &Finding) -> bool {
        let (direct, _) = self.layout.part(lost.offset);
        lost.ranges.iter().any(|range| range.kind == Kind::Stale)
            && !self.options.dio_offset_align.get().is_multiple_of(page_bytes())
            && match self.options.collider {
                // Only the kernel knows when it looks at what was stored.
                Collider::Mmap => true,
                Collider::Buffered => direct && self.changed.contains(&(lost.offset / self.layout.stride)),
                Collider::Direct | Collider::Reader | Collider::Pinned | Collider::SameRange => false,
            }
    }

    /// Syncs, and says which collision it was that made it fail.
    pub(super) fn sync(&mut self, queue: &mut Queue, index: Option<u64>) -> Result<()> {
        let Err(error) = queue.fsync(0, &self.options.path) else { return Ok(()) };
        let Some(errno) = error.errno else { return Err(error) };
        let range = index.map_or(0..self.layout.bytes(), |index| self.layout.direct(index));
        let what = if index.is_some() { "the direct write" } else { "one of this round's direct writes" };
        let detail = format!("{what} met {} in its pages", self.options.collider.doing());
        let finding = Finding::new("fsync-error", range.start, range.end - range.start, detail);
        self.reported.push(finding.round(self.number).errno(errno));
        Ok(())
    }

    /// Reads the whole file, through the page cache or past it, and says what is lost. That it can't be read is a finding at once.
    fn check(&mut self, memory: &mut [u8], on_disk: bool) -> Result<Vec<Finding>> {
        let file = sys::File::open_to_read(&self.options.path, Flags { direct: on_disk, sync: false })?;
        let whole = memory.len();
        let read = file.read(memory, 0);
        if read != Ok(whole) {
            let how = if on_disk { "past" } else { "through" };
            let detail = format!("{} of {whole} bytes were read {how} the page cache", read.unwrap_or(0));
            let finding = Finding::new("read-error", 0, whole as u64, detail).round(self.number);
            self.outcome.findings.add(match read {
                Ok(_) => finding,
                Err(errno) => finding.errno(errno),
            });
            return Ok(Vec::new());
        }
        // All of them: one that is permitted must not hide one that is not.
        let parts = 3 * self.options.writes.get();
        let outcome = check_memory(&expected(self.options, self.layout, self.number), 0, memory, parts);
        let finding = |range: BadRange| {
            let kind = match (self.layout.part(range.offset).0, on_disk) {
                (true, false) => "direct-lost",
                (false, false) => "buffered-lost",
                (true, true) => "direct-lost-on-disk",
                (false, true) => "buffered-lost-on-disk",
            };
            let detail = format!("beside {}", self.options.collider.doing());
            Finding::of_range(kind, range, detail).round(self.number)
        };
        Ok(outcome.ranges.into_iter().map(finding).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::PathBuf;

    use super::*;
    use crate::engine;
    use crate::oracle::Content;
    use crate::workload::invalidate::Units;

    fn options(collider: Collider, dio_offset_align: usize) -> Options {
        let size = |bytes| NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
        Options {
            path: PathBuf::new(),
            block_bytes: size(dio_offset_align),
            dio_offset_align: size(dio_offset_align),
            dio_mem_align: size(dio_offset_align),
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
    /// `fsync` said: losses that it permits, and findings.
    fn settled(options: &Options, changed: &[u64], found: Kind, beside: bool) -> (u64, u64) {
        let layout = Layout::new(options);
        let mut outcome = Outcome::default();
        let mut round = Round::new(options, layout, 1, &mut outcome);
        round.changed.extend(changed);
        let Range { start, .. } = if beside { layout.unit(1) } else { layout.direct(1) };
        let range = BadRange { kind: found, ..bad_range(start) };
        round.settle(vec![Finding::of_range("direct-lost", range, "").round(1_u32)]);
        (outcome.announced, outcome.findings.total)
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
        let (permitted, finding) = ((1, 0), (0, 1));
        assert_eq!(settled(&buffered, &[1], Kind::Stale, false), permitted);
        assert_eq!(settled(&buffered, &[0], Kind::Stale, false), finding, "another page was changed");
        assert_eq!(settled(&buffered, &[1], Kind::Garbage, false), finding, "no page had that");
        assert_eq!(settled(&buffered, &[1], Kind::Stale, true), finding, "it is the buffered write that is lost");
        assert_eq!(settled(&Options { strict: true, ..buffered.clone() }, &[1], Kind::Stale, false), finding);
        assert_eq!(settled(&options(Collider::Buffered, page_bytes()), &[1], Kind::Stale, false), finding, "no page is shared");
        assert_eq!(settled(&options(Collider::Mmap, part), &[], Kind::Stale, false), permitted);
        for collider in [Collider::Direct, Collider::Reader, Collider::Pinned] {
            assert_eq!(settled(&options(collider, part), &[1], Kind::Stale, false), finding, "{collider:?} changes no page");
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
