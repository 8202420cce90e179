//! The log of a run: what was done, so that it can be done again.

use std::fmt::Write;
use std::path::Path;

use super::operation::Operation;
use crate::error::{Errno, Error, Result, Step};

/// First word of the first line.
const MAGIC: &str = "fsx-linux";

/// A run's operations. The number of each, from 1, is the generation of the stamps that it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Of the stamps.
    pub seed: u64,
    /// In order.
    pub operations: Vec<Operation>,
}

impl Log {
    /// `fsx-linux seed 0x…`, then one line for each operation.
    pub fn text(&self) -> String {
        let mut text = format!("{MAGIC} seed {:#x}\n", self.seed);
        for operation in &self.operations {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{operation}");
        }
        text
    }

    /// Empty lines and what follows a `#` are left out.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.split('#').next().unwrap_or("").trim()));
        let mut lines = lines.filter(|(_, line)| !line.is_empty());
        let header: Vec<&str> = lines.next().map_or_else(Vec::new, |(_, line)| line.split_whitespace().collect());
        let [MAGIC, "seed", seed] = header[..] else { return Err(format!("its first line is not \"{MAGIC} seed NUMBER\"")) };
        let seed = match seed.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => seed.parse(),
        };
        let seed = seed.map_err(|_| "its seed is not a number below 2^64".to_owned())?;
        let parse = |(number, line): (usize, &str)| line.parse().map_err(|error| format!("line {number}: {error}"));
        Ok(Self { seed, operations: lines.map(parse).collect::<std::result::Result<_, _>>()? })
    }

    /// Reads a log.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(Step::Open, "The log of operations cannot be read").errno(Errno::from(&error)).path(path)
        })?;
        Self::parse(&text).map_err(|why| Error::new(Step::Options, format!("This is no log of operations: {why}")).path(path))
    }

    /// Writes it, over what is there.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.text()).map_err(|error| {
            Error::new(Step::Write, "The log of operations cannot be written").errno(Errno::from(&error)).path(path)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::operation::Kind;
    use super::*;

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let copy = Operation { to: 4096, ..Operation::new(Kind::Copy, 7, 9) };
        let log = Log { seed: u64::MAX, operations: vec![Operation::new(Kind::Write, 0, 100), copy] };
        assert_eq!(log.text(), "fsx-linux seed 0xffffffffffffffff\nwrite 0x0 0x64\ncopy 0x7 0x9 to 0x1000\n");
        assert_eq!(Log::parse(&log.text()), Ok(log.clone()));
        let commented = log.text().replace("write", "\n# by hand:\nwrite").replace("0x64", "100 # decimal");
        assert_eq!(Log::parse(&commented), Ok(log));
    }

    #[test]
    fn what_is_no_log_is_refused_with_the_line() {
        assert!(Log::parse("").expect_err("empty").contains("first line"));
        assert!(Log::parse("fsx-linux seed -1\n").expect_err("seed").contains("2^64"));
        assert!(Log::parse("fsx-linux seed 1\nread 0 1\nfly\n").expect_err("line").contains("line 3: there is no operation"));
    }
}
