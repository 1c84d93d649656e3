// Write checks for vouchd in JavaScript or TypeScript. Each run is a fresh instance, so variables do not survive it;
// `Context.remember` keeps up to 4096 bytes for the next run.

/**
 * The verdict about the service, best first: it works; it works, but another router would serve better; it does not work; this
 * router must not be active.
 */
export type Verdict = "pass" | "warn" | "fail" | "fault";

/** The level of a line in the daemon's log. */
export type Level = "debug" | "info" | "warn" | "error";

/** A number measured during the run. `unit` is `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty. */
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
  /** Returns a `fail` report, `WHAT: REASON`. Throws the failure again if the probe could not be made at all. */
  report(what: string): Report;
}

/** The result of a check that could be carried out. `message` is one line for the operator. */
export class Report {
  readonly verdict: Verdict;
  readonly message: string;
  readonly adjust: number | null;
  readonly metrics: Metric[];
  /** The service works. */
  static pass(message: string): Report;
  /** The service works, but another router would serve better. */
  static warn(message: string): Report;
  /** The service does not work. What that costs is the operator's choice. */
  static fail(message: string): Report;
  /** This router must not be active, whatever the priorities. */
  static fault(message: string): Report;
  /** Adds a metric. */
  metric(name: string, value: number, unit?: string): this;
  /** Requests a change of the priority, which applies as far as the operator allows. */
  adjusted(priority: number): this;
}

/** How a parameter is read, and what it becomes. */
export interface Kind<T> {
  /** The parameter may be left out; its value is then `undefined`. */
  optional(): Kind<T | undefined>;
  /** The parameter may be left out; its value is then `fallback`. */
  default(fallback: T): Kind<T>;
  /** The parameter may have any number of values. */
  list(): Kind<T[]>;
  /** The parameter is a table of these. */
  table(): Kind<Record<string, T>>;
}

/** The kinds of parameters for `Context.decode`. */
export const param: {
  text: Kind<string>;
  integer: Kind<number>;
  number: Kind<number>;
  boolean: Kind<boolean>;
  /** Written `"500ms"`, `"2s"`, `"1m"`, `"12h"`, `"7d"`. The value is in milliseconds. */
  duration: Kind<number>;
};

/** The names of parameters, and how each is read. A nested object is a table with its names. */
export interface Schema {
  [name: string]: Kind<any> | Schema;
}

export type Decoded<S extends Schema> = {
  [Name in keyof S]: S[Name] extends Kind<infer T> ? T : S[Name] extends Schema ? Decoded<S[Name]> : never;
};

export interface TcpOptions {
  /** Sent after connecting. */
  send?: string | Uint8Array;
  /** Receive until this arrives. */
  until?: string | Uint8Array | null;
  /** The most bytes to receive; 0 without `until` receives nothing. */
  maxBytes?: number;
  /** 0, the default, is the time that the run has left. */
  timeoutMs?: number;
}

export interface HttpOptions {
  method?: string;
  headers?: [name: string, value: string][];
  body?: string | Uint8Array;
  /** For everything, redirects and body included. 0, the default, is the time that the run has left. */
  timeoutMs?: number;
  /**
   * The most bytes of the body to read; 0, the default, reads none of it. If it is more than `limits.probe_bytes`, a body longer
   * than that limit is denied, never cut.
   */
  maxBodyBytes?: number;
  tlsVerify?: boolean;
  sni?: string | null;
  followRedirects?: number;
  reuseConnection?: boolean;
}

/** Which processes to find. All given conditions must hold; give at least one of `name`, `cmdline`, `pidFile`. */
export interface ProcessQuery {
  name?: string | null;
  cmdline?: string | null;
  pidFile?: string | null;
  user?: string | null;
}

export interface Process {
  pid: number;
  name: string;
  /** Milliseconds since the process started. */
  ageMs: number;
}

/** What is at a path. */
export interface FileInfo {
  kind: "file" | "directory" | "other";
  /** In bytes. */
  size: number;
  /** Milliseconds since the last modification; 0 if that lies in the future. */
  ageMs: number;
}

/** The size of a file system and the room left on it, in bytes and in files. */
export interface Space {
  total: number;
  /** What a program without privileges can still write. */
  available: number;
  /** The most files it can hold; 0 if it has no such bound. */
  inodes: number;
  inodesAvailable: number;
}

export interface Link {
  name: string;
  /** Whether the administrator has set it up. */
  up: boolean;
  /** Whether the cable is plugged in and the other end is up. */
  carrier: boolean;
}

export interface Address {
  link: string;
  ip: string;
  prefix: number;
}

/** The certificate that a server presented in a TLS handshake. */
export interface Certificate {
  /** Such as `CN=www.example.com, O=Example`. */
  subject: string;
  issuer: string;
  /** The names and addresses that the certificate is for. */
  names: string[];
  /** Unix time in seconds. */
  notBefore: number;
  notAfter: number;
  /** Why it could not be verified; null or undefined if it was. */
  problem?: string | null;
  /** `TLSv1.3` or `TLSv1.2`. */
  protocol: string;
}

