//! Who collides with the direct writes, and how.

use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use serde::Deserialize;

use super::Options;
use super::layout::{Layout, OTHER, Units, expected};
use crate::buffer::{Align, Buffer, Memory, Pool, page_bytes};
use crate::error::{Errno, Error, Result, Step};
use crate::oracle::Content;
use crate::recorder;
use crate::stamp::Key;
use crate::sys::{self, Answer, Flags};
use crate::verify::check_memory;
use crate::workload::shared::finding::Finding;

/// What collides with the direct writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
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
    /// What it does, for a report.
    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Direct => "direct writes from unaligned memory",
            Self::Buffered | Self::SameRange => "buffered writes",
            Self::Mmap => "stores through a mapping",
            Self::Reader => "buffered reads",
            Self::Pinned => "pages pinned by splice(2)",
        }
    }
}

/// A collision that was made.
pub(super) struct Collision {
    pub(super) unit: u64,
    pub(super) range: Range<u64>,
    pub(super) time: Range<Instant>,
}

/// What the collider has to say after a round.
#[derive(Default)]
pub(super) struct Report {
    pub(super) collisions: Vec<Collision>,
    pub(super) findings: Vec<Finding>,
}

/// The collider's hands.
pub(super) struct Colliding<'race> {
    pub(super) options: &'race Options,
    pub(super) layout: Layout,
    file: &'race sys::File,
    /// The file's pages, for stores and nothing else.
    mapped: Option<Buffer>,
    memory: Vec<u8>,
    /// Opened with `O_DIRECT`, and memory for it.
    direct: Option<(sys::File, Buffer)>,
    pipe: Option<(File, File)>,
}

impl<'race> Colliding<'race> {
    pub(super) fn new(options: &'race Options, layout: Layout, file: &'race sys::File) -> Result<Self> {
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
            let file = sys::File::open_to_write(&options.path, true, Flags::DIRECT)?;
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
    pub(super) fn unit(&mut self, index: u64, round: u32, report: &mut Report) {
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
            if let Err(errno) = result {
                let detail = self.options.collider.doing();
                let finding = Finding::new("collider-error", range.start, range.end - range.start, detail);
                report.findings.push(finding.round(round).errno(errno));
            }
            report.collisions.push(Collision { unit: index, range, time });
        }
    }

    fn one(&mut self, range: &Range<u64>, round: u32, report: &mut Report) -> Answer<()> {
        let bytes = (range.end - range.start) as usize;
        let generation = if self.options.collider == Collider::SameRange { OTHER | round } else { round };
        let key = self.key(generation);
        let memory = &mut self.memory[..bytes];
        match self.options.collider {
            Collider::Direct => {
                let Some((file, buffer)) = &mut self.direct else { return Ok(()) };
                // As LTP's buffers: aligned to the device's block, and mostly to no page.
                let step = (range.start / self.layout.stride + u64::from(round)) as usize * self.options.dio_mem_align.get();
                let start = step % page_bytes();
                let part = &mut buffer[start..start + bytes];
                key.fill(range.start, part);
                file.write_whole(part, range.start, generation)
            }
            Collider::Buffered | Collider::SameRange => {
                key.fill(range.start, memory);
                self.file.write_whole(memory, range.start, generation)
            }
            Collider::Mmap => {
                key.fill(range.start, memory);
                let Some(buffer) = &mut self.mapped else { return Ok(()) };
                buffer.store(range.start as usize, memory);
                Ok(())
            }
            Collider::Reader => {
                self.file.read_whole(memory, range.start)?;
                let direct = vec![Content::Stamp(round - 1), Content::Stamp(round)];
                let seen = Units { direct, ..expected(self.options, self.layout, round) };
                let outcome = check_memory(&seen, range.start, memory, 1);
                if let Some(found) = outcome.ranges.into_iter().next() {
                    report.findings.push(Finding::of_range("reader-saw", found, "during direct writes").round(round));
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
                std::io::Read::read_exact(&mut &*out, &mut memory[..count?]).map_err(|error| Errno::from(&error))
            }
        }
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

pub(super) fn collide(colliding: &mut Colliding<'_>, orders: &Receiver<u32>, reports: &Sender<Report>) {
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
