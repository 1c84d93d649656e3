// The parameters of a check as an object. index.d.ts has the documentation.

export class CheckError extends Error {}

class Kind {
  constructor(expected, parse, rest = {}) {
    Object.assign(this, { expected, parse }, rest);
  }

  optional() {
    return this.default(undefined);
  }

  default(fallback) {
    return new Kind(this.expected, this.parse, { ...this, hasFallback: true, fallback });
  }

  list() {
    return new Kind(this.expected, this.parse, { ...this, isList: true });
  }

  table() {
    return new Kind(this.expected, this.parse, { ...this, isTable: true });
  }

  /** Parses a value of the parameter `key`. */
  value(key, text) {
    const value = this.parse(text);
    if (value === undefined) throw new CheckError(`parameter \`${key}\`: expected ${this.expected}, found ${JSON.stringify(text)}`);
    return value;
  }

  decode(params, key, known) {
    if (this.isTable) {
      known.push(`${key}.*`);
      const entries = params.filter(([name]) => name.startsWith(`${key}.`));
      return Object.fromEntries(entries.map(([name, text]) => [name.slice(key.length + 1), this.value(name, text)]));
    }
    known.push(key);
    const values = params.filter(([name]) => name === key).map(([, text]) => this.value(key, text));
    if (values.length === 0 && this.hasFallback) return this.fallback;
    if (this.isList) return values;
    if (values.length === 0) throw new CheckError(`parameter \`${key}\` is missing`);
    if (values.length > 1) throw new CheckError(`parameter \`${key}\`: found ${values.length} values, expected one`);
    return values[0];
  }
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Undefined beyond 2^53. */
function milliseconds([, count, unit]) {
  const found = Number(count) * UNITS[unit];
  return Number.isSafeInteger(found) ? found : undefined;
}

const matched = (pattern, make) => (text) => {
  const found = pattern.exec(text);
  return found ? make(found) : undefined;
};

export const param = {
  text: new Kind("text", (text) => text),
  integer: new Kind("a whole number", matched(/^[+-]?\d+$/, ([text]) => Number(text))),
  number: new Kind("a number", matched(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i, ([text]) => Number(text))),
  boolean: new Kind("true or false", (text) => ({ true: true, false: false })[text]),
  duration: new Kind('a duration like "500ms"', matched(/^(\d+) *(ms|s|m|h|d)$/, milliseconds)),
};

/** Makes an object like `schema` of all parameters. */
export function decode(params, schema) {
  const known = [];
  const decoded = table(params, schema, "", known);
  for (const [key] of params) {
    if (!known.some((name) => name === key || (name.endsWith(".*") && key.startsWith(name.slice(0, -1))))) {
      throw new CheckError(`unknown parameter \`${key}\`, expected one of: ${known.join(", ")}`);
    }
  }
  return decoded;
}

function table(params, schema, prefix, known) {
  const entries = Object.entries(schema).map(([name, kind]) => {
    const key = prefix + name;
    return [name, kind instanceof Kind ? kind.decode(params, key, known) : table(params, kind, `${key}.`, known)];
  });
  return Object.fromEntries(entries);
}
