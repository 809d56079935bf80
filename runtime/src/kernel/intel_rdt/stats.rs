//! What resctrl tells of a container's class, in the shape that `events` prints: runc's.

use std::path::Path;

use serde::Serialize;

use crate::error::{Call, Context, Result};

/// Of one class; features that the hardware does not have are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema: String,
    /// One for each node, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mbm_stats: Vec<Bandwidth>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmt_stats: Vec<Cache>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct CacheInfo {
    cbm_mask: String,
    min_cbm_bits: u64,
    num_closids: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct BandwidthInfo {
    bandwidth_gran: u64,
    delay_linear: u64,
    min_bandwidth: u64,
    num_closids: u64,
}

/// Bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Bandwidth {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

/// Bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Cache {
    llc_occupancy: u64,
}

impl Stats {
    /// Of the class that `folders`, a container's own below `root`, belong to: the class itself, or its
    /// monitoring group in a class of others.
    ///
    /// # Errors
    /// Of reading.
    pub fn read(root: &Path, folders: &[String]) -> Result<Self> {
        Self::read_class(root, folders).context(|| "linux.intelRdt")
    }

    fn read_class(root: &Path, folders: &[String]) -> Result<Self> {
        let Some(first) = folders.first() else { return Ok(Self::default()) };
        // `web`, `gold/mon_groups/web`, or `mon_groups/web` in the default class, which is the root.
        let class = match first.split_once("mon_groups/") {
            Some((class, _)) => root.join(class.trim_end_matches('/')),
            None => root.join(first),
        };
        let mut stats = Self::default();
        if let Some(cache) = present(&root.join("info/L3")) {
            let number = |name: &str| number(&cache.join(name));
            let cbm_mask = text(&cache.join("cbm_mask"))?.trim().to_owned();
            let (min_cbm_bits, num_closids) = (number("min_cbm_bits")?, number("num_closids")?);
            stats.l3_cache_info = Some(CacheInfo { cbm_mask, min_cbm_bits, num_closids });
            stats.l3_cache_schema_root = schema(root, "L3:")?;
            stats.l3_cache_schema = schema(&class, "L3:")?;
        }
        if let Some(bandwidth) = present(&root.join("info/MB")) {
            let number = |name: &str| number(&bandwidth.join(name));
            stats.mem_bw_info = Some(BandwidthInfo {
                bandwidth_gran: number("bandwidth_gran")?,
                delay_linear: number("delay_linear")?,
                min_bandwidth: number("min_bandwidth")?,
                num_closids: number("num_closids")?,
            });
            stats.mem_bw_schema_root = schema(root, "MB:")?;
            stats.mem_bw_schema = schema(&class, "MB:")?;
        }
        // The last folder is the most precise: the monitoring group, where there is one.
        stats.monitor(&folders.last().map_or(class, |folder| root.join(folder)).join("mon_data"))?;
        Ok(stats)
    }

    /// Folders such as `mon_L3_00`, one for each node; which files are in them, the hardware says.
    fn monitor(&mut self, data: &Path) -> Result<()> {
        let Some(data) = present(data) else { return Ok(()) };
        let entries = std::fs::read_dir(data).call("open", || format!("{data:?}"))?;
        let mut nodes: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        nodes.sort();
        for node in nodes {
            let [total, local, occupancy] =
                ["mbm_total_bytes", "mbm_local_bytes", "llc_occupancy"].map(|name| node.join(name));
            if present(&total).is_some() && present(&local).is_some() {
                let (mbm_total_bytes, mbm_local_bytes) = (number(&total)?, number(&local)?);
                self.mbm_stats.push(Bandwidth { mbm_total_bytes, mbm_local_bytes });
            }
            if present(&occupancy).is_some() {
                self.cmt_stats.push(Cache { llc_occupancy: number(&occupancy)? });
            }
        }
        Ok(())
    }
}

fn present(path: &Path) -> Option<&Path> {
    path.exists().then_some(path)
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).call("read", || format!("{path:?}"))
}

/// 0 for what the hardware cannot tell now (`Unavailable`).
fn number(path: &Path) -> Result<u64> {
    Ok(text(path)?.trim().parse().unwrap_or(0))
}

/// The line of a resource in the schemata of a class.
fn schema(class: &Path, resource: &str) -> Result<String> {
    let text = text(&class.join("schemata"))?;
    let line = text.lines().map(str::trim).find(|line| line.starts_with(resource));
    Ok(line.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_and_its_monitoring_group_are_read() {
        let root = std::env::temp_dir().join(format!("caisson-rdt-stats-{}", std::process::id()));
        let put = |file: &str, text: &str| {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("schemata", "    MB:0=100;1=100\n    L3:0=ff;1=ff\n");
        put("gold/schemata", "    MB:0=20;1=20\n    L3:0=f;1=f\n");
        let read =
            |folder: &str| serde_json::to_value(Stats::read(&root, &[folder.to_owned()]).unwrap()).unwrap();
        assert_eq!(read("gold"), json!({}), "no feature");
        put("info/L3/cbm_mask", "ff\n");
        put("info/L3/min_cbm_bits", "1\n");
        put("info/L3/num_closids", "16\n");
        for name in ["bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"] {
            put(&format!("info/MB/{name}"), "10\n");
        }
        put("gold/mon_groups/web/mon_data/mon_L3_00/mbm_total_bytes", "3\n");
        put("gold/mon_groups/web/mon_data/mon_L3_00/mbm_local_bytes", "2\n");
        put("gold/mon_groups/web/mon_data/mon_L3_01/llc_occupancy", "Unavailable\n");
        let mut wanted = json!({
            "l3_cache_info": {"cbm_mask": "ff", "min_cbm_bits": 1, "num_closids": 16},
            "l3_cache_schema_root": "L3:0=ff;1=ff", "l3_cache_schema": "L3:0=f;1=f",
            "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 10, "min_bandwidth": 10, "num_closids": 10},
            "mem_bw_schema_root": "MB:0=100;1=100", "mem_bw_schema": "MB:0=20;1=20",
        });
        assert_eq!(read("gold"), wanted);
        wanted["mbm_stats"] = json!([{"mbm_total_bytes": 3, "mbm_local_bytes": 2}]);
        wanted["cmt_stats"] = json!([{"llc_occupancy": 0}]);
        assert_eq!(read("gold/mon_groups/web"), wanted);
        put("mon_groups/web/tasks", "");
        assert_eq!(read("mon_groups/web")["l3_cache_schema"], "L3:0=ff;1=ff");
        assert_eq!(Stats::read(&root, &[]).unwrap(), Stats::default());
        assert!(Stats::read(&root, &["gone".to_owned()]).is_err());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
