//! `aiodio-exec NODE PACKAGE PROGRAM [ARG...]`: a testcase as a command of its own, as LTP's programs are.
//!
//! Node takes longer to start than LTP's programs take to run, so the testcase, its output and its verdicts are all one Node process
//! (`ts/run/command-main.ts`). This one, which starts in a millisecond, does what a process can't do for itself: it has the time limit,
//! takes Ctrl-C, kills, and outlives a crash. Only then does a second Node process (`ts/run/aftermath-main.ts`) say what became of the
//! first, remove its directory and print the Summary.
//!
//! Both tell it lines: `deadline SECONDS|none [what else is under way]`, `state JSON` (kept for the second), `done STATUS`.

mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, Mode, OFlags, SeekFrom};

use self::watch::{News, Signals, Watch, shield_from_oom};

/// LTP's status of a testcase that broke.
const BROKEN: u8 = 2;
/// The status of who is interrupted for a second time.
const INTERRUPTED: u8 = 130;
/// LTP re-arms its alarm this often before it gives up on a process that SIGKILL does not end.
const KILL_ATTEMPTS: u32 = 11;
const KILL_WAIT: Duration = Duration::from_secs(5);
/// How long the process may take until it says how long it may take, as `surroundingSeconds` of `ts/base/timing.ts` has it: 30 seconds by
/// LTP's factor for slow machines. One that can't be used is the testcase's to complain of, so it counts as 1.
fn start_limit() -> Duration {
    let factor = std::env::var("LTP_TIMEOUT_MUL").ok().and_then(|text| text.trim().parse::<f64>().ok());
    Duration::from_secs(30).mul_f64(factor.filter(|factor| (0.099..=10_000.0).contains(factor)).unwrap_or(1.0))
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let (Some(node), Some(package), Some(program)) = (words.next(), words.next(), words.next()) else {
        say(
            "usage: aiodio-exec NODE PACKAGE PROGRAM [ARG...]: `aiodio-ltp exec PROGRAM` and the tree of `aiodio-ltp install-ltproot` call it so",
        );
        return ExitCode::from(BROKEN);
    };
    let mut arguments = vec![program];
    arguments.extend(words);
    let status = Run { node, scripts: PathBuf::from(package).join("dist") }.testcase(&arguments);
    ExitCode::from(status.unwrap_or_else(|error| broken(&format!("the testcase cannot be watched: {error}"))))
}

/// A line for people. Its reader may be gone, and the testcase must end all the same.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What is wrong with the installation or the machine, as a result line: it is no failure of the kernel.
fn broken(text: &str) -> u8 {
    say(&format!("aiodio_exec.rs:1: TBROK: {text}"));
    BROKEN
}

/// How the testcase's process ended, if it did not say so itself.
enum End {
    Died(ExitStatus),
    TimedOut,
    Interrupted,
}

struct Run {
    node: OsString,
    scripts: PathBuf,
}

/// What the testcase's process has told last.
struct Told {
    until: Option<Instant>,
    /// What is under way while no time limit of the testcase's own holds.
    around: Option<String>,
    state: String,
    done: Option<u8>,
}

impl Told {
    fn hear(&mut self, fact: &str) {
        let (word, rest) = fact.split_once(' ').unwrap_or((fact, ""));
        match word {
            "deadline" => {
                let (seconds, around) = rest.split_once(' ').map_or((rest, None), |(seconds, around)| (seconds, Some(around)));
                let seconds = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                self.until = seconds.and_then(|seconds| Instant::now().checked_add(seconds));
                self.around = around.map(str::to_owned);
            }
            "state" => rest.clone_into(&mut self.state),
            "done" => {
                self.done = rest.parse().ok();
                self.until = Instant::now().checked_add(KILL_WAIT);
            }
            _ => {}
        }
    }
}

