//! Registrations as devices and core registrars make them.

mod devices;
mod third_party;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::core::{config::DigestAlgorithm, entropy::SeededEntropy, event::Hop, policy::Policy, sip::Method};

pub(crate) const CPM: &str = "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\"";

pub(crate) fn user(name: &str) -> User {
    User {
        addresses: vec![format!("sip:{name}@example.org"), format!("tel:+1-555-{name}")],
        username: name.to_owned(),
        password: format!("{name}'s"),
        preferences: Default::default(),
    }
}

pub(crate) fn config() -> CoreConfig {
    let sip = |transport, port| SipAddress {
        transport,
        bound: SocketAddr::from(([127, 0, 0, 1], port)),
        host: "10.0.0.1".to_owned(),
        port,
    };
    CoreConfig {
        policy: Policy::default(),
        domains: vec!["example.org".to_owned()],
        sip: vec![sip(Transport::Udp, 5060), sip(Transport::Tcp, 5060)],
        msrp: Vec::new(),
        trusted: vec!["10.0.0.5".parse().unwrap()],
        registrars: vec!["10.0.0.7".parse().unwrap()],
        core_route: None,
        isf_route: None,
        product: "CPM-serv/OMA2.2 pf/0".to_owned(),
        secret: [1; 32],
        users: vec![user("ann"), user("bob")],
        digest: DigestAlgorithm::ALL.to_vec(),
        own_uri: None,
        outside_trust_domain: false,
        store: None,
        xdms: None,
    }
}

pub(crate) fn at(seconds: u64) -> Time {
    Time::from_start(Duration::from_secs(seconds))
}

pub(crate) fn udp(addr: &str) -> Peer {
    Peer {
        transport: Transport::Udp,
        addr: addr.parse().unwrap(),
        local: "127.0.0.1:5060".parse().unwrap(),
        flow: None,
    }
}

pub(crate) fn tcp(addr: &str, flow: u64) -> Peer {
    Peer { transport: Transport::Tcp, flow: Some(FlowId(flow)), ..udp(addr) }
}

/// A REGISTER of a user with further header fields.
pub(crate) fn register(name: &str, cseq: u32, headers: &[(&str, &str)]) -> Request {
    let mut request = Request::new(Method::Register, "sip:example.org");
    let address = format!("<sip:{name}@example.org>");
    request.headers.push("To", address.clone());
    request.headers.push("From", format!("{address};tag=f"));
    request.headers.push("Call-ID", format!("call-{name}"));
    request.headers.push("CSeq", format!("{cseq} REGISTER"));
    for (name, value) in headers {
        request.headers.push(*name, *value);
    }
    request
}

/// A registry with its source of random numbers and what its clients know.
pub(crate) struct Lab {
    pub(crate) config: CoreConfig,
    pub(crate) registry: Registry,
    pub(crate) entropy: SeededEntropy,
}

impl Lab {
    pub(crate) fn new(config: CoreConfig) -> Lab {
        Lab { registry: Registry::new(&config), config, entropy: SeededEntropy(9) }
    }

    /// Sends the REGISTER, and again with the user's credentials when challenged.
    pub(crate) fn register_as(&mut self, login: &str, now: Time, request: &Request, from: &Peer) -> Response {
        let first = self.registry.register(now, &mut self.entropy, request, from);
        if first.status != 401 {
            return first;
        }
        let mut again = request.clone();
        again.headers.set("Authorization", digest::tests::answer(&first, 0, 1, request, &user(login)));
        self.registry.register(now, &mut self.entropy, &again, from)
    }

    pub(crate) fn register(&mut self, now: Time, request: &Request, from: &Peer) -> Response {
        let login = request.call_id().trim_start_matches("call-").to_owned();
        self.register_as(&login, now, request, from)
    }

    fn contacts(&self, user: &str) -> Vec<String> {
        let devices = self.registry.devices(&format!("sip:{user}@example.org"));
        devices.into_iter().map(|device| device.contact.clone()).collect()
    }

    /// The indices hold what the accounts hold, and nothing else.
    fn assert_consistent(&self) {
        let (mut expiry, mut source, mut alias) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for (key, account) in &self.registry.accounts {
            assert!(!account.devices.is_empty() && account.devices.len() <= MAX_DEVICES);
            for device in &account.devices {
                expiry.insert((device.expires, key.clone()));
                if let Some(from) = Source::of(device) {
                    source.entry(from).or_insert_with(BTreeSet::new).insert(key.clone());
                }
            }
            for other in account.alias_keys() {
                alias.insert(other, key.clone());
            }
        }
        let devices: usize = self.registry.accounts.values().map(|account| account.devices.len()).sum();
        assert_eq!(self.registry.count(), devices);
        assert_eq!(self.registry.by_expiry, expiry);
        assert_eq!(self.registry.by_source, source);
        assert_eq!(self.registry.by_alias, alias);
    }
}

