//! Makes `ts/native/types.ts` from the tables of what can be asked for, and proves that the one that is checked in is current.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use aiodio_core::call::Visitor;
use ts_rs::{Config, TS, TypeVisitor};

/// Names of types that each workload has one of: they get the workload's name before them.
const COMMON: [&str; 4] = ["Options", "Request", "Outcome", "Report"];

struct Types {
    config: Config,
    /// By name.
    declarations: BTreeMap<String, String>,
    /// The rows of one table.
    rows: String,
}

impl TypeVisitor for Types {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        T::visit_generics(self);
        if T::output_path().is_none() {
            return;
        }
        let (name, docs) = (T::ident(&self.config), T::docs().unwrap_or_default());
        let declaration = format!("{docs}export {}\n", T::decl(&self.config));
        match self.declarations.insert(name.clone(), declaration.clone()) {
            Some(other) => assert_eq!(other, declaration, "two types named {name}"),
            None => T::visit_dependencies(self),
        }
    }
}

impl Types {
    /// What a row calls this type.
    fn named<T: TS + 'static>(&mut self, row: &str, role: &str) -> String {
        if T::output_path().is_none() || !COMMON.contains(&T::ident(&self.config).as_str()) {
            self.visit::<T>();
            return T::name(&self.config);
        }
        let words = row.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
        let name = words.collect::<String>() + role;
        let declaration = format!("export type {name} = {};\n", T::inline(&self.config));
        assert_eq!(self.declarations.insert(name.clone(), declaration), None, "two types named {name}");
        T::visit_dependencies(self);
        name
    }

    fn table(&mut self, name: &str) -> String {
        format!("export interface {name} {{\n{}}}\n", std::mem::take(&mut self.rows))
    }
}

impl Visitor for Types {
    fn row<O: TS + 'static, R: TS + 'static>(&mut self, name: &str) {
        let (options, outcome) = (self.named::<O>(name, "Options"), self.named::<R>(name, "Outcome"));
        writeln!(self.rows, "  \"{name}\": {{ options: {options}; outcome: {outcome} }};").expect("a String takes all");
    }
}

fn generated() -> String {
    let config = Config::new().with_large_int("number");
    let mut types = Types { config, declarations: BTreeMap::new(), rows: String::new() };
    aiodio_core::call::workloads(&mut types);
    let workloads = types.table("Workloads");
    aiodio_core::call::facts(&mut types);
    aiodio_faultfs::call::facts(&mut types);
    let facts = types.table("Facts");
    let declarations: Vec<String> = types.declarations.into_values().collect();
    let text = format!(
        "// Made from the tables of `call.rs` by `TYPES=write cargo test -p aiodio-node`: do not edit.\n\n{workloads}\n{facts}\n{}",
        declarations.join("\n")
    );
    // Number and name of an error are told side by side (`index.ts`).
    let text = text.replace("errno?: Errno", "errno?: number, code?: string");
    // What is documented in one line.
    text.replace("/**\n * ", "/** ").replace("\n */\n", " */\n").replace(", \n", ",\n").replace("{ \n", "{\n")
}

#[test]
fn the_types_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ts/native/types.ts");
    let generated = generated();
    if std::env::var("TYPES").is_ok_and(|what| what == "write") {
        std::fs::write(&path, &generated).expect("types.ts");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == generated, "ts/native/types.ts is not current: TYPES=write cargo test -p aiodio-node");
}
