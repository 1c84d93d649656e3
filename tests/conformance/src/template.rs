//! The language of configuration and command templates: text with `{name}` in it, and lines that depend on a setting.
//!
//! | at the start of a line | the line |
//! |---|---|
//! | `{if name}` | is kept only if the setting has a value |
//! | `{unless name}` | is kept only if it has none |
//! | `{each name}` | is repeated for each value of the setting |
//!
//! Every other `{name}` is replaced by the setting's first value. Braces around anything but a setting's name are left alone.

use std::collections::BTreeMap;

/// The values of each setting. A setting that is off has none.
pub type Values = BTreeMap<&'static str, Vec<String>>;

/// Fills in a template.
pub fn fill(template: &str, values: &Values) -> String {
    let mut text = String::new();
    for line in template.lines() {
        let (rule, line) = rule(line, values);
        let of = |name| values.get(name).map_or(&[][..], Vec::as_slice);
        match rule {
            Rule::Always => push(&mut text, &replaced(line, values)),
            Rule::If(name) if !of(name).is_empty() => push(&mut text, &replaced(line, values)),
            Rule::Unless(name) if of(name).is_empty() => push(&mut text, &replaced(line, values)),
            Rule::If(_) | Rule::Unless(_) => {}
            Rule::Each(name) => {
                for value in of(name) {
                    push(&mut text, &replaced(&line.replace(&format!("{{{name}}}"), value), values));
                }
            }
        }
    }
    text
}

/// Whether a template can express a setting at all.
pub fn mentions(template: &str, name: &str) -> bool {
    ["{", "{if ", "{unless ", "{each "].iter().any(|start| template.contains(&format!("{start}{name}}}")))
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

enum Rule<'t> {
    Always,
    If(&'t str),
    Unless(&'t str),
    Each(&'t str),
}

fn rule<'t>(line: &'t str, values: &Values) -> (Rule<'t>, &'t str) {
    let parts = line.strip_prefix('{').and_then(|line| line.split_once('}'));
    let Some((head, rest)) = parts else { return (Rule::Always, line) };
    match head.split_once(' ') {
        Some(("if", name)) if values.contains_key(name) => (Rule::If(name), rest),
        Some(("unless", name)) if values.contains_key(name) => (Rule::Unless(name), rest),
        Some(("each", name)) if values.contains_key(name) => (Rule::Each(name), rest),
        _ => (Rule::Always, line),
    }
}

fn replaced(line: &str, values: &Values) -> String {
    let mut line = line.to_owned();
    for (name, values) in values {
        if let Some(value) = values.first() {
            line = line.replace(&format!("{{{name}}}"), value);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_depend_on_settings_and_braces_of_the_format_are_left_alone() {
        let values = Values::from([
            ("vrid", vec!["55".to_owned()]),
            ("address", vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()]),
            ("preempt", vec![]),
            ("password", vec!["1234".to_owned()]),
        ]);
        let template = "id {vrid}\n{unless preempt}nopreempt\n{if preempt}preempt\nlist {\n{each address}  {address}/24\n}\n\
                        {if password}auth = { type = \"pass\", password = \"{password}\" }\n";
        let expected = "id 55\nnopreempt\nlist {\n  192.0.2.1/24\n  192.0.2.2/24\n}\n\
                        auth = { type = \"pass\", password = \"1234\" }\n";
        assert_eq!(fill(template, &values), expected);
        assert!(mentions(template, "preempt") && mentions(template, "address") && !mentions(template, "peer"));
    }
}
