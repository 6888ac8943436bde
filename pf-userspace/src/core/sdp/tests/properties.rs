//! What holds for all descriptions.

use proptest::prelude::*;

use super::*;

fn line() -> impl Strategy<Value = String> {
    let head = prop_oneof![
        Just("message {} TCP/MSRP *"),
        Just("message {} TCP/TLS/MSRP *"),
        Just("audio {} RTP/AVP 0 8"),
        Just("application {} UDP/BFCP *"),
    ];
    let attribute = prop_oneof![
        Just("a=path:msrp://foreign.example:7777/secret;tcp"),
        Just("a=path:msrp://foreign.example:7777/secret;tcp msrp://foreign.example:1/x;tcp"),
        Just("a=msrp-cema"),
        Just("a=connection:new"),
        Just("a=CONNECTION:existing"),
        Just("a=fingerprint:sha-256 AB:CD"),
        Just("a=Ice-pwd:foreign"),
        Just("a=setup:active"),
        Just("a=setup:actpass"),
        Just("a=accept-types:message/cpim text/plain"),
        Just("a=recvonly"),
        Just("a=sendonly"),
        Just("a=label:4"),
        Just("c=IN IP4 203.0.113.99"),
        Just("b=AS:64"),
    ];
    let port = prop_oneof![Just(0_u16), 1_u16..];
    (head, port, prop::collection::vec(attribute, 0..7)).prop_map(|(head, port, attributes)| {
        let head = head.replace("{}", &port.to_string());
        let mut line = format!("m={head}\r\n");
        attributes.iter().for_each(|attribute| line.push_str(&format!("{attribute}\r\n")));
        line
    })
}

fn description() -> impl Strategy<Value = Sdp> {
    let session = prop_oneof![Just(""), Just("a=msrp-cema\r\n"), Just("a=sendonly\r\na=setup:active\r\n")];
    (session, prop::collection::vec(line(), 0..6)).prop_map(|(session, lines)| {
        let head = "v=0\r\no=f 1 1 IN IP4 203.0.113.99\r\ns=-\r\nc=IN IP4 203.0.113.99\r\nt=0 0\r\n";
        sdp(&format!("{head}{session}{}", lines.concat()))
    })
}

/// Kind of each m-line: all but the port.
fn kinds(sdp: &Sdp) -> Vec<(String, String)> {
    let head = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].to_owned(), words[2].to_owned())
    };
    text(sdp).lines().filter(|line| line.starts_with("m=")).map(head).collect()
}

fn ports(sdp: &Sdp) -> Vec<u16> {
    let port = |line: &str| line.split(' ').nth(1).unwrap().parse().unwrap();
    text(sdp).lines().filter(|line| line.starts_with("m=")).map(port).collect()
}

/// Everything of ours on every MSRP line that is in use, and nothing of the other side.
fn is_ours(made: &Sdp) -> Result<(), TestCaseError> {
    for line in made.msrp_lines().iter().filter(|line| !line.is_rejected()) {
        prop_assert_eq!(&line.path, &["msrp://192.0.2.1:2855/ours;tcp"]);
        prop_assert_eq!(line.host.as_deref(), Some("192.0.2.1"));
        prop_assert!(!line.cema);
        prop_assert!(line.setup.is_some());
    }
    prop_assert_eq!(Sdp::parse(&made.write()), Ok(made.clone()));
    Ok(())
}

fn anchored_text_is_clean(made: &Sdp) -> Result<(), TestCaseError> {
    let written = text(made).to_ascii_lowercase();
    for block in written.split("m=").skip(1).filter(|block| block.starts_with("message")) {
        for foreign in ["foreign", "203.0.113.99", "msrp-cema", "a=connection", "fingerprint", "ice-pwd"] {
            prop_assert!(!block.contains(foreign), "{} in {}", foreign, block);
        }
        prop_assert!(block.matches("a=setup").count() <= 1 && block.matches("a=path").count() <= 1);
    }
    let head = written.split("m=").next().unwrap();
    prop_assert!(!head.contains("203.0.113.99") && !head.contains("msrp-cema"));
    Ok(())
}

/// Our side for every MSRP line of the description.
fn locals(sdp: &Sdp, setup: SetupAttr) -> Vec<Option<LocalLine>> {
    let mut locals = vec![None; sdp.line_count()];
    sdp.msrp_lines().iter().for_each(|line| locals[line.index] = Some(local(setup)));
    locals
}

proptest! {
    // Rows: INV-27
    #[test]
    fn an_offer_has_the_same_lines_and_is_ours(received in description()) {
        let made = offer(&received, &locals(&received, SetupAttr::Actpass), &origin());
        prop_assert_eq!(kinds(&made), kinds(&received));
        for (ours, theirs) in ports(&made).into_iter().zip(ports(&received)) {
            prop_assert_eq!(ours == 0, theirs == 0);
        }
        is_ours(&made)?;
        anchored_text_is_clean(&made)?;
    }

    // Rows: ANS-10
    #[test]
    fn an_answer_has_the_offers_lines_and_is_ours(offered in description(), far in description()) {
        let made = answer(&offered, &far, &locals(&offered, SetupAttr::Passive), &origin());
        prop_assert_eq!(kinds(&made), kinds(&offered));
        let far_ports = ports(&far);
        for (index, (ours, theirs)) in ports(&made).into_iter().zip(ports(&offered)).enumerate() {
            let refused = theirs == 0 || far_ports.get(index).is_none_or(|port| *port == 0);
            prop_assert!(!refused || ours == 0);
        }
        is_ours(&made)?;
        anchored_text_is_clean(&made)?;
    }

    // Rows: DD-04
    #[test]
    fn a_device_offer_has_the_same_lines_and_nothing_passes_through(agreed in description()) {
        let made = device_offer(&agreed, &locals(&agreed, SetupAttr::Actpass), &origin());
        prop_assert_eq!(kinds(&made), kinds(&agreed));
        is_ours(&made)?;
        anchored_text_is_clean(&made)?;
        prop_assert!(!text(&made).contains("203.0.113.99"));
    }

    #[test]
    fn any_octets_are_survived(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Sdp::parse(&octets);
    }

    #[test]
    fn any_lines_are_survived(
        lines in prop::collection::vec(("[vosiuepcbtrzkam]", "[-:/ =0-9a-zA-Z\\[\\]@;.*\\PC]{0,40}"), 0..12),
    ) {
        let mut body = "v=0\r\nm=message 5 TCP/MSRP *\r\n".to_owned();
        lines.iter().for_each(|(key, value)| body.push_str(&format!("{key}={value}\r\n")));
        if let Ok(read) = Sdp::parse(body.as_bytes()) {
            for line in read.msrp_lines() {
                let _ = (line.anchorable(), remote_leg(&line, Setup::Active, true));
            }
            is_ours(&offer(&read, &locals(&read, SetupAttr::Actpass), &origin()))?;
        }
    }
}
