//! Where the figures were measured, without which they say little.

use std::fs;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

/// The compiler that built this program.
const RUSTC: &str = env!("BENCH_RUSTC");
/// The tokio it was built with.
const TOKIO: &str = env!("BENCH_TOKIO");

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    /// How many threads run at once.
    pub(crate) cores: usize,
    pub(crate) os: &'static str,
    pub(crate) rustc: &'static str,
    pub(crate) tokio: &'static str,
    /// Known where something is compared with it.
    pub(crate) python: Option<String>,
}

impl Machine {
    pub(crate) fn this(python: Option<String>) -> Self {
        // Only Linux has this file; elsewhere the architecture has to do.
        let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| model_name(&text));
        Self {
            cpu: cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: available_parallelism().map_or(1, usize::from),
            os: std::env::consts::OS,
            rustc: RUSTC,
            tokio: TOKIO,
            python,
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpu, cores, os, rustc, tokio, python } = self;
        write!(f, "{cpu}, {cores} cores, {os}, Rust {rustc}, tokio {tokio}")?;
        python.iter().try_for_each(|version| write!(f, ", Python {version}"))
    }
}

/// Today, as `2026-01-31`, in UTC.
pub(crate) fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date(now / (24 * 60 * 60))
}

/// The date so many days after 1970-01-01. Years are counted from March: the leap day is their last.
fn date(days: u64) -> String {
    const FROM_YEAR_0: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days + FROM_YEAR_0;
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{}-{month:02}-{day:02}", 400 * era + year + next)
}

fn model_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let (_, name) = line.split_once(':')?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_the_first_processors() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t: fpu\nmodel name\t: Other\n";
        assert_eq!(model_name(text).as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(model_name("processor\t: 0\n"), None);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_453, "2025-12-31"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn the_versions_are_known() {
        let Machine { rustc, tokio, .. } = Machine::this(None);
        assert!(rustc.starts_with("1.") && tokio.starts_with("1."), "{rustc}, {tokio}");
    }
}
