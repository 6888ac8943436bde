//! Ladder diagrams (SVG) from a trace: who said what to whom, top to bottom.

use std::{fmt::Write, io, path::Path};

use crate::trace::{Entry, Protocol, Trace};

const COLUMN: usize = 190;
const ROW: usize = 22;
const LEFT: usize = 90;
const TOP: usize = 70;
/// More columns than these nobody can read.
const MOST_PARTICIPANTS: usize = 24;

/// Draws the messages between `participants`, in their order from left to right. Hovering over an arrow shows the
/// message.
pub fn draw(trace: &Trace, participants: &[&str], title: &str) -> String {
    drawing(trace.entries(), participants, title)
}

/// Draws everything of a test that has ended into `<directory>/<test>.svg`, everybody who spoke in order of
/// appearance; nothing where nobody spoke. A test that cannot draw is not failed for it.
pub(crate) fn keep(directory: &Path, test: &str, entries: Vec<Entry>) {
    let mut participants: Vec<&str> = Vec::new();
    for name in entries.iter().flat_map(|entry| [entry.from.as_str(), entry.to.as_str()]) {
        if !participants.contains(&name) && participants.len() < MOST_PARTICIPANTS {
            participants.push(name);
        }
    }
    if participants.is_empty() {
        return;
    }
    let names: Vec<String> = participants.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let svg = drawing(entries, &names, test);
    // A test with several scenes has several drawings.
    let name = test.replace("::", ".");
    for number in 1..1000 {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let path = directory.join(format!("{name}{suffix}.svg"));
        let file = std::fs::create_dir_all(directory).and_then(|()| std::fs::File::create_new(&path));
        match file.and_then(|mut file| io::Write::write_all(&mut file, svg.as_bytes())) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return eprintln!("{}: {error}", path.display()),
            Ok(()) => return,
        }
    }
}

fn drawing(entries: Vec<Entry>, participants: &[&str], title: &str) -> String {
    let rows: Vec<Row> = rows(entries, participants);
    let width = LEFT + COLUMN * participants.len();
    let height = TOP + ROW * (rows.len() + 2);
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <style>.sip{{stroke:#1f5fa8;fill:#1f5fa8}}.msrp{{stroke:#2b7a3d;fill:#2b7a3d}}\
         text{{stroke:none}}.life{{stroke:#bbb}}.time{{fill:#888}}.name{{font-weight:bold;font-size:13px}}</style>\n\
         <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"context-stroke\" stroke=\"none\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" class=\"name\">{}</text>",
        escape(title)
    );
    for (number, name) in participants.iter().enumerate() {
        let x = column(number);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"48\" text-anchor=\"middle\" class=\"name\">{}</text>\
             <line class=\"life\" x1=\"{x}\" y1=\"56\" x2=\"{x}\" y2=\"{}\"/>",
            escape(name),
            height - ROW / 2
        );
    }
    for (number, row) in rows.iter().enumerate() {
        draw_row(&mut svg, row, TOP + ROW * (number + 1));
    }
    svg.push_str("</svg>\n");
    svg
}

struct Row {
    from: usize,
    to: usize,
    entry: Entry,
    repeats: usize,
}

/// The entries between participants; runs of equal MSRP frames become one row.
fn rows(mut entries: Vec<Entry>, participants: &[&str]) -> Vec<Row> {
    let place = |name: &str| participants.iter().position(|known| *known == name);
    let mut rows: Vec<Row> = Vec::new();
    entries.sort_by_key(|entry| entry.at);
    for entry in entries {
        let (Some(from), Some(to)) = (place(&entry.from), place(&entry.to)) else { continue };
        if let Some(last) = rows.last_mut() {
            let same = (last.from, last.to, word(&last.entry)) == (from, to, word(&entry));
            if same && entry.protocol == Protocol::Msrp && last.entry.protocol == Protocol::Msrp {
                last.repeats += 1;
                last.entry.size += entry.size;
                continue;
            }
        }
        rows.push(Row { from, to, entry, repeats: 1 });
    }
    rows
}

fn word(entry: &Entry) -> String {
    entry.summary.split(' ').next().unwrap_or_default().to_owned()
}

fn draw_row(svg: &mut String, row: &Row, y: usize) {
    let (start, end) = (column(row.from), column(row.to));
    let class = match row.entry.protocol {
        Protocol::Msrp => "msrp",
        Protocol::Sip => "sip",
    };
    let mut label = row.entry.summary.clone();
    if row.repeats > 1 {
        label = format!("{} \u{d7} {}", word(&row.entry), row.repeats);
    }
    if row.entry.protocol == Protocol::Msrp && label.starts_with("SEND") {
        let _ = write!(label, " ({} octets)", row.entry.size);
    }
    // Six units a letter: what does not fit over the arrow is cut.
    let room = start.abs_diff(end).max(COLUMN) / 6;
    if label.chars().count() > room {
        label = label.chars().take(room - 1).chain(['\u{2026}']).collect();
    }
    let _ = writeln!(
        svg,
        "<g class=\"{class}\"><title>{}</title><text x=\"10\" y=\"{}\" class=\"time\">{:.4} s</text>\
         <line x1=\"{start}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" marker-end=\"url(#head)\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>",
        escape(&String::from_utf8_lossy(&row.entry.octets)),
        y + 4,
        row.entry.at.as_secs_f64(),
        usize::midpoint(start, end),
        y - 4,
        escape(&label)
    );
}

fn column(number: usize) -> usize {
    LEFT + COLUMN / 2 + COLUMN * number
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_messages_between_participants_only() {
        let trace = Trace::default();
        let pf = "127.0.0.1:5060".parse().unwrap();
        trace.name_socket(pf, "pf");
        trace.sent(Protocol::Sip, "A", pf, "INVITE <x>".into(), b"INVITE <x>", 10);
        trace.received(Protocol::Sip, "A", "127.0.0.2:1".parse().unwrap(), "OPTIONS".into(), b"", 0);
        for _ in 0..3 {
            trace.received(Protocol::Msrp, "A", pf, "SEND 1-3/3".into(), b"MSRP", 100);
        }
        let svg = draw(&trace, &["A", "pf"], "t");
        assert!(svg.contains("INVITE &lt;x&gt;"));
        assert!(!svg.contains("OPTIONS"));
        assert!(svg.contains("SEND \u{d7} 3 (300 octets)"));
    }
}
