//! `leaks snapshot FILE` before the tests, `leaks compare FILE` after them: what is there that was not.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            report(&format!("leaks: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [verb, file] = args.as_slice() else { bail!("usage: leaks snapshot|compare FILE") };
    let now = integration::leaks::snapshot();
    match verb.as_str() {
        "snapshot" => {
            let text: String = now.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(file, text).with_context(|| format!("write {file}"))?;
            Ok(ExitCode::SUCCESS)
        }
        "compare" => {
            let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
            let before: BTreeSet<String> = text.lines().map(str::to_owned).collect();
            let left: Vec<&String> = now.difference(&before).collect();
            left.iter().for_each(|line| report(&format!("left behind: {line}")));
            Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        other => bail!("unknown command {other:?}"),
    }
}

#[allow(clippy::print_stderr)] // this program's one way to speak
fn report(line: &str) {
    eprintln!("{line}");
}
