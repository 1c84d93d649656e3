//! The examples of `docs/plugins.md` are valid configurations, and the shipped plugins know every parameter in them.

use crate::common::{builtin, host, run};
use vouchd_health::RunResult;

#[tokio::test]
async fn every_example_of_the_manual_runs_as_far_as_its_service() {
    let manual = include_str!("../../../../docs/plugins.md");
    let host = host();
    let mut checks = 0;
    for block in manual.split("\n```toml\n").skip(1) {
        let text = block.split("\n```").next().unwrap_or_default().to_owned();
        let config = vouchd_config::resolve(vec![("docs/plugins.md".into(), text)]).unwrap_or_else(|e| panic!("{e}"));
        for check in config.checks {
            checks += 1;
            let Some(plugin) = builtin(&host, check.plugin.as_str()) else { return };
            let params: Vec<_> = check.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let outcome = run(&host, &plugin, &params, &check.grants).await;
            // The service may be there or not. This machine may lack a user, a file, a bus or a name server.
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
