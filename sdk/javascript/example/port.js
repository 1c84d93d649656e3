// Does a port accept connections?
//
// Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).

import { ProbeFailed, Report, check, decode, param } from "vouchd-check";

export const checker = check((ctx) => {
  const { address, label = address } = ctx.decode({ address: param.text, label: param.text.optional() });

  const runs = Number(decode(ctx.recall())) + 1;
  ctx.remember(String(runs));

  try {
    const { connectUs } = ctx.tcp(address);
    return Report.pass(`${label} accepts connections`).metric("connect", connectUs / 1e6, "s").metric("runs", runs, "c");
  } catch (failure) {
    if (failure instanceof ProbeFailed) return failure.report(label).metric("runs", runs, "c");
    throw failure;
  }
});
