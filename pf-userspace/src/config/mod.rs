//! The configuration file: TOML in, one checked value out.
//!
//! [`Config`] is what the file says, with every default filled in. [`options::all`] documents every key and
//! how its value is checked; `docs/configuration.md` is made from it, and a test holds the three together.
//! [`load`] reports every fault it finds, each with its place and how to mend it, and not just the first.

pub mod check;
pub mod finding;
pub mod kind;
pub mod model;
pub mod options;
pub mod reference;
pub mod semantic;
pub mod users;

#[cfg(test)]
mod tests;

pub use check::{Checked, load};
pub use finding::{Finding, Severity};
pub use model::Config;
