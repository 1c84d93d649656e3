//! The examples of `docs/plugins.md` are valid configurations, and the shipped plugins know every parameter in them.

mod common;

use std::path::{Path, PathBuf};

use common::{host, run};
use vouchd_health::RunResult;

fn read(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn every_example_of_the_manual_runs_as_far_as_its_service() {
    let manual = String::from_utf8(read("docs/plugins.md")).unwrap();
    let host = host();
    let mut checks = 0;
    for block in manual.split("\n```toml\n").skip(1) {
        let text = block.split("\n```").next().unwrap_or_default().to_owned();
        let config = vouchd_config::resolve(vec![("docs/plugins.md".into(), text)]).unwrap_or_else(|e| panic!("{e}"));
        for check in config.checks {
            checks += 1;
            let dir = std::env::var_os("VOUCHD_PLUGINS").map_or_else(|| PathBuf::from("target/plugins"), PathBuf::from);
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(dir).join(&check.plugin);
            let Ok(bytes) = std::fs::read(file.with_extension("wasm")) else {
                return vouchd_skip::skip(&format!("no {}.wasm", check.plugin), "run `cargo xtask build`");
            };
            let plugin = host.load(&bytes).unwrap();
            let params: Vec<_> = check.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let outcome = run(&host, &plugin, &params, &check.grants).await;
            // The service may be there or not; only a user, a file, a bus or a name server that this machine lacks can't be helped here.
            if let RunResult::Error { reason } = &outcome.result {
                let lacking = [
                    "this machine has no such user",
                    "no such file or directory",
                    "there is no socket",
                    "no name server",
                ];
                assert!(lacking.iter().any(|words| reason.contains(words)), "{}: {reason}", check.name);
            }
        }
    }
    assert_eq!(checks, 27);
}
