//! The faults, in one table, and the rules that ask for them: what a rule means, how it is written, read and printed.

use std::fmt;
use std::ops::Range;

/// What a request does, as far as rules tell requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A read, of the page cache or of a program with `O_DIRECT`.
    Read,
    /// A write, likewise.
    Write,
    /// `fsync(2)`, `fdatasync(2)`, and what follows a write with `O_SYNC`.
    Fsync,
    /// `fallocate(2)`.
    Allocate,
    /// Unmounting and mounting again: each file is a request for its whole length.
    Remount,
}

impl Operation {
    const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Fsync, Self::Allocate, Self::Remount];

    /// The spelling in rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Fsync => "fsync",
            Self::Allocate => "allocate",
            Self::Remount => "remount",
        }
    }
}

/// Which requests, by the `O_DIRECT` bit of the open file that they belong to. What the kernel reads ahead or writes back is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Io {
    /// With `O_DIRECT`.
    Direct,
    /// Without.
    Cached,
}

impl Io {
    /// The spelling in rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Cached => "cached",
        }
    }
}

/// What goes wrong. [`TABLE`] says what each one means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table documents them, once")]
pub enum Fault {
    DropWrite,
    DelayVisibility,
    MisdirectWrite,
    SwapBlocks,
    Tear,
    FlipBit,
    MutateInFlight,
    StaleRead,
    ZerosUntil,
    StaleDisk,
    OtherFile,
    ShortRead,
    ShortWrite,
    EioOnce,
    EioFsync,
    Eintr,
    Enospc,
    WrongSize,
    DataBeforeSize,
    SizeBeforeData,
    CorruptAfterRemount,
    CorruptDirectReads,
    CorruptCachedReads,
}

/// A number that a fault can be given.
#[derive(Debug)]
pub struct Parameter {
    /// As in `name=value`.
    pub name: &'static str,
    /// Where the rule does not say.
    pub default: i64,
    /// The values allowed.
    pub range: std::ops::RangeInclusive<i64>,
    /// With its unit.
    pub meaning: &'static str,
}

/// One fault's row.
#[derive(Debug)]
pub struct Row {
    /// The fault.
    pub fault: Fault,
    /// Its spelling in rules.
    pub name: &'static str,
    /// What it does, where the rule's range and the request overlap.
    pub meaning: &'static str,
    /// The operations that it can be asked for; the first is the default.
    pub operations: &'static [Operation],
    /// The kind of I/O that it is about by its nature.
    pub io: Option<Io>,
    /// How often it happens where the rule does not say; `None` is always.
    pub count: Option<u64>,
    /// What it can be given.
    pub parameters: &'static [Parameter],
}

const MS_MAX: i64 = 3_600_000;
const MS: Parameter = Parameter { name: "ms", default: 200, range: 0..=MS_MAX, meaning: "milliseconds" };
const BITS: Parameter = Parameter { name: "bits", default: 1, range: 1..=4096, meaning: "bits flipped in each request" };
const BLOCK: Parameter = Parameter { name: "block", default: 4096, range: 1..=1 << 30, meaning: "bytes of a block" };
/// 0 stands for half of what was asked for, in whole sectors where that is one or more.
const BYTES: Parameter =
    Parameter { name: "bytes", default: 0, range: 0..=1 << 30, meaning: "bytes transferred; 0: half, in whole sectors" };

use Operation::{Allocate, Fsync, Read, Remount, Write};

const fn row(fault: Fault, name: &'static str, operations: &'static [Operation], meaning: &'static str) -> Row {
    Row { fault, name, meaning, operations, io: None, count: None, parameters: &[] }
}

