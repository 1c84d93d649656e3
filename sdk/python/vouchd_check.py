"""Write checks for vouchd in Python.

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

A `Report` is about the service. An exception means that the check could not be carried out; it never counts as a pass. Each run
starts from the same state, so variables do not survive it; `Context.remember` keeps up to 4096 bytes for the next run.
`vouchd_check_testing` has a fake daemon for tests.
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
    """The functions of the contract, which answer probes. Tests replace it with a fake one."""

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
        """Returns a `fail` report, `WHAT: REASON`. Raises the exception again if the probe could not be made at all."""
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
    """The result of a check that could be carried out. `message` is one line for the operator."""

    verdict: Verdict
    message: str
    adjust: int | None = None
    metrics: list[types.Metric] = field(default_factory=list)

    @classmethod
    def passed(cls, message: str) -> Report:
        """The service works."""
        return cls(Verdict.PASS, message)

    @classmethod
    def warned(cls, message: str) -> Report:
        """The service works, but another router would serve better."""
        return cls(Verdict.WARN, message)

    @classmethod
    def failed(cls, message: str) -> Report:
        """The service does not work. What that costs is the operator's choice."""
        return cls(Verdict.FAIL, message)

    @classmethod
    def faulted(cls, message: str) -> Report:
        """This router must not be active, whatever the priorities."""
        return cls(Verdict.FAULT, message)

    def adjusted(self, by: int) -> Report:
        """Requests a change of the priority, from -32768 to 32767, which applies as far as the operator allows."""
        self.adjust = by
        return self

    def metric(self, name: str, value: float, unit: str = "") -> Report:
        """Adds a metric. `unit` is `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty."""
        self.metrics.append(types.Metric(_text(name), float(value), _text(unit)))
        return self


