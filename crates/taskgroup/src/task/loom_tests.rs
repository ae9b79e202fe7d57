//! The cell's protocols, model-checked: every order in which the threads can run.
