//! What a workload has found that its files should be, kept under numbers: who gets the outcome as JSON gets the number, and can have
//! the files verified level by level.
#![allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "as serde calls them")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Step};
use crate::oracle::Expected;
use crate::verify::{self, Level, Outcome};

type Table = HashMap<u32, Arc<dyn Expected + Send + Sync>>;

static TABLE: Mutex<Option<Table>> = Mutex::new(None);

fn table() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For `serialize_with`: keeps an expectation, and what is written is its number, from 1.
pub(crate) fn keep<S: Serializer>(
    expected: &(impl Expected + Clone + Send + Sync + 'static),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    number(expected.clone()).serialize(serializer)
}

/// The same of what may not be there.
pub(crate) fn keep_if_any<S: Serializer>(
    expected: &Option<impl Expected + Clone + Send + Sync + 'static>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    expected.clone().map(number).serialize(serializer)
}

/// The same of several.
pub(crate) fn keep_all<S: Serializer>(
    expected: &[impl Expected + Clone + Send + Sync + 'static],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(expected.iter().cloned().map(number))
}

fn number(expected: impl Expected + Send + Sync + 'static) -> u32 {
    let mut table = table();
    let table = table.get_or_insert_default();
    let number = (1..u32::MAX).find(|number| !table.contains_key(number)).unwrap_or(u32::MAX);
    table.insert(number, Arc::new(expected));
    number
}

/// Which file, and what it should be.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// From a workload's outcome.
    pub expectation: u32,
    /// Where to look.
    pub level: Level,
    /// How many bad ranges to describe; the others are counted.
    pub ranges_max: usize,
}

/// Reads a file back and compares it with what a workload has found that it should be.
pub fn verify(options: &Options) -> Outcome {
    let expected = table().as_ref().and_then(|table| table.get(&options.expectation).cloned());
    let Some(expected) = expected else {
        let error = Error::new(Step::Options, format!("There is no expectation {}: it was forgotten", options.expectation));
        return Outcome { error: Some(error), ..Outcome::default() };
    };
    verify::verify_expected(&options.path, &*expected, options.level, options.ranges_max)
}

/// Forgets all expectations. Their numbers are used again.
pub fn forget_all() {
    *table() = None;
}
