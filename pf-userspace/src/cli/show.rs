//! `pf sessions`, `pf groups`, `pf devices`, `pf legs`, `pf maps`, `pf stats`, `pf store`, and the answer to `pf reload`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde::Serialize;

use super::{
    args::View,
    maps, print,
    table::{Table, duration, octets},
};
use crate::{
    admin::{
        Answer, Request, client,
        protocol::{FastPathStats, LegRow, Stats},
    },
    core::{
        event::{LegCounters, LegRole},
        media::LegPath,
        policy::retrieval::XdmsCounters,
        store::{RecordingCounters, StoreCounters},
        view::{DeviceView, GroupView, SessionView},
    },
    store::Row,
};

/// Asks the running `pf` and prints the answer.
pub fn show(request: Request, view: &View) -> anyhow::Result<()> {
    let answer = client::ask(&view.socket, request)?;
    if let Some(note) = cut_short(&answer) {
        let _ = writeln!(io::stderr(), "pf: {note}");
    }
    print(&if view.json { json(&answer)? } else { text(&answer) })
}

/// The rows (or the counters) as indented JSON.
fn json(answer: &Answer) -> anyhow::Result<String> {
    fn pretty(value: &impl Serialize) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(value)? + "\n")
    }
    match answer {
        Answer::Devices { devices, .. } => pretty(devices),
        Answer::Entries { dump, .. } => pretty(&maps::objects(dump)),
        Answer::Error { message } => anyhow::bail!("pf answers: {message}"),
        Answer::Groups { groups, .. } => pretty(groups),
        Answer::Connections { connections, .. } => pretty(connections),
        Answer::Guard { sources, .. } => pretty(sources),
        Answer::Legs { legs, .. } => pretty(legs),
        Answer::Maps { maps } => pretty(maps),
        Answer::Sessions { sessions, .. } => pretty(sessions),
        Answer::Reloaded { .. } | Answer::Set { .. } => pretty(answer),
        Answer::Stats { stats } => pretty(stats),
        Answer::Store { objects, .. } => pretty(objects),
    }
}

fn text(answer: &Answer) -> String {
    match answer {
        Answer::Devices { devices, .. } if devices.is_empty() => "no registered devices\n".to_owned(),
        Answer::Devices { devices, .. } => devices_table(devices),
        Answer::Entries { map, dump } if dump.rows.is_empty() => format!("{} is empty\n", map.map()),
        Answer::Entries { dump, .. } => maps::entries_table(dump),
        Answer::Error { message } => format!("{message}\n"),
        Answer::Groups { groups, .. } if groups.is_empty() => "no group session has ended\n".to_owned(),
        Answer::Groups { groups, .. } => groups_table(groups),
        Answer::Connections { connections, .. } if connections.is_empty() => {
            "the fast path knows no connections\n".to_owned()
        }
        Answer::Connections { connections, .. } => maps::connections_table(connections),
        Answer::Guard { sources, .. } if sources.is_empty() => "no sources\n".to_owned(),
        Answer::Guard { sources, .. } => maps::sources_table(sources),
        Answer::Legs { legs, .. } if legs.is_empty() => "no MSRP legs\n".to_owned(),
        Answer::Legs { legs, .. } => legs_table(legs),
        Answer::Maps { maps } if maps.is_empty() => "no maps: no kernel program is loaded\n".to_owned(),
        Answer::Maps { maps } => maps::maps_table(maps),
        Answer::Reloaded { .. } => reloaded(answer),
        Answer::Sessions { sessions, .. } if sessions.is_empty() => "no sessions\n".to_owned(),
        Answer::Sessions { sessions, .. } => sessions_table(sessions),
        Answer::Set { key, was, now } => format!("{}: {was} -> {now}, until the next start\n", key.name()),
        Answer::Stats { stats } => stats_table(stats),
        Answer::Store { objects, .. } if objects.is_empty() => "nothing is stored\n".to_owned(),
        Answer::Store { objects, .. } => store_table(objects),
    }
}

/// Users, options that have changed, options that wait for a restart: a line each.
fn reloaded(answer: &Answer) -> String {
    let Answer::Reloaded { users, users_added, users_changed, users_removed, changed, restart } = answer
    else {
        return String::new();
    };
    let mut text =
        format!("{users} users: {users_added} added, {users_changed} changed, {users_removed} removed\n");
    let changed = if changed.is_empty() { "none".to_owned() } else { changed.join(", ") };
    let _ = writeln!(text, "options changed: {changed}");
    if !restart.is_empty() {
        let _ = writeln!(text, "options that need a restart: {}", restart.join(", "));
    }
    text
}

