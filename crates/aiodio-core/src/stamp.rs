//! What a sector on the disk looks like.
//!
//! Every 512-byte sector that the software writes says which run, file, place and write (generation) it came from, at its start
//! and again at its end, so that the foreign half of a torn sector can be named too. Everything is little-endian on every
//! architecture: a disk written on s390x can be examined on x86.

use serde::Deserialize;

use crate::json;
use crate::random::mix;

/// Bytes covered by one stamp. Direct I/O has no smaller unit on any Linux device.
pub const SECTOR_BYTES: usize = 512;

/// The `file` of stamps that free space is filled with before a test; no file of a test has this number.
pub const STALE_DISK_FILE: u32 = u32::MAX;

/// `SECTOR_BYTES` for arithmetic on file offsets.
pub const SECTOR: u64 = SECTOR_BYTES as u64;

const MAGIC: [u8; 8] = *b"AIODIO1\n";
const HEADER_BYTES: usize = 32;
const TRAILER_AT: usize = 480;
const CRC_AT: usize = 508;
const LANES: usize = 4;
const _: () = assert!((TRAILER_AT - HEADER_BYTES).is_multiple_of(8 * LANES));

/// The identity of one sector's content. On the disk:
///
/// | bytes | content |
/// |---|---|
/// | 0..8 | magic `AIODIO1\n` |
/// | 8..16 | `seed`: the run |
/// | 16..20 | `file` |
/// | 20..24 | `generation` |
/// | 24..32 | `sector`: byte offset in the file / 512 |
/// | 32..480 | payload: four interleaved xorshift64 streams, keyed by the four fields |
/// | 480..488 | `seed` |
/// | 488..496 | `sector` |
/// | 496..500 | `file` |
/// | 500..504 | `generation` |
/// | 504..508 | the magic's first four bytes |
/// | 508..512 | crc32c (Castagnoli) of bytes 0..508 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The run that wrote it.
    pub seed: u64,
    /// The file, unique in the run.
    pub file: u32,
    /// The write operation, or a coarser age, that wrote it.
    pub generation: u32,
    /// Byte offset in the file divided by 512.
    pub sector: u64,
}

/// All sectors of one file in one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "StampKey"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// See [`Stamp::seed`].
    #[serde(deserialize_with = "json::read_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
    /// See [`Stamp::file`].
    #[serde(rename = "fileId")]
    pub file: u32,
    /// See [`Stamp::generation`].
    pub generation: u32,
}

impl Key {
    /// The stamp of sector number `sector`.
    pub fn at(self, sector: u64) -> Stamp {
        Stamp { seed: self.seed, file: self.file, generation: self.generation, sector }
    }

    /// Stamps memory that will be, or should have been, at byte `offset` (a multiple of 512) of the file. A last piece of less than
    /// a sector gets the first bytes of its stamp.
    ///
    /// # Panics
    /// When `offset` is no multiple of 512: the stamps would be another place's.
    pub fn fill(self, offset: u64, memory: &mut [u8]) {
        assert!(offset.is_multiple_of(SECTOR), "stamps begin at a sector, not at byte {offset}");
        let mut sector = offset / SECTOR;
        let (whole, rest) = memory.as_chunks_mut::<SECTOR_BYTES>();
        for bytes in whole {
            self.at(sector).write(bytes);
            sector += 1;
        }
        if !rest.is_empty() {
            let full = self.at(sector).bytes();
            rest.copy_from_slice(&full[..rest.len()]);
        }
    }

    /// The same for any `offset`: memory that begins inside a sector gets the last bytes of its stamp first.
    pub fn fill_from(self, offset: u64, memory: &mut [u8]) {
        let at = (offset % SECTOR) as usize;
        let head = if at == 0 { 0 } else { memory.len().min(SECTOR_BYTES - at) };
        let (head, rest) = memory.split_at_mut(head);
        if !head.is_empty() {
            let full = self.at(offset / SECTOR).bytes();
            head.copy_from_slice(&full[at..at + head.len()]);
        }
        if !rest.is_empty() {
            self.fill(offset + head.len() as u64, rest);
        }
    }
}

