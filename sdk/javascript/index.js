// Write checks for vouchd in JavaScript or TypeScript. index.d.ts has the documentation.

import { daemon } from "#daemon";
import { CheckError, decode as decodeParams, param } from "./params.js";

export { CheckError, param };

const TEXTS = {
  timeout: () => "no answer in time",
  refused: () => "connection refused",
  unresolved: () => "the name does not resolve",
  tls: (text) => `TLS: ${text}`,
};

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

export class Connection {
  #raw;

  constructor(raw) {
    this.#raw = raw;
  }

  send(data) {
    probe(() => this.#raw.send(bytes(data)));
  }

  receive(maxBytes, timeoutMs = 0) {
    return probe(() => this.#raw.receive(null, maxBytes, timeoutMs));
  }

  receiveUntil(until, maxBytes, timeoutMs = 0) {
    return probe(() => this.#raw.receive(bytes(until), maxBytes, timeoutMs));
  }

  startTls(serverName, { verify = true, timeoutMs = 0 } = {}) {
    return probe(() => this.#raw.startTls(serverName, verify, timeoutMs));
  }

  close() {
    this.#raw[Symbol.dispose]();
  }
}

export class Context {
  #host;

  constructor({ name, params, budgetMs }, host = daemon) {
    this.name = name;
    this.params = params;
    this.budgetMs = budgetMs;
    this.#host = host;
  }

  decode(schema) {
    return decodeParams(this.params, schema);
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

  tcp(address, { send = "", until = null, maxBytes = 0, timeoutMs = 0 } = {}) {
    return probe(() => this.#host.tcp(address, bytes(send), until === null ? null : bytes(until), maxBytes, timeoutMs));
  }

  http(url, options = {}) {
    const { method = "GET", headers = [], body = "", timeoutMs = 0, maxBodyBytes = 0 } = options;
    const { tlsVerify = true, sni = null, followRedirects = 0, reuseConnection = false } = options;
    return probe(() =>
      this.#host.http({
        method, url, headers, body: bytes(body), timeoutMs, maxBodyBytes, tlsVerify, sni, followRedirects, reuseConnection,
      }),
    );
  }

  processes({ name = null, cmdline = null, pidFile = null, user = null }) {
    return probe(() => this.#host.processes({ name, cmdline, pidFile, user }));
  }

  stat(path) {
    return probe(() => this.#host.stat(path)) ?? null;
  }

  read(path, maxBytes) {
    return probe(() => this.#host.read(path, maxBytes)) ?? null;
  }

  space(path) {
    return probe(() => this.#host.space(path));
  }

  resolve(name, timeoutMs = 0) {
    return probe(() => this.#host.resolve(name, timeoutMs));
  }

  links() {
    return probe(() => this.#host.links());
  }

  addresses() {
    return probe(() => this.#host.addresses());
  }

  connectTcp(address, timeoutMs = 0) {
    return new Connection(probe(() => this.#host.connectTcp(address, timeoutMs)));
  }

  connectUnix(path, timeoutMs = 0) {
    return new Connection(probe(() => this.#host.connectUnix(path, timeoutMs)));
  }

  now() {
    return Number(this.#host.now());
  }

  log(level, message) {
    this.#host.log(level, text(message));
  }

  recall() {
    return this.#host.recall();
  }

  remember(data) {
    this.#host.remember(bytes(data));
  }
}

function probe(call) {
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
    run,
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

/** Replaces half surrogate pairs, which slicing a string can leave: they are not UTF-8. */
function text(value) {
  const found = String(value);
  return found.isWellFormed?.() === false ? found.toWellFormed() : found;
}
