// Does a port accept connections? The same as port.js, in TypeScript.
//
// Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).

import { type Context, ProbeFailed, Report, check, decode, param } from "vouchd-check";

const PARAMS = { address: param.text, label: param.text.optional() };

function run(ctx: Context): Report {
  const { address, label = address } = ctx.decode(PARAMS);

  const runs: number = Number(decode(ctx.recall())) + 1;
  ctx.remember(String(runs));

  try {
    const { connectUs } = ctx.tcp(address);
    return Report.pass(`${label} accepts connections`).metric("connect", connectUs / 1e6, "s").metric("runs", runs, "c");
  } catch (failure) {
    if (failure instanceof ProbeFailed) return failure.report(label).metric("runs", runs, "c");
    throw failure;
  }
}

export const checker = check(run);
