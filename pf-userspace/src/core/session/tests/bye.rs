//! Clause 8.2.2.3.

use super::*;

// Rows: BYE-04, BYE-11, BYE-12, BYE-13, BYE-14, BYE-15, BYE-18, BYE-19, BYE-21, BYE-22
#[test]
fn the_client_leaves_and_hears_200_after_the_far_end() {
    let mut w = World::new();
    let mut call = w.established();

    let bye = w.receive(call.a.bye(None));
    assert_eq!(w.media(), ["close A", "close device1", "close device2"]);
    let to_b = w.request(Method::Bye);
    let to_c = w.request(Method::Bye);
    let to_far = w.request(Method::Bye);
    assert_eq!(to_b.request.call_id(), call.devices[0].0.call_id);
    assert_eq!(to_c.request.call_id(), call.devices[1].0.call_id);
    assert_eq!(to_far.request.call_id(), call.f.call_id);
    assert_eq!(to_far.request.uri, "sip:bob@10.2.0.1:5060");
    assert_eq!(to_far.request.headers.get("CSeq"), Some("2 BYE"));

    w.pass(3);
    assert!(!w.has_response(bye), "the 200 is end to end");
    w.reply(&to_far, answer(&to_far, 200, "far"));
    assert_eq!(w.response(bye).status, 200);
    assert_eq!(w.media(), ["close stream"]);

    w.reply(&to_b, answer(&to_b, 200, "tag-b"));
    w.unanswered(&to_c);
    w.silent();
    w.over();
}
