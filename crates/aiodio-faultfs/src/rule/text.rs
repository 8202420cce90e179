//! How a rule is written, read and printed.

use std::fmt;

use super::{BadRule, Io, Operation, Parameter, Rule, TABLE};

/// The settings that every rule has.
const SETTINGS: [&str; 7] = ["file", "op", "io", "range", "probability", "count", "seed"];

/// Decimal or 0x….
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // `from_str_radix` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, radix).ok())?
}

impl std::str::FromStr for Rule {
    type Err = BadRule;

    /// `FAULT[:KEY=VALUE]...`
    fn from_str(text: &str) -> Result<Self, BadRule> {
        let bad = |reason| BadRule { rule: text.to_owned(), reason };
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let row = TABLE.iter().find(|row| row.name == name).ok_or_else(|| {
            let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
            bad(format!("there is no fault '{name}'; there are: {}", names.join(", ")))
        })?;
        let mut rule = Self::new(row.fault);
        let mut seen = Vec::new();
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| bad(format!("'{part}' is no KEY=VALUE")))?;
            if seen.contains(&key) {
                return Err(bad(format!("'{key}' is set twice")));
            }
            seen.push(key);
            rule.set(key, value).map_err(bad)?;
        }
        Ok(rule)
    }
}

impl fmt::Display for Rule {
    /// As it is read; what is the default is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.fault.row();
        let plain = Self::new(self.fault);
        write!(f, "{}", row.name)?;
        if self.file != plain.file {
            write!(f, ":file={}", self.file)?;
        }
        if self.operation != plain.operation {
            write!(f, ":op={}", self.operation.name())?;
        }
        if let Some(io) = self.io
            && self.io != plain.io
        {
            write!(f, ":io={}", io.name())?;
        }
        if self.range != plain.range {
            write!(f, ":range={:#x}-", self.range.start)?;
            if self.range.end != u64::MAX {
                write!(f, "{:#x}", self.range.end)?;
            }
        }
        if self.probability != plain.probability {
            write!(f, ":probability={}", self.probability)?;
        }
        if self.count != plain.count {
            match self.count {
                Some(count) => write!(f, ":count={count}")?,
                None => write!(f, ":count=always")?,
            }
        }
        if self.seed != plain.seed {
            write!(f, ":seed={:#x}", self.seed)?;
        }
        for (parameter, value) in row.parameters.iter().zip(&self.parameters) {
            if *value != parameter.default {
                write!(f, ":{}={value}", parameter.name)?;
            }
        }
        Ok(())
    }
}

