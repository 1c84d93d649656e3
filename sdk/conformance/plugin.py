"""Runs a plugin in the real host, with `vouchd plugin test`."""

import json
import re
import subprocess

# The same for all runs, so that the plugin is compiled once. In a debug build some languages are slow.
TIMEOUT = "20s"
LIMITS = {"memory": '"32MiB"', "cpu": '"15s"'}


class NotThere(Exception):
    """The language does not support it."""


class Plugin:
    def __init__(self, vouchd, file, cache, language):
        self.vouchd, self.file, self.cache, self.language = vouchd, file, cache, language

    def run(self, *params, allow=None, timeout=TIMEOUT, limits=None, options=()):
        """Runs the plugin once with these grants, such as `{"tcp": ["127.0.0.1:80"]}`."""
        limits = ", ".join(f"{key} = {value}" for key, value in (LIMITS | (limits or {})).items())
        # A JSON list of strings is also a TOML one.
        grants = ", ".join(
            f"{kind} = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in granted.items())} }}"
            if isinstance(granted, dict) else f"{kind} = {json.dumps(granted)}"
            for kind, granted in (allow or {}).items()
        )
        command = [self.vouchd, "plugin", "test", str(self.file), "--cache", str(self.cache), "--timeout", timeout]
        command += ["--allow", f"{{ {grants} }}", "--limits", f"{{ {limits} }}", *options]
        for param in params:
            command += ["--param", param]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        return Outcome(done.returncode, done.stdout.decode(errors="replace"))


class Outcome:
    def __init__(self, status, output):
        self.status, self.output = status, output

    def is_(self, status, pattern):
        """Checks the exit status, and that a line of the output matches."""
        if self.status != status:
            raise AssertionError(f"expected status {status} and /{pattern}/, found status {self.status} and:\n{self.output}")
        return self.has(pattern)

    def passes(self, message):
        """Checks that it passes with a message that matches."""
        return self.is_(0, f"^pass: {message}$")

    def fails(self, message):
        return self.is_(1, f"^fail: {message}$")

    def errs(self, reason):
        """Checks that it is an error whose reason contains a match."""
        return self.is_(1, f"^error: .*{reason}")

    def has(self, pattern):
        if not re.search(pattern, self.output, re.MULTILINE):
            raise AssertionError(f"expected /{pattern}/, found:\n{self.output}")
        return self

    def lacks(self, pattern):
        if re.search(pattern, self.output, re.MULTILINE):
            raise AssertionError(f"expected no match of /{pattern}/, found:\n{self.output}")
        return self

    def number(self, pattern):
        """Returns the number in the pattern's group."""
        found = re.search(pattern, self.output, re.MULTILINE)
        if not found:
            raise AssertionError(f"expected /{pattern}/, found:\n{self.output}")
        return float(found[1])
