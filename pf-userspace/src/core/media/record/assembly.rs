//! A message is put together from its chunks, whatever their order (clause 8.2.6 step 1).
//!
//! Octets stand at their places, counted from 0. Where chunks overlap, what came last counts, as long as it was not
//! given away: a message that is too long to be held is given away in parts, and what was given away stands.

use std::collections::BTreeMap;

/// Stretches of a message that may be known apart from each other.
const STRETCHES: usize = 256;

/// What is known of one message.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// Held stretches by their places: none touches another.
    held: BTreeMap<u64, Vec<u8>>,
    /// Octets of these.
    octets: u64,
    /// Stretches that were given away, first octet and end: none touches another.
    given: BTreeMap<u64, u64>,
    /// Where the message ends, once its last octet has come.
    end: Option<u64>,
}

/// The message is in too many stretches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scattered;

impl Assembly {
    /// Octets that are held.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Was a part of it given away?
    pub(super) fn is_begun(&self) -> bool {
        !self.given.is_empty()
    }

    /// Where it ends, once that is known.
    pub(super) fn end(&self) -> Option<u64> {
        self.end
    }

    /// The message ends before the octet at `end`.
    pub(super) fn ends_at(&mut self, end: u64) {
        self.end = Some(end);
    }

    /// Octets have come for the place `at`.
    pub(super) fn put(&mut self, at: u64, octets: &[u8]) -> Result<(), Scattered> {
        let end = at.saturating_add(octets.len() as u64);
        let mut from = at;
        while from < end {
            // Between what was given away before and what was given away next.
            let before = self.given.range(..=from).next_back().map(|(_, end)| *end);
            if let Some(given) = before.filter(|given| *given > from) {
                from = given;
                continue;
            }
            let upto = self.given.range(from..).next().map_or(end, |(next, _)| end.min(*next));
            let range = place(from - at)..place(upto - at);
            self.hold(from, octets.get(range).unwrap_or(&[]));
            from = upto;
        }
        if self.held.len() + self.given.len() > STRETCHES { Err(Scattered) } else { Ok(()) }
    }

    /// Writes octets over or behind a stretch that they touch, or makes a new one.
    fn hold(&mut self, at: u64, octets: &[u8]) {
        let before = self.held.range(..=at).next_back();
        let touched =
            before.filter(|(start, held)| **start + held.len() as u64 >= at).map(|(start, _)| *start);
        let start = touched.unwrap_or(at);
        let mut stretch = self.held.remove(&start).unwrap_or_default();
        self.octets -= stretch.len() as u64;
        let offset = place(at - start);
        let over = octets.len().min(stretch.len() - offset);
        let (first, rest) = octets.split_at(over);
        if let Some(old) = stretch.get_mut(offset..offset + over) {
            old.copy_from_slice(first);
        }
        stretch.extend_from_slice(rest);
        // Those behind it that it has reached.
        loop {
            let end = start + stretch.len() as u64;
            let Some(next) = self.held.range(start..=end).next().map(|(next, _)| *next) else { break };
            let Some(known) = self.held.remove(&next) else { break };
            self.octets -= known.len() as u64;
            stretch.extend_from_slice(known.get(place(end - next)..).unwrap_or(&[]));
        }
        self.octets += stretch.len() as u64;
        self.held.insert(start, stretch);
    }

    /// Gives away a part of at most `limit` octets, of the longest stretch: its place and its octets.
    pub(super) fn give(&mut self, limit: u64) -> Option<(u64, Vec<u8>)> {
        let longest = self.held.iter().max_by_key(|(_, held)| held.len()).map(|(start, _)| *start)?;
        self.give_from(longest, limit)
    }

    /// The same of the first stretch.
    pub(super) fn give_first(&mut self, limit: u64) -> Option<(u64, Vec<u8>)> {
        let first = self.held.keys().next().copied()?;
        self.give_from(first, limit)
    }

    fn give_from(&mut self, start: u64, limit: u64) -> Option<(u64, Vec<u8>)> {
        let mut part = self.held.remove(&start)?;
        let rest = part.split_off(part.len().min(place(limit.max(1))));
        let end = start + part.len() as u64;
        self.octets -= part.len() as u64;
        if !rest.is_empty() {
            self.held.insert(end, rest);
        }
        let (mut from, mut upto) = (start, end);
        if let Some((first, _)) = self.given.range(..start).next_back().filter(|(_, end)| **end == start) {
            from = *first;
        }
        if let Some(last) = self.given.remove(&end) {
            upto = last;
        }
        self.given.insert(from, upto);
        Some((start, part))
    }

