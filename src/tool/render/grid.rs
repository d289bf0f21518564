// SPDX-License-Identifier: GPL-2.0

//! A table of values, whatever its rows are.

use crate::columns::Meta;
use std::{fmt, sync::Arc};

/// A value in a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// It is not known, or there is none.
    Unknown,
    /// A name.
    Text(String),
    /// A whole number.
    Count(u128),
    /// A number.
    Real(f64),
    /// Buckets of a histogram: the lowest and the highest number of cycles, and the exits.
    Buckets(Vec<(u64, u64, u64)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Value {
        Value::Text(text.to_string())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Count(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Count(number.into())
    }
}

impl From<u128> for Value {
    fn from(number: u128) -> Value {
        Value::Count(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Real(number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Unknown, T::into)
    }
}

/// As in CSV. Unknown values are empty.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unknown => Ok(()),
            Value::Text(text) => f.write_str(text),
            Value::Count(number) => number.fmt(f),
            // As in JSON, there are no infinite numbers.
            Value::Real(number) if !number.is_finite() => Ok(()),
            Value::Real(number) => number.fmt(f),
            Value::Buckets(buckets) => {
                for (index, (from, to, exits)) in buckets.iter().enumerate() {
                    let blank = if index > 0 { " " } else { "" };
                    write!(f, "{blank}{from}-{to}:{exits}")?;
                }
                Ok(())
            }
        }
    }
}

/// What a column is: in JSON, columns of a group are an object of that name.
#[derive(Clone, Debug)]
pub struct Head {
    /// What it is.
    pub meta: &'static Meta,
    /// The group that it belongs to.
    pub group: Option<String>,
    /// Whether all rows have the same value. JSON has it once, outside the rows.
    pub is_fact: bool,
}

impl Head {
    fn new(meta: &'static Meta) -> Head {
        Head {
            meta,
            group: None,
            is_fact: false,
        }
    }

    /// Its name in CSV.
    pub fn name(&self) -> String {
        match &self.group {
            Some(group) => format!("{group}_{}", self.meta.name),
            None => self.meta.name.into(),
        }
    }

    /// Whether programs see it.
    pub fn is_for_programs(&self) -> bool {
        !self.meta.name.is_empty()
    }
}

/// A table of values.
pub trait Grid {
    /// The columns.
    fn heads(&self) -> Vec<Head>;

    /// The number of rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value in a row and column.
    fn value(&self, row: usize, column: usize) -> Value;
}

/// The value of a column in a row, whose index comes first.
type Cell<'a, R> = Box<dyn Fn(usize, &R) -> Value + 'a>;

/// A column of rows `R`.
pub struct Column<'a, R> {
    head: Head,
    value: Cell<'a, R>,
}

impl<'a, R> Column<'a, R> {
    /// A column whose values are so.
    pub fn new<V: Into<Value>>(meta: &'static Meta, value: impl Fn(&R) -> V + 'a) -> Column<'a, R> {
        Column {
            head: Head::new(meta),
            value: Box::new(move |_, row| value(row).into()),
        }
    }

    /// A column whose values are these.
    pub fn listed(meta: &'static Meta, values: Vec<String>) -> Column<'a, R> {
        Column {
            head: Head::new(meta),
            value: Box::new(move |index, _| values.get(index).cloned().into()),
        }
    }

    /// What it is.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The same in a group.
    pub fn of(self, group: &str) -> Column<'a, R> {
        let head = Head {
            group: Some(group.into()),
            ..self.head
        };
        Column { head, ..self }
    }

    /// A column whose value is the same in all rows.
    pub fn fact(meta: &'static Meta, value: impl Into<Value>) -> Column<'a, R> {
        let value = value.into();
        Column {
            head: Head {
                is_fact: true,
                ..Head::new(meta)
            },
            value: Box::new(move |_, _| value.clone()),
        }
    }
}

/// Rows, and their columns.
pub struct Rows<'a, R> {
    /// The columns.
    pub columns: Vec<Column<'a, R>>,
    /// The rows.
    pub rows: &'a [R],
}

impl<R> Grid for Rows<'_, R> {
    fn heads(&self) -> Vec<Head> {
        self.columns.iter().map(|c| c.head.clone()).collect()
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn value(&self, row: usize, column: usize) -> Value {
        (self.columns[column].value)(row, &self.rows[row])
    }
}
