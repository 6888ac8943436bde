//! Every option: its kind, an example and what it does. The reference is made from these tables.

mod kernel;
mod msrp;
mod other;
mod policy;
mod sip;

use super::kind::Kind;

/// One option of the configuration file.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// `table.key`, or `key` at the top of the file.
    pub key: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// A good value, as written in TOML.
    pub example: &'static str,
    /// What it does.
    pub text: &'static str,
}

/// One table of the configuration file, in the order of the reference.
#[derive(Clone, Copy, Debug)]
pub struct TableDoc {
    /// Its name; empty for the top of the file.
    pub name: &'static str,
    /// What it is about.
    pub text: &'static str,
}

/// All tables.
pub const TABLES: &[TableDoc] = &[
    TableDoc { name: "", text: "These stand at the top of the file, before the first table." },
    TableDoc { name: "sip", text: "Where `pf` is reached by SIP, and the nodes it works with." },
    TableDoc {
        name: "msrp",
        text: "Where `pf` is reached by MSRP, and how much it may hold for a slow peer.",
    },
    TableDoc {
        name: "guard",
        text: "A program in the kernel that keeps floods from the MSRP ports. `docs/guard.md` says what it drops and why.",
    },
    TableDoc {
        name: "datapath",
        text: "Bounds of the fast path (`fast_path`). `docs/datapath.md` says how it works and how to tune it.",
    },
    TableDoc { name: "registrar", text: "The users whose devices register at `pf`." },
    TableDoc {
        name: "policy",
        text: "What the operator decides about CPM sessions. `docs/decisions.md` says why each default is what it is.",
    },
    TableDoc {
        name: "store",
        text: "Where the conversation histories of users with `<allow-offline-storage>` are kept.",
    },
    TableDoc {
        name: "xdms",
        text: "The XML document management server (XDMS) that users lay their preferences down at. Without one the users \
               file and `[policy]` say what each user wants; with one they count for users who have laid nothing down.",
    },
    TableDoc {
        name: "admin",
        text: "The socket that `pf sessions`, `pf groups`, `pf devices`, `pf legs`, `pf store`, `pf stats` and `pf maps` \
               ask.",
    },
    TableDoc { name: "log", text: "What is logged to standard error, and how." },
];

const fn option(key: &'static str, kind: Kind, example: &'static str, text: &'static str) -> OptionDoc {
    OptionDoc { key, kind, example, text }
}

/// All options, by file; the reference has them in the order of [`TABLES`].
const FILES: &[&[OptionDoc]] =
    &[other::OPTIONS, sip::OPTIONS, msrp::OPTIONS, kernel::OPTIONS, policy::OPTIONS];

/// All options; those of one table stand together, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static OptionDoc> {
    FILES.iter().copied().flatten()
}

/// The option of that name.
pub fn find(key: &str) -> Option<&'static OptionDoc> {
    all().find(|option| option.key == key)
}

/// The option or table name that is nearest to a misspelt one, among those of the same table.
pub fn nearest(key: &str) -> Option<&'static str> {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let tables = TABLES.iter().map(|t| t.name).filter(|t| table.is_empty() && !t.is_empty());
    let options = all().map(|o| o.key.rsplit_once('.').unwrap_or(("", o.key)));
    options
        .filter(|(t, _)| *t == table)
        .map(|(_, n)| n)
        .chain(tables)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(steps, candidate)| *steps <= 1 + candidate.len() / 4)
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, candidate)| candidate)
}

/// The table in which an option of that last name exists, if there is just one.
pub fn table_of(name: &str) -> Option<&'static str> {
    let mut found = all().filter_map(|o| o.key.rsplit_once('.')).filter(|(_, n)| *n == name);
    match (found.next(), found.next()) {
        (Some((table, _)), None) => Some(table),
        _ => None,
    }
}

/// Edits (insert, delete, replace) that lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
