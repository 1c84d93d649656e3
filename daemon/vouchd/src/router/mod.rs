//! The router process: the protocol thread and what serves it.
//!
//! | thread | does | may wait for |
//! |---|---|---|
//! | protocol | [`protocol`]: VRRP. Sockets in, [`engine`], sockets out | nothing |
//! | keeper, watcher | `vouchd_net`: addresses, ARP, links | the kernel |
//! | health | [`supervisor`]: the checker, [`checks`], effective priorities | the checker |
//! | control | [`control`]: answers `vouchd status` | its client |
//! | main | [`run`]: signals, systemd, the configuration | files |

mod checker_process;
mod checks;
mod config_watch;
pub mod control;
mod engine;
mod log;
mod protocol;
mod run;
mod supervisor;
mod virtual_router;

pub use run::run;
