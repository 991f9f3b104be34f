//! What Prometheus is told of the process itself, under the names that its client libraries give, read from proc(5).

use std::fs;
use std::io;
use std::sync::Mutex;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};
use prometheus::{Counter, IntGauge, Opts, Registry};

use crate::raft::metrics::{gauge, registered};

/// The figures of the process.
#[derive(Debug)]
pub struct Process {
    cpu: Mutex<Counter>,
    open_files: IntGauge,
    most_files: IntGauge,
    address_space: IntGauge,
    resident: IntGauge,
    threads: IntGauge,
    started: IntGauge,
}

impl Process {
    /// Registered and at zero.
    ///
    /// # Errors
    /// Another figure has one of the names.
    pub fn new(r: &Registry) -> prometheus::Result<Self> {
        let cpu = Opts::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
        Ok(Self {
            cpu: Mutex::new(registered(r, Counter::with_opts(cpu)?)?),
            open_files: gauge(r, "process_open_fds", "Number of open file descriptors.")?,
            most_files: gauge(r, "process_max_fds", "Maximum number of open file descriptors.")?,
            address_space: gauge(r, "process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident: gauge(r, "process_resident_memory_bytes", "Resident memory size in bytes.")?,
            threads: gauge(r, "process_threads", "Number of OS threads in the process.")?,
            started: gauge(
                r,
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
        })
    }

    /// Looks at this process.
    ///
    /// # Errors
    /// `/proc` is not there or says what cannot be read.
    pub fn look(&self) -> io::Result<()> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let stat = Stat::parse(&stat).ok_or_else(|| io::Error::other("/proc/self/stat cannot be read"))?;
        let tick = configured(SysconfVar::CLK_TCK)?;
        let page = configured(SysconfVar::PAGE_SIZE)?;
        #[expect(clippy::cast_precision_loss, reason = "a processor's time in ticks is far from 2^52")]
        let seconds = stat.ticks as f64 / tick as f64;
        {
            // Two that ask at once must not both add what has been spent since the last time.
            let cpu = self.cpu.lock().expect("adding to a counter does not panic");
            cpu.inc_by((seconds - cpu.get()).max(0.0));
        }
        let (most, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        set(&self.open_files, fs::read_dir("/proc/self/fd")?.count() as u64);
        set(&self.most_files, most);
        set(&self.address_space, stat.address_space);
        set(&self.resident, stat.resident_pages * page);
        set(&self.threads, stat.threads);
        set(&self.started, boot_time(&fs::read_to_string("/proc/stat")?)? + stat.started / tick);
        Ok(())
    }
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// What is used of `/proc/PID/stat`, proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Time in user mode and in the kernel, in clock ticks.
    ticks: u64,
    threads: u64,
    /// Clock ticks after the boot.
    started: u64,
    /// In bytes.
    address_space: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The command's name may hold spaces and brackets: fields are counted from the last bracket, which ends the second.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            ticks: field(14)? + field(15)?,
            threads: field(20)?,
            started: field(22)?,
            address_space: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine was booted, in seconds since 1970, from the text of `/proc/stat`.
fn boot_time(stat: &str) -> io::Result<u64> {
    let time = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    time.ok_or_else(|| io::Error::other("/proc/stat does not say when the machine was booted"))
}

fn configured(variable: SysconfVar) -> io::Result<u64> {
    let value = sysconf(variable)?.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    value.ok_or_else(|| io::Error::other(format!("the system does not say its {variable:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_the_last_bracket() {
        let text =
            "7 (a) (b c) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 5 0 4711 8192000 321 1844 1 1\n";
        let stat =
            Stat { ticks: 42, threads: 5, started: 4711, address_space: 8_192_000, resident_pages: 321 };
        assert_eq!(Stat::parse(text), Some(stat));
        for broken in
            ["", "7 (a", "7 (a) S 1 7 7", "7 (a) S 1 7 7 0 -1 4194560 100 0 0 0 x 11 0 0 20 0 5 0 1 2 3"]
        {
            assert_eq!(Stat::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_boot_is_found_among_other_lines() {
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 5\n").unwrap(), 1_700_000_000);
        assert!(boot_time("cpu 1 2\n").is_err());
    }

    #[test]
    fn a_living_process_has_plausible_figures_and_its_time_never_goes_back() {
        let process = Process::new(&Registry::new()).unwrap();
        process.look().unwrap();
        let before = process.cpu.lock().unwrap().get();
        assert!(process.open_files.get() >= 3 && process.open_files.get() <= process.most_files.get());
        assert!(process.resident.get() > 1 << 20 && process.resident.get() < process.address_space.get());
        assert!(process.threads.get() >= 1);
        assert!(process.started.get() > 1_600_000_000);
        process.look().unwrap();
        assert!(process.cpu.lock().unwrap().get() >= before);
    }
}
