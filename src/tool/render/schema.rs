// SPDX-License-Identifier: GPL-2.0

//! The schema of what programs read, from the types and columns that are printed.

use super::{
    budget, changes, checked, details,
    facts::{DetailReport, Diff, PhaseReport, Report},
    grid::{Column, Head},
    repeated, rows,
    sweep::{self, Facts},
};
use crate::{
    columns::{self, Kind},
    snapshot::Snapshot,
};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// What the whole schema is of.
const ABOUT: &str = "What exitprof record, report, stat, diff, check and sweep write as JSON. Times are in \
                     cycles of the host's TSC, unless stated otherwise; what is unknown, is null. \
                     CSV has the fields of rows as columns, and what is unknown, is empty.";

/// The schema of all documents.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut all = vec![generator.subschema_for::<Snapshot>().to_value()];
    all.push(generator.subschema_for::<Report>().to_value());
    all.push(generator.subschema_for::<PhaseReport>().to_value());
    all.push(generator.subschema_for::<DetailReport>().to_value());
    all.push(generator.subschema_for::<Diff>().to_value());
    all.push(generator.subschema_for::<Facts>().to_value());
    all.push(generator.subschema_for::<repeated::Facts>().to_value());
    all.push(generator.subschema_for::<checked::Facts>().to_value());
    let mut definitions = generator.take_definitions(true);
    add_rows(&mut definitions, "Report", &report_heads());
    add_rows(&mut definitions, "PhaseReport", &phase_heads());
    add_rows(
        &mut definitions,
        "DetailReport",
        &heads(&details::columns()),
    );
    add_rows(&mut definitions, "Diff", &heads(&changes::columns(2)));
    add_more_files(&mut definitions);
    add_rows(&mut definitions, "Repeat", &heads(&repeated::columns()));
    add_rows(&mut definitions, "Check", &heads(&checked::columns()));
    add_rows(&mut definitions, "Sweep", &heads(&sweep::columns()));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "exitprof",
        "description": ABOUT,
        "anyOf": all,
        "$defs": definitions,
    })
}

fn heads<R>(columns: &[Column<'_, R>]) -> Vec<Head> {
    columns.iter().map(|column| column.head().clone()).collect()
}

fn report_heads() -> Vec<Head> {
    timed(rows::columns())
}

fn phase_heads() -> Vec<Head> {
    timed(budget::columns(None))
}

/// With the columns of an interval.
fn timed<R>(mut columns: Vec<Column<'_, R>>) -> Vec<Head> {
    columns.push(Column::fact(&columns::TIME, None::<f64>));
    columns.push(Column::fact(&columns::CLOCK, None::<f64>));
    heads(&columns)
}

/// Adds the rows of a table to the definition of what is known besides.
fn add_rows(definitions: &mut Map<String, Value>, name: &str, heads: &[Head]) {
    let Some(definition) = definitions.get_mut(name).and_then(Value::as_object_mut) else {
        return;
    };
    let rows = json!({
        "description": "The rows, and in CSV the lines.",
        "type": "array",
        "items": row(heads),
    });
    if let Some(properties) = definition
        .get_mut("properties")
        .and_then(Value::as_object_mut)
    {
        properties.insert("rows".into(), rows);
    }
    if let Some(required) = definition.get_mut("required").and_then(Value::as_array_mut) {
        required.push("rows".into());
    }
}

/// An object with a property for each column, or for each group of them.
fn row(heads: &[Head]) -> Value {
    let mut properties = Map::new();
    for head in heads
        .iter()
        .filter(|head| head.is_for_programs() && !head.is_fact)
    {
        let (name, value) = match &head.group {
            None => (head.meta.name, property(head.meta)),
            Some(group) => {
                let same = heads.iter().filter(|other| other.group == head.group);
                let same = same.map(|head| (head.meta.name.into(), property(head.meta)));
                (group.as_str(), object(same.collect()))
            }
        };
        properties.insert(name.into(), value);
    }
    object(properties)
}

fn object(properties: Map<String, Value>) -> Value {
    let required: Vec<&String> = properties.keys().collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// Adds the third file of diff and those that follow: they are like the second.
fn add_more_files(definitions: &mut Map<String, Value>) {
    let row = definitions.get_mut("Diff");
    let row = row.and_then(|diff| diff.pointer_mut("/properties/rows/items"));
    if let Some(row) = row {
        let second = row["properties"]["b"].clone();
        row["patternProperties"] = json!({ "^[c-z]$": second });
    }
}

/// The schema of a column's values.
fn property(meta: &columns::Meta) -> Value {
    let mut schema = match meta.kind {
        Kind::Name | Kind::Label => json!({ "type": ["string", "null"] }),
        Kind::Clock => json!({ "type": ["string", "null"], "format": "date-time" }),
        Kind::Number | Kind::Count | Kind::Whole => {
            json!({ "type": ["integer", "null"], "minimum": 0 })
        }
        Kind::Buckets => json!({
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "required": ["from", "to", "exits"],
                "properties": {
                    "from": {
                        "type": "integer", "minimum": 0,
                        "description": "lowest number of cycles",
                    },
                    "to": {
                        "type": "integer", "minimum": 0,
                        "description": "highest number of cycles; 2^64-1 in the last bucket",
                    },
                    "exits": {
                        "type": "integer", "minimum": 1,
                        "description": "number of exits that took so many",
                    },
                },
            },
        }),
        Kind::Mean
        | Kind::Percent
        | Kind::Change
        | Kind::Cycles
        | Kind::Time
        | Kind::TimeChange
        | Kind::Seconds => json!({ "type": ["number", "null"] }),
    };
    schema["description"] = meta.help.into();
    schema
}

/// The columns of CSV, for people.
pub fn text() -> String {
    let mut text = format!(
        "Prints a JSON Schema.\n\n{}\n",
        "JSON has a line for each table, and CSV a line for each row. Times are in cycles of the\n\
         host's TSC, unless stated otherwise. What is unknown, is null in JSON, and empty in CSV."
    );
    let mut list = |what: &str, heads: &[Head]| {
        let _ = writeln!(text, "\n{what}:");
        let heads = heads.iter().filter(|head| head.is_for_programs());
        let longest = heads.clone().map(|head| head.name().len()).max();
        let width = longest.unwrap_or(0);
        for head in heads {
            let _ = writeln!(text, "  {:width$}  {}", head.name(), head.meta.help);
        }
    };
    list("Rows of report and stat", &report_heads());
    list("Rows of report --phases and stat --phases", &phase_heads());
    list("Rows of report --details", &heads(&details::columns()));
    list("Rows of diff", &heads(&changes::columns(2)));
    list("Rows of stat -r", &heads(&repeated::columns()));
    list("Rows of check", &heads(&checked::columns()));
    list("Rows of sweep", &heads(&sweep::columns()));
    text
}
