//! What `/proc` says of processes.

use std::fs;

/// A process, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) is_zombie: bool,
    /// In ticks since boot: with the pid, who it is.
    pub(crate) started: u64,
}

/// `None` if there is no such process.
pub(crate) fn look(pid: i32) -> Option<Seen> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    // The name is in parentheses, and may hold any.
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let fields: Vec<&str> = text.get(close + 2..)?.split(' ').collect();
    Some(Seen {
        pid,
        name: text.get(open + 1..close)?.to_owned(),
        is_zombie: matches!(*fields.first()?, "Z" | "X"),
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The children of a process, those that have ended and have not been reaped included.
pub(crate) fn children(pid: i32) -> Vec<Seen> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<i32> = lists
        .flat_map(|list| list.split_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect();
    pids.into_iter().filter_map(look).collect()
}

/// The processes that have this text in their environment or among their arguments, but for this one.
pub(crate) fn marked(mark: &str) -> Vec<Seen> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != std::process::id() as i32 && has(*pid, mark)).filter_map(look).collect()
}

fn has(pid: i32, mark: &str) -> bool {
    ["environ", "cmdline"].iter().any(|file| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(mark.len()).any(|part| part == mark.as_bytes())
    })
}
