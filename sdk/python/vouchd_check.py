"""Write a check for vouchd in Python.

    import vouchd_check
    from vouchd_check import Context, ProbeFailed, Report

    class Checker(vouchd_check.Checker):
        def run(self, ctx: Context) -> Report:
            address = ctx.param("address")
            try:
                ctx.tcp(address)
            except ProbeFailed as failure:
                return failure.report(address)
            return Report.passed(f"{address} accepts connections")

A `Report` says what was found out about the service. An exception says that the check itself could not be carried out; it
never counts as a pass. Interfaces of the contract that have no method here are called through `probe`, for instance
`probe(files.stat, "/run/flag")` with `from wit_world.imports import files`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from componentize_py_types import Err
from wit_world.exports import checker
from wit_world.imports import http, log, memo, process, tcp, types
from wit_world.imports.log import Level
from wit_world.imports.types import Verdict

__all__ = ["CheckError", "Checker", "Context", "Level", "ProbeFailed", "Report", "Verdict", "probe"]

T = TypeVar("T")

# Left of the run when a probe ends, so that the report can still be made.
_RESERVE_MS = 10


class CheckError(Exception):
    """The check could not be carried out. Say what was expected, what was found, and what to do."""


class ProbeFailed(CheckError):
    """A probe gave no answer. `kind` is the name in the contract: `denied`, `timeout`, `refused`, …"""

    def __init__(self, error: types.ProbeError) -> None:
        self.kind = type(error).__name__.removeprefix("ProbeError_").lower()
        text = getattr(error, "value", "")
        match self.kind:
            case "timeout":
                text = "no answer in time"
            case "refused":
                text = "connection refused"
            case "unresolved":
                text = "the name does not resolve"
            case "tls":
                text = f"TLS: {text}"
        super().__init__(text)

    def report(self, what: str) -> Report:
        """A `fail` that says that `what` did not answer; raised again where the probe could not be made at all."""
        if self.kind in ("denied", "invalid"):
            raise self
        return Report.failed(f"{what}: {self}")


def probe(function: Callable[..., T], *arguments: Any) -> T:
    """Calls a probe of `wit_world.imports`; its error becomes `ProbeFailed`."""
    try:
        return function(*arguments)
    except Err as error:
        raise ProbeFailed(error.value) from None


@dataclass
class Report:
    """The outcome of a check that could be carried out."""

    verdict: Verdict
    message: str
    adjust: int | None = None
    metrics: list[types.Metric] = field(default_factory=list)

    @classmethod
    def passed(cls, message: str) -> Report:
        """Works."""
        return cls(Verdict.PASS, message)

    @classmethod
    def warned(cls, message: str) -> Report:
        """Works, but another router would serve better."""
        return cls(Verdict.WARN, message)

    @classmethod
    def failed(cls, message: str) -> Report:
        """Does not work. What that costs is the operator's choice."""
        return cls(Verdict.FAIL, message)

    @classmethod
    def faulted(cls, message: str) -> Report:
        """This router must not be active, whatever it costs."""
        return cls(Verdict.FAULT, message)

    def metric(self, name: str, value: float, unit: str = "") -> Report:
        """Adds a number. `unit`: `s`, `B`, `%`, `c` (a counter), or empty."""
        self.metrics.append(types.Metric(_text(name), float(value), _text(unit)))
        return self


class Context:
    """What the daemon tells about this run, and what it offers."""

    def __init__(self, raw: checker.Context) -> None:
        self.name = raw.name
        self.params = raw.params
        self.budget_ms = raw.budget_ms

    def param(self, name: str, default: str | None = None) -> str:
        """A parameter that is there once. Without a default it has to be there."""
        values = self.param_list(name)
        if len(values) > 1:
            raise CheckError(f"parameter `{name}`: found {len(values)} values, expected one")
        if values:
            return values[0]
        if default is None:
            raise CheckError(f"parameter `{name}` is missing")
        return default

    def param_list(self, name: str) -> list[str]:
        """All values of a parameter, which is a list in the configuration."""
        return [value for key, value in self.params if key == name]

    def allow_params(self, *names: str) -> None:
        """Refuses every other parameter: a misspelt one is an error, not ignored."""
        for key, _ in self.params:
            if key not in names:
                raise CheckError(f"unknown parameter `{key}`, expected one of: {', '.join(names)}")

    def tcp(
        self, address: str, send: bytes = b"", until: bytes | None = None, max_bytes: int = 0,
        timeout_ms: int | None = None,
    ) -> tcp.Reply:
        """Connects to `host:port`, sends, reads until `until` is seen or `max_bytes` came."""
        return probe(tcp.probe, address, send, until, max_bytes, self._timeout(timeout_ms))

    def http(
        self, url: str, method: str = "GET", headers: Iterable[tuple[str, str]] = (), body: bytes = b"",
        timeout_ms: int | None = None, max_body_bytes: int = 0, tls_verify: bool = True, sni: str | None = None,
        follow_redirects: int = 0, reuse_connection: bool = False,
    ) -> http.Response:
        """One HTTP request. Any status is a response, not an error."""
        return probe(http.fetch, http.Request(
            method, url, list(headers), body, self._timeout(timeout_ms), max_body_bytes, tls_verify, sni,
            follow_redirects, reuse_connection,
        ))

    def processes(
        self, name: str | None = None, cmdline: str | None = None, pid_file: str | None = None, user: str | None = None,
    ) -> list[process.Info]:
        """Running processes for which all that is given holds. They are watched from then on."""
        return probe(process.find, process.Query(name, cmdline, pid_file, user))

    def log(self, level: Level, message: str) -> None:
        """A line in the daemon's log."""
        log.log(level, _text(message))

    def recall(self) -> bytes:
        """What the last run remembered; empty the first time."""
        return memo.get()

    def remember(self, data: bytes) -> None:
        """Kept for the next run if this one ends without an error. At most 4096 bytes."""
        memo.set(data)

    def _timeout(self, wanted: int | None) -> int:
        return wanted if wanted is not None else max(self.budget_ms - _RESERVE_MS, 1)


class Checker(ABC):
    """Base of a plugin's class, which has to be called `Checker` and stand in the module that is built."""

    @abstractmethod
    def run(self, ctx: Context) -> Report:
        """Runs the check once, in a fresh interpreter state each time."""

    def check(self, raw: checker.Context) -> types.Report:
        """What the daemon calls. An exception that left here would stop the interpreter and its text would be lost."""
        try:
            report = self.run(Context(raw))
            return types.Report(report.verdict, _text(report.message), report.adjust, report.metrics)
        except CheckError as error:
            raise Err(_text(str(error))) from None
        except Exception as error:
            raise Err(_text(f"{type(error).__name__}: {error}{_origin(error)}")) from None


def _text(text: str) -> str:
    """Text of undecodable bytes (`errors="surrogateescape"`) is not UTF-8, and would trap on the way out."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
