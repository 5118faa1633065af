//! What is known of the computer.

use super::record::Machine;
use crate::io::growing::system_text;

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let field = |text: &str, name: &str| {
            text.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                (found.trim() == name).then(|| value.trim().to_owned())
            })
        };
        Machine {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: field(&system_text("/proc/cpuinfo"), "model name"),
            threads: std::thread::available_parallelism().map_or(0, |n| n.get()),
            memory: kilobytes(field(&system_text("/proc/meminfo"), "MemTotal")),
        }
    }

    /// Bytes of memory that programs could still take, where the system tells.
    pub fn free_memory() -> Option<u64> {
        let text = system_text("/proc/meminfo");
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        kilobytes(line.map(|line| line.trim().to_owned()))
    }
}

fn kilobytes(value: Option<String>) -> Option<u64> {
    let number = value?.strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    number.checked_mul(1024)
}
