"""Behaves as the parameter `do` says, for sdk/conformance: behaviours.py there says what each must show."""

from dataclasses import dataclass, field
from datetime import timedelta

import vouchd_check
from vouchd_check import CheckError, Connection, Context, Level, ProbeFailed, Report


@dataclass
class Params:
    do: str
    text: str | None = None
    address: str = ""
    path: str = ""
    url: str = ""
    name: str = ""
    number: int = 0
    insecure: bool = False
    timeout: timedelta = timedelta()
    list: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def timeout_ms(self) -> int:
        return round(self.timeout.total_seconds() * 1000)


class Checker(vouchd_check.Checker):
    def run(self, ctx: Context) -> Report:
        p = ctx.decode(Params)
        act = getattr(Acts, p.do.replace("pass", "pass_"), None)
        if act is None:
            raise CheckError(f"parameter `do`: found {p.do!r}")
        try:
            return act(ctx, p)
        except ProbeFailed as failure:
            return failure.report(p.do)


def connect(ctx: Context, p: Params) -> Connection:
    return ctx.connect_unix(p.path, p.timeout_ms) if p.path else ctx.connect_tcp(p.address, p.timeout_ms)


def texts(p: Params) -> str:
    if p.text is None:
        raise CheckError("parameter `text` is missing")
    return p.text


