//! `docs/conformance.md`.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    rows::{Group, is_reading},
    scan::Citation,
};

type Tests<'a> = BTreeMap<&'a str, Vec<&'a Citation>>;

/// The whole page.
pub(super) fn markdown(groups: &[Group], citations: &[Citation]) -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         <!-- Made by `cargo xtask conformance` from docs/rows.toml and from the tests: do not edit. -->\n\n\
         What the OMA CPM Conversation Functions ask of the originating Participating Function, one row each in our \
         own words, and the tests that show it. A row is met when at least one test that runs in every build names \
         it; a test names a row only if it would fail without it. A row that no test names is not met, or not \
         shown: both count as not met here.\n\n",
    );
    let _ = writeln!(page, "{}\n", summary(groups, citations));
    page.push_str("| Rows | Subject | Met | Of |\n|---|---|--:|--:|\n");
    let tests = tests(citations);
    for group in groups {
        let met = met(group, &tests);
        let _ = writeln!(page, "| {} | {} | {met} | {} |", group.name, group.title, group.rows.len());
    }
    for group in groups {
        let _ = write!(page, "\n## {}: {}\n\n", group.name, group.title);
        page.push_str("| Row | Clause | Level | What | Met | Tests |\n|---|---|---|---|---|---|\n");
        for row in &group.rows {
            let shown = tests.get(row.id.as_str()).map_or_else(String::new, |tests| names(tests));
            let met = if shown.is_empty() { "no" } else { "yes" };
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {met} | {shown} |",
                row.id, row.clause, row.level, row.says
            );
        }
    }
    let readings: Vec<_> = tests.iter().filter(|(row, _)| is_reading(row)).collect();
    if !readings.is_empty() {
        page.push_str("\n## Readings\n\nTests that show a reading of `docs/decisions.md`.\n\n");
        page.push_str("| Reading | Tests |\n|---|---|\n");
        for (reading, tests) in readings {
            let _ = writeln!(page, "| {reading} | {} |", names(tests));
        }
    }
    page
}

/// One line: how many rows are met.
pub(super) fn summary(groups: &[Group], citations: &[Citation]) -> String {
    let tests = tests(citations);
    let rows: usize = groups.iter().map(|group| group.rows.len()).sum();
    let met: usize = groups.iter().map(|group| met(group, &tests)).sum();
    format!("{met} of {rows} rows are met.")
}

fn met(group: &Group, tests: &Tests<'_>) -> usize {
    group.rows.iter().filter(|row| tests.contains_key(row.id.as_str())).count()
}

fn tests(citations: &[Citation]) -> Tests<'_> {
    let mut tests = Tests::new();
    for citation in citations {
        tests.entry(&citation.row).or_default().push(citation);
    }
    tests
}

fn names(tests: &[&Citation]) -> String {
    let names: Vec<String> = tests.iter().map(|test| format!("`{}` in {}", test.test, test.file)).collect();
    names.join("<br>")
}
