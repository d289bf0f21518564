// SPDX-License-Identifier: GPL-2.0

//! Where a tracepoint has its fields, in the words of the kernel's types (BTF): so the loader
//! puts the right offsets and sizes into the program, and no type of the kernel is needed.

use anyhow::{Context, Result, ensure};
use aya::{Btf, Endianness};

/// A field of a tracepoint.
#[derive(Debug, PartialEq, Eq)]
struct Field<'a> {
    name: &'a str,
    /// In bytes.
    offset: u32,
    /// In bytes.
    size: u32,
}

/// The type `trace_event_raw_<tracepoint>` with the fields in `format`, the text of the file of
/// that name in tracefs. Only unsigned integers are of use here; others are passed over.
///
/// # Errors
///
/// If the text is another, or lacks a field in `needed`.
pub fn types(tracepoint: &str, format: &str, needed: &[&str]) -> Result<Btf> {
    let fields: Vec<Field> = format.lines().filter_map(Field::parse).collect();
    for name in needed {
        ensure!(
            fields.iter().any(|field| field.name == *name),
            "this kernel's tracepoint {tracepoint} has no field {name}: exitprof needs Linux 5.15 or \
             later"
        );
    }
    let bytes = encoded(&format!("trace_event_raw_{tracepoint}"), &fields);
    Btf::parse(&bytes, Endianness::Little).context("cannot describe the tracepoint's fields")
}

impl Field<'_> {
    /// Parses a line such as `field:u32 isa; offset:24; size:4; signed:0;`. `None` if it is another,
    /// or the field is no unsigned integer.
    fn parse(line: &str) -> Option<Field<'_>> {
        let mut parts = line.trim().split(';').map(str::trim);
        let name = parts
            .next()?
            .strip_prefix("field:")?
            .split(' ')
            .next_back()?;
        let mut value = |key: &str| {
            let value = parts.next()?.strip_prefix(key)?;
            value.parse::<u32>().ok()
        };
        let (offset, size) = (value("offset:")?, value("size:")?);
        let is_unsigned = value("signed:")? == 0;
        let is_integer = matches!(size, 1 | 2 | 4 | 8) && !name.ends_with(']');
        (is_unsigned && is_integer).then_some(Field { name, offset, size })
    }
}

/// BTF with a structure: see Documentation/bpf/btf.rst.
fn encoded(structure: &str, fields: &[Field]) -> Vec<u8> {
    const INT: u32 = 1 << 24;
    const STRUCT: u32 = 4 << 24;
    const SIZES: [u32; 4] = [1, 2, 4, 8];
    let mut strings = vec![0];
    let mut name = |name: &str| {
        let at = strings.len() as u32;
        strings.extend(name.bytes().chain([0]));
        at
    };
    let mut types: Vec<u32> = Vec::new();
    // Types 1 to 4.
    for size in SIZES {
        types.extend([name(&format!("u{}", size * 8)), INT, size, size * 8]);
    }
    let end = fields.iter().map(|field| field.offset + field.size).max();
    let count = fields.len() as u32; // Of a file of one page.
    types.extend([name(structure), STRUCT | count, end.unwrap_or(0)]);
    for field in fields {
        let integer = SIZES.iter().position(|size| *size == field.size);
        let integer = integer.unwrap_or_default() as u32 + 1;
        types.extend([name(field.name), integer, field.offset * 8]);
    }
    let types: Vec<u8> = types.into_iter().flat_map(u32::to_le_bytes).collect();
    let (of_types, of_strings) = (types.len() as u32, strings.len() as u32);
    // The number and version of the format, without flags; and the header's length.
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    let header = [24, 0, of_types, of_types, of_strings];
    bytes.extend(header.into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(types);
    bytes.extend(strings);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Linux 6.1, and a field that is no integer.
    const KVM_EXIT: &str = "name: kvm_exit
ID: 1022
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned int exit_reason;\toffset:8;\tsize:4;\tsigned:0;
\tfield:unsigned long guest_rip;\toffset:16;\tsize:8;\tsigned:0;
\tfield:u32 isa;\toffset:24;\tsize:4;\tsigned:0;
\tfield:unsigned int vcpu_id;\toffset:56;\tsize:4;\tsigned:0;
\tfield:unsigned char code[8];\toffset:60;\tsize:8;\tsigned:0;

print fmt: \"vcpu %u reason %s%s%s\", REC->vcpu_id";

    #[test]
    fn fields_are_where_the_tracepoint_has_them() {
        let fields: Vec<_> = KVM_EXIT.lines().filter_map(Field::parse).collect();
        let field = |name, offset, size| Field { name, offset, size };
        let want = [
            field("common_type", 0, 2),
            field("exit_reason", 8, 4),
            field("guest_rip", 16, 8),
            field("isa", 24, 4),
            field("vcpu_id", 56, 4),
        ];
        assert_eq!(fields, want);
        assert!(types("kvm_exit", KVM_EXIT, &["exit_reason", "vcpu_id"]).is_ok());
    }

    #[test]
    fn a_kernel_without_a_field_is_too_old() {
        let format = KVM_EXIT.replace(" vcpu_id;", " other;");
        let error = types("kvm_exit", &format, &["exit_reason", "vcpu_id"]).unwrap_err();
        assert!(error.to_string().contains("vcpu_id"), "{error}");
    }

    /// The loader reads the places back.
    #[test]
    fn types_say_what_the_text_says() {
        let bytes = encoded(
            "trace_event_raw_x",
            &[Field {
                name: "exit_reason",
                offset: 8,
                size: 4,
            }],
        );
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (types, strings) = (24, 24 + word(16) as usize);
        // Behind four integers of 16 bytes each.
        let structure = types + 4 * 16;
        let name = |at: usize| {
            let text = &bytes[strings + word(at) as usize..];
            let end = text.iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8_lossy(&text[..end]).into_owned()
        };
        assert_eq!(name(structure), "trace_event_raw_x");
        assert_eq!(word(structure + 4), 4 << 24 | 1);
        assert_eq!(name(structure + 12), "exit_reason");
        // The third integer, which has four bytes; and bits.
        assert_eq!((word(structure + 16), word(structure + 20)), (3, 64));
    }
}
