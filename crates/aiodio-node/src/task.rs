//! Runs a closure on one of Node's worker threads, as a promise.

use std::panic::{AssertUnwindSafe, catch_unwind};

use napi::bindgen_prelude::{AsyncTask, ToNapiValue, TypeName};
use napi::{Env, Result, Task};

/// A closure that has not run yet.
pub struct Work<T> {
    closure: Option<Box<dyn FnOnce() -> T + Send>>,
}

impl<T: Send + ToNapiValue + TypeName + 'static> Work<T> {
    pub(crate) fn start(closure: impl FnOnce() -> T + Send + 'static) -> AsyncTask<Self> {
        AsyncTask::new(Self { closure: Some(Box::new(closure)) })
    }
}

impl<T: Send + ToNapiValue + TypeName + 'static> Task for Work<T> {
    type Output = T;
    type JsValue = T;

    /// A panic, which would be a bug of the core, rejects the promise; by then the queue has waited for what was in flight.
    fn compute(&mut self) -> Result<T> {
        let closure = self.closure.take().ok_or_else(|| napi::Error::from_reason("a task ran twice"))?;
        catch_unwind(AssertUnwindSafe(closure)).map_err(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            napi::Error::from_reason(format!("aiodio-core panicked, which is a bug: {text}"))
        })
    }

    fn resolve(&mut self, _env: Env, output: T) -> Result<T> {
        Ok(output)
    }
}
