//! What a workload has found that its files should be, kept under numbers, so that TypeScript can have them verified rung by rung.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aiodio_core as core;
use core::error::{Error, Step};
use core::oracle::Expected;
use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;

use crate::task::Work;
use crate::types::{self, VerifyOutcome};

type Table = HashMap<u32, Arc<dyn Expected + Send + Sync>>;

static TABLE: Mutex<Option<Table>> = Mutex::new(None);

fn table() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps an expectation and returns its number, from 1.
pub(crate) fn keep(expected: impl Expected + Send + Sync + 'static) -> u32 {
    let mut table = table();
    let table = table.get_or_insert_default();
    let number = (1..u32::MAX).find(|number| !table.contains_key(number)).unwrap_or(u32::MAX);
    table.insert(number, Arc::new(expected));
    number
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct VerifyExpectedOptions {
    pub path: String,
    /// From a workload's outcome.
    pub expectation: u32,
    #[napi(ts_type = "'cache' | 'disk'")]
    pub rung: String,
    /// How many bad ranges to describe.
    pub ranges_max: u32,
}

/// Reads a file back and compares it with what a workload has found that it should be.
#[napi(ts_return_type = "Promise<VerifyOutcome>")]
pub fn verify_expected(o: VerifyExpectedOptions) -> AsyncTask<Work<VerifyOutcome>> {
    Work::start(move || {
        let expected = table().as_ref().and_then(|table| table.get(&o.expectation).cloned());
        let Some(expected) = expected else {
            let error = Error::new(Step::Options, format!("There is no expectation {}: it was forgotten", o.expectation));
            return VerifyOutcome::new(0.0, core::verify::Outcome { error: Some(error), ..Default::default() });
        };
        let outcome = match o.rung.parse() {
            Ok(rung) => core::verify::verify_expected(Path::new(&o.path), &*expected, rung, o.ranges_max as usize),
            Err(error) => core::verify::Outcome { error: Some(error), ..Default::default() },
        };
        VerifyOutcome::new(*expected.sizes().end() as f64, outcome)
    })
}

/// Forgets all expectations. Their numbers are used again.
#[napi]
pub fn forget_expectations() {
    *table() = None;
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Extent {
    pub offset: f64,
    pub bytes: f64,
    /// Offset on the device; 0 where there is none yet.
    pub physical: f64,
    /// "unwritten", "delalloc", "inline", "shared", "encoded", …; empty for plain written data.
    pub states: Vec<String>,
}

/// The extents that touch a range of a file, as they are now, up to `max`; null where the filesystem can't tell.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi-rs hands over values")]
pub fn file_extents(path: String, offset: f64, bytes: f64, max: u32) -> napi::Result<Option<Vec<Extent>>> {
    let extents = types::size("offset", offset).and_then(|offset| {
        let end = offset.saturating_add(types::size("bytes", bytes)?);
        core::extents::extents(Path::new(&path), offset..end, max as usize)
    });
    let extents = extents.map_err(|error| napi::Error::from_reason(types::sentence(&error)))?;
    Ok(extents.map(|extents| {
        let convert = |extent: core::extents::Extent| Extent {
            offset: extent.offset as f64,
            bytes: extent.bytes as f64,
            physical: extent.physical as f64,
            states: extent.states().into_iter().map(str::to_owned).collect(),
        };
        extents.into_iter().map(convert).collect()
    }))
}
