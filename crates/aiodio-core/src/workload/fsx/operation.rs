//! An operation on the file, and its line in the log.

use std::fmt;
use std::str::FromStr;

use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Serialize};

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FsxKind"))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Read and compare.
    Read,
    /// Write stamps.
    Write,
    /// `ftruncate(2)`, shorter or longer.
    Truncate,
    /// Compare through a mapping.
    MapRead,
    /// Write stamps through a mapping, and `msync(2)` with `MS_SYNC`; with the flag, beside the operations that follow.
    MapWrite,
    /// `fallocate(2)`; the flag is `FALLOC_FL_KEEP_SIZE`.
    Allocate,
    /// `FALLOC_FL_PUNCH_HOLE`.
    Punch,
    /// `FALLOC_FL_ZERO_RANGE`; the flag is `FALLOC_FL_KEEP_SIZE`.
    Zero,
    /// `FALLOC_FL_COLLAPSE_RANGE`.
    Collapse,
    /// `FALLOC_FL_INSERT_RANGE`.
    Insert,
    /// `FICLONERANGE` within the file.
    Clone,
    /// `copy_file_range(2)` within the file.
    Copy,
}

impl Kind {
    /// All of them, in the order of their choice.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Write,
        Self::Truncate,
        Self::MapRead,
        Self::MapWrite,
        Self::Allocate,
        Self::Punch,
        Self::Zero,
        Self::Collapse,
        Self::Insert,
        Self::Clone,
        Self::Copy,
    ];

    /// Those of LTP's program.
    pub const LTP: [Self; 5] = [Self::Read, Self::Write, Self::Truncate, Self::MapRead, Self::MapWrite];

    fn has_target(self) -> bool {
        matches!(self, Self::Clone | Self::Copy)
    }

    /// The word for the operation's flag, where there is one.
    fn flag(self) -> Option<&'static str> {
        match self {
            Self::Allocate | Self::Zero => Some("keep-size"),
            Self::MapWrite => Some("sync-beside"),
            _ => None,
        }
    }
}

/// As in logs and options.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::deserialize(StrDeserializer::<value::Error>::new(name)).map_err(|_| format!("there is no operation \"{name}\""))
    }
}

/// One operation, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it is.
    pub kind: Kind,
    /// Where it begins; of a truncation, the new size.
    pub offset: u64,
    /// How long it is; 0 of a truncation.
    pub bytes: u64,
    /// Of a clone or copy, where the bytes go.
    pub to: u64,
    /// See [`Kind`].
    pub flag: bool,
}

impl Operation {
    /// One without target and flag.
    pub fn new(kind: Kind, offset: u64, bytes: u64) -> Self {
        Self { kind, offset, bytes, to: 0, flag: false }
    }

    /// The first byte behind it.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }

    /// Whether it has to do with the bytes of a range, as they are afterwards.
    pub fn touches(&self, offset: u64, bytes: u64) -> bool {
        let overlaps = |start: u64, end: u64| start < offset + bytes && offset < end;
        match self.kind {
            Kind::Truncate | Kind::Collapse | Kind::Insert => overlaps(self.offset, u64::MAX),
            Kind::Clone | Kind::Copy => overlaps(self.offset, self.end()) || overlaps(self.to, self.to + self.bytes),
            _ => overlaps(self.offset, self.end()),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:#x}", self.kind, self.offset)?;
        if self.kind != Kind::Truncate {
            write!(f, " {:#x}", self.bytes)?;
        }
        if self.kind.has_target() {
            write!(f, " to {:#x}", self.to)?;
        }
        match self.kind.flag() {
            Some(flag) if self.flag => write!(f, " {flag}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let kind: Kind = words.next().ok_or("the line is empty")?.parse()?;
        let mut operation = Self::new(kind, number(words.next())?, 0);
        if kind != Kind::Truncate {
            operation.bytes = number(words.next())?;
            if operation.bytes == 0 {
                return Err("an operation of 0 bytes does nothing".to_owned());
            }
        }
        if kind.has_target() {
            if words.next() != Some("to") {
                return Err(format!("{kind} needs \"to OFFSET\""));
            }
            operation.to = number(words.next())?;
        }
        if let Some(word) = words.next() {
            if kind.flag() != Some(word) {
                return Err(format!("{kind} has no flag \"{word}\""));
            }
            operation.flag = true;
        }
        match words.next() {
            Some(word) => Err(format!("\"{word}\" is one word too many")),
            None => Ok(operation),
        }
    }
}

/// Decimal or `0x…`, below 2^62 so that sums fit everywhere.
fn number(word: Option<&str>) -> Result<u64, String> {
    let word = word.ok_or("a number is missing")?;
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    match parsed {
        Ok(value) if value < 1 << 62 => Ok(value),
        _ => Err(format!("\"{word}\" is no offset or length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_says_all_of_an_operation(
            kind in prop::sample::select(Kind::ALL.to_vec()),
            offset in 0_u64..1 << 40,
            bytes in 1_u64..1 << 40,
            to in 0_u64..1 << 40,
            flag: bool,
        ) {
            let operation = Operation {
                kind,
                offset,
                bytes: if kind == Kind::Truncate { 0 } else { bytes },
                to: if kind.has_target() { to } else { 0 },
                flag: flag && kind.flag().is_some(),
            };
            prop_assert_eq!(operation.to_string().parse(), Ok(operation));
        }
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for (line, why) in [
            ("", "empty"),
            ("fly 0 1", "no operation \"fly\""),
            ("read 0", "missing"),
            ("read 0 0", "does nothing"),
            ("read x 1", "no offset"),
            ("read 0x4000000000000000 1", "no offset"),
            ("copy 0 1", "needs \"to OFFSET\""),
            ("write 0 1 keep-size", "no flag"),
            ("truncate 7 8", "no flag"),
            ("zero 0 1 keep-size now", "too many"),
        ] {
            let error = line.parse::<Operation>().expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn what_moves_the_rest_of_the_file_touches_it() {
        assert!(Operation::new(Kind::Collapse, 4096, 4096).touches(1 << 20, 1));
        assert!(!Operation::new(Kind::Collapse, 4096, 4096).touches(0, 4096));
        assert!(!Operation::new(Kind::Write, 0, 4096).touches(4096, 1));
        let copy = Operation { to: 8192, ..Operation::new(Kind::Copy, 0, 10) };
        assert!(copy.touches(8201, 1) && copy.touches(9, 1) && !copy.touches(10, 8182));
    }
}