class Connection:
    """A connection to a peer. It carries at most `limits.probe_bytes` each way, and a check may have `limits.connections` of them
    open at once. It closes with `close`, at the end of a `with`, and at the end of the run."""

    def __init__(self, raw: stream.Connection) -> None:
        self._raw = raw

    def send(self, data: bytes) -> None:
        """Sends all of `data`, in the time that the run has left."""
        _probe(self._raw.send, data)

    def receive(self, max_bytes: int, timeout_ms: int = 0) -> bytes:
        """Receives until `max_bytes` arrived, the peer closed, or the time is up, and returns what has arrived: less than
        `max_bytes`, or nothing, if the peer closed. Fails with `timeout` if nothing arrived in time."""
        return _probe(self._raw.receive, None, max_bytes, timeout_ms)

    def receive_until(self, until: bytes, max_bytes: int, timeout_ms: int = 0) -> bytes:
        """Receives up to and including `until`. Bytes after it are kept for the next call. Returns less if `max_bytes` arrived
        first, or the peer closed."""
        return _probe(self._raw.receive, until, max_bytes, timeout_ms)

    def start_tls(self, server_name: str, verify: bool = True, timeout_ms: int = 0) -> stream.Certificate:
        """Continues with TLS. A certificate that cannot be verified fails the probe with `verify`; without it, `problem` says
        why."""
        return _probe(self._raw.start_tls, server_name, verify, timeout_ms)

    def close(self) -> None:
        """Closes the connection, which makes room for another one."""
        self._raw.__exit__(None, None, None)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Context:
    """The context of a run: its parameters, its time, and the services of the daemon. Probes need a grant, and raise `ProbeFailed`.
    A `timeout_ms` of 0 is the time that the run has left."""

    def __init__(self, raw: checker.Context, host: Any = Daemon) -> None:
        #: The name of the check in the configuration.
        self.name = raw.name
        #: Names and values in file order. Tables are flattened (`headers.accept`); a list repeats its name.
        self.params = raw.params
        #: Milliseconds until the daemon ends the run.
        self.budget_ms = raw.budget_ms
        self._host = host

    def decode(self, params: type[T]) -> T:
        """Returns the parameters as a dataclass, whose fields have their names. A field without a default is required, and a
        parameter without a field is an error. A field is a `str`, `int`, `float`, `bool`, `timedelta` (written `"500ms"`,
        `"7d"`), a `list` of these, a `dict` from `str` to these (a table), another dataclass (also a table), or `… | None`."""
        return decode(self.params, params)

    def param(self, name: str, default: str | None = None) -> str:
        """Returns a parameter that is given once. Without a default it is required."""
        values = self.param_list(name)
        if len(values) > 1:
            raise CheckError(f"parameter `{name}`: found {len(values)} values, expected one")
        if values:
            return values[0]
        if default is None:
            raise CheckError(f"parameter `{name}` is missing")
        return default

    def param_list(self, name: str) -> list[str]:
        """Returns all values of a parameter that may be a list in the configuration."""
        return [value for key, value in self.params if key == name]

    def allow_params(self, *names: str) -> None:
        """Raises an error if there is any other parameter, so that a misspelt one is not ignored."""
        for key, _ in self.params:
            if key not in names:
                raise CheckError(f"unknown parameter `{key}`, expected one of: {', '.join(names)}")

    def tcp(
        self, address: str, send: bytes = b"", until: bytes | None = None, max_bytes: int = 0, timeout_ms: int = 0,
    ) -> tcp.Reply:
        """Connects to `host:port` (IPv6 in brackets), sends, and receives until `until` arrives, `max_bytes` arrived, the peer
        closes, or the time is up. The reply has `connect_us` and `data`."""
        return _probe(self._host.tcp_probe, address, send, until, max_bytes, timeout_ms)

    def http(
        self, url: str, method: str = "GET", headers: Iterable[tuple[str, str]] = (), body: bytes = b"",
        timeout_ms: int = 0, max_body_bytes: int = 0, tls_verify: bool = True, sni: str | None = None,
        follow_redirects: int = 0, reuse_connection: bool = False,
    ) -> http.Response:
        """Makes one HTTP request. Any status is a response, not an error. The response has `status`, `headers`, `body` (up to
        `max_body_bytes`) and `total_us`. A body longer than `limits.probe_bytes` is denied, never cut."""
        return _probe(self._host.http_fetch, http.Request(
            method, url, list(headers), body, timeout_ms, max_body_bytes, tls_verify, sni, follow_redirects,
            reuse_connection,
        ))

    def processes(
        self, name: str | None = None, cmdline: str | None = None, pid_file: str | None = None, user: str | None = None,
    ) -> list[process.Info]:
        """Finds running processes that meet all given conditions: `pid`, `name` and `age_ms` of each. The daemon watches them:
        when one ends, the check runs again at once."""
        return _probe(self._host.process_find, process.Query(name, cmdline, pid_file, user))

    def stat(self, path: str) -> files.Info | None:
        """Looks at an absolute path: `kind`, `size` in bytes, `age_ms` since the last modification. `None` if nothing is there."""
        return _probe(self._host.files_stat, path)

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """Reads the first `max_bytes` of a regular file. `None` if there is no such file. If `max_bytes` is more than
        `limits.probe_bytes`, a file longer than that limit is denied, never cut."""
        return _probe(self._host.files_read, path, max_bytes)

    def space(self, path: str) -> files.Usage:
        """Measures the file system that holds `path`: `total` and `available` in bytes, `inodes`, `inodes_available`."""
        return _probe(self._host.files_space, path)

    def resolve(self, name: str, timeout_ms: int = 0) -> list[str]:
        """Looks up a name with the host's resolver, or `NAME@SERVER` at one name server. Returns at least one address, each
        once."""
        return _probe(self._host.dns_resolve, name, timeout_ms)

    def links(self) -> list[network.Link]:
        """Lists the network links of the host: `name`, `up` (by the administrator), `carrier`. Needs no grant."""
        return _probe(self._host.network_links)

    def addresses(self) -> list[network.Address]:
        """Lists the addresses of the host: `link`, `ip`, `prefix`. Needs no grant."""
        return _probe(self._host.network_addresses)

    def connect_tcp(self, address: str, timeout_ms: int = 0) -> Connection:
        """Opens a connection to `host:port`, IPv6 in brackets."""
        return Connection(_probe(self._host.stream_connect_tcp, address, timeout_ms))

    def connect_unix(self, path: str, timeout_ms: int = 0) -> Connection:
        """Opens a connection to a unix socket."""
        return Connection(_probe(self._host.stream_connect_unix, path, timeout_ms))

    def now_ms(self) -> int:
        """The host's clock: Unix time in milliseconds."""
        return self._host.clock_now()

    def log(self, level: Level, message: str) -> None:
        """Writes a line to the daemon's log. The daemon cuts it after 1024 bytes, and drops lines beyond `limits.log_lines`."""
        self._host.log(level, _text(message))

    def recall(self) -> bytes:
        """Returns what an earlier run remembered; empty at first."""
        return self._host.memo_get()

    def remember(self, data: bytes) -> None:
        """Keeps up to 4096 bytes for the next run, if this one ends without an error. More make the run an error."""
        self._host.memo_set(data)


class Checker(ABC):
    """The base of a plugin's class, which must be called `Checker` and be in the module that is built."""

    @abstractmethod
    def run(self, ctx: Context) -> Report:
        """Runs the check once. Each run starts from the same state of the interpreter."""

    def check(self, raw: checker.Context) -> types.Report:
        """The daemon calls this. An exception that left it would stop the interpreter, and its text would be lost."""
        try:
            report = self.run(Context(raw))
            return types.Report(report.verdict, _text(report.message), report.adjust, report.metrics)
        except CheckError as error:
            raise Err(_text(str(error))) from None
        except Exception as error:
            raise Err(_text(f"{type(error).__name__}: {error}{_origin(error)}")) from None


def _text(text: str) -> str:
    """Replaces undecodable bytes (`errors="surrogateescape"`): they are not UTF-8, and would trap on the way out."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
