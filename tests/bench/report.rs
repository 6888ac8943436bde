//! Tables, JSON and plot of a run.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use anyhow::Result;
use serde::Serialize;

use crate::{
    crew::Sample,
    ground,
    measure::{median, range},
    plot,
    relay::{Case, Placement, Record, Settings},
};

/// A ratio of the subject to a rival over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Medians of one contender in one case, and how the subject compares.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) case: Case,
    pub(crate) contender: &'static str,
    pub(crate) rate: f64,
    pub(crate) relay_us: f64,
    pub(crate) total_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) one_way_p50_us: f64,
    /// Subject's rate by this contender's, per round; above 1 the subject is faster.
    pub(crate) rate_ratio: Option<Ratio>,
    /// Subject's relay CPU per message by this contender's; below 1 the subject is cheaper.
    pub(crate) relay_ratio: Option<Ratio>,
    /// The same for relay and load generator together.
    pub(crate) total_ratio: Option<Ratio>,
    /// Subject's median latency by this contender's.
    pub(crate) p50_ratio: Option<Ratio>,
    /// CPU per message above what no relay at all costs; see [`floor`].
    pub(crate) above_us: f64,
    /// Subject's by this contender's.
    pub(crate) above_ratio: Option<Ratio>,
    /// SENDs that never left the kernel, in percent.
    pub(crate) in_kernel_percent: Option<f64>,
}

/// Prints what is going to be measured.
pub(crate) fn print_settings(settings: &Settings) {
    println!("MSRP relay bench: kernel {}, {} cores; {}", settings.kernel, settings.cores, ground::about());
    println!(
        "{} interleaved rounds, {} ms each after {} ms of load; closed loop, every octet checked at every sink",
        settings.rounds, settings.window_ms, settings.warm_up_ms
    );
    match settings.placement {
        Placement::Auto => println!(
            "1x1: generator and contender share one processor; else each has one: msgs/s are those of one processor"
        ),
        Placement::Apart => println!("generator and contender have one processor each"),
        Placement::Free => println!("generator and contender run where the scheduler puts them"),
        Placement::Together => println!("generator and contender share one processor"),
    }
    for (name, about) in &settings.contenders {
        println!("  {name:<14} {about}");
    }
    for (name, why) in &settings.missing {
        println!("  {name:<14} NOT MEASURED: {why}");
    }
    println!();
}

/// Prints the tables and writes JSON, Markdown and SVG of this name to `out`.
pub(crate) fn write(name: &str, settings: &Settings, records: &[Record], out: &Path) -> Result<()> {
    let summaries = summarise(settings, records);
    let text = tables(settings, &summaries);
    println!("{text}");
    fs::create_dir_all(out)?;
    let json = serde_json::json!({ "settings": settings, "summary": summaries, "records": records });
    fs::write(out.join(format!("{name}.json")), serde_json::to_string_pretty(&json)?)?;
    fs::write(out.join(format!("{name}.md")), text)?;
    fs::write(out.join(format!("{name}.svg")), plot::svg(settings, &summaries))?;
    println!("written: {0}/{name}.md {0}/{name}.json {0}/{name}.svg", out.display());
    Ok(())
}

fn summarise(settings: &Settings, records: &[Record]) -> Vec<Summary> {
    let cases: BTreeSet<Case> = records.iter().map(|record| record.case).collect();
    let mut summaries = Vec::new();
    for case in cases {
        for (name, _) in &settings.contenders {
            let of = |who: &str| -> Vec<(usize, &Sample)> {
                let records = records.iter().filter(|one| one.case == case && one.contender == who);
                records.filter_map(|record| Some((record.round, record.sample.as_ref()?))).collect()
            };
            let (mine, subject) = (of(name), of(settings.subject));
            let above = |samples: &[(usize, &Sample)]| -> Vec<(usize, f64)> {
                let one = |(round, sample): &(usize, &Sample)| {
                    Some((*round, sample.total_us - floor(records, &case, *round)?))
                };
                samples.iter().filter_map(one).collect()
            };
            if mine.is_empty() {
                continue;
            }
            let mid = |value: fn(&Sample) -> f64| {
                median(&mine.iter().map(|(_, sample)| value(sample)).collect::<Vec<_>>())
            };
            let ratio = |value: fn(&Sample) -> f64| {
                let per_round: Vec<f64> = subject
                    .iter()
                    .filter_map(|(round, sample)| {
                        let (_, rival) = mine.iter().find(|(other, _)| other == round)?;
                        Some(value(sample) / value(rival)).filter(|ratio| ratio.is_finite())
                    })
                    .collect();
                let (min, max) = range(&per_round);
                let median = median(&per_round);
                (*name != settings.subject && median.is_finite()).then_some(Ratio { median, min, max })
            };
            summaries.push(Summary {
                case,
                contender: name,
                rate: mid(|s| s.rate),
                relay_us: mid(|s| s.relay_us),
                total_us: mid(|s| s.total_us),
                p50_us: mid(|s| s.p50_us),
                p99_us: mid(|s| s.p99_us),
                one_way_p50_us: mid(|s| s.one_way_p50_us),
                rate_ratio: ratio(|s| s.rate),
                relay_ratio: ratio(|s| s.relay_us),
                total_ratio: ratio(|s| s.total_us),
                p50_ratio: ratio(|s| s.p50_us),
                above_us: median(&above(&mine).iter().map(|(_, us)| *us).collect::<Vec<_>>()),
                above_ratio: ratio_of(&above(&subject), &above(&mine)).filter(|_| *name != settings.subject),
                in_kernel_percent: {
                    let hits: Vec<f64> = mine.iter().filter_map(|(_, s)| s.in_kernel_percent).collect();
                    (!hits.is_empty()).then(|| median(&hits))
                },
            });
        }
    }
    summaries
}

