//! Answering the far end in the place of a client that is lost.

use super::*;
use crate::core::event::InterceptedMessage;

const A: usize = 0;
const F: usize = 1;
const KEEP: u64 = 2000;

/// A session of A (leg 10) and F (leg 11) whose client was lost.
fn lost(keep: Option<u64>) -> World {
    let mut world = World::new(3, Limits::default());
    world.open(10, LegRole::Originator, Setup::Passive, "");
    world.open(11, LegRole::Far, Setup::Passive, "");
    world.dial(&[10]);
    world.dial(&[11]);
    world.run();
    world.lose(keep);
    world
}

impl World {
    fn lose(&mut self, keep: Option<u64>) {
        self.switch.command(self.now, MediaCommand::Intercept { stream: StreamKey(1), keep });
        self.switch.command(self.now, MediaCommand::CloseLeg { leg: LegKey(10) });
        self.act();
    }

    /// F sends a chunk: `range` is the value of Byte-Range.
    fn chunk(&mut self, id: &str, message: &str, range: &str, body: &[u8], flag: char) {
        let fields = format!("Message-ID: {message}\r\nByte-Range: {range}\r\n");
        self.send(F, 11, id, &fields, Some(body), flag);
        self.run();
    }

    fn heard(&self, id: &str) -> &[u16] {
        self.ends[F].1.responses.get(id).map_or(&[], |codes| codes)
    }

    fn taken(&self) -> Vec<(u64, &InterceptedMessage)> {
        fn taken(event: &MediaEvent) -> Option<(u64, &InterceptedMessage)> {
            let MediaEvent::Intercepted { leg, stream, number, message } = event else { return None };
            assert_eq!((leg, stream), (&LegKey(11), &StreamKey(1)));
            Some((*number, message))
        }
        self.events.iter().filter_map(taken).collect()
    }

    fn confirm(&mut self, number: u64, kept: bool) {
        let stream = StreamKey(1);
        self.switch.command(self.now, MediaCommand::ConfirmIntercepted { stream, number, kept });
        self.act();
        self.run();
    }

    fn held(&self) -> u64 {
        let stream = self.switch.streams.iter().next().unwrap().1;
        stream.interception.as_ref().unwrap().held()
    }
}

// Rows: BYE-43, BYE-47
#[test]
fn a_message_is_answered_when_it_is_kept() {
    let mut world = lost(Some(KEEP));
    world.chunk("tid-one", "m-1", "1-5/5", b"hello", '$');
    assert_eq!(world.heard("tid-one"), [0; 0], "it is not kept yet");
    let (number, message) = world.taken()[0];
    assert_eq!((message.message_id.as_str(), message.octets.as_slice()), ("m-1", &b"hello"[..]));
    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
    world.confirm(number, true);
    assert_eq!(world.heard("tid-one"), [200]);
    // A store that failed: the sender may try again.
    world.chunk("tid-two", "m-2", "1-5/5", b"again", '$');
    let number = world.taken()[1].0;
    world.confirm(number, false);
    assert_eq!(world.heard("tid-two"), [408]);
    assert_eq!(world.held(), 0);
}

// Rows: BYE-47
#[test]
fn chunks_are_put_together() {
    let mut world = lost(Some(KEEP));
    world.chunk("tid-one", "m-1", "1-5/11", b"hello", '+');
    world.chunk("tid-two", "m-2", "1-3/3", b"now", '$');
    // The second chunk begins before the first one's end: what comes last counts.
    world.chunk("tid-tre", "m-1", "5-11/11", b"o world", '$');
    assert_eq!((world.heard("tid-one"), world.heard("tid-tre")), (&[200][..], &[][..]));
    let bodies: Vec<&[u8]> = world.taken().iter().map(|(_, m)| m.octets.as_slice()).collect();
    assert_eq!(bodies, [&b"now"[..], b"hello world"]);
    for number in [1, 2] {
        world.confirm(number, true);
    }
    assert_eq!((world.heard("tid-two"), world.heard("tid-tre")), (&[200][..], &[200][..]));
    assert_eq!(world.held(), 0);
}

#[test]
fn what_is_no_whole_message_is_not_kept() {
    let mut world = lost(Some(KEEP));
    world.chunk("tid-gap", "m-1", "6-11/11", b" world", '$');
    assert_eq!(world.heard("tid-gap"), [413], "its beginning went to the lost client");
    world.chunk("tid-one", "m-2", "1-3/9", b"not", '+');
    world.chunk("tid-two", "m-2", "4-6/9", b"all", '#');
    assert_eq!((world.heard("tid-one"), world.heard("tid-two")), (&[200][..], &[200][..]));
    world.chunk("tid-tre", "m-2", "7-9/9", b"end", '$');
    assert_eq!(world.heard("tid-tre"), [413]);
    assert_eq!((world.taken().len(), world.held()), (0, 0));
}

#[test]
fn what_is_held_has_a_bound() {
    let mut world = lost(Some(KEEP));
    world.chunk("tid-one", "m-1", "1-1500/1500", &[b'x'; 1500], '$');
    world.chunk("tid-two", "m-2", "1-600/600", &[b'y'; 600], '$');
    assert_eq!((world.heard("tid-two"), world.taken().len()), (&[413][..], 1));
    world.confirm(1, true);
    world.chunk("tid-tre", "m-3", "1-600/600", &[b'z'; 600], '$');
    world.confirm(2, true);
    assert_eq!((world.heard("tid-one"), world.heard("tid-tre")), (&[200][..], &[200][..]));
    assert_eq!(world.held(), 0);
}

#[test]
fn a_core_that_lags_behind_slows_the_far_end() {
    let mut world = lost(Some(1 << 20));
    for n in 0..70 {
        world.chunk(&format!("tid-{n:02}"), &format!("m-{n}"), "1-2/2", b"hi", '$');
    }
    assert_eq!(world.taken().len(), 64);
    for number in 1..=6 {
        world.confirm(number, true);
    }
    assert_eq!(world.taken().len(), 70);
    for number in 7..=70 {
        world.confirm(number, true);
    }
    assert!((0..70).all(|n| world.heard(&format!("tid-{n:02}")) == [200]));
}

// Rows: BYE-43, BYE-47
#[test]
fn where_nothing_is_kept_everything_is_answered() {
    let mut world = lost(None);
    world.chunk("tid-one", "m-1", "1-5/9", b"hello", '+');
    world.chunk("tid-two", "m-1", "6-9/9", b" you", '$');
    assert_eq!((world.heard("tid-one"), world.heard("tid-two")), (&[200][..], &[200][..]));
    assert_eq!((world.taken().len(), world.held()), (0, 0));
}

#[test]
fn a_message_on_its_way_when_the_client_is_lost_may_be_sent_again() {
    let mut world = World::new(3, Limits::default());
    world.open(10, LegRole::Originator, Setup::Passive, "");
    world.open(11, LegRole::Far, Setup::Passive, "");
    world.dial(&[10]);
    world.dial(&[11]);
    world.run();
    world.ends[A].1.answers = false;
    world.chunk("tid-one", "m-1", "1-5/5", b"hello", '$');
    world.lose(Some(KEEP));
    world.run();
    assert_eq!(world.heard("tid-one"), [408]);
    world.chunk("tid-two", "m-1", "1-5/5", b"hello", '$');
    assert_eq!(world.taken().len(), 1);
    // The far end goes with the message on its way to the store.
    let id = world.ends[F].0;
    world.switch.closed(world.now, id);
    world.act();
    world.confirm(1, true);
    assert_eq!(world.held(), 0);
}
