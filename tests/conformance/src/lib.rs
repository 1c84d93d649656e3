//! Judges any VRRP router from outside, row by row of docs/conformance.md.
//!
//! The router runs on a host of its own, made of Linux namespaces. The tester holds the other end of its cable and plays all
//! other routers and hosts: it sees every frame with the kernel's time stamp, and sends whatever it likes. It looks at
//! nothing inside the router and links no part of vouchd.
//!
//! | module | provides |
//! |---|---|
//! | [`rows`] | the rows, each a small function: what happens, and what must follow |
//! | [`lab`] | the router's host, the tester, and what rows ask of them |
//! | [`wire`], [`packet`], [`seen`] | frames: recorded and sent, built, read |
//! | [`plan`], [`template`], [`router`] | what a router is configured to do, in the words of each make, and how it is started |
//! | [`runner`], [`report`] | all rows in parallel, and the table |
//! | [`matrix`] | pairs of routers of any makes, in every version and mode |
//! | [`flood`] | a router under 10,000 frames a second |
//!
//! To add a row, write a function in the file of its section and name it in [`rows::ROWS`]. To try another router, give
//! `vouchd-conformance` a configuration template and a command; `routers/` has those of vouchd, keepalived and FRR.

#![warn(missing_docs, unreachable_pub)]

pub mod flood;
mod hosts;
pub mod lab;
pub mod matrix;
pub mod packet;
pub mod plan;
pub mod report;
pub mod router;
pub mod rows;
pub mod runner;
pub mod seen;
pub mod template;
pub mod wire;
