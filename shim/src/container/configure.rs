//! `Config` of a container: what the user says, and where he says nothing, the image (as Docker merges them). Pure.

use crate::bundle::options::Limits;
use crate::container::config::Config;
use crate::container::host_config::HostConfig;
use crate::error::{Error, Result};
use crate::image::config::{Execution, Healthcheck};

/// Adds to what the flags say what the image says.
pub fn merge(config: &mut Config, image: &Execution) {
    if config.user.is_empty() {
        config.user = image.user.clone().unwrap_or_default();
    }
    for (port, empty) in image.exposed_ports.iter().flatten() {
        config.exposed_ports.entry(port.clone()).or_insert(*empty);
    }
    let named: Vec<String> = config.env.iter().map(|variable| name(variable).to_owned()).collect();
    let of_image = image.env.iter().flatten();
    config
        .env
        .extend(of_image.filter(|variable| !named.iter().any(|known| known == name(variable))).cloned());
    for (label, value) in image.labels.iter().flatten() {
        config.labels.entry(label.clone()).or_insert_with(|| value.clone());
    }
    if config.entrypoint.is_none() {
        if config.cmd.is_none() {
            config.cmd.clone_from(&image.cmd);
        }
        config.entrypoint.clone_from(&image.entrypoint);
    }
    // `--entrypoint ""` takes the image's away.
    config.entrypoint = config.entrypoint.take().filter(|words| words.iter().any(|word| !word.is_empty()));
    if config.working_dir.is_empty() {
        config.working_dir = image.working_dir.clone().unwrap_or_default();
    }
    if let Some(volumes) = &image.volumes {
        config.volumes.get_or_insert_default().extend(volumes.clone());
    }
    config.healthcheck = healthcheck(config.healthcheck.take(), image.healthcheck.as_ref());
    config.stop_signal = config.stop_signal.take().or_else(|| image.stop_signal.clone());
    config.stop_timeout = config.stop_timeout.or(image.stop_timeout);
    config.shell = config.shell.take().or_else(|| image.shell.clone());
    config.on_build.clone_from(&image.on_build);
}

fn name(variable: &str) -> &str {
    variable.split('=').next().unwrap_or(variable)
}

/// What the user does not say of a health check is the image's.
fn healthcheck(own: Option<Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (mut own, image) = match (own, image) {
        (Some(own), Some(image)) => (own, image),
        (own, image) => return own.or_else(|| image.cloned()),
    };
    if own.test.as_ref().is_none_or(Vec::is_empty) {
        own.test.clone_from(&image.test);
    }
    for (own, image) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ] {
        if *own == 0 {
            *own = image;
        }
    }
    Some(own)
}

/// Writes into `HostConfig` which limits are in force.
pub fn tell_limits(host_config: &mut HostConfig, limits: &Limits) {
    let number = |limit: Option<i64>| limit.unwrap_or_default();
    host_config.memory = number(limits.memory);
    host_config.memory_reservation = number(limits.memory_reservation);
    // As much swap as memory, where nobody says (`bundle::resources`).
    let swap = limits.memory_swap.filter(|swap| *swap != 0);
    host_config.memory_swap = swap.unwrap_or(host_config.memory.saturating_mul(2));
    host_config.nano_cpus = number(limits.nano_cpus);
    host_config.cpu_shares =
        limits.cpu_shares.and_then(|shares| i64::try_from(shares).ok()).unwrap_or_default();
    host_config.cpu_period = number(limits.cpu_period);
    host_config.cpu_quota = number(limits.cpu_quota);
    host_config.cpuset_cpus = limits.cpuset_cpus.clone().unwrap_or_default();
    host_config.cpuset_mems = limits.cpuset_mems.clone().unwrap_or_default();
    host_config.pids_limit = limits.pids.filter(|limit| *limit != 0);
    host_config.blkio_weight = limits.blkio_weight.unwrap_or_default();
    // Their paths are the user's, as the flags have them; whether they are in force is told here.
    for (told, is_empty) in [
        (&mut host_config.blkio_weight_device, limits.blkio_weight_device.is_empty()),
        (&mut host_config.blkio_device_read_bps, limits.read_bps.is_empty()),
        (&mut host_config.blkio_device_write_bps, limits.write_bps.is_empty()),
        (&mut host_config.blkio_device_read_iops, limits.read_iops.is_empty()),
        (&mut host_config.blkio_device_write_iops, limits.write_iops.is_empty()),
    ] {
        if is_empty {
            told.clear();
        }
    }
}

