//! The parts of a file that must not be shown, because messages go to terminals, logs and `vouchd status`.

use std::iter::Peekable;
use std::str::CharIndices;

/// Whether the key may be that of a password or an HMAC key, including keepalived's keys and typing mistakes.
fn is_secret_key(key: &str) -> bool {
    // Nothing longer is a mistyped password.
    const LONGEST: usize = 16;
    let segment = |segment: &str| {
        let segment = segment.to_lowercase();
        let near =
            |word: &str, distance| segment.len() <= LONGEST && strsim::damerau_levenshtein(&segment, word) <= distance;
        segment.starts_with("pass")
            || segment.starts_with("auth")
            || segment.contains("hmac")
            || segment.contains("secret")
            || matches!(segment.as_str(), "hex" | "key" | "keys")
            || near("auth", 1)
            || near("password", 2)
    };
    // `keys[0]` of a path
    key.split(['.', '[']).any(segment)
}

/// Whether a value is an HMAC key by its looks, whatever its name: half of the shortest key in hexadecimal digits is enough.
/// So is the form in which keepalived has it.
pub(crate) fn looks_like_key(value: &str) -> bool {
    const DIGITS: usize = 32;
    let mut run = 0;
    let has_run = value.bytes().any(|byte| {
        run = if byte.is_ascii_hexdigit() { run + 1 } else { 0 };
        run >= DIGITS
    });
    has_run || value.to_ascii_lowercase().trim_start_matches(is_quote).starts_with("hex:")
}

/// Whether a value of an authentication table is what the key needs, and so no secret in the wrong place.
fn is_public(key: &str, value: &str) -> bool {
    match key {
        "type" => true,
        "id" | "active_key" => value.len() <= 3 && value.bytes().all(|byte| byte.is_ascii_digit()),
        "file" => value.starts_with('/'),
        "mode" => ["receive", "send", "accept", "require", "receive-only", "permissive", "enforce"].contains(&value),
        "anti_replay" => matches!(value, "true" | "false"),
        "time_window" => value.len() <= 4 && value.ends_with(|unit: char| unit.is_ascii_alphabetic()),
        _ => false,
    }
}

/// The digest of a plugin looks like a key and is public.
fn is_digest_key(key: &str) -> bool {
    key.rsplit('.').next() == Some("sha256")
}

/// Whether a value must not be shown, by its dotted path from the root and its looks.
pub(crate) fn is_secret_value(path: &str, value: &str) -> bool {
    is_secret(path) || looks_like_key(value) && !is_digest_key(path)
}

/// Whether a value must not be shown, by its dotted path from the root.
pub(crate) fn is_secret(path: &str) -> bool {
    // The second part is the name of an instance or a check.
    let mut keys = path.split('.').enumerate().filter(|(at, _)| *at != 1).map(|(_, key)| key);
    !path.ends_with(".auth.type") && keys.any(is_secret_key)
}

/// The line of a file with possible passwords replaced by stars. `before` is the file up to this line.
pub(crate) fn without_secrets(before: &str, line: &str) -> String {
    if is_within_secret_text(before) {
        return line.chars().map(|_| '*').collect();
    }
    let mut shown = String::with_capacity(line.len());
    let mut tokens = Tokens(line.char_indices().peekable(), line);
    let mut hidden = is_within_auth(before);
    // The key of the next value.
    let mut key = String::new();
    let mut last = Last::Start;
    while let Some((token, kind)) = tokens.next() {
        let mut stars = false;
        match kind {
            Kind::Blank => {}
            Kind::Sign => match token {
                "=" | ":" => last = Last::Equals,
                "," | "{" => {
                    last = Last::Start;
                    key.clear();
                }
                _ => {}
            },
            Kind::Comment => stars = hidden,
            Kind::Text => {
                let bare = token.trim_matches(['"', '\'']);
                let is_key = last == Last::Start && tokens.assigns()
                    || !hidden && last != Last::Equals && !token.starts_with(['"', '\'']) && is_secret_key(bare);
                if is_key {
                    hidden |= is_secret_key(bare);
                    key = bare.to_lowercase();
                    last = Last::Other;
                } else {
                    let is_public = last == Last::Equals && is_public(key.rsplit('.').next().unwrap_or_default(), bare);
                    let is_key = looks_like_key(token) && !(last == Last::Equals && is_digest_key(&key));
                    stars = is_key || hidden && !is_public;
                    // A list may have further values.
                    last = Last::Other;
                    key.clear();
                }
            }
        }
        if stars {
            shown.extend(token.chars().map(|_| '*'));
        } else {
            shown.push_str(token);
        }
    }
    shown
}

