//! Operating-system processes as children of a task group.
