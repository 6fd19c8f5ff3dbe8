//! Resources that the server has used so far, from /proc.

use std::{fs, io};

/// Length of a tick of /proc, in nanoseconds.
const TICK: u64 = 10_000_000;

pub struct Process(pub u32);

/// CPU time in nanoseconds.
#[derive(Clone, Copy)]
pub struct CpuTime {
    /// User and system time.
    all: u64,
    /// User time alone. Kernels count it in ticks, and many only guess it from what runs when a tick ends, so it takes
    /// some seconds to be worth anything.
    user: u64,
}

impl CpuTime {
    /// Returns the figures, in microseconds, that a message has cost since an earlier time.
    pub fn per_message(self, since: Self, messages: u64) -> String {
        let micros = |nanos: u64| nanos as f64 / 1e3 / messages as f64;
        format!("cpu_us={:.4} user_us={:.4}", micros(self.all - since.all), micros(self.user - since.user))
    }
}

impl Process {
    /// Returns the CPU time used so far.
    pub fn cpu(&self) -> io::Result<CpuTime> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The second field, in parentheses, may hold spaces; utime and stime are the 14th and 15th.
        let behind_name = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = |field| behind_name.split(' ').nth(field).and_then(|ticks| ticks.parse::<u64>().ok());
        let (Some(user), Some(system)) = (ticks(11), ticks(12)) else {
            return Err(io::Error::other("the server's CPU time is not to be seen in /proc"));
        };
        let (user, in_ticks) = (user * TICK, (user + system) * TICK);
        Ok(CpuTime { all: self.scheduled()?.unwrap_or(in_ticks), user })
    }

    /// Returns the time of all threads in nanoseconds, which is exact; not all kernels tell it.
    fn scheduled(&self) -> io::Result<Option<u64>> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // A thread may end meanwhile.
            let schedstat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanos += schedstat.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok((nanos > 0).then_some(nanos))
    }

    pub fn resident_kib(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other("the server's memory is not to be seen in /proc"))
    }
}
