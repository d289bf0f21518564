// SPDX-License-Identifier: GPL-2.0

//! Validates JSON against a schema: as much of JSON Schema as exitprof's own schema uses.

use serde_json::{Map, Value};

/// What the value has that the schema does not allow. Keywords and types that this does not
/// know are faults, too.
pub fn faults(root: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(root, root, value, "", &mut faults);
    faults
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else {
        if *schema != Value::Bool(true) {
            faults.push(format!("{at}: nothing is allowed"));
        }
        return;
    };
    for (keyword, rule) in schema {
        let mut fault = |what: String| faults.push(format!("{at}: {what}"));
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" | "default" => (),
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(root, &root["$defs"][name], value, at, faults);
            }
            "anyOf" | "oneOf" => {
                let valid = |rule: &&Value| {
                    let mut faults = Vec::new();
                    check(root, rule, value, at, &mut faults);
                    faults.is_empty()
                };
                let valid = rule.as_array().unwrap().iter().filter(valid).count();
                if valid == 0 || (keyword == "oneOf" && valid > 1) {
                    fault(format!("{valid} of {keyword} are valid: {value}"));
                }
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or(vec![rule.clone()]);
                if !types.iter().any(|name| is_a(value, name.as_str().unwrap())) {
                    fault(format!("{value} is no {rule}"));
                }
            }
            "const" if rule != value => fault(format!("{value} is not {rule}")),
            "const" => (),
            "enum" if !rule.as_array().unwrap().contains(value) => {
                fault(format!("{value} is none of {rule}"));
            }
            "enum" => (),
            "minimum" => {
                if value.as_f64() < rule.as_f64() && value.is_number() {
                    fault(format!("{value} is less than {rule}"));
                }
            }
            "maximum" => {
                if value.as_f64() > rule.as_f64() && value.is_number() {
                    fault(format!("{value} is more than {rule}"));
                }
            }
            "pattern" => assert_eq!(rule, "^[0-9a-f]{16}$"),
            "minItems" | "maxItems" => {
                let length = value.as_array().map_or(0, Vec::len) as u64;
                let limit = rule.as_u64().unwrap();
                let bad = if keyword == "minItems" {
                    length < limit
                } else {
                    length > limit
                };
                if bad && value.is_array() {
                    fault(format!("{length} items"));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}/{index}"), faults);
                }
            }
            "required" => {
                let object = value.as_object().cloned().unwrap_or_default();
                for name in rule.as_array().unwrap().iter().flat_map(Value::as_str) {
                    if value.is_object() && !object.contains_key(name) {
                        fault(format!("{name} is missing"));
                    }
                }
            }
            "properties" => properties(root, schema, value, at, faults),
            "patternProperties" => {
                assert_eq!(rule.as_object().unwrap().keys().next().unwrap(), "^[c-z]$")
            }
            "additionalProperties" => {
                assert!(rule == &Value::Bool(false) || !schema.contains_key("properties"));
                if rule != &Value::Bool(false) {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        check(root, rule, value, &format!("{at}/{name}"), faults);
                    }
                }
            }
            _ => fault(format!("unknown keyword {keyword}")),
        }
    }
}

/// Unlike JSON Schema, this allows no property that is not described.
fn properties(
    root: &Value,
    schema: &Map<String, Value>,
    value: &Value,
    at: &str,
    faults: &mut Vec<String>,
) {
    let rules = schema["properties"].as_object().unwrap();
    let more = schema
        .get("patternProperties")
        .map(|rules| &rules["^[c-z]$"]);
    let is_letter = |name: &String| name.len() == 1 && ("c".."{").contains(&name.as_str());
    for (name, value) in value.as_object().into_iter().flatten() {
        let rule = rules.get(name).or(more.filter(|_| is_letter(name)));
        match rule {
            Some(rule) => check(root, rule, value, &format!("{at}/{name}"), faults),
            None => faults.push(format!("{at}: {name} is not described")),
        }
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64() || value.as_f64() >= Some(u64::MAX as f64),
        _ => panic!("type {name}"),
    }
}
