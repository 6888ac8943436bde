//! Offers and answers of whole legs.

mod properties;

use std::net::IpAddr;

use super::*;
use crate::core::event::Setup;

/// A chat offer as a handset behind a border controller writes it: path and c=/m= differ.
const CHAT: &str = "v=0\r
o=ann 1 1 IN IP6 2001:db8::a\r
s=-\r
e=ann@example.org\r
c=IN IP6 2001:db8::a\r
t=0 0\r
m=message 8880 TCP/MSRP *\r
a=accept-types:message/cpim application/im-iscomposing+xml\r
a=accept-wrapped-types:text/plain message/imdn+xml\r
a=max-size:20000\r
a=setup:active\r
a=connection:new\r
a=path:msrp://[2001:db8::b]:9000/FmnP;tcp\r
a=msrp-cema\r
a=chatroom:nickname private-messages\r
a=sendrecv\r
";

fn origin() -> Origin {
    Origin { session_id: 77, version: 3, address: "192.0.2.1".parse().unwrap() }
}

fn local(setup: SetupAttr) -> LocalLine {
    let host: IpAddr = "192.0.2.1".parse().unwrap();
    LocalLine { path: "msrp://192.0.2.1:2855/ours;tcp".to_owned(), host, port: 2855, setup }
}

fn sdp(text: &str) -> Sdp {
    Sdp::parse(text.as_bytes()).unwrap()
}

fn text(sdp: &Sdp) -> String {
    String::from_utf8(sdp.write().to_vec()).unwrap()
}

/// A description with these m-line blocks.
fn with_lines(lines: &str) -> Sdp {
    sdp(&format!("v=0\r\no=- 5 9 IN IP4 198.51.100.7\r\ns=far\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n{lines}"))
}

#[test]
fn a_line_is_read_with_all_it_says() {
    let lines = sdp(CHAT).msrp_lines();
    let [line] = lines.as_slice() else { panic!("one line") };
    assert_eq!((line.index, line.port, line.tls, line.cema), (0, 8880, false, true));
    assert_eq!(line.path, ["msrp://[2001:db8::b]:9000/FmnP;tcp"]);
    assert_eq!(line.setup, Some(SetupAttr::Active));
    assert_eq!(line.accept_types, ["message/cpim", "application/im-iscomposing+xml"]);
    assert_eq!(line.accept_wrapped_types, ["text/plain", "message/imdn+xml"]);
    assert_eq!((line.max_size, line.direction), (Some(20000), Direction::SendRecv));
    assert_eq!(line.host.as_deref(), Some("2001:db8::a"));
    assert_eq!(line.media_address().as_deref(), Some("[2001:db8::a]:8880"));
    assert_eq!(line.path_address().as_deref(), Some("[2001:db8::b]:9000"));
    assert!(line.anchorable().is_ok());
}

#[test]
fn oddities_of_the_field_are_read() {
    let line = |text: &str| with_lines(text).msrp_lines().remove(0);
    let odd = line(
        "m=MESSAGE 7394 tcp/msrp *\nc=IN IP4 2001:db8::7\na=Path:msrp://u@relay.example:1/a;tcp  msrp://h:2/b;tcp\n\
         a=setup:holdconn\na=recvonly\na=max-size:many\n",
    );
    assert_eq!(odd.host.as_deref(), Some("2001:db8::7"), "IPv6 under IN IP4");
    assert_eq!((odd.setup, odd.max_size, odd.direction), (None, None, Direction::RecvOnly));
    assert_eq!(odd.path, ["msrp://u@relay.example:1/a;tcp", "msrp://h:2/b;tcp"]);
    assert_eq!(odd.path_address().as_deref(), Some("relay.example:1"));
    let same = line("m=message 2855 TCP/MSRP *\na=path:msrp://198.51.100.7/x;tcp\n");
    assert_eq!(same.path_address().as_deref(), Some("198.51.100.7:2855"), "the default port");
    let v6 = line("m=message 5 TCP/MSRP *\nc=IN IP6 [2001:DB8:0::7]\na=path:msrp://[2001:db8::7]:5/x;tcp\n");
    assert_eq!(v6.media_address().as_deref(), Some("[2001:DB8:0::7]:5"), "brackets that do not belong there");
}

