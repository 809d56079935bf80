//! io.

use super::{CgroupPlan, Otherwise, only_v1, wrong};
use crate::error::Result;
use crate::spec::{BlockIo, ThrottleDevice};

pub fn plan(plan: &mut CgroupPlan, block: &BlockIo) -> Result<()> {
    if block.leaf_weight.is_some_and(|weight| weight != 0) {
        return Err(only_v1("linux.resources.blockIO.leafWeight"));
    }
    if let Some(value) = block.weight.filter(|weight| *weight != 0) {
        weight(plan, "", value, "linux.resources.blockIO.weight".to_owned())?;
    }
    for (position, device) in block.weight_device.iter().enumerate() {
        let field = format!("linux.resources.blockIO.weightDevice[{position}]");
        if device.leaf_weight.is_some_and(|weight| weight != 0) {
            return Err(only_v1(&format!("{field}.leafWeight")));
        }
        let number = number(device.major, device.minor, &field)?;
        if let Some(value) = device.weight.filter(|weight| *weight != 0) {
            weight(plan, &format!("{number} "), value, format!("{field}.weight"))?;
        }
    }
    throttle(plan, block)
}

/// The weight of all devices (`device` is empty) or of one. BFQ takes the weight as it is.
fn weight(plan: &mut CgroupPlan, device: &str, weight: u16, field: String) -> Result<()> {
    if !(10..=1000).contains(&weight) {
        return Err(wrong(&field, format_args!("{weight} is not between 10 and 1000")));
    }
    let other = format!("{device}{}", io_weight(weight));
    let otherwise = Otherwise::Write { file: "io.weight".into(), value: other };
    plan.write_or("io", "io.bfq.weight", format!("{device}{weight}"), field, otherwise);
    Ok(())
}

/// blkio's weight (10 to 1000) on io.weight's scale (1 to 10000).
pub fn io_weight(weight: u16) -> u32 {
    1 + u32::from(weight.saturating_sub(10)) * 9999 / 990
}

/// One line of io.max for each device, all its rates together.
fn throttle(plan: &mut CgroupPlan, block: &BlockIo) -> Result<()> {
    let lists: [(&[ThrottleDevice], &str, &str); 4] = [
        (&block.throttle_read_bps_device, "throttleReadBpsDevice", "rbps"),
        (&block.throttle_write_bps_device, "throttleWriteBpsDevice", "wbps"),
        (&block.throttle_read_iops_device, "throttleReadIOPSDevice", "riops"),
        (&block.throttle_write_iops_device, "throttleWriteIOPSDevice", "wiops"),
    ];
    let mut lines: Vec<(String, String, String)> = Vec::new(); // device, first field, rates
    for (list, name, key) in lists {
        for (position, device) in list.iter().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{position}]");
            let number = number(device.major, device.minor, &field)?;
            // cgroup v1 lifts a limit by 0, which cgroup v2 refuses.
            let rate = if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
            let rate = format!(" {key}={rate}");
            match lines.iter_mut().find(|(device, ..)| *device == number) {
                Some((_, _, rates)) => rates.push_str(&rate),
                None => lines.push((number, field, rate)),
            }
        }
    }
    for (device, field, rates) in lines {
        plan.write("io", "io.max", device + &rates, field);
    }
    Ok(())
}

/// `major:minor`.
fn number(major: i64, minor: i64, field: &str) -> Result<String> {
    for (name, value, max) in [("major", major, 0xfff), ("minor", minor, 0xf_ffff)] {
        if !(0..=max).contains(&value) {
            return Err(wrong(
                &format!("{field}.{name}"),
                format_args!("{value} is not between 0 and {max}"),
            ));
        }
    }
    Ok(format!("{major}:{minor}"))
}
