//! The programs' working memory, as their reader of messages sees it.

use pf_common::whole::{Reader, Scan, Step};

/// As the kernel has it: 2048 octets that can be read, with others behind them.
pub(crate) struct Memory(pub(crate) [u8; 4096]);

impl Reader for Memory {
    fn octet(&self, at: u32) -> u8 {
        self.0[at as usize & 2047]
    }
    fn word(&self, at: u32) -> u64 {
        let at = at as usize & 2047;
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }
    fn repeat(&self, step: Step, scan: &mut Scan) {
        for _ in 0..step.most() {
            if !step.run(self, scan) {
                break;
            }
        }
    }
}
