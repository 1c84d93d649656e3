import assert from "node:assert/strict";
import { test } from "node:test";

import { ProbeFailed } from "vouchd-check";
import { FakeHost, fail } from "vouchd-check/testing";
import { checker } from "./port.js";

test("open port passes, and runs are counted", () => {
  const host = new FakeHost({ tcp: () => ({ connectUs: 2000, data: new Uint8Array() }) });
  for (const runs of [1, 2]) {
    const report = host.run(checker, { address: "10.0.0.1:25", label: "mail" });
    assert.deepEqual([report.verdict, report.message], ["pass", "mail accepts connections"]);
    assert.deepEqual(report.metrics.map(({ value }) => value), [0.002, runs]);
  }
});

test("closed port fails", () => {
  const report = new FakeHost({ tcp: () => fail("refused") }).run(checker, { address: "10.0.0.1:25" });
  assert.deepEqual([report.verdict, report.message], ["fail", "10.0.0.1:25: connection refused"]);
});

test("missing grant is an error", () => {
  assert.throws(() => new FakeHost().run(checker, { address: "10.0.0.1:25" }), ProbeFailed);
});