impl Stamp {
    /// Bytes 0..32.
    fn header(self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..16].copy_from_slice(&self.seed.to_le_bytes());
        header[16..20].copy_from_slice(&self.file.to_le_bytes());
        header[20..24].copy_from_slice(&self.generation.to_le_bytes());
        header[24..32].copy_from_slice(&self.sector.to_le_bytes());
        header
    }

    /// Writes the whole sector.
    #[inline]
    pub fn write(self, out: &mut [u8; SECTOR_BYTES]) {
        out[..HEADER_BYTES].copy_from_slice(&self.header());
        let key = mix(mix(mix(self.seed) ^ (u64::from(self.file) << 32 | u64::from(self.generation))) ^ self.sector);
        // xorshift64 never leaves 0, so 0 must not be a start.
        let mut lanes = [mix(key) | 1, mix(key ^ 1) | 2, mix(key ^ 2) | 4, mix(key ^ 3) | 8];
        let (payload, _) = out[HEADER_BYTES..TRAILER_AT].as_chunks_mut::<{ 8 * LANES }>();
        for words in payload {
            let (words, _) = words.as_chunks_mut::<8>();
            // Lane by lane, so that the compiler keeps two lanes in an SSE2 register and four in an AVX2 one.
            for lane in 0..LANES {
                lanes[lane] ^= lanes[lane] << 13;
                lanes[lane] ^= lanes[lane] >> 7;
                lanes[lane] ^= lanes[lane] << 17;
                words[lane] = lanes[lane].to_le_bytes();
            }
        }
        out[TRAILER_AT..488].copy_from_slice(&self.seed.to_le_bytes());
        out[488..496].copy_from_slice(&self.sector.to_le_bytes());
        out[496..500].copy_from_slice(&self.file.to_le_bytes());
        out[500..504].copy_from_slice(&self.generation.to_le_bytes());
        out[504..CRC_AT].copy_from_slice(&MAGIC[..4]);
        let crc = crc_fast::crc32_iscsi(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    }

    /// The whole sector, by value.
    pub fn bytes(self) -> [u8; SECTOR_BYTES] {
        let mut out = [0; SECTOR_BYTES];
        self.write(&mut out);
        out
    }

    /// Whether `found` is this stamp: its header is, and the crc over everything holds.
    #[inline]
    pub fn matches(self, found: &[u8; SECTOR_BYTES]) -> bool {
        found[..HEADER_BYTES] == self.header() && crc_holds(found)
    }

    /// The stamp that `found` is a complete and undamaged copy of.
    pub fn read(found: &[u8; SECTOR_BYTES]) -> Option<Self> {
        let stamp = Self::read_header(found)?;
        crc_holds(found).then_some(stamp)
    }

    /// The stamp whose first 32 bytes these are; the rest may be anything.
    pub fn read_header(found: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = found.first_chunk()?;
        (header[..8] == MAGIC).then(|| Self {
            seed: u64_at(header, 8),
            file: u32_at(header, 16),
            generation: u32_at(header, 20),
            sector: u64_at(header, 24),
        })
    }

    /// The stamp whose last 32 bytes these end with; the rest may be anything.
    pub fn read_trailer(found: &[u8]) -> Option<Self> {
        let trailer: &[u8; SECTOR_BYTES - TRAILER_AT] = found.last_chunk()?;
        (trailer[24..28] == MAGIC[..4]).then(|| Self {
            seed: u64_at(trailer, 0),
            sector: u64_at(trailer, 8),
            file: u32_at(trailer, 16),
            generation: u32_at(trailer, 20),
        })
    }
}

/// Whether this processor computes crc32c at memory speed: by carry-less multiplication, or by an instruction of its own.
pub fn checksums_in_hardware() -> bool {
    !crc_fast::get_calculator_target(crc_fast::CrcAlgorithm::Crc32Iscsi).starts_with("software")
}

