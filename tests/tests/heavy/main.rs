//! Tests of whole systems that take minutes, or all the processor time of the machine.

mod escapes;
mod fairness;
mod hostile;
mod reload_fuzz;
mod torture;
