/** What a person wants to know who waits: behind how many, for how long, and why. */

import { fill, h, say } from "./dom.js";
import { about, ago, between, duration, plural } from "./format.js";
import { icon } from "./icons.js";

/** @type {Record<string, string>} */
const HEADS = {
  starting: "About to begin",
  turn: "Waiting for its turn",
  user_limit: "Waiting for your other builds",
  workers_busy: "Waiting for a free worker",
  no_worker: "No worker takes builds",
  provider: "Waiting for the identity provider",
  broker: "The way to the workers is interrupted",
};
const BAD = ["no_worker", "provider", "broker"];

export class QueueNote {
  constructor() {
    this.head = h("h2", {});
    this.words = h("p", {});
    this.facts = h("dl", { class: "queue-facts" });
    // Only the reason is read out when it changes, not each second that goes by.
    const reason = h("div", { "aria-live": "polite" }, this.head, this.words);
    this.element = h("section", { class: "queue-note", "aria-label": "Why it waits", hidden: true }, icon("clock"), h("div", {}, reason, this.facts));
    /** @type {import("./build.js").Queue | null} what was said last; not every word of a build brings it */
    this.queue = null;
  }

  /** @param {import("./build.js").Build} build */
  update(build) {
    const queued = build.status === "queued";
    this.element.hidden = !queued;
    if (!queued) return;
    const queue = build.queue ?? this.queue;
    this.queue = queue;
    if (!queue) {
      say(this.head, "Queued");
      return;
    }
    this.element.classList.toggle("bad", BAD.includes(queue.why));
    say(this.head, HEADS[queue.why] ?? "Queued");
    say(this.words, queue.message);
    const place = queue.position === 1 ? "next" : `${queue.position.toLocaleString("en")}, about`;
    /** @type {([string, string] | null)[]} */
    const rows = [
      ["Place in the queue", place],
      ["Begins in", queue.estimate === null ? "nobody can tell" : queue.estimate === 0 ? "a moment" : about(queue.estimate)],
      queue.ahead_own ? ["Yours before it", plural(queue.ahead_own, "build")] : null,
      ["Waiting for", duration(between(build.created_at, null))],
      BAD.includes(queue.why) && queue.worker_seen_at ? ["Worker seen", ago(queue.worker_seen_at)] : null,
    ];
    fill(this.facts, rows.map((row) => row && h("div", {}, h("dt", {}, row[0]), h("dd", {}, row[1]))));
  }
}