/// Every fault. Those that change what is stored or read fire only where that makes a difference.
pub const TABLE: &[Row] = &[
    row(Fault::DropWrite, "drop-write", &[Write], "the data are not stored, but reported as written"),
    Row {
        parameters: &[MS],
        ..row(
            Fault::DelayVisibility,
            "delay-visibility",
            &[Write],
            "reads get what was there before until so long after completion",
        )
    },
    Row {
        parameters: &[Parameter {
            name: "by",
            // Backwards, since what is ahead may be written later and cover it.
            default: -4096,
            range: -(1 << 40)..=1 << 40,
            meaning: "bytes added to the offset; where that were before the file's start, subtracted",
        }],
        ..row(Fault::MisdirectWrite, "misdirect-write", &[Write], "the data are stored at another offset of the file")
    },
    Row {
        count: Some(1),
        parameters: &[BLOCK],
        ..row(
            Fault::SwapBlocks,
            "swap-blocks",
            &[Write],
            "the block that is written and its neighbour change places before either is read the next time",
        )
    },
    Row {
        parameters: &[
            BLOCK,
            Parameter {
                name: "at",
                default: -1,
                range: -1..=1 << 30,
                meaning: "bytes of the block that are stored; -1: random, inside a sector",
            },
        ],
        ..row(Fault::Tear, "tear", &[Write], "of the first block, only a part is stored, cut inside a 512-byte sector")
    },
    Row {
        parameters: &[BITS],
        ..row(Fault::FlipBit, "flip-bit", &[Write, Read], "bits are flipped: in what is stored, or in one read's data")
    },
    Row {
        parameters: &[Parameter { name: "bytes", default: 64, range: 1..=1 << 30, meaning: "bytes changed" }],
        ..row(
            Fault::MutateInFlight,
            "mutate-in-flight",
            &[Write],
            "bytes in the second half differ from those submitted, as when the buffer changes after a part was taken",
        )
    },
    Row {
        count: Some(1),
        ..row(Fault::StaleRead, "stale-read", &[Read], "a read gets what was there before the last write, since the rule was set")
    },
    Row {
        parameters: &[MS],
        ..row(
            Fault::ZerosUntil,
            "zeros-until",
            &[Write],
            "reads get zeros until so long after completion, as when an unwritten extent is converted too late",
        )
    },
    row(
        Fault::StaleDisk,
        "stale-disk",
        &[Write, Read],
        "whole sectors become stale content of the disk: those written, or those of holes read",
    ),
    row(
        Fault::OtherFile,
        "other-file",
        &[Write],
        "whole sectors become those of a file with another number in the same run, at the same offset",
    ),
    Row {
        io: Some(Io::Direct),
        count: Some(1),
        parameters: &[BYTES],
        ..row(
            Fault::ShortRead,
            "short-read",
            &[Read],
            "fewer bytes are read than there are, by files opened from then on; the page cache has no short reads",
        )
    },
    Row {
        count: Some(1),
        parameters: &[BYTES],
        ..row(
            Fault::ShortWrite,
            "short-write",
            &[Write],
            "fewer bytes are written than submitted, and reported, by files opened from then on; where the filesystem was mounted without \
             such a rule, asynchronous direct writes get EIO instead",
        )
    },
    Row {
        count: Some(1),
        ..row(Fault::EioOnce, "eio-once", &[Write, Read], "EIO; nothing is transferred; of cached reads, also the next one there")
    },
    row(Fault::EioFsync, "eio-fsync", &[Fsync], "EIO, though all is stored"),
    Row {
        count: Some(1),
        ..row(
            Fault::Eintr,
            "eintr",
            &[Write, Read, Fsync],
            "EINTR; nothing is transferred; of cached reads, also the next one there",
        )
    },
    row(Fault::Enospc, "enospc", &[Write, Allocate], "ENOSPC; nothing is transferred"),
    Row {
        parameters: &[Parameter {
            name: "by",
            default: -512,
            range: -(1 << 40)..=1 << 40,
            meaning: "bytes added to the size; it does not become less than before",
        }],
        ..row(Fault::WrongSize, "wrong-size-after-append", &[Write], "a write that makes the file longer leaves a wrong size")
    },
    Row {
        parameters: &[MS],
        ..row(
            Fault::DataBeforeSize,
            "data-before-size",
            &[Write],
            "a write that makes the file longer is stored, but the old size is seen until so long after completion",
        )
    },
    Row {
        parameters: &[MS],
        ..row(
            Fault::SizeBeforeData,
            "size-before-data",
            &[Write],
            "a write that makes the file longer changes the size at once; the data are stored and completion comes so much later",
        )
    },
    Row {
        parameters: &[BITS],
        ..row(Fault::CorruptAfterRemount, "corrupt-after-remount", &[Remount], "mounting again flips bits in what is stored")
    },
    Row {
        io: Some(Io::Direct),
        parameters: &[BITS],
        ..row(Fault::CorruptDirectReads, "corrupt-direct-reads", &[Read], "bits are flipped in what direct reads get")
    },
    Row {
        io: Some(Io::Cached),
        parameters: &[BITS],
        ..row(Fault::CorruptCachedReads, "corrupt-cached-reads", &[Read], "bits are flipped in what the page cache reads")
    },
];

