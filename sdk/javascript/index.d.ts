// Write a check for vouchd in JavaScript or TypeScript.

/** What the check says about the thing it watches, best first. */
export type Verdict = "pass" | "warn" | "fail" | "fault";

export type Level = "debug" | "info" | "warn" | "error";

/** A number measured during the run. `unit`: `s`, `B`, `%`, `c` (a counter), or empty. */
export interface Metric {
  name: string;
  value: number;
  unit: string;
}

/** The check could not be carried out. Say what was expected, what was found, and what to do. */
export class CheckError extends Error {}

/** Why a probe gave no answer: the names of the contract. */
export type ProbeFailure = "denied" | "timeout" | "refused" | "unresolved" | "tls" | "invalid" | "other";

/** A probe gave no answer. */
export class ProbeFailed extends CheckError {
  readonly kind: ProbeFailure;
  /** A `fail` that says that `what` did not answer; throws itself where the probe could not be made at all. */
  report(what: string): Report;
}

/** The outcome of a check that could be carried out. */
export class Report {
  readonly verdict: Verdict;
  readonly message: string;
  /** Works. */
  static pass(message: string): Report;
  /** Works, but another router would serve better. */
  static warn(message: string): Report;
  /** Does not work. What that costs is the operator's choice. */
  static fail(message: string): Report;
  /** This router must not be active, whatever it costs. */
  static fault(message: string): Report;
  /** Adds a number. */
  metric(name: string, value: number, unit?: string): this;
  /** Asks for a change of the priority; it counts as far as the operator allows. */
  adjusted(priority: number): this;
}

export interface TcpOptions {
  /** Sent after connecting. */
  send?: string | Uint8Array;
  /** Read until this was seen. */
  until?: string | Uint8Array | null;
  /** Read at most this much; with 0 and no `until` nothing is read. */
  maxBytes?: number;
  /** Default: what is left of the run. */
  timeoutMs?: number;
}

export interface HttpOptions {
  method?: string;
  headers?: [name: string, value: string][];
  body?: string | Uint8Array;
  /** For everything. Default: what is left of the run. */
  timeoutMs?: number;
  /** The body is cut there. Default: none of it is read. */
  maxBodyBytes?: number;
  tlsVerify?: boolean;
  sni?: string | null;
  followRedirects?: number;
  reuseConnection?: boolean;
}

/** All that is given must hold. */
export interface ProcessQuery {
  name?: string | null;
  cmdline?: string | null;
  pidFile?: string | null;
  user?: string | null;
}

/** What the daemon tells about this run, and what it offers. Probes throw `ProbeFailed`. */
export class Context {
  readonly name: string;
  readonly params: [key: string, value: string][];
  readonly budgetMs: number;
  /** A parameter that is there once. Without a fallback it has to be there. */
  param(name: string, fallback?: string): string;
  /** All values of a parameter, which is a list in the configuration. */
  paramList(name: string): string[];
  /** Refuses every other parameter: a misspelt one is an error, not ignored. */
  allowParams(...names: string[]): void;
  /** Connects to `host:port`, sends, reads. */
  tcp(address: string, options?: TcpOptions): { connectUs: number; data: Uint8Array };
  /** One HTTP request. Any status is a response, not an error. */
  http(
    url: string,
    options?: HttpOptions,
  ): { status: number; headers: [name: string, value: string][]; body: Uint8Array; totalUs: number };
  /** Running processes. They are watched from then on. */
  processes(query: ProcessQuery): { pid: number; name: string; ageMs: number }[];
  /** A line in the daemon's log. */
  log(level: Level, message: string): void;
  /** What the last run remembered; empty the first time. */
  recall(): Uint8Array;
  /** Kept for the next run if this one ends without an error. At most 4096 bytes. */
  remember(data: string | Uint8Array): void;
}

/** Calls a probe of the contract that `Context` has no method for; its error becomes `ProbeFailed`. */
export function probe<T>(call: () => T): T;

/** UTF-8. The engine has no `TextEncoder`. */
export function encode(text: string): Uint8Array;
/** UTF-8; what is not becomes U+FFFD. */
export function decode(data: Uint8Array): string;

/**
 * Makes a function the check of this plugin: `export const checker = check((ctx) => …)`. What it throws is an error of the
 * check, never a pass.
 */
export function check(run: (ctx: Context) => Report): { check(raw: unknown): unknown };
