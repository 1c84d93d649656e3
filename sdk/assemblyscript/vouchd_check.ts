// vouchd checks in AssemblyScript: bindings of the contract ../wit/check.wit, written by hand.
//
// Write `function check(ctx: Context): Report`, and end the file with an exported `run` as in example/port.ts. To report an
// error of the check, return `Report.error(…)`; an exception ends the run with an error too, but with a less readable text.
// Each run is a fresh instance, so no variable survives it: build with `--runtime stub`, which never frees.

export * from "./vouchd_probes";

/// A text in UTF-8, kept until the end of the run.
export class Bytes {
  ptr: usize;
  len: i32;
  constructor(text: string) {
    this.len = String.UTF8.byteLength(text);
    this.ptr = heap.alloc(this.len + 1);
    // Half a surrogate pair is not UTF-8.
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, this.ptr, false, String.UTF8.ErrorMode.REPLACE);
  }
}

/// Reads a text from its pointer and length in memory.
export function lift(ptr: usize): string {
  return String.UTF8.decodeUnsafe(load<usize>(ptr), load<i32>(ptr, 4));
}

/// Reads bytes from their pointer and length in memory.
export function liftBytes(ptr: usize): StaticArray<u8> {
  const length = load<i32>(ptr, 4);
  const data = new StaticArray<u8>(length);
  memory.copy(changetype<usize>(data), load<usize>(ptr), length);
  return data;
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
  /// In file order. Tables are flattened (`headers.accept`); a list repeats its name.
  params: Param[] = [];
  private known: string[] = [];
  private problem: string = "";
  constructor(
    /// The name of the check in the configuration.
    public name: string,
    /// Milliseconds until the daemon ends the run.
    public budgetMs: u32,
  ) {}

  // Parameters. Read them all, then call `wrong`.

  /// Returns a required parameter.
  text(key: string): string {
    const given = this.given(key, "text");
    if (given !== null) return given;
    this.fail("parameter `" + key + "` is missing");
    return "";
  }

  /// Returns a parameter that may be left out, or the fallback.
  textOr(key: string, fallback: string | null): string | null {
    const given = this.given(key, "text");
    return given === null ? fallback : given;
  }

  /// Returns a whole number.
  integerOr(key: string, fallback: i64): i64 {
    const given = this.given(key, "a whole number");
    return given === null ? fallback : I64.parseInt(given);
  }

  numberOr(key: string, fallback: f64): f64 {
    const given = this.given(key, "a number");
    return given === null ? fallback : F64.parseFloat(given);
  }

  booleanOr(key: string, fallback: bool): bool {
    const given = this.given(key, "true or false");
    return given === null ? fallback : given == "true";
  }

  /// Returns milliseconds. The parameter is written `"500ms"`, `"2s"`, `"1m"`, `"12h"`, `"7d"`.
  durationOr(key: string, fallback: u32): u32 {
    const given = this.given(key, DURATION);
    return given === null ? fallback : <u32>milliseconds(given);
  }

  /// Returns all values of a list.
  list(key: string): string[] {
    this.known.push(key);
    const values: string[] = [];
    for (let i = 0; i < this.params.length; i++) if (this.params[i].key == key) values.push(this.params[i].value);
    return values;
  }

  /// Returns the entries of a table.
  table(key: string): Map<string, string> {
    const begin = key + ".";
    this.known.push(begin + "*");
    const entries = new Map<string, string>();
    for (let i = 0; i < this.params.length; i++) {
      const param = this.params[i];
      if (param.key.startsWith(begin)) entries.set(param.key.slice(begin.length), param.value);
    }
    return entries;
  }

  /// Returns an error report if a parameter is missing, of the wrong type, given twice, or none of those read before. Return it
  /// from the check.
  wrong(): Report | null {
    for (let i = 0; i < this.params.length; i++) {
      const key = this.params[i].key;
      let isKnown = false;
      for (let k = 0; k < this.known.length; k++) {
        const name = this.known[k];
        isKnown = isKnown || name == key || (name.endsWith(".*") && key.startsWith(name.slice(0, name.length - 1)));
      }
      if (!isKnown) this.fail("unknown parameter `" + key + "`, expected one of: " + this.known.join(", "));
    }
    return this.problem == "" ? null : Report.error(this.problem);
  }

  /// Returns the value of a parameter that is given once and fits.
  private given(key: string, expected: string): string | null {
    const values = this.list(key);
    if (values.length == 0) return null;
    if (values.length > 1) this.fail("parameter `" + key + "`: found " + values.length.toString() + " values, expected one");
    if (fits(values[0], expected)) return values[0];
    this.fail("parameter `" + key + "`: expected " + expected + ", found `" + values[0] + "`");
    return null;
  }

  private fail(problem: string): void {
    if (this.problem == "") this.problem = problem;
  }

  /// Returns the first parameter with that name.
  param(key: string): string | null {
    for (let i = 0; i < this.params.length; i++) if (this.params[i].key == key) return this.params[i].value;
    return null;
  }

  /// Returns the name of the first parameter that is none of `known`, most likely a typing error.
  unknownParam(known: string[]): string | null {
    for (let i = 0; i < this.params.length; i++) if (!known.includes(this.params[i].key)) return this.params[i].key;
    return null;
  }
}