class Acts:
    # ---- Reports and errors ----

    def pass_(ctx: Context, p: Params) -> Report:
        return Report.passed(texts(p))

    def warn(ctx: Context, p: Params) -> Report:
        return Report.warned(texts(p))

    def fail(ctx: Context, p: Params) -> Report:
        return Report.failed(texts(p))

    def fault(ctx: Context, p: Params) -> Report:
        return Report.faulted(texts(p))

    def adjust(ctx: Context, p: Params) -> Report:
        return Report.passed("adjusted").adjusted(p.number)

    def metrics(ctx: Context, p: Params) -> Report:
        report = Report.passed("measured").metric("seconds", 0.25, "s").metric("size", 1 << 20, "B")
        return report.metric("share", 99.5, "%").metric("count", 3, "c").metric("plain", -1.5).metric("größe", 1)

    def nan(ctx: Context, p: Params) -> Report:
        return Report.passed("measured").metric("nan", float("nan")).metric("inf", float("inf")).metric("fine", 1)

    def error(ctx: Context, p: Params) -> Report:
        raise CheckError(p.text)

    def panic(ctx: Context, p: Params) -> Report:
        return Report.passed([][len(p.do)])

    # ---- Parameters, memo, log ----

    def length(ctx: Context, p: Params) -> Report:
        return Report.passed(f"{len(texts(p).encode())} bytes")

    def params(ctx: Context, p: Params) -> Report:
        return Report.passed(" ".join(f"{key}={value}" for key, value in ctx.params[1:]))

    def context(ctx: Context, p: Params) -> Report:
        return Report.passed(f"{ctx.name} {ctx.budget_ms}")

    def count(ctx: Context, p: Params) -> Report:
        runs = int(ctx.recall() or b"0") + 1
        ctx.remember(str(runs).encode())
        return Report.passed("counted").metric("runs", runs, "c")

    def bytes(ctx: Context, p: Params) -> Report:
        everything, found = bytes(range(256)), ctx.recall()
        ctx.remember(everything)
        if found not in (b"", everything):
            return Report.failed(f"found {found!r}")
        return Report.passed(f"{len(found)} bytes came back")

    def remember(ctx: Context, p: Params) -> Report:
        ctx.remember(b"x" * p.number)
        return Report.passed("remembers")

    def log(ctx: Context, p: Params) -> Report:
        for level in Level:
            ctx.log(level, texts(p))
        return Report.passed("said")

    def flood(ctx: Context, p: Params) -> Report:
        for number in range(1000):
            ctx.log(Level.INFO, f"line {number}")
        return Report.passed("said")

    # ---- Probes ----

    def process(ctx: Context, p: Params) -> Report:
        found = ctx.processes(name=p.name)
        if not found:
            return Report.failed("none")
        first = found[0]
        return Report.passed(f"{len(found)}: {first.pid} {first.name}").metric("age", first.age_ms / 1000, "s")

    def tcp(ctx: Context, p: Params) -> Report:
        reply = ctx.tcp(p.address, texts(p).encode() + b"\n", b"\n", 100_000, p.timeout_ms)
        message = f"{len(reply.data)} bytes: {reply.data.decode()}"
        return Report.passed(message).metric("connect", reply.connect_us / 1e6, "s")

    def http(ctx: Context, p: Params) -> Report:
        response = ctx.http(
            p.url, "POST", [("x-question", "why")], texts(p).encode(), p.timeout_ms, 100_000, tls_verify=not p.insecure
        )
        answer = dict(response.headers).get("x-answer")
        message = f"{response.status} {answer} {response.body.decode()}"
        return Report.passed(message).metric("total", response.total_us / 1e6, "s")

    def stat(ctx: Context, p: Params) -> Report:
        info = ctx.stat(p.path)
        if info is None:
            return Report.warned("no such file")
        return Report.passed(info.kind.name.lower()).metric("size", info.size, "B").metric("age", info.age_ms / 1000, "s")

    def read(ctx: Context, p: Params) -> Report:
        data = ctx.read(p.path, p.number)
        if data is None:
            return Report.warned("no such file")
        return Report.passed(f"{len(data)} bytes: {data[:20].decode()}")

    def space(ctx: Context, p: Params) -> Report:
        space = ctx.space(p.path)
        fits = space.total >= space.available and space.inodes >= space.inodes_available
        return Report.passed(str(fits).lower()).metric("total", space.total, "B")

    def resolve(ctx: Context, p: Params) -> Report:
        return Report.passed(" ".join(ctx.resolve(p.name, p.timeout_ms)))

    def links(ctx: Context, p: Params) -> Report:
        for link in ctx.links():
            if link.name == p.name:
                return Report.passed(f"{link.name} up={str(link.up).lower()} carrier={str(link.carrier).lower()}")
        return Report.failed("no such link")

    def addresses(ctx: Context, p: Params) -> Report:
        for address in ctx.addresses():
            if address.ip == p.address:
                return Report.passed(f"{address.link} {address.ip}/{address.prefix}")
        return Report.failed("no such address")

    def talk(ctx: Context, p: Params) -> Report:
        with connect(ctx, p) as peer:
            said = [peer.receive_until(b"\r\n", 100_000, p.timeout_ms), peer.receive_until(b"\r\n", 100_000)]
            peer.send(f"SAY {texts(p)}\r\n".encode())
            said.append(peer.receive_until(b"\r\n", 100_000))
        return Report.passed("|".join(line.decode().strip() for line in said))

    def starttls(ctx: Context, p: Params) -> Report:
        with connect(ctx, p) as peer:
            peer.send(b"STARTTLS\r\n")
            peer.receive_until(b"go\r\n", 1000)
            shown = peer.start_tls(p.name, verify=not p.insecure)
            peer.send(f"SAY {texts(p)}\r\n".encode())
            said = peer.receive_until(b"\r\n", 1000).decode().strip()
        ctx.log(Level.INFO, shown.problem or "")
        message = f"{shown.protocol} {shown.subject} {shown.issuer} {','.join(shown.names)} {said}"
        return Report.passed(message).metric("days", (shown.not_after - shown.not_before) / 86400)

    def many(ctx: Context, p: Params) -> Report:
        for _ in range(p.number):
            connect(ctx, p).close()
        return Report.passed(f"{p.number} connections")

    def hoard(ctx: Context, p: Params) -> Report:
        held = [connect(ctx, p) for _ in range(p.number)]
        return Report.passed(f"{len(held)} connections")

    def clock(ctx: Context, p: Params) -> Report:
        return Report.passed(str(ctx.now_ms()))

    # ---- What a plugin can't get out of ----

    def loop(ctx: Context, p: Params) -> Report:
        while True:
            pass

    def memory(ctx: Context, p: Params) -> Report:
        held = []
        while True:
            held.append(bytearray(1 << 20))

    def recurse(ctx: Context, p: Params) -> Report:
        def deeper(n: int) -> int:
            return deeper(n + 1) + n

        return Report.passed(str(deeper(p.number)))
