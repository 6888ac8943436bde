//! The conformance page: every row that the product is measured by, with the tests that show it.
//!
//! A test names its rows in a line `// Rows: INV-03, BYE-19` above its function. The page is made from these lines
//! and from `docs/rows.toml`: nothing in it is written by hand.

mod page;
mod rows;
mod scan;

use std::fs;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The page.
const PAGE: &str = "docs/conformance.md";

/// Writes the page, or with `check` fails if it would change.
pub(crate) fn run(check: bool) -> Result<()> {
    let text = fs::read_to_string(shell::root().join("docs/rows.toml")).context("docs/rows.toml")?;
    let groups = rows::read(&text)?;
    let (citations, mut problems) = scan::workspace(shell::root())?;
    for citation in &citations {
        if !rows::is_reading(&citation.row) && !rows::has(&groups, &citation.row) {
            problems.push(format!("{}:{}: there is no row {}", citation.file, citation.line, citation.row));
        }
    }
    let made = page::markdown(&groups, &citations);
    let path = shell::root().join(PAGE);
    if check {
        wrong(&problems)?;
        if fs::read_to_string(&path).unwrap_or_default() != made {
            bail!("{PAGE} is stale: cargo xtask conformance");
        }
        return Ok(());
    }
    fs::write(&path, &made).with_context(|| PAGE.to_owned())?;
    eprintln!("{}", page::summary(&groups, &citations));
    wrong(&problems)
}

/// Fails if rows are cited wrongly; such citations are not on the page.
fn wrong(problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    bail!("rows are cited wrongly:\n{}", problems.join("\n"))
}