const DURATION = 'a duration like "500ms"';

function fits(text: string, expected: string): bool {
  if (expected == "true or false") return text == "true" || text == "false";
  if (expected == DURATION) return milliseconds(text) >= 0;
  if (expected == "text") return true;
  const digits = text.startsWith("-") || text.startsWith("+") ? text.slice(1) : text;
  const dot = expected == "a number" ? digits.indexOf(".") : -1;
  if (dot >= 0) return isNumber(digits.slice(0, dot)) && isNumber(digits.slice(dot + 1));
  return isNumber(digits);
}

function isNumber(text: string): bool {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) < 48 || text.charCodeAt(i) > 57) return false;
  return text.length > 0 && text.length <= 18;
}

/// Below 0 if it is not a duration, or longer than 49 days.
function milliseconds(text: string): i64 {
  const units: string[] = ["ms", "s", "m", "h", "d"];
  const factors: i64[] = [1, 1000, 60_000, 3_600_000, 86_400_000];
  for (let i = 0; i < units.length; i++) {
    let end = text.length - units[i].length;
    while (end > 0 && text.charCodeAt(end - 1) == 32) end--;
    const digits = text.slice(0, end);
    if (!text.endsWith(units[i]) || !isNumber(digits) || digits.length > 10) continue;
    const found = I64.parseInt(digits) * factors[i];
    return found <= <i64>u32.MAX_VALUE ? found : -1;
  }
  return -1;
}

/// The verdict about the service, best first.
export enum Verdict {
  /// The service works.
  Pass,
  /// The service works, but another router would serve better.
  Warn,
  /// The service does not work. What that costs is the operator's choice.
  Fail,
  /// This router must not be active, whatever the priorities.
  Fault,
}

class Metric {
  constructor(public name: string, public value: f64, public unit: string) {}
}

export class Report {
  private isError: bool = false;
  private hasAdjust: bool = false;
  private adjust: i16 = 0;
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

  /// An error: the check could not be carried out, for instance because a parameter makes no sense. It is not a verdict about the
  /// service.
  static error(reason: string): Report {
    const report = new Report(Verdict.Fail, reason);
    report.isError = true;
    return report;
  }

  /// Requests a change of the priority, which applies as far as the operator allows.
  adjusted(points: i16): Report {
    this.hasAdjust = true;
    this.adjust = points;
    return this;
  }

  /// Adds a metric. The unit is `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty.
  metric(name: string, value: f64, unit: string): Report {
    this.metrics.push(new Metric(name, value, unit));
    return this;
  }

  /// Writes it to memory as `result<report, string>`.
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
    store<u8>(ptr, <u8>this.hasAdjust, 16);
    store<i16>(ptr, this.adjust, 18);
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

// @ts-ignore: decorator
@external("vouchd:check/memo@0.1.0", "get")
declare function importGet(answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/memo@0.1.0", "set")
declare function importSet(data: usize, len: i32): void;
// @ts-ignore: decorator
@external("vouchd:check/log@0.1.0", "log")
declare function importLog(level: i32, message: usize, len: i32): void;

/// Returns what an earlier run remembered; empty at first.
export function recall(): string {
  const answer = heap.alloc(8);
  importGet(answer);
  return lift(answer);
}

/// Like `recall`, for bytes that are not text.
export function recallBytes(): StaticArray<u8> {
  const answer = heap.alloc(8);
  importGet(answer);
  return liftBytes(answer);
}

/// Keeps up to 4096 bytes of UTF-8 for the next run, if this one ends without an error. More make the run an error.
export function remember(text: string): void {
  const bytes = new Bytes(text);
  importSet(bytes.ptr, bytes.len);
}

/// Like `remember`, for bytes that are not text.
export function rememberBytes(data: StaticArray<u8>): void {
  importSet(changetype<usize>(data), data.length);
}

export enum Level {
  Debug,
  Info,
  Warn,
  Error,
}

/// Writes a line to the daemon's log.
export function log(level: Level, message: string): void {
  const bytes = new Bytes(message);
  importLog(level, bytes.ptr, bytes.len);
}

/// Calls `check` with the context that the daemon passed.
export function runCheck(check: (ctx: Context) => Report, name: usize, nameLen: i32, params: usize, paramsLen: i32, budgetMs: u32): usize {
  const ctx = new Context(String.UTF8.decodeUnsafe(name, nameLen), budgetMs);
  for (let i = 0; i < paramsLen; i++) {
    const param = params + 16 * i;
    ctx.params.push(new Param(lift(param), lift(param + 8)));
  }
  return check(ctx).lower();
}

/// Allocates the memory for what the daemon passes to the plugin.
export function realloc(old: usize, oldLen: i32, align: i32, len: i32): usize {
  const room = heap.alloc(len + 1);
  memory.copy(room, old, min(oldLen, len));
  return room;
}

/// `throw` and failed accesses end here, by means of exports.mjs: the message becomes the last words of the run's error.
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const words = message === null ? "aborted" : message;
  const where = file === null ? "" : " (" + file + ":" + line.toString() + ":" + column.toString() + ")";
  log(Level.Error, words + where);
  unreachable();
}
