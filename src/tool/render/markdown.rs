// SPDX-License-Identifier: GPL-2.0

//! Markdown: a table and words for reports of bugs and the like.

use super::{
    cells::{Cells, cells},
    sheet::{Exporter, Sheet},
};
use anyhow::Result;
use std::io::Write;

/// Writes Markdown.
#[derive(Debug)]
pub struct Markdown;

impl Exporter for Markdown {
    fn is_for_people(&self) -> bool {
        true
    }

    fn sheet(&mut self, sheet: &Sheet<'_>, out: &mut dyn Write) -> Result<()> {
        self.say(&sheet.title, out)?;
        writeln!(out)?;
        if sheet.grid.is_empty() {
            writeln!(out, "{}", sheet.instead.unwrap_or(""))?;
        } else {
            let columns = cells(sheet);
            let mut line = |fields: Vec<String>| writeln!(out, "| {} |", fields.join(" | "));
            let head = |c: &Cells| format!("{} {}", c.over, c.head).trim().to_owned();
            line(columns.iter().map(|c| escaped(&head(c))).collect())?;
            let rule = |left| if left { ":--" } else { "--:" };
            line(columns.iter().map(|c| rule(c.left).into()).collect())?;
            for row in 0..sheet.grid.len() {
                line(columns.iter().map(|c| escaped(&c.cells[row])).collect())?;
            }
        }
        writeln!(out)?;
        self.say(&sheet.notes, out)
    }

    fn block(&mut self, lines: &[String], out: &mut dyn Write) -> Result<()> {
        let lines = lines.iter().map(|line| format!("    {line}\n"));
        Ok(out.write_all(lines.collect::<String>().as_bytes())?)
    }

    fn say(&mut self, lines: &[String], out: &mut dyn Write) -> Result<()> {
        for line in lines.iter().flat_map(|text| text.split('\n')) {
            let words: Vec<_> = line.split_whitespace().collect();
            // Two blanks at the end of a line keep it apart from the next.
            match words.is_empty() {
                true => writeln!(out)?,
                false => writeln!(out, "{}  ", escaped(&words.join(" ")))?,
            }
        }
        Ok(())
    }
}

/// A text without marks.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(c, '|' | '*' | '_' | '<' | '>' | '`' | '\\' | '#' | '[') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
