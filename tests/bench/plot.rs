//! The plot: CPU per message of each contender, one panel per fan-out and mode.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::relay::{Mode, Settings};
use crate::report::Summary;

const COLOURS: [&str; 6] = ["#8a8a8a", "#4477aa", "#cc6677", "#ddaa33", "#228833", "#aa3377"];
const PANEL: (usize, usize) = (420, 240);
const PLOT: f64 = 150.0;

/// An SVG with the relays' CPU per message; the direct connection has none and is left out.
pub(crate) fn svg(settings: &Settings, summaries: &[Summary]) -> String {
    let panels: BTreeSet<(usize, Mode)> = summaries.iter().map(|s| (s.case.fanout, s.case.mode)).collect();
    let columns = panels.iter().map(|(_, mode)| *mode).collect::<BTreeSet<_>>();
    let rows = panels.iter().map(|(fanout, _)| *fanout).collect::<BTreeSet<_>>();
    let (width, height) = (PANEL.0 * columns.len().max(1), PANEL.1 * rows.len() + 40);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"11\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (at, (name, _)) in settings.contenders.iter().enumerate() {
        let (x, colour) = (10 + at * 120, COLOURS[at % COLOURS.len()]);
        let _ = writeln!(text, "<rect x=\"{x}\" y=\"10\" width=\"10\" height=\"10\" fill=\"{colour}\"/>");
        let _ = writeln!(text, "<text x=\"{}\" y=\"19\">{name}</text>", x + 14);
    }
    for (row, fanout) in rows.iter().enumerate() {
        for (column, mode) in columns.iter().enumerate() {
            let here: Vec<&Summary> = summaries
                .iter()
                .filter(|s| s.case.fanout == *fanout && s.case.mode == *mode && s.relay_us > 0.0)
                .collect();
            let title = format!("1 -> {fanout}, {mode}");
            let _ =
                writeln!(text, "<g transform=\"translate({},{})\">", column * PANEL.0, 40 + row * PANEL.1);
            panel(&mut text, &title, settings, &here);
            text.push_str("</g>\n");
        }
    }
    text.push_str("</svg>\n");
    text
}

fn panel(text: &mut String, title: &str, settings: &Settings, here: &[&Summary]) {
    let most = here.iter().map(|s| s.relay_us).fold(0.0, f64::max);
    let bodies: Vec<usize> = here.iter().map(|s| s.case.body).collect::<BTreeSet<_>>().into_iter().collect();
    let _ =
        writeln!(text, "<text x=\"10\" y=\"14\" font-weight=\"bold\">{title}: relay CPU per SEND, us</text>");
    if most <= 0.0 {
        return;
    }
    let group = (PANEL.0 - 30) as f64 / bodies.len() as f64;
    let bar = (group - 14.0) / settings.contenders.len().max(1) as f64;
    for (at, body) in bodies.iter().enumerate() {
        let left = 20.0 + group * at as f64;
        for (who, (name, _)) in settings.contenders.iter().enumerate() {
            let Some(s) = here.iter().find(|s| s.case.body == *body && s.contender == *name) else {
                continue;
            };
            let (high, x) = (PLOT * s.relay_us / most, left + bar * who as f64);
            let y = 30.0 + PLOT - high;
            let colour = COLOURS[who % COLOURS.len()];
            let _ = writeln!(
                text,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{high:.1}\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"8\" text-anchor=\"middle\">{:.1}</text>",
                bar - 1.0,
                x + bar / 2.0,
                y - 2.0,
                s.relay_us
            );
        }
        let size = if *body >= 1024 { format!("{} KB", body / 1024) } else { format!("{body} B") };
        let _ = writeln!(text, "<text x=\"{left:.1}\" y=\"{:.1}\">{size}</text>", 30.0 + PLOT + 14.0);
    }
}
