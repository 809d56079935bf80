//! The report: tables in Markdown, for the terminal and for docs/benchmarks.md alike.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::arguments::Options;
use crate::contestant::{Contestant, FLOOR, OURS};
use crate::measure::Measure;
use crate::rounds::Figures;

const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- /figures -->\n";
/// Those that others are compared with.
const RIVALS: [&str; 3] = ["crun", "runc", FLOOR];
/// Above this much between the 10th and the 90th percentile the machine was busy with other things.
const NOISY: f64 = 1.5;

/// The whole report.
pub fn text(
    options: &Options,
    contestants: &[Contestant],
    figures: &[Figures],
    notes: &[String],
) -> Result<String> {
    let mut text = String::new();
    host(&mut text, options)?;
    for contestant in contestants.iter().filter(|contestant| !contestant.version.is_empty()) {
        writeln!(text, "- {}: `{}`", contestant.name, contestant.version)?;
    }
    for note in notes {
        writeln!(text, "- {note}")?;
    }
    if options.seccomp.is_none() {
        writeln!(text, "- No run with seccomp: no profile was given (`--seccomp`).")?;
    }
    noise(&mut text, figures)?;
    let goals: Vec<Goal> = goals(contestants, figures);
    goal_table(&mut text, &goals)?;
    for measure in Measure::ALL {
        times(&mut text, measure, figures)?;
    }
    memory(&mut text, figures)?;
    sizes(&mut text, contestants)?;
    Ok(text)
}

fn host(text: &mut String, options: &Options) -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let information = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = information.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let processors = information.lines().filter(|line| line.starts_with("processor")).count();
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let (kernel, model) = (read("/proc/sys/kernel/osrelease"), field("model name"));
    let (rounds, warmup) = (options.rounds, options.warmup);
    writeln!(text, "- Linux {}, {processors} processors, {model}, load at the end {load}", kernel.trim())?;
    writeln!(text, "- {rounds} rounds in random order after {warmup} that were not measured")?;
    Ok(())
}

fn noise(text: &mut String, figures: &[Figures]) -> Result<()> {
    let runs =
        figures.iter().filter_map(|figure| figure.of(Measure::Run).map(|run| (&figure.name, run.noise())));
    let each: Vec<String> = runs.clone().map(|(name, noise)| format!("{name} {noise:.2}")).collect();
    let worst = runs.map(|(_, noise)| noise).fold(0.0, f64::max);
    let verdict =
        if worst > NOISY { "the machine was busy: measure again before trusting it" } else { "quiet" };
    writeln!(text, "- Noise (90th over 10th percentile of `run`): {}: {verdict}", each.join(", "))?;
    Ok(())
}

struct Goal {
    what: &'static str,
    limit: f64,
    unit: &'static str,
    /// NaN where it was not measured.
    reached: f64,
}

fn goals(contestants: &[Contestant], figures: &[Figures]) -> Vec<Goal> {
    let of = |name: &str| figures.iter().find(|figure| figure.name == name);
    let median = |name: &str, measure| {
        of(name).and_then(|figure| figure.of(measure)).map_or(f64::NAN, |sample| sample.median())
    };
    let peak = |name: &str| of(name).map_or(f64::NAN, |figure| figure.peak.median());
    let over = |measure, rival| median(OURS, measure) / median(rival, measure);
    let ours = contestants.iter().find(|contestant| contestant.name == OURS);
    let size = ours.map_or(f64::NAN, |ours| mebibytes(ours.size));
    let goal = |what, limit, unit, reached| Goal { what, limit, unit, reached };
    vec![
        goal("run, beside crun", 0.5, "×", over(Measure::Run, "crun")),
        goal("run, beside the floor", 1.3, "×", over(Measure::Run, FLOOR)),
        goal("create + start + wait + delete, beside crun", 0.5, "×", over(Measure::Cycle, "crun")),
        goal("run with a seccomp profile, beside crun", 0.5, "×", over(Measure::RunSeccomp, "crun")),
        goal("exec, beside crun", 0.5, "×", over(Measure::Exec, "crun")),
        goal("exec with a seccomp profile, beside crun", 0.5, "×", over(Measure::ExecSeccomp, "crun")),
        goal("peak memory", 4.0, "MiB", peak(OURS) / 1024.0),
        goal("peak memory, beside crun", 0.5, "×", peak(OURS) / peak("crun")),
        goal("--version", 1.0, "ms", median(OURS, Measure::Version)),
        goal("size of the binary", 3.0, "MiB", size),
    ]
}

