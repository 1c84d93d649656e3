//! Plugin files that say which one they are.

use std::sync::OnceLock;

use vouchd_tests::corpus::with_metadata;

/// One file's contents. Every one that is ever written has a number of its own, so that what status tells of a plugin says
/// when it was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub serial: u32,
    pub passes: bool,
}

const MARK: &[u8] = b"version 0000000";

struct Template {
    bytes: Vec<u8>,
    /// Of the mark; the verdict is the byte before it.
    at: usize,
    /// Where sections begin: what is cut off there may still be a plugin.
    sections: Vec<usize>,
}

impl Version {
    pub fn passing(serial: u32) -> Self {
        Version { serial, passes: true }
    }

    pub fn bytes(self) -> Vec<u8> {
        let Template { bytes, at, .. } = template();
        let mut bytes = bytes.clone();
        bytes[at - 1] = if self.passes { 0 } else { 2 };
        bytes[*at..at + MARK.len()].copy_from_slice(self.message().as_bytes());
        bytes
    }

    /// What the plugin says.
    pub fn message(self) -> String {
        format!("version {:07}", self.serial)
    }

    /// The version that a file is, whole.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let Template { bytes: whole, at, .. } = template();
        let said = bytes.get(*at..at + MARK.len())?;
        let serial = serial(std::str::from_utf8(said).ok()?)?;
        let version = Version { serial, passes: bytes[at - 1] == 0 };
        (bytes.len() == whole.len() && bytes == version.bytes()).then_some(version)
    }
}

/// The number in what a plugin says.
pub fn serial(message: &str) -> Option<u32> {
    message.strip_prefix("version ")?.parse().ok()
}

/// How much of a file to leave, so that it is none: not up to the end of a section, and not within what tells versions apart.
pub fn is_a_cut(length: usize) -> bool {
    let Template { bytes, at, sections } = template();
    (1..bytes.len()).contains(&length)
        && !sections.contains(&length)
        && !(at.saturating_sub(1)..=at + MARK.len()).contains(&length)
}

pub fn length() -> usize {
    template().bytes.len()
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let bytes = build();
        let at = bytes.windows(MARK.len()).position(|window| window == MARK).expect("its own text");
        let sections = sections(&bytes);
        Template { bytes, at, sections }
    })
}

/// The filling makes it longer than a page, so that a full disk leaves a part of it.
fn build() -> Vec<u8> {
    let text = format!(
        r#"(module
            (memory (export "memory") 2)
            (data (i32.const 2047) "\00{mark}")
            (data (i32.const 8192) "{filling}")
            (global $top (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.set $top (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                (i32.store8 (i32.const 1028) (i32.load8_u (i32.const 2047)))
                (i32.store (i32.const 1032) (i32.const 2048))
                (i32.store (i32.const 1036) (i32.const {length}))
                (i32.const 1024)))"#,
        mark = String::from_utf8_lossy(MARK),
        filling = "-".repeat(9000),
        length = MARK.len(),
    );
    with_metadata(&text)
}

/// Where the sections of a module begin: each is a byte, its length (LEB128) and that many bytes.
fn sections(module: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 8;
    while at < module.len() {
        found.push(at);
        let (mut size, mut shift) = (0, 0);
        at += 1;
        loop {
            let byte = module[at];
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += size;
    }
    found
}
