// Behaves as the parameter `do` says, for sdk/conformance: behaviours.py there says what each must show.

import {
  CheckError, type Connection, type Context, type Decoded, type Level, ProbeFailed, Report, check, decode, encode, param,
} from "vouchd-check";

const PARAMS = {
  do: param.text,
  text: param.text.optional(),
  address: param.text.default(""),
  path: param.text.default(""),
  url: param.text.default(""),
  name: param.text.default(""),
  number: param.integer.default(0),
  insecure: param.boolean.default(false),
  timeout: param.duration.default(0),
  list: param.text.list(),
  headers: param.text.table(),
};
type Params = Decoded<typeof PARAMS>;

function said({ text }: Params): string {
  if (text === undefined) throw new CheckError("parameter `text` is missing");
  return text;
}

function connect(ctx: Context, { path, address, timeout }: Params): Connection {
  return path ? ctx.connectUnix(path, timeout) : ctx.connectTcp(address, timeout);
}

const line = (peer: Connection, timeout = 0): string => decode(peer.receiveUntil("\r\n", 100_000, timeout)).trim();

const ACTS: Record<string, (ctx: Context, p: Params) => Report> = {
  // ---- Reports and errors ----
  pass: (_, p) => Report.pass(said(p)),
  warn: (_, p) => Report.warn(said(p)),
  fail: (_, p) => Report.fail(said(p)),
  fault: (_, p) => Report.fault(said(p)),
  adjust: (_, p) => Report.pass("adjusted").adjusted(p.number),
  metrics: () =>
    Report.pass("measured").metric("seconds", 0.25, "s").metric("size", 2 ** 20, "B").metric("share", 99.5, "%")
      .metric("count", 3, "c").metric("plain", -1.5).metric("größe", 1),
  nan: () => Report.pass("measured").metric("nan", NaN).metric("inf", Infinity).metric("fine", 1),
  error: (_, p) => {
    throw new CheckError(said(p));
  },
  panic: (_, p) => Report.pass((undefined as unknown as string[])[p.do.length]!),

  // ---- Parameters, memo, log ----
  length: (_, p) => Report.pass(`${encode(said(p)).length} bytes`),
  params: (ctx) => Report.pass(ctx.params.slice(1).map((param) => param.join("=")).join(" ")),
  context: (ctx) => Report.pass(`${ctx.name} ${ctx.budgetMs}`),
  count: (ctx) => {
    const runs = Number(decode(ctx.recall())) + 1;
    ctx.remember(String(runs));
    return Report.pass("counted").metric("runs", runs, "c");
  },
  bytes: (ctx) => {
    const all = Uint8Array.from({ length: 256 }, (_, value) => value);
    const found = ctx.recall();
    ctx.remember(all);
    const same = found.length === 0 || (found.length === 256 && found.every((value, at) => value === at));
    return same ? Report.pass(`${found.length} bytes came back`) : Report.fail(`found ${found}`);
  },
  remember: (ctx, p) => {
    ctx.remember("x".repeat(p.number));
    return Report.pass("remembers");
  },
  log: (ctx, p) => {
    for (const level of ["debug", "info", "warn", "error"] satisfies Level[]) ctx.log(level, said(p));
    return Report.pass("said");
  },
  flood: (ctx) => {
    for (let number = 0; number < 1000; number++) ctx.log("info", `line ${number}`);
    return Report.pass("said");
  },

  // ---- Probes ----
  process: (ctx, { name }) => {
    const found = ctx.processes({ name });
    const first = found[0];
    if (!first) return Report.fail("none");
    return Report.pass(`${found.length}: ${first.pid} ${first.name}`).metric("age", first.ageMs / 1000, "s");
  },
  tcp: (ctx, p) => {
    const options = { send: said(p) + "\n", until: "\n", maxBytes: 100_000, timeoutMs: p.timeout };
    const { connectUs, data } = ctx.tcp(p.address, options);
    return Report.pass(`${data.length} bytes: ${decode(data)}`).metric("connect", connectUs / 1e6, "s");
  },
  http: (ctx, p) => {
    const { status, headers, body, totalUs } = ctx.http(p.url, {
      method: "POST", headers: [["x-question", "why"]], body: said(p), timeoutMs: p.timeout, maxBodyBytes: 100_000,
      tlsVerify: !p.insecure,
    });
    const answer = headers.find(([name]) => name === "x-answer")?.[1];
    return Report.pass(`${status} ${answer} ${decode(body)}`).metric("total", totalUs / 1e6, "s");
  },
  stat: (ctx, p) => {
    const info = ctx.stat(p.path);
    if (!info) return Report.warn("no such file");
    return Report.pass(info.kind).metric("size", info.size, "B").metric("age", info.ageMs / 1000, "s");
  },
  read: (ctx, p) => {
    const data = ctx.read(p.path, p.number);
    return data ? Report.pass(`${data.length} bytes: ${decode(data.slice(0, 20))}`) : Report.warn("no such file");
  },
  space: (ctx, p) => {
    const { total, available, inodes, inodesAvailable } = ctx.space(p.path);
    return Report.pass(String(total >= available && inodes >= inodesAvailable)).metric("total", total, "B");
  },
  resolve: (ctx, p) => Report.pass(ctx.resolve(p.name, p.timeout).join(" ")),
  links: (ctx, p) => {
    const link = ctx.links().find(({ name }) => name === p.name);
    return link ? Report.pass(`${link.name} up=${link.up} carrier=${link.carrier}`) : Report.fail("no such link");
  },
  addresses: (ctx, p) => {
    const found = ctx.addresses().find(({ ip }) => ip === p.address);
    return found ? Report.pass(`${found.link} ${found.ip}/${found.prefix}`) : Report.fail("no such address");
  },
  talk: (ctx, p) => {
    const peer = connect(ctx, p);
    const lines = [line(peer, p.timeout), line(peer)];
    peer.send(`SAY ${said(p)}\r\n`);
    lines.push(line(peer));
    peer.close();
    return Report.pass(lines.join("|"));
  },
  starttls: (ctx, p) => {
    const peer = connect(ctx, p);
    peer.send("STARTTLS\r\n");
    line(peer);
    const shown = peer.startTls(p.name, { verify: !p.insecure });
    peer.send(`SAY ${said(p)}\r\n`);
    ctx.log("info", shown.problem ?? "");
    return Report.pass(`${shown.protocol} ${shown.subject} ${shown.issuer} ${shown.names} ${line(peer)}`)
      .metric("days", (shown.notAfter - shown.notBefore) / 86_400);
  },
  many: (ctx, p) => {
    for (let number = 0; number < p.number; number++) connect(ctx, p).close();
    return Report.pass(`${p.number} connections`);
  },
  hoard: (ctx, p) => {
    const held = Array.from({ length: p.number }, () => connect(ctx, p));
    return Report.pass(`${held.length} connections`);
  },
  clock: (ctx) => Report.pass(String(ctx.now())),

  // ---- What a plugin can't get out of ----
  loop: () => {
    for (;;);
  },
  memory: () => {
    const held = [];
    for (;;) held.push(new Uint8Array(1 << 20).fill(1));
  },
  recurse: (_, p) => {
    const deeper = (n: number): number => deeper(n + 1) + n;
    return Report.pass(String(deeper(p.number)));
  },
};

export const checker = check((ctx) => {
  const params = ctx.decode(PARAMS);
  const act = ACTS[params.do];
  if (!act) throw new CheckError(`parameter \`do\`: found ${params.do}`);
  try {
    return act(ctx, params);
  } catch (failure) {
    if (failure instanceof ProbeFailed) return failure.report(params.do);
    throw failure;
  }
});
