"""A fake daemon, to test a check with plain Python.

    host = FakeHost(tcp_probe=lambda *_: refused())
    report = host.run(Checker, address="10.0.0.1:25")
    assert report.verdict == Verdict.FAIL

Its answers are the records of the contract, such as `wit_world.imports.tcp.Reply(connect_us, data)`. `componentize-py bindings`
writes the modules `wit_world` and `componentize_py_types`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from componentize_py_types import Err
from vouchd_check import Checker, Context, Level, Report
from wit_world.exports import checker
from wit_world.imports import stream, types


class FakeHost:
    """Answers probes with the given functions, which have the names and arguments of those in `vouchd_check.Daemon`. A probe
    without an answer is denied."""

    def __init__(self, now_ms: int = 0, memo: bytes = b"", **answers: Callable[..., Any]) -> None:
        self.memo = memo
        #: The lines logged so far: levels and texts.
        self.logged: list[tuple[Level, str]] = []
        self._now_ms = now_ms
        self._answers = answers

    def run(self, check: type[Checker], budget_ms: int = 1000, **params: str | list[str]) -> Report:
        """Runs the check once. What the run remembers, the next one recalls."""
        pairs = [
            (key, value) for key, given in params.items() for value in (given if isinstance(given, list) else [given])
        ]
        return self.run_with(check, pairs, budget_ms)

    def run_with(self, check: type[Checker], params: list[tuple[str, str]], budget_ms: int = 1000) -> Report:
        """Like `run`, for parameters whose names are not identifiers: those in tables."""
        before = self.memo
        try:
            return check().run(Context(checker.Context("test", params, budget_ms), self))
        except Exception:
            self.memo = before
            raise

    def clock_now(self) -> int:
        return self._now_ms

    def log(self, level: Level, message: str) -> None:
        self.logged.append((level, message))

    def memo_get(self) -> bytes:
        return self.memo

    def memo_set(self, data: bytes) -> None:
        self.memo = data

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self._answers.get(name) or (lambda *_: fail(types.ProbeError_Denied(f"the test has no answer for {name}")))


def fail(error: types.ProbeError) -> NoReturn:
    """Makes a probe fail with this error."""
    raise Err(error)


def refused() -> NoReturn:
    fail(types.ProbeError_Refused())


def timed_out() -> NoReturn:
    fail(types.ProbeError_Timeout())


class Script:
    """A scripted peer of a connection. It sends its greeting, expects the messages of the check in order, and answers each;
    anything else is refused. After its last answer it closes.

        FakeHost(stream_connect_tcp=lambda *_: Script(b"220 hi\\r\\n", (b"QUIT\\r\\n", b"221 bye\\r\\n")))
    """

    def __init__(self, greeting: bytes, *turns: tuple[bytes, bytes], shows: stream.Certificate | None = None) -> None:
        self._pending, self._turns, self._certificate = greeting, list(turns), shows
        self.closed = False

    def send(self, data: bytes) -> None:
        if not self._turns or self._turns[0][0] != data:
            refused()
        self._pending += self._turns.pop(0)[1]

    def receive(self, until: bytes | None, max_bytes: int, timeout_ms: int) -> bytes:
        at = self._pending.find(until) if until else -1
        length = min(max_bytes, len(self._pending) if at < 0 else at + len(until or b""))
        data, self._pending = self._pending[:length], self._pending[length:]
        return data

    def start_tls(self, server_name: str, verify: bool, timeout_ms: int) -> stream.Certificate:
        if self._certificate is None:
            fail(types.ProbeError_Tls("the script presents no certificate"))
        if verify and self._certificate.problem:
            fail(types.ProbeError_Tls(self._certificate.problem))
        return self._certificate

    def __exit__(self, *_: object) -> None:
        self.closed = True
