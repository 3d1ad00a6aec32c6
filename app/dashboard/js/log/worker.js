/** The thread that holds a log: takes its bytes, answers for its lines. */

import { State, show } from "./ansi.js";
import { read } from "./commands.js";
import { find, firstError } from "./find.js";
import { LogLines } from "./lines.js";

let log = new LogLines();
/** The newest search; older ones end unanswered. */
let search = 0;

/** @param {number} line */
function row(line) {
  const { text, said } = read(log.textOf(line));
  const pieces = show(text, log.stateAt(line));
  return { line, said, pieces: pieces.map(([piece, state]) => [piece, state.key === State.PLAIN.key ? null : { ...state }]) };
}

/** @type {Record<string, (message: any) => Promise<any> | any>} */
const calls = {
  expect: ({ size }) => log.expect(size + 65536),
  append({ bytes }) {
    const marks = log.append(new Uint8Array(bytes));
    return { grown: true, count: log.count, end: log.end, marks };
  },
  reset() {
    log = new LogLines();
    search += 1;
  },
  rows: ({ lines }) => lines.filter((/** @type {number} */ line) => line < log.count).map(row),
  lineAt: ({ offsets }) => offsets.map((/** @type {number} */ offset) => log.lineAt(offset)),
  async find({ text, exact }) {
    const mine = (search += 1);
    return find(log, text, exact, () => mine === search);
  },
  firstError: ({ from, to }) => firstError(log, from, to),
};

self.addEventListener("message", async ({ data }) => {
  const answer = await calls[data.call](data);
  self.postMessage({ id: data.id, answer });
});