impl Fault {
    /// Its row in the table.
    ///
    /// # Panics
    /// When it has none, which a test excludes.
    pub fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.fault == self).expect("every fault has a row")
    }

    /// Whether reads of the kernel's page cache must not be answered from what it holds from a write: then the fault would not be seen.
    /// Faults of what is stored are none of these: good in the page cache and bad on the disk is how they look on a real disk.
    pub(crate) fn shows_in_reads(self) -> bool {
        matches!(
            self,
            Self::DelayVisibility
                | Self::ZerosUntil
                | Self::StaleRead
                | Self::FlipBit
                | Self::StaleDisk
                | Self::CorruptCachedReads
                | Self::CorruptDirectReads
                | Self::DataBeforeSize
                | Self::SizeBeforeData
                | Self::WrongSize
        )
    }
}

/// Asks for one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Which files: a pattern with `*` and `?` for the name, or for the whole path (from the root, with a `/` in front) if it has a `/`.
    pub file: String,
    /// In which operation.
    pub operation: Operation,
    /// In which kind of I/O; `None` is any.
    pub io: Option<Io>,
    /// Which bytes of the file: a request that overlaps them is concerned, and only where it does.
    pub range: Range<u64>,
    /// In how many of 1000 requests.
    pub probability: u16,
    /// How often in all; `None` is always.
    pub count: Option<u64>,
    /// With another seed, other requests and places are chosen. The same seed and requests give the same faults; with `count`, which
    /// of several parallel requests are the first is the kernel's choice.
    pub seed: u64,
    /// The values of the row's parameters, in its order.
    pub parameters: Vec<i64>,
}

/// Why a text is no rule; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Fault rule '{rule}': {reason}")]
pub struct BadRule {
    rule: String,
    reason: String,
}

impl Rule {
    /// The rule without any settings: the fault happens in all files.
    pub fn new(fault: Fault) -> Self {
        let row = fault.row();
        Self {
            fault,
            file: "*".to_owned(),
            operation: row.operations[0],
            io: row.io,
            range: 0..u64::MAX,
            probability: 1000,
            count: row.count,
            seed: 0,
            parameters: row.parameters.iter().map(|parameter| parameter.default).collect(),
        }
    }

    /// A parameter's value.
    pub(crate) fn parameter(&self, name: &str) -> i64 {
        let index = self.fault.row().parameters.iter().position(|parameter| parameter.name == name);
        index.and_then(|index| self.parameters.get(index)).copied().unwrap_or_default()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let row = self.fault.row();
        match key {
            "file" if value.is_empty() || value.chars().any(char::is_control) => {
                return Err("'file' is a pattern like dstfile.bin, *.bin or /directory/*".to_owned());
            }
            "file" => value.clone_into(&mut self.file),
            "op" => {
                let known = Operation::ALL.into_iter().find(|operation| operation.name() == value);
                self.operation = known.filter(|operation| row.operations.contains(operation)).ok_or_else(|| {
                    let names: Vec<_> = row.operations.iter().map(|operation| operation.name()).collect();
                    format!("'op' of {} is {}, not '{value}'", row.name, names.join(" or "))
                })?;
            }
            "io" => {
                let io = [Io::Direct, Io::Cached].into_iter().find(|io| io.name() == value);
                let io = io.ok_or_else(|| format!("'io' is direct or cached, not '{value}'"))?;
                if row.io.is_some_and(|only| only != io) {
                    return Err(format!("{} has no {} I/O", row.name, io.name()));
                }
                self.io = Some(io);
            }
            "range" => {
                let range = value.split_once('-').and_then(|(start, end)| {
                    let end = if end.is_empty() { Some(u64::MAX) } else { number(end) };
                    Some(number(start)?..end?)
                });
                self.range = range
                    .filter(|range| !range.is_empty())
                    .ok_or_else(|| format!("'range' is START-END or START- in bytes (END is not part of it), not '{value}'"))?;
            }
            "probability" => {
                let value = number(value).filter(|value| *value <= 1000);
                self.probability = value.ok_or("'probability' is 0 to 1000, in 1000 requests")? as u16;
            }
            "count" if value == "always" => self.count = None,
            "count" => {
                let value = number(value).filter(|value| *value > 0);
                self.count = Some(value.ok_or("'count' is how often at most, 1 or more, or always")?);
            }
            "seed" => self.seed = number(value).ok_or("'seed' is a number below 2^64, decimal or 0x…")?,
            _ => {
                let Some(index) = row.parameters.iter().position(|parameter| parameter.name == key) else {
                    let own = row.parameters.iter().map(|parameter| parameter.name);
                    let all: Vec<_> = SETTINGS.into_iter().chain(own).collect();
                    return Err(format!("there is no '{key}'; {} has: {}", row.name, all.join(", ")));
                };
                let Parameter { range, meaning, .. } = &row.parameters[index];
                let value = value.strip_prefix('-').map_or_else(
                    || number(value).and_then(|value| i64::try_from(value).ok()),
                    |digits| number(digits).and_then(|value| i64::try_from(value).ok()).map(|value| -value),
                );
                self.parameters[index] = value
                    .filter(|value| range.contains(value))
                    .ok_or_else(|| format!("'{key}' is {} to {} ({meaning})", range.start(), range.end()))?;
            }
        }
        Ok(())
    }
}