    /// Has every octet come?
    pub(super) fn is_whole(&self) -> bool {
        let Some(end) = self.end else { return false };
        let mut upto = 0;
        while upto < end {
            let held = self.held.range(..=upto).next_back().map(|(start, held)| start + held.len() as u64);
            let given = self.given.range(..=upto).next_back().map(|(_, end)| *end);
            match held.max(given).filter(|reached| *reached > upto) {
                Some(reached) => upto = reached,
                None => return false,
            }
        }
        true
    }
}

fn place(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

    fn all(assembly: &mut Assembly) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some((at, octets)) = assembly.give_first(7) {
            assert_eq!(at, text.len() as u64);
            text.extend_from_slice(&octets);
        }
        text
    }

    // Rows: MED-01
    #[test]
    fn chunks_come_in_any_order_and_overlap() {
        for chunks in [
            &[(0, 26)][..],
            &[(0, 10), (10, 26)],
            &[(10, 26), (0, 10)],
            &[(20, 26), (0, 12), (8, 21)],
            &[(0, 5), (10, 15), (20, 26), (3, 24)],
            &[(5, 6), (3, 4), (4, 5), (0, 3), (6, 26)],
            &[(2, 4), (0, 26), (1, 3)],
            &[(25, 26), (0, 25), (0, 26)],
        ] {
            let mut assembly = Assembly::default();
            assembly.ends_at(26);
            for (from, to) in chunks {
                assert!(!assembly.is_whole() || *chunks.last().unwrap() == (*from, *to) || *to - *from < 26);
                assembly.put(*from as u64, &TEXT[*from..*to]).unwrap();
            }
            assert!(assembly.is_whole(), "{chunks:?}");
            assert_eq!(assembly.octets(), 26);
            assert_eq!(all(&mut assembly), TEXT, "{chunks:?}");
            assert_eq!(assembly.octets(), 0);
        }
    }

    #[test]
    fn what_came_last_counts_until_it_is_given_away() {
        let mut assembly = Assembly::default();
        assembly.put(0, b"aaaaaa").unwrap();
        assembly.put(2, b"bb").unwrap();
        assert_eq!(assembly.give(3), Some((0, b"aab".to_vec())));
        assembly.put(0, b"cccccccc").unwrap();
        assembly.ends_at(8);
        assert!(assembly.is_whole() && assembly.is_begun());
        assert_eq!(assembly.give(100), Some((3, b"ccccc".to_vec())));
        assert!(assembly.is_whole());
        assert_eq!(assembly.give(100), None);
    }

    #[test]
    fn the_longest_stretch_is_given_away_first_and_a_gap_stays_one() {
        let mut assembly = Assembly::default();
        assembly.put(20, &TEXT[20..]).unwrap();
        assembly.put(0, &TEXT[..3]).unwrap();
        assembly.ends_at(26);
        assert_eq!(assembly.give(4), Some((20, TEXT[20..24].to_vec())));
        assembly.put(2, &TEXT[2..22]).unwrap();
        assert_eq!(assembly.octets(), 22);
        assert!(assembly.is_whole());
        assert_eq!(assembly.give_first(100), Some((0, TEXT[..20].to_vec())));
        assert_eq!(assembly.give_first(100), Some((24, TEXT[24..].to_vec())));
    }

    #[test]
    fn without_its_end_or_with_a_gap_it_is_not_whole() {
        let mut assembly = Assembly::default();
        assembly.put(0, TEXT).unwrap();
        assert!(!assembly.is_whole());
        assembly.ends_at(27);
        assert!(!assembly.is_whole());
        let mut empty = Assembly::default();
        empty.ends_at(0);
        assert!(empty.is_whole());
    }

    #[test]
    fn dust_is_refused() {
        let mut assembly = Assembly::default();
        let last = (0..1000).find(|n| assembly.put(n * 2, b"x").is_err());
        assert_eq!(last, Some(STRETCHES as u64));
    }
}