fn crc_holds(found: &[u8; SECTOR_BYTES]) -> bool {
    crc_fast::crc32_iscsi(&found[..CRC_AT]) == u32_at(found, CRC_AT)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(seed, file, generation, sector)| Stamp {
            seed,
            file,
            generation,
            sector,
        })
    }

    #[test]
    fn the_bytes_of_a_known_stamp_are_the_same_on_every_architecture() {
        let stamp = Stamp { seed: 0x0123_4567_89ab_cdef, file: 7, generation: 3, sector: 0x1122_3344_5566 };
        let bytes = stamp.bytes();
        assert_eq!(&bytes[..32], b"AIODIO1\n\xef\xcd\xab\x89\x67\x45\x23\x01\x07\0\0\0\x03\0\0\0\x66\x55\x44\x33\x22\x11\0\0");
        assert_eq!(u64_at(&bytes, 32), KNOWN_FIRST);
        assert_eq!(u64_at(&bytes, 472), KNOWN_LAST);
        assert_eq!(u32_at(&bytes, CRC_AT), KNOWN_CRC);
    }
    // Computed by an independent implementation.
    const KNOWN_FIRST: u64 = 0xdcc8_d556_c562_6987;
    const KNOWN_LAST: u64 = 0x5e1c_7fd8_b74b_89d9;
    const KNOWN_CRC: u32 = 0xf13f_808c;

    #[test]
    #[should_panic(expected = "stamps begin at a sector, not at byte 700")]
    fn stamps_of_half_a_sector_are_refused_in_any_build() {
        Key { seed: 1, file: 1, generation: 1 }.fill(700, &mut [0; 512]);
    }

    proptest! {
        #[test]
        fn a_stamp_is_read_back_as_itself(stamp in any_stamp()) {
            let bytes = stamp.bytes();
            prop_assert!(stamp.matches(&bytes));
            prop_assert_eq!(Stamp::read(&bytes), Some(stamp));
            prop_assert_eq!(Stamp::read_header(&bytes), Some(stamp));
            prop_assert_eq!(Stamp::read_trailer(&bytes), Some(stamp));
            // No long run of zeros, so that a lost piece of a write never looks right.
            prop_assert!(bytes[32..480].chunks(16).all(|piece| piece.iter().any(|byte| *byte != 0)));
        }

        #[test]
        fn a_flipped_bit_anywhere_is_seen(stamp in any_stamp(), bit in 0..SECTOR_BYTES * 8) {
            let mut bytes = stamp.bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!stamp.matches(&bytes));
            prop_assert_eq!(Stamp::read(&bytes), None);
        }

        #[test]
        fn different_stamps_differ_in_most_of_their_payload(a in any_stamp(), b in any_stamp(), field in 0..4) {
            let b = match field {
                0 => Stamp { seed: b.seed, ..a },
                1 => Stamp { file: b.file, ..a },
                2 => Stamp { generation: b.generation, ..a },
                _ => Stamp { sector: b.sector, ..a },
            };
            prop_assume!(a != b);
            let (a, b) = (a.bytes(), b.bytes());
            let same = (32..480).filter(|at| a[*at] == b[*at]).count();
            prop_assert!(same < 40, "{} of 448 payload bytes are the same", same);
        }

        #[test]
        fn filling_memory_gives_each_sector_its_stamp(seed: u64, sector in 0_u64..1 << 40, bytes in 0_usize..4000) {
            let key = Key { seed, file: 1, generation: 2 };
            let mut memory = vec![0; bytes];
            key.fill(sector * SECTOR, &mut memory);
            for (index, found) in memory.chunks(SECTOR_BYTES).enumerate() {
                let expected = key.at(sector + index as u64).bytes();
                prop_assert_eq!(found, &expected[..found.len()]);
            }
        }

        #[test]
        fn filling_from_inside_a_sector_gives_the_same_bytes(seed: u64, from in 0_usize..2000, bytes in 0_usize..2000) {
            let key = Key { seed, file: 1, generation: 2 };
            let mut whole = vec![0; from + bytes];
            key.fill(0, &mut whole);
            let mut part = vec![0; bytes];
            key.fill_from(from as u64, &mut part);
            prop_assert_eq!(&part, &whole[from..]);
        }
    }
}
