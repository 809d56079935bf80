//! What is asked for: `--device VENDOR/CLASS=NAME` and `--gpus`, as Docker reads and records them. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// `HostConfig.DeviceRequests`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceRequest {
    /// `cdi`, `nvidia`, or nothing.
    pub driver: String,
    /// How many; -1 is all.
    pub count: i64,
    /// Which.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// `gpu`, …
    pub capabilities: Option<Vec<Vec<String>>>,
    /// The driver's.
    pub options: Option<BTreeMap<String, String>>,
}

/// Docker's driver of devices by their names.
const CDI: &str = "cdi";
/// Whose devices `--gpus` means.
const GPU: &str = "nvidia.com/gpu";

/// Devices by their names.
#[must_use]
pub fn by_name(names: Vec<String>) -> DeviceRequest {
    DeviceRequest { driver: CDI.to_owned(), device_ids: Some(names), ..DeviceRequest::default() }
}

/// Reads `--gpus`: `all`, a number, or fields.
///
/// # Errors
/// Docker's words.
pub fn gpus(text: &str) -> Result<DeviceRequest> {
    let wrong =
        |reason: String| Error::usage(format!("invalid argument {text:?} for \"--gpus\" flag: {reason}"));
    let fields = crate::bundle::syntax::mount::fields(text)
        .ok_or_else(|| wrong("a quote is not closed".to_owned()))?;
    let mut request = DeviceRequest::default();
    let (mut seen, mut capabilities) = (Vec::new(), vec!["gpu".to_owned()]);
    for field in &fields {
        let (key, value) = field.split_once('=').unwrap_or(("count", field));
        if seen.contains(&key) {
            return Err(wrong(format!("gpu request key '{key}' can be specified only once")));
        }
        seen.push(key);
        match key {
            "count" if value == "all" => request.count = -1,
            "count" => {
                let invalid =
                    |_| wrong(format!("invalid count ({value}): value must be either \"all\" or an integer"));
                request.count = value.parse().map_err(invalid)?;
            }
            "device" => request.device_ids = Some(value.split(',').map(str::to_owned).collect()),
            "driver" => value.clone_into(&mut request.driver),
            "capabilities" => {
                let more = value.split(',').map(str::to_owned).filter(|name| name != "gpu");
                capabilities = more.chain(["gpu".to_owned()]).collect();
            }
            "options" => {
                let pair = |text: &str| {
                    let (key, value) = text.split_once('=').unwrap_or((text, ""));
                    (key.to_owned(), value.to_owned())
                };
                request.options = Some(value.split(',').map(pair).collect());
            }
            _ => return Err(wrong(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if request.count == 0 && request.device_ids.is_none() {
        request.count = 1;
    }
    if request.count != 0 && request.device_ids.is_some() {
        return Err(wrong("cannot set both Count and DeviceIDs on device request".to_owned()));
    }
    request.capabilities = Some(vec![capabilities]);
    request.options.get_or_insert_default();
    Ok(request)
}

impl DeviceRequest {
    /// The names of the devices that it means.
    ///
    /// # Errors
    /// A driver that there is not, in Docker's words.
    pub fn names(&self) -> Result<Vec<String>> {
        let ids = self.device_ids.clone().unwrap_or_default();
        match self.driver.as_str() {
            CDI => return Ok(ids),
            "" | "nvidia" => {}
            _ => return Err(self.no_driver()),
        }
        let of_gpu = |device: String| format!("{GPU}={device}");
        Ok(match self.count {
            0 => ids.into_iter().map(of_gpu).collect(),
            ..0 => vec![of_gpu("all".to_owned())],
            count => (0..count).map(|number| of_gpu(number.to_string())).collect(),
        })
    }

    /// Docker's error of who has no driver for it.
    #[must_use]
    pub fn no_driver(&self) -> Error {
        let lists = self.capabilities.iter().flatten().map(|list| format!("[{}]", list.join(" ")));
        let capabilities = lists.collect::<Vec<_>>().join(" ");
        let driver = &self.driver;
        Error::not_found(format!(
            "could not select device driver {driver:?} with capabilities: [{capabilities}]"
        ))
    }

    /// Is it for devices by their names?
    #[must_use]
    pub fn is_by_name(&self) -> bool {
        self.driver == CDI
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_read_as_docker_reads_them() {
        let names = |text: &str| gpus(text).unwrap().names().unwrap().join(" ");
        assert_eq!(names("all"), "nvidia.com/gpu=all");
        assert_eq!(names("2"), "nvidia.com/gpu=0 nvidia.com/gpu=1");
        assert_eq!(names("driver=nvidia"), "nvidia.com/gpu=0");
        assert_eq!(names("\"device=0,GPU-7\",capabilities=utility"), "nvidia.com/gpu=0 nvidia.com/gpu=GPU-7");
        let json = serde_json::to_string(&gpus("all").unwrap()).unwrap();
        assert_eq!(
            json,
            "{\"Driver\":\"\",\"Count\":-1,\"DeviceIDs\":null,\"Capabilities\":[[\"gpu\"]],\"Options\":{}}"
        );
        let told = gpus("driver=amd").unwrap().names().unwrap_err().to_string();
        assert_eq!(told, "could not select device driver \"amd\" with capabilities: [[gpu]]");
        for (text, reason) in [
            ("some", "invalid count (some): value must be either \"all\" or an integer"),
            ("count=1,count=2", "gpu request key 'count' can be specified only once"),
            ("foo=1", "unexpected key 'foo' in 'foo=1'"),
            ("1,device=0", "cannot set both Count and DeviceIDs"),
            ("", "invalid count ()"),
        ] {
            assert!(gpus(text).unwrap_err().to_string().contains(reason), "{text}");
        }
    }
}
