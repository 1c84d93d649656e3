// Does a port accept connections?

import { type Context, ProbeFailed, Report, check, param } from "vouchd-check";

const PARAMS = { address: param.text };

function run(ctx: Context): Report {
  const { address } = ctx.decode(PARAMS);
  try {
    const { connectUs } = ctx.tcp(address);
    return Report.pass(`${address} accepts connections`).metric("connect", connectUs / 1e6, "s");
  } catch (failure) {
    if (failure instanceof ProbeFailed) return failure.report(address);
    throw failure;
  }
}

export const checker = check(run);
