//! Recognises files of other formats.

use std::ops::Range;

use crate::hints;

const TABLE: &str = "the manual's page on configuration has a table \"Coming from keepalived\"";

/// Returns the place that shows the format, and what to do. Only for a text that is not TOML.
pub(super) fn other_than_toml(text: &str) -> Option<(Range<usize>, String)> {
    let is_bare = |(at, _): &(usize, &str)| !text[at + 1..].starts_with('\n');
    if let Some((at, _)) = text.match_indices('\r').find(is_bare) {
        let message = "found a carriage return without a line feed; expected lines that end in a line feed: convert the file, \
                       `tr '\\r' '\\n'`";
        return Some((at..at + 1, message.to_owned()));
    }
    // Lines of another format inside a TOML file get their own hints.
    let ours =
        lines(text).any(|(_, line)| ["[daemon", "[check", "[instance"].iter().any(|ours| line.starts_with(ours)));
    if let Some((at, line)) = lines(text).find(|(_, line)| begins_block(line))
        && !ours
    {
        let message = format!("this looks like keepalived.conf; expected TOML: rewrite it; {TABLE}");
        return Some((at..at + line.len(), message));
    }
    let (at, first) = lines(text).find(|(_, line)| !line.is_empty() && !is_comment(line))?;
    let looks_like = match first.as_bytes()[0] {
        b'{' if !is_template(first) => "JSON",
        b'[' if matches!(first.as_bytes().get(1), None | Some(b'{')) => "JSON",
        b'<' if !is_merge_mark(first) => "XML",
        _ if !ours && first.starts_with("---") => "YAML",
        _ if !ours && mostly(text, is_yaml) => "YAML",
        _ if !ours && mostly(text, is_ini) && lines(text).any(|(_, line)| is_bare_text(line)) => "an INI file",
        _ if first.starts_with("#!") => "a script",
        _ => return None,
    };
    let message = format!(
        "this looks like {looks_like}; expected TOML: tables like [instance.web], and in them lines like priority = 100 \
         or interface = \"eth0\""
    );
    Some((at..at + first.len(), message))
}

/// `<<<<<<< HEAD`, `=======`, `>>>>>>> branch`
pub(super) fn is_merge_mark(line: &str) -> bool {
    ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|mark| line.starts_with(mark))
}

/// `{{ ... }}` or `{% ... %}`
pub(super) fn is_template(line: &str) -> bool {
    line.contains("{{") && line.contains("}}") || line.contains("{%") && line.contains("%}")
}

/// The trimmed lines, each with its start.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let at = start + (line.len() - line.trim_start().len());
        start += line.len();
        (at.min(start), line.trim())
    })
}

fn is_comment(line: &str) -> bool {
    // A shebang is a comment only in TOML.
    line.starts_with(['#', '!', ';']) && !line.starts_with("#!/") || line.starts_with("//")
}

/// `vrrp_instance VI_1 {`
fn begins_block(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(|word| hints::is_block(word.trim_end_matches('{')))
        && !line.contains('=')
        && (line.ends_with('{') || words.count() <= 1)
}

/// Whether at least one line, and more than half of those that are neither empty nor comments, satisfy `is`.
fn mostly(text: &str, is: fn(&str) -> bool) -> bool {
    let saying = || lines(text).map(|(_, line)| line).filter(|line| !line.is_empty() && !is_comment(line));
    let alike = saying().filter(|line| is(line)).count();
    alike > 0 && alike * 2 > saying().count()
}

/// `key: value`, `key:` or `- item`
fn is_yaml(line: &str) -> bool {
    let line = line.strip_prefix("- ").unwrap_or(line);
    let is_key = |key: &str| {
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\''))
    };
    line.split_once(':').is_some_and(|(key, rest)| is_key(key) && (rest.is_empty() || rest.starts_with(' ')))
}

/// `[section]`, or `key=value` without quotes.
fn is_ini(line: &str) -> bool {
    let is_section = line.starts_with('[') && line.ends_with(']') && !line.contains('"');
    is_section || is_bare_text(line)
}

fn is_bare_text(line: &str) -> bool {
    let value = line.split_once('=').map(|(_, value)| value.trim());
    value.is_some_and(|value| value.starts_with(|c: char| c.is_alphabetic() || c == '/'))
}
