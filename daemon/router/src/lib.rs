//! The router process: the protocol thread and the threads that serve it.
//!
//! | thread | task | may wait for |
//! |---|---|---|
//! | protocol | `protocol`: VRRP, from the sockets through `engine` to the sockets | nothing |
//! | keeper, watcher, neighbours | `vouchd_net`: addresses, links, other machines' claims | the kernel |
//! | health | `supervisor`: the checker, `checks`, effective priorities | the checker |
//! | control | `control`: answers `vouchd status` | nothing |
//! | holdings | `holdings`: serves what this daemon holds to other daemons of the network namespace | its client |
//! | config-watch | `config_watch`: reads and watches the configuration files | files, for a bounded time |
//! | main | `run`: signals, systemd, the configuration | other daemons, for seconds |

#![warn(missing_docs, unreachable_pub)]

mod address_log;
mod checker_process;
mod checker_program;
mod checks;
mod config_reader;
mod config_trail;
mod config_watch;
mod control;
mod engine;
mod heartbeat;
mod holdings;
pub mod host;
pub mod host_addresses;
mod lock;
mod log;
mod plugin_files;
mod privileges;
mod protocol;
mod routing_log;
mod run;
mod supervisor;
mod virtual_addresses;
mod virtual_macs;
mod virtual_router;
mod wakeup;

pub use checker_program::CheckerProgram;
pub use plugin_files::available_plugins;
pub use run::run;
