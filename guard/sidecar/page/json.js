// JSON as it is written: where a text stops being JSON, or says a name twice; and a text indented, its numbers and
// strings untouched, which JSON.parse would round and merge.

const TOKEN =
  /[ \t\n\r]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null))/y;

const EXPECTED = {
  value: "a value",
  first: "a value or ]",
  firstKey: "a name in double quotes or }",
  key: "a name in double quotes",
  colon: "a colon",
  next: "a comma or the closing bracket",
  end: "nothing more",
  other: "another name, since this one is there already",
};

/** Yield the tokens of a text; returns the fault where it is not JSON, else null. */
function* tokens(text) {
  const open = []; // for each bracket that is open, the one that closes it
  const names = []; // for each, the names that are there
  let at = 0;
  let expected = "value";
  for (;;) {
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text);
    const token = found ? found[0].trimStart() : "";
    const isOk =
      found &&
      ((expected === "value" && !"}],:".includes(token)) ||
        (expected === "first" && (token === "]" || !"},:".includes(token))) ||
        (expected === "firstKey" && (token === "}" || token.startsWith('"'))) ||
        (expected === "key" && token.startsWith('"')) ||
        (expected === "colon" && token === ":") ||
        (expected === "next" && (token === "," || token === open.at(-1))));
    if (!isOk) {
      const start = at + text.slice(at).search(/[^ \t\n\r]|$/);
      return start === text.length && expected === "end" ? null : fault(text, start, expected);
    }
    if (token.startsWith('"') && (expected === "key" || expected === "firstKey")) {
      const name = JSON.parse(token);
      if (names.at(-1).has(name)) return fault(text, TOKEN.lastIndex - token.length, "other");
      names.at(-1).add(name);
    }
    yield token;
    at = TOKEN.lastIndex;
    if (token === "{" || token === "[") {
      open.push(token === "{" ? "}" : "]");
      names.push(new Set());
      expected = token === "{" ? "firstKey" : "first";
      continue;
    }
    if (expected === "firstKey" && token !== "}") expected = "colon";
    else if (expected === "key") expected = "colon";
    else if (token === ":") expected = "value";
    else if (token === ",") expected = open.at(-1) === "}" ? "key" : "value";
    else {
      if (token === "}" || token === "]") {
        open.pop();
        names.pop();
      }
      expected = open.length ? "next" : "end";
    }
  }
}

function fault(text, at, expected) {
  const before = text.slice(0, at).split("\n");
  const line = before.length;
  const column = [...before.at(-1)].length + 1;
  const isText = text[at] === '"';
  let got = "";
  if (at === text.length) got = ", but the text ends";
  else if (isText && ["value", "first", "key", "firstKey"].includes(expected))
    got = ", but there is a text that is broken";
  else if (expected !== "other")
    got = `, but there is ${isText ? "a text" : String.fromCodePoint(text.codePointAt(at))}`;
  const message = `Line ${line}, column ${column}: expected ${EXPECTED[expected]}${got}.`;
  return { at, line, column, message, source: text.split("\n")[line - 1] };
}

/** Return where and why a text is not JSON, or null where it is. */
export function faultOf(text) {
  const each = tokens(text);
  for (;;) {
    const { done, value } = each.next();
    if (done) return value;
  }
}

/** Return a JSON text with its parts on lines of their own. */
export function indented(text) {
  let out = "";
  let depth = 0;
  let last = "";
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const token of tokens(text)) {
    const isEnd = token === "}" || token === "]";
    if (isEnd) depth -= 1;
    if (isEnd ? last !== "{" && last !== "[" : last === "{" || last === "[" || last === ",") out += line();
    out += token === ":" ? ": " : token;
    if (token === "{" || token === "[") depth += 1;
    last = token;
  }
  return out;
}
