//! What commands print: all of it goes through here, so that a reader that has gone (`vouchd explain | head`) is no panic.

use std::io::{self, Write};

/// To standard output, as it is. A reader that has read enough is no error: the command ends as it would have.
///
/// # Errors
/// When it can't be written for another reason, a full disk for one.
pub fn print(text: impl AsRef<str>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_ref().as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("could not write to standard output"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// To standard error, always with a line break at the end.
pub fn complain(text: impl std::fmt::Display) {
    // There is nowhere left to say that it could not be said.
    let _ = writeln!(io::stderr(), "{}", text.to_string().trim_end());
}
