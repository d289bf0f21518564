// SPDX-License-Identifier: GPL-2.0

//! Random numbers that tell hosts, VMs and vCPUs apart.

use anyhow::{Context, Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, num::NonZeroU64};

/// Such a number. It prints as 16 hexadecimal digits, in JSON too, because programs that
/// read numbers as floating point would round it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(NonZeroU64);

impl Id {
    /// Takes the number from the module, where 0 means that there is none.
    pub fn new(number: u64) -> Option<Id> {
        NonZeroU64::new(number).map(Id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for Id {
    type Error = Error;

    fn try_from(text: String) -> Result<Id> {
        let number = u64::from_str_radix(&text, 16).ok();
        let id = number.and_then(Id::new);
        id.with_context(|| format!("{text:?} is not an identity"))
    }
}

impl JsonSchema for Id {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A random number, as 16 hexadecimal digits.",
            "type": "string",
            "pattern": "^[0-9a-f]{16}$"
        })
    }
}
