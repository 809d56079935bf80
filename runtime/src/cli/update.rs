//! The flags of `update`: one for each limit that runc lets one change, in runc's words and units.

use std::str::FromStr;

use super::Update;
use super::flags::{Flag, Given, value};
use super::grammar::path;
use crate::spec::{BlockIo, Cpu, IntelRdt, Memory, Pids, Resources};

/// Flags of cgroup v1 that callers still send.
const OBSOLETE: [&str; 2] = ["kernel-memory", "kernel-memory-tcp"];

/// The flags.
pub(super) const FLAGS: &[Flag] = &[
    value(
        "resources",
        "FILE",
        "take the limits from a file in the form of config.json's linux.resources, `-` for standard input, and not from flags",
    )
    .short('r'),
    value("blkio-weight", "WEIGHT", "weight of block I/O, 10 to 1000"),
    value("cpu-period", "MICROSECONDS", "period that --cpu-quota is given in"),
    value("cpu-quota", "MICROSECONDS", "processor time in a period, -1 for no limit"),
    value("cpu-burst", "MICROSECONDS", "processor time that may be saved up"),
    value("cpu-share", "SHARES", "weight of processor time, 2 to 262144 (normally 1024)"),
    value("cpu-rt-period", "MICROSECONDS", "only cgroup v1 has it"),
    value("cpu-rt-runtime", "MICROSECONDS", "only cgroup v1 has it"),
    value("cpuset-cpus", "LIST", "processors that may be used, such as 0-3,7"),
    value("cpuset-mems", "LIST", "memory nodes that may be used"),
    value("cpu-idle", "0|1", "1 gives only the time that nobody else wants"),
    value("memory", "BYTES", "limit of memory, also as 100k, 64m, 1g; -1 for no limit"),
    value("memory-reservation", "BYTES", "memory that is not taken away under pressure"),
    value("memory-swap", "BYTES", "limit of memory and swap together, -1 for no limit of swap"),
    value("pids-limit", "NUMBER", "limit of the number of tasks, -1 for no limit"),
    value("l3-cache-schema", "SCHEMA", "Intel RDT: schema of the L3 cache"),
    value("mem-bw-schema", "SCHEMA", "Intel RDT: schema of memory bandwidth"),
    value(OBSOLETE[0], "BYTES", "").hidden(),
    value(OBSOLETE[1], "BYTES", "").hidden(),
];

/// Reads the flags. As in runc, an empty value is the same as no flag.
pub(super) fn read(given: &mut Given) -> Result<Update, String> {
    let cpu = Cpu {
        shares: number(given, "cpu-share")?,
        quota: number(given, "cpu-quota")?,
        burst: number(given, "cpu-burst")?,
        period: number(given, "cpu-period")?,
        realtime_runtime: number(given, "cpu-rt-runtime")?,
        realtime_period: number(given, "cpu-rt-period")?,
        cpus: word(given, "cpuset-cpus")?,
        mems: word(given, "cpuset-mems")?,
        idle: number(given, "cpu-idle")?,
    };
    let memory = Memory {
        limit: bytes(given, "memory")?,
        reservation: bytes(given, "memory-reservation")?,
        swap: bytes(given, "memory-swap")?,
        ..Memory::default()
    };
    let weight = number(given, "blkio-weight")?;
    let limit = number(given, "pids-limit")?;
    Ok(Update {
        id: given.text(0)?,
        file: path(given, "resources"),
        resources: Resources {
            cpu: (cpu != Cpu::default()).then_some(cpu),
            memory: (memory != Memory::default()).then_some(memory),
            pids: limit.is_some().then_some(Pids { limit }),
            block_io: weight.is_some().then(|| BlockIo { weight, ..BlockIo::default() }),
            ..Resources::default()
        },
        intel_rdt: IntelRdt {
            l3_cache_schema: word(given, "l3-cache-schema")?,
            mem_bw_schema: word(given, "mem-bw-schema")?,
            ..IntelRdt::default()
        },
        obsolete: OBSOLETE.into_iter().filter(|name| given.value(name).is_some()).collect(),
    })
}

fn word(given: &mut Given, name: &str) -> Result<String, String> {
    let value = given.value(name).unwrap_or_default();
    value.into_string().map_err(|_| "an argument is not UTF-8".to_owned())
}

fn number<T: FromStr>(given: &mut Given, name: &str) -> Result<Option<T>, String> {
    let given = word(given, name)?;
    if given.is_empty() {
        return Ok(None);
    }
    given
        .parse()
        .map(Some)
        .map_err(|_| format!("invalid value for {name}: {given:?} is no number it can have"))
}

fn bytes(given: &mut Given, name: &str) -> Result<Option<i64>, String> {
    match word(given, name)?.as_str() {
        "" => Ok(None),
        "-1" => Ok(Some(-1)),
        given => match size(given) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(format!("invalid value for {name}: {given:?} is no size such as 64m, nor -1")),
        },
    }
}

/// A size as Docker's go-units reads it: a number, then nothing, `b`, or one of `kmgtp`, which may be followed
/// by `b` or `ib`, in any case, after a blank or not. All are powers of 1024.
fn size(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').filter(|unit| !unit.is_empty()).unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        _ => {
            let power = "kmgtp".find(unit.chars().next()?)? + 1;
            if !matches!(&unit[1..], "" | "b" | "ib") {
                return None;
            }
            power
        }
    };
    let size = 1024_u128.pow(u32::try_from(power).ok()?);
    i64::try_from(scaled(number, size)?).ok()
}

/// A decimal number times `unit`, rounded down; `None` for what is no such number.
pub(super) fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()?.checked_mul(unit)? };
    // Further digits are worth less than one of the smallest part.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<u128>().ok()? * unit / 10_u128.pow(u32::try_from(digits.len()).ok()?),
    };
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_go_units_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32Kib", 32 << 10),
            ("32MB", 32 << 20),
            ("32 mb", 32 << 20),
            ("1.5g", 3 << 29),
            (".5k", 512),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in
            ["", " ", "k", "-1", "-2k", "32q", "32kk", "32bb", "32  k", "32ki", "1.2.3", "8192p", "32 ", "é"]
        {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
