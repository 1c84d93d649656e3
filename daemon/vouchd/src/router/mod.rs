//! The router process: the protocol thread and what serves it.
//!
//! | thread | does | may wait for |
//! |---|---|---|
//! | protocol | [`protocol`]: VRRP. Sockets in, [`engine`], sockets out | nothing |
//! | keeper, watcher | `vouchd_net`: addresses, ARP, links | the kernel |
//! | health | [`supervisor`]: the checker, [`checks`], effective priorities | the checker |
//! | control | [`control`]: answers `vouchd status` | its client |
//! | config-watch | [`config_watch`]: reads the configuration's files, watches them | files, not for ever |
//! | main | [`run`]: signals, systemd, the configuration | nothing |

mod address_log;
mod checker_process;
mod checks;
mod config_reader;
mod config_trail;
mod config_watch;
pub mod control;
mod engine;
mod log;
mod patient;
mod protocol;
mod run;
mod supervisor;
mod virtual_router;

pub use run::run;