/// Least time of a health check, in nanoseconds: a millisecond.
const HEALTH_MIN: i64 = 1_000_000;

/// Refuses a health check that cannot be, in an image or by flags.
///
/// # Errors
/// Docker's words.
pub fn check_health(check: &Healthcheck) -> Result<()> {
    for (what, value) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if value != 0 && value < HEALTH_MIN {
            return Err(Error::usage(format!("{what} in Healthcheck cannot be less than one millisecond")));
        }
    }
    if check.retries < 0 {
        return Err(Error::usage("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::config::Empty;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn the_image_says_what_the_user_does_not() {
        let image = Execution {
            user: Some("7".into()),
            env: words(&["A=1", "B=2"]),
            entrypoint: words(&["/entry"]),
            cmd: words(&["serve"]),
            working_dir: Some("/srv".into()),
            labels: Some([("a".to_owned(), "image".to_owned()), ("b".to_owned(), "image".to_owned())].into()),
            stop_signal: Some("SIGINT".into()),
            exposed_ports: Some([("80/tcp".to_owned(), Empty {})].into()),
            ..Execution::default()
        };
        let mut config = Config {
            env: vec!["B=own".into(), "C=3".into()],
            labels: [("a".to_owned(), "own".to_owned())].into(),
            ..Config::default()
        };
        merge(&mut config, &image);
        assert_eq!(config.env, ["B=own", "C=3", "A=1"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("7", "/srv"));
        assert_eq!((config.entrypoint, config.cmd), (words(&["/entry"]), words(&["serve"])));
        assert_eq!(config.labels.values().collect::<Vec<_>>(), ["own", "image"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
        assert!(config.exposed_ports.contains_key("80/tcp"));

        let mut config = Config { cmd: words(&["x"]), ..Config::default() };
        merge(&mut config, &image);
        assert_eq!((config.entrypoint, config.cmd), (words(&["/entry"]), words(&["x"])));
        let mut config = Config { entrypoint: words(&[""]), ..Config::default() };
        merge(&mut config, &image);
        assert_eq!((config.entrypoint, config.cmd), (None, None));
    }

    #[test]
    fn a_health_check_is_the_images_but_for_what_the_user_says() {
        let image =
            Healthcheck { test: words(&["CMD", "x"]), interval: 5, retries: 2, ..Healthcheck::default() };
        let own = Healthcheck { interval: 9, ..Healthcheck::default() };
        let merged = healthcheck(Some(own), Some(&image)).unwrap();
        assert_eq!((merged.test, merged.interval, merged.retries), (words(&["CMD", "x"]), 9, 2));
        assert_eq!(healthcheck(None, Some(&image)).unwrap(), image);
        let none = Healthcheck { test: words(&["NONE"]), ..Healthcheck::default() };
        assert_eq!(healthcheck(Some(none), Some(&image)).unwrap().test, words(&["NONE"]));
        let short = Healthcheck { timeout: 1, ..Healthcheck::default() };
        assert!(check_health(&short).unwrap_err().to_string().starts_with("Timeout in Healthcheck"));
        assert!(check_health(&Healthcheck { retries: -1, ..Healthcheck::default() }).is_err());
        assert!(check_health(&Healthcheck::default()).is_ok());
    }
}
