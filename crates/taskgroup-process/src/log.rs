//! What is logged because nobody can be told.

/// Processes of this command were sent SIGKILL, and are still there.
#[cfg_attr(
    any(not(target_os = "linux"), taskgroup_process_portable),
    allow(dead_code, reason = "only keepers are waited for")
)]
pub(crate) fn cannot_end(pid: u32) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "taskgroup", pid, "processes of this command were sent SIGKILL and have not ended; their keeper goes on");
    #[cfg(not(feature = "tracing"))]
    let _ = pid;
}
