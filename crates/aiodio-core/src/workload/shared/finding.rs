//! Something that should not be, in one shape for all workloads. The testcase finds the words.

use std::path::Path;

use serde::Serialize;

use crate::engine::Op;
use crate::error::{Errno, Error, Step};
use crate::verify::{self, BadRange};

/// One thing that should not be.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is, as the workload names it, kebab-case.
    pub kind: &'static str,
    /// The file's name, where there are several.
    pub file: Option<String>,
    /// Byte offset in the file.
    pub offset: u64,
    /// Bytes concerned.
    pub bytes: u64,
    /// 1-based number of the round that it happened in.
    pub round: Option<u64>,
    /// 1-based number of the thread or child that it happened to.
    pub actor: Option<usize>,
    /// The kernel's answer, where that is what should not be.
    pub errno: Option<Errno>,
    /// Bytes transferred, or a file's size.
    pub got: Option<u64>,
    /// What `got` must be at least.
    pub least: Option<u64>,
    /// What it may be at most.
    pub most: Option<u64>,
    /// The first bad ranges, where data are what should not be.
    pub ranges: Vec<BadRange>,
    /// How many there are.
    pub ranges_total: u64,
    /// Facts of this one: how it was read, what was expected and found, what ran beside it. Half a sentence.
    pub detail: String,
}

/// What a check comes to that ends with the first thing that should not be.
pub type Verdict = std::result::Result<(), Box<Finding>>;

/// A call or transfer that failed.
impl From<Error> for Box<Finding> {
    fn from(Error { step, message, errno, path, offset, expected, got, write }: Error) -> Self {
        let kind = match step {
            Step::Submit if write == Some(true) => "submit-write",
            Step::Submit => "submit",
            Step::Read => "read-error",
            Step::Write => "write-error",
            Step::ShortRead => "short-read",
            Step::ShortWrite => "short-write",
            Step::Fsync => "fsync-error",
            _ => "failed",
        };
        let file = path.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let found = Finding::new(kind, offset.unwrap_or(0), expected.unwrap_or(0), message);
        Self::new(Finding { file, errno, got, least: expected, ..found })
    }
}

impl Finding {
    /// One without round, errno and data.
    pub fn new(kind: &'static str, offset: u64, bytes: u64, detail: impl Into<String>) -> Self {
        Self { kind, offset, bytes, detail: detail.into(), ..Self::default() }
    }

    /// Bad bytes.
    pub fn of_range(kind: &'static str, range: BadRange, detail: impl Into<String>) -> Self {
        Self::new(kind, range.offset, range.bytes, detail).ranges(vec![range], 1)
    }

    /// `bytes` bytes that were read and are not what was written.
    pub(crate) fn wrong_data(offset: u64, bytes: usize, found: verify::Outcome) -> Self {
        let detail = format!("{} sectors read are not what was written", found.sectors_bad);
        Self { ranges: found.ranges, ranges_total: found.ranges_total, ..Self::new("wrong-data", offset, bytes as u64, detail) }
    }

    /// Adds the round.
    #[must_use]
    pub fn round(self, round: impl Into<u64>) -> Self {
        Self { round: Some(round.into()), ..self }
    }

    /// Adds the actor.
    #[must_use]
    pub fn actor(self, actor: usize) -> Self {
        Self { actor: Some(actor), ..self }
    }

    /// Adds the errno.
    #[must_use]
    pub fn errno(self, errno: Errno) -> Self {
        Self { errno: Some(errno), ..self }
    }

    /// Adds the first bad ranges, of so many.
    #[must_use]
    pub fn ranges(self, ranges: Vec<BadRange>, ranges_total: u64) -> Self {
        Self { ranges, ranges_total, ..self }
    }
}

/// So many are kept; all are counted.
const KEPT_MAX: usize = 16;

/// All that a workload found.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// The first of them.
    pub first: Vec<Finding>,
    /// How many there were.
    pub total: u64,
    /// The first call that found no room. What comes after it follows from it.
    #[serde(skip)]
    full: Option<Finding>,
}

impl Findings {
    /// One more. A full filesystem (ENOSPC, EDQUOT) is none, and nor is what comes after: see [`Findings::full`].
    pub fn add(&mut self, finding: Finding) {
        if self.full.is_some() {
            return;
        }
        if matches!(finding.errno, Some(Errno(libc::ENOSPC | libc::EDQUOT))) {
            self.full = Some(finding);
            return;
        }
        self.total += 1;
        if self.first.len() < KEPT_MAX {
            self.first.push(finding);
        }
    }

    /// What the kernel says of a transfer of `bytes` bytes, with `detail` of an error: a finding, unless it was done in full. Returns
    /// whether it was.
    pub(crate) fn transfer(
        &mut self,
        op: Op,
        round: u64,
        offset: u64,
        bytes: usize,
        answer: std::result::Result<usize, Errno>,
        detail: &str,
    ) -> bool {
        let (error, short) = if op == Op::Write { ("write-error", "short-write") } else { ("read-error", "short-read") };
        let finding = match answer {
            Ok(got) if got == bytes => return true,
            Ok(got) => Finding::new(short, offset, bytes as u64, format!("{got} of {bytes} bytes")),
            Err(errno) => Finding::new(error, offset, bytes as u64, detail).errno(errno),
        };
        self.add(finding.round(round));
        false
    }

    /// Why the findings end where they do, if that is because the filesystem was full: the kernel is right about that.
    pub fn full(&self) -> Option<Error> {
        let Finding { offset, errno, .. } = self.full.as_ref()?;
        let error = Error::new(Step::Write, "The filesystem is full: use fewer or smaller files").offset(*offset);
        errno.map(|errno| error.errno(errno))
    }
}
