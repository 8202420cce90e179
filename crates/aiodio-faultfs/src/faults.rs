//! Applies the rules to requests.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aiodio_core::stamp::{self, SECTOR, SECTOR_BYTES};
use parking_lot::Mutex;

use crate::contents::{Contents, Swap};
use crate::random::{Random, hash, hash_text};
use crate::rule::{Fault, Io, Operation, Rule, names};

/// Descriptions of faults that are kept; all are counted.
const LOG_MAX: usize = 4096;

/// Where the number of a synthetic other file starts, so that it is none of the test's own.
const OTHER_FILE_DISTANCE: u32 = 1 << 20;

/// A fault that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A rule in force.
#[derive(Debug)]
pub(crate) struct Active {
    number: usize,
    rule: Rule,
    fired: Mutex<u64>,
    /// How often equal requests have come, by their hash: their chances must differ.
    seen: Mutex<HashMap<u64, u64>>,
    /// The last cached read that failed, by path and offset: the next one there fails too, since the kernel's readahead may have kept
    /// the first error for itself and read once more.
    failed: Mutex<Option<(u64, u64)>>,
}

/// The rules in force, and what they have done.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    active: Vec<Arc<Active>>,
    log: Mutex<Vec<Fired>>,
}

/// What somebody asks of a file.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) path: &'a str,
    pub(crate) operation: Operation,
    pub(crate) io: Io,
    pub(crate) range: Range<u64>,
}

/// A rule that concerns a request.
struct Concerned<'a> {
    active: &'a Arc<Active>,
    /// The file's bytes that may be touched.
    range: Range<u64>,
    random: Random,
}

/// How a write ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// So many bytes are reported.
    Now(u64),
    /// The rest happens and is reported after that time.
    Later(Duration, Deferred),
}

/// What is left to be done of a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Deferred {
    pub(crate) reported: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Deferred {
    pub(crate) fn finish(self, contents: &Contents) -> io::Result<u64> {
        let state = &mut *contents.state.write();
        for (offset, bytes) in self.pieces {
            contents.store(state, offset, &bytes)?;
        }
        Ok(self.reported)
    }
}

impl Active {
    fn concerned<'a>(self: &'a Arc<Self>, request: &Request<'_>) -> Option<Concerned<'a>> {
        let rule = &self.rule;
        // An fsync has no range.
        let range = match &request.range {
            whole if whole.is_empty() => whole.clone(),
            part => rule.range.start.max(part.start)..rule.range.end.min(part.end),
        };
        let fits = rule.operation == request.operation
            && rule.io.is_none_or(|io| io == request.io)
            && (!range.is_empty() || request.range.is_empty())
            && names(&rule.file, request.path);
        if !fits {
            return None;
        }
        // A test's directory has another name each time.
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let what = hash(&[
            rule.seed,
            hash_text(name),
            request.operation as u64,
            request.io as u64,
            request.range.start,
            request.range.end,
        ]);
        let mut nth = 0;
        if rule.probability < 1000 {
            let mut seen = self.seen.lock();
            let count = seen.entry(what).or_default();
            nth = *count;
            *count += 1;
        }
        let mut random = Random::new(hash(&[what, nth]));
        (random.below(1000) < u64::from(rule.probability)).then_some(Concerned { active: self, range, random })
    }

    /// Whether it may happen once more, which counts as done.
    fn spend(&self) -> bool {
        let mut fired = self.fired.lock();
        let may = self.rule.count.is_none_or(|count| *fired < count);
        if may {
            *fired += 1;
        }
        may
    }
}

