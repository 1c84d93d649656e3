//! The generated parts of docs/vrrp.md: the state diagram, drawn from a simulation of the code, and the table of timers.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

const DOCUMENT: &str = "docs/vrrp.md";

/// Writes both parts. With `check` it only compares them with what is there.
pub fn update(root: &Path, check: bool) -> anyhow::Result<()> {
    let path = root.join(DOCUMENT);
    let before = fs::read_to_string(&path).context(DOCUMENT)?;
    let mut text = before.clone();
    for part in ["diagram", "timers"] {
        text = replaced(&text, part, &printed(part)?)?;
    }
    if check {
        ensure!(text == before, "{DOCUMENT} is out of date: run `cargo xtask diagram`");
    } else if text != before {
        fs::write(&path, text).context(DOCUMENT)?;
    }
    Ok(())
}

/// What the simulator prints for a part.
fn printed(part: &str) -> anyhow::Result<String> {
    let option = format!("--{part}");
    let mut cargo = crate::cargo(["run", "--quiet", "--package", "vouchd-simulation", "--", &option]);
    let output = cargo.stderr(std::process::Stdio::inherit()).output().context("starting vouchd-simulate")?;
    ensure!(output.status.success(), "vouchd-simulate {option} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// `text` with another content between the two marks of a part.
fn replaced(text: &str, part: &str, content: &str) -> anyhow::Result<String> {
    let start = format!("<!-- {part}: written by `cargo xtask diagram` -->\n");
    let end = format!("<!-- end of {part} -->");
    let missing = || format!("{DOCUMENT} lacks the marks {start}… {end}");
    let (head, rest) = text.split_once(&start).with_context(missing)?;
    let (_, tail) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{head}{start}{content}{end}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let text = "a\n<!-- timers: written by `cargo xtask diagram` -->\nold\n<!-- end of timers -->\nb\n";
        let expected = "a\n<!-- timers: written by `cargo xtask diagram` -->\nnew\n<!-- end of timers -->\nb\n";
        assert_eq!(replaced(text, "timers", "new\n").expect("both marks"), expected);
        assert!(replaced("nothing", "timers", "new").is_err());
    }
}