fn cut_short(answer: &Answer) -> Option<String> {
    let (shown, total) = match answer {
        Answer::Connections { total, connections } => (connections.len(), *total),
        Answer::Devices { total, devices } => (devices.len(), *total),
        Answer::Entries { dump, .. } => (dump.rows.len(), dump.total),
        Answer::Groups { total, groups } => (groups.len(), *total),
        Answer::Guard { total, sources } => (sources.len(), *total),
        Answer::Legs { total, legs } => (legs.len(), *total),
        Answer::Sessions { total, sessions } => (sessions.len(), *total),
        Answer::Store { total, objects } => (objects.len(), *total),
        Answer::Error { .. }
        | Answer::Maps { .. }
        | Answer::Reloaded { .. }
        | Answer::Set { .. }
        | Answer::Stats { .. } => return None,
    };
    (shown < total).then(|| format!("{shown} of {total} shown: see --limit"))
}

fn role(role: LegRole) -> String {
    match role {
        LegRole::Device => "device",
        LegRole::Far => "far",
        LegRole::Originator => "originator",
    }
    .to_owned()
}

fn sessions_table(sessions: &[SessionView]) -> String {
    let titles = [
        "SESSION",
        "MODE",
        "STATE",
        "RECORDED",
        ">AGE",
        "FROM",
        "TO",
        "LEG",
        "NAME",
        "LEG STATE",
        ">IN",
        ">OUT",
    ];
    let mut table = Table::new(&titles);
    for session in sessions {
        let head = [
            session.id.to_string(),
            word(&session.mode),
            session.state.clone(),
            recorded(session),
            duration(session.age_seconds),
            session.originator.clone(),
            session.destination.clone(),
        ];
        if session.legs.is_empty() {
            table.row(head.clone());
        }
        for (nth, leg) in session.legs.iter().enumerate() {
            let head = if nth == 0 { head.clone() } else { Default::default() };
            table.row(head.into_iter().chain([
                role(leg.role),
                leg.name.clone(),
                leg.state.clone(),
                leg.counters.sends_in.to_string(),
                leg.counters.sends_out.to_string(),
            ]));
        }
    }
    table.text()
}

/// How many of its messages are recorded, where they are.
fn recorded(session: &SessionView) -> String {
    let messages = session.legs.iter().map(|leg| leg.counters.recorded).sum::<u64>();
    if session.recorded || messages > 0 { messages.to_string() } else { String::new() }
}

fn groups_table(groups: &[GroupView]) -> String {
    let mut table = Table::new(&["USER", "GROUP SESSION", "CONTRIBUTION-ID", "ENDED", ">AGO", "RESTARTABLE"]);
    for group in groups {
        let restartable = group.restartable.map_or("unknown", |yes| if yes { "yes" } else { "no" });
        table.row([
            group.user.clone(),
            group.focus.clone(),
            group.contribution_id.clone().unwrap_or_default(),
            word(&group.end),
            duration(group.ended_seconds),
            restartable.to_owned(),
        ]);
    }
    table.text()
}

fn store_table(objects: &[Row]) -> String {
    let mut table = Table::new(&[">UID", "TIME", "USER", "OBJECT", "CONVERSATION", "SESSION"]);
    for object in objects {
        table.row([
            object.uid.to_string(),
            object.time.clone(),
            object.user.clone(),
            object.object.clone(),
            object.folder.conversation.clone(),
            object.folder.session.clone(),
        ]);
    }
    table.text()
}

