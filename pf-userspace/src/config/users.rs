//! The users file: who may register and by which password.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::{
    check::Source,
    finding::{Finding, Severity},
    kind::{Kind, type_name},
};
use crate::core::{config::User, policy::preferences::UserPreferences, registry::address_key, sip::Uri};

/// The file as it stands: a list of `[[user]]` tables.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct UsersFile {
    user: Vec<UserEntry>,
}

/// Keys that are none are found by [`walk_user`].
#[derive(Debug, Deserialize)]
struct UserEntry {
    addresses: Vec<String>,
    username: String,
    password: String,
    #[serde(flatten)]
    preferences: UserPreferences,
}

/// The keys of a `[[user]]` that are needed, each with its kind and an example.
pub const FIELDS: &[(&str, Kind, &str, &str)] = &[
    (
        "addresses",
        Kind::List(&Kind::CpmAddress),
        "[\"sip:alice@example.org\", \"tel:+15551234\"]",
        "The user's CPM addresses. The first is the address of record: devices register under it.",
    ),
    ("username", Kind::Text, "\"alice\"", "User name of digest authentication."),
    ("password", Kind::Text, "\"correct horse battery staple\"", "Password of digest authentication."),
];

/// The keys of a `[[user]]` that may be left out: then the option of the same name under `[policy]` counts.
pub const PREFERENCES: &[(&str, Kind, &str, &str)] = &[
    (
        "allow_offline_storage",
        Kind::Bool,
        "true",
        "`<allow-offline-storage>`: record the history of the user's sessions in the store.",
    ),
    (
        "allow_store",
        Kind::Bool,
        "true",
        "`<allow-store>`: keep in the store what is said in a group session while the user's last device is lost.",
    ),
    (
        "allow_defer",
        Kind::Bool,
        "true",
        "`<allow-defer>`: keep for a later delivery what is said in a group session while the user's last device is \
         lost.",
    ),
];

/// Reads a users file. `domains` are those the registrar serves, in any case.
pub fn check(file: &Path, text: &str, domains: &[String]) -> (Vec<User>, Vec<Finding>) {
    let mut source = Source { file, text, spans: BTreeMap::new(), findings: Vec::new() };
    match DeTable::parse(text) {
        Err(error) => source.syntax(&error),
        Ok(table) => walk(&mut source, table.get_ref()),
    }
    let mut users = Vec::new();
    if source.findings.is_empty() {
        match toml::from_str::<UsersFile>(text) {
            Err(error) => source.syntax(&error),
            Ok(read) => users = convert(&mut source, read, domains),
        }
    }
    (users, source.findings)
}

fn walk(source: &mut Source<'_>, table: &DeTable<'_>) {
    for (name, value) in table.iter() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("user", DeValue::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    source.spans.insert(format!("user[{index}]"), entry.span());
                    match entry.get_ref() {
                        DeValue::Table(fields) => walk_user(source, index, fields, entry.span()),
                        other => {
                            let message = format!("a user is a table, and this is {}", type_name(other));
                            source.error(
                                entry.span(),
                                "user",
                                message,
                                "begin each user with a line `[[user]]`".into(),
                            );
                        }
                    }
                }
            }
            ("user", _) => source.error(
                name.span(),
                "user",
                "`user` has to be a list of tables".into(),
                "begin each user with a line `[[user]]`, with two brackets".into(),
            ),
            (other, _) => source.error(
                name.span(),
                other,
                format!("there is no `{other}` in a users file"),
                "it holds nothing but `[[user]]` tables".into(),
            ),
        }
    }
}

fn walk_user(source: &mut Source<'_>, index: usize, fields: &DeTable<'_>, whole: std::ops::Range<usize>) {
    for (name, value) in fields.iter() {
        let key = format!("user[{index}].{}", name.get_ref());
        source.spans.insert(key.clone(), value.span());
        match FIELDS.iter().chain(PREFERENCES).find(|(field, ..)| *field == name.get_ref().as_ref()) {
            Some((_, kind, example, _)) => {
                let mut misfits = Vec::new();
                kind.check(value, example, &mut misfits);
                for (span, message, help) in misfits {
                    source.error(span, &key, message, help);
                }
            }
            None => source.error(
                name.span(),
                &key,
                format!("there is no `{}` in a user", name.get_ref()),
                "a user has addresses, username, password and preferences".into(),
            ),
        }
    }
    for (field, _, example, _) in FIELDS {
        if !fields.keys().any(|name| name.get_ref() == field) {
            let key = format!("user[{index}].{field}");
            let help = format!("add a line: {field} = {example}");
            source.error(whole.clone(), &key, format!("this user has no `{field}`"), help);
        }
    }
}

fn convert(source: &mut Source<'_>, read: UsersFile, domains: &[String]) -> Vec<User> {
    let mut addresses: BTreeMap<String, usize> = BTreeMap::new();
    let mut keys: BTreeMap<String, usize> = BTreeMap::new();
    let mut usernames: BTreeMap<String, usize> = BTreeMap::new();
    let mut users = Vec::new();
    for (index, entry) in read.user.into_iter().enumerate() {
        let key = format!("user[{index}].addresses");
        if entry.addresses.is_empty() {
            source.note(
                Severity::Error,
                &key,
                "a user needs at least one address",
                format!("write it like addresses = {}", FIELDS[0].2),
            );
        }
        for address in &entry.addresses {
            let same_text = addresses.insert(address.to_ascii_lowercase(), index);
            // Another way to write an address of another user, as `tel:+1-555` and `tel:+1555`.
            let same = address_key(address).and_then(|key| keys.insert(key, index));
            if let Some(first) = same_text.or(same.filter(|first| *first != index)) {
                let message = format!("`{address}` belongs to user number {} already", first + 1);
                source.note(Severity::Error, &key, message, "one address belongs to one user");
            }
            let host = Uri::parse(address).map(|uri| uri.host).unwrap_or_default();
            if !host.is_empty() && !domains.iter().any(|d| d.eq_ignore_ascii_case(&host)) {
                let message = format!("`{host}` is not among the registrar's domains");
                let help = format!("add \"{host}\" to `domains` under `[registrar]`, or mend the address");
                source.note(Severity::Error, &key, message, help);
            }
        }
        if let Some(first) = usernames.insert(entry.username.clone(), index) {
            let message =
                format!("`{}` is the username of user number {} already", entry.username, first + 1);
            let key = format!("user[{index}].username");
            source.note(Severity::Error, &key, message, "give each user a username of its own");
        }
        let UserEntry { addresses, username, password, preferences } = entry;
        users.push(User { addresses, username, password, preferences });
    }
    users
}
