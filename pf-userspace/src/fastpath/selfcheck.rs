//! Three packets that the loaded program has to judge before it meets others.
//!
//! They find a program that was built from other sources than this `pf`, and a kernel that runs it otherwise than it
//! was tested.

use pf_common::{guard::Verdict, maps::ListenKey};

use super::{Guard, GuardError};

/// The address and the port of the check: of a network for documentation (RFC 5737), never a listener of ours.
const HOST: [u8; 4] = [192, 0, 2, 1];
const PORT: [u8; 2] = [0x0b, 0x27];
const CLOSED: [u8; 2] = [0, 9];

const SYN: u8 = 0x02;
const FIN: u8 = 0x01;

/// Judges the packets, then forgets them.
pub(super) fn run(guard: &mut Guard) -> Result<(), GuardError> {
    let listener = ListenKey::v4(HOST, PORT);
    guard.listen(&[listener])?;
    for (frame, wanted) in [
        (frame(PORT, SYN), Verdict::PassConnect),
        (frame(PORT, SYN | FIN), Verdict::DropSynFlags),
        (frame(CLOSED, SYN), Verdict::PassOtherPort),
    ] {
        let (verdict, action, _) = guard.judge(&frame, 1)?;
        // XDP_DROP is 1, XDP_PASS is 2.
        if verdict != Some(wanted) || action != 1 + u32::from(wanted.passes()) {
            let got = verdict.map_or("nothing", Verdict::name);
            return Err(GuardError::SelfCheck(format!("{got} instead of {}", wanted.name())));
        }
    }
    guard.leave(&listener)?;
    guard.clear()
}

/// A TCP segment from a host to itself, without payload.
fn frame(port: [u8; 2], flags: u8) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    frame.extend(HOST.iter().chain(&HOST));
    frame.extend([0x9c, 0x40, port[0], port[1], 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    frame
}
