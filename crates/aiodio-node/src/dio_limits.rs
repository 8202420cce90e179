//! [`aiodio_core::workload::dio_limits`] for TypeScript.

use aiodio_core::error::{Errno, Error, Result};
use aiodio_core::workload::dio_limits;
use aiodio_core::workload::shared::pattern;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::pattern::TransferFault;
use crate::task::Work;
use crate::types::{Failure, key, positive, size};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct DioLimitsOptions {
    /// A file full of stamps.
    pub path: String,
    pub bytes: f64,
    pub seed: BigInt,
    pub file_id: u32,
    pub generation: u32,
    /// Offset and length alignment that direct I/O needs.
    pub align_bytes: f64,
}

impl TryFrom<DioLimitsOptions> for dio_limits::Options {
    type Error = Error;
    fn try_from(o: DioLimitsOptions) -> Result<Self> {
        Ok(Self {
            key: key(&o.seed, o.file_id, o.generation)?,
            path: o.path.into(),
            bytes: size("bytes", o.bytes)?,
            align_bytes: positive("alignBytes", o.align_bytes)?.get(),
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct DioLimitsOutcome {
    /// Why not all checks were made.
    pub error: Option<Failure>,
    pub checks: Vec<DioCheck>,
}

#[napi(object, object_from_js = false)]
pub struct DioCheck {
    #[napi(
        ts_type = "'negative-offset' | 'odd-count' | 'beyond-end' | 'invalid-descriptor' | 'descriptor-out-of-range' | 'closed-descriptor' | 'character-device' | 'mapped-file' | 'unmapped-file' | 'not-open-for-reading' | 'not-open-for-writing' | 'unaligned-memory' | 'read-only-memory' | 'no-memory' | 'synchronous'"
    )]
    pub name: String,
    pub attempts: Vec<DioAttempt>,
    /// The errno's name, when the check could not be made.
    pub unsupported: Option<String>,
}

#[napi(object, object_from_js = false)]
pub struct DioAttempt {
    /// Like "write of 1 byte".
    pub call: String,
    /// Like "EINVAL", "4096" or "0 or EINVAL".
    pub expected: String,
    /// What it returned, unless it is `code`.
    pub got: Option<f64>,
    /// Like "EINVAL".
    pub code: Option<String>,
    /// How the data read differ from what the file holds.
    pub wrong_data: Option<TransferFault>,
    pub good: bool,
}

impl From<dio_limits::Attempt> for DioAttempt {
    fn from(attempt: dio_limits::Attempt) -> Self {
        Self {
            good: attempt.is_good(),
            call: attempt.call.to_owned(),
            expected: attempt.expected.to_string(),
            got: attempt.got.ok().map(|bytes| bytes as f64),
            code: attempt.got.err().map(Errno::name),
            wrong_data: attempt.wrong_data.map(|wrong| pattern::Fault::Wrong(wrong).into()),
        }
    }
}

impl From<dio_limits::Outcome> for DioLimitsOutcome {
    fn from(outcome: dio_limits::Outcome) -> Self {
        let check = |finding: dio_limits::Finding| DioCheck {
            name: finding.check.name().to_owned(),
            attempts: finding.attempts.into_iter().map(Into::into).collect(),
            unsupported: finding.unsupported.map(Errno::name),
        };
        Self { error: outcome.error.map(Into::into), checks: outcome.findings.into_iter().map(check).collect() }
    }
}

/// Direct I/O that must fail, and direct I/O that must work in spite of everything.
#[napi(ts_return_type = "Promise<DioLimitsOutcome>")]
pub fn dio_limits_run(o: DioLimitsOptions) -> AsyncTask<Work<DioLimitsOutcome>> {
    Work::start(move || {
        let outcome = match dio_limits::Options::try_from(o) {
            Ok(options) => dio_limits::run(&options),
            Err(error) => dio_limits::Outcome { error: Some(error), findings: Vec::new() },
        };
        outcome.into()
    })
}