/// The settings that every rule has.
const SETTINGS: [&str; 7] = ["file", "op", "io", "range", "probability", "count", "seed"];

/// Decimal or 0x….
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // `from_str_radix` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, radix).ok())?
}

impl std::str::FromStr for Rule {
    type Err = BadRule;

    /// `FAULT[:KEY=VALUE]...`
    fn from_str(text: &str) -> Result<Self, BadRule> {
        let bad = |reason| BadRule { rule: text.to_owned(), reason };
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let row = TABLE.iter().find(|row| row.name == name).ok_or_else(|| {
            let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
            bad(format!("there is no fault '{name}'; there are: {}", names.join(", ")))
        })?;
        let mut rule = Self::new(row.fault);
        let mut seen = Vec::new();
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| bad(format!("'{part}' is no KEY=VALUE")))?;
            if seen.contains(&key) {
                return Err(bad(format!("'{key}' is set twice")));
            }
            seen.push(key);
            rule.set(key, value).map_err(bad)?;
        }
        Ok(rule)
    }
}

impl fmt::Display for Rule {
    /// As it is read; what is the default is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.fault.row();
        let plain = Self::new(self.fault);
        write!(f, "{}", row.name)?;
        if self.file != plain.file {
            write!(f, ":file={}", self.file)?;
        }
        if self.operation != plain.operation {
            write!(f, ":op={}", self.operation.name())?;
        }
        if let Some(io) = self.io
            && self.io != plain.io
        {
            write!(f, ":io={}", io.name())?;
        }
        if self.range != plain.range {
            write!(f, ":range={:#x}-", self.range.start)?;
            if self.range.end != u64::MAX {
                write!(f, "{:#x}", self.range.end)?;
            }
        }
        if self.probability != plain.probability {
            write!(f, ":probability={}", self.probability)?;
        }
        if self.count != plain.count {
            match self.count {
                Some(count) => write!(f, ":count={count}")?,
                None => write!(f, ":count=always")?,
            }
        }
        if self.seed != plain.seed {
            write!(f, ":seed={:#x}", self.seed)?;
        }
        for (parameter, value) in row.parameters.iter().zip(&self.parameters) {
            if *value != parameter.default {
                write!(f, ":{}={value}", parameter.name)?;
            }
        }
        Ok(())
    }
}

/// Whether a rule's pattern is about the file with this path.
pub(crate) fn names(pattern: &str, path: &str) -> bool {
    let text = if pattern.contains('/') { path } else { path.rsplit('/').next().unwrap_or(path) };
    glob(pattern.as_bytes(), text.as_bytes())
}

