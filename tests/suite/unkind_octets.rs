//! The checks of the wire probe against a fresh `pf`.

use anyhow::Result;
use lab::{
    actor::{Scene, SceneOptions},
    probe::{Settings, SipTarget, check},
};

async fn passes(name: &str) -> Result<()> {
    let mut scene = Scene::start(SceneOptions { devices: vec!["UE-A"], ..SceneOptions::default() }).await?;
    let settings = Settings { large: 24 << 20, pid: scene.pf.pid() };
    let ue = scene.devices.remove(0);
    let mut target = SipTarget::new(scene.pf.msrp[0], ue, scene.far.clone(), Scene::BOB);
    let check = check(name).unwrap_or_else(|| panic!("no check {name}"));
    let verdict = check.run(&mut target, &settings).await;
    assert!(verdict.passed, "{}: {}", verdict.what, verdict.note);
    scene.pf.stop()
}

macro_rules! checks {
    ($($(#[doc = $doc:literal])* $test:ident = $name:literal),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $test() -> Result<()> {
                passes($name).await
            }
        )+

        #[test]
        fn no_check_is_forgotten() {
            let here = [$($name),+, "no-message-id"];
            for check in lab::probe::CHECKS {
                assert!(here.contains(&check.name), "{} is not run here", check.name);
            }
        }
    };
}

checks! {
    a_message_arrives_unchanged = "whole",
    a_frame_may_be_split_anywhere = "split",
    a_frame_may_come_octet_by_octet = "one-octet",
    twenty_frames_may_come_at_once = "twenty",
    more_than_64_kilobytes_may_be_queued = "pipeline",
    foreign_end_lines_are_content = "look-alike",
    a_large_frame_is_streamed = "large",
    chunks_stay_in_order = "chunks",
    an_abandoned_message_is_passed_on = "abandoned",
    an_unknown_total_is_no_hindrance = "unknown-total",
    an_empty_send_is_answered = "empty",
    unknown_headers_disturb_nothing = "extension",
    no_answer_where_none_is_wanted = "no-report",
    no_200_where_only_errors_are_wanted = "partial-report",
    reports_come_back = "report-back",
    an_answer_needs_no_comment = "bare-status",
    a_413_reaches_the_sender = "next-hop-413",
    a_lost_next_hop_is_no_success = "next-hop-gone",
    stray_responses_disturb_nothing = "stray-response",
    a_third_party_is_refused = "third-party",
    an_unknown_session_is_481 = "unknown-session",
    an_unknown_method_is_501 = "unknown-method",
    a_malformed_header_is_400 = "malformed",
    garbage_disturbs_nobody = "garbage",
}

#[tokio::test]
async fn a_send_without_message_id_is_400() -> Result<()> {
    passes("no-message-id").await
}
