//! `docs/configuration.md`, made from the table of options.

use std::fmt::Write;

use super::{model::Config, options, users};

/// The whole page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Made by `pf config --reference`: change pf-userspace/src/config/options/, not this page. -->\n\n\
         `pf` reads one TOML file. `pf check FILE` reads it the same way and explains every fault with its line and \
         how to mend it; `pf run --config FILE` starts with it. Every option may be left out: then its default \
         counts. An option that `pf` does not know is an error. `packaging/pf.toml` is a whole file to start from.\n",
    );
    let defaults = toml::Value::try_from(Config::default()).unwrap_or(toml::Value::Boolean(false));
    for table in options::TABLES {
        let title =
            if table.name.is_empty() { "Top of the file".to_owned() } else { format!("`[{}]`", table.name) };
        let _ = write!(page, "\n## {title}\n\n{}\n", table.text);
        for option in options::all() {
            let (of, name) = option.key.rsplit_once('.').unwrap_or(("", option.key));
            if of == table.name {
                let default = default_of(&defaults, option.key);
                section(&mut page, name, &option.kind.name(), &default, option.example, option.text);
            }
        }
    }
    page.push_str(
        "\n## The users file\n\n\
         Named by `registrar.users`: one `[[user]]` table for each user. It holds passwords: give \
         it mode 0640 or less, or `pf check` warns.\n",
    );
    for (name, kind, example, text) in users::FIELDS {
        section(&mut page, name, &kind.name(), "none, it is needed", example, text);
    }
    for (name, kind, example, text) in users::PREFERENCES {
        section(&mut page, name, &kind.name(), &format!("as `policy.{name}`"), example, text);
    }
    page
}

fn section(page: &mut String, name: &str, kind: &str, default: &str, example: &str, text: &str) {
    let _ = write!(
        page,
        "\n### `{name}`\n\n{text}\n\n- type: {kind}\n- default: {default}\n- example: `{name} = {example}`\n"
    );
}

/// An option's default as written in TOML.
fn default_of(defaults: &toml::Value, key: &str) -> String {
    let value = key.split('.').try_fold(defaults, |value, name| value.get(name));
    value.map_or_else(|| "none".to_owned(), |value| format!("`{value}`"))
}
