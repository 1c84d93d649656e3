"""Write a check for vouchd in Python.

    import vouchd_check
    from vouchd_check import Context, ProbeFailed, Report

    @dataclass
    class Params:
        address: str

    class Checker(vouchd_check.Checker):
        def run(self, ctx: Context) -> Report:
            params = ctx.decode(Params)
            try:
                ctx.tcp(params.address)
            except ProbeFailed as failure:
                return failure.report(params.address)
            return Report.passed(f"{params.address} accepts connections")

A `Report` says what was found out about the service. An exception says that the check itself could not be carried out; it
never counts as a pass. `vouchd_check_testing` has a double of the daemon for tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from componentize_py_types import Err
from vouchd_check_params import CheckError, decode
from wit_world.exports import checker
from wit_world.imports import clock, dns, files, http, log, memo, network, process, stream, tcp, types
from wit_world.imports.log import Level
from wit_world.imports.types import Verdict

__all__ = ["CheckError", "Checker", "Connection", "Context", "Level", "ProbeFailed", "Report", "Verdict"]

T = TypeVar("T")


class Daemon:
    """Who answers probes, with the functions of the contract. In tests, a double."""

    tcp_probe = staticmethod(tcp.probe)
    http_fetch = staticmethod(http.fetch)
    process_find = staticmethod(process.find)
    files_stat = staticmethod(files.stat)
    files_read = staticmethod(files.read)
    files_space = staticmethod(files.space)
    dns_resolve = staticmethod(dns.resolve)
    network_links = staticmethod(network.links)
    network_addresses = staticmethod(network.addresses)
    stream_connect_tcp = staticmethod(stream.connect_tcp)
    stream_connect_unix = staticmethod(stream.connect_unix)
    clock_now = staticmethod(clock.now)
    log = staticmethod(log.log)
    memo_get = staticmethod(memo.get)
    memo_set = staticmethod(memo.set)


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


def _probe(function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function of the contract; its error becomes `ProbeFailed`."""
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

    def adjusted(self, by: int) -> Report:
        """Asks for a change of the priority, from -32768 to 32767; it counts as far as the operator allows."""
        self.adjust = by
        return self

    def metric(self, name: str, value: float, unit: str = "") -> Report:
        """Adds a number. `unit`: `s`, `B`, `%`, `c` (a counter), or empty."""
        self.metrics.append(types.Metric(_text(name), float(value), _text(unit)))
        return self


