//! What the process takes of the machine, by Linux's own account in `/proc/self` (proc(5)).

use serde::Serialize;

/// A clock tick of `/proc/self/stat`: USER_HZ is 100 on all machines that flowrun runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// Memory, time and files.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Process {
    /// Memory in use, in bytes.
    pub rss_bytes: u64,
    /// Processor time so far, of all threads.
    pub cpu_seconds: f64,
    /// Files and sockets that are open.
    pub open_files: u64,
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_A_SECOND)
}

impl Process {
    /// As it is now; 0 where the system does not say.
    pub fn now() -> Self {
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, |folder| folder.count() as u64);
        Process {
            rss_bytes: resident().unwrap_or(0),
            cpu_seconds: processor().unwrap_or(0.0),
            // One of them is the folder that is being read.
            open_files: files.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_files() {
        let now = Process::now();
        assert!(now.rss_bytes > 100_000 && now.open_files >= 3, "{now:?}");
        assert!(now.cpu_seconds >= 0.0);
    }
}
