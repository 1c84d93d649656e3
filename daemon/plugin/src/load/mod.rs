//! From a file's bytes to native code, or to an error that says what is wrong with the file. Nothing of the file runs here.

mod adapter_memory;
mod artefact;
pub(crate) mod cache;
pub(crate) mod compile;
mod componentize;
mod error;
mod interfaces;
mod kind;
mod metadata;
mod name_section;
mod outline;
mod params;
mod proposals;
mod validate;

pub(crate) use artefact::{Artefact, Form};
pub(crate) use interfaces::{Entry, Interfaces, check_interfaces};

pub use error::{CompilerFault, LoadError};
pub use kind::Kind;
pub use metadata::Metadata;
pub use params::{DeclarationError, declared_params};
pub use validate::damage;