#[test]
fn what_cannot_be_anchored_says_why() {
    let reason = |text: &str| with_lines(text).msrp_lines().remove(0).anchorable().unwrap_err();
    let path = "a=path:msrp://h:1/x;tcp\n";
    assert_eq!(reason(&format!("m=message 0 TCP/MSRP *\n{path}")), Unanchorable::Rejected);
    assert_eq!(reason(&format!("m=message 5 TCP/TLS/MSRP *\n{path}")), Unanchorable::Tls);
    assert_eq!(reason("m=message 5 TCP/MSRP *\na=path:msrps://h:1/x;tcp\n"), Unanchorable::Tls);
    for path in ["", "a=path:\n", "a=path:http://h:1/x\n", "a=path:msrp://:1/x\n", "a=path:msrp://h:0/x\n"] {
        assert_eq!(reason(&format!("m=message 5 TCP/MSRP *\n{path}")), Unanchorable::NoPath, "{path}");
    }
}

#[test]
fn what_is_not_sdp_is_refused_with_its_reason() {
    assert_eq!(Sdp::parse(b"v=0\r\ns=\xff\r\n"), Err(SdpError::NotUtf8));
    assert!(matches!(Sdp::parse(b"hello"), Err(SdpError::Malformed(_))));
    assert!(matches!(Sdp::parse(b""), Err(SdpError::Malformed(_))));
    assert_eq!(Sdp::parse(&vec![b'x'; MAX_OCTETS + 1]), Err(SdpError::TooLong));
    let many = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(MAX_LINES + 1));
    assert_eq!(Sdp::parse(many.as_bytes()), Err(SdpError::TooManyLines));
}

// Rows: INV-27
#[test]
fn our_offer_has_our_address_and_the_clients_terms() {
    let ours = offer(&sdp(CHAT), &[Some(local(SetupAttr::Actpass))], &origin());
    assert_eq!(
        text(&ours),
        "v=0\r
o=- 77 3 IN IP4 192.0.2.1\r
s=-\r
c=IN IP4 192.0.2.1\r
t=0 0\r
m=message 2855 TCP/MSRP *\r
a=accept-types:message/cpim application/im-iscomposing+xml\r
a=accept-wrapped-types:text/plain message/imdn+xml\r
a=max-size:20000\r
a=chatroom:nickname private-messages\r
a=sendrecv\r
a=setup:actpass\r
a=path:msrp://192.0.2.1:2855/ours;tcp\r
"
    );
    assert_eq!(ours.version(), 3);
    assert_eq!(Sdp::parse(&ours.write()), Ok(ours));
}

// Rows: INV-27
#[test]
fn file_transfer_terms_are_carried_and_keys_of_others_are_not() {
    let offered = with_lines(
        "m=message 7000 TCP/MSRP *\r\na=sendonly\r\na=accept-types:message/cpim\r\na=path:msrp://h:7000/f;tcp\r\n\
         a=file-selector:name:\"a b.jpg\" type:image/jpeg size:4092\r\na=file-transfer-id:x1\r\n\
         a=fingerprint:sha-1 00\r\na=ice-ufrag:u\r\na=candidate:1 1 TCP 1 h 9 typ host\r\na=crypto:1 x\r\n\
         k=clear:secret\r\n",
    );
    let ours = text(&offer(&offered, &[Some(local(SetupAttr::Actpass))], &origin()));
    for kept in
        ["a=sendonly", "a=file-selector:name:\"a b.jpg\" type:image/jpeg size:4092", "a=file-transfer-id:x1"]
    {
        assert!(ours.contains(kept), "{kept}");
    }
    for gone in ["fingerprint", "ice-", "candidate", "crypto", "secret", "198.51", "msrp://h"] {
        assert!(!ours.contains(gone), "{gone}");
    }
}

