import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { CheckError, ProbeFailed, Report, check, decode, encode, param } from "vouchd-check";
import { FakeHost, Script, fail } from "vouchd-check/testing";

const SCHEMA = {
  address: param.text,
  label: param.text.optional(),
  timeout: param.duration.default(1000),
  codes: param.integer.list(),
  headers: param.text.table(),
  load: param.number.default(1.5),
  strict: param.boolean.default(false),
  range: { low: param.integer, high: param.integer.default(9) },
};
const GIVEN = { address: "a:1", "range.low": "1" };

const decoded = (params) => {
  let found;
  new FakeHost().run(check((ctx) => ((found = ctx.decode(SCHEMA)), Report.pass(""))), { ...GIVEN, ...params });
  return found;
};

test("parameters become an object", () => {
  const params = { label: "", timeout: "2d", codes: ["1", "2"], "headers.x-a": "1", load: "-.5", strict: "true" };
  assert.deepEqual(decoded(params), {
    address: "a:1", label: "", timeout: 172_800_000, codes: [1, 2], headers: { "x-a": "1" }, load: -0.5, strict: true,
    range: { low: 1, high: 9 },
  });
});

test("left-out parameter has its default", () => {
  assert.deepEqual(decoded({}), {
    address: "a:1", label: undefined, timeout: 1000, codes: [], headers: {}, load: 1.5, strict: false,
    range: { low: 1, high: 9 },
  });
});

test("wrong parameters are named", () => {
  const known = "address, label, timeout, codes, headers.*, load, strict, range.low, range.high";
  for (const [params, message] of [
    [{ timeout: "5" }, 'parameter `timeout`: expected a duration like "500ms", found "5"'],
    [{ codes: "many" }, 'parameter `codes`: expected a whole number, found "many"'],
    [{ load: "" }, 'parameter `load`: expected a number, found ""'],
    [{ strict: "yes" }, 'parameter `strict`: expected true or false, found "yes"'],
    [{ address: ["a", "b"] }, "parameter `address`: found 2 values, expected one"],
    [{ address: [] }, "parameter `address` is missing"],
    [{ adress: "b" }, `unknown parameter \`adress\`, expected one of: ${known}`],
  ]) {
    assert.throws(() => decoded(params), new CheckError(message));
  }
});

test("durations are written as in the configuration", () => {
  const lines = readFileSync(new URL("../../durations.txt", import.meta.url), "utf8").trimEnd().split("\n");
  const rows = lines.filter((line) => !line.startsWith("#")).map((line) => line.split("|"));
  assert.ok(rows.length > 20);
  for (const [text, expected] of rows) {
    // The largest is more than a number holds exactly.
    if (expected && Number.isSafeInteger(Number(expected))) assert.equal(decoded({ timeout: text }).timeout, Number(expected));
    else assert.throws(() => decoded({ timeout: text }), /expected a duration/, text);
  }
});

const greets = check((ctx) => {
  const mail = ctx.connectTcp("10.0.0.1:25");
  try {
    const greeting = decode(mail.receiveUntil("\r\n", 512)).trim();
    mail.send("STARTTLS\r\n");
    mail.receiveUntil("\r\n", 512);
    ctx.log("info", mail.startTls("mail.test").subject);
    ctx.remember("greeted");
    return Report.pass(greeting);
  } finally {
    mail.close();
  }
});

const CERTIFICATE = {
  subject: "CN=mail.test", issuer: "CN=ca", names: ["mail.test"], notBefore: 0, notAfter: 1, problem: null,
  protocol: "TLSv1.3",
};

test("script sends its lines in turn", () => {
  const script = new Script("220 hi\r\n", [["STARTTLS\r\n", "220 go\r\n"]], CERTIFICATE);
  const host = new FakeHost({ connectTcp: () => script });
  assert.equal(host.run(greets).message, "220 hi");
  assert.deepEqual([host.logged, decode(host.memo), script.closed], [[["info", "CN=mail.test"]], "greeted", true]);
});

test("run with an error remembers nothing and closes", () => {
  const script = new Script("220 hi\r\n");
  const host = new FakeHost({ connectTcp: () => script });
  host.memo = encode("before");
  assert.throws(() => host.run(greets), /connection refused/);
  assert.deepEqual([decode(host.memo), script.closed], ["before", true]);
});

test("failure becomes a report, denied probe is thrown", () => {
  const failure = (answers) => {
    try {
      new FakeHost(answers).run(greets);
    } catch (error) {
      if (error instanceof ProbeFailed) return error;
    }
    assert.fail("expected a probe to fail");
  };
  assert.equal(failure({ connectTcp: () => fail("timeout") }).report("mail").message, "mail: no answer in time");
  assert.throws(() => failure({}).report("mail"), /no answer for connectTcp/);
});

test("text is UTF-8, and invalid bytes are replaced", () => {
  assert.equal(decode(encode("größe 🚦")), "größe 🚦");
  assert.equal(decode(new Uint8Array([104, 255])), "h\ufffd");
});
