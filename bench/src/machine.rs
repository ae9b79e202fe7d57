//! Where the figures were measured, without which they say little.

use std::fs;
use std::thread::available_parallelism;

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
    fn the_versions_are_known() {
        let Machine { rustc, tokio, .. } = Machine::this(None);
        assert!(rustc.starts_with("1.") && tokio.starts_with("1."), "{rustc}, {tokio}");
    }
}
