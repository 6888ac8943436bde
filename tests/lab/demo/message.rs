//! The messages of the demo: the same for the same seed, so that every receiver can tell what it must get.

use std::{sync::Mutex, time::Instant};

use crate::{
    lock,
    msrp::{Outgoing, cpim},
    probe::pattern,
};

/// Chunk sizes as handsets use them.
const CHUNKS: [usize; 3] = [2_048, 10_240, 65_536];
const SMALLEST: f64 = 20.0;
const LARGEST: f64 = 200_000.0;
/// What people type.
const LONGEST_LINE: f64 = 800.0;

/// What is said, and when it was.
pub(super) struct Script {
    seed: u64,
    /// So many short messages; then those of all sizes.
    chat: usize,
    sizes: Vec<usize>,
    sent: Mutex<Vec<Option<Instant>>>,
}

impl Script {
    /// `chat` short messages, then `mixed` ones of all sizes.
    pub(super) fn new(seed: u64, mixed: usize, chat: usize) -> Script {
        let messages = mixed + chat;
        let most = |number| if number < chat { LONGEST_LINE } else { LARGEST };
        let sizes = (0..messages).map(|number| size(seed, number, most(number))).collect();
        Script { seed, chat, sizes, sent: Mutex::new(vec![None; messages]) }
    }

    /// How many messages the chat has, which comes first.
    pub(super) fn chat(&self) -> usize {
        self.chat
    }

    pub(super) fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Octets of all texts.
    pub(super) fn octets(&self) -> u64 {
        self.sizes.iter().map(|size| *size as u64).sum()
    }

    /// Message-ID of a message.
    pub(super) fn id(&self, number: usize) -> String {
        format!("demo{number:06}")
    }

    /// Number of a message.
    pub(super) fn number(&self, id: &str) -> Option<usize> {
        id.strip_prefix("demo")?.parse().ok().filter(|number| *number < self.len())
    }

    /// The message as UE-A sends it.
    pub(super) fn outgoing(&self, number: usize) -> Outgoing {
        let digits = pattern(self.seed ^ (number as u64 + 1) << 20, self.sizes[number].div_ceil(2));
        let mut text: String = digits.iter().map(|octet| format!("{octet:02x}")).collect();
        text.truncate(self.sizes[number]);
        let id = self.id(number);
        let body = cpim(super::ALICE, super::BOB, &id, "text/plain;charset=UTF-8", text.as_bytes());
        let message = Outgoing::new("message/cpim", body).chunked(CHUNKS[number % CHUNKS.len()]);
        Outgoing { message_id: id, ..message }
    }

    /// Notes that a message leaves now.
    pub(super) fn leaves(&self, number: usize) {
        lock(&self.sent)[number] = Some(Instant::now());
    }

    /// When a message left.
    pub(super) fn left(&self, number: usize) -> Option<Instant> {
        lock(&self.sent)[number]
    }
}

/// Small messages are common, large ones rare: the logarithm is evenly spread.
fn size(seed: u64, number: usize, most: f64) -> usize {
    let octets = pattern(seed.wrapping_add(number as u64 + 1), 8);
    let value = octets.iter().fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
    let part = value as f64 / u64::MAX as f64;
    (SMALLEST * (most / SMALLEST).powf(part)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_cover_the_range() {
        let script = Script::new(1, 1_000, 0);
        let (least, most) = (script.sizes.iter().min().unwrap(), script.sizes.iter().max().unwrap());
        assert!((20..40).contains(least) && (100_000..=200_000).contains(most), "{least} {most}");
        let mean = script.octets() / 1_000;
        assert!((10_000..40_000).contains(&mean), "{mean}");
    }
}
