//! What is to be run.
mod quote;
mod template;
