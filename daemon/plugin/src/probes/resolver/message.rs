//! DNS questions and answers (RFC 1035) on the wire.

use std::net::IpAddr;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// Longest chain of aliases that is followed.
const MAX_ALIASES: usize = 16;

/// A name server's answer about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Empty: the name has no address of this kind, or does not exist.
    Addresses(Vec<IpAddr>),
    /// Truncated: the whole answer comes over TCP.
    Cut,
    /// The server can't or won't answer, with its response code.
    Failed(String),
}

/// Builds a query; `None` if the name can't be one of the DNS.
pub(super) fn question(id: u16, name: &str, kind: TYPE) -> Option<Vec<u8>> {
    if name.is_empty() || name.split('.').any(str::is_empty) || name.contains('\\') {
        return None;
    }
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// Parses a reply; `None` if it does not answer this question.
pub(super) fn answer(data: &[u8], id: u16, name: &str, kind: TYPE) -> Option<Said> {
    let packet = Packet::parse(data).ok()?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let asked = key(name);
    // Servers that fail may leave the question out.
    if let Some(question) = packet.questions.first()
        && (key(&question.qname.to_string()) != asked || question.qtype != QTYPE::TYPE(kind))
    {
        return None;
    }
    match packet.rcode() {
        RCODE::NoError | RCODE::NameError => {}
        failed => return Some(Said::Failed(format!("{failed:?}"))),
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Some(Said::Cut);
    }
    let mut names = vec![asked];
    for _ in 0..MAX_ALIASES {
        let alias = packet.answers.iter().find_map(|record| match &record.rdata {
            RData::CNAME(alias) if names.last() == Some(&key(&record.name.to_string())) => {
                Some(key(&alias.0.to_string()))
            }
            _ => None,
        });
        match alias {
            Some(alias) if !names.contains(&alias) => names.push(alias),
            Some(_) | None => break,
        }
    }
    let records = packet.answers.iter().filter(|record| names.contains(&key(&record.name.to_string())));
    let addresses = records.filter_map(|record| match &record.rdata {
        RData::A(a) if kind == TYPE::A => Some(IpAddr::from(a.address.to_be_bytes())),
        RData::AAAA(aaaa) if kind == TYPE::AAAA => Some(IpAddr::from(aaaa.address.to_be_bytes())),
        _ => None,
    });
    Some(Said::Addresses(addresses.collect()))
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, CNAME};

    use super::*;

    fn reply(id: u16, records: &[(&str, RData<'static>)]) -> Vec<u8> {
        let question = question(id, "web.example", TYPE::A).unwrap();
        let mut packet = Packet::parse(&question).unwrap().into_reply();
        packet.set_flags(PacketFlag::RESPONSE);
        for (name, data) in records {
            packet.answers.push(ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, 60, data.clone()));
        }
        packet.build_bytes_vec_compressed().unwrap()
    }

    fn a(last: u8) -> RData<'static> {
        RData::A(A { address: u32::from_be_bytes([10, 0, 0, last]) })
    }

    #[test]
    fn answer_has_the_addresses_of_the_name_and_its_aliases_only() {
        let alias = |to: &'static str| RData::CNAME(CNAME(Name::new(to).unwrap()));
        let data = reply(
            7,
            &[
                ("WEB.example", alias("b.example")),
                ("b.example", alias("web.example")),
                ("b.example", a(1)),
                ("other", a(2)),
            ],
        );
        let addresses = Said::Addresses(vec!["10.0.0.1".parse().unwrap()]);
        assert_eq!(answer(&data, 7, "web.example", TYPE::A), Some(addresses));
        assert_eq!(answer(&data, 8, "web.example", TYPE::A), None, "another question's");
        assert_eq!(answer(&data, 7, "wab.example", TYPE::A), None);
        assert_eq!(answer(&data, 7, "web.example", TYPE::AAAA), None);
        assert_eq!(answer(&question(7, "web.example", TYPE::A).unwrap(), 7, "web.example", TYPE::A), None, "an echo");
    }

    #[test]
    fn damaged_or_circular_message_is_no_answer() {
        let whole = reply(7, &[("web.example", a(1))]);
        for length in 0..whole.len() {
            let said = answer(&whole[..length], 7, "web.example", TYPE::A);
            assert!(!matches!(said, Some(Said::Addresses(found)) if !found.is_empty()), "{length}");
        }
        // An answer whose name points at itself.
        let mut circle = whole[..12].to_vec();
        circle[4..12].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
        circle.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1]);
        assert_eq!(answer(&circle, 7, "web.example", TYPE::A), None);
        for name in ["a..b", &"x".repeat(64), &"abc.".repeat(70)] {
            assert_eq!(question(7, name, TYPE::A), None, "{name}");
        }
    }
}
