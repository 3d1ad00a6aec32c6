/**
 * The bytes of a log and where its lines begin; lives in the worker.
 *
 * Only what is looked at is ever decoded, so that a log of 100 MB costs its bytes, four more for each
 * line, and nothing else.
 */

import { State, feed } from "./ansi.js";

const NEWLINE = 10;
const ESCAPE = 27;
/** Bytes of one line that are shown; the raw log has all. */
const LONGEST = 16 * 1024;

/** @typedef {{kind: "group" | "endgroup" | "header" | "attempt", line: number, title: string}} Mark */

export class LogLines {
  constructor() {
    this.bytes = new Uint8Array(1 << 16);
    this.end = 0;
    this.starts = new Uint32Array(1 << 12);
    this.states = new Uint32Array(1 << 12);
    /** Lines that have ended; one more has begun if there are bytes behind them. */
    this.ended = 0;
    this.scanned = 0;
    this.nextEscape = -1;
    this.decoder = new TextDecoder();
    /** @type {State[]} */
    this.known = [State.PLAIN];
    /** @type {Map<string, number>} */
    this.numbers = new Map([[State.PLAIN.key, 0]]);
  }

  /** Lines that there are, the unfinished last one included. */
  get count() {
    return this.ended + (this.end > this.starts[this.ended] ? 1 : 0);
  }

  /** Make room for a log of so many bytes. @param {number} size */
  expect(size) {
    if (size <= this.bytes.length) return;
    const larger = new Uint8Array(size);
    larger.set(this.bytes.subarray(0, this.end));
    this.bytes = larger;
  }

  /** Append bytes; returns the marks in the lines that they end. @param {Uint8Array} more */
  append(more) {
    if (this.end + more.length > this.bytes.length) {
      this.expect(Math.max(this.end + more.length, Math.ceil(this.bytes.length * 1.6)));
    }
    this.bytes.set(more, this.end);
    this.end += more.length;
    return this.scan();
  }

  /** @returns {Mark[]} */
  scan() {
    /** @type {Mark[]} */
    const marks = [];
    const filled = this.bytes.subarray(0, this.end);
    for (;;) {
      const newline = filled.indexOf(NEWLINE, this.scanned);
      if (newline < 0) break;
      const mark = this.markOf(this.ended, this.starts[this.ended], newline);
      if (mark) marks.push(mark);
      this.begin(filled, newline);
    }
    this.scanned = this.end;
    return marks;
  }

  /** A line ends at `newline`; the next begins with the colours that this one leaves behind.
   * @param {Uint8Array} filled @param {number} newline */
  begin(filled, newline) {
    if (this.ended + 2 > this.starts.length) {
      this.starts = grown(this.starts);
      this.states = grown(this.states);
    }
    let state = this.states[this.ended];
    if (this.nextEscape < this.starts[this.ended]) {
      const found = filled.indexOf(ESCAPE, this.starts[this.ended]);
      this.nextEscape = found < 0 ? this.end : found;
    }
    if (this.nextEscape < newline) {
      const text = this.decoder.decode(filled.subarray(this.nextEscape, newline));
      state = this.numberOf(feed(text, this.known[state]));
    }
    this.ended += 1;
    this.starts[this.ended] = newline + 1;
    this.states[this.ended] = state;
    this.scanned = newline + 1;
  }

  /** @param {State} state */
  numberOf(state) {
    let number = this.numbers.get(state.key);
    if (number === undefined) {
      number = this.known.push(state) - 1;
      this.numbers.set(state.key, number);
    }
    return number;
  }

  /** What a line says about the lines around it. @param {number} line @param {number} from @param {number} to
   * @returns {Mark | null} */
  markOf(line, from, to) {
    const first = this.bytes[from];
    if (first !== 58 && first !== 35 && first !== 61 && first !== 91 && first !== 13) return null;
    const text = this.decoder.decode(this.bytes.subarray(from, Math.min(to, from + 300))).trim();
    const group = /^(?:::|##\[)group(?:::|\])(.*)$/.exec(text);
    if (group) return { kind: "group", line, title: group[1].trim() };
    if (/^(?:::|##\[)endgroup(?:::|\])/.test(text)) return { kind: "endgroup", line, title: "" };
    const header = /^==> (.+)$/.exec(text);
    if (header) return { kind: "header", line, title: header[1] };
    const attempt = /^\[attempt \d+ ended: .*\]$/.exec(text);
    return attempt ? { kind: "attempt", line, title: text.slice(1, -1) } : null;
  }

  /** The line that a byte stands in. @param {number} offset */
  lineAt(offset) {
    let [low, high] = [0, this.count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /** Where a line ends, without its newline. @param {number} line */
  endOf(line) {
    return line < this.ended ? this.starts[line + 1] - 1 : this.end;
  }

  /** A line's text, control characters and all; of a very long one its end after the last `\r`,
   * and of that no more than anyone reads. @param {number} line */
  textOf(line) {
    const [from, to] = [this.starts[line], this.endOf(line)];
    if (to - from <= LONGEST) return this.decoder.decode(this.bytes.subarray(from, to));
    const last = this.bytes.subarray(from, Math.max(from, to - 1)).lastIndexOf(13);
    if (last > 0 && to - from - last < LONGEST) {
      return this.decoder.decode(this.bytes.subarray(from + last + 1, to));
    }
    const cut = (to - from - LONGEST).toLocaleString("en");
    const head = this.decoder.decode(this.bytes.subarray(from, from + LONGEST));
    return `${head}\u001b[0;2m … ${cut} more bytes: see the raw log`;
  }

  /** The line up to which, from `line` on, there are no more than so many bytes; at least one line.
   * @param {number} line @param {number} bytes */
  lineWithin(line, bytes) {
    return Math.max(line + 1, this.lineAt(this.starts[line] + bytes));
  }

  /** The text of lines from `from` up to `to`, newlines and all. @param {number} from @param {number} to */
  textBetween(from, to) {
    return this.decoder.decode(this.bytes.subarray(this.starts[from], to <= this.ended ? this.starts[to] : this.end));
  }

  /** @param {number} line */
  stateAt(line) {
    return this.known[this.states[line]];
  }
}

/** @param {Uint32Array} array */
function grown(array) {
  const larger = new Uint32Array(array.length * 2);
  larger.set(array);
  return larger;
}