impl Run {
    fn testcase(&self, arguments: &[OsString]) -> std::io::Result<u8> {
        let script = self.scripts.join("command-main.cjs");
        if !script.exists() {
            return Ok(broken(&format!("not built ({} is not there): run `npm ci` in the package's directory", script.display())));
        }
        let shielded = shield_from_oom();
        let mut signals = Signals::listen()?;
        // What the testcase's process records, and where the kernel's log is now: for itself, and for whoever comes after it.
        let flight = rustix::fs::memfd_create("aiodio-flight", MemfdFlags::CLOEXEC).ok();
        let [heard, log] = [kernel_log(), kernel_log()];
        let mut told = Told {
            until: Instant::now().checked_add(start_limit()),
            around: Some("before it began".to_owned()),
            state: String::new(),
            done: None,
        };
        let mut watch = Watch::start(
            &self.node,
            &script,
            &[number(flight.as_ref()), number(heard.as_ref())],
            arguments,
            &held(&[&flight, &heard]),
            shielded,
        )?;
        let end = loop {
            match watch.next(&mut signals, told.until)? {
                News::Fact(fact) => told.hear(&fact),
                // What it has told and printed to its end stands, whatever becomes of it as it goes.
                News::Ended(status) => match told.done {
                    Some(done) => return Ok(done),
                    None => break End::Died(status),
                },
                News::Late => match told.done {
                    Some(done) => {
                        // Its verdict stands: only the workload that it gave up is still at it.
                        kill(&mut watch, &mut signals)?;
                        return Ok(done);
                    }
                    None => break End::TimedOut,
                },
                News::Interrupted if told.done.is_some() => {}
                News::Interrupted => break End::Interrupted,
                News::InterruptedAgain => return Ok(INTERRUPTED),
            }
        };
        let killed = match end {
            End::Died(_) => true,
            End::TimedOut => {
                say("Test timeouted, sending SIGKILL!");
                if let Some(around) = &told.around {
                    // Nothing of the testcase's own work has hung: where in the kernel it is says more than the verdict.
                    say(&format!("It hung {around}:"));
                    self.stacks(&watch, &mut signals)?;
                }
                kill(&mut watch, &mut signals)?
            }
            End::Interrupted => {
                say("Sending SIGKILL to test process...");
                kill(&mut watch, &mut signals)?
            }
        };
        for fact in watch.rest() {
            told.hear(&fact);
        }
        let (how, number_of) = match &end {
            End::Died(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => ("signal", signal),
                (None, code) => ("exit", code.unwrap_or_default()),
            },
            End::TimedOut | End::Interrupted => ("killed", i32::from(killed)),
        };
        let facts = [number(flight.as_ref()), number(log.as_ref()), watch.pid().to_string(), how.to_owned(), number_of.to_string()];
        let arguments = [OsString::from(told.state)];
        let mut after = Watch::start(
            &self.node,
            &self.scripts.join("aftermath-main.cjs"),
            &facts,
            &arguments,
            &held(&[&flight, &log]),
            shielded,
        )?;
        let mut done = None;
        loop {
            match after.next(&mut signals, None)? {
                News::Fact(fact) => done = fact.strip_prefix("done ").and_then(|status| status.parse().ok()).or(done),
                News::Ended(status) => {
                    return Ok(
                        done.unwrap_or_else(|| broken(&format!("the testcase's end could not be told: Node ended with {status}")))
                    );
                }
                News::InterruptedAgain => return Ok(INTERRUPTED),
                News::Late | News::Interrupted => {}
            }
        }
    }

    /// Where in the kernel the process and its children are.
    fn stacks(&self, watch: &Watch, signals: &mut Signals) -> std::io::Result<()> {
        let mut shown =
            Watch::start(&self.node, &self.scripts.join("stacks-main.cjs"), &[watch.pid().to_string()], &[], &[], false)?;
        let until = Instant::now().checked_add(KILL_WAIT);
        loop {
            match shown.next(signals, until)? {
                News::Fact(_) => {}
                News::Ended(_) | News::Late | News::Interrupted | News::InterruptedAgain => return Ok(()),
            }
        }
    }
}

/// Ends the process with all its children; whether it is gone.
fn kill(watch: &mut Watch, signals: &mut Signals) -> std::io::Result<bool> {
    for _ in 0..KILL_ATTEMPTS {
        watch.kill();
        let until = Instant::now().checked_add(KILL_WAIT);
        loop {
            match watch.next(signals, until)? {
                News::Ended(_) => return Ok(true),
                News::Late => break,
                News::InterruptedAgain => std::process::exit(INTERRUPTED.into()),
                News::Fact(_) | News::Interrupted => {}
            }
        }
    }
    Ok(false)
}

/// The kernel's log at its present end, which is where its reader begins. None where it can't be read, which that one explains.
fn kernel_log() -> Option<OwnedFd> {
    let log = rustix::fs::open(Path::new("/dev/kmsg"), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // Containers put other things in its place, a console for example.
    if rustix::fs::fstat(&log).ok()?.st_rdev != rustix::fs::makedev(1, 11) {
        return None;
    }
    rustix::fs::seek(&log, SeekFrom::End(0)).ok()?;
    Some(log)
}

fn number(file: Option<&OwnedFd>) -> String {
    file.map_or_else(|| "-1".to_owned(), |file| file.as_raw_fd().to_string())
}

fn held<'file>(files: &[&'file Option<OwnedFd>]) -> Vec<&'file OwnedFd> {
    files.iter().filter_map(|file| file.as_ref()).collect()
}