class Connection:
    """A conversation. It carries at most 1 MiB each way, and a check may have `limits.connections` of them open. Closed by
    `close`, at the end of a `with`, and with the run."""

    def __init__(self, raw: stream.Connection) -> None:
        self._raw = raw

    def send(self, data: bytes) -> None:
        """Returns when all of it is on its way, in what is left of the run."""
        _probe(self._raw.send, data)

    def receive(self, max_bytes: int, timeout_ms: int = 0) -> bytes:
        """What came until `max_bytes` were there, the peer closed (then it may be short or empty), or the time was up. If
        nothing came by then, the probe failed with `timeout`."""
        return _probe(self._raw.receive, None, max_bytes, timeout_ms)

    def receive_until(self, until: bytes, max_bytes: int, timeout_ms: int = 0) -> bytes:
        """What came up to and with `until`; what follows is for the next call. Less where `max_bytes` came before or the
        peer closed."""
        return _probe(self._raw.receive, until, max_bytes, timeout_ms)

    def start_tls(self, server_name: str, verify: bool = True, timeout_ms: int = 0) -> stream.Certificate:
        """Goes on with TLS. With `verify` a bad certificate fails the probe, else it is told in `problem`."""
        return _probe(self._raw.start_tls, server_name, verify, timeout_ms)

    def close(self) -> None:
        """Makes room for another connection. Nothing can be done with this one afterwards."""
        self._raw.__exit__(None, None, None)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Context:
    """What the daemon tells about this run, and what it offers. Probes raise `ProbeFailed`. A `timeout_ms` of 0 is what is
    left of the run."""

    def __init__(self, raw: checker.Context, host: Any = Daemon) -> None:
        #: Name of the check in the configuration.
        self.name = raw.name
        #: In file order. Tables are flattened (`headers.accept`), a list is its name repeated.
        self.params = raw.params
        #: Milliseconds that the run may take.
        self.budget_ms = raw.budget_ms
        self._host = host

    def decode(self, params: type[T]) -> T:
        """The parameters as a dataclass, whose fields have the parameters' names; those without a default have to be there,
        and others are refused. Fields are of type `str`, `int`, `float`, `bool`, `timedelta` (written `"500ms"`, `"7d"`), a
        `list` of those, a `dict` from `str` to those (a table), another dataclass (a table too), or `… | None`."""
        return decode(self.params, params)

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
        self, address: str, send: bytes = b"", until: bytes | None = None, max_bytes: int = 0, timeout_ms: int = 0,
    ) -> tcp.Reply:
        """Connects to `host:port` (IPv6 in brackets), sends, reads until `until` is seen, `max_bytes` came or the time is up.
        The reply has `connect_us` and `data`."""
        return _probe(self._host.tcp_probe, address, send, until, max_bytes, timeout_ms)

    def http(
        self, url: str, method: str = "GET", headers: Iterable[tuple[str, str]] = (), body: bytes = b"",
        timeout_ms: int = 0, max_body_bytes: int = 0, tls_verify: bool = True, sni: str | None = None,
        follow_redirects: int = 0, reuse_connection: bool = False,
    ) -> http.Response:
        """One HTTP request. Any status is a response, not an error. The response has `status`, `headers`, `body` (as far as
        `max_body_bytes`, at most 1 MiB) and `total_us`."""
        return _probe(self._host.http_fetch, http.Request(
            method, url, list(headers), body, timeout_ms, max_body_bytes, tls_verify, sni, follow_redirects,
            reuse_connection,
        ))

    def processes(
        self, name: str | None = None, cmdline: str | None = None, pid_file: str | None = None, user: str | None = None,
    ) -> list[process.Info]:
        """Running processes for which all that is given holds: `pid`, `name` and `age_ms` of each. They are watched from then
        on: when one ends, the check runs again at once."""
        return _probe(self._host.process_find, process.Query(name, cmdline, pid_file, user))

    def stat(self, path: str) -> files.Info | None:
        """What there is at an absolute path: `kind`, `size` in bytes, `age_ms` since the last modification. None: nothing."""
        return _probe(self._host.files_stat, path)

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """The first `max_bytes` of a regular file, at most 1 MiB. None: there is no such file."""
        return _probe(self._host.files_read, path, max_bytes)

    def space(self, path: str) -> files.Usage:
        """How full the file system is that holds `path`: `total` and `available` in bytes, `inodes`, `inodes_available`."""
        return _probe(self._host.files_space, path)

    def resolve(self, name: str, timeout_ms: int = 0) -> list[str]:
        """Addresses of a name by the host's resolver, each once, at least one."""
        return _probe(self._host.dns_resolve, name, timeout_ms)

    def links(self) -> list[network.Link]:
        """The host's network links: `name`, `up` (by the administrator), `carrier`. Needs no grant."""
        return _probe(self._host.network_links)

    def addresses(self) -> list[network.Address]:
        """The host's addresses: `link`, `ip`, `prefix`. Needs no grant."""
        return _probe(self._host.network_addresses)

    def connect_tcp(self, address: str, timeout_ms: int = 0) -> Connection:
        """Begins a conversation with `host:port`, IPv6 in brackets."""
        return Connection(_probe(self._host.stream_connect_tcp, address, timeout_ms))

    def connect_unix(self, path: str, timeout_ms: int = 0) -> Connection:
        """Begins a conversation with a socket in the file system."""
        return Connection(_probe(self._host.stream_connect_unix, path, timeout_ms))

    def now_ms(self) -> int:
        """The host's clock: Unix time in milliseconds."""
        return self._host.clock_now()

    def log(self, level: Level, message: str) -> None:
        """A line in the daemon's log. Beyond 1024 bytes it is cut; lines beyond `limits.log_lines` are dropped."""
        self._host.log(level, _text(message))

    def recall(self) -> bytes:
        """What the last run remembered; empty the first time."""
        return self._host.memo_get()

    def remember(self, data: bytes) -> None:
        """Kept for the next run if this one ends without an error. At most 4096 bytes; more makes the run an error."""
        self._host.memo_set(data)


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
