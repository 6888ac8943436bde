//! What goes out on the connection of an endpoint, and in how many pieces.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::tcp::OwnedWriteHalf, sync::mpsc};

/// Octets that are written in pieces, with a pause between two.
pub(crate) struct Writing {
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) pause: Duration,
}

/// Answers and other small frames go before the next chunk.
pub(crate) async fn write_all(
    mut write: OwnedWriteHalf,
    urgent: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    bulk: &mut mpsc::Receiver<Writing>,
) -> String {
    loop {
        let writing = tokio::select! {
            biased;
            Some(octets) = urgent.recv() => Writing { pieces: vec![octets], pause: Duration::ZERO },
            Some(writing) = bulk.recv() => writing,
            else => return "nothing more to write".to_owned(),
        };
        for (number, piece) in writing.pieces.iter().enumerate() {
            if number > 0 {
                tokio::time::sleep(writing.pause).await;
            }
            if let Err(error) = write.write_all(piece).await {
                return format!("writing: {error}");
            }
        }
    }
}
