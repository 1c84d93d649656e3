//! The commands of an operator and of a plugin author.

mod author;
mod control;
mod demo;
mod documented;
mod status;
