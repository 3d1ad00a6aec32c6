/** What the states of builds and steps are called and look like, here and in the browser's tab. */

import { h } from "./dom.js";
import { icon } from "./icons.js";

/** @type {Record<string, {word: string, tone: string, sign: "clock" | "check" | "cross" | "alert" | "stop" | null, mark: string}>} */
export const STATES = {
  queued: { word: "Queued", tone: "quiet", sign: "clock", mark: "◌" },
  pending: { word: "Pending", tone: "quiet", sign: "clock", mark: "◌" },
  running: { word: "Running", tone: "live", sign: null, mark: "●" },
  succeeded: { word: "Succeeded", tone: "good", sign: "check", mark: "✓" },
  failed: { word: "Failed", tone: "bad", sign: "cross", mark: "✗" },
  errored: { word: "Errored", tone: "wrong", sign: "alert", mark: "!" },
  timed_out: { word: "Timed out", tone: "late", sign: "clock", mark: "⧖" },
  cancelled: { word: "Cancelled", tone: "quiet", sign: "stop", mark: "–" },
  skipped: { word: "Skipped", tone: "quiet", sign: "stop", mark: "–" },
};

export const FILTERS = ["queued", "running", "succeeded", "failed", "errored", "timed_out", "cancelled"];

/** @param {{status: string}} build */
export function isFinal(build) {
  return build.status !== "queued" && build.status !== "running";
}

/** @param {{status: string, cancel_requested_at?: string | null}} build */
export function wordOf(build) {
  if (!isFinal(build) && build.cancel_requested_at) return "Cancelling";
  return STATES[build.status].word;
}

/** A round sign; its meaning stands beside it. @param {string} status */
export function sign(status) {
  const { tone, sign: picture } = STATES[status];
  return h("span", { class: `sign ${tone}`, "aria-hidden": "true" }, picture ? icon(picture) : h("span", { class: "spin" }));
}

/** @param {import("./build.js").Build} build */
export function badge(build) {
  return h("span", { class: `badge ${STATES[build.status].tone}` }, sign(build.status), wordOf(build));
}

const COLOURS = { quiet: "#8a8f98", live: "#3b7dd8", good: "#2a9d63", bad: "#d64545", wrong: "#d9772b", late: "#c79a1b" };
const PATHS = { check: "m10 17 4 4 8-9", cross: "m11 11 10 10m0-10L11 21", alert: "M16 9v9m0 4v.4", clock: "M16 9v7l5 3", stop: "M10 16h12" };

/** The tab's title and picture. @param {string} title @param {string} [status] of a build */
export function dressTab(title, status) {
  document.title = status ? `${STATES[status].mark} ${wordOf({ status })} · ${title} · Baton` : `${title} · Baton`;
  const link = /** @type {HTMLLinkElement} */ (document.getElementById("favicon"));
  link.dataset.plain ??= link.href;
  if (!status) {
    link.href = link.dataset.plain;
    return;
  }
  const { tone, sign: picture } = STATES[status];
  const colour = COLOURS[/** @type {keyof typeof COLOURS} */ (tone)];
  const path = PATHS[/** @type {keyof typeof PATHS} */ (picture)];
  const inner = path
    ? `<path d="${path}" fill="none" stroke="#fff" stroke-width="3.5" stroke-linecap="round" stroke-linejoin="round"/>`
    : '<circle cx="16" cy="16" r="5" fill="#fff"/>';
  const image = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="${colour}"/>${inner}</svg>`;
  link.href = `data:image/svg+xml,${encodeURIComponent(image)}`;
}

/** Sentences for the reasons of an end. @type {Record<string, string>} */
export const REASONS = {
  no_token: "The identity provider gave no token for it.",
  token_refused: "The identity provider's token does not fit the job.",
  broker_unavailable: "The way to the workers was interrupted.",
  tokens_spent: "No token is left for another attempt.",
  step_failed: "One of its steps failed.",
  step_timed_out: "One of its steps took longer than it may.",
  build_timed_out: "It took longer than it may.",
  cancelled: "It was cancelled.",
  checkout_failed: "Its source could not be checked out.",
  sandbox_failed: "Its sandbox could not be set up.",
  worker_failed: "The worker met an error of its own.",
  worker_shutdown: "Its worker was shut down.",
  worker_lost: "Its worker fell silent.",
  expired_in_queue: "No worker began it in time.",
};
