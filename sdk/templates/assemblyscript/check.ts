// Does a port accept connections?

import { Context, Report, realloc, runCheck, tcp } from "./vouchd/assemblyscript/vouchd_check";

function check(ctx: Context): Report {
  const address = ctx.text("address");
  const wrong = ctx.wrong();
  if (wrong !== null) return wrong;

  const reply = tcp(address);
  const error = reply.error;
  if (error !== null) return error.orFail(address);
  return Report.pass(address + " accepts connections").metric("connect", <f64>reply.connectUs / 1e6, "s");
}

function run(name: usize, nameLen: i32, params: usize, paramsLen: i32, budgetMs: u32): usize {
  return runCheck(check, name, nameLen, params, paramsLen, budgetMs);
}

// The contract's names for these exports are not identifiers; vouchd/assemblyscript/exports.mjs sets them.
export { run, realloc };