// Rows: REG-02, REG-08, REG-11, REG-16
#[test]
fn a_device_registers_after_digest_authentication() {
    let mut lab = Lab::new(config());
    let contact = format!(
        "\"Ann's phone\" <sip:ann@192.0.2.7:5070>;+sip.instance=\"<urn:uuid:A1>\";q=0.5;{CPM};+x.unknown=\"y\""
    );
    let request = register(
        "ann",
        1,
        &[
            ("Contact", &contact),
            ("User-Agent", "CPM-client/OMA2.2"),
            ("Expires", "600"),
            ("Path", "<sip:p;lr>"),
        ],
    );
    let from = udp("192.0.2.7:5070");
    let challenge = lab.registry.register(at(0), &mut lab.entropy, &request, &from);
    assert_eq!(challenge.status, 401);
    assert_eq!(challenge.headers.all("WWW-Authenticate").count(), 2);
    assert!(challenge.to_tag().is_some());
    assert!(lab.contacts("ann").is_empty(), "nothing before the password");

    let granted = lab.register(at(0), &request, &from);
    assert_eq!((granted.status, granted.to_tag().is_some()), (200, true));
    assert_eq!(
        granted.headers.get("Contact"),
        Some("<sip:ann@192.0.2.7:5070>;expires=600;+sip.instance=\"<urn:uuid:A1>\";q=0.5")
    );
    assert_eq!(granted.headers.get("Path"), Some("<sip:p;lr>"));
    assert_eq!(granted.headers.get("Service-Route"), Some("<sip:10.0.0.1:5060;lr>"));
    assert_eq!(granted.headers.get("P-Associated-URI"), Some("<sip:ann@example.org>, <tel:+1-555-ann>"));
    let view = lab.registry.view(at(100)).remove(0);
    assert_eq!(
        (view.user.as_str(), view.name.as_str(), view.cpm),
        ("sip:ann@example.org", "Ann's phone", true)
    );
    assert_eq!((view.instance.as_deref(), view.expires_seconds), (Some("urn:uuid:A1"), 500));
    assert_eq!(view.features, ["q=0.5", CPM, "+x.unknown=\"y\""], "unknown parameters are kept");
    assert_eq!(view.user_agent.as_deref(), Some("CPM-client/OMA2.2"));
    assert_eq!(lab.registry.devices("tel:+1555ann").len(), 1, "by any address of the user");
    lab.assert_consistent();
}

// Rows: INV-02
#[test]
fn only_the_user_registers_the_users_addresses() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    let contact = ("Contact", "<sip:x@192.0.2.7>");
    let request = register("ann", 1, &[contact]);
    assert_eq!(lab.register_as("bob", at(0), &request, &from).status, 403, "another user's To and From");
    let mut mixed = request.clone();
    mixed.headers.set("From", "<sip:bob@example.org>;tag=1");
    assert_eq!(lab.register_as("ann", at(0), &mixed, &from).status, 403, "another user's From");
    assert_eq!(lab.register_as("bob", at(0), &mixed, &from).status, 403, "another user's To");
    let mut phone = request.clone();
    phone.headers.set("To", "<tel:+1555ann>");
    assert_eq!(
        lab.register_as("ann", at(0), &phone, &from).status,
        200,
        "the other address of the same user"
    );
    assert_eq!(lab.contacts("ann"), ["sip:x@192.0.2.7"]);
    assert!(lab.contacts("bob").is_empty());
    let mut elsewhere = request.clone();
    elsewhere.uri = "sip:elsewhere.example".to_owned();
    assert_eq!(lab.register(at(0), &elsewhere, &from).status, 404);
    let mut nobody = config();
    nobody.users.clear();
    assert_eq!(Lab::new(nobody).register(at(0), &request, &from).status, 403);
}

// Rows: REG-04, REG-05
#[test]
fn devices_are_told_apart_by_instance() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    let two = "<sip:a@h>;+sip.instance=\"<urn:uuid:A>\", <sip:b@h>;+sip.instance=\"<urn:gsma:imei:1-2-0>\"";
    assert_eq!(lab.register(at(0), &register("ann", 1, &[("Contact", two)]), &from).status, 200);
    assert_eq!(lab.contacts("ann"), ["sip:a@h", "sip:b@h"]);
    // Another Contact URI, the same instance in other letters: the same device, in its old place.
    let moved = "<sip:a2@h2>;+sip.instance=\"<URN:UUID:a>\"";
    assert_eq!(lab.register(at(1), &register("ann", 2, &[("Contact", moved)]), &from).status, 200);
    assert_eq!(lab.contacts("ann"), ["sip:a2@h2", "sip:b@h"]);
    // Another instance under the same Contact URI: another device.
    let other = "<sip:b@h>;+sip.instance=\"<urn:uuid:B>\"";
    assert_eq!(lab.register(at(1), &register("ann", 3, &[("Contact", other)]), &from).status, 200);
    assert_eq!(lab.contacts("ann"), ["sip:a2@h2", "sip:b@h", "sip:b@h"]);
    lab.assert_consistent();
}

