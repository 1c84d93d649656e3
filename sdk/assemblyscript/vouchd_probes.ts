// The probes. Every reply has either an `error` or the rest. A `timeoutMs` of 0 is the time that the run has left.
//
// The numbers at `load` are offsets in the layout of the contract (the component model's canonical ABI).

import { Bytes, Report, lift, liftBytes } from "./vouchd_check";

export enum Problem {
  /// The check has no grant for it, or a limit was exceeded. The text names the line to add to the configuration, or the limit.
  Denied,
  Timeout,
  Refused,
  Unresolved,
  Tls,
  /// The probe cannot be made: an argument makes no sense, a file cannot be read, or this host is at fault.
  Invalid,
  Other,
}

/// Why a probe gave no answer.
export class ProbeError {
  constructor(public problem: Problem, public text: string) {}

  /// Returns a `fail` report, `WHAT: REASON`; or an error if the probe could not be made at all.
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

/// Reads the error of an answer whose value starts at byte `at`.
function problem(answer: usize, at: usize): ProbeError | null {
  if (load<u8>(answer) == 0) return null;
  const problem: Problem = load<u8>(answer + at);
  const hasText = problem == Problem.Denied || problem == Problem.Tls || problem == Problem.Invalid || problem == Problem.Other;
  return new ProbeError(problem, hasText ? lift(answer + at + 4) : "");
}

function texts(ptr: usize): string[] {
  const found: string[] = [];
  const list = load<usize>(ptr);
  for (let i = 0; i < load<i32>(ptr, 4); i++) found.push(lift(list + 8 * i));
  return found;
}

const NO_BYTES = new StaticArray<u8>(0);

export class Reply {
  constructor(public error: ProbeError | null) {}
}

export class TcpReply extends Reply {
  /// Microseconds that connecting took.
  connectUs: u64 = 0;
  data: StaticArray<u8> = NO_BYTES;

  /// The data as UTF-8.
  text(): string {
    return decode(this.data);
  }
}

/// UTF-8 to text.
export function decode(data: StaticArray<u8>): string {
  return String.UTF8.decodeUnsafe(changetype<usize>(data), data.length);
}

// @ts-ignore: decorator
@external("vouchd:check/tcp@0.1.0", "probe")
declare function importProbe(address: usize, addressLen: i32, send: usize, sendLen: i32, hasUntil: i32, until: usize, untilLen: i32, maxBytes: u32, timeoutMs: u32, answer: usize): void;

/// Connects to `address` (`host:port`, IPv6 in brackets), sends `send`, and receives until `until` arrives, `maxBytes` arrived,
/// the peer closes, or the time is up. With `maxBytes` 0 and without `until` it receives nothing.
export function tcp(address: string, timeoutMs: u32 = 0, send: string = "", until: string | null = null, maxBytes: u32 = 0): TcpReply {
  const answer = heap.alloc(24);
  const where = new Bytes(address);
  const sent = new Bytes(send);
  const end = new Bytes(until === null ? "" : until);
  importProbe(where.ptr, where.len, sent.ptr, sent.len, i32(until !== null), end.ptr, end.len, maxBytes, timeoutMs, answer);
  const reply = new TcpReply(problem(answer, 8));
  if (reply.error === null) {
    reply.connectUs = load<u64>(answer, 8);
    reply.data = liftBytes(answer + 16);
  }
  return reply;
}

/// The options of a request. Each has a default.
export class HttpOptions {
  method: string = "GET";
  headers: string[][] = [];
  body: string = "";
  /// For everything, redirects and body included.
  timeoutMs: u32 = 0;
  /// The most bytes of the body to read; 0 reads none of it. If it is more than `limits.probe_bytes`, a body longer than that
  /// limit is denied, never cut.
  maxBodyBytes: u32 = 65_536;
  /// Whether a certificate that cannot be verified is an error.
  tlsVerify: bool = true;
  /// The server name for TLS, if it is not the host of the URL.
  sni: string | null = null;
  /// How many redirects to follow. Each address needs a grant.
  followRedirects: u8 = 0;
  /// Whether to keep the connection for the next run.
  reuseConnection: bool = false;
}

export class HttpReply extends Reply {
  status: u16 = 0;
  headers: Map<string, string> = new Map();
  body: StaticArray<u8> = NO_BYTES;
  /// Microseconds until the last byte of the body.
  totalUs: u64 = 0;

