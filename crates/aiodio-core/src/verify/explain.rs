//! What bad bytes are: compares a sector with what it should be and gives the difference a name.

use std::ops::Range;

use serde::{Serialize, Serializer};

use crate::error::Errno;
use crate::json;
use crate::oracle::Content;
use crate::stamp::{Key, SECTOR, STALE_DISK_FILE, Stamp};

/// What bad bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "BadKind"))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing but zeros: an unwritten extent, or a write that was lost in a hole.
    Zeros,
    /// A whole stamp of this file and run that belongs at another offset.
    Misplaced,
    /// A whole stamp of this place with a generation that it may not have any more (or not yet).
    Stale,
    /// A whole stamp of [`STALE_DISK_FILE`], whatever the run: a block that was free when the test began, exposed.
    StaleDisk,
    /// A whole stamp of another file of this run.
    OtherFile,
    /// A whole stamp of another run: an old block of the disk.
    OtherRun,
    /// One end of the sector is as expected, the other is not.
    Torn,
    /// Mostly as expected, with some bytes changed.
    Mutated,
    /// Nothing recognisable.
    Garbage,
    /// The file ends before.
    Missing,
    /// The file should have ended before.
    BeyondEnd,
    /// The kernel reports an error for these bytes.
    ReadError,
    /// The kernel reported an error for these bytes and gave them when they were asked for again, in smaller pieces.
    ReadErrorOnce,
}

/// What the foreign end of a torn sector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum TornWith {
    /// Zeros.
    Zeros,
    /// Another generation of the same place.
    Stale,
    /// What was on the disk before the test.
    StaleDisk,
    /// The same file's data of another place.
    Misplaced,
    /// Anything else.
    Other,
}

/// Bytes that a range shows, from the first difference's multiple of 16 on.
const SHOWN_BYTES: usize = 32;

/// Neighbouring sectors that are wrong in the same way. Offsets and lengths in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct BadRange {
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// How it is wrong.
    pub kind: Kind,
    /// Where the data of the range's first sector belongs, when its stamp says so.
    pub from_offset: Option<u64>,
    /// The generation of the stamps found.
    pub generation: Option<u32>,
    /// The file of the stamps found.
    #[serde(rename = "fileId")]
    pub file: Option<u32>,
    /// The run of the stamps found, for [`Kind::OtherRun`].
    #[serde(serialize_with = "json::write_seed_if_any")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint", optional))]
    pub seed: Option<u64>,
    /// How many bytes differ from the expected ones.
    #[serde(skip_serializing_if = "nothing")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<u64>"))]
    pub differing_bytes: u64,
    /// How many bits do.
    #[serde(skip_serializing_if = "nothing")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<u64>"))]
    pub differing_bits: u64,
    /// The first differing byte's offset in the file; none when nothing was read.
    pub first_difference: Option<u64>,
    /// For [`Kind::Torn`].
    pub torn_with: Option<TornWith>,
    /// For [`Kind::ReadError`].
    pub errno: Option<Errno>,
    /// What would have been right, oldest generation first; empty where it is not about content.
    #[serde(serialize_with = "right")]
    #[cfg_attr(feature = "typescript", ts(type = "Array<number | \"zeros\">"))]
    pub right: Vec<Content>,
    /// Offset in the file of the bytes shown, a multiple of 16 unless the range starts behind it.
    pub shown_at: u64,
    /// Up to 32 bytes around the first difference.
    #[serde(serialize_with = "json::hex")]
    #[cfg_attr(feature = "typescript", ts(type = "Buffer"))]
    pub found: Vec<u8>,
    /// What they should be; where several contents are right, the newest.
    #[serde(serialize_with = "json::hex")]
    #[cfg_attr(feature = "typescript", ts(type = "Buffer"))]
    pub expected: Vec<u8>,
}

/// Where nothing was read nothing differs, and where something was something does.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn nothing(differences: &u64) -> bool {
    *differences == 0
}

