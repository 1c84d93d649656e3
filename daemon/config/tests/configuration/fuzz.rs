//! No bytes make the reader panic, and every error points into its file.

use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use vouchd_config::{FileText, Files};

const GOOD: &str = "[check.nginx]\nplugin = \"process\"\nparams = { name = \"nginx\" }\nweight = -40\n\
    allow = { process = [\"nginx\"] }\n\n[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 55\npriority = 120\n\
    auth = { type = \"pass\", password = \"1234\" }\naddresses = [\"192.0.2.1/24\", \"192.0.2.2\"]\n\
    unicast = { source = \"192.0.2.11\", peers = [\"192.0.2.12\"] }\nchecks = [{ name = \"nginx\", weight = -9 }]\n";

/// The pieces that mistakes consist of.
const PIECES: [&str; 61] = [
    "auth = { type = \"hmac\", keys = [{ id = 1, file = \"/k\" }] }",
    "keys = [",
    "hex = \"00\"",
    "type = \"hmac\"",
    "[[instance.web.auth.keys]]",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "=",
    ":",
    ",",
    ".",
    "#",
    "//",
    "/*",
    ";",
    "!",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "\u{a0}",
    "\u{feff}",
    "\u{201c}",
    "\u{2028}",
    "\u{202e}",
    "\0",
    "\u{1b}",
    "é",
    "𝄞",
    "\\",
    "\\u12",
    "-",
    "0",
    "1e999",
    "0x",
    "99999999999999999999",
    "192.0.2.1",
    "192.0.2.1/",
    "::1",
    "no",
    "true",
    "instance",
    "check.c",
    "[instance.web]",
    "priority",
    "addresses",
    "password",
    "vrrp_instance",
    "nopreempt",
    "advert_int 1",
    "plugin",
    "1s",
];

/// Reads the bytes as the main file and says what was told of it.
fn read(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let main = FileText { path: PathBuf::from("v.toml"), text: Ok(bytes), access: None };
    let examined = Files::alone(main).examine();
    let config = &examined.config;
    for problem in examined.errors.iter().chain(&config.warnings).chain(&config.notes) {
        let shown = problem.to_string();
        prop_assert!(!shown.contains(['\u{1b}', '\u{202e}', '\0']), "{shown:?}");
        let Some(place) = &problem.place else { continue };
        prop_assert_eq!(place.file(), PathBuf::from("v.toml"));
        let lines: Vec<&str> = text.split('\n').collect();
        prop_assert!((1..=lines.len()).contains(&place.line()), "line {} of {}", place.line(), lines.len());
        let longest = lines[place.line() - 1].chars().count() + 1;
        prop_assert!((1..=longest).contains(&place.column()), "column {} of {longest}", place.column());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        read(bytes)?;
    }

    #[test]
    fn pieces_of_a_configuration_in_any_order(pieces in vec(prop::sample::select(PIECES.to_vec()), 0..40)) {
        read(pieces.concat().into_bytes())?;
    }

    #[test]
    fn a_good_file_with_pieces_put_in_and_bytes_taken_out(
        edits in vec((any::<prop::sample::Index>(), 0_usize..6, prop::sample::select(PIECES.to_vec())), 1..6)
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, removed, put) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, put.bytes());
        }
        read(bytes)?;
    }
}