fn goal_table(text: &mut String, goals: &[Goal]) -> Result<()> {
    writeln!(text, "\n### Goals\n\n| goal | at most | measured | reached |\n|---|--:|--:|---|")?;
    for Goal { what, limit, unit, reached } in goals {
        if reached.is_nan() {
            writeln!(text, "| {what} | {limit} {unit} | – | not measured |")?;
        } else {
            let verdict = if reached <= limit { "yes" } else { "no" };
            writeln!(text, "| {what} | {limit} {unit} | {reached:.2} {unit} | {verdict} |")?;
        }
    }
    Ok(())
}

fn times(text: &mut String, measure: Measure, figures: &[Figures]) -> Result<()> {
    let taken: Vec<_> = figures.iter().filter_map(|figure| Some((figure, figure.of(measure)?))).collect();
    if taken.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n### {} (ms)\n", measure.title())?;
    writeln!(
        text,
        "| | median | p10 | p90 | × crun | × runc | × floor | runs |\n|---|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for (figure, sample) in taken {
        let (median, low, high) = (sample.median(), sample.percentile(10), sample.percentile(90));
        write!(text, "| {} | {median:.2} | {low:.2} | {high:.2} |", figure.name)?;
        for rival in RIVALS {
            let other = figures.iter().find(|other| other.name == rival).and_then(|other| other.of(measure));
            match other {
                Some(other) => write!(text, " {:.2} |", median / other.median())?,
                None => write!(text, " – |")?,
            }
        }
        writeln!(text, " {} |", sample.len())?;
    }
    Ok(())
}

fn memory(text: &mut String, figures: &[Figures]) -> Result<()> {
    writeln!(text, "\n### Peak memory of run (MiB)\n\n| | median | × crun |\n|---|--:|--:|")?;
    let crun = figures.iter().find(|figure| figure.name == "crun").map(|crun| crun.peak.median());
    for figure in figures {
        let peak = figure.peak.median();
        let ratio = crun.map_or("–".to_owned(), |crun| format!("{:.2}", peak / crun));
        writeln!(text, "| {} | {:.2} | {ratio} |", figure.name, peak / 1024.0)?;
    }
    Ok(())
}

fn sizes(text: &mut String, contestants: &[Contestant]) -> Result<()> {
    writeln!(text, "\n### Size of the binary (MiB)\n\n| | size |\n|---|--:|")?;
    for contestant in contestants {
        writeln!(text, "| {} | {:.2} |", contestant.name, mebibytes(contestant.size))?;
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    // Whole KiB keep the number within what converts without loss.
    u32::try_from(bytes / 1024).map_or(f64::NAN, |kib| f64::from(kib) / 1024.0)
}

/// An error unless the document has both markers: better before the measuring than after it.
pub fn check_markers(path: &Path) -> Result<()> {
    replace(path, "").map(drop)
}

/// Puts the report between the markers of the document.
pub fn write(path: &Path, report: &str) -> Result<()> {
    let document = replace(path, report)?;
    fs::write(path, document).with_context(|| format!("write {}", path.display()))
}

fn replace(path: &Path, report: &str) -> Result<String> {
    let document = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    match between(&document, report) {
        Some(document) => Ok(document),
        None => bail!("{} lacks the lines {} and {}", path.display(), BEGIN.trim(), END.trim()),
    }
}

fn between(document: &str, report: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{report}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_replaces_the_one_before() {
        let document = "# Title\n<!-- figures -->\nold\n<!-- /figures -->\nend\n";
        let once = between(document, "new\n").unwrap();
        assert_eq!(once, "# Title\n<!-- figures -->\n\nnew\n\n<!-- /figures -->\nend\n");
        assert_eq!(between(&once, "new\n").unwrap(), once);
        assert_eq!(between("# Title\n", "new\n"), None);
    }

    #[test]
    fn a_goal_that_was_not_measured_is_not_reached() {
        let goal = |reached| Goal { what: "run", limit: 0.5, unit: "×", reached };
        let mut text = String::new();
        goal_table(&mut text, &[goal(0.4), goal(0.6), goal(f64::NAN)]).unwrap();
        let rows: Vec<&str> = text.lines().skip(5).collect();
        assert_eq!(
            rows,
            [
                "| run | 0.5 × | 0.40 × | yes |",
                "| run | 0.5 × | 0.60 × | no |",
                "| run | 0.5 × | – | not measured |"
            ]
        );
    }
}
