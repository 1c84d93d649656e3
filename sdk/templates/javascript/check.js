// Does a port accept connections?

import { ProbeFailed, Report, check, param } from "vouchd-check";

export const checker = check((ctx) => {
  const { address } = ctx.decode({ address: param.text });
  try {
    const { connectUs } = ctx.tcp(address);
    return Report.pass(`${address} accepts connections`).metric("connect", connectUs / 1e6, "s");
  } catch (failure) {
    if (failure instanceof ProbeFailed) return failure.report(address);
    throw failure;
  }
});
