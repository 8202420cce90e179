//! [`aiodio_core::workload::races`] for TypeScript.

use aiodio_core::error::{Error, Result};
use aiodio_core::workload::races;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::race_types::RaceTroubles;
use crate::task::Work;
use crate::types::{Failure, key, positive};

/// A race that there is.
#[napi(object, object_from_js = false)]
pub struct RaceRow {
    pub name: String,
    /// What happens, and where it is known from.
    pub story: String,
    /// What is proven when nothing is wrong.
    pub proven: String,
    /// Run when asked for by name, and not among all of them.
    pub on_request: bool,
}

/// All races of `racesRun`.
#[napi]
pub fn race_table() -> Vec<RaceRow> {
    let row = |race: &races::Race| RaceRow {
        name: race.name.to_owned(),
        story: race.story.to_owned(),
        proven: race.proven.to_owned(),
        on_request: race.on_request,
    };
    races::TABLE.iter().map(row).collect()
}

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct RacesOptions {
    /// One of `raceTable()`.
    pub race: String,
    /// Made anew.
    pub path: String,
    /// Made anew, where a second file is needed.
    pub other: String,
    /// What direct offsets and lengths must be multiples of.
    pub unit_bytes: f64,
    pub rounds: u32,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    pub seed: BigInt,
}

impl TryFrom<&RacesOptions> for races::Options {
    type Error = Error;
    fn try_from(o: &RacesOptions) -> Result<Self> {
        Ok(Self {
            path: o.path.clone().into(),
            other: o.other.clone().into(),
            unit_bytes: positive("unitBytes", o.unit_bytes)?,
            rounds: o.rounds,
            engine: o.engine.parse()?,
            seed: key(&o.seed, 0, 0)?.seed,
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct RacesOutcome {
    /// Why it could not go on.
    pub error: Option<Failure>,
    /// The system call that the filesystem does not have.
    pub unsupported: Option<String>,
    pub troubles: RaceTroubles,
    pub rounds: u32,
    /// How often both sides were under way at once.
    pub overlaps: f64,
}

impl From<races::Outcome> for RacesOutcome {
    fn from(outcome: races::Outcome) -> Self {
        Self {
            error: outcome.error.map(Into::into),
            unsupported: outcome.unsupported.map(str::to_owned),
            troubles: outcome.troubles.into(),
            rounds: outcome.rounds,
            overlaps: outcome.overlaps as f64,
        }
    }
}

/// Runs one of the races.
#[napi(ts_return_type = "Promise<RacesOutcome>")]
pub fn races_run(o: RacesOptions) -> AsyncTask<Work<RacesOutcome>> {
    Work::start(move || match races::Options::try_from(&o) {
        Ok(options) => races::run(&o.race, &options).into(),
        Err(error) => races::Outcome { error: Some(error), ..Default::default() }.into(),
    })
}
