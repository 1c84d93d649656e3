//! What an operator wants to know of a certificate (RFC 5280), read from its DER: its own statements, which others decide to
//! trust or not. What can't be read is left out.
//!
//! By hand, not with x509-parser: that is eleven crates for a few fields, and the derive macros of asn1-rs give syn a
//! feature with which wasmtime is built anew.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The statements of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) names: Vec<String>,
    /// Unix time in seconds.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
/// `[0]` and `[3]` of a TBSCertificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[2]` and `[7]` of a GeneralName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// Further alternative names are left out.
const MAX_NAMES: usize = 100;

/// Reads a certificate; `None` if it is none.
pub(crate) fn parse(der: &[u8]) -> Option<Shown> {
    let mut fields = Der(Der(Der(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
    fields.optional(VERSION);
    let (_serial, _) = fields.next().map(|(tag, value)| (value, tag))?;
    fields.expect(SEQUENCE)?;
    let issuer = distinguished_name(fields.expect(SEQUENCE)?);
    let mut validity = Der(fields.expect(SEQUENCE)?);
    let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
    let subject = distinguished_name(fields.expect(SEQUENCE)?);
    let mut names = Vec::new();
    while let Some((tag, value)) = fields.next() {
        if tag == EXTENSIONS {
            names = alternative_names(value).unwrap_or_default();
        }
    }
    Some(Shown { subject, issuer, names, not_before, not_after })
}

/// The rest of a sequence of DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short @ 0..0x80 => (short, rest),
            long => {
                let (digits, rest) = rest.split_at_checked(long & 0x7f)?;
                if !(1..=4).contains(&digits.len()) {
                    return None;
                }
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.next().map(|(_, value)| value) } else { None }
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.optional(tag)
    }
}

/// The attributes in the certificate's order, as in `CN=www.example.com, O=Example`.
fn distinguished_name(der: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut sets = Der(der);
    while let Some(set) = sets.expect(SET) {
        let mut attributes = Der(set);
        while let Some(attribute) = attributes.expect(SEQUENCE) {
            let mut pair = Der(attribute);
            if let (Some(kind), Some((tag, value))) = (pair.expect(OBJECT_IDENTIFIER), pair.next()) {
                parts.push(format!("{}={}", attribute_name(kind), text(tag, value)));
            }
        }
    }
    parts.join(", ")
}

fn attribute_name(oid: &[u8]) -> String {
    match oid {
        // 2.5.4.x
        [0x55, 0x04, kind] => match kind {
            3 => "CN",
            5 => "serialNumber",
            6 => "C",
            7 => "L",
            8 => "ST",
            10 => "O",
            11 => "OU",
            other => return format!("2.5.4.{other}"),
        }
        .to_owned(),
        other => other.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn text(tag: u8, value: &[u8]) -> String {
    if tag == BMP_STRING {
        let units: Vec<u16> = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(value).into_owned()
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Der(Der(extensions).expect(SEQUENCE)?);
    while let Some(extension) = extensions.expect(SEQUENCE) {
        let mut fields = Der(extension);
        let kind = fields.expect(OBJECT_IDENTIFIER)?;
        fields.optional(BOOLEAN);
        let value = fields.expect(OCTET_STRING)?;
        if kind != SUBJECT_ALT_NAME {
            continue;
        }
        let mut names = Vec::new();
        let mut general = Der(Der(value).expect(SEQUENCE)?);
        while let Some((tag, value)) = general.next() {
            match tag {
                DNS_NAME => names.push(String::from_utf8_lossy(value).into_owned()),
                IP_ADDRESS => names.extend(ip(value)),
                _ => {}
            }
        }
        names.truncate(MAX_NAMES);
        return Some(names);
    }
    None
}

fn ip(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).to_string())
}

/// Parses `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time((tag, value): (u8, &[u8])) -> Option<i64> {
    let digits = value.strip_suffix(b"Z")?;
    let two = |at: usize| -> Option<i64> {
        let pair = digits.get(at..at + 2)?;
        pair.iter().all(u8::is_ascii_digit).then(|| i64::from(pair[0] - b'0') * 10 + i64::from(pair[1] - b'0'))
    };
    let (year, at) = match tag {
        // RFC 5280 section 4.1.2.5.1: from 1950 to 2049.
        UTC_TIME => (two(0).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        GENERALIZED_TIME => (two(0)? * 100 + two(2)?, 4),
        _ => return None,
    };
    let (month, day) = (two(at)?, two(at + 2)?);
    let (hour, minute, second) = (two(at + 4)?, two(at + 6)?, two(at + 8)?);
    if !(1..=12).contains(&month) {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days from March 1st of the year 0.
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_shows_its_names_and_times() {
        let names = ["www.example.com", "10.0.0.1", "fd00::1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "www.example.com");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Bücher");
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2051, 1, 1);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let expected = Shown {
            subject: "CN=www.example.com, O=Bücher".to_owned(),
            issuer: "CN=www.example.com, O=Bücher".to_owned(),
            names: vec!["www.example.com".to_owned(), "10.0.0.1".to_owned(), "fd00::1".to_owned()],
            not_before: 1_709_164_800,
            not_after: 2_556_144_000,
        };
        assert_eq!(parse(certificate.der()), Some(expected));
        for end in 0..certificate.der().len() {
            assert_eq!(parse(&certificate.der()[..end]), None, "the first {end} bytes");
        }
    }

    #[test]
    fn times_are_unix_times() {
        let table = [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20000301000001Z", Some(951_868_801)),
            (GENERALIZED_TIME, "19691231235959Z", Some(-1)),
            (UTC_TIME, "700001000000Z", None),
            (UTC_TIME, "7001010000Z", None),
            (UTC_TIME, "70010100000+Z", None),
            (UTC_TIME, "700101000000", None),
            (0x02, "700101000000Z", None),
        ];
        for (tag, text, expected) in table {
            assert_eq!(time((tag, text.as_bytes())), expected, "{text}");
        }
    }
}
