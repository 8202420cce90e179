//! What the bytes are that a workload writes: stamps, or one repeated byte as LTP's programs have it.

use serde::Serialize;

use crate::oracle::Stamped;
use crate::stamp::{Key, SECTOR_BYTES};
use crate::verify::{BadRange, Kind, check_memory};

/// Bad ranges described in one comparison; all are counted.
const RANGES_MAX: usize = 4;

/// Bytes at either end of a sector that [`spoil_sectors`] changes.
const SPOILT_BYTES: usize = 8;

/// How memory differs from what it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Sectors that are wrong.
    pub sectors_bad: u64,
    /// The first bad ranges, in offsets of the file.
    pub ranges: Vec<BadRange>,
    /// How many bad ranges there are.
    pub ranges_total: u64,
}

/// Content that memory can be filled with and compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Says run, file, offset and generation.
    Stamps(Key),
    /// LTP's: the same byte everywhere, which looks right at every offset.
    Byte(u8),
}

/// Makes sure that memory which is not read into looks neither like stamps nor like a hole. Both ends of each sector are enough: it
/// is right as a whole or not at all.
pub fn spoil_sectors(memory: &mut [u8]) {
    for sector in memory.chunks_mut(SECTOR_BYTES) {
        let end = sector.len().saturating_sub(SPOILT_BYTES);
        sector[end..].fill(0xfa);
        let start = sector.len().min(SPOILT_BYTES);
        sector[..start].fill(0xfa);
    }
}

impl Pattern {
    /// The pattern of a generation: its stamps, or with `ltp` the byte that LTP's programs number their iterations with.
    pub fn of(key: Key, ltp: bool) -> Self {
        if ltp { Self::Byte(key.generation as u8) } else { Self::Stamps(key) }
    }

    /// For the record: the stamps' generation.
    pub(crate) fn generation(self) -> u32 {
        match self {
            Self::Stamps(key) => key.generation,
            Self::Byte(byte) => u32::from(byte),
        }
    }

    /// Fills memory that will be at byte `offset` (a multiple of 512) of the file.
    pub fn fill(self, offset: u64, memory: &mut [u8]) {
        match self {
            Self::Stamps(key) => key.fill(offset, memory),
            Self::Byte(byte) => memory.fill(byte),
        }
    }

    /// Makes sure that memory which is not read into does not look right.
    pub fn spoil(self, memory: &mut [u8]) {
        match self {
            Self::Stamps(_) => spoil_sectors(memory),
            Self::Byte(byte) => memory.fill(!byte),
        }
    }

    /// What is wrong with memory that was read from byte `offset` (a multiple of 512) of the file.
    pub fn check(self, offset: u64, memory: &[u8]) -> Option<Comparison> {
        match self {
            Self::Stamps(key) => {
                let found = check_memory(&Stamped { key, offset: 0, bytes: u64::MAX }, offset, memory, RANGES_MAX);
                let wrong = Comparison { sectors_bad: found.sectors_bad, ranges: found.ranges, ranges_total: found.ranges_total };
                (wrong.sectors_bad > 0).then_some(wrong)
            }
            Self::Byte(byte) => {
                let first = memory.iter().position(|found| *found != byte)?;
                let wrong = memory.iter().filter(|found| **found != byte);
                let (differing_bytes, differing_bits) =
                    wrong.fold((0, 0), |(bytes, bits), found| (bytes + 1, bits + u64::from((found ^ byte).count_ones())));
                let sectors_bad = memory.chunks(SECTOR_BYTES).filter(|sector| sector.iter().any(|found| *found != byte)).count();
                let shown = &memory[first..memory.len().min(first + 16)];
                let range = BadRange {
                    differing_bytes,
                    differing_bits,
                    first_difference: Some(offset + first as u64),
                    found: shown.to_vec(),
                    expected: vec![byte; shown.len()],
                    ..BadRange::new(offset + first as u64, (memory.len() - first) as u64, Kind::Mutated)
                };
                Some(Comparison { sectors_bad: sectors_bad as u64, ranges: vec![range], ranges_total: 1 })
            }
        }
    }
}

/// What went wrong with one transfer.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(as = "TransferFault", rename = "TransferFault"))]
#[serde(into = "TransferFault")]
pub enum Fault {
    /// The kernel reported an error, or transferred too little.
    Failed(crate::error::Error),
    /// What was read is not what was written.
    Wrong(Comparison),
}

/// [`Fault`] as JSON has it: `error`, or else the data.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
struct TransferFault {
    /// The kernel reported an error, or transferred too little.
    error: Option<crate::error::Error>,
    #[serde(flatten)]
    found: Comparison,
}

impl From<Fault> for TransferFault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Failed(error) => Self { error: Some(error), found: Comparison::default() },
            Fault::Wrong(found) => Self { error: None, found },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_is_right_and_what_is_spoilt_is_wrong_in_every_sector() {
        let key = Key { seed: 5, file: 1, generation: 258 };
        for bytes in [1, 8, 511, 512, 513, 4096, 8191] {
            let mut memory = vec![0; bytes];
            for pattern in [Pattern::of(key, false), Pattern::of(key, true)] {
                pattern.fill(1024, &mut memory);
                assert_eq!(pattern.check(1024, &memory), None);
                pattern.spoil(&mut memory);
                let found = pattern.check(1024, &memory).expect("spoilt");
                assert_eq!(found.sectors_bad, bytes.div_ceil(512) as u64, "{bytes} bytes");
            }
        }
    }

    #[test]
    fn only_stamps_know_their_place_and_time() {
        let key = Key { seed: 5, file: 1, generation: 2 };
        let mut memory = vec![0; 4096];
        for (pattern, blind) in [(Pattern::of(key, false), false), (Pattern::of(key, true), true)] {
            pattern.fill(4096, &mut memory);
            assert_eq!(pattern.check(8192, &memory).is_none(), blind);
        }
        Pattern::Stamps(key).fill(0, &mut memory);
        let later = Pattern::Stamps(Key { generation: 3, ..key });
        assert_eq!(later.check(0, &memory).expect("stale").ranges[0].kind, Kind::Stale);
        memory.fill(9);
        memory[700] = 8;
        let found = Pattern::Byte(9).check(512, &memory).expect("wrong");
        assert_eq!((found.sectors_bad, found.ranges[0].offset, found.ranges[0].differing_bits), (1, 512 + 700, 1));
    }
}
