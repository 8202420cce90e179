//! What races return, in one shape for all of them: [`aiodio_core::workload::shared::trouble`] for TypeScript.

use aiodio_core::engine::Stats;
use aiodio_core::error::Errno;
use aiodio_core::workload::shared::trouble::{Trouble, Troubles};
use napi_derive::napi;

use crate::types::BadRange;

#[napi(object, object_from_js = false)]
pub struct RaceTrouble {
    /// As the workload names it.
    pub kind: String,
    /// 1-based.
    pub round: f64,
    pub offset: f64,
    pub bytes: f64,
    pub errno: Option<i32>,
    /// Like "EIO".
    pub code: Option<String>,
    /// Half a sentence.
    pub detail: String,
    pub range: Option<BadRange>,
}

#[napi(object, object_from_js = false)]
pub struct RaceTroubles {
    pub first: Vec<RaceTrouble>,
    pub total: f64,
}

impl From<Trouble> for RaceTrouble {
    fn from(trouble: Trouble) -> Self {
        Self {
            kind: trouble.kind.to_owned(),
            round: trouble.round as f64,
            offset: trouble.offset as f64,
            bytes: trouble.bytes as f64,
            errno: trouble.errno.map(|errno| errno.0),
            code: trouble.errno.map(Errno::name),
            detail: trouble.detail,
            range: trouble.range.map(Into::into),
        }
    }
}

impl From<Troubles> for RaceTroubles {
    fn from(troubles: Troubles) -> Self {
        Self { first: troubles.first.into_iter().map(Into::into).collect(), total: troubles.total as f64 }
    }
}

#[napi(object, object_from_js = false)]
pub struct RaceStats {
    pub submitted: f64,
    pub in_flight_max: f64,
    pub retried_eintr: f64,
    pub retried_eagain: f64,
    pub short_reads: f64,
    pub short_writes: f64,
}

impl From<Stats> for RaceStats {
    fn from(stats: Stats) -> Self {
        Self {
            submitted: stats.submitted as f64,
            in_flight_max: stats.in_flight_max as f64,
            retried_eintr: stats.retried_eintr as f64,
            retried_eagain: stats.retried_eagain as f64,
            short_reads: stats.short_reads as f64,
            short_writes: stats.short_writes as f64,
        }
    }
}
