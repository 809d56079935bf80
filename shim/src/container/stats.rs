//! What a container uses at this moment: the files of its cgroup (Documentation/admin-guide/cgroup-v2.rst) and the interfaces
//! of its network (proc_pid_net(5)). Computed as Docker does on cgroup v2; pure but for [`Sample::take`].

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::container::process::ProcessId;
use crate::container::record::Container;
use crate::container::state::State;
use crate::monitor::oom::folder_of;

/// What was counted until one moment. What the kernel does not count here is zero, as in Docker.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    at: Instant,
    /// Of processors, in microseconds.
    cpu: u64,
    /// Without what is in the page cache and was not used lately, in bytes.
    pub memory: u64,
    /// How much it may have at most, in bytes.
    pub memory_limit: u64,
    /// Bytes received and sent.
    pub network: (u64, u64),
    /// Bytes read and written.
    pub block: (u64, u64),
    /// Processes and threads.
    pub pids: u64,
}

impl Sample {
    fn of_nothing() -> Sample {
        let (network, block) = ((0, 0), (0, 0));
        Sample { at: Instant::now(), cpu: 0, memory: 0, memory_limit: 0, network, block, pids: 0 }
    }

    /// Counts a container's; nothing of one that does not run.
    #[must_use]
    pub fn take(container: &Container, state: &State) -> Sample {
        let mut sample = Sample::of_nothing();
        let Some(process) = state.process.filter(|_| state.status.has_process()) else { return sample };
        if let Some(folder) = state.cgroup.as_deref().and_then(folder_of) {
            sample.read_cgroup(&folder);
        }
        // The host's own is nobody's figure.
        if container.host_config.network_mode != "host" {
            sample.network = network(process);
        }
        sample
    }

    fn read_cgroup(&mut self, folder: &Path) {
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        self.cpu = field(&text("cpu.stat"), "usage_usec").unwrap_or_default();
        if let Ok(current) = text("memory.current").trim().parse::<u64>() {
            let cache = field(&text("memory.stat"), "inactive_file").unwrap_or_default();
            self.memory = if cache < current { current - cache } else { current };
            let host = memory_of_host();
            // Without a limit: all that there is.
            self.memory_limit = text("memory.max").trim().parse().map_or(host, |limit: u64| limit.min(host));
        }
        self.block = block(&text("io.stat"));
        self.pids = text("pids.current").trim().parse().unwrap_or_default();
    }

    /// How much of one processor was used since an earlier moment, in percent.
    #[must_use]
    pub fn cpu_since(&self, earlier: &Sample) -> f64 {
        let elapsed = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        // After a restart its cgroup is another, which counts from the beginning.
        let used = self.cpu.saturating_sub(earlier.cpu);
        #[allow(clippy::cast_precision_loss)] // two digits are shown
        let used = used as f64 / 1_000_000.0;
        if elapsed > 0.0 { used / elapsed * 100.0 } else { 0.0 }
    }

    /// How much of the memory that it may have is used, in percent.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // two digits are shown
    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0 { 0.0 } else { self.memory as f64 / self.memory_limit as f64 * 100.0 }
    }
}

/// All that the host has, in bytes (sysinfo(2)).
fn memory_of_host() -> u64 {
    let info = rustix::system::sysinfo();
    // The kernel's long is this wide here.
    #[allow(clippy::useless_conversion)]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}

/// A number behind its name.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

/// `8:0 rbytes=1 wbytes=2 …`, a device a line.
fn block(text: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let words =
            text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        words.filter_map(|value| value.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    (sum("rbytes"), sum("wbytes"))
}

/// Of all interfaces of a process's network but the loopback.
fn network(process: ProcessId) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{}/net/dev", process.pid)).unwrap_or_default();
    // Alive after it was read: so it was of this process and no later one.
    if process.is_alive() { interfaces(&text) } else { (0, 0) }
}

/// `  eth0: received 7 more sent …`, behind two lines of titles.
fn interfaces(text: &str) -> (u64, u64) {
    let (mut received, mut sent) = (0_u64, 0_u64);
    for (name, rest) in text.lines().skip(2).filter_map(|line| line.split_once(':')) {
        if name.trim() != "lo" {
            let number = |at: usize| rest.split_ascii_whitespace().nth(at)?.parse::<u64>().ok();
            received = received.saturating_add(number(0).unwrap_or_default());
            sent = sent.saturating_add(number(8).unwrap_or_default());
        }
    }
    (received, sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::time::Duration;

    #[test]
    fn figures_are_the_kernels_as_docker_reads_them() {
        let scratch = Scratch::new();
        let write = |name: &str, text: &str| fs::write(scratch.join(name), text).unwrap();
        let none = Sample::of_nothing();
        let read = |at: Instant| {
            let mut sample = Sample { at, ..none };
            sample.read_cgroup(scratch.path());
            sample
        };
        let empty = read(none.at);
        assert_eq!((empty.memory, empty.memory_limit, empty.pids, empty.block), (0, 0, 0, (0, 0)));
        assert!(empty.memory_percent().abs() < f64::EPSILON && empty.cpu_since(&empty).abs() < f64::EPSILON);
        write("cpu.stat", "usage_usec 1000000\nuser_usec 7\n");
        write("memory.current", "10485760\n");
        write("memory.stat", "anon 1\ninactive_file 5242880\nactive_file 9\n");
        write("memory.max", "20971520\n");
        write("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=0 dbytes=7\n");
        write("pids.current", "4\n");
        let first = read(none.at);
        assert_eq!((first.memory, first.memory_limit), (5 << 20, 20 << 20));
        assert!((first.memory_percent() - 25.0).abs() < 1e-9);
        assert_eq!((first.block, first.pids), ((15, 20), 4));
        write("cpu.stat", "usage_usec 2500000\n");
        write("memory.max", "max\n");
        let second = read(none.at + Duration::from_secs(1));
        assert!((second.cpu_since(&first) - 150.0).abs() < 1e-9);
        assert_eq!(second.memory_limit, memory_of_host());
        assert!(first.cpu_since(&second).abs() < f64::EPSILON, "nothing is negative");
    }

    #[test]
    fn the_loopback_is_no_traffic() {
        let text = "Inter-|   Receive                  |  Transmit\n face |bytes packets\n    lo: 99 1 0 0 0 0 0 0 99 1\n  \
            eth0: 100 1 0 0 0 0 0 0 200 2 0\n eth1:1 1 0 0 0 0 0 0 2 2\n";
        assert_eq!(interfaces(text), (101, 202));
        assert_eq!(interfaces(""), (0, 0));
    }
}
