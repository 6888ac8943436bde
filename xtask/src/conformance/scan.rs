//! Finds the lines by which tests name their rows.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A test that names a row.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Citation {
    /// The row.
    pub(super) row: String,
    /// The file, from the root of the workspace.
    pub(super) file: String,
    /// The test function.
    pub(super) test: String,
    /// The line that names the row.
    pub(super) line: usize,
}

/// All citations of the workspace in order, and what is wrong with others.
pub(super) fn workspace(root: &Path) -> Result<(Vec<Citation>, Vec<String>)> {
    let mut files = Vec::new();
    for folder in ["pf-common", "pf-userspace", "tests"] {
        collect(&root.join(folder), &mut files)?;
    }
    let (mut citations, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        scan(&name, &text, &mut citations, &mut problems);
    }
    citations.sort();
    Ok((citations, problems))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Finds the citations of one file.
fn scan(file: &str, text: &str, citations: &mut Vec<Citation>, problems: &mut Vec<String>) {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (at, line) in lines.iter().enumerate() {
        let comment = line.trim_start_matches('/');
        let Some(rows) = comment.trim_start().strip_prefix("Rows:").filter(|_| line.starts_with("//")) else {
            continue;
        };
        let number = at + 1;
        match test_below(&lines, at) {
            Ok(test) => citations.extend(rows.split(',').map(|row| Citation {
                row: row.trim().trim_end_matches('.').to_owned(),
                file: file.to_owned(),
                test: test.clone(),
                line: number,
            })),
            Err(why) => problems.push(format!("{file}:{number}: {why}")),
        }
    }
}

/// The test function that a comment at line `at` belongs to: below it there are just attributes and comments.
fn test_below(lines: &[&str], at: usize) -> Result<String, &'static str> {
    let is_head = |line: &str| line.starts_with("#[") || line.starts_with("//") || line.starts_with(']');
    let above = lines[..at].iter().rev().take_while(|line| is_head(line));
    let below = lines[at + 1..].iter().take_while(|line| is_head(line) || !line.contains("fn "));
    let attributes: Vec<&str> =
        above.chain(below.clone()).filter(|line| line.starts_with("#[")).copied().collect();
    let function = lines
        .get(at + 1 + below.clone().count())
        .filter(|_| below.clone().all(|line| is_head(line) || !line.contains(['{', ';'])))
        .and_then(|line| line.split("fn ").nth(1))
        .and_then(|rest| rest.split(['(', '<']).next())
        .ok_or("a `Rows:` line has to stand above a test function")?;
    if !attributes.iter().any(|a| a.contains("test")) {
        return Err("a `Rows:` line stands above a function that is no test");
    }
    if attributes.iter().any(|a| a.starts_with("#[ignore")) {
        return Err("an ignored test shows nothing");
    }
    Ok(function.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (Vec<(String, String)>, usize) {
        let (mut citations, mut problems) = (Vec::new(), Vec::new());
        scan("x.rs", text, &mut citations, &mut problems);
        (citations.into_iter().map(|c| (c.row, c.test)).collect(), problems.len())
    }

    #[test]
    fn rows_belong_to_the_test_below() {
        let (rows, problems) = found(
            "/// Says more.\n// Rows: INV-03, BYE-19\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn a_test() {}\n\
             #[test]\n    /// Rows: DD-01\n    fn another<T>() {}\n",
        );
        let expected = [("INV-03", "a_test"), ("BYE-19", "a_test"), ("DD-01", "another")];
        assert_eq!(rows, expected.map(|(row, test)| (row.to_owned(), test.to_owned())));
        assert_eq!(problems, 0);
    }

    #[test]
    fn rows_without_a_living_test_are_problems() {
        for text in [
            "// Rows: INV-03\nfn helper() {}\n",
            "// Rows: INV-03\nlet x = 1;\n#[test]\nfn later() {}\n",
            "// Rows: INV-03\n#[test]\n#[ignore]\nfn sleeps() {}\n",
            "// Rows: INV-03\n",
        ] {
            assert_eq!(found(text), (Vec::new(), 1), "{text}");
        }
    }

    #[test]
    fn rows_named_elsewhere_do_not_count() {
        assert_eq!(found("let text = \"// Rows: INV-03\";\n// see Rows: INV-03\n").0, []);
    }
}
