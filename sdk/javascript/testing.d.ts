// A double of the daemon, to test a check in Node.
//
//     const host = new FakeHost({ tcp: () => fail("refused") });
//     const report = host.run(checker, { address: "10.0.0.1:25" });

import type {
  Address, Certificate, Checker, FileInfo, Level, Link, Process, ProbeFailure, ProcessQuery, Report, Space,
} from "vouchd-check";

/** How each probe is answered; without an answer it is denied. */
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
  /** What the check remembers; it stays from run to run. */
  memo: Uint8Array;
  /** What the clock shows. */
  nowMs: number;
  /** What was logged so far. */
  readonly logged: [Level, string][];
  /** One run; throws what the check throws. */
  run(checker: Checker, params?: Record<string, string | string[]>, budgetMs?: number): Report;
}

/** What a probe does that gives no answer. `text`: of `denied`, `tls`, `invalid` and `other`. */
export function fail(kind: ProbeFailure, text?: string): never;

/**
 * A peer that says its lines in turn: in the beginning, and after each thing that the check sends. Anything else that is sent is
 * refused. When it has said all, it closes. Texts are ASCII.
 */
export class Script {
  constructor(greeting?: string, turns?: [sent: string, answer: string][], certificate?: Certificate);
  readonly closed: boolean;
}
