//! What is logged because nobody can be told.

/// Processes of this command were sent SIGKILL, and are still there.
pub(crate) fn cannot_end(pid: u32) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "taskgroup", pid, "processes of this command were sent SIGKILL and have not ended; their keeper goes on");
    #[cfg(not(feature = "tracing"))]
    let _ = pid;
}
