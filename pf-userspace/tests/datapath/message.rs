//! Messages as the peers of the tests write them.

/// The relay's session-id towards peer `n`.
pub(crate) fn session(n: usize) -> String {
    format!("session{n}-0123456789abcd")
}

fn ours(n: usize) -> String {
    format!("msrp://relay.example:2855/{};tcp", session(n))
}

/// Peers' paths differ in length.
fn theirs(n: usize) -> String {
    format!("msrp://peer{}.example:9/{};tcp", "x".repeat(n * 3), "p".repeat(12))
}

/// Paths of one length.
fn theirs_alike(n: usize) -> String {
    format!("msrp://peer{n}.example:9/{};tcp", "p".repeat(12))
}

/// The path block that peer `n` writes, where all are of one length.
pub(crate) fn alike_in_block(n: usize) -> Vec<u8> {
    format!("To-Path: {}\r\nFrom-Path: {}\r\n", ours(n), theirs_alike(n)).into_bytes()
}

/// The path block that is written to it.
pub(crate) fn alike_out_block(n: usize) -> Vec<u8> {
    format!("To-Path: {}\r\nFrom-Path: {}\r\n", theirs_alike(n), ours(n)).into_bytes()
}

/// The path block that peer `n` writes.
pub(crate) fn in_block(n: usize) -> Vec<u8> {
    format!("To-Path: {}\r\nFrom-Path: {}\r\n", ours(n), theirs(n)).into_bytes()
}

/// The path block that is written to peer `n`.
pub(crate) fn out_block(n: usize) -> Vec<u8> {
    format!("To-Path: {}\r\nFrom-Path: {}\r\n", theirs(n), ours(n)).into_bytes()
}

/// A transaction id: of fixed length.
pub(crate) fn tid(number: usize) -> String {
    format!("t{number:07}")
}

/// Message `number` with this path block.
pub(crate) fn send(number: usize, size: usize, block: &[u8]) -> Vec<u8> {
    let tid = tid(number);
    let body: String = (0..size).map(|at| char::from(b'a' + ((at + number) % 26) as u8)).collect();
    let mut octets = format!("MSRP {tid} SEND\r\n").into_bytes();
    octets.extend(block);
    octets.extend(
        format!(
            "Message-ID: m{tid}\r\nByte-Range: 1-{size}/{size}\r\nContent-Type: message/cpim\r\n\r\n\
             {body}\r\n-------{tid}$\r\n"
        )
        .into_bytes(),
    );
    octets
}

/// The response to message `number` with this path block.
pub(crate) fn ok(number: usize, block: &[u8]) -> Vec<u8> {
    let tid = tid(number);
    let mut octets = format!("MSRP {tid} 200 OK\r\n").into_bytes();
    octets.extend(block);
    octets.extend(format!("-------{tid}$\r\n").into_bytes());
    octets
}

/// The length of the first whole message of a stream, its kind, and where its path block begins.
pub(crate) fn first(stream: &[u8]) -> Option<(usize, bool, usize)> {
    let line = stream.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let tid = stream.get(5..13)?;
    let end = [b"-------", tid, b"$\r\n"].concat();
    let at = stream.windows(end.len()).position(|part| part == end)?;
    let send = stream[..line].ends_with(b"SEND\r\n");
    Some((at + end.len(), send, line))
}
