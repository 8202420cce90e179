//! Converts for `aiodio-faultfs`.
#![allow(clippy::needless_pass_by_value, reason = "napi gives values away")]

use std::path::{Path, PathBuf};

use aiodio_core::error::{Error, Result, Step};
use aiodio_faultfs as faultfs;
use napi_derive::napi;

use crate::types::{Failure, size};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct FaultfsOptions {
    /// Path of the socket for orders, which is made.
    pub control: String,
    /// A block device for the mount to lie on; it is never read nor written.
    pub device: Option<String>,
    /// How much can be stored.
    pub capacity_bytes: f64,
    /// `FAULT[:KEY=VALUE]...`
    pub rules: Vec<String>,
}

/// What a fault rule can be made of.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct FaultRow {
    /// As in rules.
    pub name: String,
    pub meaning: String,
    /// The first is the default.
    pub operations: Vec<String>,
    pub parameters: Vec<FaultParameter>,
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct FaultParameter {
    pub name: String,
    #[napi(js_name = "default")]
    pub value: i64,
    /// With its unit.
    pub meaning: String,
}

/// A fault that was applied.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct FiredFault {
    /// The rule's number in the list that was set, from 0.
    pub rule: u32,
    /// From the filesystem's root, with a `/` in front.
    pub path: String,
    pub offset: f64,
    /// 0 for an fsync.
    pub length: f64,
}

/// What the rules have done since they were set.
#[napi(object, object_from_js = false)]
#[derive(Debug, Default)]
pub struct FaultReport {
    /// Why nobody knows.
    pub error: Option<Failure>,
    /// How often each rule has fired, in the order in which they were set.
    pub counts: Vec<f64>,
    /// The first 4096 faults that were applied.
    pub fired: Vec<FiredFault>,
}

fn parse(rules: &[String]) -> Result<Vec<faultfs::Rule>> {
    let parse = |text: &String| text.parse::<faultfs::Rule>().map_err(|error| Error::new(Step::Options, error.to_string()));
    rules.iter().map(parse).collect()
}

/// Starts a fault filesystem's server in this process, which must have no other task; null when it serves. Nothing is mounted yet.
#[napi]
pub fn serve_faultfs(o: FaultfsOptions) -> Option<Failure> {
    let serve = || {
        faultfs::serve(faultfs::Options {
            control: o.control.into(),
            device: o.device.map(PathBuf::from),
            capacity_bytes: size("capacityBytes", o.capacity_bytes)?,
            rules: parse(&o.rules)?,
        })
    };
    serve().err().map(Into::into)
}

/// Mounts what the server with that socket serves, in the mount namespace of this process, which the server must not be in; null when
/// it is mounted.
#[napi]
pub fn mount_faultfs(control: String, target: String) -> Option<Failure> {
    faultfs::Client::new(Path::new(&control)).mount(Path::new(&target)).err().map(Into::into)
}

/// Replaces a server's rules, whose counting starts anew; null when it is done.
#[napi]
pub fn set_fault_rules(control: String, rules: Vec<String>) -> Option<Failure> {
    let set = || faultfs::Client::new(Path::new(&control)).set_rules(&parse(&rules)?);
    set().err().map(Into::into)
}

/// What a server's rules have done since they were set.
#[napi]
pub fn faults_fired(control: String) -> FaultReport {
    match faultfs::Client::new(Path::new(&control)).fired() {
        Ok(report) => FaultReport {
            error: None,
            counts: report.counts.into_iter().map(|count| count as f64).collect(),
            fired: report.fired.into_iter().map(Into::into).collect(),
        },
        Err(error) => FaultReport { error: Some(error.into()), ..Default::default() },
    }
}

impl From<faultfs::Fired> for FiredFault {
    fn from(fired: faultfs::Fired) -> Self {
        Self { rule: fired.rule as u32, path: fired.path, offset: fired.offset as f64, length: fired.length as f64 }
    }
}

/// Why a text is no fault rule; null when it is one.
#[napi]
pub fn check_fault_rule(rule: String) -> Option<String> {
    rule.parse::<faultfs::Rule>().err().map(|error| error.to_string())
}

/// Every fault that there is.
#[napi]
pub fn fault_table() -> Vec<FaultRow> {
    let parameter = |parameter: &faultfs::rule::Parameter| FaultParameter {
        name: parameter.name.to_owned(),
        value: parameter.default,
        meaning: parameter.meaning.to_owned(),
    };
    let row = |row: &faultfs::rule::Row| FaultRow {
        name: row.name.to_owned(),
        meaning: row.meaning.to_owned(),
        operations: row.operations.iter().map(|operation| operation.name().to_owned()).collect(),
        parameters: row.parameters.iter().map(parameter).collect(),
    };
    faultfs::rule::TABLE.iter().map(row).collect()
}
