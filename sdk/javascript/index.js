// Write a check for vouchd in JavaScript or TypeScript. What a caller needs to know stands in index.d.ts.

import http from "vouchd:check/http@0.1.0";
import log from "vouchd:check/log@0.1.0";
import memo from "vouchd:check/memo@0.1.0";
import process from "vouchd:check/process@0.1.0";
import tcp from "vouchd:check/tcp@0.1.0";

/** Left of the run when a probe ends, so that the report can still be made. */
const RESERVE_MS = 10;

const TEXTS = {
  timeout: () => "no answer in time",
  refused: () => "connection refused",
  unresolved: () => "the name does not resolve",
  tls: (text) => `TLS: ${text}`,
};

export class CheckError extends Error {}

export class ProbeFailed extends CheckError {
  constructor({ tag, val }) {
    super(TEXTS[tag]?.(val) ?? val);
    this.kind = tag;
  }

  report(what) {
    if (this.kind === "denied" || this.kind === "invalid") throw this;
    return Report.fail(`${what}: ${this.message}`);
  }
}

export class Report {
  adjust = null;
  metrics = [];

  constructor(verdict, message) {
    this.verdict = verdict;
    this.message = message;
  }

  static pass = (message) => new Report("pass", message);
  static warn = (message) => new Report("warn", message);
  static fail = (message) => new Report("fail", message);
  static fault = (message) => new Report("fault", message);

  metric(name, value, unit = "") {
    this.metrics.push({ name: text(name), value: Number(value), unit: text(unit) });
    return this;
  }

  adjusted(priority) {
    this.adjust = priority;
    return this;
  }
}

export class Context {
  constructor({ name, params, budgetMs }) {
    this.name = name;
    this.params = params;
    this.budgetMs = budgetMs;
  }

  param(name, fallback) {
    const values = this.paramList(name);
    if (values.length > 1) throw new CheckError(`parameter \`${name}\`: found ${values.length} values, expected one`);
    const value = values[0] ?? fallback;
    if (value === undefined) throw new CheckError(`parameter \`${name}\` is missing`);
    return value;
  }

  paramList(name) {
    return this.params.filter(([key]) => key === name).map(([, value]) => value);
  }

  allowParams(...names) {
    for (const [key] of this.params) {
      if (!names.includes(key)) throw new CheckError(`unknown parameter \`${key}\`, expected one of: ${names.join(", ")}`);
    }
  }

  tcp(address, { send = "", until = null, maxBytes = 0, timeoutMs = this.#timeout() } = {}) {
    return probe(() => tcp.probe(address, bytes(send), until === null ? null : bytes(until), maxBytes, timeoutMs));
  }

  http(url, options = {}) {
    const { method = "GET", headers = [], body = "", timeoutMs = this.#timeout(), maxBodyBytes = 0 } = options;
    const { tlsVerify = true, sni = null, followRedirects = 0, reuseConnection = false } = options;
    return probe(() =>
      http.fetch({
        method, url, headers, body: bytes(body), timeoutMs, maxBodyBytes, tlsVerify, sni, followRedirects, reuseConnection,
      }),
    );
  }

  processes({ name = null, cmdline = null, pidFile = null, user = null }) {
    return probe(() => process.find({ name, cmdline, pidFile, user }));
  }

  log(level, message) {
    log.log(level, text(message));
  }

  recall() {
    return memo.get();
  }

  remember(data) {
    memo.set(bytes(data));
  }

  #timeout() {
    return Math.max(this.budgetMs - RESERVE_MS, 1);
  }
}

export function probe(call) {
  try {
    return call();
  } catch (error) {
    const value = error?.payload ?? error;
    throw typeof value?.tag === "string" ? new ProbeFailed(value) : error;
  }
}

export function encode(value) {
  return Uint8Array.from(unescape(encodeURIComponent(text(value))), (unit) => unit.charCodeAt(0));
}

export function decode(data) {
  const units = Array.from(data, (byte) => String.fromCharCode(byte)).join("");
  try {
    return decodeURIComponent(escape(units));
  } catch {
    return units.replace(/[^\x00-\x7f]/g, "\ufffd");
  }
}

export function check(run) {
  return {
    check(raw) {
      try {
        const report = run(new Context(raw));
        if (!(report instanceof Report)) throw new CheckError(`the check returned ${report}, expected a Report`);
        const { verdict, message, adjust, metrics } = report;
        return { verdict, message: text(message), adjust, metrics };
      } catch (error) {
        throw text(error instanceof CheckError ? error.message : String(error));
      }
    },
  };
}

function bytes(data) {
  return typeof data === "string" ? encode(data) : data;
}

/** Half of a surrogate pair, as slicing a string leaves it, is not UTF-8. */
function text(value) {
  return String(value).toWellFormed();
}
