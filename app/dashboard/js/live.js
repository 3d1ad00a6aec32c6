/** Builds as they change: server-sent events, and asking again and again where they do not come. */

import { Problem } from "./api.js";
import { back, isAway, whileHere } from "./attention.js";
import { backoff, events, pause } from "./stream.js";

/** Milliseconds between two questions where there are no events. */
const POLL = 2500;
/** … and while nobody looks: for the tab's title and picture. */
const POLL_AWAY = 10_000;
/** Milliseconds after which a stream that says nothing, not even that it lives, is given up. */
const SILENCE = 90_000;

/**
 * Follow until `signal` ends it; over lost connections, from where they broke.
 * @param {import("./api.js").Api} api
 * @param {string} path
 * @param {object} told
 * @param {AbortSignal} told.signal
 * @param {() => Promise<any>} told.poll looks for itself; also after every gap
 * @param {(build: import("./build.js").Build) => void} told.build
 * @param {() => boolean} [told.done]
 */
export async function follow(api, path, { signal, poll, build, done = () => false }) {
  let last = "";
  let retry = 0; // milliseconds, as the server asks
  let failures = 0;
  let offered = true;
  while (!signal.aborted && !done()) {
    try {
      if (isAway() || !offered) {
        await poll();
        if (isAway()) await Promise.race([back(signal), pause(POLL_AWAY, signal)]);
        else await pause(POLL, signal);
        failures = 0;
        continue;
      }
      /** @type {Record<string, string>} */
      const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
      const answer = await api.send("GET", path, { headers, signal: whileHere(signal) });
      if (!last) await poll(); // what changed between the page's own look and this stream
      let over = "";
      for await (const sent of events(/** @type {ReadableStream<Uint8Array>} */ (answer.body), SILENCE)) {
        failures = 0;
        if (sent.id) last = sent.id;
        retry = sent.retry;
        if (sent.event === "build") build(JSON.parse(sent.data));
        else if (sent.event === "end" || sent.event === "expired") over = sent.event;
        if (over || done()) break;
      }
      if (done()) return;
      if (over !== "expired") await poll(); // else on with a new token, from where this one ended
      if (over === "end") return;
      await pause(retry || backoff(0), signal);
    } catch (error) {
      if (signal.aborted) return;
      if (isAway()) continue;
      if (error instanceof Problem && [404, 405, 406].includes(error.status)) {
        if (!offered) return;
        offered = false; // this server has no such stream
        continue;
      }
      failures += 1;
      await pause(Math.max(retry, backoff(failures)), signal).catch(() => {});
    }
  }
}
