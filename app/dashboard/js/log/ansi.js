/** What a terminal makes of a line: colours (ECMA-48 SGR), links (OSC 8), `\r`, `\b`, tabs and erasing. */

/** Sequences that begin with ESC: CSI, then links, then OSC and other strings, then the short ones. */
// eslint-disable-next-line no-control-regex
const SEQUENCE = /\u001b(?:\[([0-9;:?<>=]*)[ -/]*([@-~])|\]8;[^;\u0007\u001b]*;([^\u0007\u001b]*)(?:\u0007|\u001b\\|$)|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\|$)|[ -/]*[0-~]|$)/y;
const MOVES = /[\r\b]|\u001b\[[0-9;]*[CDGK]/;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0007\u000b-\u001a\u001c-\u001f\u007f]/g;
/** Columns that a line may be moved to. */
const WIDEST = 20000;

/** @typedef {{fg: number, bg: number, bold: boolean, dim: boolean, italic: boolean, underline: boolean,
 *   inverse: boolean, strike: boolean, link: string}} Look */

/**
 * How characters look. `fg` and `bg`: -1 for the default, 0…255 of the palette, else 0x1000000 + RGB.
 */
export class State {
  /** @param {Partial<Look>} [from] */
  constructor(from = {}) {
    /** @type {number} */ this.fg = from.fg ?? -1;
    /** @type {number} */ this.bg = from.bg ?? -1;
    /** @type {boolean} */ this.bold = from.bold ?? false;
    /** @type {boolean} */ this.dim = from.dim ?? false;
    /** @type {boolean} */ this.italic = from.italic ?? false;
    /** @type {boolean} */ this.underline = from.underline ?? false;
    /** @type {boolean} */ this.inverse = from.inverse ?? false;
    /** @type {boolean} */ this.strike = from.strike ?? false;
    /** @type {string} where it leads; empty: nowhere */ this.link = from.link ?? "";
  }

  get key() {
    const flags = [this.bold, this.dim, this.italic, this.underline, this.inverse, this.strike];
    return `${this.fg},${this.bg},${flags.map(Number).join("")},${this.link}`;
  }

  /** What a sequence leaves behind. @param {RegExpExecArray | null} found by `SEQUENCE` @returns {State} */
  after(found) {
    if (found?.[2] === "m") return this.with(found[1]);
    if (found?.[3] === undefined) return this;
    const link = /^https?:\/\//i.test(found[3]) ? found[3] : "";
    return new State({ ...this, link });
  }

  /** @param {string} parameters of `CSI … m` @returns {State} */
  with(parameters) {
    const next = new State(this);
    const codes = parameters.replaceAll(":", ";").split(";").map(Number);
    for (let at = 0; at < codes.length; at += 1) {
      const code = codes[at];
      if (code === 0) Object.assign(next, new State({ link: this.link }));
      else if (code === 1) next.bold = true;
      else if (code === 2) next.dim = true;
      else if (code === 3) next.italic = true;
      else if (code === 4) next.underline = true;
      else if (code === 7) next.inverse = true;
      else if (code === 9) next.strike = true;
      else if (code === 22) next.bold = next.dim = false;
      else if (code === 23) next.italic = false;
      else if (code === 24) next.underline = false;
      else if (code === 27) next.inverse = false;
      else if (code === 29) next.strike = false;
      else if (code >= 30 && code <= 37) next.fg = code - 30;
      else if (code === 38 || code === 48) at = next.extended(code === 38 ? "fg" : "bg", codes, at);
      else if (code === 39) next.fg = -1;
      else if (code >= 40 && code <= 47) next.bg = code - 40;
      else if (code === 49) next.bg = -1;
      else if (code >= 90 && code <= 97) next.fg = code - 82;
      else if (code >= 100 && code <= 107) next.bg = code - 92;
    }
    return next;
  }

  /** `38;5;n` or `38;2;r;g;b`. @param {"fg" | "bg"} which @param {number[]} codes @param {number} at */
  extended(which, codes, at) {
    if (codes[at + 1] === 5) {
      this[which] = (codes[at + 2] ?? 0) & 255;
      return at + 2;
    }
    if (codes[at + 1] !== 2) return at;
    const [r, g, b] = codes.slice(at + 2, at + 5).map((part) => part & 255);
    this[which] = 0x1000000 + ((r << 16) | (g << 8) | (b ?? 0));
    return at + 4;
  }
}