// Rows: REG-12
#[test]
fn a_registration_ends_unless_refreshed() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    let contact = |expires: &str| format!("<sip:a@h>;expires={expires}");
    assert_eq!(lab.registry.deadline(), None);
    lab.register(at(0), &register("ann", 1, &[("Contact", &contact("100"))]), &from);
    assert_eq!(lab.registry.deadline(), Some(at(100)));
    lab.register(at(90), &register("ann", 2, &[("Contact", &contact("100"))]), &from);
    assert_eq!(lab.registry.deadline(), Some(at(190)));
    lab.registry.expire(at(189));
    assert_eq!(lab.contacts("ann").len(), 1);
    lab.registry.expire(at(190));
    assert!(lab.contacts("ann").is_empty());
    assert_eq!(lab.registry.deadline(), None);
    lab.assert_consistent();
}

#[test]
fn how_long_it_lasts_is_bounded() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    let brief = lab.register(at(0), &register("ann", 1, &[("Contact", "<sip:a@h>;expires=59")]), &from);
    assert_eq!((brief.status, brief.headers.get("Min-Expires")), (423, Some("60")));
    assert!(lab.contacts("ann").is_empty());
    for (cseq, contact, expires, lasts) in [
        (2, "<sip:a@h>;expires=60", None, 60),
        (3, "<sip:a@h>", Some("120"), 120),
        (4, "<sip:a@h>;expires=90", Some("120"), 90),
        (5, "<sip:a@h>", None, 3600),
        (6, "<sip:a@h>;expires=soon", Some("120"), 3600),
        (7, "<sip:a@h>;expires=99999999999", None, 3600),
    ] {
        let mut headers = vec![("Contact", contact)];
        headers.extend(expires.map(|e| ("Expires", e)));
        let granted = lab.register(at(0), &register("ann", cseq, &headers), &from);
        assert_eq!(granted.headers.get("Contact"), Some(format!("<sip:a@h>;expires={lasts}").as_str()));
    }
}

// Rows: REG-14
#[test]
fn expires_zero_removes() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    let three = "<sip:a@h>;+sip.instance=\"<urn:uuid:A>\", <sip:b@h>, <sip:c@h>";
    lab.register(at(0), &register("ann", 1, &[("Contact", three)]), &from);
    // By its URI alone also the one that had an instance.
    let gone = lab.register(at(0), &register("ann", 2, &[("Contact", "<sip:a@h>"), ("Expires", "0")]), &from);
    assert_eq!(gone.headers.list("Contact").count(), 2);
    assert_eq!(lab.contacts("ann"), ["sip:b@h", "sip:c@h"]);
    lab.register(at(0), &register("ann", 3, &[("Contact", "<sip:b@h>;expires=0")]), &from);
    assert_eq!(lab.contacts("ann"), ["sip:c@h"]);
    let star = |cseq, expires: &str| register("ann", cseq, &[("Contact", "*"), ("Expires", expires)]);
    assert_eq!(lab.register(at(0), &star(4, "60"), &from).status, 400);
    let both = register("ann", 5, &[("Contact", "*, <sip:d@h>"), ("Expires", "0")]);
    assert_eq!(lab.register(at(0), &both, &from).status, 400);
    assert_eq!(lab.contacts("ann"), ["sip:c@h"]);
    let all = lab.register(at(0), &star(6, "0"), &from);
    assert_eq!((all.status, all.headers.has("Contact")), (200, false));
    assert!(lab.registry.view(at(0)).is_empty());
    lab.assert_consistent();
}

#[test]
fn an_old_register_changes_nothing() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    lab.register(at(0), &register("ann", 5, &[("Contact", "<sip:a@h>")]), &from);
    let old = register("ann", 5, &[("Contact", "<sip:new@h>, <sip:a@h>;expires=0")]);
    assert_eq!(lab.register(at(1), &old, &from).status, 500);
    assert_eq!(lab.contacts("ann"), ["sip:a@h"], "all or nothing");
    let star = register("ann", 4, &[("Contact", "*"), ("Expires", "0")]);
    assert_eq!(lab.register(at(1), &star, &from).status, 500);
    let mut restarted = register("ann", 1, &[("Contact", "<sip:a@h>;expires=0")]);
    restarted.headers.set("Call-ID", "another");
    assert_eq!(
        lab.register_as("ann", at(1), &restarted, &from).status,
        200,
        "another Call-ID, another order"
    );
    assert!(lab.contacts("ann").is_empty());
}

