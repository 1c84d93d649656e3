// A transform for `asc`. It gives the exports `run` and `realloc` the names of the contract, which are not identifiers, and makes
// exceptions end in the SDK's `abort`.

const NAMES = { run: "vouchd:check/checker@0.1.0#check", realloc: "cabi_realloc" };

export default class {
  afterParse(parser) {
    const sdk = parser.sources.find(({ internalPath }) => internalPath.endsWith("vouchd_check"));
    if (!sdk) throw new Error("expected the plugin to import vouchd_check.ts, as example/port.ts does");
    const { options } = this.program;
    options.globalAliases ??= new Map();
    options.globalAliases.set("abort", `${sdk.internalPath}/abort`);
  }

  afterCompile(module) {
    for (const [own, name] of Object.entries(NAMES)) {
      const found = module.getExport(own);
      if (!found) throw new Error(`expected the plugin to export \`${own}\`, as example/port.ts does`);
      const internal = this.binaryen.getExportInfo(found).value;
      module.removeExport(own);
      module.addFunctionExport(internal, name);
    }
  }
}