  /// The body as UTF-8.
  text(): string {
    return decode(this.body);
  }
}

// @ts-ignore: decorator
@external("vouchd:check/http@0.1.0", "fetch")
declare function importFetch(method: usize, methodLen: i32, url: usize, urlLen: i32, headers: usize, headersLen: i32, body: usize, bodyLen: i32, timeoutMs: u32, maxBodyBytes: u32, tlsVerify: i32, hasSni: i32, sni: usize, sniLen: i32, followRedirects: i32, reuseConnection: i32, answer: usize): void;

/// Makes one HTTP/1.1 request. Any status is a reply, not an error.
export function http(url: string, options: HttpOptions = new HttpOptions()): HttpReply {
  const answer = heap.alloc(40);
  const method = new Bytes(options.method);
  const where = new Bytes(url);
  const body = new Bytes(options.body);
  const given = options.sni;
  const sni = new Bytes(given === null ? "" : given);
  const headers = heap.alloc(16 * options.headers.length + 1);
  for (let i = 0; i < options.headers.length; i++) {
    for (let part = 0; part < 2; part++) {
      const text = new Bytes(options.headers[i][part]);
      store<usize>(headers + 16 * i + 8 * part, text.ptr);
      store<i32>(headers + 16 * i + 8 * part, text.len, 4);
    }
  }
  importFetch(
    method.ptr, method.len, where.ptr, where.len, headers, options.headers.length, body.ptr, body.len, options.timeoutMs,
    options.maxBodyBytes, i32(options.tlsVerify), i32(given !== null), sni.ptr, sni.len, options.followRedirects,
    i32(options.reuseConnection), answer,
  );
  const reply = new HttpReply(problem(answer, 8));
  if (reply.error === null) {
    reply.status = load<u16>(answer, 8);
    const found = load<usize>(answer, 12);
    for (let i = 0; i < load<i32>(answer, 16); i++) reply.headers.set(lift(found + 16 * i), lift(found + 16 * i + 8));
    reply.body = liftBytes(answer + 20);
    reply.totalUs = load<u64>(answer, 32);
  }
  return reply;
}

export class Process {
  constructor(
    public pid: u32,
    public name: string,
    /// Milliseconds since the process started.
    public ageMs: u64,
  ) {}
}

export class Processes extends Reply {
  found: Process[] = [];
}

// @ts-ignore: decorator
@external("vouchd:check/process@0.1.0", "find")
declare function importFind(hasName: i32, name: usize, nameLen: i32, hasCmdline: i32, cmdline: usize, cmdlineLen: i32, hasPidFile: i32, pidFile: usize, pidFileLen: i32, hasUser: i32, user: usize, userLen: i32, answer: usize): void;

/// Finds running processes that meet all given conditions; give at least one of name (exactly as `ps -e` shows it), command line (a
/// regular expression) and pid file. The daemon watches them: when one ends, the check runs again at once.
export function findProcesses(name: string | null, cmdline: string | null = null, pidFile: string | null = null, user: string | null = null): Processes {
  const answer = heap.alloc(16);
  const a = new Bytes(name === null ? "" : name);
  const b = new Bytes(cmdline === null ? "" : cmdline);
  const c = new Bytes(pidFile === null ? "" : pidFile);
  const d = new Bytes(user === null ? "" : user);
  importFind(
    i32(name !== null), a.ptr, a.len, i32(cmdline !== null), b.ptr, b.len, i32(pidFile !== null), c.ptr, c.len,
    i32(user !== null), d.ptr, d.len, answer,
  );
  const reply = new Processes(problem(answer, 4));
  if (reply.error === null) {
    const list = load<usize>(answer, 4);
    for (let i = 0; i < load<i32>(answer, 8); i++) {
      const at = list + 24 * i;
      reply.found.push(new Process(load<u32>(at), lift(at + 4), load<u64>(at, 16)));
    }
  }
  return reply;
}

// @ts-ignore: decorator
@external("vouchd:check/files@0.1.0", "stat")
declare function importStat(path: usize, pathLen: i32, answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/files@0.1.0", "read")
declare function importRead(path: usize, pathLen: i32, maxBytes: u32, answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/files@0.1.0", "space")
declare function importSpace(path: usize, pathLen: i32, answer: usize): void;

export enum FileKind {
  File,
  Directory,
  Other,
}

export class FileInfo extends Reply {
  /// False if nothing is at that path.
  exists: bool = false;
  kind: FileKind = FileKind.Other;
  /// In bytes.
  size: u64 = 0;
  /// Milliseconds since the last modification; 0 if that lies in the future.
  ageMs: u64 = 0;
}

/// Looks at an absolute path.
export function stat(path: string): FileInfo {
  const answer = heap.alloc(40);
  const text = new Bytes(path);
  importStat(text.ptr, text.len, answer);
  const reply = new FileInfo(problem(answer, 8));
  if (reply.error === null && load<u8>(answer, 8) != 0) {
    reply.exists = true;
    reply.kind = load<u8>(answer, 16);
    reply.size = load<u64>(answer, 24);
    reply.ageMs = load<u64>(answer, 32);
  }
  return reply;
}

export class FileData extends Reply {
  /// False if there is no such file.
  exists: bool = false;
  data: StaticArray<u8> = NO_BYTES;

  /// The data as UTF-8.
  text(): string {
    return decode(this.data);
  }
}

/// Reads the first `maxBytes` of a regular file. If that is more than `limits.probe_bytes`, a file longer than that limit is
/// denied, never cut.
export function read(path: string, maxBytes: u32): FileData {
  const answer = heap.alloc(16);
  const text = new Bytes(path);
  importRead(text.ptr, text.len, maxBytes, answer);
  const reply = new FileData(problem(answer, 4));
  if (reply.error === null && load<u8>(answer, 4) != 0) {
    reply.exists = true;
    reply.data = liftBytes(answer + 8);
  }
  return reply;
}

/// The size of a file system and the room left on it, in bytes and in files.
export class Space extends Reply {
  total: u64 = 0;
  /// What a program without privileges can still write.
  available: u64 = 0;
  inodes: u64 = 0;
  inodesAvailable: u64 = 0;
}

/// Measures the file system that holds `path`.
export function space(path: string): Space {
  const answer = heap.alloc(40);
  const text = new Bytes(path);
  importSpace(text.ptr, text.len, answer);
  const reply = new Space(problem(answer, 8));
  if (reply.error === null) {
    reply.total = load<u64>(answer, 8);
    reply.available = load<u64>(answer, 16);
    reply.inodes = load<u64>(answer, 24);
    reply.inodesAvailable = load<u64>(answer, 32);
  }
  return reply;
}

// @ts-ignore: decorator
@external("vouchd:check/dns@0.1.0", "resolve")
declare function importResolve(name: usize, nameLen: i32, timeoutMs: u32, answer: usize): void;

export class Resolved extends Reply {
  /// At least one, each once.
  addresses: string[] = [];
}

/// Looks up a name with the host's resolver, or `NAME@SERVER` at one name server.
export function resolve(name: string, timeoutMs: u32 = 0): Resolved {
  const answer = heap.alloc(16);
  const text = new Bytes(name);
  importResolve(text.ptr, text.len, timeoutMs, answer);
  const reply = new Resolved(problem(answer, 4));
  if (reply.error === null) reply.addresses = texts(answer + 4);
  return reply;
}

// @ts-ignore: decorator
@external("vouchd:check/network@0.1.0", "links")
declare function importLinks(answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/network@0.1.0", "addresses")
declare function importAddresses(answer: usize): void;

export class Link {
  constructor(
    public name: string,
    /// Whether the administrator has set it up.
    public up: bool,
    /// Whether the cable is plugged in and the other end is up.
    public carrier: bool,
  ) {}
}

export class Links extends Reply {
  found: Link[] = [];
}

/// Lists the network links of the host. Needs no grant.
export function links(): Links {
  const answer = heap.alloc(16);
  importLinks(answer);
  const reply = new Links(problem(answer, 4));
  if (reply.error === null) {
    const list = load<usize>(answer, 4);
    for (let i = 0; i < load<i32>(answer, 8); i++) {
      const at = list + 12 * i;
      reply.found.push(new Link(lift(at), load<u8>(at, 8) != 0, load<u8>(at, 9) != 0));
    }
  }
  return reply;
}

export class Address {
  constructor(public link: string, public ip: string, public prefix: u8) {}
}

export class Addresses extends Reply {
  found: Address[] = [];
}

/// Lists the addresses of the host. Needs no grant.
export function addresses(): Addresses {
  const answer = heap.alloc(16);
  importAddresses(answer);
  const reply = new Addresses(problem(answer, 4));
  if (reply.error === null) {
    const list = load<usize>(answer, 4);
    for (let i = 0; i < load<i32>(answer, 8); i++) {
      const at = list + 20 * i;
      reply.found.push(new Address(lift(at), lift(at + 8), load<u8>(at, 16)));
    }
  }
  return reply;
}

// @ts-ignore: decorator
@external("vouchd:check/clock@0.1.0", "now")
declare function importNow(): u64;

/// The host's clock: Unix time in milliseconds.
export function now(): u64 {
  return importNow();
}

// @ts-ignore: decorator
@external("vouchd:check/stream@0.1.0", "connect-tcp")
declare function importConnectTcp(address: usize, addressLen: i32, timeoutMs: u32, answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/stream@0.1.0", "connect-unix")
declare function importConnectUnix(path: usize, pathLen: i32, timeoutMs: u32, answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/stream@0.1.0", "[method]connection.send")
declare function importSend(handle: i32, data: usize, len: i32, answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/stream@0.1.0", "[method]connection.receive")
declare function importReceive(handle: i32, hasUntil: i32, until: usize, untilLen: i32, maxBytes: u32, timeoutMs: u32, answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/stream@0.1.0", "[method]connection.start-tls")
declare function importStartTls(handle: i32, serverName: usize, serverNameLen: i32, verify: i32, timeoutMs: u32, answer: usize): void;
// @ts-ignore: decorator
@external("vouchd:check/stream@0.1.0", "[resource-drop]connection")
declare function importDrop(handle: i32): void;

export class Received extends Reply {
  data: StaticArray<u8> = NO_BYTES;

  /// The data as UTF-8.
  text(): string {
    return decode(this.data);
  }
}

/// The certificate that a server presented in a TLS handshake.
export class Certificate extends Reply {
  /// Such as `CN=www.example.com, O=Example`.
  subject: string = "";
  issuer: string = "";
  /// The names and addresses that the certificate is for.
  names: string[] = [];
  /// Unix time in seconds.
  notBefore: i64 = 0;
  notAfter: i64 = 0;
  /// Why it could not be verified; null if it was.
  problem: string | null = null;
  /// `TLSv1.3` or `TLSv1.2`.
  protocol: string = "";
}

/// A connection to a peer. It closes with `close`, and at the end of the run. It carries at most `limits.probe_bytes` each way,
/// and a check may have `limits.connections` of them open at once.
export class Connection extends Reply {
  private handle: i32 = 0;

  constructor(answer: usize) {
    super(problem(answer, 4));
    if (this.error === null) this.handle = load<i32>(answer, 4);
  }

  /// Sends all of the text, in the time that the run has left. Returns null, or the error.
  send(text: string): ProbeError | null {
    const answer = heap.alloc(16);
    const bytes = new Bytes(text);
    importSend(this.handle, bytes.ptr, bytes.len, answer);
    return problem(answer, 4);
  }

  /// Receives until `maxBytes` arrived, the peer closed, or the time is up, and returns what has arrived: less than `maxBytes`, or
  /// nothing, if the peer closed. A timeout if nothing arrived in time.
  receive(maxBytes: u32, timeoutMs: u32 = 0): Received {
    return this.received(null, maxBytes, timeoutMs);
  }

  /// Receives up to and including `until`. Bytes after it are kept for the next call. Returns less if `maxBytes` arrived first,
  /// or the peer closed.
  receiveUntil(until: string, maxBytes: u32, timeoutMs: u32 = 0): Received {
    return this.received(until, maxBytes, timeoutMs);
  }

  private received(until: string | null, maxBytes: u32, timeoutMs: u32): Received {
    const answer = heap.alloc(16);
    const end = new Bytes(until === null ? "" : until);
    importReceive(this.handle, i32(until !== null), end.ptr, end.len, maxBytes, timeoutMs, answer);
    const reply = new Received(problem(answer, 4));
    if (reply.error === null) reply.data = liftBytes(answer + 4);
    return reply;
  }

  /// Continues with TLS. A certificate that cannot be verified is an error with `verify`; without it, `problem` says why.
  startTls(serverName: string, verify: bool = true, timeoutMs: u32 = 0): Certificate {
    const answer = heap.alloc(72);
    const name = new Bytes(serverName);
    importStartTls(this.handle, name.ptr, name.len, i32(verify), timeoutMs, answer);
    const shown = new Certificate(problem(answer, 8));
    if (shown.error !== null) return shown;
    shown.subject = lift(answer + 8);
    shown.issuer = lift(answer + 16);
    shown.names = texts(answer + 24);
    shown.notBefore = load<i64>(answer, 32);
    shown.notAfter = load<i64>(answer, 40);
    if (load<u8>(answer, 48) != 0) shown.problem = lift(answer + 52);
    shown.protocol = lift(answer + 60);
    return shown;
  }

  /// Closes the connection, which makes room for another one. It must not be used afterwards.
  close(): void {
    importDrop(this.handle);
  }
}

/// Opens a connection to `host:port`, IPv6 in brackets.
export function connectTcp(address: string, timeoutMs: u32 = 0): Connection {
  const answer = heap.alloc(16);
  const text = new Bytes(address);
  importConnectTcp(text.ptr, text.len, timeoutMs, answer);
  return new Connection(answer);
}

/// Opens a connection to a unix socket.
export function connectUnix(path: string, timeoutMs: u32 = 0): Connection {
  const answer = heap.alloc(16);
  const text = new Bytes(path);
  importConnectUnix(text.ptr, text.len, timeoutMs, answer);
  return new Connection(answer);
}
