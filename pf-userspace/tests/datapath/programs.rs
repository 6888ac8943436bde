//! What the kernel says of the programs.

use std::{
    io::{self, Write},
    time::Instant,
};

use pf::fastpath::DatapathSettings;

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
        // Written past the test's captured output: it is to be read when all is well.
        let _ = writeln!(
            io::stderr(),
            "{}: {} instructions verified",
            program.name,
            program.verified_instructions
        );
        assert!(program.verified_instructions <= MOST_VERIFIED, "{program:?}");
    }
}

#[test]
fn the_maps_cost_what_the_check_says() {
    let settings =
        DatapathSettings { connections: 1000, legs: 1000, ring_octets: 1 << 20, source_octets: 4096 };
    let Some(datapath) = super::datapath_with(&settings) else { return };
    let maps = datapath.tables().unwrap().list(None).unwrap();
    let told = pf::fastpath::datapath_memory(1000, 1 << 20);
    for map in &maps {
        let told = told.iter().find(|(name, _)| *name == map.name).map(|(_, octets)| *octets).unwrap();
        eprintln!("{}: {told} octets told, {} taken", map.name, map.memory_octets);
        match map.name.as_str() {
            // They grow with their entries.
            "FLOWS" | "SESSIONS" => assert!(told > map.memory_octets + 1000 * 64, "{}", map.name),
            // Nothing is known of it here but a bound.
            "SCRATCH" => assert!(told >= map.memory_octets),
            _ => assert!(told.abs_diff(map.memory_octets) * 50 <= map.memory_octets, "{}", map.name),
        }
    }
    assert_eq!(maps.len(), told.len(), "every map is counted");
}
