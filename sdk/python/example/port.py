"""Does a port accept connections?

Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).
"""

from dataclasses import dataclass

import vouchd_check
from vouchd_check import Context, ProbeFailed, Report


@dataclass
class Params:
    address: str
    label: str | None = None


class Checker(vouchd_check.Checker):
    def run(self, ctx: Context) -> Report:
        params = ctx.decode(Params)
        label = params.address if params.label is None else params.label

        runs = int(ctx.recall() or b"0") + 1
        ctx.remember(str(runs).encode())

        try:
            reply = ctx.tcp(params.address)
        except ProbeFailed as failure:
            return failure.report(label).metric("runs", runs, "c")
        report = Report.passed(f"{label} accepts connections")
        return report.metric("connect", reply.connect_us / 1e6, "s").metric("runs", runs, "c")
