//! The parameters that a plugin declares: JSON in its custom section `vouchd:params`. Nothing is executed to read it.

use thiserror::Error;
use vouchd_config::Param;
use wasmparser::{Parser, Payload};

use crate::text::line;

const SECTION: &str = "vouchd:params";

/// Longest declaration, in bytes.
const MAX_SIZE: usize = 64 << 10;

/// A declaration that can't be read. The text says why, and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the custom section `{SECTION}` can't be read: expected a JSON list like \
     [{{\"name\": \"url\", \"type\": \"text\", \"required\": true, \"doc\": \"...\"}}]: {0}"
)]
pub struct DeclarationError(String);

/// Reads the parameters that the plugin in `bytes` declares. `None` if it declares nothing, or is not WebAssembly.
///
/// # Errors
/// If the declaration is too long, or not a list of parameters.
pub fn declared_params(bytes: &[u8]) -> Result<Option<Vec<Param>>, DeclarationError> {
    let mut sections = Parser::new(0).parse_all(bytes).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::CustomSection(section) if section.name() == SECTION => Some(section.data()),
        _ => None,
    });
    // A component's own sections come before those of its modules, and count before them.
    let Some(json) = sections.next() else { return Ok(None) };
    if json.len() > MAX_SIZE {
        return Err(DeclarationError(format!("it has {} bytes; expected at most {MAX_SIZE}", json.len())));
    }
    serde_json::from_slice(json).map(Some).map_err(|e| DeclarationError(line(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(json: &str) -> Vec<u8> {
        wat::parse_str(format!("(module (@custom \"{SECTION}\" \"{}\"))", json.replace('"', "\\\""))).unwrap()
    }

    #[test]
    fn declared_parameters_are_read_from_modules_and_from_components_around_them() {
        let json =
            r#"[{"name": "url", "type": "text", "required": true, "doc": "Where"}, {"name": "n", "type": "new"}]"#;
        let module = module(json);
        let params = declared_params(&module).unwrap().unwrap();
        assert_eq!((params[0].name.as_str(), params[0].required, params[0].doc.as_str()), ("url", true, "Where"));
        assert_eq!(params[1].kind, vouchd_config::ParamType::Any);
        let mut component = b"\0asm\x0d\0\x01\0\x01".to_vec();
        component.push(u8::try_from(module.len() & 0x7f | 0x80).unwrap());
        component.push(u8::try_from(module.len() >> 7).unwrap());
        component.extend(&module);
        assert_eq!(declared_params(&component).unwrap(), Some(params));
    }

    #[test]
    fn missing_declaration_is_none_and_a_bad_one_is_an_error() {
        assert_eq!(declared_params(b"\0asm\x01\0\0\0"), Ok(None));
        assert_eq!(declared_params(b"#!/bin/sh"), Ok(None));
        let error = declared_params(&module(r#"{"name": 1}"#)).unwrap_err();
        assert!(error.to_string().contains("`vouchd:params` can't be read: expected a JSON list"), "{error}");
        let long = format!(r#"[{{"name": "a", "type": "text", "doc": "{}"}}]"#, "x".repeat(5 << 20));
        let error = declared_params(&module(&long)).unwrap_err().to_string();
        assert!(error.ends_with("bytes; expected at most 65536") && error.len() < 300, "{error}");
        let error = declared_params(&module(r#"[{"\\u001b[2J": 1}]"#)).unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
    }
}
