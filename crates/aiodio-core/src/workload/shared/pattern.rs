//! What the bytes are that a workload writes: stamps, or one repeated byte as LTP's programs have it.

use super::finding::{Finding, Verdict};
use crate::oracle::Stamped;
use crate::stamp::{Key, SECTOR_BYTES};
use crate::verify::{BadRange, Kind, Outcome, check_memory};

/// Bad ranges described in one comparison; all are counted.
const RANGES_MAX: usize = 4;

/// Bytes at either end of a sector that [`spoil_sectors`] changes.
const SPOILT_BYTES: usize = 8;

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

    /// Whether memory that was read from byte `offset` (a multiple of 512) of the file is right.
    pub fn check(self, offset: u64, memory: &[u8]) -> Verdict {
        let found = match self {
            Self::Stamps(key) => check_memory(&Stamped { key, offset: 0, bytes: u64::MAX }, offset, memory, RANGES_MAX),
            Self::Byte(byte) => {
                let Some(first) = memory.iter().position(|found| *found != byte) else { return Ok(()) };
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
                Outcome { sectors_bad: sectors_bad as u64, ranges: vec![range], ranges_total: 1, ..Outcome::default() }
            }
        };
        if found.sectors_bad == 0 { Ok(()) } else { Err(Box::new(Finding::wrong_data(offset, memory.len(), found))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_sectors(count: usize) -> String {
        format!("{count} sectors read are not what was written")
    }

    #[test]
    fn what_is_filled_is_right_and_what_is_spoilt_is_wrong_in_every_sector() {
        let key = Key { seed: 5, file: 1, generation: 258 };
        for bytes in [1, 8, 511, 512, 513, 4096, 8191] {
            let mut memory = vec![0; bytes];
            for pattern in [Pattern::of(key, false), Pattern::of(key, true)] {
                pattern.fill(1024, &mut memory);
                assert!(pattern.check(1024, &memory).is_ok());
                pattern.spoil(&mut memory);
                let found = pattern.check(1024, &memory).expect_err("spoilt");
                assert_eq!(found.detail, wrong_sectors(bytes.div_ceil(512)), "{bytes} bytes");
            }
        }
    }

    #[test]
    fn only_stamps_know_their_place_and_time() {
        let key = Key { seed: 5, file: 1, generation: 2 };
        let mut memory = vec![0; 4096];
        for (pattern, blind) in [(Pattern::of(key, false), false), (Pattern::of(key, true), true)] {
            pattern.fill(4096, &mut memory);
            assert_eq!(pattern.check(8192, &memory).is_ok(), blind);
        }
        Pattern::Stamps(key).fill(0, &mut memory);
        let later = Pattern::Stamps(Key { generation: 3, ..key });
        assert_eq!(later.check(0, &memory).expect_err("stale").ranges[0].kind, Kind::Stale);
        memory.fill(9);
        memory[700] = 8;
        let found = Pattern::Byte(9).check(512, &memory).expect_err("wrong");
        let range = &found.ranges[0];
        assert_eq!((found.detail, range.offset, range.differing_bits), (wrong_sectors(1), 512 + 700, 1));
    }
}
