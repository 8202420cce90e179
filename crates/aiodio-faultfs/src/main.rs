//! Serves one fault filesystem for as long as its standard input is open, mounts what another process of it serves, or lists the faults.
//!
//! The server is in a mount namespace of its own. Where it is mounted, somebody unmounts it, or the namespace goes (`unshare --mount`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aiodio_faultfs::rule::TABLE;
use aiodio_faultfs::{Client, Options, server};

const USAGE: &str = "aiodio-faultfs --list
aiodio-faultfs --mount DIRECTORY --control SOCKET
aiodio-faultfs --control SOCKET [--device BLOCK_DEVICE] [--bytes CAPACITY] [RULE]...";
const CAPACITY_BYTES: u64 = 1 << 30;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let mut target = None;
    let mut options = Options { control: PathBuf::new(), device: None, capacity_bytes: CAPACITY_BYTES, rules: Vec::new() };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--list" => {
                list();
                return Ok(());
            }
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            "--mount" => target = Some(value()?),
            "--control" => options.control = value()?.into(),
            "--device" => options.device = Some(value()?.into()),
            "--bytes" => options.capacity_bytes = value()?.parse().map_err(|_| format!("--bytes is a number\n{USAGE}"))?,
            rule => options.rules.push(rule.parse().map_err(|error| format!("{error}"))?),
        }
    }
    if options.control == Path::new("") {
        return Err(USAGE.to_owned());
    }
    if let Some(target) = target {
        return Client::new(&options.control).mount(Path::new(&target)).map_err(|error| error.to_string());
    }
    server::leave_mount_namespace().map_err(|error| error.to_string())?;
    server::serve(options).map_err(|error| error.to_string())?;
    println!("ready");
    server::wait_for_end_of_input();
    Ok(())
}

fn list() {
    for row in TABLE {
        let operations: Vec<_> = row.operations.iter().map(|operation| operation.name()).collect();
        println!("{} ({}): {}", row.name, operations.join(" or "), row.meaning);
        for parameter in row.parameters {
            println!("    {}={}: {}", parameter.name, parameter.default, parameter.meaning);
        }
    }
}
