/**
 * Whether somebody looks at this tab. Over HTTP/1.1, browsers share six connections to a server among
 * all of its tabs: one in the background gives up those that it would hold for as long as a build runs.
 */

/** Milliseconds in the background after which a tab is left alone. */
const PATIENCE = 5000;

let leaving = new AbortController();
const changes = new EventTarget();
let timer = 0;

function turned() {
  clearTimeout(timer);
  if (document.hidden) {
    timer = window.setTimeout(() => leaving.abort(), PATIENCE);
  } else if (isAway()) {
    leaving = new AbortController();
    changes.dispatchEvent(new Event("back"));
  }
}

document.addEventListener("visibilitychange", turned);
turned();

/** Whether nobody has looked for some time. */
export function isAway() {
  return leaving.signal.aborted;
}

/** A signal that also ends what it is for when nobody looks any more. @param {AbortSignal} signal */
export function whileHere(signal) {
  return AbortSignal.any([signal, leaving.signal]);
}

/**
 * Resolves when somebody looks; at once where somebody does.
 * @param {AbortSignal} signal that ends the wait, with an error
 * @returns {Promise<void>}
 */
export function back(signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    if (!isAway()) return resolve();
    const done = new AbortController();
    const end = (/** @type {() => void} */ act) => () => {
      done.abort();
      act();
    };
    changes.addEventListener("back", end(resolve), { signal: done.signal });
    signal.addEventListener("abort", end(() => reject(signal.reason)), { signal: done.signal });
  });
}
