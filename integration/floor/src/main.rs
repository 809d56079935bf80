//! The floor of a container's run: the kernel calls that `run` of `runc spec`'s configuration demands, and
//! nothing else. What a runtime takes above it is its own work: start-up, configuration, state, safety.
//!
//! `floor CGROUP_PARENT ROOTFS PROGRAM…` runs the program and ends with its status (111 where a step failed).
//! `floor --timings N CGROUP_PARENT ROOTFS PROGRAM…` runs it N times and prints what each step took.

use std::ffi::{CStr, CString, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use container::run;
use marks::Marks;

mod container;
mod kernel;
mod marks;

const USAGE: &str = "usage: floor [--timings N] CGROUP_PARENT ROOTFS PROGRAM [ARGUMENT…]";

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let runs = match arguments.first() {
        Some(first) if first == "--timings" && arguments.len() > 1 => {
            let number =
                arguments.drain(..2).nth(1).and_then(|number| number.to_str()?.parse::<usize>().ok());
            number.filter(|number| *number > 0)
        }
        _ => Some(0),
    };
    let strings: Result<Vec<CString>, _> =
        arguments.into_iter().map(|argument| CString::new(argument.into_vec())).collect();
    let done = match (runs, strings.as_deref()) {
        (Some(runs), Ok([parent, root, program @ ..])) if !program.is_empty() => {
            let program: Vec<&CStr> = program.iter().map(CString::as_c_str).collect();
            let cgroup = cgroup_in(parent);
            if runs == 0 {
                run(&cgroup, root, &program, &Marks::none())
            } else {
                timed(runs, &cgroup, root, &program)
            }
        }
        _ => {
            report(USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        Err((step, error)) => {
            report(&format!("floor: {step}: {error}"));
            ExitCode::from(111)
        }
    }
}

fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The folder of this run's cgroup: the process number makes it ours alone.
fn cgroup_in(parent: &CStr) -> CString {
    let mut path = parent.to_bytes().to_vec();
    path.extend_from_slice(format!("/floor-{}", std::process::id()).as_bytes());
    CString::new(path).unwrap_or_default()
}

/// Many runs; the median and the 90th percentile of each step, in µs.
fn timed(runs: usize, cgroup: &CStr, root: &CStr, program: &[&CStr]) -> Result<i32, container::Failure> {
    let marks = Marks::new().map_err(|error| ("mmap", error))?;
    let mut all: Vec<(&str, Vec<u64>)> = Vec::new();
    for _ in 0..runs {
        marks.set("start");
        let status = run(cgroup, root, program, &marks)?;
        if status != 0 {
            return Ok(status);
        }
        for (slot, (name, took)) in marks.take().into_iter().enumerate() {
            match all.get_mut(slot) {
                Some((_, times)) => times.push(took),
                None => all.push((name, vec![took])),
            }
        }
    }
    let mut text = format!("{:34}{:>9}{:>9}\n", "step", "µs", "p90");
    for (name, mut times) in all {
        times.sort_unstable();
        let [median, high] = [times[times.len() / 2], times[times.len() * 9 / 10]].map(tenths);
        text += &format!("{name:34}{median:>9}{high:>9}\n");
    }
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| ("write", error))?;
    Ok(0)
}

/// Nanoseconds as microseconds with one digit behind the point.
fn tenths(nanoseconds: u64) -> String {
    let tenths = (nanoseconds + 50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_rounded_to_one_digit() {
        assert_eq!(tenths(1_949), "1.9");
        assert_eq!(tenths(1_950), "2.0");
        assert_eq!(tenths(49), "0.0");
    }
}
