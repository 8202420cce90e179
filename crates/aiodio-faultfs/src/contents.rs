//! What a file holds: its bytes, and what of them readers must not see yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use crate::rule::Active;

/// Granularity of what is remembered for stale reads.
const REMEMBERED: u64 = 4096;

/// A file's contents. The bytes lie in a nameless file in memory, which has holes where nothing was written.
#[derive(Debug)]
pub(crate) struct Contents {
    memory: File,
    pub(crate) state: RwLock<State>,
}

/// What can change, besides the bytes.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// In bytes. The memory may be longer or shorter: bytes behind its end are zeros.
    pub(crate) size: u64,
    /// Ranges that do not overlap.
    veils: Vec<Veil>,
    /// Another size is seen until a moment.
    pub(crate) hidden: Option<(u64, Instant)>,
    pub(crate) swaps: Vec<Swap>,
    /// By number of the piece: what was there before its last write, while somebody may want it.
    before: BTreeMap<u64, Vec<u8>>,
}

/// Until a moment, readers see something else in a range.
#[derive(Debug)]
struct Veil {
    range: Range<u64>,
    until: Instant,
    /// `None` is zeros.
    seen: Option<Vec<u8>>,
}

/// Two blocks that will change places before either is read.
#[derive(Debug)]
pub(crate) struct Swap {
    pub(crate) rule: Arc<Active>,
    /// File offsets of the blocks: the one written, and the other.
    pub(crate) blocks: (u64, u64),
    pub(crate) block_bytes: u64,
}

impl Swap {
    pub(crate) fn touches(&self, range: &Range<u64>) -> bool {
        [self.blocks.0, self.blocks.1].iter().any(|block| *block < range.end && range.start < block + self.block_bytes)
    }
}