/// Generations, and "zeros".
fn right<S: Serializer>(right: &[Content], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Right {
        Generation(u32),
        Zeros(&'static str),
    }
    serializer.collect_seq(right.iter().filter_map(|content| match content {
        Content::Stamp(generation) | Content::Moved { generation, .. } => Some(Right::Generation(*generation)),
        Content::Zeros => Some(Right::Zeros("zeros")),
        Content::Anything => None,
    }))
}

impl BadRange {
    pub(crate) fn new(offset: u64, bytes: u64, kind: Kind) -> Self {
        Self {
            offset,
            bytes,
            kind,
            from_offset: None,
            generation: None,
            file: None,
            seed: None,
            differing_bytes: 0,
            differing_bits: 0,
            first_difference: None,
            torn_with: None,
            errno: None,
            right: Vec::new(),
            shown_at: offset,
            found: Vec::new(),
            expected: Vec::new(),
        }
    }

    /// Whether `next` is the same fault going on.
    pub(super) fn continues_with(&self, next: &Self) -> bool {
        let displacement = |range: &Self| range.from_offset.map(|from| from.wrapping_sub(range.offset));
        self.offset + self.bytes == next.offset
            && self.kind == next.kind
            && self.torn_with == next.torn_with
            && self.errno == next.errno
            && self.generation == next.generation
            && self.file == next.file
            && self.seed == next.seed
            && self.right == next.right
            && displacement(self) == displacement(next)
    }
}

/// A sector counts as partly right when so many bytes at one of its ends are.
const TORN_BYTES_MIN: usize = 16;

/// Says what a sector, or a piece of one, is that is none of `contents`.
pub(super) fn explain(key: Key, contents: &[Content], offset: u64, found: &[u8]) -> BadRange {
    let mut range = BadRange::new(offset, found.len() as u64, Kind::Garbage);
    range.right = contents.to_vec();
    let newest = contents.last().copied().unwrap_or(Content::Zeros);
    let expected = match newest {
        Content::Stamp(generation) => Key { generation, ..key }.at(offset / SECTOR),
        // Moved by less than whole sectors, no stamp is in its place: the difference is named as far as can be.
        Content::Moved { generation, by } => Key { generation, ..key }.at(offset.wrapping_add_signed(-by) / SECTOR),
        Content::Zeros | Content::Anything => key.at(offset / SECTOR),
    };
    let right = bytes_of(key, newest, offset, found.len());
    let differs = |at: &usize| found[*at] != right[*at];
    let Some(first) = (0..found.len()).find(differs) else { return range };
    let last = (0..found.len()).rev().find(differs).unwrap_or(first);
    let at = first / 16 * 16;
    let shown = at..found.len().min(at + SHOWN_BYTES);
    range.shown_at = offset + at as u64;
    range.found = found[shown.clone()].to_vec();
    range.expected = right[shown].to_vec();
    range.first_difference = Some(offset + first as u64);
    for (found, right) in found.iter().zip(&right) {
        range.differing_bytes += u64::from(found != right);
        range.differing_bits += u64::from((found ^ right).count_ones());
    }

    if found.iter().all(|byte| *byte == 0) {
        range.kind = Kind::Zeros;
    } else if let Some(stamp) = whole_stamp(offset, found) {
        range.kind = relation(expected, stamp);
        range.generation = Some(stamp.generation);
        range.file = Some(stamp.file);
        range.seed = Some(stamp.seed);
        if matches!(range.kind, Kind::Misplaced | Kind::OtherFile) {
            range.from_offset = Some(stamp.sector.wrapping_mul(SECTOR));
        }
    } else {
        let foreign = first..last + 1;
        if let Some((with, stamp)) = torn_with(expected, newest, (offset % SECTOR) as usize, found, foreign, range.differing_bytes)
        {
            range.kind = Kind::Torn;
            range.torn_with = Some(with);
            range.generation = stamp.map(|stamp| stamp.generation);
            range.file = stamp.map(|stamp| stamp.file);
        } else if range.differing_bytes * 2 <= found.len() as u64 {
            range.kind = Kind::Mutated;
        }
    }
    range
}

/// The stamp that these bytes are whole; of a piece, the stamp that says at its end of the sector that they are a part of it.
fn whole_stamp(offset: u64, found: &[u8]) -> Option<Stamp> {
    if let Some(sector) = found.first_chunk() {
        return Stamp::read(sector);
    }
    let at = (offset % SECTOR) as usize;
    let stamp = if at == 0 { Stamp::read_header(found)? } else { Stamp::read_trailer(found)? };
    (stamp.bytes()[at..at + found.len()] == *found).then_some(stamp)
}

fn relation(expected: Stamp, found: Stamp) -> Kind {
    if found.file == STALE_DISK_FILE && expected.file != STALE_DISK_FILE {
        Kind::StaleDisk
    } else if found.seed != expected.seed {
        Kind::OtherRun
    } else if found.file != expected.file {
        Kind::OtherFile
    } else if found.sector != expected.sector {
        Kind::Misplaced
    } else {
        Kind::Stale
    }
}

/// What the part of a sector is that replaces the expected bytes at one of its ends, and which stamp it comes from if that can be
/// told: a stamp names itself at both ends, so the foreign start is recognised by its header and the foreign end by its trailer.
/// `found` starts `at` bytes into the sector.
fn torn_with(
    expected: Stamp,
    right: Content,
    at: usize,
    found: &[u8],
    foreign: Range<usize>,
    differing_bytes: u64,
) -> Option<(TornWith, Option<Stamp>)> {
    // A few wrong bytes, in a header above all, would make anything out of it.
    if foreign.len() < TORN_BYTES_MIN {
        return None;
    }
    // Up to either end of the sector: the bytes between that end and the difference may be right by chance, or because the stamps
    // have their first fields in common.
    let (head, tail) = (0..foreign.end, foreign.start..found.len());
    let zeros = |part: &Range<usize>| found[part.clone()].iter().all(|byte| *byte == 0);
    if right != Content::Zeros && (zeros(&head) || zeros(&tail)) {
        return Some((TornWith::Zeros, None));
    }
    let header = if at == 0 { Stamp::read_header(found).map(|stamp| (stamp, &head)) } else { None };
    let trailer = Stamp::read_trailer(found).map(|stamp| (stamp, &tail));
    for (stamp, part) in [header, trailer].into_iter().flatten() {
        if stamp != expected && stamp.bytes()[at..].get(part.clone()) == Some(&found[part.clone()]) {
            let with = match relation(expected, stamp) {
                Kind::Stale => TornWith::Stale,
                Kind::StaleDisk => TornWith::StaleDisk,
                Kind::Misplaced => TornWith::Misplaced,
                _ => TornWith::Other,
            };
            return Some((with, Some(stamp)));
        }
    }
    let head_is_right = foreign.start >= TORN_BYTES_MIN;
    let tail_is_right = found.len() - foreign.end >= TORN_BYTES_MIN;
    // Two unrelated bytes are equal once in 256.
    let unrelated = differing_bytes * 8 >= foreign.len() as u64 * 7;
    (unrelated && head_is_right != tail_is_right).then_some((TornWith::Other, None))
}

/// What a piece of a sector is when it has that content.
pub(super) fn bytes_of(key: Key, content: Content, offset: u64, bytes: usize) -> Vec<u8> {
    let mut right = vec![0; bytes];
    match content {
        Content::Stamp(generation) => Key { generation, ..key }.fill_from(offset, &mut right),
        Content::Moved { generation, by } => Key { generation, ..key }.fill_from(offset.wrapping_add_signed(-by), &mut right),
        Content::Zeros | Content::Anything => {}
    }
    right
}
