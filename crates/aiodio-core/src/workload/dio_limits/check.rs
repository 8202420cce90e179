//! What is checked, and what came of it.

use serde::Serialize;

use crate::error::{Errno, Error};
use crate::json;
use crate::workload::shared::finding::Finding;

/// What a call must return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// So many bytes.
    Bytes(usize),
    /// This error.
    Error(Errno),
    /// Either of both.
    Either(usize, Errno),
}

impl Expected {
    fn is(self, got: std::result::Result<usize, Errno>) -> bool {
        match (self, got) {
            (Self::Bytes(bytes) | Self::Either(bytes, _), Ok(got)) => bytes == got,
            (Self::Error(errno) | Self::Either(_, errno), Err(got)) => errno == got,
            _ => false,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Error(errno) => f.write_str(&errno.name()),
            Self::Either(bytes, errno) => write!(f, "{bytes} or {}", errno.name()),
        }
    }
}

/// One call and what came of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(as = "DioAttempt", rename = "DioAttempt"))]
#[serde(into = "DioAttempt")]
pub struct Attempt {
    /// The call, for a person.
    pub call: &'static str,
    /// What it must return.
    pub expected: Expected,
    /// What it returned: bytes, or an offset for `lseek`.
    pub got: std::result::Result<usize, Errno>,
    /// How the data that it left in memory differ from what the file holds.
    pub wrong_data: Option<Box<Finding>>,
}

impl Attempt {
    /// Whether it is as it must be.
    pub fn is_good(&self) -> bool {
        self.wrong_data.is_none() && self.expected.is(self.got)
    }
}

/// [`Attempt`] as JSON has it.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
struct DioAttempt {
    /// Like "write of 1 byte".
    call: &'static str,
    /// Like "EINVAL", "4096" or "0 or EINVAL".
    expected: String,
    /// What it returned, unless it is `code`.
    got: Option<usize>,
    /// Like "EINVAL".
    code: Option<String>,
    /// How the data read differ from what the file holds.
    wrong_data: Option<Box<Finding>>,
    good: bool,
}

impl From<Attempt> for DioAttempt {
    fn from(attempt: Attempt) -> Self {
        Self {
            good: attempt.is_good(),
            call: attempt.call,
            expected: attempt.expected.to_string(),
            got: attempt.got.ok(),
            code: attempt.got.err().map(Errno::name),
            wrong_data: attempt.wrong_data,
        }
    }
}

/// What is checked, in LTP's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Seeking to a negative offset.
    NegativeOffset,
    /// One byte.
    OddCount,
    /// Reading where the file has ended.
    BeyondEnd,
    /// Descriptor -1.
    InvalidDescriptor,
    /// The first descriptor number that this process may not have.
    DescriptorOutOfRange,
    /// A descriptor that was open.
    ClosedDescriptor,
    /// `/dev/null`.
    CharacterDevice,
    /// A file that is mapped at the same time.
    MappedFile,
    /// The same after the mapping is gone.
    UnmappedFile,
    /// A descriptor for writing only.
    NotOpenForReading,
    /// A descriptor for reading only.
    NotOpenForWriting,
    /// Memory that starts at an odd address.
    UnalignedMemory,
    /// Memory that may only be read.
    ReadOnlyMemory,
    /// Addresses where no memory is.
    NoMemory,
    /// With `O_SYNC` besides.
    Synchronous,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "DioCheck", optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Which.
    #[serde(rename = "name")]
    pub check: Check,
    /// Its calls; none when it could not be made at all.
    pub attempts: Vec<Attempt>,
    /// Why it could not be made.
    #[serde(serialize_with = "json::errno_name")]
    #[cfg_attr(feature = "typescript", ts(type = "string", optional))]
    pub unsupported: Option<Errno>,
}

/// How it went.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why not all checks were made.
    pub error: Option<Error>,
    /// In the order of [`Check`].
    pub checks: Vec<Checked>,
}
