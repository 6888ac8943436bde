//! What the kernel says of the programs.

use std::time::Instant;

use super::datapath;

/// The verifier gives up at a million instructions. What is near to that has no room for the next feature, and other
/// kernels count differently.
const MOST_VERIFIED: u32 = 600_000;

#[test]
fn every_program_leaves_the_verifier_room() {
    let begin = Instant::now();
    let Some(datapath) = datapath() else { return };
    eprintln!("loaded in {:?}", begin.elapsed());
    for program in datapath.programs().unwrap() {
        eprintln!("{}: {} instructions verified", program.name, program.verified_instructions);
        assert!(program.verified_instructions <= MOST_VERIFIED, "{program:?}");
    }
}