/// What a message costs without any relay, in microseconds: the direct connection of the same round, and half of it
/// again for each further leg, which is its reader's half (an estimate: nobody can duplicate without a relay).
fn floor(records: &[Record], case: &Case, round: usize) -> Option<f64> {
    let alone = Case { fanout: 1, ..*case };
    let mut direct =
        records.iter().filter(|r| r.contender == "direct" && r.case == alone && r.round == round);
    let direct = direct.find_map(|record| record.sample.as_ref())?;
    Some(direct.total_us * (1.0 + 0.5 * (case.fanout - 1) as f64))
}

/// The ratios of the same rounds.
fn ratio_of(subject: &[(usize, f64)], rival: &[(usize, f64)]) -> Option<Ratio> {
    let one = |(round, value): &(usize, f64)| {
        let (_, other) = rival.iter().find(|(same, _)| same == round)?;
        Some(value / other).filter(|ratio| ratio.is_finite())
    };
    let ratios: Vec<f64> = subject.iter().filter_map(one).collect();
    let (min, max) = range(&ratios);
    let median = median(&ratios);
    median.is_finite().then_some(Ratio { median, min, max })
}

fn tables(settings: &Settings, summaries: &[Summary]) -> String {
    let mut text = String::new();
    let shown = |ratio: &Option<Ratio>| match ratio {
        Some(Ratio { median, min, max }) => format!("{median:.2} ({min:.2}-{max:.2})"),
        None => "-".into(),
    };
    let mut last = None;
    for s in summaries {
        let Case { fanout, mode, body } = s.case;
        if last != Some((fanout, mode)) {
            last = Some((fanout, mode));
            let subject = settings.subject;
            let _ = write!(
                text,
                "\n### 1 -> {fanout}, {mode}\n\n\
                 Medians of {} rounds; latency is SEND to 200 and delivery. Ratios are {subject} / rival, median (min-max) \
                 of the rounds.\n\n\
                 | body | contender | msgs/s | relay CPU us/msg | all CPU us/msg | p50 us | p99 us | one-way p50 us | \
                 rate ratio | relay CPU ratio | all CPU ratio | p50 ratio |",
                settings.rounds
            );
            if settings.floor {
                text.push_str(" above no relay us/msg | above ratio | in kernel % |");
            }
            text.push('\n');
            text.push_str(&"|---".repeat(if settings.floor { 15 } else { 12 }));
            text.push_str("|\n");
        }
        let relay = if s.relay_us > 0.0 { format!("{:.2}", s.relay_us) } else { "-".into() };
        let _ = write!(
            text,
            "| {body} | {} | {:.0} | {relay} | {:.2} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {} |",
            s.contender,
            s.rate,
            s.total_us,
            s.p50_us,
            s.p99_us,
            s.one_way_p50_us,
            shown(&s.rate_ratio),
            shown(&s.relay_ratio),
            shown(&s.total_ratio),
            shown(&s.p50_ratio),
        );
        if settings.floor {
            let hit = s.in_kernel_percent.map_or("-".into(), |hit| format!("{hit:.1}"));
            let above = if s.above_us.is_finite() { format!("{:.2}", s.above_us) } else { "-".into() };
            let _ = write!(text, " {above} | {} | {hit} |", shown(&s.above_ratio));
        }
        text.push('\n');
    }
    text
}
