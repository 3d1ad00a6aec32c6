/** Searching a log; lives in the worker, and works in bites so that readers never wait long. */

import { plain } from "./ansi.js";

/** Milliseconds of one bite. */
const BITE = 24;
/** Matches that are kept; who has more needs another word. */
export const MOST = 10_000;

/** Lines that say that something went wrong, in the tongues of common tools. */
const ERROR =
  /(?:^|[^\w./-])(?:error|fatal|panic|traceback|exception|segmentation fault|undefined reference|command not found|no such file or directory|permission denied|assert(?:ion)?error|failed|failure|FAIL|✗|✖|not ok)(?![\w/-])|^::error|##\[error\]|^E {3}/iu;
/** … and lines that only sound so. */
const FINE = /\b(?:0|no|without|zero) (?:errors?|failures?|failed)\b|\b(?:errors?|failures?|failed)[:=] ?0\b|-Werror/i;

/** A pause in which the worker hears its messages. */
function breath() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/**
 * The lines that hold a text, in any case of letters, as they are shown.
 * @param {import("./lines.js").LogLines} log
 * @param {string} text
 * @param {() => boolean} wanted whether anybody still waits for the answer
 * @returns {Promise<Uint32Array | null>} null when nobody does
 */
export async function find(log, text, wanted) {
  const needle = text.toLowerCase();
  /** @type {number[]} */
  const found = [];
  let pause = performance.now() + BITE;
  for (let line = 0; line < log.count && found.length < MOST; line += 1) {
    if (plainOf(log, line).toLowerCase().includes(needle)) found.push(line);
    if ((line & 255) === 0 && performance.now() > pause) {
      await breath();
      if (!wanted()) return null;
      pause = performance.now() + BITE;
    }
  }
  return Uint32Array.from(found);
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

/** @param {import("./lines.js").LogLines} log @param {number} line */
function plainOf(log, line) {
  const text = log.textOf(line);
  // eslint-disable-next-line no-control-regex
  return /[\u001b\r\b]/.test(text) ? plain(text) : text;
}
