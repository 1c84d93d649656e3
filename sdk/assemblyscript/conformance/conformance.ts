// Behaves as the parameter `do` says, for sdk/conformance: behaviours.py there says what each must show.

import {
  Connection, Context, FileKind, HttpOptions, Level, Report, addresses, connectTcp, connectUnix, decode, findProcesses, http, links,
  log, now, read, realloc, recall, recallBytes, remember, rememberBytes, resolve, runCheck, space, stat, tcp,
} from "../vouchd_check";

class Params {
  what: string = "";
  text: string = "";
  hasText: bool = false;
  address: string = "";
  path: string = "";
  url: string = "";
  name: string = "";
  number: i64 = 0;
  insecure: bool = false;
  timeout: u32 = 0;

  connect(): Connection {
    return this.path == "" ? connectTcp(this.address, this.timeout) : connectUnix(this.path, this.timeout);
  }
}

function or(text: string | null, fallback: string): string {
  return text === null ? fallback : text;
}

function check(ctx: Context): Report {
  const p = new Params();
  p.what = ctx.text("do");
  const text = ctx.textOr("text", null);
  p.hasText = text !== null;
  p.text = or(text, "");
  p.address = or(ctx.textOr("address", null), "");
  p.path = or(ctx.textOr("path", null), "");
  p.url = or(ctx.textOr("url", null), "");
  p.name = or(ctx.textOr("name", null), "");
  p.number = ctx.integerOr("number", 0);
  p.insecure = ctx.booleanOr("insecure", false);
  p.timeout = ctx.durationOr("timeout", 0);
  ctx.list("list");
  ctx.table("headers");
  const wrong = ctx.wrong();
  if (wrong !== null) return wrong;
  const said = says(p);
  if (said !== null) return said;
  const probed = probes(p);
  return probed === null ? act(ctx, p) : probed;
}

function says(p: Params): Report | null {
  const what = p.what;
  if (["pass", "warn", "fail", "fault"].includes(what) && !p.hasText) return Report.error("parameter `text` is missing");
  if (what == "pass") return Report.pass(p.text);
  if (what == "warn") return Report.warn(p.text);
  if (what == "fail") return Report.fail(p.text);
  if (what == "fault") return Report.fault(p.text);
  if (what == "error") return Report.error(p.text);
  if (what == "adjust") return Report.pass("adjusted").adjusted(<i16>p.number);
  if (what == "metrics") {
    return Report.pass("measured").metric("seconds", 0.25, "s").metric("size", 1_048_576, "B").metric("share", 99.5, "%")
      .metric("count", 3, "c").metric("plain", -1.5, "").metric("größe", 1, "");
  }
  if (what == "nan") return Report.pass("measured").metric("nan", NaN, "").metric("inf", Infinity, "").metric("fine", 1, "");
  return null;
}

// ---- Parameters, memo, log; and what a plugin can't get out of ----

function act(ctx: Context, p: Params): Report {
  const what = p.what;
  if (what == "panic") {
    const none: string[] = [];
    return Report.pass(none[what.length]);
  }
  if (what == "length") return Report.pass(String.UTF8.byteLength(p.text).toString() + " bytes");
  if (what == "params") {
    const all: string[] = [];
    for (let i = 1; i < ctx.params.length; i++) all.push(ctx.params[i].key + "=" + ctx.params[i].value);
    return Report.pass(all.join(" "));
  }
  if (what == "context") return Report.pass(ctx.name + " " + ctx.budgetMs.toString());
  if (what == "count") {
    const memo = recall();
    const runs = (memo == "" ? 0 : I32.parseInt(memo)) + 1;
    remember(runs.toString());
    return Report.pass("counted").metric("runs", runs, "c");
  }
  if (what == "bytes") return bytes();
  if (what == "remember") {
    remember("x".repeat(<i32>p.number));
    return Report.pass("remembers");
  }
  if (what == "log") {
    for (let level = Level.Debug; level <= Level.Error; level++) log(level, p.text);
    return Report.pass("said");
  }
  if (what == "flood") {
    for (let i = 0; i < 1000; i++) log(Level.Info, "line " + i.toString());
    return Report.pass("said");
  }
  if (what == "loop") while (true) counter++;
  if (what == "memory") while (true) held.push(new StaticArray<u8>(1 << 20));
  if (what == "recurse") return Report.pass(deeper(p.number).toString());
  return Report.error("parameter `do`: found `" + what + "`");
}

let counter: i32 = 0;
const held: StaticArray<u8>[] = [];

function deeper(n: i64): i64 {
  return n < 0 ? 0 : deeper(n + 1) + n;
}

function bytes(): Report {
  const all = new StaticArray<u8>(256);
  for (let i = 0; i < 256; i++) all[i] = <u8>i;
  const found = recallBytes();
  rememberBytes(all);
  for (let i = 0; i < found.length; i++) if (found.length != 256 || found[i] != all[i]) return Report.fail("others");
  return Report.pass(found.length.toString() + " bytes came back");
}

// ---- Probes ----

