/** A build in the list. */

import { fill, h } from "./dom.js";
import { ago, between, duration, exact } from "./format.js";
import { sign, wordOf } from "./status.js";
import { labelsOf, revision, titleOf } from "./title.js";

/** @param {import("./build.js").Build} build */
export function buildRow(build) {
  let now = build;
  let shown = "";
  const status = h("span", { class: "row-status" });
  const what = h("span", { class: "row-what" });
  const labels = h("span", { class: "row-labels" });
  const took = h("span", { class: "row-took" });
  const when = h("time", { class: "row-when" });
  const link = h("a", { class: "build-row", href: `#/builds/${build.id}` }, status, what, labels, took, when);
  const element = h("li", {}, link);

  /** What goes on changing by itself. */
  function tick() {
    const since = now.started_at;
    took.textContent = since ? duration(between(since, now.finished_at)) : "";
    when.textContent = ago(now.created_at);
  }

  /** @param {import("./build.js").Build} next */
  function update(next) {
    now = next;
    const sort = [next.status, next.cancel_requested_at, next.commit, next.finished_at].join();
    if (sort !== shown) {
      shown = sort;
      fill(status, sign(next.status), h("span", { class: "row-word" }, wordOf(next)));
      fill(what, h("strong", {}, titleOf(next.spec)), revision(next));
      fill(labels, labelsOf(next.spec.labels, { most: 3 }));
      when.setAttribute("datetime", next.created_at);
      when.setAttribute("title", exact(next.created_at));
    }
    tick();
  }

  update(build);
  return { element, update, tick };
}
