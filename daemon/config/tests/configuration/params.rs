//! A check's parameters against what its plugin declares.

use std::collections::BTreeMap;
use std::path::PathBuf;

use vouchd_config::{Param, ParamType, resolve};

fn param(name: &str, kind: ParamType) -> Param {
    Param {
        name: name.to_owned(),
        kind,
        list: false,
        required: false,
        default: None,
        min: None,
        max: None,
        doc: String::new(),
    }
}

fn declared() -> BTreeMap<String, Vec<Param>> {
    let params = vec![
        Param { required: true, doc: "Where it is".to_owned(), ..param("url", ParamType::Text) },
        Param { list: true, ..param("status", ParamType::Text) },
        Param { min: Some(0), max: Some(255), ..param("redirects", ParamType::Integer) },
        param("ratio", ParamType::Number),
        param("verify", ParamType::Boolean),
        param("timeout", ParamType::Duration),
        param("headers", ParamType::Table),
        param("later", ParamType::Any),
        param("free", ParamType::Table),
        Param { required: true, ..param("free.fail", ParamType::Integer) },
        param("free.after", ParamType::Table),
        param("free.after.wait", ParamType::Duration),
    ];
    BTreeMap::from([("p".to_owned(), params)])
}

/// The headlines of what is wrong with `params` on line 3.
fn problems(params: &str) -> Vec<String> {
    let text = format!("[check.c]\nplugin = \"p\"\n{params}\n");
    let config = resolve(vec![(PathBuf::from("v.toml"), text)]).expect("valid in itself");
    match config.check_params(&declared()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.problems().iter().map(|problem| problem.headline()).collect(),
    }
}

#[test]
fn declared_parameters_are_accepted() {
    for params in [
        "params = { url = \"x\" }",
        "params = { url = \"x\", status = [200, \"3xx\"], redirects = 255, ratio = 1, verify = false, timeout = \"2s\" }",
        "params = { url = \"x\", redirects = \"7\", headers = { a = \"b\", c = [1, 2] }, later = [{ a = 1 }, 2] }",
        "params.url = \"x\"",
        "params = { url = \"x\", free = { fail = 1, after.wait = \"1d\" } }",
    ] {
        assert_eq!(problems(params), Vec::<String>::new(), "{params}");
    }
}

#[test]
fn undeclared_parameter_is_an_error_at_its_place() {
    for (params, expected) in [
        ("", "v.toml:1:8: check.c.params: `url` is missing; plugin p needs it: Where it is"),
        ("params = { verify = true }", "v.toml:3:1: check.c.params: `url` is missing; plugin p needs it: Where it is"),
        (
            "params = { url = \"x\", verfy = true }",
            "v.toml:3:23: check.c.params.verfy = true: plugin p has no such parameter (did you mean `verify`?); expected \
             one of: url, status, redirects, ratio, verify, timeout, headers, later, free",
        ),
        (
            "params = { url = \"x\", redirects = 256 }",
            "v.toml:3:35: check.c.params.redirects = 256: expected a whole number from 0 to 255",
        ),
        ("params = { url = \"x\", ratio = \"a\" }", "v.toml:3:31: check.c.params.ratio = \"a\": expected a number"),
        ("params = { url = \"x\", verify = 1 }", "v.toml:3:32: check.c.params.verify = 1: expected true or false"),
        (
            "params = { url = \"x\", timeout = 2 }",
            "v.toml:3:33: check.c.params.timeout = 2: expected a duration with its unit, like \"500ms\" or \"2s\"",
        ),
        (
            "params = { url = [\"x\", \"y\"] }",
            "v.toml:3:24: check.c.params.url[1] = \"y\": expected a string, found a list",
        ),
        ("params = { url.a = \"x\" }", "v.toml:3:16: check.c.params.url.a = \"x\": expected a string, found a table"),
        (
            "params = { url = \"x\", free = { fail = \"x\" } }",
            "v.toml:3:39: check.c.params.free.fail = \"x\": expected a whole number",
        ),
        (
            "params = { url = \"x\", free = { fail = 1, wran = 2 } }",
            "v.toml:3:42: check.c.params.free.wran = 2: plugin p has no such parameter; expected one of: free.fail, \
             free.after",
        ),
        (
            "params = { url = \"x\", free = { fail = 1, after = { wiat = 2 } } }",
            "v.toml:3:52: check.c.params.free.after.wiat = 2: plugin p has no such parameter (did you mean \
             `free.after.wait`?); expected one of: free.after.wait",
        ),
        (
            "params = { url = \"x\", free = { after.wait = \"1s\" } }",
            "v.toml:3:1: check.c.params: `free.fail` is missing; plugin p needs it",
        ),
        ("params = { url = \"x\", headers = 1 }", "v.toml:3:33: check.c.params.headers = 1: expected a table"),
    ] {
        assert_eq!(problems(params), [expected], "{params}");
    }
}

#[test]
fn plugin_without_declaration_accepts_every_parameter() {
    let text = "[check.c]\nplugin = \"other\"\nparams = { a = 1 }\n";
    let config = resolve(vec![(PathBuf::from("v.toml"), text.to_owned())]).expect("valid in itself");
    assert!(config.check_params(&declared()).is_ok());
}
