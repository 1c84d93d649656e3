// A fake daemon, to test a check in Node.
//
//     const host = new FakeHost({ tcp: () => fail("refused") });
//     const report = host.run(checker, { address: "10.0.0.1:25" });

import type {
  Address, Certificate, Checker, FileInfo, Level, Link, Process, ProbeFailure, ProcessQuery, Report, Space,
} from "vouchd-check";

/** The answers to probes. A probe without an answer is denied. */
export interface Answers {
  tcp?(address: string, send: Uint8Array, until: Uint8Array | null, maxBytes: number, timeoutMs: number):
    { connectUs: number; data: Uint8Array };
  http?(request: { method: string; url: string; headers: [string, string][]; body: Uint8Array }):
    { status: number; headers: [string, string][]; body: Uint8Array; totalUs: number };
  processes?(query: ProcessQuery): Process[];
  stat?(path: string): FileInfo | null;
  read?(path: string, maxBytes: number): Uint8Array | null;
  space?(path: string): Space;
  resolve?(name: string): string[];
  links?(): Link[];
  addresses?(): Address[];
  connectTcp?(address: string): Script;
  connectUnix?(path: string): Script;
}

export class FakeHost {
  constructor(answers?: Answers);
  /** What the check remembers. It survives from run to run. */
  memo: Uint8Array;
  /** The time of the clock. */
  nowMs: number;
  /** The lines logged so far. */
  readonly logged: [Level, string][];
  /** Runs the check once. Throws what the check throws. */
  run(checker: Checker, params?: Record<string, string | string[]>, budgetMs?: number): Report;
}

/** Makes a probe fail. `denied`, `tls`, `invalid` and `other` have a text. */
export function fail(kind: ProbeFailure, text?: string): never;

/**
 * A scripted peer of a connection. It sends its greeting, expects the messages of the check in order, and answers each; anything
 * else is refused. After its last answer it closes. Texts are ASCII.
 */
export class Script {
  constructor(greeting?: string, turns?: [sent: string, answer: string][], certificate?: Certificate);
  readonly closed: boolean;
}