/// Whether the next line is inside a multi-line string that is a password.
fn is_within_secret_text(before: &str) -> bool {
    let Some(quotes) = ["\"\"\"", "'''"].into_iter().find(|quotes| before.matches(quotes).count() % 2 == 1) else {
        return false;
    };
    let line_start = |at: usize| before[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let Some((above, line)) = before.rfind(quotes).map(|at| (&before[..line_start(at)], &before[line_start(at)..at]))
    else {
        return false;
    };
    without_secrets(above, &format!("{line}x")) != format!("{line}x")
}

/// Whether the next line is inside an authentication table.
fn is_within_auth(before: &str) -> bool {
    let (mut opened, mut closed) = (0, 0);
    for line in before.lines().rev() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') && line.ends_with(']') && !line.contains([',', '=']) {
            let name = line.trim_matches(['[', ']', ' ']);
            // `[instance.web.auth]`, or `[[instance.web.auth.keys]]`.
            return name.split('.').skip(2).any(|key| key.trim() == "auth");
        }
        opened += line.matches('{').count();
        closed += line.matches('}').count();
        let key = line.split(['=', ':', '{']).next().unwrap_or_default().trim();
        if line.contains('{') && opened > closed && is_secret_key(key) {
            return true;
        }
    }
    false
}

#[derive(PartialEq)]
enum Last {
    /// Of the line, of a table or of its next key.
    Start,
    Equals,
    Other,
}

enum Kind {
    Blank,
    /// One of `= : , { } [ ]`.
    Sign,
    /// From `#` to the end.
    Comment,
    /// In quotes or not.
    Text,
}

