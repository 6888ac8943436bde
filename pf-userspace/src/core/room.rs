//! Tables that give back the room they no longer need. A hash map keeps the room of the most entries that it ever had:
//! after a busy hour that would be most of the memory of an idle process.

use std::{collections::HashMap, hash::Hash};

/// A table that is smaller than this may stay as large as it is, in entries.
const FLOOR: usize = 1024;

/// Gives back room if an eighth or less of it is in use; half of what is left is then free. To be called after a removal:
/// it costs a look, and a move of the entries once in three removals of all of them.
pub(crate) fn give_back<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.capacity() > FLOOR && table.len() <= table.capacity() / 8 {
        table.shrink_to((table.len() * 2).max(FLOOR / 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_large_gets_small_again_and_keeps_what_it_has() {
        let mut table: HashMap<u32, u32> = (0..100_000).map(|n| (n, n)).collect();
        let large = table.capacity();
        let mut moved = 0;
        for n in 0..100_000 {
            table.remove(&n);
            let before = table.capacity();
            give_back(&mut table);
            moved += if table.capacity() < before { table.len() } else { 0 };
            assert!(table.capacity() <= large && table.len() == 99_999 - n as usize);
            assert!(n + 1 == 100_000 || table.contains_key(&99_999));
        }
        assert!(table.capacity() <= FLOOR, "{}", table.capacity());
        assert!(moved < 50_000, "{moved} entries moved");
        let mut small: HashMap<u32, u32> = HashMap::with_capacity(500);
        give_back(&mut small);
        assert!(small.capacity() >= 500, "not worth it");
    }
}
