//! Chunks, flags and bounds, by tables.

use super::*;
use crate::core::store::Folder;

const FROM: Origin = Origin { leg: LegId::FIRST, direction: Direction::Sent, message_id: Vec::new() };

struct Recorder {
    recording: Recording,
    out: Vec<Noted>,
}

impl Recorder {
    fn new(limit: u64) -> Recorder {
        let place = Place { user: "sip:ann@example.org".to_owned(), folder: Folder::default() };
        Recorder { recording: Recording::new(StreamKey(1), Arc::new(place), limit), out: Vec::new() }
    }

    /// A chunk of message `id` comes: its first octet, from 1.
    fn chunk(
        &mut self,
        at: Time,
        id: &str,
        first: u64,
        total: Option<u64>,
        octets: &str,
        flag: char,
    ) -> bool {
        let chunk = Chunk {
            stream: StreamId::FIRST,
            of: Origin { message_id: id.as_bytes().to_vec(), ..FROM },
            content_type: None,
            total,
            at: first - 1,
            octets: octets.as_bytes().to_vec(),
        };
        let flag = Flag::from_octet(flag as u8).unwrap();
        self.recording.end(at, chunk, flag, &mut self.out)
    }

    /// `id:octets`, `id@first/total:octets` of a part, `id!why`, `#`.
    fn said(&mut self) -> Vec<String> {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let one = |noted: Noted| match noted {
            Noted::Abandoned => "#".to_owned(),
            Noted::Message(message) => {
                let id = text(&message.message_id);
                match (message.missing, message.part) {
                    (Some(missing), _) => format!("{id}!{missing:?}"),
                    (None, None) => format!("{id}:{}", text(&message.octets)),
                    (None, Some(Part { first, total, last })) => {
                        let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
                        let end = if last { "." } else { "" };
                        format!("{id}@{first}/{total}:{}{end}", text(&message.octets))
                    }
                }
            }
        };
        std::mem::take(&mut self.out).into_iter().map(one).collect()
    }
}

/// First octet, total, octets, flag.
type Row = (u64, Option<u64>, &'static str, char);

// Rows: MED-01
#[test]
fn messages_are_put_together_from_their_chunks() {
    let rows: &[(&[Row], &[&str])] = &[
        (&[(1, Some(5), "hello", '$')], &["m:hello"]),
        (&[(1, None, "hello", '$')], &["m:hello"]),
        (&[(1, None, "", '$')], &["m:"]),
        // Interrupted, and continued where it was.
        (&[(1, Some(5), "he", '+'), (3, Some(5), "llo", '$')], &["m:hello"]),
        (&[(1, None, "he", '+'), (3, None, "l", '+'), (4, None, "lo", '$')], &["m:hello"]),
        (&[(1, None, "hello", '+'), (6, None, "", '$')], &["m:hello"]),
        // In no order, and overlapping.
        (&[(4, Some(5), "lo", '$'), (1, Some(5), "hel", '+')], &["m:hello"]),
        (&[(3, Some(5), "llo", '$'), (1, Some(5), "hel", '+')], &["m:hello"]),
        (&[(1, Some(5), "hel", '+'), (1, Some(5), "hel", '+'), (2, Some(5), "ello", '$')], &["m:hello"]),
        // Its end came before the middle, and was said to be elsewhere by its total.
        (
            &[
                (1, Some(5), "h", '+'),
                (4, Some(5), "l", '$'),
                (2, Some(5), "el", '+'),
                (5, Some(5), "o", '+'),
            ],
            &["m:hello"],
        ),
        // Given up; and begun anew.
        (&[(1, None, "hel", '#')], &["#"]),
        (&[(1, None, "he", '+'), (3, None, "l", '#')], &["#"]),
        (&[(1, None, "xx", '+'), (3, None, "", '#'), (1, None, "hello", '$')], &["#", "m:hello"]),
        // Not whole.
        (&[(1, Some(5), "he", '+'), (4, Some(5), "lo", '$')], &[]),
        (&[(3, Some(5), "llo", '$')], &[]),
        // Too long to be held: in parts, which cover it.
        (
            &[(1, Some(20), "0123456789abcdefghij", '$')],
            &["m@1/20:01234567", "m@9/20:89abcdef", "m@17/20:ghij."],
        ),
        (&[(1, None, "0123456789", '+'), (11, None, "abc", '$')], &["m@1/*:01234567", "m@9/13:89abc."]),
        (&[(1, None, "0123456789", '+'), (3, None, "", '#')], &["m@1/*:01234567", "m!Abandoned"]),
        (
            &[(11, Some(13), "abc", '$'), (1, Some(13), "0123456789", '+')],
            &["m@1/13:01234567", "m@9/13:89abc."],
        ),
    ];
    for (chunks, expected) in rows {
        let mut recorder = Recorder::new(8);
        for (first, total, octets, flag) in *chunks {
            recorder.chunk(Time::ZERO, "m", *first, *total, octets, *flag);
        }
        assert_eq!(recorder.said(), *expected, "{chunks:?}");
    }
}

#[test]
fn messages_do_not_mix_and_each_is_later_than_the_one_before() {
    let mut recorder = Recorder::new(100);
    assert!(!recorder.chunk(Time::ZERO, "a", 1, None, "one ", '+'));
    assert!(recorder.chunk(Time::ZERO, "b", 1, None, "other", '$'));
    assert!(recorder.chunk(Time::ZERO, "a", 5, None, "message", '$'));
    let times: Vec<Time> = recorder
        .out
        .iter()
        .filter_map(|noted| match noted {
            Noted::Message(message) => Some(message.at),
            Noted::Abandoned => None,
        })
        .collect();
    assert!(times.is_sorted_by(|one, other| one < other));
    assert_eq!(recorder.said(), ["b:other", "a:one message"]);
}

#[test]
fn what_does_not_come_is_noted_and_not_waited_for_without_end() {
    let second = Time::from_start(Duration::from_secs(1));
    let mut recorder = Recorder::new(100);
    recorder.chunk(Time::ZERO, "a", 1, None, "one ", '+');
    recorder.chunk(second, "b", 1, None, "other ", '+');
    let patience = Duration::from_secs(1);
    let next = recorder.recording.expire(second, patience, &mut recorder.out);
    assert_eq!((next, recorder.said()), (Some(second + patience), vec!["a!Incomplete".to_owned()]));
    recorder.recording.close(second, &mut recorder.out);
    assert_eq!(recorder.said(), ["b!Incomplete"]);
    // One more than may be incomplete.
    for n in 0..=MAX_INCOMPLETE {
        recorder.chunk(second, &n.to_string(), 1, None, "x", '+');
    }
    assert_eq!(recorder.said(), ["0!Incomplete"]);
}

#[test]
fn all_incomplete_messages_together_have_a_bound_and_lose_nothing() {
    let mut recorder = Recorder::new(8);
    for id in ["a", "b", "c", "d", "e"] {
        recorder.chunk(Time::ZERO, id, 1, Some(9), "01234567", '+');
    }
    assert_eq!(recorder.said(), ["e@1/9:01234567"]);
    for id in ["a", "b"] {
        assert!(recorder.chunk(Time::ZERO, id, 9, Some(9), "8", '$'));
    }
    assert_eq!(recorder.said(), ["a@1/9:01234567", "a@9/9:8.", "b@1/9:01234567", "b@9/9:8."]);
}
