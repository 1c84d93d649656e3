//! The router process: the protocol thread and what serves it.
//!
//! | thread | does | may wait for |
//! |---|---|---|
//! | protocol | [`protocol`]: VRRP. Sockets in, [`engine`], sockets out | nothing |
//! | keeper, watcher, arp | `vouchd_net`: addresses, links, who else has them | the kernel |
//! | health | [`supervisor`]: the checker, [`checks`], effective priorities | the checker |
//! | control | [`control`]: answers `vouchd status` | nothing |
//! | kept | [`kept`]: tells other daemons of this network namespace what is kept | its client |
//! | config-watch | [`config_watch`]: reads the configuration's files, watches them | files, not for ever |
//! | main | [`run`]: signals, systemd, the configuration | other daemons, for a second |

mod address_log;
mod checker_process;
mod checker_program;
mod checks;
mod config_reader;
mod config_trail;
mod config_watch;
mod control;
mod engine;
pub mod host;
pub mod host_addresses;
mod kept;
mod lock;
mod log;
mod neighbours;
mod peers;
mod plugin_files;
mod privileges;
mod protocol;
mod run;
mod supervisor;
mod virtual_addresses;
mod virtual_router;
mod wakeup;

pub use checker_program::CheckerProgram;
pub use plugin_files::available_plugins;
pub use run::run;