// Rows: ANS-10, ANS-11
#[test]
fn the_answer_keeps_the_offers_lines_and_the_far_ends_terms() {
    let msrp = |port: u16, name: &str| {
        format!(
            "m=message {port} TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:msrp://h:{port}/{name};tcp\r\n"
        )
    };
    let audio = "m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n";
    let offered =
        with_lines(&format!("{}{}{audio}{}{}", msrp(1, "a"), msrp(2, "b"), msrp(0, "c"), msrp(4, "d")));
    let far = with_lines(&format!(
        "{}{}{audio}{}",
        msrp(7, "e").replace("text/plain", "*"),
        msrp(0, "f"),
        msrp(8, "g")
    ));
    let ours = |setup| Some(local(setup));
    let locals = [
        ours(answer_setup(Some(SetupAttr::Active))),
        ours(SetupAttr::Passive),
        None,
        ours(SetupAttr::Passive),
        ours(SetupAttr::Passive),
    ];
    let answered = answer(&offered, &far, &locals, &origin());
    assert_eq!(answered.line_count(), 5);
    let written = text(&answered);
    let heads: Vec<&str> = written.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        heads,
        [
            "m=message 2855 TCP/MSRP *",
            "m=message 0 TCP/MSRP *",
            "m=audio 4000 RTP/AVP 0",
            "m=message 0 TCP/MSRP *",
            "m=message 0 TCP/MSRP *",
        ]
    );
    let line = &answered.msrp_lines()[0];
    assert_eq!(line.setup, Some(SetupAttr::Passive));
    assert_eq!(line.accept_types, ["*"], "the far end's terms, not the client's");
    assert_eq!(line.path, ["msrp://192.0.2.1:2855/ours;tcp"]);
    let audio = written.split("m=audio").nth(1).unwrap();
    assert!(
        audio.starts_with(" 4000 RTP/AVP 0\r\nc=IN IP4 198.51.100.7\r\na=recvonly\r\n"),
        "passed with its c="
    );
}

#[test]
fn a_line_answered_with_another_kind_of_stream_is_refused() {
    let offered = with_lines("m=message 5 TCP/MSRP *\r\na=path:msrp://h:5/a;tcp\r\n");
    let far = with_lines("m=audio 4000 RTP/AVP 0\r\n");
    let answered = answer(&offered, &far, &[Some(local(SetupAttr::Passive))], &origin());
    assert!(text(&answered).ends_with("m=message 0 TCP/MSRP *\r\n"));
}

#[test]
fn a_line_that_we_reject_is_rejected_on_every_leg() {
    let tls = "m=message 6 TCP/TLS/MSRP *\r\na=path:msrps://h:6/b;tcp\r\na=fingerprint:sha-1 00\r\n";
    let plain = "m=message 5 TCP/MSRP *\r\na=path:msrp://h:5/a;tcp\r\n";
    let received = with_lines(&format!("{tls}{plain}"));
    let refused: Vec<usize> = received
        .msrp_lines()
        .iter()
        .filter(|line| line.anchorable().is_err())
        .map(|line| line.index)
        .collect();
    assert_eq!(refused, [0]);
    let received = received.rejecting(&refused);
    let locals = [None, Some(local(SetupAttr::Actpass))];
    let offered = offer(&received, &locals, &origin());
    assert!(text(&offered).contains("m=message 0 TCP/TLS/MSRP *\r\nm=message 2855 TCP/MSRP *\r\n"));
    let far = with_lines(&format!("{tls}{plain}"));
    let answered = text(&answer(&received, &far, &locals, &origin()));
    assert!(answered.contains("m=message 0 TCP/TLS/MSRP *\r\nm=message 2855 TCP/MSRP *\r\n"));
    assert!(!answered.contains("fingerprint"));
}

// Rows: DD-04
#[test]
fn devices_are_offered_what_was_agreed_and_only_what_we_carry() {
    let msrp = "m=message 5 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://h:5/a;tcp\r\na=setup:passive\r\n";
    let agreed = with_lines(&format!("{msrp}m=audio 4000 RTP/AVP 0\r\nm=message 0 TCP/MSRP *\r\n{msrp}"));
    let ours = Some(local(SetupAttr::Actpass));
    let offered = device_offer(&agreed, &[ours.clone(), None, ours, None], &origin());
    let written = text(&offered);
    let heads: Vec<&str> = written.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        heads,
        [
            "m=message 2855 TCP/MSRP *",
            "m=audio 0 RTP/AVP 0",
            "m=message 0 TCP/MSRP *",
            "m=message 0 TCP/MSRP *",
        ]
    );
    let line = &offered.msrp_lines()[0];
    assert_eq!((line.setup, line.accept_types.len()), (Some(SetupAttr::Actpass), 1));
    for (agreed_direction, offered_direction) in [
        ("recvonly", "sendonly"),
        ("sendonly", "sendonly"),
        ("sendrecv", "sendrecv"),
        ("inactive", "inactive"),
    ] {
        let agreed = with_lines(&format!("{msrp}a={agreed_direction}\r\n"));
        let offered = device_offer(&agreed, &[Some(local(SetupAttr::Actpass))], &origin());
        assert_eq!(offered.msrp_lines()[0].direction.as_str(), offered_direction);
        assert_eq!(text(&offered).matches(offered_direction).count(), 1);
    }
}

