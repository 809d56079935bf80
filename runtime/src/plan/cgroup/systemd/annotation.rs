//! `org.systemd.property.NAME` annotations: properties of the scope in GVariant's text form, as runc takes
//! them (runc, docs/systemd-properties.md).

use std::collections::BTreeMap;

use super::{Property, gvariant};
use crate::cgroup::dbus::Value;
use crate::error::{Error, Kind, Result};

const PREFIX: &str = "org.systemd.property.";
const SECOND_USEC: u64 = 1_000_000;

/// The properties that annotations ask for.
///
/// # Errors
/// Kind `Spec` with the annotation: a name that no property has, a value that is none.
pub fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let wrong = |why: &str| Error::new(Kind::Spec, format!("annotations[{key:?}]: {why}"));
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(wrong("the name of a property has letters only, and at least three"));
        }
        let value = gvariant::parse(text).map_err(|why| wrong(&format!("{text:?}: {why}")))?;
        properties.push(match seconds(name) {
            // systemd documents these in seconds and takes them in microseconds.
            Some(stem) => {
                let usec = microseconds(&value)
                    .ok_or_else(|| wrong(&format!("{text:?}: a time in seconds is a number from 0 on")))?;
                (format!("{stem}USec").into(), Value::U64(usec))
            }
            None => (name.to_owned().into(), value),
        });
    }
    Ok(properties)
}

/// What stands before `Sec` in `TimeoutStopSec`, but not in `TimeoutStopUSec`.
fn seconds(name: &str) -> Option<&str> {
    name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a float that is too large saturates
fn microseconds(value: &Value) -> Option<u64> {
    let seconds = match *value {
        Value::Byte(seconds) => u64::from(seconds),
        Value::I16(seconds) => u64::try_from(seconds).ok()?,
        Value::U16(seconds) => u64::from(seconds),
        Value::I32(seconds) => u64::try_from(seconds).ok()?,
        Value::U32(seconds) => u64::from(seconds),
        Value::I64(seconds) => u64::try_from(seconds).ok()?,
        Value::U64(seconds) => seconds,
        Value::Double(seconds) if seconds >= 0.0 => return Some((seconds * 1e6) as u64),
        _ => return None,
    };
    seconds.checked_mul(SECOND_USEC)
}
