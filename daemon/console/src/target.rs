//! The daemon that a command asks for its status.

use std::path::{Path, PathBuf};

use clap::Args;
use vouchd_config::Files;
use vouchd_ipc::control;
use vouchd_ipc::status::Status;

/// The options that choose the daemon to ask.
#[derive(Debug, Args)]
pub struct Target {
    /// The control socket [default: the configuration's, or /run/vouchd/control.sock]
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// The configuration that names the control socket
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Target {
    /// Asks the daemon for its status.
    ///
    /// # Errors
    /// If the configuration that names the socket can't be used. A [`control::Unanswered`] if the daemon does not answer.
    pub fn status(&self) -> anyhow::Result<Status> {
        let (socket, doubt) = self.socket()?;
        Ok(control::status(&socket).map_err(|reason| reason.with(doubt))?)
    }

    /// The configuration given by `--config`.
    pub fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The socket to use, and why it may not be the right one.
    fn socket(&self) -> anyhow::Result<(PathBuf, Option<String>)> {
        if let Some(control) = &self.control {
            return Ok((control.clone(), None));
        }
        let file = self.config.as_deref().unwrap_or(Path::new(vouchd_config::DEFAULT_FILE));
        // Only the main file names the socket, so an error in other files does not matter here.
        let main = vouchd_config::read_main(file);
        let by_its_table = main.text.as_ref().ok().and_then(|text| control_of(&String::from_utf8_lossy(text)));
        let examined = Files::alone(main).examine();
        if examined.daemon_is_known {
            return Ok((examined.config.daemon.control, None));
        }
        if let Some(control) = by_its_table {
            return Ok((control, None));
        }
        if self.config.is_some() {
            examined.finish()?;
        }
        let default = PathBuf::from(vouchd_config::DEFAULT_CONTROL);
        let doubt = match file.try_exists() {
            Ok(false) => None,
            Ok(true) | Err(_) => Some(format!(
                "could not read {}, so this is the default socket: name another one with --control",
                file.display()
            )),
        };
        Ok((default, doubt))
    }
}

/// `daemon.control` of a file in which everything but the table `[daemon]` may be invalid TOML.
fn control_of(text: &str) -> Option<PathBuf> {
    let after = text.lines().skip_while(|line| line.trim() != "[daemon]").skip(1);
    let table: Vec<_> = after.take_while(|line| !line.trim_start().starts_with('[')).collect();
    let table: toml::Table = toml::from_str(&table.join("\n")).ok()?;
    table.get("control")?.as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    #[test]
    fn socket_is_found_in_a_file_that_is_broken_elsewhere() {
        let text = "nonsense\n[check.x]\nplugin = \n[daemon]\nname = \"a\" # [x]\ncontrol = \"/run/a.sock\"\n\n[instance.web]\n= 1\n";
        assert_eq!(super::control_of(text), Some("/run/a.sock".into()));
        for none in ["", "[daemon]\nname = \"a\"\n[x]\ncontrol = \"/b\"\n", "[daemon]\ncontrol = /run\n"] {
            assert_eq!(super::control_of(none), None, "{none}");
        }
    }
}
