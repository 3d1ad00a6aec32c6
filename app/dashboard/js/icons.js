/** The few pictures that there are, drawn in the colour of the text around them. */

import { svg } from "./dom.js";

const LINES = {
  plus: "M8 3v10M3 8h10",
  check: "m3.5 8.5 3 3 6-7",
  cross: "m4.5 4.5 7 7m0-7-7 7",
  clock: "M8 13.8A5.8 5.8 0 1 0 8 2.2a5.8 5.8 0 0 0 0 11.6ZM8 5v3l1.9 1.3",
  alert: "M8 2.4 14.3 13.300H1.700ZM8 6.500v3M8 11.400v.1",
  stop: "M5.2 8h5.6",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Zm3.6-1.4L14 14",
  download: "M8 2.5v8m-3.2-3L8 10.7l3.2-3.2M3 13.5h10",
  down: "M8 3v9.5M4 8.7l4 4 4-4",
  up: "M8 13V3.5M4 7.3l4-4 4 4",
  again: "M13 8a5 5 0 1 1-1.6-3.7M13.2 2v2.9h-2.9",
  chevron: "m6 4 4 4-4 4",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7",
  moon: "M13.2 9.8A5.7 5.7 0 0 1 6.2 2.8a5.7 5.7 0 1 0 7 7Z",
  half: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Zm0-12v12",
  keyboard: "M2 4.5h12v7H2zM4.5 7h.1M7 7h.1M9.5 7h.1M12 7h-.1M5 9.300h6",
  branch: "M5 4v8M5 6.500c0 3 6 1 6 4M5 4.200a1.2 1.2 0 1 0 0-2.4 1.2 1.2 0 0 0 0 2.400Zm0 10a1.2 1.2 0 1 0 0-2.4 1.2 1.2 0 0 0 0 2.400Zm6-2.400a1.2 1.2 0 1 0 0-2.4 1.2 1.2 0 0 0 0 2.400Z",
  copy: "M5.5 5.500h7v7h-7zM3.5 10.500v-7h7",
  key: "M10.5 9a3.5 3.5 0 1 0-3.3-2.300L2.5 11.400v2.100h2.600v-1.700h1.700v-1.600L8 9.1",
  fold: "M3 8h10M8 1.500v4M6 4l2 2 2-2M8 14.500v-4M6 12l2-2 2 2",
};

/**
 * An icon for the eye only: what it means has to stand beside it or in a label.
 * @param {keyof typeof LINES} name
 */
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: LINES[name] }),
  );
}

/** The mark of the house: one stick, handed on. */
export function mark() {
  return svg(
    "svg",
    { class: "mark", viewBox: "0 0 32 32", "aria-hidden": "true", focusable: "false" },
    svg("rect", { width: 32, height: 32, rx: 8 }),
    svg("path", { d: "M10 22 22 10" }),
  );
}
