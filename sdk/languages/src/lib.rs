//! The languages that plugins are written in: how their tools are installed and which commands build a plugin.
//!
//! `vouchd plugin build` follows these recipes in an author's project, and `cargo xtask languages` in this repository, for
//! the examples of the SDK. So what authors do is what the tests do.
//!
//! A [`Recipe`] is data. It names its places by placeholders (see [`Recipe::steps`]) and its programs without a path, since
//! both differ between a project and this repository. Rust has no steps: cargo does everything, see [`rust`].

#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod recipe;
pub mod rust;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use recipe::{Packages, Recipe, Step};

/// A language that `vouchd plugin new` can start a project in. The documentation of its values is in the command's help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Language {
    /// Compiled by cargo, with the SDK's crate
    Rust,
    /// Compiled by clang, with the SDK's header
    C,
    /// C++, compiled by clang, with the SDK's header
    Cpp,
    /// Compiled by zig, with the SDK's module
    Zig,
    /// Compiled by the standard Go compiler, with the SDK's module
    Go,
    /// Runs in the CPython interpreter that componentize-py puts into the plugin
    Python,
    /// Runs in the QuickJS interpreter that componentize-qjs puts into the plugin
    JavaScript,
    /// As JavaScript, after tsc has checked its types
    TypeScript,
    /// Compiled by asc, with the SDK's module
    AssemblyScript,
    /// The text format of WebAssembly, without an SDK
    Wat,
}

impl Language {
    /// Its name on the command line and in `vouchd-plugin.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::C => "c",
            Language::Cpp => "cpp",
            Language::Zig => "zig",
            Language::Go => "go",
            Language::Python => "python",
            Language::JavaScript => "javascript",
            Language::TypeScript => "typescript",
            Language::AssemblyScript => "assemblyscript",
            Language::Wat => "wat",
        }
    }

    /// The file that an author writes, below the directory of the project.
    pub fn source(self) -> &'static str {
        match self {
            Language::Rust => "src/lib.rs",
            Language::C => "check.c",
            Language::Cpp => "check.cpp",
            Language::Zig => "check.zig",
            Language::Go => "main.go",
            Language::Python => "src/check.py",
            Language::JavaScript => "check.js",
            Language::TypeScript | Language::AssemblyScript => "check.ts",
            Language::Wat => "check.wat",
        }
    }

    /// The directories of the SDK that a project gets a copy of.
    pub fn sdk(self) -> &'static [&'static str] {
        match self {
            Language::Rust => &["rust", "wit"],
            Language::C | Language::Cpp => &["c"],
            Language::Zig => &["zig"],
            Language::Go => &["go"],
            Language::Python => &["python", "wit"],
            Language::JavaScript | Language::TypeScript => &["javascript", "wit"],
            Language::AssemblyScript => &["assemblyscript"],
            Language::Wat => &["wit"],
        }
    }

    /// Whether the SDK declares the parameters from the code. In other languages the project's file declares them.
    pub fn declares_params(self) -> bool {
        self == Language::Rust
    }

    /// How a plugin in this language is built.
    pub fn recipe(self) -> &'static Recipe {
        recipe::of(self)
    }

    /// The command that installs the tools, as typed in the directory of a project.
    pub fn install(self) -> String {
        self.recipe().packages.install()
    }
}

/// Its name as people write it.
impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Rust => "Rust",
            Language::C => "C",
            Language::Cpp => "C++",
            Language::Zig => "Zig",
            Language::Go => "Go",
            Language::Python => "Python",
            Language::JavaScript => "JavaScript",
            Language::TypeScript => "TypeScript",
            Language::AssemblyScript => "AssemblyScript",
            Language::Wat => "WebAssembly text",
        })
    }
}
