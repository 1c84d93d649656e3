// vouchd checks in AssemblyScript: the contract of ../wit/check.wit, bound by hand.
//
// Write `function check(ctx: Context): Report`, and end the file with an exported `run` as in example/port.ts. Throwing is not
// caught in AssemblyScript: for an error of the check itself, return `Report.error(…)`. Each run is a fresh instance, so build
// with `--runtime stub`, which never frees.

/// UTF-8 of a text, kept for the rest of the run.
class Bytes {
  ptr: usize;
  len: i32;
  constructor(text: string) {
    this.len = String.UTF8.byteLength(text);
    this.ptr = heap.alloc(this.len + 1);
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, this.ptr);
  }
}

function lift(ptr: usize): string {
  return String.UTF8.decodeUnsafe(load<usize>(ptr), load<i32>(ptr, 4));
}

function lower(ptr: usize, text: string): void {
  const bytes = new Bytes(text);
  store<usize>(ptr, bytes.ptr);
  store<i32>(ptr, bytes.len, 4);
}

export class Param {
  constructor(public key: string, public value: string) {}
}

export class Context {
  /// In file order. Tables are flattened (`headers.accept`); a list is its name repeated.
  params: Param[] = [];
  constructor(
    /// Name of the check in the configuration.
    public name: string,
    /// Milliseconds left before the run is ended.
    public budgetMs: u32,
  ) {}

  /// The first parameter of that name.
  param(key: string): string | null {
    for (let i = 0; i < this.params.length; i++) if (this.params[i].key == key) return this.params[i].value;
    return null;
  }

  /// The first parameter that is none of `known`: most likely a typing error.
  unknownParam(known: string[]): string | null {
    for (let i = 0; i < this.params.length; i++) if (!known.includes(this.params[i].key)) return this.params[i].key;
    return null;
  }
}

/// Best first.
export enum Verdict {
  Pass,
  /// Works, but another router would serve better.
  Warn,
  Fail,
  /// This router must not be active, whatever it costs.
  Fault,
}

class Metric {
  constructor(public name: string, public value: f64, public unit: string) {}
}

export class Report {
  private isError: bool = false;
  private metrics: Metric[] = [];
  private constructor(private verdict: Verdict, private message: string) {}

  static pass(message: string): Report {
    return new Report(Verdict.Pass, message);
  }

  static warn(message: string): Report {
    return new Report(Verdict.Warn, message);
  }

  static fail(message: string): Report {
    return new Report(Verdict.Fail, message);
  }

  static fault(message: string): Report {
    return new Report(Verdict.Fault, message);
  }

  /// The check could not be carried out, for instance because a parameter makes no sense. Not a verdict about the service.
  static error(reason: string): Report {
    const report = new Report(Verdict.Fail, reason);
    report.isError = true;
    return report;
  }

  /// Adds a number measured during the run; the unit is `s`, `B`, `%`, `c` (a counter), or empty.
  metric(name: string, value: f64, unit: string): Report {
    this.metrics.push(new Metric(name, value, unit));
    return this;
  }

  /// As `result<report, string>` in memory.
  lower(): usize {
    const ptr = heap.alloc(28);
    memory.fill(ptr, 0, 28);
    if (this.isError) {
      store<u8>(ptr, 1);
      lower(ptr + 4, this.message);
      return ptr;
    }
    store<u8>(ptr, <u8>this.verdict, 4);
    lower(ptr + 8, this.message);
    const metrics = heap.alloc(24 * this.metrics.length + 1);
    for (let i = 0; i < this.metrics.length; i++) {
      lower(metrics + 24 * i, this.metrics[i].name);
      store<f64>(metrics + 24 * i, this.metrics[i].value, 8);
      lower(metrics + 24 * i + 16, this.metrics[i].unit);
    }
    store<usize>(ptr, metrics, 20);
    store<i32>(ptr, this.metrics.length, 24);
    return ptr;
  }
}

export enum Problem {
  /// Not granted to this check.
  Denied,
  Timeout,
  Refused,
  Unresolved,
  Tls,
  /// An argument makes no sense.
  Invalid,
  Other,
}

/// Why a probe gave no answer.
export class ProbeError {
  constructor(public problem: Problem, public text: string) {}

  /// Fails, saying that `what` did not answer and why; or an error where the probe could not be made at all.
  orFail(what: string): Report {
    switch (this.problem) {
      case Problem.Denied:
      case Problem.Invalid:
        return Report.error(this.text);
      case Problem.Timeout:
        return Report.fail(what + ": no answer in time");
      case Problem.Refused:
        return Report.fail(what + ": connection refused");
      case Problem.Unresolved:
        return Report.fail(what + ": the name does not resolve");
      case Problem.Tls:
        return Report.fail(what + ": TLS: " + this.text);
      default:
        return Report.fail(what + ": " + this.text);
    }
  }
}

