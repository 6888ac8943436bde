//! A core registrar tells of its users' registrations.

use super::*;

const ORIGINAL: &str = "REGISTER sip:example.org SIP/2.0\r
Via: SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bKx\r
To: <sip:carl@example.org>\r
From: <sip:carl@example.org>;tag=1\r
i: embedded\r
CSeq: 7 REGISTER\r
m: \"Carl's tablet\"\r
 <sip:carl@10.9.9.9>;+sip.instance=\"<urn:uuid:c>\"\r
\t;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\";pub-gruu=\"sip:victim@h;gr=1\"\r
Path: <sip:edge@192.0.2.250;lr>\r
User-Agent: CPM-client/OMA2.2 x\r
Supported: gruu, path\r
Content-Length: 0\r
\r
";

const GRANTED: &str = "SIP/2.0 200 OK\r
Contact: <sip:carl@10.9.9.9>;+sip.instance=\"<urn:uuid:C>\";expires=500;pub-gruu=\"sip:carl@example.org;gr=urn:uuid:c\"\r
P-Associated-URI: <sip:carl@example.org>, <tel:+1-555-0199>, <sip:ann@example.org>\r
\r
";

fn scscf() -> Peer {
    tcp("10.0.0.7:36000", 9)
}

fn report(expires: &str, parts: &[&str]) -> Request {
    let mut request = Request::new(Method::Register, "sip:pf.example.org");
    request.headers.push("Via", "SIP/2.0/TCP scscf.example.org:5060;branch=z9hG4bKr");
    request.headers.push("To", "<sip:carl@example.org>");
    request.headers.push("From", "<sip:scscf.example.org>;tag=s");
    request.headers.push("Contact", "<sip:scscf.example.org:5060;transport=tcp>");
    request.headers.push("Call-ID", "outer");
    request.headers.push("CSeq", "1 REGISTER");
    request.headers.push("Expires", expires);
    match parts {
        [] => {}
        [one] => {
            request.headers.push("Content-Type", "message/sip");
            request.body = Bytes::from((*one).to_owned());
        }
        many => {
            request.headers.push("Content-Type", "multipart/mixed;boundary=\"b\"");
            let parts = many.iter().map(|part| format!("--b\r\nContent-Type: message/sip\r\n\r\n{part}\r\n"));
            request.body = Bytes::from(format!("{}--b--\r\n", parts.collect::<String>()));
        }
    }
    request
}

fn send(lab: &mut Lab, now: u64, request: &Request, from: &Peer) -> Response {
    lab.registry.register(at(now), &mut lab.entropy, request, from)
}

fn carl(lab: &Lab) -> Vec<Device> {
    lab.registry.devices("sip:carl@example.org").into_iter().cloned().collect()
}

// Rows: REG-01, REG-16
#[test]
fn the_device_is_taken_from_the_original_register() {
    let mut lab = Lab::new(config());
    let told = send(&mut lab, 0, &report("600", &[ORIGINAL]), &scscf());
    assert_eq!((told.status, told.headers.get("Expires")), (200, Some("600")));
    let [device] = carl(&lab).try_into().unwrap();
    assert_eq!(
        (device.contact.as_str(), device.display_name.as_str()),
        ("sip:carl@10.9.9.9", "Carl's tablet")
    );
    assert_eq!(device.user_agent.as_deref(), Some("CPM-client/OMA2.2 x"));
    assert_eq!((device.instance.as_deref(), device.expires), (Some("urn:uuid:c"), at(600)));
    assert!(device.supports(Icsi::Session));
    assert_eq!(device.gruu, None, "a device cannot give itself a GRUU");
    assert_eq!(device.hop(), Hop { uri: "sip:edge@192.0.2.250;lr".into(), flow: None });
    assert_eq!(lab.registry.known_user("sip:carl@example.org").as_deref(), Some("sip:carl@example.org"));
    lab.assert_consistent();
}

// Rows: REG-09
#[test]
fn what_the_registrar_granted_counts() {
    let mut lab = Lab::new(config());
    send(&mut lab, 0, &report("600", &[ORIGINAL, GRANTED]), &scscf());
    let [device] = carl(&lab).try_into().unwrap();
    assert_eq!(device.expires, at(500));
    assert_eq!(device.target(), "sip:carl@example.org;gr=urn:uuid:c");
    assert_eq!(device.route(), ["<sip:scscf.example.org:5060;transport=tcp>"]);
    assert_eq!(device.hop().uri, "sip:scscf.example.org:5060;transport=tcp");
    assert_eq!(lab.registry.devices("tel:+15550199").len(), 1, "by the user's other address");
    assert!(lab.registry.devices("sip:ann@example.org").is_empty(), "not by an address of another user");
    lab.assert_consistent();
}

