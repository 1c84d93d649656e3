#!/usr/bin/env python3
"""Holds the example plugin of every language against the same list of behaviours, in the real host.

The plugin is `port`: parameters `address` and `label`; passes or fails by whether a port accepts connections; metrics
`connect` (seconds) and `runs` (a count that it keeps in its memo). One file per language: C, C++, Zig,
AssemblyScript and WAT are built by `cargo xtask languages`, the others as docs/languages says.

    python3 sdk/conformance/run.py [--vouchd target/debug/vouchd] [FILE.wasm ...]

Without files: all of target/languages/*.wasm, and a line for every language that was not built. Exit status: 0 if everything
that was built behaves.
"""

import argparse
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
LANGUAGES = ["assemblyscript", "c", "cpp", "go", "javascript", "python", "typescript", "wat", "zig"]
# Much, but less than a report may have by default (64 KiB).
BIG = 50_000


class Plugin:
    def __init__(self, vouchd, file, open_port, closed_port):
        self.vouchd, self.file = vouchd, file
        self.open, self.closed = f"127.0.0.1:{open_port}", f"127.0.0.1:{closed_port}"

    def run(self, *params, grant=True, options=()):
        """Exit status and output of one run; it may look at both ports."""
        allow = f'{{ tcp = ["{self.open}", "{self.closed}"] }}' if grant else "{}"
        command = [self.vouchd, "plugin", "test", str(self.file), "--allow", allow, "--timeout", "20s"]
        command += ["--limits", '{ cpu = "15s" }', *options]
        for param in params:
            command += ["--param", param]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        return done.returncode, done.stdout.decode(errors="replace")


def expect(outcome, status, pattern):
    """The exit status, and what the output says somewhere."""
    if outcome[0] != status or not re.search(pattern, outcome[1], re.MULTILINE):
        raise AssertionError(f"expected status {status} and /{pattern}/, found status {outcome[0]} and:\n{outcome[1]}")


def an_open_port_passes(plugin):
    expect(plugin.run(f"address={plugin.open}"), 0, f"^pass: {plugin.open} accepts connections$")


def a_closed_port_fails(plugin):
    expect(plugin.run(f"address={plugin.closed}"), 1, f"^fail: {plugin.closed}: connection refused$")


def a_missing_parameter_is_an_error_that_names_it(plugin):
    expect(plugin.run(), 1, "^error: .*address")


def an_unknown_parameter_is_an_error_that_names_it(plugin):
    expect(plugin.run(f"address={plugin.open}", "adress=x"), 1, "^error: .*adress")


def an_address_that_makes_no_sense_is_an_error(plugin):
    expect(plugin.run("address=nonsense"), 1, "^error: ")


def text_comes_back_as_it_went_in(plugin):
    label = "Größe – 日本 🚦"
    expect(plugin.run(f"address={plugin.open}", f"label={label}"), 0, f"^pass: {label} accepts connections$")


def an_empty_text_is_a_text(plugin):
    expect(plugin.run(f"address={plugin.open}", "label="), 0, "^pass:  accepts connections$")


def a_big_parameter_arrives(plugin):
    expect(plugin.run(f"address={plugin.open}", "label=" + "x" * BIG), 0, "^pass: x{400}")


def metrics_arrive_with_their_units(plugin):
    outcome = plugin.run(f"address={plugin.open}")
    expect(outcome, 0, r"^ *connect = 0\.\d+ s$")
    expect(outcome, 0, r"^ *runs = 1 c$")


def a_failure_has_metrics_too(plugin):
    outcome = plugin.run(f"address={plugin.closed}")
    expect(outcome, 1, r"^ *runs = 1 c$")
    assert "connect =" not in outcome[1], f"a failed connect took no time to connect:\n{outcome[1]}"


def the_memo_goes_from_run_to_run(plugin):
    expect(plugin.run(f"address={plugin.open}", options=["--runs", "12"]), 0, r"^ *runs = 12 c$")


def a_denied_probe_is_an_error_that_says_what_to_grant(plugin):
    expect(plugin.run(f"address={plugin.open}", grant=False), 1, f'^error: .*allow = {{ tcp = \\["{plugin.open}"\\] }}')


BEHAVIOURS = [
    an_open_port_passes,
    a_closed_port_fails,
    a_missing_parameter_is_an_error_that_names_it,
    an_unknown_parameter_is_an_error_that_names_it,
    an_address_that_makes_no_sense_is_an_error,
    text_comes_back_as_it_went_in,
    an_empty_text_is_a_text,
    a_big_parameter_arrives,
    metrics_arrive_with_their_units,
    a_failure_has_metrics_too,
    the_memo_goes_from_run_to_run,
    a_denied_probe_is_an_error_that_says_what_to_grant,
]


def listen():
    """A port that accepts and closes, for as long as this process lives."""
    server = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept():
        while True:
            server.accept()[0].close()

    threading.Thread(target=accept, daemon=True).start()
    return server.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vouchd", default=os.environ.get("VOUCHD_BIN", str(ROOT / "target/debug/vouchd")))
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    args = parser.parse_args()

    open_port = listen()
    # Bound but not listening: refuses, and nobody else gets it.
    refusing = socket.socket()
    refusing.bind(("127.0.0.1", 0))
    closed_port = refusing.getsockname()[1]

    built = sorted((ROOT / "target/languages").glob("*.wasm"))
    missing = [] if args.files else [name for name in LANGUAGES if name not in {file.stem for file in built}]
    failed = 0
    for file in args.files or built:
        plugin = Plugin(args.vouchd, file, open_port, closed_port)
        behaved = 0
        for behaviour in BEHAVIOURS:
            try:
                behaviour(plugin)
                behaved += 1
            except (AssertionError, subprocess.TimeoutExpired) as problem:
                failed += 1
                print(f"FAILED {file.stem}: {behaviour.__name__.replace('_', ' ')}\n{problem}")
        print(f"{file.stem}: {behaved} of {len(BEHAVIOURS)} behaviours ({file.stat().st_size} bytes)")
    for name in missing:
        print(f"SKIPPED {name}: target/languages/{name}.wasm is not there; docs/languages says how to build it")
    return 1 if failed or not (args.files or built) else 0


if __name__ == "__main__":
    sys.exit(main())
