/** Times, durations and sizes as people read them. */

/** @param {number} seconds @returns {string} `8.2 s`, `1 min 04 s`, `2 h 05 min` */
export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds > 0 && seconds < 0.05) return "<0.1 s";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${pad(whole % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${pad(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** About how long, without false precision. @param {number} seconds */
export function about(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10} seconds`;
  if (seconds < 90) return "about a minute";
  if (seconds < 3600) return `about ${Math.round(seconds / 60)} minutes`;
  if (seconds < 5400) return "about an hour";
  return `about ${Math.round(seconds / 3600)} hours`;
}

/** @param {string | null | undefined} since @param {string | null | undefined} until */
export function between(since, until) {
  if (!since) return NaN;
  const end = until ? Date.parse(until) : now();
  return Math.max(0, (end - Date.parse(since)) / 1000);
}

let skew = 0;

/** The server's clock, as far as its answers tell: milliseconds. */
export function now() {
  return Date.now() + skew;
}

/** Learn the server's clock from an answer's `Date`; a second more or less does not count.
 * @param {string | null} date */
export function learnClock(date) {
  const server = date ? Date.parse(date) : NaN;
  if (Number.isNaN(server)) return;
  const found = server + 500 - Date.now();
  skew = Math.abs(found) < 2000 ? 0 : found;
}

/** @param {string} time @returns {string} `just now`, `5 min ago`, `3 Nov` */
export function ago(time) {
  const seconds = (now() - Date.parse(time)) / 1000;
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  if (seconds < 7 * 86400) return `${Math.round(seconds / 86400)} d ago`;
  return new Date(time).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

/** @param {string} time */
export function exact(time) {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** @param {number} value */
function pad(value) {
  return String(value).padStart(2, "0");
}
