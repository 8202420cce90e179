//! What a race brought to light, in one shape for all of them. The testcase finds the words.

use serde::Serialize;

use crate::engine::Op;
use crate::error::{Errno, Error, Step};
use crate::verify::BadRange;

/// One thing that should not be.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "RaceTrouble", optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// What it is, as the workload names it, kebab-case.
    pub kind: &'static str,
    /// 1-based number of the round that it happened in.
    pub round: u64,
    /// Byte offset in the file.
    pub offset: u64,
    /// Bytes concerned.
    pub bytes: u64,
    /// The kernel's answer, where that is the trouble.
    pub errno: Option<Errno>,
    /// Facts of this one: how it was read, what was expected and found, what ran beside it. Half a sentence.
    pub detail: String,
    /// The first bad bytes, where data are the trouble.
    pub range: Option<BadRange>,
}

impl Trouble {
    /// One without errno and data.
    pub fn new(kind: &'static str, round: u64, offset: u64, bytes: u64, detail: impl Into<String>) -> Self {
        Self { kind, round, offset, bytes, errno: None, detail: detail.into(), range: None }
    }

    /// Adds the errno.
    #[must_use]
    pub fn errno(self, errno: Errno) -> Self {
        Self { errno: Some(errno), ..self }
    }

    /// Adds the bad bytes.
    #[must_use]
    pub fn range(self, range: BadRange) -> Self {
        Self { range: Some(range), ..self }
    }
}

/// So many are kept; all are counted.
const KEPT_MAX: usize = 16;

/// All that a workload found.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "RaceTroubles"))]
#[serde(rename_all = "camelCase")]
pub struct Troubles {
    /// The first of them.
    pub first: Vec<Trouble>,
    /// How many there were.
    pub total: u64,
    /// The first call that found no room. What comes after it follows from it.
    #[serde(skip)]
    full: Option<Trouble>,
}

impl Troubles {
    /// One more. A full filesystem (ENOSPC, EDQUOT) is none, and nor is what comes after: see [`Troubles::full`].
    pub fn add(&mut self, trouble: Trouble) {
        if self.full.is_some() {
            return;
        }
        if matches!(trouble.errno, Some(Errno(libc::ENOSPC | libc::EDQUOT))) {
            self.full = Some(trouble);
            return;
        }
        self.total += 1;
        if self.first.len() < KEPT_MAX {
            self.first.push(trouble);
        }
    }

    /// What the kernel says of a transfer of `bytes` bytes, with `detail` of an error: trouble, unless it was done in full. Returns
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
        self.add(match answer {
            Ok(got) if got == bytes => return true,
            Ok(got) => Trouble::new(short, round, offset, bytes as u64, format!("{got} of {bytes} bytes")),
            Err(errno) => Trouble::new(error, round, offset, bytes as u64, detail).errno(errno),
        });
        false
    }

    /// Why the troubles end where they do, if that is because the filesystem was full: the kernel is right about that.
    pub fn full(&self) -> Option<Error> {
        let Trouble { offset, errno, .. } = self.full.as_ref()?;
        let error = Error::new(Step::Write, "The filesystem is full: use fewer or smaller files").offset(*offset);
        errno.map(|errno| error.errno(errno))
    }
}
