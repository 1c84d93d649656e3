//! The words of a text, one after the other, and what is wrong with one of them.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};

use crate::{Family, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN};

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The wrong part of the text, in bytes. Empty at the end of the text if something is missing.
    pub span: Range<usize>,
    /// What was expected, and what to do.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

/// A word and its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    at: usize,
}

impl Word<'_> {
    pub(crate) fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake { span: self.at..self.at + self.text.len(), message: message.into() }
    }
}

/// Reads the words of a text in order.
#[derive(Debug, Clone)]
pub(crate) struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Words { text, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<Word<'a>> {
        self.clone().next()
    }

    /// Takes the next word if it is this one.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_some_and(|next| next.text == word);
        if is_next {
            self.next();
        }
        is_next
    }

    /// The mistake that something is missing at the end.
    pub(crate) fn missing(&self, message: impl Into<String>) -> Mistake {
        let end = self.text.trim_end().len();
        Mistake { span: end..end, message: message.into() }
    }

    /// Takes the value that must follow the keyword.
    pub(crate) fn value(&mut self, keyword: Word<'_>, expected: &str) -> Result<Word<'a>, Mistake> {
        self.next().ok_or_else(|| self.missing(format!("expected {expected} after `{}`", keyword.text)))
    }

    /// Takes the family that may lead the text, `-4` or `-6`.
    pub(crate) fn family(&mut self) -> Option<Family> {
        if self.take("-4") {
            Some(Family::V4)
        } else if self.take("-6") {
            Some(Family::V6)
        } else {
            None
        }
    }

    pub(crate) fn number<T: TryFrom<u64>>(
        &mut self,
        keyword: Word<'_>,
        range: RangeInclusive<u64>,
    ) -> Result<T, Mistake> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let word = self.value(keyword, &expected)?;
        let number = parse_number(word.text).filter(|number| range.contains(number)).and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| word.mistake(format!("expected {expected} after `{}`", keyword.text)))
    }

    pub(crate) fn address(&mut self, keyword: Word<'_>) -> Result<(IpAddr, Word<'a>), Mistake> {
        let word = self.value(keyword, "an address")?;
        let address = word.text.parse().map_err(|_| {
            let plain = word.text.split_once('/').and_then(|(address, _)| address.parse::<IpAddr>().ok());
            let meant = plain.map(|address| format!("; write {address}, without a prefix length")).unwrap_or_default();
            word.mistake(format!("expected an address after `{}`{meant}", keyword.text))
        })?;
        Ok((address, word))
    }

    pub(crate) fn interface(&mut self, keyword: Word<'_>) -> Result<String, Mistake> {
        let word = self.value(keyword, "the name of an interface")?;
        let is_name = (1..=15).contains(&word.text.len())
            && !matches!(word.text, "." | "..")
            && !word.text.chars().any(|c| matches!(c, '/' | ':') || c.is_control());
        if !is_name {
            let message = "expected the name of an interface: 1 to 15 characters, no / or :";
            return Err(word.mistake(message));
        }
        Ok(word.text.to_owned())
    }

    pub(crate) fn table(&mut self, keyword: Word<'_>) -> Result<u32, Mistake> {
        let expected = "the number of a table, from 1 to 4294967295, or main, local or default";
        let word = self.value(keyword, expected)?;
        match word.text {
            "main" => return Ok(TABLE_MAIN),
            "local" => return Ok(TABLE_LOCAL),
            "default" => return Ok(TABLE_DEFAULT),
            _ => {}
        }
        let number = parse_number(word.text).and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        number.ok_or_else(|| {
            let is_name = word.text.starts_with(|c: char| c.is_alphabetic());
            let hint = if is_name { "; names in /etc/iproute2/rt_tables are not read: write the number" } else { "" };
            word.mistake(format!("expected {expected}{hint}"))
        })
    }

    /// The mistake of a word that cannot stand here. `known` are the words that can.
    pub(crate) fn unknown(word: Word<'_>, known: &[&str]) -> Mistake {
        let meant = nearest(word.text, known).map(|meant| format!(" (did you mean `{meant}`?)")).unwrap_or_default();
        word.mistake(format!("unknown word `{}`{meant}; expected one of: {}", word.text, known.join(", ")))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.text[start..];
        let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.at = start + length;
        (length > 0).then(|| Word { text: &rest[..length], at: start })
    }
}

/// A number in decimal or, after `0x`, in hexadecimal digits.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    digits.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| u64::from_str_radix(digits, radix).ok())?
}

/// Keeps the mistake of an option that is written twice.
pub(crate) fn once<T>(place: &mut Option<T>, value: T, word: Word<'_>) -> Result<(), Mistake> {
    if place.is_some() {
        return Err(word.mistake(format!("`{}` is written twice; remove one", word.text)));
    }
    *place = Some(value);
    Ok(())
}

fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let text = text.to_lowercase();
    let distance = |word: &&str| strsim::damerau_levenshtein(&text, word);
    let nearest = known.iter().min_by_key(|word| distance(word))?;
    let allowed = (text.len().max(nearest.len()) / 3).clamp(1, 3);
    (distance(nearest) <= allowed).then_some(*nearest)
}
