//! The Node addon: hands on what is asked for by name, moves workloads off the event loop, and does what concerns the process itself.
//! `ts/native/` is its typed front.

use std::fs::{File, TryLockError};
use std::io::{stderr, stdin, stdout};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use aiodio_core::error::Result;
use aiodio_core::recorder::{self, Recorder};
use aiodio_core::{call, json};
use napi::bindgen_prelude::{AsyncTask, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status, Task};
use napi_derive::napi;

/// The file that stays the caller's.
fn borrowed(fd: RawFd) -> ManuallyDrop<File> {
    // SAFETY: the caller says that it is open; it is not closed here.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd) })
}

/// Takes an open file for this process alone (`flock(2)`) until the file is closed or the process is gone. False where
/// somebody else has it; true where its filesystem knows no locks.
#[napi]
#[must_use]
pub fn lock_file(fd: i32) -> bool {
    !matches!(borrowed(fd).try_lock(), Err(TryLockError::WouldBlock))
}

/// Becomes another program, with the same standard streams: all threads of this process end, with what they were doing, before it
/// begins (`execve(2)`). Returns only where that is impossible, with the reason.
#[napi]
#[must_use]
pub fn become_program(program: String, arguments: Vec<String>) -> String {
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    // Node keeps its streams from programs that it becomes; copies go through.
    let copy = |stream: BorrowedFd<'_>| stream.try_clone_to_owned();
    if let (Ok(input), Ok(output), Ok(error)) = (copy(stdin().as_fd()), copy(stdout().as_fd()), copy(stderr().as_fd())) {
        command.stdin(input).stdout(output).stderr(error);
    }
    command.exec().to_string()
}

fn answered(answer: Option<Result<String>>, name: &str) -> napi::Result<String> {
    let answer = answer.ok_or_else(|| napi::Error::from_reason(format!("there is no {name}")))?;
    answer.map_err(|error| napi::Error::from_reason(error.sentence()))
}

/// A fact, or what takes no time, by its name.
#[napi]
#[allow(clippy::needless_pass_by_value, reason = "napi-rs hands over values")]
pub fn ask(fact: String, options: String) -> napi::Result<String> {
    answered(call::fact(&fact, &options).or_else(|| aiodio_faultfs::call::fact(&fact, &options)), &fact)
}

/// Begins a new record, for all workloads from now on, in an open file that stays the caller's; without one in memory that goes with
/// this process. Each operation is printed to `trace_fd` when it completes. Null when it has begun.
#[napi]
pub fn start_record(fd: Option<i32>, trace_fd: Option<i32>) -> napi::Result<String> {
    let started = Recorder::create(fd.map(borrowed).as_deref(), recorder::CAPACITY).map(|made| {
        made.trace(trace_fd);
        recorder::set_current(Some(made));
    });
    answered(Some(json::write(&started.err())), "record")
}

type Progress = ThreadsafeFunction<f64, (), f64, Status, false, true>;

/// A workload that has not run yet.
pub struct Work {
    name: String,
    options: String,
    progress: Option<Progress>,
}

/// A workload by its name, on one of Node's worker threads.
#[napi(ts_return_type = "Promise<string>")]
pub fn call(
    workload: String,
    options: String,
    #[napi(ts_arg_type = "((done: number) => void) | undefined")] on_progress: Option<Function<'_, f64, ()>>,
) -> napi::Result<AsyncTask<Work>> {
    let progress = on_progress.map(|function| function.build_threadsafe_function().weak::<true>().build()).transpose()?;
    Ok(AsyncTask::new(Work { name: workload, options, progress }))
}

impl Task for Work {
    type Output = String;
    type JsValue = String;

    /// A panic, which would be a bug of the core, rejects the promise; by then the queue has waited for what was in flight.
    fn compute(&mut self) -> napi::Result<String> {
        let progress = |done: u64| {
            if let Some(progress) = &self.progress {
                progress.call(done as f64, ThreadsafeFunctionCallMode::NonBlocking);
            }
        };
        let answer = catch_unwind(AssertUnwindSafe(|| call::workload(&self.name, &self.options, &progress))).map_err(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            napi::Error::from_reason(format!("aiodio-core panicked, which is a bug: {text}"))
        })?;
        answered(answer, &self.name)
    }

    fn resolve(&mut self, _env: Env, answer: String) -> napi::Result<String> {
        Ok(answer)
    }
}
