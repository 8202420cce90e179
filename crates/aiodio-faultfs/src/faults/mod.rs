//! Applies the rules to requests.

mod write;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

pub(crate) use self::write::Written;
use self::write::{Deferred, Write, flip, shortened, stale_disk, whole_sectors};
use crate::contents::{Contents, Swap};
use crate::random::hash_text;
use crate::rule::{Active, Concerned, Fault, Io, Operation, Request, Rule, names};

/// Descriptions of faults that are kept; all are counted.
const LOG_MAX: usize = 4096;

/// A fault that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FiredFault"))]
pub struct Fired {
    /// The rule's number in the list that was set, from 0.
    pub rule: usize,
    /// From the filesystem's root, with a `/` in front.
    pub path: String,
    /// Byte offset in the file.
    pub offset: u64,
    /// In bytes; 0 for an fsync.
    pub length: u64,
}

/// The rules in force, and what they have done.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    active: Vec<Arc<Active>>,
    log: Mutex<Vec<Fired>>,
}

fn failed(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let active = rules.into_iter().enumerate().map(|(number, rule)| Arc::new(Active::new(number, rule)));
        Self { active: active.collect(), log: Mutex::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// How often each rule has fired, and the first of what they did.
    pub(crate) fn fired(&self) -> (Vec<u64>, Vec<Fired>) {
        (self.active.iter().map(|active| active.fired()).collect(), self.log.lock().clone())
    }

    /// Whether the page cache must be read anew when the file is opened.
    pub(crate) fn shows_in_reads(&self, path: &str) -> bool {
        self.active.iter().any(|active| active.rule.fault.shows_in_reads() && names(&active.rule.file, path))
    }

    /// Whether direct reads or writes of the file may be short.
    pub(crate) fn shortens(&self, path: &str) -> bool {
        self.has(Fault::ShortRead, path) || self.has(Fault::ShortWrite, path)
    }

    /// Whether writes of any file may be short.
    pub(crate) fn shortens_writes(&self) -> bool {
        self.active.iter().any(|active| active.rule.fault == Fault::ShortWrite)
    }

    fn has(&self, fault: Fault, path: &str) -> bool {
        self.active.iter().any(|active| active.rule.fault == fault && names(&active.rule.file, path))
    }

    fn concerned<'a>(&'a self, request: &Request<'_>) -> Vec<Concerned<'a>> {
        self.active.iter().filter_map(|active| active.concerned(request)).collect()
    }

    fn fire(&self, active: &Active, path: &str, range: &Range<u64>) -> bool {
        if !active.spend() {
            return false;
        }
        let mut log = self.log.lock();
        if log.len() < LOG_MAX {
            let (offset, length) = (range.start, range.end - range.start);
            log.push(Fired { rule: active.number, path: path.to_owned(), offset, length });
        }
        true
    }

    /// An fsync or a fallocate.
    pub(crate) fn refuse(&self, request: &Request<'_>) -> io::Result<()> {
        for Concerned { active, range, .. } in self.concerned(request) {
            if let Some(errno) = errno_of(active.rule.fault)
                && self.fire(active, request.path, &range)
            {
                return Err(failed(errno));
            }
        }
        Ok(())
    }

    /// Writes, as the rules say.
    pub(crate) fn write(&self, contents: &Contents, request: &Request<'_>, data: &[u8]) -> io::Result<Written> {
        let path = request.path;
        let offset = request.range.start;
        let concerned = self.concerned(request);
        for Concerned { active, range, .. } in &concerned {
            if let Some(errno) = errno_of(active.rule.fault)
                && self.fire(active, path, range)
            {
                return Err(failed(errno));
            }
        }
        let state = &mut *contents.state.write();
        let mut write = Write { contents, offset, bytes: data.to_vec(), pieces: Vec::new(), veils: Vec::new() };
        for Concerned { active, range, .. } in &concerned {
            if active.rule.fault == Fault::ShortWrite {
                let length = shortened(write.bytes.len() as u64, active.rule.parameter("bytes"));
                if length < write.bytes.len() as u64 && self.fire(active, path, range) {
                    write.bytes.truncate(length as usize);
                }
            }
        }
        let length = write.bytes.len();
        write.pieces.push((offset, 0..length));
        let end = offset + length as u64;
        let grows = end > state.size;
        let mut size = state.size.max(end);
        let mut hidden = None;
        let mut delay = None;
        for Concerned { active, range, mut random } in concerned {
            let range = range.start..range.end.min(end);
            if range.is_empty() {
                continue;
            }
            let rule = &active.rule;
            let until = || Instant::now() + Duration::from_millis(rule.parameter("ms") as u64);
            match rule.fault {
                Fault::WrongSize if grows => {
                    let wrong = end.saturating_add_signed(rule.parameter("by")).max(state.size);
                    if wrong != size && self.fire(active, path, &range) {
                        size = wrong;
                    }
                }
                Fault::DataBeforeSize if grows && self.fire(active, path, &range) => hidden = Some((state.size, until())),
                Fault::SizeBeforeData if grows && self.fire(active, path, &range) => {
                    delay = Some(Duration::from_millis(rule.parameter("ms") as u64));
                }
                Fault::SwapBlocks => {
                    let block_bytes = rule.parameter("block") as u64;
                    let block = range.start / block_bytes * block_bytes;
                    let other = if block >= block_bytes { block - block_bytes } else { block + block_bytes };
                    state.swaps.push(Swap { rule: Arc::clone(active), blocks: (block, other), block_bytes });
                }
                _ => {
                    if let Some(change) = write.change(active, &range, &mut random)?
                        && self.fire(active, path, &change.range)
                    {
                        write.apply(change, until());
                    }
                }
            }
        }
        if self.has(Fault::StaleRead, path) {
            contents.remember(state, &(offset..end))?;
        }
        let Write { bytes, pieces, veils, .. } = write;
        state.size = size;
        if let Some(hidden) = hidden {
            state.hidden = Some(hidden);
        }
        if let Some(delay) = delay {
            let pieces = pieces.into_iter().map(|(to, from)| (to, bytes[from].to_vec())).collect();
            return Ok(Written::Later(delay, Deferred { reported: length as u64, pieces }));
        }
        for (to, from) in pieces {
            contents.store(state, to, &bytes[from])?;
        }
        for (range, until, seen) in veils {
            state.veil(range, until, seen);
        }
        Ok(Written::Now(length as u64))
    }

    /// Reads, as the rules say. Fewer bytes than asked for where the file ends.
    pub(crate) fn read(&self, contents: &Contents, request: &Request<'_>) -> io::Result<Vec<u8>> {
        let Range { start: offset, end } = request.range;
        self.swap(contents, request.path, Some(&request.range))?;
        let state = contents.state.read();
        let mut bytes = contents.read(&state, offset, end - offset)?;
        for Concerned { active, range, mut random } in self.concerned(request) {
            let rule = &active.rule;
            if let Some(errno) = errno_of(rule.fault) {
                let what = (request.io == Io::Cached).then(|| (hash_text(request.path), request.range.start));
                let before = active.failed.lock().take();
                if what.is_some() && before == what {
                    return Err(failed(errno));
                }
                if self.fire(active, request.path, &range) {
                    *active.failed.lock() = what;
                    return Err(failed(errno));
                }
                continue;
            }
            let range = range.start..range.end.min(offset + bytes.len() as u64);
            if range.is_empty() {
                continue;
            }
            let place = (range.start - offset) as usize..(range.end - offset) as usize;
            match rule.fault {
                Fault::ShortRead => {
                    let length = shortened(bytes.len() as u64, rule.parameter("bytes"));
                    if length < bytes.len() as u64 && self.fire(active, request.path, &range) {
                        bytes.truncate(length as usize);
                    }
                }
                Fault::StaleRead => {
                    let mut earlier = bytes[place.clone()].to_vec();
                    state.recall(range.start, &mut earlier);
                    if earlier != bytes[place.clone()] && self.fire(active, request.path, &range) {
                        bytes[place].copy_from_slice(&earlier);
                    }
                }
                Fault::StaleDisk => {
                    for hole in contents.holes(&state, &range) {
                        let sectors = whole_sectors(&hole);
                        if !sectors.is_empty() && self.fire(active, request.path, &sectors) {
                            let place = (sectors.start - offset) as usize..(sectors.end - offset) as usize;
                            stale_disk().fill(sectors.start, &mut bytes[place]);
                        }
                    }
                }
                Fault::FlipBit | Fault::CorruptDirectReads | Fault::CorruptCachedReads
                    if self.fire(active, request.path, &range) =>
                {
                    flip(&mut bytes[place], rule.parameter("bits"), &mut random);
                }
                _ => {}
            }
        }
        Ok(bytes)
    }

    /// Exchanges blocks that a read would see, or all.
    fn swap(&self, contents: &Contents, path: &str, range: Option<&Range<u64>>) -> io::Result<()> {
        let due = |swap: &Swap| range.is_none_or(|range| swap.touches(range));
        if !contents.state.read().swaps.iter().any(due) {
            return Ok(());
        }
        let state = &mut *contents.state.write();
        let (due, rest) = std::mem::take(&mut state.swaps).into_iter().partition(due);
        state.swaps = rest;
        for Swap { rule, blocks: (a, b), block_bytes } in due {
            // A last block that is not whole has no place in a hole's middle; what is behind the end is nobody's.
            let length = block_bytes.min(state.size.saturating_sub(a.max(b)));
            let (first, second) = (contents.stored(a..a + length)?, contents.stored(b..b + length)?);
            if first != second && self.fire(&rule, path, &(a..a + length)) {
                contents.store(state, a, &second)?;
                contents.store(state, b, &first)?;
            }
        }
        Ok(())
    }

    /// What mounting again does to one file.
    pub(crate) fn remount(&self, contents: &Contents, path: &str) -> io::Result<()> {
        self.swap(contents, path, None)?;
        let state = &mut *contents.state.write();
        let request = Request { path, operation: Operation::Remount, io: Io::Cached, range: 0..state.size };
        for Concerned { active, range, mut random } in self.concerned(&request) {
            if !range.is_empty() && self.fire(active, path, &range) {
                for _ in 0..active.rule.parameter("bits") {
                    let at = range.start + random.below(range.end - range.start);
                    let mut byte = contents.stored(at..at + 1)?;
                    flip(&mut byte, 1, &mut random);
                    contents.store(state, at, &byte)?;
                }
            }
        }
        Ok(())
    }
}

fn errno_of(fault: Fault) -> Option<i32> {
    match fault {
        Fault::EioOnce | Fault::EioFsync => Some(libc::EIO),
        Fault::Eintr => Some(libc::EINTR),
        Fault::Enospc => Some(libc::ENOSPC),
        _ => None,
    }
}
