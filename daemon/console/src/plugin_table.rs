use vouchd_ipc::status::Plugin;

use crate::table::Table;

/// A table of plugins, with the errors of each below its row.
pub fn plugin_table<'a>(plugins: impl IntoIterator<Item = &'a Plugin>) -> String {
    let mut table = Table::new(["PLUGIN", "KIND", "SHA256", "SOURCE"]);
    for plugin in plugins {
        let sha256 = plugin.sha256.as_deref().and_then(|hash| hash.get(..12)).unwrap_or("-");
        table.row([
            plugin.name.clone(),
            plugin.kind.clone().unwrap_or_else(|| "-".to_owned()),
            sha256.to_owned(),
            plugin.source.clone(),
        ]);
        for note in [&plugin.error, &plugin.pending].into_iter().flatten() {
            table.note(note);
        }
    }
    table.to_string()
}
