//! Messages as peers really send them, in the spirit of RFC 4475.

use proptest::prelude::*;

use super::*;
use crate::sip::framing::{Frame, Framer};

const VIA: &str = "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\n";

fn with(start: &str, more: &str) -> String {
    format!(
        "{start}\r\n{VIA}From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n{more}\r\n"
    )
}

fn read(text: impl AsRef<[u8]>) -> Result<Option<Message>, Refusal> {
    datagram(&Bytes::copy_from_slice(text.as_ref()))
}

fn request(text: impl AsRef<[u8]>) -> Request {
    match read(text) {
        Ok(Some(Message::Request(request))) => request,
        other => panic!("{other:?}"),
    }
}

fn refused(text: impl AsRef<[u8]>) -> (u16, Response) {
    let answer = read(&text).unwrap_err().answer;
    let answer = answer.unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(text.as_ref())));
    (answer.status, answer)
}

#[test]
fn a_tortuous_request_keeps_all_it_has() {
    let text = "\r\nINVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n\
        TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n\
        from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
        MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\nContent-Length   : 3\r\n\
        cseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\ns :\r\n\
        NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
        UnknownHeaderWithUnusualValue: ;;,,;;,;\r\nRoute:\r\n <sip:services.example.com;lr;unknownwith=value>\r\n\
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n\
        \x20SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\nm:\"Quoted string \\\"\\\"\" \
        <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\r\nv=0more";
    let request = request(text);
    assert_eq!(request.headers.get("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    assert_eq!(request.headers.get("NewFangledHeader"), Some("newfangled value continued newfangled value"));
    assert_eq!((request.cseq(), request.from_tag().as_deref()), (Some(9), Some("98asjd8")));
    assert_eq!(request.headers.list("Via").count(), 3);
    assert_eq!(request.headers.get("Subject"), Some(""));
    assert_eq!(request.body.as_ref(), b"v=0");
    let names: Vec<_> = request.headers.0.iter().map(|h| h.name.as_str()).collect();
    let expected = ["TO", "from", "MaX-fOrWaRdS", "Call-ID", "Content-Length", "cseq", "Via", "s"];
    assert_eq!(names[..8], expected);
}

#[test]
fn what_is_wrong_decides_the_answer() {
    let ok = with("OPTIONS sip:b@x SIP/2.0", "");
    assert!(read(&ok).is_ok());
    for (text, status) in [
        (ok.replace("OPTIONS sip", "NEWMETHOD sip").replace("1 OPTIONS", "1 NEWMETHOD"), 501),
        (ok.replace("OPTIONS sip", "options sip").replace("1 OPTIONS", "1 options"), 501),
        (ok.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), 505),
        (ok.replace("SIP/2.0\r\nVia", "SIP/x\r\nVia"), 400),
        (ok.replace("sip:b@x SIP", "<sip:b@x> SIP"), 400),
        (ok.replace("sip:b@x SIP", "sip:b@x; lr SIP"), 400),
        (ok.replace("sip:b@x SIP", "sip: SIP"), 400),
        (ok.replace("sip:b@x SIP", "b SIP"), 400),
        (ok.replace("OPTIONS sip", "OPTI=ONS sip"), 400),
        (ok.replace("1 OPTIONS", "1 INVITE"), 400),
        (ok.replace("1 OPTIONS", "36893488147419103232 OPTIONS"), 400),
        (ok.replace("1 OPTIONS", "-1 OPTIONS"), 400),
        (ok.replace("Call-ID: c\r\n", ""), 400),
        (ok.replace("From: <sip:a@x>;tag=1\r\n", ""), 400),
        (ok.replace("To: <sip:b@x>\r\n", ""), 400),
        (ok.replace("CSeq: 1 OPTIONS\r\n", ""), 400),
        (ok.replace(VIA, ""), 400),
        (ok.replace("SIP/2.0/UDP", "SIP/3.0/UDP"), 400),
        (ok.replace("To: <sip:b@x>", "To: \"Mr. J. User <sip:b@x>"), 400),
        (ok.replace("Call-ID: c\r\n", "Call-ID: c\r\ni: d\r\n"), 400),
        (with("OPTIONS sip:b@x SIP/2.0", "Max-Forwards: many\r\n"), 400),
        (with("OPTIONS sip:b@x SIP/2.0", "no colon here\r\n"), 400),
        (with("OPTIONS sip:b@x SIP/2.0", "l: 5\r\n"), 400),
        (with("OPTIONS sip:b@x SIP/2.0", "Content-Length: -999\r\n"), 400),
        (with("OPTIONS sip:b@x SIP/2.0", "Content-Length: 18446744073709551615\r\n"), 400),
        (with("OPTIONS sip:b@x SIP/2.0", "Content-Length: 0\r\nl: 1\r\n"), 400),
    ] {
        let (got, answer) = refused(&text);
        assert_eq!(got, status, "{text}");
        assert_eq!(answer.headers.has("Allow"), status == 501, "{text}");
        if text.contains("Call-ID: c\r\n") {
            assert_eq!(answer.headers.get("Call-ID"), Some("c"), "{text}");
        }
    }
}

#[test]
fn nobody_is_answered_who_did_not_ask() {
    for text in [
        with("SIP/2.0 99 Low", ""),
        with("SIP/2.0 4294967301 Bignum", ""),
        with("SIP/2.0 200 OK", "").replace(VIA, ""),
        with("ACK sip:b@x SIP/2.0", ""),
        "no SIP at all".to_owned(),
        "\0\u{1}\0\u{8}!\u{12}stun".to_owned(),
    ] {
        assert!(read(&text).unwrap_err().answer.is_none(), "{text}");
    }
    for nothing in ["", "\r\n\r\n", "\r\n", " ", "\0\0\0\0"] {
        assert!(read(nothing).unwrap().is_none());
    }
}

#[test]
fn bodies_of_datagrams() {
    let body = |length: &str, body: &str| {
        let text = with("OPTIONS sip:b@x SIP/2.0", length) + body;
        read(&text).map(|m| match m {
            Some(Message::Request(request)) => request.body,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(body("", "rest of it").unwrap(), "rest of it");
    assert_eq!(body("l: 4\r\n", "rest of it").unwrap(), "rest");
    assert_eq!(body("Content-Length: 0\r\n", "junk").unwrap(), "");
    assert!(body("Content-Length: 11\r\n", "rest of it").is_err());
}

#[test]
fn responses_keep_reason_and_names() {
    let text = "SIP/2.0 480 Nicht da \u{e4}\r\nv: SIP/2.0/TCP p;branch=z9hG4bK1\r\nf: <sip:a@x>;tag=1\r\n\
        t: <sip:b@x>;tag=2\r\ni: c\r\nCSeq: 1 INVITE\r\nWarning: 399 pf \"122 x\"\r\nl: 0\r\n\r\n";
    let Ok(Some(Message::Response(response))) = read(text) else { panic!() };
    assert_eq!((response.status, response.reason.as_str()), (480, "Nicht da \u{e4}"));
    assert_eq!((response.headers.0[0].name.as_str(), response.to_tag().as_deref()), ("v", Some("2")));
    assert_eq!(response.headers.0.last().map(|h| h.name.as_str()), Some("l"));
}

fn frames(pieces: impl IntoIterator<Item = Vec<u8>>) -> (Vec<String>, bool) {
    let (mut framer, mut out) = (Framer::default(), Vec::new());
    for piece in pieces {
        framer.buffer().extend_from_slice(&piece);
        loop {
            match framer.next() {
                Ok(None) => break,
                Ok(Some(Frame::Ping)) => out.push("ping".to_owned()),
                Ok(Some(Frame::Message(head, body))) => out.push(format!("{head:?} {body:?}")),
                Err(broken) => {
                    out.push(format!("{broken:?}"));
                    return (out, false);
                }
            }
        }
    }
    (out, framer.is_midway())
}

#[test]
fn a_stream_is_the_same_however_it_is_split() {
    let one = with("OPTIONS sip:b@x SIP/2.0", "Content-Length: 10\r\n") + "a\r\n\r\nb\r\n\r\n";
    let stream = format!("\r\n\r\n{one}\r\n{}\r\n\r\n", one.replace("\r\n", "\n").replace(": 10", ": 6"));
    let whole = frames([stream.clone().into_bytes()]);
    assert_eq!((whole.0.len(), whole.1), (4, false));
    assert_eq!((whole.0[0].as_str(), whole.0[3].as_str()), ("ping", "ping"));
    for at in 1..stream.len() {
        let (a, b) = stream.as_bytes().split_at(at);
        assert_eq!(frames([a.to_vec(), b.to_vec()]), whole, "split at {at}");
    }
    assert_eq!(frames(stream.bytes().map(|o| vec![o])), whole);
    let half = &stream.as_bytes()[..stream.len() - 8];
    assert!(frames([half.to_vec()]).1);
}

#[test]
fn a_stream_out_of_step_ends() {
    let long = "x".repeat(70_000);
    for (stream, answered) in [
        (with("OPTIONS sip:b@x SIP/2.0", "Content-Length: x\r\n"), true),
        (with("OPTIONS sip:b@x SIP/2.0", "Content-Length: 2000000\r\n"), true),
        (with("OPTIONS sip:b@x SIP/2.0", &format!("X: {long}\r\n")), true),
        (with("OPTIONS sip:b@x SIP/2.0", &format!("X: {long}")), true),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), false),
        (long.clone(), false),
    ] {
        let (out, _) = frames([stream.clone().into_bytes()]);
        assert_eq!(out.len(), 1, "{}", &stream[..40]);
        assert_eq!(out[0].contains("answer: Some"), answered, "{}", out[0]);
    }
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&octets);
        let _ = frames([octets]);
    }

    #[test]
    fn no_damage_to_a_message_makes_it_panic(
        damage in proptest::collection::vec((0usize..400, any::<u8>()), 1..12),
        cut in 0usize..400,
    ) {
        let mut text = (with("OPTIONS sip:b@x SIP/2.0", "Contact: \"q\" <sip:a@b>;x\r\nl: 4\r\n") + "body").into_bytes();
        for (at, octet) in damage {
            if let Some(place) = text.get_mut(at) {
                *place = octet;
            }
        }
        text.truncate(text.len().saturating_sub(cut / 4));
        if let Ok(Some(Message::Request(mut request))) = read(&text) {
            let source = "10.0.0.1:5060".parse().unwrap();
            crate::sip::via::stamp_received(&mut request.headers, source);
            // What has been read can be written and read again.
            let octets = crate::sip::write::request(&request, "SIP/2.0/UDP x;branch=z9hG4bKy");
            let again = datagram(&octets).unwrap();
            prop_assert!(matches!(again, Some(Message::Request(r)) if r.body == request.body && r.uri == request.uri));
        }
        let _ = frames(text.chunks(7).map(<[u8]>::to_vec));
    }
}
