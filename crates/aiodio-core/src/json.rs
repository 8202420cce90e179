//! How values cross a border as JSON, where serde's own way would not do.
//!
//! Numbers are JSON numbers. A seed has 64 bits that all count, and readers that know only doubles would lose some: it is an object
//! with its decimal digits. Memory is an object with hexadecimal digits.
#![allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "as serde calls them")]

use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Errno, Error, Result, Step};

/// Reads what a caller asks for.
///
/// Fails with [`Step::Options`], and a message that names the field.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| Error::new(Step::Options, error.to_string()))
}

/// What a caller gets. Fails only where a type cannot be JSON, which is a bug.
pub fn write(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(Step::Options, error.to_string()))
}

/// `{"$bigint":"18446744073709551615"}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digits {
    #[serde(rename = "$bigint")]
    digits: String,
}

pub(crate) fn write_seed<S: Serializer>(seed: &u64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Digits { digits: seed.to_string() }.serialize(serializer)
}

pub(crate) fn write_seed_if_any<S: Serializer>(seed: &Option<u64>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    seed.map(|seed| Digits { digits: seed.to_string() }).serialize(serializer)
}

pub(crate) fn read_seed<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    let Digits { digits } = Digits::deserialize(deserializer)?;
    digits.parse().map_err(|_| D::Error::custom("a seed is from 0 to 2^64 - 1"))
}

/// `{"$hex":"00ff"}`.
pub(crate) fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Hex {
        #[serde(rename = "$hex")]
        digits: String,
    }
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16));
    Hex { digits: digits.collect() }.serialize(serializer)
}

pub(crate) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    duration.as_secs_f64().serialize(serializer)
}

/// None also for what no duration can be.
pub(crate) fn read_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Duration>, D::Error> {
    let seconds = Option::<f64>::deserialize(deserializer)?;
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

/// The name alone.
pub(crate) fn errno_name<S: Serializer>(errno: &Option<Errno>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    errno.map(Errno::name).serialize(serializer)
}
