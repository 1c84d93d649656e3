//! What an operator wants to know of a certificate (RFC 5280): its own statements, which others decide to trust or not. What
//! can't be read is left out.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser;
use x509_parser::oid_registry::{OID_X509_EXT_SUBJECT_ALT_NAME, Oid};
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::X509Name;

/// The statements of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::probes) struct Shown {
    /// As in `CN=www.example.com, O=Example`.
    pub(in crate::probes) subject: String,
    pub(in crate::probes) issuer: String,
    /// The alternative names that are DNS names or addresses.
    pub(in crate::probes) names: Vec<String>,
    /// Unix time in seconds.
    pub(in crate::probes) not_before: i64,
    pub(in crate::probes) not_after: i64,
}

/// Further alternative names are left out.
const MAX_NAMES: usize = 100;

/// The number of `dNSName` among a certificate's alternative names.
const DNS_NAME: Tag = Tag(2);

/// Reads a certificate from its DER; `None` if it is none.
pub(in crate::probes) fn parse(der: &[u8]) -> Option<Shown> {
    // One unreadable extension must not hide the rest.
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (_, certificate) = parser.parse(der).ok()?;
    let validity = certificate.validity();
    Some(Shown {
        subject: distinguished_name(certificate.subject()),
        issuer: distinguished_name(certificate.issuer()),
        names: alternative_names(&certificate).unwrap_or_default(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// The attributes in the certificate's order.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts = name.iter_attributes();
    let parts = parts.map(|part| format!("{}={}", attribute_name(part.attr_type()), text(part.attr_value())));
    parts.collect::<Vec<_>>().join(", ")
}

fn attribute_name(oid: &Oid<'_>) -> String {
    let id = oid.to_id_string();
    match id.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        _ => return id,
    }
    .to_owned()
}

fn text(value: &Any<'_>) -> String {
    if value.tag() == Tag::BmpString {
        let units: Vec<u16> = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(value.data).into_owned()
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let found = certificate.extensions().iter().find(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME)?;
    let (_, names) = SubjectAlternativeName::from_der(found.value).ok()?;
    let names = names.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::Invalid(DNS_NAME, name) => Some(String::from_utf8_lossy(name).into_owned()),
        GeneralName::IPAddress(bytes) => ip(bytes),
        _ => None,
    });
    Some(names.take(MAX_NAMES).collect())
}

fn ip(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).to_string())
}

#[cfg(test)]
mod tests {
    use x509_parser::time::ASN1Time;

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
        const UTC_TIME: u8 = 0x17;
        const GENERALIZED_TIME: u8 = 0x18;
        let table = [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20000301000001Z", Some(951_868_801)),
            (GENERALIZED_TIME, "19691231235959Z", Some(-1)),
            (UTC_TIME, "700001000000Z", None),
            // Without seconds, which X.680 allows and RFC 5280 section 4.1.2.5.1 does not; there is no doubt what it means.
            (UTC_TIME, "7001010000Z", Some(0)),
            (UTC_TIME, "70010100000+Z", None),
            (UTC_TIME, "700101000000", None),
            (0x02, "700101000000Z", None),
        ];
        for (tag, text, expected) in table {
            let der = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            let time = ASN1Time::from_der(&der).ok().map(|(_, time)| time.timestamp());
            assert_eq!(time, expected, "{text}");
        }
    }
}
