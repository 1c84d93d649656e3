//! The answers of HAProxy's stats socket to `show info` and `show stat`.

/// The answers to a line of commands. Each ends with an empty line.
pub(crate) fn blocks(answer: &str) -> impl Iterator<Item = &str> {
    // An answer that the end of the connection cut off does not count.
    answer.rfind("\n\n").map_or("", |end| &answer[..end]).split("\n\n").map(|block| block.trim_start_matches('\n'))
}

/// The start of an unexpected answer.
pub(crate) fn excerpt(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

/// The answer to `show info`.
#[derive(Debug, PartialEq)]
pub(crate) struct Info {
    pub version: String,
    pub connections: f64,
    pub stopping: bool,
}

impl Info {
    /// `None` if the block is something else.
    pub(crate) fn parse(block: &str) -> Option<Self> {
        let value = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value("Name")?;
        let version = value("Version")?.chars().filter(|c| !c.is_control()).take(40).collect();
        let connections = value("CurrConns").and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
        // Older versions do not report it.
        let stopping = value("Stopping").is_some_and(|number| number != "0");
        Some(Info { version, connections: f64::from(connections), stopping })
    }
}

/// A row of `show stat`: a frontend, a backend, or a server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// `FRONTEND`, `BACKEND`, or the name of the server.
    pub name: String,
    pub status: String,
}

impl Row {
    pub(crate) fn is_server(&self) -> bool {
        self.name != "FRONTEND" && self.name != "BACKEND"
    }

    /// Whether the server takes new connections. One without a health check does; one that drains or is in maintenance does not.
    pub(crate) fn is_up(&self) -> bool {
        // `UP 1/3` is going down.
        self.status == "UP" || self.status.starts_with("UP ") || self.status == "no check"
    }
}

/// Parses a table; `None` if the block is something else.
pub(crate) fn rows(block: &str) -> Option<Vec<Row>> {
    let mut lines = block.lines();
    let titles = cells(lines.next()?.strip_prefix("# ")?);
    let column = |title: &str| titles.iter().position(|found| found == title);
    let (name, status) = (column("svname")?, column("status")?);
    let row = |line: &str| {
        let mut cells = cells(line);
        let status = cells.get_mut(status).map(std::mem::take)?;
        let name = cells.get_mut(name).map(std::mem::take)?;
        Some(Row { name, status })
    };
    lines.filter(|line| !line.is_empty()).map(row).collect()
}

/// Splits a line at its commas. A cell with a comma is in quotes, and quotes within it are doubled.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = cells.last_mut();
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.into_iter().for_each(|cell| cell.push('"'));
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c if c.is_control() => {}
            c => cell.into_iter().for_each(|cell| cell.push(c)),
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_read_by_its_titles() {
        let table = "# pxname,svname,desc,status,\nweb,a,\"x,\"\"y\"\"\",UP 1/3,\nweb,BACKEND,,DOWN,\n";
        let row = |name: &str, status: &str| Row { name: name.to_owned(), status: status.to_owned() };
        assert_eq!(rows(table), Some(vec![row("a", "UP 1/3"), row("BACKEND", "DOWN")]));
        assert_eq!(cells("a,\"x,\"\"y\"\"\","), ["a", "x,\"y\"", ""]);
    }

    #[test]
    fn other_text_is_no_table() {
        for text in ["", "#", "# pxname,svname\na,b", "No such proxy.", "# svname,status\na", "Unknown command"] {
            assert_eq!(rows(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_server_that_takes_connections_is_up() {
        let up = |status: &str| Row { name: "a".to_owned(), status: status.to_owned() }.is_up();
        for status in ["UP", "UP 1/3", "no check"] {
            assert!(up(status), "{status}");
        }
        for status in ["DOWN", "DOWN 1/2", "MAINT", "MAINT (via a/b)", "DRAIN", "NOLB", "UPSIDE", ""] {
            assert!(!up(status), "{status}");
        }
    }
}
