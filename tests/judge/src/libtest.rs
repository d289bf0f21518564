// SPDX-License-Identifier: GPL-2.0

//! Turns what `cargo test` prints into KTAP. libtest's JSON needs a nightly compiler; its text
//! is stable:
//!
//! ```text
//! running 3 tests
//! test counts::they_add_up ... ok
//! test leaf::panics - should panic ... FAILED
//! test slow ... ignored, takes hours
//!
//! failures:
//! ---- leaf::panics stdout ----
//! …
//! test result: FAILED. 1 passed; 1 failed; 1 ignored; …
//! ```

/// Translates the output of one `cargo test`, which may run several test programs.
pub struct Libtest {
    /// The prefix of all names.
    prefix: String,
    /// How many tests the programs have announced.
    planned: usize,
    results: usize,
    /// Whether the lines say how tests failed.
    in_failures: bool,
}

impl Libtest {
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            planned: 0,
            results: 0,
            in_failures: false,
        }
    }

    /// The line in KTAP, if it means anything there.
    pub fn read(&mut self, line: &str) -> Option<String> {
        if let Some(tests) = announced(line) {
            self.planned += tests;
            return None;
        }
        if let Some((name, verdict)) = result(line) {
            self.results += 1;
            let (number, prefix) = (self.results, &self.prefix);
            return Some(match verdict {
                Verdict::Ok => format!("ok {number} {prefix}{name}"),
                Verdict::Failed => format!("not ok {number} {prefix}{name}"),
                Verdict::Ignored(why) => {
                    let ktap = format!("ok {number} {prefix}{name} # SKIP ignored {why}");
                    ktap.trim_end().to_owned()
                }
            });
        }
        if line.starts_with("test result: ") {
            self.in_failures = false;
        } else if line == "failures:" {
            self.in_failures = true;
        }
        (self.in_failures && !line.is_empty()).then(|| format!("# {line}"))
    }

    /// The plan, after the last line. There is none if no program ran.
    pub fn plan(&self) -> Option<String> {
        (self.planned > 0).then(|| format!("1..{}", self.planned))
    }
}

/// How many tests a program announces.
fn announced(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("running ")?;
    let number = rest.strip_suffix(" tests");
    let number = number.or_else(|| rest.strip_suffix(" test"))?;
    number.parse().ok()
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict<'a> {
    Ok,
    Failed,
    Ignored(&'a str),
}

/// A test's name and how it ended.
fn result(line: &str) -> Option<(&str, Verdict<'_>)> {
    let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    let verdict = match end {
        "ok" => Verdict::Ok,
        "FAILED" => Verdict::Failed,
        "ignored" => Verdict::Ignored(""),
        _ => Verdict::Ignored(end.strip_prefix("ignored, ")?),
    };
    Some((name, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ktap(text: &str) -> Vec<String> {
        let mut libtest = Libtest::new("model.");
        let mut lines: Vec<_> = text.lines().filter_map(|l| libtest.read(l)).collect();
        lines.extend(libtest.plan());
        lines
    }

    #[test]
    fn results_of_several_programs_are_one_run() {
        let text = "\nrunning 2 tests\ntest a ... ok\ntest m::b - should panic ... ok\n\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n\n\
                    running 1 test\ntest c ... ignored, takes hours\n\n\
                    running 0 tests\n\nrunning 1 test\ntest d ... ignored\n";
        assert_eq!(
            ktap(text),
            [
                "ok 1 model.a",
                "ok 2 model.m::b",
                "ok 3 model.c # SKIP ignored takes hours",
                "ok 4 model.d # SKIP ignored",
                "1..4"
            ]
        );
    }

    #[test]
    fn a_failure_says_what_happened() {
        let text = "running 2 tests\ntest a ... FAILED\ntest b ... ok\n\nfailures:\n\n\
                    ---- a stdout ----\npanicked at a.rs:1:2:\nno\n\n\nfailures:\n    a\n\n\
                    test result: FAILED. 1 passed; 1 failed\n\nerror: test failed\n";
        assert_eq!(
            ktap(text),
            [
                "not ok 1 model.a",
                "ok 2 model.b",
                "# failures:",
                "# ---- a stdout ----",
                "# panicked at a.rs:1:2:",
                "# no",
                "# failures:",
                "#     a",
                "1..2"
            ]
        );
    }

    #[test]
    fn what_is_no_result_is_none() {
        for line in [
            "test a has been running for over 60 seconds",
            "test a ... bench: 1 ns/iter",
            "test result: ok. 1 passed; 0 failed",
            "running late",
            "testing ... ok",
        ] {
            assert_eq!(ktap(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn a_program_that_dies_leaves_its_plan_unfulfilled() {
        let text = "running 2 tests\ntest a ... ok\nSegmentation fault";
        assert_eq!(ktap(text), ["ok 1 model.a", "1..2"]);
    }
}