/// `*` is any text, `?` any byte.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_rule() -> impl Strategy<Value = Rule> {
        let general = (
            0..TABLE.len(),
            "[a-z0-9_.*?/ ]{1,12}",
            any::<prop::sample::Index>(),
            prop::option::of(any::<bool>()),
            (any::<u64>(), any::<u64>()),
            0_u16..=1000,
            prop::option::of(1_u64..),
            any::<u64>(),
        );
        (general, prop::collection::vec(any::<i64>(), 2)).prop_map(|(general, values)| {
            let (index, file, operation, io, (a, b), probability, count, seed) = general;
            let row = &TABLE[index];
            Rule {
                fault: row.fault,
                file,
                operation: row.operations[operation.index(row.operations.len())],
                io: row.io.or(io.map(|direct| if direct { Io::Direct } else { Io::Cached })),
                range: a.min(b)..a.max(b).max(a.min(b).saturating_add(1)),
                probability,
                count,
                seed,
                parameters: row
                    .parameters
                    .iter()
                    .zip(values)
                    .map(|(Parameter { range, .. }, value)| {
                        let span = range.end() - range.start() + 1;
                        range.start() + value.rem_euclid(span)
                    })
                    .collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn a_printed_rule_is_read_as_itself(rule in any_rule().prop_filter("no empty range", |rule| !rule.range.is_empty())) {
            let text = rule.to_string();
            prop_assert_eq!(text.parse::<Rule>(), Ok(rule), "{}", text);
        }

        #[test]
        fn no_text_is_more_than_refused(text in "[ -~]{0,40}", fault in 0..TABLE.len()) {
            for text in [text.clone(), format!("{}:{text}", TABLE[fault].name)] {
                if let Ok(rule) = text.parse::<Rule>() {
                    prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
                }
            }
        }

        #[test]
        fn a_pattern_made_from_a_name_fits_it(name in "[a-z.]{1,12}", at in any::<prop::sample::Index>(), len in 0_usize..4) {
            let start = at.index(name.len());
            let end = (start + len).min(name.len());
            let (head, tail) = (&name[..start], &name[end..]);
            let (stars, marks) = (format!("{head}*{tail}"), format!("{head}{}{tail}", "?".repeat(end - start)));
            let path = format!("/some/where/{name}");
            prop_assert!(names(&stars, &path));
            prop_assert!(names(&marks, &name));
            let (longer, shorter) = (format!("{name}?"), &name[1..]);
            prop_assert!(!names(&longer, &name));
            prop_assert!(!names(shorter, &name));
        }
    }

    #[test]
    fn the_written_example_means_what_it_says() {
        let text = "flip-bit:file=dstfile.bin:range=0x10000-0x20000:probability=1000:count=1:seed=7";
        let rule: Rule = text.parse().expect("rule");
        let expected =
            Rule { file: "dstfile.bin".into(), range: 0x10000..0x20000, count: Some(1), seed: 7, ..Rule::new(Fault::FlipBit) };
        assert_eq!(rule, expected);
        assert_eq!(rule.to_string(), "flip-bit:file=dstfile.bin:range=0x10000-0x20000:count=1:seed=0x7");
    }

    #[test]
    fn bad_rules_say_what_to_write_instead() {
        let reason = |text: &str| text.parse::<Rule>().expect_err("bad").to_string();
        assert!(reason("flip").starts_with("Fault rule 'flip': there is no fault 'flip'; there are: drop-write, "));
        assert_eq!(reason("tear:4096"), "Fault rule 'tear:4096': '4096' is no KEY=VALUE");
        assert_eq!(
            reason("tear:by=1"),
            "Fault rule 'tear:by=1': there is no 'by'; tear has: file, op, io, range, probability, count, seed, block, at"
        );
        assert_eq!(reason("tear:op=read"), "Fault rule 'tear:op=read': 'op' of tear is write, not 'read'");
        assert_eq!(reason("tear:seed=1:seed=2"), "Fault rule 'tear:seed=1:seed=2': 'seed' is set twice");
        assert!(reason("tear:range=9-8").contains("'range' is START-END"));
        assert!(reason("tear:range=+1-8").contains("'range' is START-END"));
        assert!(reason("tear:count=0").contains("1 or more, or always"));
        assert!(reason("tear:probability=1001").contains("0 to 1000"));
        assert!(reason("tear:file=").contains("'file' is a pattern"));
        assert!(reason("short-read:io=cached").contains("short-read has no cached I/O"));
        assert!(reason("zeros-until:ms=-1").contains("'ms' is 0 to 3600000 (milliseconds)"));
    }

    #[test]
    fn the_table_has_every_fault_once() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|other| other.fault != row.fault && other.name != row.name), "{}", row.name);
            assert!(row.name.parse::<Rule>().is_ok_and(|rule| rule == Rule::new(row.fault)));
            assert!(row.parameters.iter().all(|parameter| parameter.range.contains(&parameter.default)));
        }
        // The last one of the enumeration: a new fault makes this fail until it has a row.
        assert_eq!(TABLE.len(), Fault::CorruptCachedReads as usize + 1);
    }
}