fn failed(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let active = rules.into_iter().enumerate();
        let active = active.map(|(number, rule)| Active {
            number,
            rule,
            fired: Mutex::default(),
            seen: Mutex::default(),
            failed: Mutex::default(),
        });
        Self { active: active.map(Arc::new).collect(), log: Mutex::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// How often each rule has fired, and the first of what they did.
    pub(crate) fn fired(&self) -> (Vec<u64>, Vec<Fired>) {
        (self.active.iter().map(|active| *active.fired.lock()).collect(), self.log.lock().clone())
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

/// A length less than `length`, if that is more than 1.
fn shortened(length: u64, bytes: i64) -> u64 {
    let wanted = match bytes {
        0 if length >= 2 * SECTOR => length / 2 / SECTOR * SECTOR,
        0 => length / 2,
        bytes => bytes as u64,
    };
    wanted.clamp(1, length)
}

fn flip(bytes: &mut [u8], bits: i64, random: &mut Random) {
    for _ in 0..bits {
        let bit = random.below(bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}

fn whole_sectors(range: &Range<u64>) -> Range<u64> {
    range.start.next_multiple_of(SECTOR)..range.end / SECTOR * SECTOR
}

/// As a provisioned filesystem's free space is filled.
fn stale_disk() -> stamp::Key {
    stamp::Key { seed: 0, file: stamp::STALE_DISK_FILE, generation: 0 }
}

/// A write before it happens.
struct Write<'a> {
    contents: &'a Contents,
    offset: u64,
    bytes: Vec<u8>,
    /// Where in the file which bytes will be stored.
    pieces: Vec<(u64, Range<usize>)>,
    veils: Vec<(Range<u64>, Instant, Option<Vec<u8>>)>,
}

/// What a fault does to a write.
struct Change {
    range: Range<u64>,
    how: How,
}

enum How {
    Replace(Vec<u8>),
    Omit,
    Move(u64),
    Veil(Option<Vec<u8>>),
}

impl Write<'_> {
    fn place(&self, range: &Range<u64>) -> Range<usize> {
        (range.start - self.offset) as usize..(range.end - self.offset) as usize
    }

    /// What the fault would do; `None` when that would make no difference.
    fn change(&self, active: &Active, range: &Range<u64>, random: &mut Random) -> io::Result<Option<Change>> {
        let rule = &active.rule;
        let new = &self.bytes[self.place(range)];
        let differs = |range: &Range<u64>| {
            self.contents.stored(range.clone()).map(|old| (old != self.bytes[self.place(range)]).then_some(old))
        };
        let change = match rule.fault {
            Fault::DropWrite => differs(range)?.map(|_| (range.clone(), How::Omit)),
            Fault::DelayVisibility => differs(range)?.map(|old| (range.clone(), How::Veil(Some(old)))),
            Fault::ZerosUntil => new.iter().any(|byte| *byte != 0).then(|| (range.clone(), How::Veil(None))),
            Fault::MisdirectWrite => {
                let by = rule.parameter("by");
                let target = range.start.checked_add_signed(by).unwrap_or(range.start + by.unsigned_abs());
                let there = self.contents.stored(target..target + new.len() as u64)?;
                (by != 0 && (there != new || differs(range)?.is_some())).then(|| (range.clone(), How::Move(target)))
            }
            Fault::Tear => {
                let block = rule.parameter("block") as u64;
                let end = range.end.min((range.start / block + 1) * block);
                let whole = end - range.start;
                let cut = match rule.parameter("at") {
                    // Far from the sector's ends: what is left and what is lost can both be recognised.
                    -1 => random.below(whole / SECTOR) * SECTOR + SECTOR / 8 + random.below(SECTOR * 3 / 4),
                    at => at as u64,
                };
                let lost = range.start + cut..end;
                if lost.is_empty() { None } else { differs(&lost)?.map(|_| (lost, How::Omit)) }
            }
            Fault::FlipBit => {
                let mut bytes = new.to_vec();
                flip(&mut bytes, rule.parameter("bits"), random);
                Some((range.clone(), How::Replace(bytes)))
            }
            Fault::MutateInFlight => {
                let half = new.len() / 2;
                let count = (rule.parameter("bytes") as usize).min(new.len() - half);
                let at = half + random.below((new.len() - half - count + 1) as u64) as usize;
                let bytes = new[at..at + count].iter().map(|byte| byte ^ (1 + random.below(255) as u8)).collect();
                let start = range.start + at as u64;
                Some((start..start + count as u64, How::Replace(bytes)))
            }
            Fault::StaleDisk | Fault::OtherFile => {
                let sectors = whole_sectors(range);
                if sectors.is_empty() {
                    None
                } else {
                    let mut bytes = self.bytes[self.place(&sectors)].to_vec();
                    if rule.fault == Fault::StaleDisk {
                        stale_disk().fill(sectors.start, &mut bytes);
                    } else {
                        other_file(sectors.start, &mut bytes);
                    }
                    Some((sectors, How::Replace(bytes)))
                }
            }
            _ => None,
        };
        Ok(change.map(|(range, how)| Change { range, how }))
    }

    fn apply(&mut self, Change { range, how }: Change, until: Instant) {
        let place = self.place(&range);
        match how {
            How::Replace(bytes) => self.bytes[place].copy_from_slice(&bytes),
            How::Omit => self.omit(&place),
            How::Move(target) => {
                self.omit(&place);
                self.pieces.push((target, place));
            }
            How::Veil(seen) => self.veils.push((range, until, seen)),
        }
    }

    /// These bytes are not stored where they belong.
    fn omit(&mut self, place: &Range<usize>) {
        for (to, from) in std::mem::take(&mut self.pieces) {
            let belongs = to == self.offset + from.start as u64;
            if !belongs || from.end <= place.start || place.end <= from.start {
                self.pieces.push((to, from));
                continue;
            }
            for part in [from.start..from.end.min(place.start), from.start.max(place.end)..from.end] {
                if part.start < part.end {
                    self.pieces.push((to + (part.start - from.start) as u64, part));
                }
            }
        }
    }
}

/// Makes sectors those of another file of the same run; where there is no stamp, of a run of its own.
fn other_file(offset: u64, bytes: &mut [u8]) {
    let (sectors, _) = bytes.as_chunks_mut::<SECTOR_BYTES>();
    for (index, sector) in sectors.iter_mut().enumerate() {
        let number = offset / SECTOR + index as u64;
        let own = stamp::Stamp::read(sector).unwrap_or(stamp::Stamp { seed: 0, file: 0, generation: 0, sector: number });
        stamp::Stamp { file: own.file.wrapping_add(OTHER_FILE_DISTANCE), ..own }.write(sector);
    }
}
