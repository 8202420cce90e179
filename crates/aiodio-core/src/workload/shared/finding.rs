//! Something that should not be, in one shape for all workloads. The testcase finds the words.

use serde::Serialize;

use crate::engine::Op;
use crate::error::{Errno, Error, Step};
use crate::verify::BadRange;

/// One thing that should not be.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is, as the workload names it, kebab-case.
    pub kind: &'static str,
    /// Byte offset in the file.
    pub offset: u64,
    /// Bytes concerned.
    pub bytes: u64,
    /// 1-based number of the round that it happened in.
    pub round: Option<u64>,
    /// The kernel's answer, where that is what should not be.
    pub errno: Option<Errno>,
    /// The first bad ranges, where data are what should not be.
    pub ranges: Vec<BadRange>,
    /// How many there are.
    pub ranges_total: u64,
    /// Facts of this one: how it was read, what was expected and found, what ran beside it. Half a sentence.
    pub detail: String,
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

    /// Adds the round.
    #[must_use]
    pub fn round(self, round: impl Into<u64>) -> Self {
        Self { round: Some(round.into()), ..self }
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