impl Contents {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a NUL-terminated name.
        let fd = unsafe { libc::memfd_create(c"aiodio-faultfs".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        let memory = unsafe { File::from_raw_fd(fd) };
        Ok(Self { memory, state: RwLock::default() })
    }

    /// Bytes of memory that it takes.
    pub(crate) fn allocated(&self) -> u64 {
        self.memory.metadata().map_or(0, |metadata| metadata.blocks() * 512)
    }

    /// The bytes as they are stored.
    pub(crate) fn stored(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let mut got = 0;
        while got < bytes.len() {
            match self.memory.read_at(&mut bytes[got..], range.start + got as u64) {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    /// The bytes as readers see them now; fewer where the file ends.
    pub(crate) fn read(&self, state: &State, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let now = Instant::now();
        let end = state.size_seen(now).min(offset.saturating_add(length));
        if offset >= end {
            return Ok(Vec::new());
        }
        let mut bytes = self.stored(offset..end)?;
        for veil in state.veils.iter().filter(|veil| veil.until > now) {
            let (start, end) = (veil.range.start.max(offset), veil.range.end.min(end));
            if start < end {
                let target = &mut bytes[(start - offset) as usize..(end - offset) as usize];
                match &veil.seen {
                    Some(seen) => {
                        let from = (start - veil.range.start) as usize;
                        target.copy_from_slice(&seen[from..from + target.len()]);
                    }
                    None => target.fill(0),
                }
            }
        }
        Ok(bytes)
    }

    /// Stores bytes; they are seen at once, and the size is not changed.
    pub(crate) fn store(&self, state: &mut State, offset: u64, bytes: &[u8]) -> io::Result<()> {
        state.unveil(offset..offset + bytes.len() as u64);
        self.memory.write_all_at(bytes, offset)
    }

    /// Remembers what is in a range, for stale reads.
    pub(crate) fn remember(&self, state: &mut State, range: &Range<u64>) -> io::Result<()> {
        for piece in range.start / REMEMBERED..range.end.div_ceil(REMEMBERED) {
            let bytes = self.stored(piece * REMEMBERED..(piece + 1) * REMEMBERED)?;
            state.before.insert(piece, bytes);
        }
        Ok(())
    }

    /// Makes a range a hole.
    pub(crate) fn punch(&self, state: &mut State, range: Range<u64>) -> io::Result<()> {
        state.unveil(range.clone());
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let length = i64::try_from(range.end - range.start).unwrap_or(i64::MAX);
        // SAFETY: a request about an open file.
        if unsafe { libc::fallocate64(self.memory.as_raw_fd(), mode, range.start as i64, length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Sets the size; what is behind it is gone.
    pub(crate) fn truncate(&self, state: &mut State, size: u64) -> io::Result<()> {
        // Whatever lies behind the end now is none of the file, not even when it grows.
        self.memory.set_len(size.min(state.size))?;
        state.unveil(size..u64::MAX);
        state.before.retain(|piece, _| (piece + 1) * REMEMBERED <= size);
        state.hidden = None;
        state.size = size;
        Ok(())
    }

    /// `SEEK_DATA` or `SEEK_HOLE`.
    pub(crate) fn seek(&self, state: &State, offset: u64, whence: i32) -> io::Result<u64> {
        let no_such = || io::Error::from_raw_os_error(libc::ENXIO);
        let size = state.size_seen(Instant::now());
        if offset >= size {
            return Err(no_such());
        }
        // SAFETY: a request about an open file; its position is used by nobody.
        let found = unsafe { libc::lseek64(self.memory.as_raw_fd(), offset as i64, whence) };
        match (u64::try_from(found), whence) {
            (Ok(found), libc::SEEK_HOLE) => Ok(found.min(size)),
            (Ok(found), _) if found < size => Ok(found),
            // Behind the memory's end is a hole.
            (Err(_), libc::SEEK_HOLE) => Ok(offset),
            _ => Err(no_such()),
        }
    }

    /// The holes in a range.
    pub(crate) fn holes(&self, state: &State, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Ok(hole) = self.seek(state, at, libc::SEEK_HOLE) else { break };
            let data = self.seek(state, hole, libc::SEEK_DATA).unwrap_or(range.end).min(range.end);
            if hole < data {
                holes.push(hole..data);
            }
            at = data.max(hole).max(at + 1);
        }
        holes
    }
}

impl State {
    /// The size that is seen.
    pub(crate) fn size_seen(&self, now: Instant) -> u64 {
        match self.hidden {
            Some((size, until)) if until > now => size.min(self.size),
            _ => self.size,
        }
    }

    /// Lays a veil over a range: old bytes, or zeros.
    pub(crate) fn veil(&mut self, range: Range<u64>, until: Instant, seen: Option<Vec<u8>>) {
        let now = Instant::now();
        self.veils.retain(|veil| veil.until > now);
        self.unveil(range.clone());
        self.veils.push(Veil { range, until, seen });
    }

    /// Takes the veils off a range.
    fn unveil(&mut self, range: Range<u64>) {
        if self.veils.iter().all(|veil| veil.range.end <= range.start || range.end <= veil.range.start) {
            return;
        }
        for veil in std::mem::take(&mut self.veils) {
            for part in [veil.range.start..veil.range.end.min(range.start), veil.range.start.max(range.end)..veil.range.end] {
                if part.start < part.end {
                    let from = (part.start - veil.range.start) as usize;
                    let length = (part.end - part.start) as usize;
                    let seen = veil.seen.as_ref().map(|seen| seen[from..from + length].to_vec());
                    self.veils.push(Veil { range: part, until: veil.until, seen });
                }
            }
        }
    }

    /// Puts what was there before the last write into `bytes`, which were read at `offset`.
    pub(crate) fn recall(&self, offset: u64, bytes: &mut [u8]) {
        let end = offset + bytes.len() as u64;
        for (piece, before) in self.before.range(offset / REMEMBERED..end.div_ceil(REMEMBERED)) {
            let at = piece * REMEMBERED;
            let (start, stop) = (at.max(offset), (at + REMEMBERED).min(end));
            bytes[(start - offset) as usize..(stop - offset) as usize]
                .copy_from_slice(&before[(start - at) as usize..(stop - at) as usize]);
        }
    }

    /// Forgets what only rules want.
    pub(crate) fn forget(&mut self) {
        self.swaps.clear();
        self.before.clear();
    }
}