// Rows: REG-09, REG-10
#[test]
fn gruus_are_given_to_who_supports_or_requires_them() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    let contact = ("Contact", "<sip:a@h>;+sip.instance=\"<urn:uuid:f81d x>\"");
    let plain = lab.register(at(0), &register("ann", 1, &[contact]), &from);
    assert!(!plain.headers.get("Contact").unwrap().contains("gruu"));
    assert_eq!(lab.registry.devices("sip:ann@example.org")[0].gruu, None);
    let mut temporary = Vec::new();
    for (cseq, header) in [(2, "Supported"), (3, "Require")] {
        let granted = lab.register(at(0), &register("ann", cseq, &[contact, (header, "gruu, path")]), &from);
        let value = NameAddr::parse(granted.headers.get("Contact").unwrap()).unwrap();
        assert_eq!(value.param("pub-gruu"), Some("sip:ann@example.org;gr=urn:uuid:f81d%20x"));
        temporary.push(value.param("temp-gruu").unwrap().to_owned());
    }
    assert_ne!(temporary[0], temporary[1], "each REGISTER gives a new one");
    assert!(!temporary[0].contains("ann"));
    for gruu in [temporary[0].as_str(), &temporary[1], "sip:ann@example.org;gr=urn:uuid:f81d%20x"] {
        assert_eq!(
            lab.registry.resolve(gruu).map(|device| device.contact.as_str()),
            Some("sip:a@h"),
            "{gruu}"
        );
    }
    for other in
        ["sip:ann@example.org", "sip:ann@example.org;gr=urn:uuid:other", "sip:tgruu-x@example.org;gr", "x"]
    {
        assert_eq!(lab.registry.resolve(other), None, "{other}");
    }
    let without = ("Contact", "<sip:b@h>");
    let granted = lab.register(at(0), &register("ann", 4, &[without, ("Supported", "gruu")]), &from);
    assert!(!granted.headers.list("Contact").any(|c| c.contains("<sip:b@h>") && c.contains("gruu")));
    lab.assert_consistent();
    let mut another = register("ann", 1, &[contact, ("Supported", "gruu")]);
    another.headers.set("Call-ID", "call-restarted");
    lab.register_as("ann", at(1), &another, &from);
    assert_eq!(lab.registry.resolve(&temporary[0]), None, "those of an earlier Call-ID have ended");
    lab.assert_consistent();
}

#[test]
fn what_is_malformed_or_too_much_is_refused() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    let long = format!("<sip:a@h>;x={}", "y".repeat(5000));
    let many = ["<sip:a@h>"; 17].join(",");
    let paths = ["<sip:p;lr>"; 9].join(",");
    for (header, value, status) in [
        ("Contact", "<mailto:a@b>", 400),
        ("Contact", "<sip:a b@h>", 400),
        ("Contact", "<sip:a@h", 400),
        ("Contact", "<sip:>", 400),
        ("Contact", long.as_str(), 513),
        ("Contact", many.as_str(), 513),
        ("Path", "nonsense", 400),
        ("Path", paths.as_str(), 513),
        ("Require", "gruu, sec-agree, x-new", 420),
    ] {
        let refused = lab.register(at(0), &register("ann", 1, &[(header, value)]), &from);
        assert_eq!(refused.status, status, "{header}: {value:.40}");
        if status == 420 {
            assert_eq!(refused.headers.get("Unsupported"), Some("sec-agree, x-new"));
        }
    }
    for missing in ["To", "From", "CSeq", "Call-ID"] {
        let mut request = register("ann", 1, &[("Contact", "<sip:a@h>")]);
        request.headers.remove(missing);
        assert_eq!(lab.register_as("ann", at(0), &request, &from).status, 400, "{missing}");
    }
    for n in 0..MAX_DEVICES {
        let contact = format!("<sip:a{n}@h>");
        assert_eq!(lab.register(at(0), &register("ann", 10, &[("Contact", &contact)]), &from).status, 200);
    }
    let full = lab.register(at(0), &register("ann", 11, &[("Contact", "<sip:more@h>")]), &from);
    assert_eq!((full.status, full.reason.as_str()), (403, "Too Many Devices"));
    let refresh = lab.register(at(0), &register("ann", 11, &[("Contact", "<sip:a0@h>")]), &from);
    assert_eq!(refresh.status, 200, "those that are in can stay");
    assert_eq!(lab.contacts("ann").len(), MAX_DEVICES);
    let query = lab.register(at(0), &register("ann", 12, &[]), &from);
    assert_eq!((query.status, query.headers.list("Contact").count()), (200, MAX_DEVICES));
}
