//! What an operator sees of one leg.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Why;

/// The fast path of one leg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegPath {
    /// Do the programs take what the peer sends?
    pub source: String,
    /// Who writes to the peer: `fast`: the programs; `slow`: userspace.
    pub leg: String,
    /// Why its messages come to userspace, where they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// Octets sent to the peer that it has not acknowledged.
    pub in_flight: u32,
    /// Messages and responses that the programs took from the peer.
    pub consumed: u64,
    /// Their octets.
    pub consumed_octets: u64,
    /// Messages and responses that the programs sent to the peer.
    pub injected: u64,
    /// Their octets.
    pub injected_octets: u64,
    /// How many of them the peer has acknowledged.
    #[serde(default)]
    pub acknowledged: u64,
    /// Octets of messages that are kept until every leg has acknowledged them.
    pub held_octets: u32,
    /// How often it left the fast path, as a source or as a leg, by cause.
    pub left: BTreeMap<String, u64>,
}

impl LegPath {
    /// Userspace carries everything of it.
    pub fn slow() -> LegPath {
        LegPath { source: "slow".to_owned(), leg: "slow".to_owned(), ..LegPath::default() }
    }
}
