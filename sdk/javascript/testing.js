// A fake daemon, for tests in Node. testing.d.ts has the documentation.

import { Context, decode, encode } from "./index.js";

export class FakeHost {
  logged = [];
  memo = new Uint8Array();
  nowMs = 0;
  #answers;

  constructor(answers = {}) {
    this.#answers = answers;
  }

  run(checker, params = {}, budgetMs = 1000) {
    const pairs = Object.entries(params).flatMap(([key, given]) => [given].flat().map((value) => [key, value]));
    const before = this.memo;
    try {
      return checker.run(new Context({ name: "test", params: pairs, budgetMs }, this.#host()));
    } catch (error) {
      this.memo = before;
      throw error;
    }
  }

  #host() {
    const own = {
      now: () => this.nowMs,
      log: (level, message) => this.logged.push([level, message]),
      recall: () => this.memo,
      remember: (data) => (this.memo = data),
    };
    const answer = (_, name) =>
      own[name] ?? this.#answers[name] ?? (() => fail("denied", `the test has no answer for ${name}`));
    return new Proxy({}, { get: answer });
  }
}

export function fail(tag, val) {
  throw { tag, val };
}

export class Script {
  closed = false;
  #pending;
  #turns;
  #certificate;

  constructor(greeting = "", turns = [], certificate = undefined) {
    this.#pending = greeting;
    this.#turns = [...turns];
    this.#certificate = certificate;
  }

  send(data) {
    const turn = this.#turns.shift();
    if (turn?.[0] !== decode(data)) fail("refused");
    this.#pending += turn[1];
  }

  receive(until, maxBytes) {
    const at = until?.length ? this.#pending.indexOf(decode(until)) : -1;
    const length = Math.min(maxBytes, at < 0 ? this.#pending.length : at + until.length);
    const data = this.#pending.slice(0, length);
    this.#pending = this.#pending.slice(length);
    return encode(data);
  }

  startTls(serverName, verify) {
    if (!this.#certificate) fail("tls", "the script presents no certificate");
    if (verify && this.#certificate.problem) fail("tls", this.#certificate.problem);
    return this.#certificate;
  }

  [Symbol.dispose ?? "dispose"]() {
    this.closed = true;
  }
}
