//! What HAProxy's stats socket says: `show info`, and the tables of `show stat`.

/// The answers to the commands of one line: an empty line ends each.
pub fn blocks(answer: &str) -> impl Iterator<Item = &str> {
    // What the connection's end cut off is no answer.
    answer.rfind("\n\n").map_or("", |end| &answer[..end]).split("\n\n").map(|block| block.trim_start_matches('\n'))
}

/// The beginning, for a message.
pub fn excerpt(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

/// Of `show info`.
#[derive(Debug, PartialEq)]
pub struct Info {
    pub version: String,
    pub connections: f64,
    pub stopping: bool,
}

impl Info {
    /// None: it is something else.
    pub fn parse(block: &str) -> Option<Self> {
        let value = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value("Name")?;
        let version = value("Version")?.chars().filter(|c| !c.is_control()).take(40).collect();
        let connections = value("CurrConns").and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
        // Older versions don't tell.
        let stopping = value("Stopping").is_some_and(|number| number != "0");
        Some(Info { version, connections: f64::from(connections), stopping })
    }
}

/// Of `show stat`: a frontend, a backend, or a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `FRONTEND`, `BACKEND`, or the server's.
    pub name: String,
    pub status: String,
}

impl Row {
    pub fn is_server(&self) -> bool {
        self.name != "FRONTEND" && self.name != "BACKEND"
    }

    /// Takes part in what comes anew. One that is not checked counts; one that is drained or in maintenance doesn't.
    pub fn is_up(&self) -> bool {
        // `UP 1/3` is on its way down.
        self.status == "UP" || self.status.starts_with("UP ") || self.status == "no check"
    }
}

/// None: it is no such table.
pub fn rows(block: &str) -> Option<Vec<Row>> {
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

/// Of a line with commas between. What has a comma in it stands in quotes, with its own quotes doubled.
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
    fn a_table_is_read_by_its_titles() {
        let table = "# pxname,svname,desc,status,\nweb,a,\"x,\"\"y\"\"\",UP 1/3,\nweb,BACKEND,,DOWN,\n";
        let row = |name: &str, status: &str| Row { name: name.to_owned(), status: status.to_owned() };
        assert_eq!(rows(table), Some(vec![row("a", "UP 1/3"), row("BACKEND", "DOWN")]));
        assert_eq!(cells("a,\"x,\"\"y\"\"\","), ["a", "x,\"y\"", ""]);
    }

    #[test]
    fn what_is_no_table_is_none() {
        for text in ["", "#", "# pxname,svname\na,b", "No such proxy.", "# svname,status\na", "Unknown command"] {
            assert_eq!(rows(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_what_takes_part_is_up() {
        let up = |status: &str| Row { name: "a".to_owned(), status: status.to_owned() }.is_up();
        for status in ["UP", "UP 1/3", "no check"] {
            assert!(up(status), "{status}");
        }
        for status in ["DOWN", "DOWN 1/2", "MAINT", "MAINT (via a/b)", "DRAIN", "NOLB", "UPSIDE", ""] {
            assert!(!up(status), "{status}");
        }
    }
}
