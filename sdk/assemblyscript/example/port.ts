// Does a port accept connections?
//
// Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).

import { Context, Report, realloc, recall, remember, runCheck, tcp } from "../vouchd_check";

function check(ctx: Context): Report {
  const address = ctx.text("address");
  const given = ctx.textOr("label", null);
  const wrong = ctx.wrong();
  if (wrong !== null) return wrong;
  const label = given === null ? address : given;

  const reply = tcp(address);
  const error = reply.error;
  const report =
    error === null
      ? Report.pass(label + " accepts connections").metric("connect", <f64>reply.connectUs / 1e6, "s")
      : error.orFail(label);
  return report.metric("runs", countRun(), "c");
}

/// Counts the runs, this one included.
function countRun(): i32 {
  const memo = recall();
  const runs = (memo.length == 0 ? 0 : I32.parseInt(memo)) + 1;
  remember(runs.toString());
  return runs;
}

function run(name: usize, nameLen: i32, params: usize, paramsLen: i32, budgetMs: u32): usize {
  return runCheck(check, name, nameLen, params, paramsLen, budgetMs);
}

export { run, realloc };
