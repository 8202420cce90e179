//! What can be asked for by name, with options and answers as JSON: see [`aiodio_core::call`].

use std::path::PathBuf;

use aiodio_core::error::{Error, Result, Step};
use serde::{Deserialize, Serialize};

use crate::faults::Fired;
use crate::rule::{self, Row, Rule};
use crate::server::{self, Client};

/// What to serve.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FaultfsOptions", optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Path of the socket for orders, which is made.
    pub control: PathBuf,
    /// A block device for the mount to lie on; it is never read nor written.
    pub device: Option<PathBuf>,
    /// How much can be stored.
    pub capacity_bytes: u64,
    /// `FAULT[:KEY=VALUE]...`
    pub rules: Vec<String>,
}

/// What the rules have done since they were set.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct FaultReport {
    /// Why nobody knows.
    pub error: Option<Error>,
    /// How often each rule has fired, in the order in which they were set.
    pub counts: Vec<u64>,
    /// The first 4096 faults that were applied.
    pub fired: Vec<Fired>,
}

fn parse(rules: &[String]) -> Result<Vec<Rule>> {
    let parse = |text: &String| text.parse::<Rule>().map_err(|error| Error::new(Step::Options, error.to_string()));
    rules.iter().map(parse).collect()
}

fn serve(Options { control, device, capacity_bytes, rules }: Options) -> Result<()> {
    server::serve(server::Options { control, device, capacity_bytes, rules: parse(&rules)? })
}

fn fired(control: &std::path::Path) -> FaultReport {
    match Client::new(control).fired() {
        Ok(server::Report { counts, fired }) => FaultReport { error: None, counts, fired },
        Err(error) => FaultReport { error: Some(error), ..FaultReport::default() },
    }
}

aiodio_core::calls! {
    /// A fact, or what takes no time. `serve-faultfs` needs a process that has no other task; nothing is mounted by it.
    fact(), facts {
        "check-fault-rule": |rule: String| -> Option<String> { Ok(rule.parse::<Rule>().err().map(|error| error.to_string())) }
        "fault-table": |(): ()| -> &'static [Row] { Ok(rule::TABLE) }
        "faults-fired": |control: PathBuf| -> FaultReport { Ok(fired(&control)) }
        "mount-faultfs": |(control, target): (PathBuf, PathBuf)| -> Option<Error> { Ok(Client::new(&control).mount(&target).err()) }
        "serve-faultfs": |options: Options| -> Option<Error> { Ok(serve(options).err()) }
        "set-fault-rules": |(control, rules): (PathBuf, Vec<String>)| -> Option<Error> {
            Ok(parse(&rules).and_then(|rules| Client::new(&control).set_rules(&rules)).err())
        }
    }
}
