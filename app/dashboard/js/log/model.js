/** The page's side of the thread that holds a log. */

/** @typedef {[string, null | import("./ansi.js").Look][]} Pieces */
/** @typedef {{line: number, said: string, pieces: Pieces}} Line as it is shown */

export class LogModel {
  constructor() {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.count = 0;
    this.end = 0;
    /** @type {import("./lines.js").Mark[]} */
    this.marks = [];
    /** Called when there are more lines. */
    this.ongrown = () => {};
    /** @type {Map<number, (answer: any) => void>} */
    this.waiting = new Map();
    this.next = 1;
    this.worker.addEventListener("message", ({ data }) => this.heard(data));
  }

  /** @param {{id: number, answer: any}} data */
  heard({ id, answer }) {
    if (answer?.grown) {
      this.count = answer.count;
      this.end = answer.end;
      for (const mark of answer.marks) this.marks.push(mark); // there may be more than a call takes
      this.ongrown();
    }
    this.waiting.get(id)?.(answer);
    this.waiting.delete(id);
  }

  /** @param {string} call @param {Record<string, any>} [more] @param {Transferable[]} [transfer]
   * @returns {Promise<any>} */
  ask(call, more = {}, transfer = []) {
    const id = this.next;
    this.next += 1;
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
      this.worker.postMessage({ id, call, ...more }, transfer);
    });
  }

  /** Hand over bytes; they are gone from here. Resolves when they are indexed.
   * @param {Uint8Array} bytes */
  append(bytes) {
    const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
    return this.ask("append", { bytes: own.buffer }, [own.buffer]);
  }

  /** @param {number} size */
  expect(size) {
    return this.ask("expect", { size });
  }

  /** @param {number[]} lines @returns {Promise<Line[]>} */
  rows(lines) {
    return this.ask("rows", { lines });
  }

  /** @param {number[]} offsets @returns {Promise<number[]>} */
  linesAt(offsets) {
    return this.ask("lineAt", { offsets });
  }

  /** @param {string} text @param {boolean} exact @returns {Promise<Uint32Array | null>} */
  find(text, exact) {
    return this.ask("find", { text, exact });
  }

  /** @param {number} from @param {number} to @returns {Promise<number>} */
  firstError(from, to) {
    return this.ask("firstError", { from, to });
  }

  close() {
    this.worker.terminate();
  }
}
