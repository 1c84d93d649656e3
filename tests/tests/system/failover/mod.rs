//! Who holds the virtual address, and what a client sees of it.

mod death;
mod groups;
mod instant;
mod partition;
mod services;
mod topology;