function probes(p: Params): Report | null {
  const what = p.what;
  if (what == "process") {
    const reply = findProcesses(p.name);
    const error = reply.error;
    if (error !== null) return error.orFail(what);
    if (reply.found.length == 0) return Report.fail("none");
    const first = reply.found[0];
    return Report.pass(reply.found.length.toString() + ": " + first.pid.toString() + " " + first.name)
      .metric("age", <f64>first.ageMs / 1000, "s");
  }
  if (what == "tcp") {
    const reply = tcp(p.address, p.timeout, p.text + "\n", "\n", 100_000);
    const error = reply.error;
    if (error !== null) return error.orFail(what);
    return Report.pass(reply.data.length.toString() + " bytes: " + reply.text())
      .metric("connect", <f64>reply.connectUs / 1e6, "s");
  }
  if (what == "http") {
    const options = new HttpOptions();
    options.method = "POST";
    options.headers = [["x-question", "why"]];
    options.body = p.text;
    options.tlsVerify = !p.insecure;
    options.timeoutMs = p.timeout;
    const reply = http(p.url, options);
    const error = reply.error;
    if (error !== null) return error.orFail(what);
    const answer = reply.headers.has("x-answer") ? reply.headers.get("x-answer") : "";
    return Report.pass(reply.status.toString() + " " + answer + " " + reply.text())
      .metric("total", <f64>reply.totalUs / 1e6, "s");
  }
  if (what == "stat") {
    const info = stat(p.path);
    const error = info.error;
    if (error !== null) return error.orFail(what);
    if (!info.exists) return Report.warn("no such file");
    const kind = info.kind == FileKind.File ? "file" : info.kind == FileKind.Directory ? "directory" : "other";
    return Report.pass(kind).metric("size", <f64>info.size, "B").metric("age", <f64>info.ageMs / 1000, "s");
  }
  if (what == "read") {
    const file = read(p.path, <u32>p.number);
    const error = file.error;
    if (error !== null) return error.orFail(what);
    if (!file.exists) return Report.warn("no such file");
    const begin = file.data.slice<StaticArray<u8>>(0, 20);
    return Report.pass(file.data.length.toString() + " bytes: " + decode(begin));
  }
  if (what == "space") {
    const found = space(p.path);
    const error = found.error;
    if (error !== null) return error.orFail(what);
    const fits = found.total >= found.available && found.inodes >= found.inodesAvailable;
    return Report.pass(fits.toString()).metric("total", <f64>found.total, "B");
  }
  if (what == "resolve") {
    const found = resolve(p.name, p.timeout);
    const error = found.error;
    return error !== null ? error.orFail(what) : Report.pass(found.addresses.join(" "));
  }
  if (what == "links") {
    const reply = links();
    const error = reply.error;
    if (error !== null) return error.orFail(what);
    for (let i = 0; i < reply.found.length; i++) {
      const link = reply.found[i];
      if (link.name == p.name) return Report.pass(link.name + " up=" + link.up.toString() + " carrier=" + link.carrier.toString());
    }
    return Report.fail("no such link");
  }
  if (what == "addresses") {
    const reply = addresses();
    const error = reply.error;
    if (error !== null) return error.orFail(what);
    for (let i = 0; i < reply.found.length; i++) {
      const own = reply.found[i];
      if (own.ip == p.address) return Report.pass(own.link + " " + own.ip + "/" + own.prefix.toString());
    }
    return Report.fail("no such address");
  }
  if (what == "clock") return Report.pass(now().toString());
  if (what == "talk") return talk(p);
  if (what == "starttls") return starttls(p);
  if (what == "many" || what == "hoard") {
    for (let i: i64 = 0; i < p.number; i++) {
      const peer = p.connect();
      const error = peer.error;
      if (error !== null) return error.orFail(what);
      if (what == "many") peer.close();
    }
    return Report.pass(p.number.toString() + " connections");
  }
  return null;
}

function talk(p: Params): Report {
  const peer = p.connect();
  const error = peer.error;
  if (error !== null) return error.orFail(p.what);
  const said: string[] = [];
  for (let i = 0; i < 3; i++) {
    const unsent = i == 2 ? peer.send("SAY " + p.text + "\r\n") : null;
    if (unsent !== null) return unsent.orFail(p.what);
    const line = peer.receiveUntil("\r\n", 100_000, p.timeout);
    const silence = line.error;
    if (silence !== null) return silence.orFail(p.what);
    said.push(line.text().trim());
  }
  peer.close();
  return Report.pass(said.join("|"));
}

function starttls(p: Params): Report {
  const peer = p.connect();
  const error = peer.error;
  if (error !== null) return error.orFail(p.what);
  const unsent = peer.send("STARTTLS\r\n");
  if (unsent !== null) return unsent.orFail(p.what);
  const go = peer.receiveUntil("\r\n", 1000).error;
  if (go !== null) return go.orFail(p.what);
  const shown = peer.startTls(p.name, !p.insecure);
  const refused = shown.error;
  if (refused !== null) return refused.orFail(p.what);
  const unsaid = peer.send("SAY " + p.text + "\r\n");
  if (unsaid !== null) return unsaid.orFail(p.what);
  const line = peer.receiveUntil("\r\n", 1000);
  const silence = line.error;
  if (silence !== null) return silence.orFail(p.what);
  peer.close();
  log(Level.Info, or(shown.problem, ""));
  return Report.pass([shown.protocol, shown.subject, shown.issuer, shown.names.join(","), line.text().trim()].join(" "))
    .metric("days", <f64>(shown.notAfter - shown.notBefore) / 86_400, "");
}

function run(name: usize, nameLen: i32, params: usize, paramsLen: i32, budgetMs: u32): usize {
  return runCheck(check, name, nameLen, params, paramsLen, budgetMs);
}

export { run, realloc };
