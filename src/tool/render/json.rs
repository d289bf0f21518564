// SPDX-License-Identifier: GPL-2.0

//! JSON: a line for each table, with all that is known.

use super::{
    grid::{Grid, Value},
    sheet::{Exporter, Sheet},
};
use anyhow::Result;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use std::io::Write;

/// Writes JSON.
#[derive(Debug)]
pub struct Json;

/// A sheet as an object.
#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    facts: &'a dyn erased_serde::Serialize,
    rows: Rows<'a>,
}

struct Rows<'a>(&'a dyn Grid);
struct Row<'a>(&'a dyn Grid, usize);
/// The columns of a row that belong to a group.
struct Group<'a>(&'a dyn Grid, usize, &'a [(usize, &'static str)]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = (0..self.0.len()).map(|row| Row(self.0, row));
        serializer.collect_seq(rows)
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row(grid, row) = *self;
        let heads = grid.heads();
        let mut map = serializer.serialize_map(None)?;
        let mut column = 0;
        while let Some(head) = heads.get(column) {
            if !head.is_for_programs() {
                column += 1;
                continue;
            }
            let group = heads[column..]
                .iter()
                .take_while(|other| head.group.is_some() && other.group == head.group);
            let group: Vec<_> = (column..)
                .zip(group)
                .map(|(index, head)| (index, head.meta.name))
                .collect();
            column += group.len().max(1);
            match &head.group {
                Some(name) => map.serialize_entry(name, &Group(grid, row, &group))?,
                None if head.is_for_programs() && !head.is_fact => {
                    map.serialize_entry(head.meta.name, &grid.value(row, column - 1))?;
                }
                None => (),
            }
        }
        map.end()
    }
}

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Group(grid, row, columns) = *self;
        let values = columns
            .iter()
            .map(|&(column, name)| (name, grid.value(row, column)));
        serializer.collect_map(values)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Bucket {
            from: u64,
            to: u64,
            exits: u64,
        }

        match self {
            Value::Unknown => serializer.serialize_none(),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Count(number) => serializer.serialize_u128(*number),
            Value::Real(number) => serializer.serialize_f64(*number),
            Value::Buckets(buckets) => {
                let mut list = serializer.serialize_seq(Some(buckets.len()))?;
                for &(from, to, exits) in buckets {
                    list.serialize_element(&Bucket { from, to, exits })?;
                }
                list.end()
            }
        }
    }
}

impl Exporter for Json {
    fn sheet(&mut self, sheet: &Sheet<'_>, out: &mut dyn Write) -> Result<()> {
        let object = Object {
            facts: sheet.facts,
            rows: Rows(sheet.grid),
        };
        writeln!(out, "{}", serde_json::to_string(&object)?)?;
        Ok(())
    }
}
