//! What other systems' test suites pin down, one module a list; `docs/conformance.md` says line by line what is
//! tested here, what comes later, and what does not apply.

mod anyio_from_thread;
mod anyio_taskgroups;
mod anyio_taskgroups_time;
mod anyio_to_thread;
mod anyio_to_thread_joining;
mod conc;
mod cpython_exception_group;
#[cfg(feature = "signal")]
mod cpython_runners;
mod cpython_taskgroups;
mod cpython_tasks;
mod cpython_tasks_joining;
mod cpython_timeouts;
mod go_errgroup;
mod java_structured_task_scope;
mod java_structured_task_scope_joining;
mod kotlin_coroutine_scope;
mod kotlin_extra;
mod kotlin_supervisor;
mod kotlin_with_timeout;
mod stdexec_scopes;
#[path = "../common/mod.rs"]
mod support;
mod swift_taskgroup;
mod swift_taskgroup_joining;
mod tokio_cancellation_token;
mod tokio_join_map;
mod tokio_join_map_local;
mod tokio_join_set;
mod tokio_join_set_local;
mod tokio_task_tracker;
mod trio_run;
mod trio_timeouts;