/// Has an error, or the rest.
export class TcpReply {
  error: ProbeError | null = null;
  /// Microseconds that connecting took.
  connectUs: u64 = 0;
  data: StaticArray<u8> = new StaticArray<u8>(0);
}

// @ts-ignore: decorator
@external("vouchd:check/tcp@0.1.0", "probe")
declare function importProbe(addr: usize, addrLen: i32, send: usize, sendLen: i32, hasUntil: i32, until: usize, untilLen: i32, maxBytes: u32, timeoutMs: u32, answer: usize): void;

/// Connects to `addr` (`host:port`, IPv6 in brackets), sends `send`, and reads until `until` is seen, `maxBytes` came, or the
/// time is up. With `maxBytes` 0 and without `until` nothing is read.
export function tcp(addr: string, timeoutMs: u32, send: string = "", until: string | null = null, maxBytes: u32 = 0): TcpReply {
  const answer = heap.alloc(24);
  const address = new Bytes(addr);
  const sent = new Bytes(send);
  const end = new Bytes(until === null ? "" : until);
  importProbe(address.ptr, address.len, sent.ptr, sent.len, i32(until !== null), end.ptr, end.len, maxBytes, timeoutMs, answer);
  const reply = new TcpReply();
  if (load<u8>(answer) == 0) {
    reply.connectUs = load<u64>(answer, 8);
    reply.data = bytes(answer + 16);
    return reply;
  }
  const problem: Problem = load<u8>(answer, 8);
  const hasText = problem == Problem.Denied || problem == Problem.Tls || problem == Problem.Invalid || problem == Problem.Other;
  reply.error = new ProbeError(problem, hasText ? lift(answer + 12) : "");
  return reply;
}

function bytes(ptr: usize): StaticArray<u8> {
  const length = load<i32>(ptr, 4);
  const data = new StaticArray<u8>(length);
  memory.copy(changetype<usize>(data), load<usize>(ptr), length);
  return data;
}

/// The probes that answer with one number, from 0 up; below that: -1 denied, -2 timeout, -3 refused, -4 unresolved, -5 TLS,
/// -6 other, -7 invalid argument.
export namespace simple {
  // @ts-ignore: decorator
  @external("vouchd:check/simple@0.1.0", "process-count")
  declare function importProcessCount(name: usize, len: i32): i32;
  // @ts-ignore: decorator
  @external("vouchd:check/simple@0.1.0", "http-get")
  declare function importHttpGet(url: usize, len: i32, timeoutMs: u32): i32;

  /// Number of running processes with this name.
  export function processCount(name: string): i32 {
    const bytes = new Bytes(name);
    return importProcessCount(bytes.ptr, bytes.len);
  }

  /// Status code of a GET; redirects are not followed.
  export function httpGet(url: string, timeoutMs: u32): i32 {
    const bytes = new Bytes(url);
    return importHttpGet(bytes.ptr, bytes.len, timeoutMs);
  }
}

// @ts-ignore: decorator
@external("vouchd:check/memo@0.1.0", "get")
declare function importGet(answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/memo@0.1.0", "set")
declare function importSet(data: usize, len: i32): void;
// @ts-ignore: decorator
@external("vouchd:check/log@0.1.0", "log")
declare function importLog(level: i32, message: usize, len: i32): void;

/// What the last run remembered; empty at first.
export function recall(): string {
  const answer = heap.alloc(8);
  importGet(answer);
  return lift(answer);
}

/// For the next run, if this one ends without an error. At most 4096 bytes of UTF-8.
export function remember(text: string): void {
  const bytes = new Bytes(text);
  importSet(bytes.ptr, bytes.len);
}

export enum Level {
  Debug,
  Info,
  Warn,
  Error,
}

/// A line for the daemon's log.
export function log(level: Level, message: string): void {
  const bytes = new Bytes(message);
  importLog(level, bytes.ptr, bytes.len);
}

/// Calls `check` with what the daemon handed over.
export function runCheck(check: (ctx: Context) => Report, name: usize, nameLen: i32, params: usize, paramsLen: i32, budgetMs: u32): usize {
  const ctx = new Context(String.UTF8.decodeUnsafe(name, nameLen), budgetMs);
  for (let i = 0; i < paramsLen; i++) {
    const param = params + 16 * i;
    ctx.params.push(new Param(lift(param), lift(param + 8)));
  }
  return check(ctx).lower();
}

/// Where the daemon puts what it hands over.
export function realloc(old: usize, oldLen: i32, align: i32, len: i32): usize {
  const room = heap.alloc(len + 1);
  memory.copy(room, old, min(oldLen, len));
  return room;
}
