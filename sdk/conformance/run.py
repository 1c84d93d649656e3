#!/usr/bin/env python3
"""Tests the plugins of every language for the same behaviours, in the real host.

    python3 sdk/conformance/run.py [--vouchd target/debug/vouchd] [--only WORD] [FILE.wasm ...]

`LANGUAGE.wasm` is the example `port`, which `port.py` tests; `conformance-LANGUAGE.wasm` uses the whole SDK of the language,
which `behaviours.py` tests. `cargo xtask languages` builds both; docs/languages says how to build them by hand. Without files
it tests all of target/languages/*.wasm, and names each plugin that was not built. The exit status is 0 if every plugin has all
behaviours.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import behaviours  # noqa: E402
import port  # noqa: E402
from peers import Peers  # noqa: E402
from plugin import NotThere, Plugin  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORTS = ["assemblyscript", "c", "cpp", "go", "javascript", "python", "rust", "typescript", "wat", "zig"]
# The SDK of JavaScript is that of TypeScript; WebAssembly text has none.
CONFORMANCE = ["assemblyscript", "c", "cpp", "go", "python", "rust", "typescript", "zig"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vouchd", default=os.environ.get("VOUCHD_BIN", str(ROOT / "target/debug/vouchd")))
    parser.add_argument("--only", default="", help="only behaviours with this in their name")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    args = parser.parse_args()

    built = sorted((ROOT / "target/languages").glob("*.wasm"))
    expected = {*PORTS, *(f"conformance-{name}" for name in CONFORMANCE)}
    missing = [] if args.files else sorted(expected - {file.stem for file in built})
    failed = 0
    peers = Peers()
    try:
        for file in args.files or built:
            # One cache per plugin: that of Python alone takes 50 MB.
            with tempfile.TemporaryDirectory(prefix="vouchd-conformance-cache-") as cache:
                failed += examine(file, args, peers, cache)
    finally:
        peers.close()
    for name in missing:
        print(f"SKIPPED {name}: target/languages/{name}.wasm does not exist; docs/languages says how to build it")
    return 1 if failed or not (args.files or built) else 0


def examine(file, args, peers, cache):
    """Tests one plugin and prints the result. Returns the number of behaviours that failed."""
    language = file.stem.removeprefix("conformance-")
    plugin = Plugin(args.vouchd, file, cache, language)
    if file.stem == language:
        behaving = [(found, [port.Port(plugin, peers)]) for found in port.BEHAVIOURS]
    else:
        behaving = [(found, [plugin, peers]) for found in behaviours.BEHAVIOURS]
    behaving = [(found, arguments) for found, arguments in behaving if args.only in found.__name__]
    failed, absent = 0, []
    for behaviour, arguments in behaving:
        name = behaviour.__name__.replace("_", " ")
        try:
            behaviour(*arguments)
        except NotThere as why:
            absent.append(f"; not {name}: {why}")
        except (AssertionError, subprocess.TimeoutExpired) as problem:
            failed += 1
            print(f"FAILED {file.stem}: {name}\n{problem}")
    count = len(behaving) - len(absent)
    print(f"{file.stem}: {count - failed} of {count} behaviours ({file.stat().st_size} bytes){''.join(absent)}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
