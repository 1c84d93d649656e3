"""Does a port accept connections?"""

from dataclasses import dataclass

import vouchd_check
from vouchd_check import Context, ProbeFailed, Report


@dataclass
class Params:
    address: str


class Checker(vouchd_check.Checker):
    def run(self, ctx: Context) -> Report:
        address = ctx.decode(Params).address
        try:
            reply = ctx.tcp(address)
        except ProbeFailed as failure:
            return failure.report(address)
        return Report.passed(f"{address} accepts connections").metric("connect", reply.connect_us / 1e6, "s")
