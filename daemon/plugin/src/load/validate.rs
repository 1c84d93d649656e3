//! Whether bytes are valid WebAssembly.

use wasmparser::{Validator, WasmFeatures};

use super::proposals::offered;
use crate::text::line;

/// Says why the bytes can't be a plugin: not WebAssembly, cut off, or damaged. `None` if they are valid WebAssembly under
/// any proposals; only loading finds what else keeps a file from being used.
pub fn damage(bytes: &[u8]) -> Option<String> {
    if !bytes.starts_with(b"\0asm") {
        return Some(if bytes.is_empty() { "it is empty" } else { "it is not a WebAssembly file" }.to_owned());
    }
    invalidity(bytes).map(|words| format!("damaged or cut off: {words}"))
}

/// The first violation of WebAssembly's rules under any proposals, and its offset.
pub(crate) fn invalidity(bytes: &[u8]) -> Option<String> {
    let validate = |features| Validator::new_with_features(features).validate_all(bytes).err();
    // Nearly every file is valid here already. With all proposals, none that is fails.
    validate(offered())?;
    let error = validate(WasmFeatures::all())?;
    Some(format!("{} (at offset {:#x})", line(error.message()), error.offset()))
}
