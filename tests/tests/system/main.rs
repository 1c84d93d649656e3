//! Tests of whole systems: real daemons on hosts made of network namespaces, two tests at a time (`.config/nextest.toml`).
//!
//! | module | tests |
//! |---|---|
//! | `fixture` | the fixture itself, with keepalived, whose behaviour is known |
//! | `failover` | who holds the virtual address, and what a client sees of it |
//! | `interfaces` | tracked interfaces, those that come and go, sources elsewhere, many instances |
//! | `ipv6` | virtual routers over IPv6, alone and beside IPv4 |
//! | `addresses` | the addresses of the host: what vouchd adds, removes and never touches |
//! | `peers` | advertisements of other routers: accepted, discarded, misunderstood |
//! | `configuration` | mistakes, changed files, reloads |
//! | `routes` | routes and rules that follow the active router |
//! | `checks` | checks of real services, and checks whose host or backend fails |
//! | `plugins` | plugin files that arrive, change, compile slowly or misbehave |
//! | `commands` | the commands of an operator and of a plugin author |
//! | `executables` | the two executables, and that they belong together |
//! | `service` | vouchd as a systemd service |
//! | `virtual_mac` | the virtual MAC address: what others see, what is accepted, what stays behind |

mod addresses;
mod checks;
mod commands;
mod configuration;
mod executables;
mod failover;
mod fixture;
mod interfaces;
mod ipv6;
mod peers;
mod plugins;
mod routes;
mod service;
mod virtual_mac;