// Rows: REG-14
#[test]
fn a_user_or_a_device_that_leaves_is_removed() {
    let mut lab = Lab::new(config());
    let later = ORIGINAL.replace("CSeq: 7", "CSeq: 8").replace("Path:", "Expires: 0\r\nPath:");
    send(&mut lab, 0, &report("600", &[ORIGINAL]), &scscf());
    assert_eq!(send(&mut lab, 1, &report("600", &[&later]), &scscf()).status, 200);
    assert!(carl(&lab).is_empty(), "the device itself has left");
    send(&mut lab, 2, &report("600", &[ORIGINAL]), &scscf());
    assert_eq!(carl(&lab).len(), 1);
    assert_eq!(send(&mut lab, 3, &report("0", &[]), &scscf()).status, 200);
    assert!(carl(&lab).is_empty(), "the user has left");
    assert_eq!(send(&mut lab, 4, &report("600", &[]), &scscf()).status, 200);
    assert!(carl(&lab).is_empty(), "without the original nothing is known of a device");
    lab.assert_consistent();
}

#[test]
fn reports_may_be_repeated_but_not_overtaken() {
    let mut lab = Lab::new(config());
    let newer = ORIGINAL.replace("CSeq: 7", "CSeq: 8").replace("tablet", "phone");
    send(&mut lab, 0, &report("600", &[&newer]), &scscf());
    assert_eq!(send(&mut lab, 1, &report("600", &[ORIGINAL]), &scscf()).status, 200);
    assert_eq!((carl(&lab)[0].display_name.as_str(), carl(&lab)[0].expires), ("Carl's phone", at(600)));
    send(&mut lab, 2, &report("600", &[&newer]), &scscf());
    assert_eq!(carl(&lab)[0].expires, at(602));
}

#[test]
fn only_registrars_report() {
    let mut lab = Lab::new(config());
    send(&mut lab, 0, &report("600", &[ORIGINAL]), &scscf());
    // What a user behind the trusted proxy, or anybody else, writes into a body or into From proves nothing.
    for from in [udp("10.0.0.5:5060"), tcp("10.0.0.5:5060", 3), udp("10.0.0.6:5060")] {
        for (expires, parts) in [("600", &[ORIGINAL, GRANTED][..]), ("0", &[ORIGINAL]), ("0", &[])] {
            let mut request = report(expires, parts);
            request.uri = "sip:example.org".to_owned();
            assert_eq!(send(&mut lab, 1, &request, &from).status, 401, "{from:?} {expires}");
            let mut own = request.clone();
            own.headers.set("From", "<sip:carl@example.org>;tag=u");
            assert_eq!(send(&mut lab, 1, &own, &from).status, 401, "{from:?} {expires}");
        }
    }
    assert_eq!((carl(&lab).len(), carl(&lab)[0].expires), (1, at(600)));
    let mut none = Lab::new(CoreConfig { registrars: Vec::new(), ..config() });
    let mut request = report("600", &[ORIGINAL]);
    request.uri = "sip:example.org".to_owned();
    assert_eq!(send(&mut none, 0, &request, &scscf()).status, 401);
    // An edge that forwards a device's own REGISTER: the device proves itself.
    let own = register("ann", 1, &[("Contact", "<sip:a@h>"), ("Path", "<sip:edge;lr>")]);
    for from in [scscf(), tcp("10.0.0.5:36000", 9)] {
        assert_eq!(send(&mut lab, 0, &own, &from).status, 401);
    }
    assert_eq!(lab.register(at(0), &own, &scscf()).status, 200);
    assert_eq!(lab.registry.devices("sip:ann@example.org")[0].registrar, None);
}

#[test]
fn a_report_that_the_registrar_only_passes_on_is_refused() {
    let mut lab = Lab::new(config());
    send(&mut lab, 0, &report("600", &[ORIGINAL]), &scscf());
    let behind = "SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bKu";
    let joined = "SIP/2.0/TCP scscf.example.org;branch=z9hG4bKr, SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKu";
    for (name, value, set) in
        [("Path", "<sip:edge;lr>", false), ("Via", behind, false), ("Via", joined, true)]
    {
        for (expires, parts) in [("600", &[ORIGINAL][..]), ("0", &[])] {
            let mut request = report(expires, parts);
            match set {
                true => request.headers.set(name, value),
                false => request.headers.push(name, value),
            }
            assert_eq!(send(&mut lab, 1, &request, &scscf()).status, 403, "{name}: {value}");
        }
    }
    assert_eq!((carl(&lab).len(), carl(&lab)[0].expires), (1, at(600)));
}

#[test]
fn a_broken_original_is_refused() {
    let mut lab = Lab::new(config());
    for original in
        ["REGISTER x SIP/2.0\r\nno colon\r\n\r\n", "\r\n", "INVITE sip:a SIP/2.0\r\n\r\n", "\u{e4}"]
    {
        assert_eq!(send(&mut lab, 0, &report("600", &[original]), &scscf()).status, 200, "as without one");
    }
    let no_order = ORIGINAL.replace("CSeq", "X-CSeq");
    assert_eq!(send(&mut lab, 0, &report("600", &[&no_order]), &scscf()).status, 400);
    assert!(carl(&lab).is_empty());
}
