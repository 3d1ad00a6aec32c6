/** Streams over fetch: server-sent events (EventSource can send no token), and waiting. */

/** @typedef {{id: string, event: string, data: string, retry: number}} Sent `event`: empty where only the id is
 *   news; `retry`: milliseconds after which to come back, 0 where nothing was said of it */

/**
 * The events of a `text/event-stream` (HTML §9.2.6), as they come, those without data as well.
 * @param {ReadableStream<Uint8Array>} body
 * @param {number} silence milliseconds without a byte after which it counts as ended: there is nobody
 *   at its other end any more, as after a night's sleep
 * @returns {AsyncGenerator<Sent>}
 */
export async function* events(body, silence) {
  const decoder = /** @type {ReadableWritablePair<string, Uint8Array>} */ (new TextDecoderStream());
  const reader = body.pipeThrough(decoder).getReader();
  let rest = "";
  let id = "";
  /** @type {string[]} */
  let data = [];
  let event = "";
  let retry = 0;
  try {
    for (;;) {
      const gone = setTimeout(() => reader.cancel().catch(() => {}), silence);
      const { done, value } = await reader.read().finally(() => clearTimeout(gone));
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          yield { id, event: event || (data.length ? "message" : ""), data: data.join("\n"), retry };
          data = [];
          event = "";
          continue;
        }
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (name === "data") data.push(text);
        else if (name === "event") event = text;
        else if (name === "retry" && /^\d{1,6}$/.test(text)) retry = Number(text);
        else if (name === "id" && !text.includes("\0")) id = text;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Milliseconds before the next try, after so many failures. @param {number} failures */
export function backoff(failures) {
  const most = Math.min(15_000, 400 * 2 ** Math.min(failures, 10));
  return most * (0.7 + 0.3 * Math.random());
}

/** @param {number} milliseconds @param {AbortSignal} [signal] that ends it early, with an error
 * @returns {Promise<void>} */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const end = () => {
      clearTimeout(timer);
      reject(/** @type {AbortSignal} */ (signal).reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", end, { once: true });
  });
}
