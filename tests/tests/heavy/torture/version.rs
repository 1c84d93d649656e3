//! Plugin files with a serial number, which their check reports.

use std::sync::OnceLock;

use vouchd_tests::guest::Guest;

/// The contents of a file. Each has its own serial number, so that the message of a check tells which file ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub serial: u32,
    pub passes: bool,
}

const MARK: &[u8] = b"version 0000000";

struct Template {
    bytes: Vec<u8>,
    /// The offset of the mark. The byte before it is the verdict.
    at: usize,
    /// The offsets of sections. A file that is cut there may still be a plugin.
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

    /// The message of its check.
    pub fn message(self) -> String {
        format!("version {:07}", self.serial)
    }

    /// The version of a file; `None` unless it is whole.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let Template { bytes: whole, at, .. } = template();
        let said = bytes.get(*at..at + MARK.len())?;
        let serial = serial(std::str::from_utf8(said).ok()?)?;
        let version = Version { serial, passes: bytes[at - 1] == 0 };
        (bytes.len() == whole.len() && bytes == version.bytes()).then_some(version)
    }
}

/// The serial number in the message of a check.
pub fn serial(message: &str) -> Option<u32> {
    message.strip_prefix("version ")?.parse().ok()
}

/// Whether a file of this length is certainly no plugin: it does not end with a section, nor within the bytes that differ
/// between versions.
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
        let at = bytes.windows(MARK.len()).position(|window| window == MARK).expect("the mark in its own text");
        let sections = sections(&bytes);
        Template { bytes, at, sections }
    })
}

/// The filling makes it longer than a page, so that a full disk truncates it.
fn build() -> Vec<u8> {
    let (mark, filling) = (String::from_utf8_lossy(MARK), "-".repeat(9000));
    let data = format!("(data (i32.const 2047) \"\\00{mark}\") (data (i32.const 8192) \"{filling}\")");
    // The verdict is at 1028, the address and length of the message at 1032 and 1036.
    let body = format!(
        "(i32.store8 (i32.const 1028) (i32.load8_u (i32.const 2047)))
         (i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const {}))",
        MARK.len()
    );
    Guest::new(&body).top(data).module()
}

/// The offsets of the sections of a module. Each is a byte, a length in LEB128, and that many bytes.
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
