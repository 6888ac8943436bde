//! Reads a configuration file and says everything that is wrong with it.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    finding::{Finding, Severity},
    kind::type_name,
    model::Config,
    options, semantic,
};
use crate::core::config::User;

/// What came of reading a configuration file.
#[derive(Debug)]
pub struct Checked {
    /// The configuration; absent where there is an error.
    pub config: Option<Config>,
    /// Users of the users file.
    pub users: Vec<User>,
    /// Everything that was found, in the order of the lines, errors and warnings.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|f| f.severity == Severity::Error).count()
    }
}

/// Reads a configuration file with the users file it names.
pub fn load(file: &Path) -> Checked {
    match std::fs::read_to_string(file) {
        Ok(text) => check(file, &text),
        Err(error) => {
            let finding = Finding::at(
                (file, "", 0..0),
                Severity::Error,
                "",
                format!("cannot be read: {error}"),
                "name the configuration file, as in `pf check /etc/pf/pf.toml`",
            );
            Checked { config: None, users: Vec::new(), findings: vec![finding] }
        }
    }
}

/// Checks `text`, the contents of `file`. Relative paths in it count from the folder of `file`.
pub fn check(file: &Path, text: &str) -> Checked {
    let mut source = Source { file, text, spans: BTreeMap::new(), findings: Vec::new() };
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        source.syntax(error);
    }
    source.walk("", table.get_ref());
    let broken: Vec<usize> = source.findings.iter().take(syntax.len()).map(|f| f.line).collect();
    // What stands on a line with broken syntax was guessed by the parser: its value says nothing.
    let mut nth = 0;
    source.findings.retain(|f| {
        nth += 1;
        nth <= syntax.len() || !broken.contains(&f.line)
    });

    let mut users = Vec::new();
    let mut config = None;
    if !source.findings.iter().any(|f| f.severity == Severity::Error) {
        match toml::from_str::<Config>(text) {
            Ok(read) => config = Some(read),
            Err(error) => source.syntax(&error),
        }
    }
    if let Some(read) = &mut config {
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        resolve(&folder, read);
        users = semantic::check(&mut source, read);
    }
    let mut findings = source.findings;
    findings.sort_by_key(|f| (f.file != file, f.line, f.column));
    if findings.iter().any(|f| f.severity == Severity::Error) {
        config = None;
    }
    Checked { config, users, findings }
}

/// Makes relative paths count from the folder of the configuration file.
fn resolve(folder: &Path, config: &mut Config) {
    let join = |path: &mut PathBuf| *path = folder.join(&*path);
    join(&mut config.state_dir);
    join(&mut config.admin.socket);
    join(&mut config.datapath.pin_dir);
    if let Some(users) = &mut config.registrar.users {
        join(users);
    }
    if let Some(path) = &mut config.store.path {
        join(path);
    }
}

/// A file being checked: where its values stand, and what was found so far.
#[derive(Debug)]
pub struct Source<'a> {
    /// Its path.
    pub file: &'a Path,
    /// Its contents.
    pub text: &'a str,
    /// Where the value of each option stands, `sip.listen` and `sip.listen[0]`.
    pub spans: BTreeMap<String, Range<usize>>,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Source<'_> {
    /// Notes a fault of the option `key`. An option that is not in the file is a fault of its first line.
    pub fn note(
        &mut self,
        severity: Severity,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let whole = key.split('[').next().unwrap_or(key);
        let span = self.spans.get(key).or_else(|| self.spans.get(whole)).cloned().unwrap_or(0..0);
        self.findings.push(Finding::at((self.file, self.text, span), severity, key, message, help));
    }

    pub(super) fn error(&mut self, span: Range<usize>, key: &str, message: String, help: String) {
        let at = (self.file, self.text, span);
        self.findings.push(Finding::at(at, Severity::Error, key, message, help));
    }

    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let help = "this is TOML: `key = value` lines under `[table]` lines, strings in quotes";
        self.error(span, "", error.message().replace('\n', " "), help.to_owned());
    }

    fn walk(&mut self, table: &str, values: &DeTable<'_>) {
        for (name, value) in values.iter() {
            let key = if table.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{table}.{}", name.get_ref())
            };
            self.spans.insert(key.clone(), value.span());
            if let Some(option) = options::find(&key) {
                self.value(&key, option, value);
            } else if table.is_empty() && options::TABLES.iter().any(|t| t.name == key) {
                match value.get_ref() {
                    DeValue::Table(inner) => self.walk(&key, inner),
                    other => {
                        let message = format!("this has to be a table, and it is {}", type_name(other));
                        self.error(name.span(), &key, message, format!("begin it with a line `[{key}]`"));
                    }
                }
            } else {
                self.unknown(name.span(), table, &key);
            }
        }
    }

    fn value(&mut self, key: &str, option: &options::OptionDoc, value: &Spanned<DeValue<'_>>) {
        if let DeValue::Array(elements) = value.get_ref() {
            for (index, element) in elements.iter().enumerate() {
                self.spans.insert(format!("{key}[{index}]"), element.span());
            }
        }
        let mut misfits = Vec::new();
        option.kind.check(value, option.example, &mut misfits);
        for (span, message, help) in misfits {
            self.error(span, key, message, help);
        }
    }

    fn unknown(&mut self, span: Range<usize>, table: &str, key: &str) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let help = if let Some(nearest) = options::nearest(key) {
            format!("did you mean `{nearest}`?")
        } else if let Some(elsewhere) = options::table_of(name) {
            format!("`{name}` belongs under `[{elsewhere}]`")
        } else if options::find(name).is_some() {
            format!("`{name}` belongs at the top of the file, before the first table")
        } else {
            "`pf config --reference` lists every option".to_owned()
        };
        let place =
            if table.is_empty() { "at the top of the file".to_owned() } else { format!("in `[{table}]`") };
        self.error(span, key, format!("there is no option `{name}` {place}"), help);
    }
}
