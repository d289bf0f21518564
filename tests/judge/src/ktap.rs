// SPDX-License-Identifier: GPL-2.0

//! Results of tests as KTAP (Documentation/dev-tools/ktap.rst), line by line.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// A test's outcome, if the line is a result.
fn outcome(line: &str) -> Option<Outcome> {
    if line.starts_with("not ok ") {
        return Some(Outcome::Failed);
    }
    let rest = line.strip_prefix("ok ")?;
    let directive = rest.split_once('#').map_or("", |(_, text)| text.trim());
    let word = directive.split_whitespace().next().unwrap_or_default();
    Some(match word.eq_ignore_ascii_case("skip") {
        true => Outcome::Skipped,
        false => Outcome::Passed,
    })
}

/// The number of tests, if the line is a plan.
fn plan(line: &str) -> Option<usize> {
    line.strip_prefix("1..")?.parse().ok()
}

/// The results of any number of test programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Counts the line, if it is a result.
    pub fn read(&mut self, line: &str) {
        match outcome(line) {
            Some(Outcome::Passed) => self.passed += 1,
            Some(Outcome::Failed) => self.failed += 1,
            Some(Outcome::Skipped) => self.skipped += 1,
            None => (),
        }
    }

    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.total() > 0
    }

    fn total(&self) -> usize {
        self.passed + self.failed + self.skipped
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The output of one test program.
#[derive(Debug, Default)]
pub struct Run {
    plan: Option<usize>,
    tally: Tally,
}

impl Run {
    pub fn read(&mut self, line: &str) {
        self.plan = plan(line).or(self.plan);
        self.tally.read(line);
    }

    /// How the results differ from the plan, after the last line. A program that dies
    /// cannot say so itself.
    pub fn fault(&self) -> Option<String> {
        let results = self.tally.total();
        match self.plan {
            Some(plan) if plan == results => None,
            Some(plan) => Some(format!("{results} results of {plan} planned")),
            None => Some(format!("{results} results and no plan")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Run {
        let mut run = Run::default();
        text.lines().for_each(|line| run.read(line));
        run
    }

    #[test]
    fn results_are_counted_and_other_lines_are_not() {
        let text = "KTAP version 1\n1..5\nok 1 a\n# ok 2 no result\nok 2 b # SKIP why\n\
                    not ok 3 c # why\nok 4 d # a note\nokay\nnot okay\n  ok 1 inner\nok 5 e";
        let run = run(text);
        assert_eq!(run.tally.to_string(), "3 passed, 1 failed, 1 skipped");
        assert_eq!(run.fault(), None);
    }

    #[test]
    fn a_result_is_skipped_if_its_note_starts_with_skip() {
        for (line, want) in [
            ("ok 1 a # SKIP", Outcome::Skipped),
            ("ok 1 a # skip no such CPU", Outcome::Skipped),
            ("ok 1 a #SKIP", Outcome::Skipped),
            ("ok 1 a # nothing to SKIP", Outcome::Passed),
            ("ok 1 skip.a", Outcome::Passed),
            ("not ok 1 a # SKIP", Outcome::Failed),
        ] {
            assert_eq!(outcome(line), Some(want), "{line}");
        }
    }

    #[test]
    fn a_run_that_differs_from_its_plan_is_at_fault() {
        for (text, want) in [
            ("1..2\nok 1 a", "1 results of 2 planned"),
            ("1..1\nok 1 a\nok 2 b", "2 results of 1 planned"),
            ("ok 1 a", "1 results and no plan"),
            ("1..x\n", "0 results and no plan"),
            ("", "0 results and no plan"),
        ] {
            assert_eq!(run(text).fault().as_deref(), Some(want), "{text}");
        }
        // A plan may come last.
        assert_eq!(run("ok 1 a\n1..1").fault(), None);
    }

    #[test]
    fn nothing_at_all_is_not_good() {
        assert!(!run("1..0").tally.is_good());
        assert!(run("ok 1 a # SKIP").tally.is_good());
        assert!(!run("ok 1 a\nnot ok 2 b").tally.is_good());
    }
}