impl Rule {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let row = self.fault.row();
        match key {
            "file" if value.is_empty() || value.chars().any(char::is_control) => {
                return Err("'file' is a pattern like dstfile.bin, *.bin or /directory/*".to_owned());
            }
            "file" => value.clone_into(&mut self.file),
            "op" => {
                let known = Operation::ALL.into_iter().find(|operation| operation.name() == value);
                self.operation = known.filter(|operation| row.operations.contains(operation)).ok_or_else(|| {
                    let names: Vec<_> = row.operations.iter().map(|operation| operation.name()).collect();
                    format!("'op' of {} is {}, not '{value}'", row.name, names.join(" or "))
                })?;
            }
            "io" => {
                let io = [Io::Direct, Io::Cached].into_iter().find(|io| io.name() == value);
                let io = io.ok_or_else(|| format!("'io' is direct or cached, not '{value}'"))?;
                if row.io.is_some_and(|only| only != io) {
                    return Err(format!("{} has no {} I/O", row.name, io.name()));
                }
                self.io = Some(io);
            }
            "range" => {
                let range = value.split_once('-').and_then(|(start, end)| {
                    let end = if end.is_empty() { Some(u64::MAX) } else { number(end) };
                    Some(number(start)?..end?)
                });
                self.range = range
                    .filter(|range| !range.is_empty())
                    .ok_or_else(|| format!("'range' is START-END or START- in bytes (END is not part of it), not '{value}'"))?;
            }
            "probability" => {
                let value = number(value).filter(|value| *value <= 1000);
                self.probability = value.ok_or("'probability' is 0 to 1000, in 1000 requests")? as u16;
            }
            "count" if value == "always" => self.count = None,
            "count" => {
                let value = number(value).filter(|value| *value > 0);
                self.count = Some(value.ok_or("'count' is how often at most, 1 or more, or always")?);
            }
            "seed" => self.seed = number(value).ok_or("'seed' is a number below 2^64, decimal or 0x…")?,
            _ => {
                let Some(index) = row.parameters.iter().position(|parameter| parameter.name == key) else {
                    let own = row.parameters.iter().map(|parameter| parameter.name);
                    let all: Vec<_> = SETTINGS.into_iter().chain(own).collect();
                    return Err(format!("there is no '{key}'; {} has: {}", row.name, all.join(", ")));
                };
                let Parameter { range, meaning, .. } = &row.parameters[index];
                let value = value.strip_prefix('-').map_or_else(
                    || number(value).and_then(|value| i64::try_from(value).ok()),
                    |digits| number(digits).and_then(|value| i64::try_from(value).ok()).map(|value| -value),
                );
                self.parameters[index] = value
                    .filter(|value| range.contains(value))
                    .ok_or_else(|| format!("'{key}' is {} to {} ({meaning})", range.start(), range.end()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, names};
    use super::*;
    use proptest::prelude::*;

    fn any_rule() -> impl Strategy<Value = Rule> {
        let general = (
            0..TABLE.len(),
            "[a-z0-9_.*?/ ]{1,12}",
            any::<prop::sample::Index>(),
            prop::option::of(any::<bool>()),
            (any::<u64>(), any::<u64>()),
            0_u16..=1000,
            prop::option::of(1_u64..),
            any::<u64>(),
        );
        (general, prop::collection::vec(any::<i64>(), 2)).prop_map(|(general, values)| {
            let (index, file, operation, io, (a, b), probability, count, seed) = general;
            let row = &TABLE[index];
            Rule {
                fault: row.fault,
                file,
                operation: row.operations[operation.index(row.operations.len())],
                io: row.io.or(io.map(|direct| if direct { Io::Direct } else { Io::Cached })),
                range: a.min(b)..a.max(b).max(a.min(b).saturating_add(1)),
                probability,
                count,
                seed,
                parameters: row
                    .parameters
                    .iter()
                    .zip(values)
                    .map(|(Parameter { range, .. }, value)| {
                        let span = range.end() - range.start() + 1;
                        range.start() + value.rem_euclid(span)
                    })
                    .collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn a_printed_rule_is_read_as_itself(rule in any_rule().prop_filter("no empty range", |rule| !rule.range.is_empty())) {
            let text = rule.to_string();
            prop_assert_eq!(text.parse::<Rule>(), Ok(rule), "{}", text);
        }

        #[test]
        fn no_text_is_more_than_refused(text in "[ -~]{0,40}", fault in 0..TABLE.len()) {
            for text in [text.clone(), format!("{}:{text}", TABLE[fault].name)] {
                if let Ok(rule) = text.parse::<Rule>() {
                    prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
                }
            }
        }

        #[test]
        fn a_pattern_made_from_a_name_fits_it(name in "[a-z.]{1,12}", at in any::<prop::sample::Index>(), len in 0_usize..4) {
            let start = at.index(name.len());
            let end = (start + len).min(name.len());
            let (head, tail) = (&name[..start], &name[end..]);
            let (stars, marks) = (format!("{head}*{tail}"), format!("{head}{}{tail}", "?".repeat(end - start)));
            let path = format!("/some/where/{name}");
            prop_assert!(names(&stars, &path));
            prop_assert!(names(&marks, &name));
            let (longer, shorter) = (format!("{name}?"), &name[1..]);
            prop_assert!(!names(&longer, &name));
            prop_assert!(!names(shorter, &name));
        }
    }

    #[test]
    fn the_written_example_means_what_it_says() {
        let text = "flip-bit:file=dstfile.bin:range=0x10000-0x20000:probability=1000:count=1:seed=7";
        let rule: Rule = text.parse().expect("rule");
        let expected =
            Rule { file: "dstfile.bin".into(), range: 0x10000..0x20000, count: Some(1), seed: 7, ..Rule::new(Fault::FlipBit) };
        assert_eq!(rule, expected);
        assert_eq!(rule.to_string(), "flip-bit:file=dstfile.bin:range=0x10000-0x20000:count=1:seed=0x7");
    }

    #[test]
    fn bad_rules_say_what_to_write_instead() {
        let reason = |text: &str| text.parse::<Rule>().expect_err("bad").to_string();
        assert!(reason("flip").starts_with("Fault rule 'flip': there is no fault 'flip'; there are: drop-write, "));
        assert_eq!(reason("tear:4096"), "Fault rule 'tear:4096': '4096' is no KEY=VALUE");
        assert_eq!(
            reason("tear:by=1"),
            "Fault rule 'tear:by=1': there is no 'by'; tear has: file, op, io, range, probability, count, seed, block, at"
        );
        assert_eq!(reason("tear:op=read"), "Fault rule 'tear:op=read': 'op' of tear is write, not 'read'");
        assert_eq!(reason("tear:seed=1:seed=2"), "Fault rule 'tear:seed=1:seed=2': 'seed' is set twice");
        assert!(reason("tear:range=9-8").contains("'range' is START-END"));
        assert!(reason("tear:range=+1-8").contains("'range' is START-END"));
        assert!(reason("tear:count=0").contains("1 or more, or always"));
        assert!(reason("tear:probability=1001").contains("0 to 1000"));
        assert!(reason("tear:file=").contains("'file' is a pattern"));
        assert!(reason("short-read:io=cached").contains("short-read has no cached I/O"));
        assert!(reason("zeros-until:ms=-1").contains("'ms' is 0 to 3600000 (milliseconds)"));
    }

    #[test]
    fn the_table_has_every_fault_once() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|other| other.fault != row.fault && other.name != row.name), "{}", row.name);
            assert!(row.name.parse::<Rule>().is_ok_and(|rule| rule == Rule::new(row.fault)));
            assert!(row.parameters.iter().all(|parameter| parameter.range.contains(&parameter.default)));
        }
        // The last one of the enumeration: a new fault makes this fail until it has a row.
        assert_eq!(TABLE.len(), Fault::CorruptCachedReads as usize + 1);
    }
}