/** @type {State} */
State.PLAIN = Object.freeze(new State());

/** The state that a text leaves behind. @param {string} text @param {State} state */
export function feed(text, state) {
  for (let at = text.indexOf("\u001b"); at >= 0; at = text.indexOf("\u001b", at + 1)) {
    SEQUENCE.lastIndex = at;
    state = state.after(SEQUENCE.exec(text));
  }
  return state;
}

/**
 * A line as pieces of one look each: `[text, state]`.
 * @param {string} text
 * @param {State} state at its start
 * @returns {[string, State][]}
 */
export function show(text, state) {
  const line = text.endsWith("\r") ? text.slice(0, -1) : text;
  if (MOVES.test(line)) return painted(line, state);
  /** @type {[string, State][]} */
  const pieces = [];
  let at = 0;
  while (at < line.length) {
    const escape = line.indexOf("\u001b", at);
    const stop = escape < 0 ? line.length : escape;
    if (stop > at) push(pieces, expand(line.slice(at, stop), pieces), state);
    if (escape < 0) break;
    SEQUENCE.lastIndex = escape;
    const found = SEQUENCE.exec(line);
    state = state.after(found);
    at = escape + (found ? Math.max(1, found[0].length) : 1);
  }
  return pieces;
}

/** The text alone. @param {string} text */
export function plain(text) {
  return show(text, State.PLAIN).map(([piece]) => piece).join("");
}

/** @param {[string, State][]} pieces @param {string} text @param {State} state */
function push(pieces, text, state) {
  const last = pieces.at(-1);
  if (last && last[1].key === state.key) last[0] += text;
  else if (text) pieces.push([text, state]);
}

/** Tabs to the next multiple of 8; other control characters are not shown.
 * @param {string} text @param {[string, State][]} before */
function expand(text, before) {
  const clean = text.replace(CONTROL, "");
  if (!clean.includes("\t")) return clean;
  let column = before.reduce((sum, [piece]) => sum + piece.length, 0);
  let out = "";
  for (const part of clean.split(/(\t)/)) {
    const added = part === "\t" ? " ".repeat(8 - (column % 8)) : part;
    out += added;
    column += added.length;
  }
  return out;
}

/** Cell by cell, where a line moves about in itself. @param {string} line @param {State} state
 * @returns {[string, State][]} */
function painted(line, state) {
  /** @type {[string, State][]} */
  const cells = [];
  let column = 0;
  const blank = () => /** @type {[string, State]} */ ([" ", State.PLAIN]);
  for (let at = 0; at < line.length; ) {
    const char = String.fromCodePoint(/** @type {number} */ (line.codePointAt(at)));
    if (char === "\u001b") {
      SEQUENCE.lastIndex = at;
      const found = SEQUENCE.exec(line);
      at += found ? Math.max(1, found[0].length) : 1;
      state = state.after(found);
      if (!found || !found[2]) continue;
      const count = Math.max(1, parseInt(found[1], 10) || 1);
      if (found[2] === "C") column = Math.min(WIDEST, column + count);
      else if (found[2] === "D") column = Math.max(0, column - count);
      else if (found[2] === "G") column = Math.min(WIDEST, count - 1);
      else if (found[2] === "K") erase(cells, column, found[1]);
      continue;
    }
    at += char.length;
    if (char === "\r") column = 0;
    else if (char === "\b") column = Math.max(0, column - 1);
    else if (char === "\t") column = Math.min(WIDEST, column + 8 - (column % 8));
    else if (char >= " " && char !== "\u007f") {
      while (cells.length < column) cells.push(blank());
      cells[column] = [char, state];
      column += 1;
    }
  }
  /** @type {[string, State][]} */
  const pieces = [];
  for (const [char, look] of cells) push(pieces, char, look);
  return pieces;
}

/** `CSI K`. @param {[string, State][]} cells @param {number} column @param {string} how */
function erase(cells, column, how) {
  if (how === "" || how === "0") cells.length = Math.min(cells.length, column);
  else if (how === "2") cells.length = 0;
  else if (how === "1") {
    for (let at = 0; at < Math.min(column + 1, cells.length); at += 1) cells[at] = [" ", State.PLAIN];
  }
}
