//! Readers beside a writer, and the dirtying of free blocks before it.

use std::path::Path;
use std::time::Duration;

use aiodio_core as core;
use core::error::{Error, Result, Step};
use core::workload::readers::{self, Scene};
use core::workload::shared::dirty;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::expectation::keep;
use crate::task::Work;
use crate::types::{self, EngineStats, Failure, FillOutcome, VerifyOutcome};

/// Leaves recognisable old data in free blocks: writes a file of so many bytes and removes it. `path` must not exist.
#[napi(ts_return_type = "Promise<FillOutcome>")]
pub fn dirty_free_blocks(path: String, bytes: f64, seed: BigInt) -> AsyncTask<Work<FillOutcome>> {
    Work::start(move || {
        let dirtied = types::key(&seed, 0, 0)
            .and_then(|key| dirty::dirty_free_blocks(Path::new(&path), types::size("bytes", bytes)?, key.seed));
        FillOutcome { error: dirtied.err().map(Into::into) }
    })
}

/// Whether a file of `bytes` bytes finds room in a directory's filesystem: it is allocated and freed again. False also where the
/// filesystem can't allocate beforehand.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi-rs hands over values")]
pub fn has_room(directory: String, bytes: f64) -> bool {
    dirty::has_room(Path::new(&directory), bytes as u64).unwrap_or(false)
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct RaceOptions {
    #[napi(ts_type = "'sparse' | 'append' | 'truncate' | 'overwrite'")]
    pub scene: String,
    /// For "sparse" and "overwrite": the file's size.
    pub bytes: Option<f64>,
    /// For "sparse": offset of the first write.
    pub start: Option<f64>,
    /// For "append" and "truncate": blocks.
    pub appends: Option<f64>,
    /// For "truncate": how often.
    pub rounds: Option<u32>,
    /// For "truncate": path of the file that takes the free blocks.
    pub junk: Option<String>,
    /// For "overwrite": how many.
    pub writers: Option<f64>,
    pub path: String,
    pub block_bytes: f64,
    /// Writes in flight.
    pub depth: f64,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    pub readers: f64,
    pub read_bytes: f64,
    pub seed: BigInt,
    pub file_id: u32,
    /// The first of several.
    pub generation: u32,
    /// Zeros, as LTP writes them, instead of stamps.
    pub ltp_pattern: bool,
    pub logical_block_bytes: f64,
    /// Absent: until the work is done.
    pub seconds_max: Option<f64>,
}

impl TryFrom<RaceOptions> for readers::Options {
    type Error = Error;
    fn try_from(o: RaceOptions) -> Result<Self> {
        let needed = |name: &str, value: Option<f64>| {
            let missing = || Error::new(Step::Options, format!("{name} is needed for the scene \"{}\"", o.scene));
            types::size(name, value.ok_or_else(missing)?)
        };
        let scene = match o.scene.as_str() {
            "sparse" => Scene::Sparse { bytes: needed("bytes", o.bytes)?, start: needed("start", o.start)? },
            "append" => Scene::Append { appends: needed("appends", o.appends)? },
            "truncate" => Scene::Truncate {
                appends: needed("appends", o.appends)?,
                rounds: needed("rounds", o.rounds.map(f64::from))? as u32,
                junk: o.junk.clone().unwrap_or_default().into(),
            },
            "overwrite" => Scene::Overwrite { bytes: needed("bytes", o.bytes)?, writers: needed("writers", o.writers)? as usize },
            other => return Err(Error::new(Step::Options, format!("There is no scene \"{other}\""))),
        };
        Ok(Self {
            scene,
            path: o.path.into(),
            block_bytes: types::positive("blockBytes", o.block_bytes)?,
            depth: types::positive("depth", o.depth)?,
            engine: o.engine.parse()?,
            readers: types::size("readers", o.readers)? as usize,
            read_bytes: types::positive("readBytes", o.read_bytes)?,
            key: types::key(&o.seed, o.file_id, o.generation)?,
            ltp_pattern: o.ltp_pattern,
            logical_block_bytes: types::positive("logicalBlockBytes", o.logical_block_bytes)?,
            time_max: o.seconds_max.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        })
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct RaceTally {
    pub rounds: u32,
    pub writes: f64,
    pub reads: f64,
    pub bytes_read: f64,
    pub overlapping: f64,
    pub touching: f64,
    pub laps: f64,
    pub bad_reads: f64,
}

#[napi(object, object_from_js = false)]
pub struct BadRead {
    pub reader: u32,
    pub offset: f64,
    pub bytes: f64,
    pub direct: bool,
    pub found: VerifyOutcome,
    /// When the read ended too early or too late: the smallest size that the file may have had.
    pub size_min: Option<f64>,
    /// The largest one.
    pub size_max: Option<f64>,
}

#[napi(object, object_from_js = false)]
pub struct RaceOutcome {
    /// Absent when every write was made in full and every read could be made.
    pub error: Option<Failure>,
    /// The first read that returned what it must not.
    pub bad: Option<BadRead>,
    pub tally: RaceTally,
    /// Whether the time was used up before the work was done.
    pub late: bool,
    /// What the file should be now: for `verifyExpected`.
    pub expectation: u32,
    pub stats: EngineStats,
    /// The race alone, without opening and allocating.
    pub elapsed_seconds: f64,
}

/// Has readers read a file while it is written, extended or truncated.
#[napi(ts_return_type = "Promise<RaceOutcome>")]
pub fn race_file(o: RaceOptions) -> AsyncTask<Work<RaceOutcome>> {
    Work::start(move || match readers::Options::try_from(o) {
        Ok(options) => readers::race(&options).into(),
        Err(error) => readers::Outcome::failed(error).into(),
    })
}

impl From<readers::Outcome> for RaceOutcome {
    fn from(outcome: readers::Outcome) -> Self {
        let readers::Outcome { error, bad, tally, late, oracle, stats, elapsed } = outcome;
        Self {
            error: error.map(Into::into),
            bad: bad.map(Into::into),
            tally: RaceTally {
                rounds: tally.rounds,
                writes: tally.writes as f64,
                reads: tally.reads as f64,
                bytes_read: tally.bytes_read as f64,
                overlapping: tally.overlapping as f64,
                touching: tally.touching as f64,
                laps: tally.laps as f64,
                bad_reads: tally.bad_reads as f64,
            },
            late,
            expectation: keep(oracle),
            stats: stats.into(),
            elapsed_seconds: elapsed.as_secs_f64(),
        }
    }
}

impl From<readers::BadRead> for BadRead {
    fn from(bad: readers::BadRead) -> Self {
        Self {
            reader: bad.reader as u32,
            offset: bad.offset as f64,
            bytes: bad.bytes as f64,
            direct: bad.direct,
            found: VerifyOutcome::new(bad.bytes as f64, bad.found),
            size_min: bad.sizes.as_ref().map(|sizes| *sizes.start() as f64),
            size_max: bad.sizes.as_ref().map(|sizes| *sizes.end() as f64),
        }
    }
}