/**
 * A connection to a peer. It carries at most `limits.probe_bytes` each way, and a check may have `limits.connections` of them
 * open at once. It closes at the end of the run. Its methods throw `ProbeFailed`.
 */
export class Connection {
  /** Sends all of `data`, in the time that the run has left. */
  send(data: string | Uint8Array): void;
  /**
   * Receives until `maxBytes` arrived, the peer closed, or the time is up, and returns what has arrived: less than `maxBytes`, or
   * nothing, if the peer closed. Fails with `timeout` if nothing arrived in time.
   */
  receive(maxBytes: number, timeoutMs?: number): Uint8Array;
  /**
   * Receives up to and including `until`. Bytes after it are kept for the next call. Returns less if `maxBytes` arrived first, or
   * the peer closed.
   */
  receiveUntil(until: string | Uint8Array, maxBytes: number, timeoutMs?: number): Uint8Array;
  /**
   * Continues with TLS. A certificate that cannot be verified is a `tls` failure with `verify`, the default; without it, `problem`
   * says why.
   */
  startTls(serverName: string, options?: { verify?: boolean; timeoutMs?: number }): Certificate;
  /** Closes the connection, which makes room for another one. */
  close(): void;
}

/**
 * The context of a run: its parameters, its time, and the services of the daemon. Probes need a grant of the operator, and throw
 * `ProbeFailed`.
 */
export class Context {
  /** The name of the check in the configuration. */
  readonly name: string;
  /** Names and values in file order. Tables are flattened (`headers.accept`); a list repeats its name. */
  readonly params: [key: string, value: string][];
  /** Milliseconds until the daemon ends the run. */
  readonly budgetMs: number;
  /**
   * Returns all parameters as an object: `ctx.decode({ address: param.text, codes: param.integer.list() })`. Any other parameter
   * is an error.
   */
  decode<S extends Schema>(schema: S): Decoded<S>;
  /** Returns a parameter that is given once. Without a fallback it is required. */
  param(name: string, fallback?: string): string;
  /** Returns all values of a parameter that may be a list in the configuration. */
  paramList(name: string): string[];
  /** Throws if there is any other parameter, so that a misspelt one is not ignored. */
  allowParams(...names: string[]): void;
  /** Connects to `host:port` (IPv6 in brackets), sends, and receives. */
  tcp(address: string, options?: TcpOptions): { connectUs: number; data: Uint8Array };
  /** Makes one HTTP request. Any status is a response, not an error. */
  http(
    url: string,
    options?: HttpOptions,
  ): { status: number; headers: [name: string, value: string][]; body: Uint8Array; totalUs: number };
  /** Finds running processes. The daemon watches them: when one ends, the check runs again at once. */
  processes(query: ProcessQuery): Process[];
  /** Looks at an absolute path; null if nothing is there. */
  stat(path: string): FileInfo | null;
  /**
   * Reads the first `maxBytes` of a regular file; null if there is no such file. If `maxBytes` is more than `limits.probe_bytes`, a
   * file longer than that limit is denied, never cut.
   */
  read(path: string, maxBytes: number): Uint8Array | null;
  /** Measures the file system that holds `path`. */
  space(path: string): Space;
  /** Looks up a name with the host's resolver, or `NAME@SERVER` at one name server. Returns at least one address, each once. */
  resolve(name: string, timeoutMs?: number): string[];
  /** Lists the network links of the host. Needs no grant. */
  links(): Link[];
  /** Lists the addresses of the host. Needs no grant. */
  addresses(): Address[];
  /** Opens a connection to `host:port`, IPv6 in brackets. */
  connectTcp(address: string, timeoutMs?: number): Connection;
  /** Opens a connection to a unix socket. */
  connectUnix(path: string, timeoutMs?: number): Connection;
  /** The host's clock: Unix time in milliseconds. */
  now(): number;
  /** Writes a line to the daemon's log. The daemon cuts it after 1024 bytes, and drops lines beyond `limits.log_lines`. */
  log(level: Level, message: string): void;
  /** Returns what an earlier run remembered; empty at first. */
  recall(): Uint8Array;
  /** Keeps up to 4096 bytes for the next run, if this one ends without an error. More make the run an error. */
  remember(data: string | Uint8Array): void;
}

/** Text to UTF-8. The engine has no `TextEncoder`. */
export function encode(text: string): Uint8Array;
/** UTF-8 to text. Invalid bytes become U+FFFD. */
export function decode(data: Uint8Array): string;

/**
 * Makes a function the check of this plugin: `export const checker = check((ctx) => …)`. An exception is an error of the check,
 * never a pass.
 */
export function check(run: (ctx: Context) => Report): Checker;

export interface Checker {
  run(ctx: Context): Report;
  check(raw: unknown): unknown;
}
