/** The head of a build's page: what it is, how it stands, and what can be done with it. */

import { fill, h, heading, say } from "./dom.js";
import { ago, between, duration, exact } from "./format.js";
import { icon } from "./icons.js";
import { REASONS, badge, isFinal } from "./status.js";
import { labelsOf, revision, titleOf } from "./title.js";

export class BuildHead {
  /** @param {{cancel: () => void, retry: () => void}} acts @param {string} id */
  constructor(acts, id) {
    this.title = heading("Build");
    this.badge = h("span", { class: "badge-place" });
    this.meta = h("p", { class: "meta" });
    this.took = h("span", { class: "head-took" });
    this.verdict = h("p", { class: "verdict", hidden: true });
    this.cancel = h("button", { class: "button danger-quiet", type: "button", hidden: true, title: "Cancel (x)", onclick: acts.cancel }, icon("cross"), "Cancel");
    this.again = h("button", { class: "button", type: "button", hidden: true, title: "Retry (r)", onclick: acts.retry }, icon("again"), "Retry");
    this.edit = h("a", { class: "button", hidden: true, href: `#/new?from=${id}` }, "Edit and run");
    this.element = h(
      "header",
      { class: "build-head" },
      h("a", { class: "crumb", href: "#/" }, "Builds"),
      h("div", { class: "head-line" }, this.badge, this.title, h("div", { class: "head-actions" }, this.cancel, this.edit, this.again)),
      this.meta,
      this.verdict,
    );
    /** @type {import("./build.js").Build | null} */
    this.build = null;
    this.shown = "";
  }

  /** @param {import("./build.js").Build} build */
  update(build) {
    this.build = build;
    const sort = [build.status, build.commit, build.cancel_requested_at, build.message, build.reason].join("|");
    if (sort !== this.shown) {
      this.shown = sort;
      fill(this.badge, badge(build));
      say(this.title, titleOf(build.spec));
      this.when = h("time", { datetime: build.created_at, title: exact(build.created_at) });
      fill(this.meta, revision(build), this.took, this.when, build.attempts.length ? h("span", {}, `attempt ${build.attempt}`) : null, labelsOf(build.spec.labels, { linked: true, most: 6 }));
      const final = isFinal(build);
      this.cancel.hidden = final;
      /** @type {HTMLButtonElement} */ (this.cancel).disabled = Boolean(build.cancel_requested_at);
      this.again.hidden = this.edit.hidden = !final;
      const words = verdictOf(build);
      this.verdict.hidden = !words;
      this.verdict.className = `verdict ${build.status}`;
      say(this.verdict, words);
    }
    this.tick();
  }

  tick() {
    const build = this.build;
    if (!build || !this.when) return;
    say(this.took, build.started_at ? `${isFinal(build) ? "took" : "runs for"} ${duration(between(build.started_at, build.finished_at))}` : "");
    say(this.when, ago(build.created_at));
  }
}

/** Why it ended as it did, where that is not plain. @param {import("./build.js").Build} build */
function verdictOf(build) {
  if (!isFinal(build)) return build.cancel_requested_at ? "Its worker was asked to end it." : "";
  if (build.status === "succeeded") return build.message ?? "";
  const reason = REASONS[build.reason ?? ""] ?? "";
  const message = build.message ? build.message.charAt(0).toUpperCase() + build.message.slice(1) : "";
  if (build.status === "cancelled") return message || reason;
  return message ? (/[.!?]$/.test(message) ? message : `${message}.`) : reason;
}
