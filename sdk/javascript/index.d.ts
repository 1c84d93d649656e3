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
  readonly adjust: number | null;
  readonly metrics: Metric[];
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

/** How a parameter is read, and what it becomes. */
export interface Kind<T> {
  /** May be left out; then it is `undefined`. */
  optional(): Kind<T | undefined>;
  /** May be left out; then it is this. */
  default(fallback: T): Kind<T>;
  /** Several values, or one, or none. */
  list(): Kind<T[]>;
  /** A table of these. */
  table(): Kind<Record<string, T>>;
}

/** For `Context.decode`. */
export const param: {
  text: Kind<string>;
  integer: Kind<number>;
  number: Kind<number>;
  boolean: Kind<boolean>;
  /** Written `"500ms"`, `"2s"`, `"1m"`, `"12h"`, `"7d"`; becomes milliseconds. */
  duration: Kind<number>;
};

/** Names of parameters and how each is read; an object in it is a table with these names. */
export interface Schema {
  [name: string]: Kind<any> | Schema;
}

export type Decoded<S extends Schema> = {
  [Name in keyof S]: S[Name] extends Kind<infer T> ? T : S[Name] extends Schema ? Decoded<S[Name]> : never;
};

export interface TcpOptions {
  /** Sent after connecting. */
  send?: string | Uint8Array;
  /** Read until this was seen. */
  until?: string | Uint8Array | null;
  /** Read at most this much; with 0 and no `until` nothing is read. */
  maxBytes?: number;
  /** Default, and 0: what is left of the run. */
  timeoutMs?: number;
}

export interface HttpOptions {
  method?: string;
  headers?: [name: string, value: string][];
  body?: string | Uint8Array;
  /** For everything. Default, and 0: what is left of the run. */
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

export interface Process {
  pid: number;
  name: string;
  /** Milliseconds since it started. */
  ageMs: number;
}

/** What there is at a path. */
export interface FileInfo {
  kind: "file" | "directory" | "other";
  /** In bytes. */
  size: number;
  /** Milliseconds since the last modification; 0 if that lies in the future. */
  ageMs: number;
}

/** How full a file system is: in bytes, and in files that can still be made. */
export interface Space {
  total: number;
  /** What programs without privileges can still write. */
  available: number;
  inodes: number;
  inodesAvailable: number;
}

export interface Link {
  name: string;
  /** Set up by the administrator. */
  up: boolean;
  /** The cable is plugged in and the other side is there. */
  carrier: boolean;
}

export interface Address {
  link: string;
  ip: string;
  prefix: number;
}

/** What a server showed in a TLS handshake. */
export interface Certificate {
  /** Like `CN=www.example.com, O=Example`. */
  subject: string;
  issuer: string;
  /** The names and addresses that it is for. */
  names: string[];
  /** Unix time in seconds. */
  notBefore: number;
  notAfter: number;
  /** Why it was not verified; nothing: it was. */
  problem?: string | null;
  /** `TLSv1.3` or `TLSv1.2`. */
  protocol: string;
}

/**
 * A conversation. It carries at most 1 MiB each way, and a check may have `limits.connections` of them open. All are closed
 * with the run. What is called throws `ProbeFailed`.
 */
export class Connection {
  /** Returns when all of it is on its way, in what is left of the run. */
  send(data: string | Uint8Array): void;
  /**
   * What came until `maxBytes` were there, the peer closed (then it may be short or empty), or the time was up. If nothing came
   * by then, that is a `timeout`.
   */
  receive(maxBytes: number, timeoutMs?: number): Uint8Array;
  /** Up to and with `until`; what follows is for the next call. Less where `maxBytes` came before or the peer closed. */
  receiveUntil(until: string | Uint8Array, maxBytes: number, timeoutMs?: number): Uint8Array;
  /** Goes on with TLS. With `verify` (default) a bad certificate is a `tls` failure, else it is told in `problem`. */
  startTls(serverName: string, options?: { verify?: boolean; timeoutMs?: number }): Certificate;
  /** Makes room for another connection. Nothing can be done with this one afterwards. */
  close(): void;
}

/** What the daemon tells about this run, and what it offers. Probes throw `ProbeFailed`. */
export class Context {
  readonly name: string;
  /** In file order. Tables are flattened (`headers.accept`), a list is its name repeated. */
  readonly params: [key: string, value: string][];
  /** Milliseconds that the run may take. */
  readonly budgetMs: number;
  /** All parameters as an object: `ctx.decode({ address: param.text, codes: param.integer.list() })`. Refuses others. */
  decode<S extends Schema>(schema: S): Decoded<S>;
  /** A parameter that is there once. Without a fallback it has to be there. */
  param(name: string, fallback?: string): string;
  /** All values of a parameter, which is a list in the configuration. */
  paramList(name: string): string[];
  /** Refuses every other parameter: a misspelt one is an error, not ignored. */
  allowParams(...names: string[]): void;
  /** Connects to `host:port` (IPv6 in brackets), sends, reads. */
  tcp(address: string, options?: TcpOptions): { connectUs: number; data: Uint8Array };
  /** One HTTP request. Any status is a response, not an error. */
  http(
    url: string,
    options?: HttpOptions,
  ): { status: number; headers: [name: string, value: string][]; body: Uint8Array; totalUs: number };
  /** Running processes. They are watched from then on: when one ends, the check runs again at once. */
  processes(query: ProcessQuery): Process[];
  /** What there is at an absolute path; null: nothing. */
  stat(path: string): FileInfo | null;
  /** The first `maxBytes` of a regular file, at most 1 MiB; null: there is no such file. */
  read(path: string, maxBytes: number): Uint8Array | null;
  /** How full the file system is that holds `path`. */
  space(path: string): Space;
  /** Addresses of a name by the host's resolver, each once, at least one. */
  resolve(name: string, timeoutMs?: number): string[];
  /** The host's network links. Needs no grant. */
  links(): Link[];
  /** The host's addresses. Needs no grant. */
  addresses(): Address[];
  /** Begins a conversation with `host:port`, IPv6 in brackets. */
  connectTcp(address: string, timeoutMs?: number): Connection;
  /** Begins a conversation with a socket in the file system. */
  connectUnix(path: string, timeoutMs?: number): Connection;
  /** The host's clock: Unix time in milliseconds. */
  now(): number;
  /** A line in the daemon's log. Beyond 1024 bytes it is cut; lines beyond `limits.log_lines` are dropped. */
  log(level: Level, message: string): void;
  /** What the last run remembered; empty the first time. */
  recall(): Uint8Array;
  /** Kept for the next run if this one ends without an error. At most 4096 bytes; more makes the run an error. */
  remember(data: string | Uint8Array): void;
}

/** UTF-8. The engine has no `TextEncoder`. */
export function encode(text: string): Uint8Array;
/** UTF-8; what is not becomes U+FFFD. */
export function decode(data: Uint8Array): string;

/**
 * Makes a function the check of this plugin: `export const checker = check((ctx) => …)`. What it throws is an error of the
 * check, never a pass.
 */
export function check(run: (ctx: Context) => Report): Checker;

export interface Checker {
  run(ctx: Context): Report;
  check(raw: unknown): unknown;
}
