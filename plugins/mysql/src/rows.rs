//! The result of a query: rows of named columns, put together from the packets of the text protocol.

use vouchd_check_peer::{Malformed, Parsed, Reader};

use crate::wire::{ServerError, length, name, server_error, value};

/// The most columns of a result: the server's own limit. The number of rows is bounded by the check's `limits.probe_bytes`.
const MAX_COLUMNS: u64 = 4096;

/// A row of a result: names and values of its columns.
pub(crate) type Row = Vec<(String, Option<String>)>;

/// A result that is being received.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    stage: Stage,
    names: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Count,
    /// The number of column definitions still to come.
    Columns(u64),
    ColumnsEnd,
    Rows,
}

/// What a packet of a result leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Wanting(Rows),
    Done(Vec<Row>),
    Error(ServerError),
}

impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        (self.stage, &self.names, &self.rows) == (other.stage, &other.names, &other.rows)
    }
}

impl Eq for Rows {}

impl Rows {
    /// Takes the next packet of the result.
    pub(crate) fn take(mut self, packet: &[u8]) -> Parsed<Progress> {
        if packet.first() == Some(&0xff) {
            return server_error(packet).map(Progress::Error);
        }
        let is_end = packet.first() == Some(&0xfe) && packet.len() < 9;
        let mut reader = Reader::new(packet);
        self.stage = match self.stage {
            Stage::Count => match length(&mut reader)?.ok_or(Malformed)? {
                0 => return Ok(Progress::Done(Vec::new())),
                count if count > MAX_COLUMNS => return Err(Malformed),
                count => Stage::Columns(count),
            },
            Stage::Columns(left) => {
                for _ in 0..4 {
                    value(&mut reader)?; // catalog, schema, table, table
                }
                self.names.push(name(value(&mut reader)?.ok_or(Malformed)?));
                if left == 1 { Stage::ColumnsEnd } else { Stage::Columns(left - 1) }
            }
            Stage::ColumnsEnd if is_end => Stage::Rows,
            Stage::ColumnsEnd => return Err(Malformed),
            Stage::Rows if is_end => return Ok(Progress::Done(self.rows)),
            Stage::Rows => {
                let mut row = Row::new();
                for name in &self.names {
                    let value = value(&mut reader)?.map(|value| String::from_utf8_lossy(value).into_owned());
                    row.push((name.clone(), value));
                }
                self.rows.push(row);
                Stage::Rows
            }
        };
        Ok(Progress::Wanting(self))
    }
}

#[cfg(test)]
mod tests {
    use vouchd_check::testing::random_messages;

    use super::*;

    #[test]
    fn result_is_put_together_from_its_packets() {
        let column = |name: &str| {
            let mut packet = b"\x03def\0\0\0".to_vec();
            packet.push(name.len() as u8);
            packet.extend(name.as_bytes());
            packet.extend(b"\0\x0c\x3f\0\x01\0\0\0\x08\x80\0\0\0\0");
            packet
        };
        let end = b"\xfe\0\0\x02\0".to_vec();
        let packets = [vec![2], column("a"), column("b"), end.clone(), b"\x011\xfb".to_vec(), end];
        let mut rows = Rows::default();
        for packet in &packets[..5] {
            let Ok(Progress::Wanting(more)) = rows.take(packet) else { panic!("more was to come") };
            rows = more;
        }
        let row = vec![("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)];
        assert_eq!(rows.take(&packets[5]), Ok(Progress::Done(vec![row])));
        assert_eq!(Rows::default().take(b"\0\0\0\x02\0"), Ok(Progress::Done(Vec::new())));
    }

    #[test]
    fn false_lengths_are_malformed() {
        // A value of nearly 2^64 bytes; 5000 columns; NULL as a count.
        let huge = [&[0xfe][..], &[0xff; 8], b"x"].concat();
        let rows = |stage| Rows { stage, names: vec!["a".to_owned()], rows: Vec::new() };
        assert_eq!(rows(Stage::Rows).take(&huge), Err(Malformed));
        assert_eq!(rows(Stage::Count).take(b"\xfc\x88\x13"), Err(Malformed));
        assert_eq!(rows(Stage::Count).take(b"\xfb"), Err(Malformed));
        // The number of rows is not bounded here: the daemon bounds their bytes.
        let mut rows = rows(Stage::Rows);
        for _ in 0..1000 {
            let Ok(Progress::Wanting(more)) = rows.take(b"\x01x") else { panic!("a row more") };
            rows = more;
        }
        assert!(matches!(rows.take(b"\xfe\0\0\0\0"), Ok(Progress::Done(rows)) if rows.len() == 1000));
    }

    #[test]
    fn random_packets_never_panic() {
        for packet in random_messages(20_000) {
            for stage in [Stage::Count, Stage::Columns(1), Stage::ColumnsEnd, Stage::Rows] {
                let names = vec!["a".to_owned(), "b".to_owned()];
                let _ = Rows { stage, names, rows: Vec::new() }.take(&packet);
            }
        }
    }
}
