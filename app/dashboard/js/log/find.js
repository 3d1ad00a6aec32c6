/** Searching a log; lives in the worker, and works in bites so that readers never wait long. */

import { plain } from "./ansi.js";
import { read } from "./commands.js";

/** Milliseconds of one bite. */
const BITE = 24;
/** Bytes that are looked through at once. */
const MOUTHFUL = 128 * 1024;
/** Matches that are kept; who has more needs another word. */
export const MOST = 10_000;

/** Lines that say that something went wrong, in the tongues of common tools. */
const ERROR =
  /(?:^|[^\w./-])(?:error|fatal|panic|traceback|exception|segmentation fault|undefined reference|command not found|no such file or directory|permission denied|assert(?:ion)?error|failed|failure|FAIL|✗|✖|not ok)(?![\w/-])|^E {3}/iu;
/** … and lines that only sound so. */
const FINE = /\b(?:0|no|without|zero) (?:errors?|failures?|failed)\b|\b(?:errors?|failures?|failed)[:=] ?0\b|-Werror/i;

// eslint-disable-next-line no-control-regex
const COLOURS = /\u001b\[[0-9;:]*m/g;
/** What is shown otherwise than it stands there, colours apart. */
// eslint-disable-next-line no-control-regex
const ODD = /[\u001b\b]|\r(?!\n)|^(?:::|##\[)/m;

/** A pause in which the worker hears its messages. */
function breath() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/**
 * The lines that hold a text, as they are shown.
 * @param {import("./lines.js").LogLines} log
 * @param {string} text
 * @param {boolean} exact capital letters and small ones differ
 * @param {() => boolean} wanted whether anybody still waits for the answer
 * @returns {Promise<Uint32Array | null>} null when nobody does
 */
export async function find(log, text, exact, wanted) {
  const cased = (/** @type {string} */ words) => (exact ? words : words.toLowerCase());
  const needle = cased(text);
  /** @type {number[]} */
  const found = [];
  let pause = performance.now() + BITE;
  for (let line = 0; line < log.count && found.length < MOST; ) {
    const next = log.lineWithin(line, MOUTHFUL);
    const some = log.textBetween(line, next).replace(COLOURS, "");
    if (next > line + 1 && !ODD.test(some)) lookThrough(cased(some), needle, line, found);
    else for (let at = line; at < next; at += 1) if (cased(plainOf(log, at)).includes(needle)) found.push(at);
    line = next;
    if (performance.now() > pause) {
      await breath();
      if (!wanted()) return null;
      pause = performance.now() + BITE;
    }
  }
  return Uint32Array.from(found.slice(0, MOST));
}

/** Many lines at once. @param {string} text @param {string} needle @param {number} line its first
 * @param {number[]} found lines, to which those in it are added */
function lookThrough(text, needle, line, found) {
  let from = 0;
  for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, from)) {
    for (let end = text.indexOf("\n", from); end >= 0 && end < at; end = text.indexOf("\n", from)) {
      from = end + 1;
      line += 1;
    }
    found.push(line);
    const end = text.indexOf("\n", at);
    if (end < 0) return;
    from = end + 1;
    line += 1;
  }
}

/**
 * The first line from `from` up to `to` that tells of an error; -1 where none does.
 * @param {import("./lines.js").LogLines} log
 * @param {number} from
 * @param {number} to
 */
export async function firstError(log, from, to) {
  let pause = performance.now() + BITE;
  const stop = Math.min(to, log.count);
  for (let line = Math.max(0, from); line < stop; line += 1) {
    const text = plainOf(log, line);
    if (ERROR.test(text) && !FINE.test(text) && !text.startsWith("==> ")) return line;
    if ((line & 255) === 0 && performance.now() > pause) {
      await breath();
      pause = performance.now() + BITE;
    }
  }
  return -1;
}

/** A line as it is shown. @param {import("./lines.js").LogLines} log @param {number} line */
function plainOf(log, line) {
  const { text } = read(log.textOf(line));
  // eslint-disable-next-line no-control-regex
  return /[\u001b\r\b]/.test(text) ? plain(text) : text;
}
