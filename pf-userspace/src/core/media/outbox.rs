//! What waits to be written on a connection.
//!
//! Owner of every octet between the source's input and the outgoing socket. Long pieces of a body are not
//! copied: they stay in the input slice, which the shell keeps until it has written or settled them.

use std::io::IoSlice;

/// Octets waiting for one connection: our own copy, with pieces of the current input in between.
#[derive(Debug, Default)]
pub struct Outbox {
    octets: Vec<u8>,
    written: usize,
    loans: Vec<Loan>,
    lent: usize,
}

/// A piece of the current input.
#[derive(Clone, Copy, Debug)]
struct Loan {
    /// Position in `octets` before which it is written.
    before: usize,
    /// First octet in the input.
    from: usize,
    /// Octets.
    len: usize,
}

impl Outbox {
    /// Octets waiting.
    #[inline]
    pub fn len(&self) -> usize {
        self.octets.len() - self.written + self.lent
    }

    /// Nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Are there pieces that still stand in the input?
    #[inline]
    pub fn borrows(&self) -> bool {
        !self.loans.is_empty()
    }

    /// Where to append.
    #[inline]
    pub(super) fn octets(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// Appends `len` octets of the input, from `from`, without copying them.
    #[inline]
    pub(super) fn lend(&mut self, from: usize, len: usize) {
        if len > 0 {
            self.loans.push(Loan { before: self.octets.len(), from, len });
            self.lent += len;
        }
    }

    /// Gives a buffer to an empty outbox.
    pub(super) fn equip(&mut self, spare: Vec<u8>) {
        if self.octets.capacity() == 0 {
            self.octets = spare;
        }
    }

    /// Takes the buffer of an empty outbox.
    pub(super) fn strip(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.octets.capacity() > 0).then(|| {
            self.octets.clear();
            self.written = 0;
            std::mem::take(&mut self.octets)
        })
    }

    /// What waits, in order: fills `pieces` as far as they reach and gives their number. `input` is the slice
    /// of which pieces were lent.
    pub fn pieces<'a>(&'a self, input: &'a [u8], pieces: &mut [IoSlice<'a>]) -> usize {
        let mut at = self.written;
        let mut room = pieces.iter_mut();
        let mut n = 0;
        let mut put = |octets: &'a [u8]| match room.next() {
            Some(slot) => {
                *slot = IoSlice::new(octets);
                n += 1;
                true
            }
            None => false,
        };
        for loan in &self.loans {
            if loan.before > at && !put(&self.octets[at..loan.before]) {
                return n;
            }
            at = loan.before;
            if !put(input.get(loan.from..loan.from + loan.len).unwrap_or(&[])) {
                return n;
            }
        }
        if self.octets.len() > at {
            put(&self.octets[at..]);
        }
        n
    }

    /// Our own octets; all there is when nothing is lent.
    pub fn plain(&self) -> &[u8] {
        &self.octets[self.written..]
    }

    /// `n` octets have been written.
    pub(super) fn wrote(&mut self, n: usize) {
        let mut n = n;
        let mut done = 0;
        for loan in &mut self.loans {
            let plain = (loan.before - self.written).min(n);
            self.written += plain;
            n -= plain;
            if self.written < loan.before {
                break;
            }
            let lent = loan.len.min(n);
            (loan.from, loan.len) = (loan.from + lent, loan.len - lent);
            self.lent -= lent;
            n -= lent;
            if loan.len > 0 {
                break;
            }
            done += 1;
        }
        self.loans.drain(..done);
        self.written = (self.written + if self.loans.is_empty() { n } else { 0 }).min(self.octets.len());
        if self.is_empty() {
            self.octets.clear();
            self.written = 0;
        } else if self.loans.is_empty() && self.written >= 64 * 1024 && self.written * 2 >= self.octets.len()
        {
            self.octets.drain(..self.written);
            self.written = 0;
        }
    }

    /// Copies what still stands in the input, which is about to go.
    pub(super) fn settle(&mut self, input: &[u8]) {
        let Some(first) = self.loans.first() else { return };
        let base = first.before;
        let tail = self.octets.split_off(base);
        let mut at = 0;
        for loan in self.loans.drain(..) {
            self.octets.extend_from_slice(&tail[at..loan.before - base]);
            at = loan.before - base;
            self.octets.extend_from_slice(input.get(loan.from..loan.from + loan.len).unwrap_or(&[]));
        }
        self.octets.extend_from_slice(&tail[at..]);
        self.lent = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn written_in_any_steps(
            parts in proptest::collection::vec((any::<bool>(), 0_usize..20), 0..10),
            steps in proptest::collection::vec(0_usize..30, 0..12),
            settle_at in 0_usize..12,
        ) {
            let input: Vec<u8> = (0..=255).collect();
            let mut outbox = Outbox::default();
            let mut expected = vec![];
            for (lend, len) in parts {
                if lend {
                    outbox.lend(7, len);
                    expected.extend_from_slice(&input[7..7 + len]);
                } else {
                    outbox.octets().extend(vec![b'x'; len]);
                    expected.extend(vec![b'x'; len]);
                }
            }
            let mut got: Vec<u8> = vec![];
            for (n, step) in steps.into_iter().enumerate() {
                if n == settle_at {
                    outbox.settle(&input);
                    prop_assert!(!outbox.borrows());
                }
                let mut pieces = [IoSlice::new(&[]); 64];
                let count = outbox.pieces(&input, &mut pieces);
                let all: Vec<u8> = pieces[..count].iter().flat_map(|p| p.to_vec()).collect();
                prop_assert_eq!(all.len(), outbox.len());
                let step = step.min(all.len());
                got.extend_from_slice(&all[..step]);
                outbox.wrote(step);
            }
            outbox.settle(&input);
            got.extend_from_slice(outbox.plain());
            prop_assert_eq!(got, expected);
        }
    }
}