fn devices_table(devices: &[DeviceView]) -> String {
    let mut table = Table::new(&["USER", "NAME", "CPM", ">EXPIRES", "CONTACT", "INSTANCE", "USER-AGENT"]);
    for device in devices {
        table.row([
            device.user.clone(),
            device.name.clone(),
            if device.cpm { "yes" } else { "no" }.to_owned(),
            duration(device.expires_seconds),
            device.contact.clone(),
            device.instance.clone().unwrap_or_default(),
            device.user_agent.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

fn legs_table(legs: &[LegRow]) -> String {
    let mut table = Table::new(&[
        "LEG",
        "SESSION",
        "ROLE",
        "NAME",
        "STATE",
        "PEER",
        "PATH",
        ">IN FLIGHT",
        ">INJECTED",
        ">ACKNOWLEDGED",
        "LEFT FOR",
        ">QUEUED",
        ">IN",
        ">OUT",
        ">OK",
        ">ERRORS",
        ">TIMEOUTS",
        ">MISSED",
    ]);
    for leg in legs {
        table.row([
            leg.leg.0.to_string(),
            leg.session.map(|id| id.to_string()).unwrap_or_default(),
            role(leg.role),
            leg.name.clone(),
            leg.state.clone(),
            leg.peer.clone().unwrap_or_default(),
            path_word(leg),
            leg.path.as_ref().map(|path| octets(path.in_flight.into())).unwrap_or_default(),
            leg.path.as_ref().map(|path| path.injected.to_string()).unwrap_or_default(),
            leg.path.as_ref().map(|path| path.acknowledged.to_string()).unwrap_or_default(),
            leg.path.as_ref().map(left_for).unwrap_or_default(),
            octets(leg.queued_octets),
            leg.counters.sends_in.to_string(),
            leg.counters.sends_out.to_string(),
            leg.counters.ok.to_string(),
            leg.counters.errors.to_string(),
            leg.counters.timeouts.to_string(),
            leg.counters.missed.to_string(),
        ]);
    }
    table.text()
}

/// `source/leg`: which of them the kernel serves, and why userspace serves the source.
fn path_word(leg: &LegRow) -> String {
    let Some(path) = &leg.path else { return "slow".to_owned() };
    let why = path.why.filter(|_| path.source != "fast").map(|why| format!(" ({})", why.name()));
    format!("{}/{}{}", path.source, path.leg, why.unwrap_or_default())
}

/// How often it left the fast path, by cause: `content 3, stalled 1`.
fn left_for(path: &LegPath) -> String {
    path.left.iter().map(|(cause, count)| format!("{cause} {count}")).collect::<Vec<_>>().join(", ")
}

fn stats_table(stats: &Stats) -> String {
    let mut table = Table::new(&["COUNTER", ">VALUE"]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    for (name, value) in path_rows(&stats.fast_path) {
        row(&name, value);
    }
    for (name, value) in program_rows(stats) {
        row(&name, value);
    }
    row("version", stats.pf_version.clone());
    row("uptime", duration(stats.uptime_seconds));
    row("sessions", stats.sessions.to_string());
    row("sessions proxied", stats.sessions_proxied.to_string());
    row("devices", stats.devices.to_string());
    row("legs", stats.legs.to_string());
    for (name, value) in media_rows(&stats.media) {
        row(&format!("media {name}"), value.to_string());
    }
    for (reason, count) in &stats.legs_down {
        row(&format!("legs down: {}", word(reason)), count.to_string());
    }
    for (name, count) in &stats.fast_path.counts {
        row(&format!("fast path {name}"), count.to_string());
    }
    if let Some(StoreCounters { ordered, stored, busy, failed, full, refused, late }) = stats.store {
        row("store ordered", ordered.to_string());
        row("store stored", stored.to_string());
        row("store failed", failed.to_string());
        row("store full", full.to_string());
        row("store busy", busy.to_string());
        row("store refused", refused.to_string());
        row("store late", late.to_string());
    }
    if let Some(recording) = stats.recording {
        let RecordingCounters {
            messages,
            octets,
            waiting_octets,
            holding,
            held,
            abandoned,
            incomplete,
            lost,
        } = recording;
        row("recorded messages", messages.to_string());
        row("recorded octets", octets.to_string());
        row("recorded octets that wait", waiting_octets.to_string());
        row("recording held up", format!("{held} times{}", if holding { ", now as well" } else { "" }));
        row("recording abandoned", abandoned.to_string());
        row("recording incomplete", incomplete.to_string());
        row("recording lost", lost.to_string());
    }
    if let Some(XdmsCounters { documents, unchanged, nothing, failed, late }) = stats.xdms {
        row("xdms documents", documents.to_string());
        row("xdms unchanged", unchanged.to_string());
        row("xdms nothing", nothing.to_string());
        row("xdms failed", failed.to_string());
        row("xdms late", late.to_string());
    }
    for (name, value) in stats.guard.iter().flat_map(maps::guard_rows) {
        row(&name, value);
    }
    if let Some(sip) = stats.sip.as_object() {
        for (name, value) in sip {
            row(&format!("sip {}", name.replace('_', " ")), value.to_string());
        }
    }
    table.text()
}

/// The fast path: how much it carries first, then why not the rest.
fn path_rows(path: &FastPathStats) -> Vec<(String, String)> {
    let state = match (path.available, &path.missing) {
        (true, _) => "on".to_owned(),
        (false, None) => "off".to_owned(),
        (false, Some(why)) => format!("off: {why}"),
    };
    let mut rows = Vec::new();
    if let Some(ratio) = path.hit_ratio {
        rows.push(("SENDs through the kernel".to_owned(), format!("{:.2} %", ratio * 100.0)));
    }
    rows.push(("fast path".to_owned(), format!("{} ({state})", path.mode)));
    rows.push(("SENDs in kernel".to_owned(), path.sends_in_kernel.to_string()));
    let passed = path.sends_in_userspace.iter();
    rows.extend(passed.map(|(why, n)| (format!("SENDs in userspace: {why}"), n.to_string())));
    let left = path.left.iter();
    rows.extend(left.map(|(cause, n)| (format!("left the fast path: {cause}"), n.to_string())));
    if path.available {
        rows.push(("streams in the fast path".to_owned(), path.streams.to_string()));
        rows.push(("connections in the fast path".to_owned(), path.connections.to_string()));
    }
    rows
}

/// What the kernel programs cost, while the kernel measures it.
fn program_rows(stats: &Stats) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for program in &stats.programs {
        let Some(mean) = program.mean_nanoseconds else { continue };
        let total = program.run_nanoseconds as f64 / 1e9;
        rows.push((
            format!("CPU of {}", program.name),
            format!("{total:.3} s in {} runs, {mean} ns each", program.runs),
        ));
    }
    if !stats.programs.is_empty() && !stats.programs_measured {
        rows.push((
            "CPU of programs".to_owned(),
            "not measured: pf maps set datapath.statistics on".to_owned(),
        ));
    }
    rows
}

fn media_rows(media: &LegCounters) -> [(&'static str, u64); 11] {
    [
        ("SENDs in", media.sends_in),
        ("SENDs out", media.sends_out),
        ("octets in", media.octets_in),
        ("octets out", media.octets_out),
        ("200 responses", media.ok),
        ("other responses", media.errors),
        ("unanswered", media.timeouts),
        ("REPORTs", media.reports),
        ("not acceptable", media.unacceptable),
        ("missed", media.missed),
        ("recorded", media.recorded),
    ]
}

/// An enum value by its name in JSON.
fn word(value: &impl Serialize) -> String {
    let mut text = String::new();
    if let Ok(serde_json::Value::String(word)) = serde_json::to_value(value) {
        let _ = write!(text, "{word}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::view::{LegView, SessionMode};

    #[test]
    fn a_session_shows_one_line_for_each_leg() {
        let leg = |role, name: &str| LegView {
            role,
            name: name.to_owned(),
            state: "established".to_owned(),
            call_id: "c".to_owned(),
            media: Vec::new(),
            counters: LegCounters { sends_in: 3, ..LegCounters::default() },
        };
        let session = SessionView {
            id: 1,
            mode: SessionMode::B2bua,
            originator: "sip:alice@example.org".to_owned(),
            destination: "tel:+15551234".to_owned(),
            conversation_id: None,
            contribution_id: None,
            age_seconds: 75,
            state: "established".to_owned(),
            recorded: false,
            legs: vec![leg(LegRole::Originator, "Phone"), leg(LegRole::Far, "far end")],
        };
        let text = text(&Answer::Sessions { total: 1, sessions: vec![session] });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[1].starts_with("1 ")
                && lines[1].contains("b2bua")
                && lines[1].contains("1m15s")
                && lines[1].contains("Phone")
        );
        assert!(lines[2].starts_with(' ') && lines[2].contains("far end"));
    }

    #[test]
    fn an_answer_that_is_cut_short_says_so() {
        let answer = Answer::Devices { total: 5, devices: Vec::new() };
        assert_eq!(cut_short(&answer).as_deref(), Some("0 of 5 shown: see --limit"));
    }
}
