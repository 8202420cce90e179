//! What workloads find wrong with a transfer.

use aiodio_core::workload::shared::pattern::{self, Comparison};
use napi_derive::napi;

use crate::types::{BadRange, Failure};

/// What went wrong with a transfer: `error`, or else the data.
#[napi(object, object_from_js = false)]
pub struct TransferFault {
    /// The kernel reported an error, or transferred too little.
    pub error: Option<Failure>,
    /// Sectors read that are not what was written.
    pub sectors_bad: f64,
    /// The first of the bad ranges.
    pub ranges: Vec<BadRange>,
    pub ranges_total: f64,
}

impl From<pattern::Fault> for TransferFault {
    fn from(fault: pattern::Fault) -> Self {
        let (error, found) = match fault {
            pattern::Fault::Failed(error) => (Some(error.into()), Comparison::default()),
            pattern::Fault::Wrong(found) => (None, found),
        };
        Self {
            error,
            sectors_bad: found.sectors_bad as f64,
            ranges: found.ranges.into_iter().map(Into::into).collect(),
            ranges_total: found.ranges_total as f64,
        }
    }
}