#[test]
fn another_media_address_than_the_origins_stands_in_its_line() {
    let mut other = local(SetupAttr::Actpass);
    other.host = "2001:db8::1".parse().unwrap();
    let written = text(&offer(&sdp(CHAT), &[Some(other)], &origin()));
    assert!(written.contains("m=message 2855 TCP/MSRP *\r\nc=IN IP6 2001:db8::1\r\n"));
}

// Rows: ANS-11, AMB-10
#[test]
fn we_answer_passive_unless_only_active_is_left() {
    assert_eq!(answer_setup(None), SetupAttr::Passive);
    assert_eq!(answer_setup(Some(SetupAttr::Active)), SetupAttr::Passive);
    assert_eq!(answer_setup(Some(SetupAttr::Actpass)), SetupAttr::Passive);
    assert_eq!(answer_setup(Some(SetupAttr::Passive)), SetupAttr::Active);
    assert_eq!(SetupAttr::parse("holdconn"), None);
    // Who only connects has the discard port in its m-line (RFC 4145 section 4.1), but a full path.
    let active = offer(&sdp(CHAT), &[Some(local(SetupAttr::Active))], &origin()).msrp_lines().remove(0);
    assert_eq!((active.port, active.path_address().as_deref()), (9, Some("192.0.2.1:2855")));
}

// Rows: MED-12, AMB-09
#[test]
fn roles_follow_the_table() {
    use SetupAttr::{Active, Actpass, Passive};
    for (ours, theirs, role) in [
        (Actpass, Some(Active), Setup::Passive),
        (Actpass, Some(Passive), Setup::Active),
        (Actpass, Some(Actpass), Setup::Active),
        (Actpass, None, Setup::Active),
        (Active, Some(Passive), Setup::Active),
        (Active, None, Setup::Active),
        (Passive, Some(Active), Setup::Passive),
        (Passive, Some(Actpass), Setup::Passive),
        (Passive, None, Setup::Passive),
        (Passive, Some(Passive), Setup::Active),
    ] {
        assert_eq!(our_role(ours, theirs), role, "{ours:?} {theirs:?}");
    }
}

// Rows: MED-13, MED-14, MED-15
#[test]
fn where_to_connect_depends_on_cema_and_policy() {
    let line = |cema: &str, port: u16| {
        let text = format!(
            "m=message {port} TCP/MSRP *\r\na=path:msrp://relay.example:1/r;tcp msrp://10.9.9.9:7/s;tcp\r\n\
             a=accept-types:message/cpim\r\na=sendonly\r\n{cema}"
        );
        with_lines(&text).msrp_lines().remove(0)
    };
    let (plain, cema) = (line("", 7000), line("a=msrp-cema\r\n", 7000));
    for (line, legacy, connect_to, by_session_id) in [
        (&cema, false, "198.51.100.7:7000", false),
        (&cema, true, "198.51.100.7:7000", false),
        (&plain, false, "relay.example:1", false),
        (&plain, true, "198.51.100.7:7000", true),
    ] {
        let remote = remote_leg(line, Setup::Active, legacy);
        assert_eq!((remote.connect_to.as_str(), remote.legacy_matching), (connect_to, by_session_id));
        assert_eq!(
            remote.path,
            ["msrp://relay.example:1/r;tcp", "msrp://10.9.9.9:7/s;tcp"],
            "To-Path verbatim"
        );
        assert!(!remote.may_send, "it only sends");
        assert_eq!(
            (remote.setup, remote.accept_types.as_slice()),
            (Setup::Active, &["message/cpim".to_owned()][..])
        );
    }
    let discard = remote_leg(&line("a=msrp-cema\r\n", 9), Setup::Passive, false);
    assert_eq!(discard.connect_to, "relay.example:1", "nobody listens on the discard port");
}