/// A line as a sequence of tokens, which together are the line. It need not be TOML.
struct Tokens<'a>(Peekable<CharIndices<'a>>, &'a str);

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<(&'a str, Kind)> {
        let line = self.1;
        let (start, first) = self.0.next()?;
        let kind = match first {
            c if c.is_whitespace() => Kind::Blank,
            '=' | ':' | ',' | '{' | '}' | '[' | ']' => Kind::Sign,
            '#' => {
                self.0.by_ref().for_each(drop);
                Kind::Comment
            }
            c if is_quote(c) => {
                self.skip_string(c);
                Kind::Text
            }
            _ => {
                let ends =
                    |c: char| c.is_whitespace() || matches!(c, '=' | ':' | ',' | '{' | '}' | '[' | ']') || is_quote(c);
                while self.0.next_if(|(_, c)| !ends(*c)).is_some() {}
                Kind::Text
            }
        };
        let end = self.0.peek().map_or(line.len(), |(at, _)| *at);
        Some((&line[start..end], kind))
    }

    fn skip_string(&mut self, opened: char) {
        let mut escaped = false;
        for (_, c) in self.0.by_ref() {
            let closes = match opened {
                '"' | '\'' => c == opened && !escaped,
                // The closing typographic quotation mark differs from the opening one.
                _ => is_quote(c),
            };
            escaped = c == '\\' && opened == '"' && !escaped;
            if closes {
                return;
            }
        }
    }

    /// Whether `=` or `:` comes next.
    fn assigns(&mut self) -> bool {
        self.0.clone().find(|(_, c)| !c.is_whitespace()).is_some_and(|(_, c)| matches!(c, '=' | ':'))
    }
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '“' | '”' | '„' | '‟' | '‘' | '’' | '‚' | '‛' | '«' | '»' | '″' | '＂')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_passwords_are_starred_and_nothing_else() {
        for (line, shown) in [
            ("priority = 256 # too much", "priority = 256 # too much"),
            ("script = \"cat /etc/passwd\"", "script = \"cat /etc/passwd\""),
            ("lease = \"auto\"", "lease = \"auto\""),
            ("auth = \"geheim12\"", "auth = **********"),
            ("auth = geheim", "auth = ******"),
            ("auth = {type=\"pass\", pasword=\"geheim34\"}", "auth = {type=\"pass\", pasword=**********}"),
            ("auth = { type = \"PASS\", pass = 'a' }", "auth = { type = \"PASS\", pass = *** }"),
            ("auth = { secret = \"a\" } # was b", "auth = { secret = *** } *******"),
            ("auth = { type = pass, x: abc=def }", "auth = { type = pass, x: ***=*** }"),
            ("auth = [\"ab\", \"cd\"]", "auth = [****, ****]"),
            ("auth.password = \"a\\\"b\"", "auth.password = ******"),
            ("auth.type = \"PASS\"", "auth.type = \"PASS\""),
            ("auth_pass abc:def", "auth_pass ***:***"),
            ("Passwort: “ab cd”", "Passwort: *******"),
            ("\"password\": \"ab\"", "\"password\": ****"),
            ("web = { priority = 256, auth = { aa = 1 } }", "web = { priority = 256, auth = { aa = * } }"),
            ("password = \"not closed", "password = ***********"),
            (
                "auth = { type = \"hmac\", keys = [{ id = 1, hex = \"00010203\" }] }",
                "auth = { type = \"hmac\", keys = [{ id = 1, hex = ********** }] }",
            ),
            (
                "auth = { keys = [{ id = 1234, file = \"/etc/k\" }, { file = \"geheim\" }], mode = \"send\", active_key = 1 }",
                "auth = { keys = [{ id = ****, file = \"/etc/k\" }, { file = ******** }], mode = \"send\", active_key = 1 }",
            ),
            (
                "auth = { mode = geheim, time_window = \"30s\", anti_replay = true }",
                "auth = { mode = ******, time_window = \"30s\", anti_replay = true }",
            ),
            ("hmac_keys = [0, 1]", "hmac_keys = [*, *]"),
            ("keys = [\"ab\"]", "keys = [****]"),
            ("auth_hmac { key 1 hex:0001 }", "auth_hmac { *** * ***:**** }"),
            ("  key 1 hex:00010203", "  key * ***:********"),
            ("mode = 000102030405060708090a0b0c0d0e0f", "mode = ********************************"),
            ("x = \"000102030405060708090A0B0C0D0E0F\"", "x = **********************************"),
            ("x = \"hex:0001\" # a", "x = ********** # a"),
            ("000102030405060708090a0b0c0d0e0f", "********************************"),
            ("sha256 = \"000102030405060708090a0b0c0d0e0f\"", "sha256 = \"000102030405060708090a0b0c0d0e0f\""),
        ] {
            assert_eq!(without_secrets("[instance.web]\n", line), shown, "{line}");
        }
    }

    #[test]
    fn values_in_an_authentication_table_are_starred() {
        for (before, shown) in [
            ("[instance.web.auth]\ntype = \"pass\"\n", "secret = ***"),
            ("[instance.web.auth] # of both\ntype = \"pass\"\n", "secret = ***"),
            ("[instance.web]\nauth = {\ntype = \"pass\",\n", "secret = ***"),
            ("vrrp_instance VI_1 {\n  authentication {\n", "secret = ***"),
            ("[instance.web]\nauth = { password = \"\"\"\n", "************"),
            ("[instance.web]\nauth = { password = \"\"\"\na\"\"\" }\n", "secret = \"a\""),
            ("[check.c]\nparams = { a = '''\n", "secret = \"a\""),
            ("[instance.auth]\n", "secret = \"a\""),
            ("[instance.web]\nauth = { type = \"pass\" }\n", "secret = \"a\""),
        ] {
            let shown = shown.replace("secret", "silent");
            assert_eq!(without_secrets(before, "silent = \"a\""), shown, "{before}");
        }
    }

    #[test]
    fn value_is_secret_by_its_path() {
        for (path, secret) in [
            ("instance.web.auth", true),
            ("instance.web.auth.password", true),
            ("instance.web.auth.pasword", true),
            ("instance.web.auth.type", false),
            ("instance.auth.priority", false),
            ("check.password.rise", false),
            ("check.db.params.password", true),
            ("password", true),
            ("instance.web.auth.keys[0].hex", true),
            ("instance.web.hex", true),
            ("instance.web.hmac", true),
            ("instance.web.keys[1]", true),
        ] {
            assert_eq!(is_secret(path), secret, "{path}");
        }
    }

    #[test]
    fn value_that_looks_like_a_key_is_secret_under_any_name() {
        let digits = "0123456789abcdef".repeat(2);
        for (path, value, secret) in [
            ("instance.web.mode", digits.as_str(), true),
            ("instance.web.mode", &digits[1..], false),
            ("instance.web.mode", "hex:00", true),
            ("instance.web.mode", "\"HEX:00\"", true),
            ("check.web.sha256", digits.as_str(), false),
            ("instance.web.auth.keys[0].sha256", digits.as_str(), true),
        ] {
            assert_eq!(is_secret_value(path, value), secret, "{path} = {value}");
        }
    }
}
