/** What else there is to know of a build: its token, its attempts, its source, its spec. */

import { announce } from "./announce.js";
import { fill, h } from "./dom.js";
import { ago, exact, now } from "./format.js";
import { icon } from "./icons.js";
import { REASONS } from "./status.js";
import { tidy } from "./spec.js";
import { commitAddress, labelsOf, webAddress, withoutCredentials } from "./title.js";

/** @param {string} name @param {...any} value */
function fact(name, ...value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}

/** A text that is copied by a click. @param {string} text @param {string} [shown] @param {string} [what] */
function copied(text, shown = text, what = "it") {
  return h(
    "button",
    {
      class: "copy", type: "button", title: `Copy ${what}`, "aria-label": `Copy ${what}: ${shown}`,
      onclick: () => navigator.clipboard?.writeText(text).then(() => announce("Copied.", { seen: true })),
    },
    h("code", {}, shown),
    icon("copy"),
  );
}

/** @param {string} at */
function time(at) {
  return h("time", { datetime: at, title: ago(at) }, exact(at));
}

/** Leads away; nobody there is told from where. */
const OUT = { target: "_blank", rel: "noopener noreferrer" };

/** @param {string} git */
function repository(git) {
  const address = webAddress(git);
  const words = withoutCredentials(git);
  return address ? h("a", { ...OUT, class: "breaks", href: address }, words) : h("span", { class: "breaks" }, words);
}

/** @param {string} git @param {string} commit */
function onTheWeb(git, commit) {
  const address = commitAddress(git, commit);
  return address ? h("a", { ...OUT, class: "beside", href: address }, `at ${new URL(address).host}`) : null;
}

export class Facts {
  constructor() {
    this.about = h("dl", { class: "facts" });
    this.attempts = h("section", { class: "card", "aria-label": "Attempts", hidden: true });
    this.token = h("section", { class: "card", "aria-label": "Build token", hidden: true });
    this.spec = h("pre", { tabindex: "0", "aria-label": "Spec" });
    this.element = h(
      "div",
      { class: "facts-column" },
      this.attempts,
      h("section", { class: "card", "aria-label": "About this build" }, h("h2", {}, "About"), this.about),
      this.token,
      h("details", { class: "card" }, h("summary", {}, h("h2", {}, "Spec")), this.spec),
    );
    this.shown = "";
  }

  /** @param {import("./build.js").Build} build */
  update(build) {
    const { log: _, steps: __, queue: ___, ...rest } = build;
    const sort = JSON.stringify(rest);
    if (sort === this.shown) return;
    this.shown = sort;
    const { source } = build.spec;
    const commit = build.commit ?? source?.sha;
    fill(
      this.about,
      fact("Build", copied(build.id, build.id, "the build's id")),
      fact("Source", source ? repository(source.git) : "none: an empty folder"),
      source?.ref ? fact("Ref", source.ref) : null,
      source && commit ? fact("Commit", copied(commit, commit.slice(0, 12), "the commit"), onTheWeb(source.git, commit)) : null,
      Object.keys(build.spec.labels).length ? fact("Labels", h("span", { class: "labels" }, labelsOf(build.spec.labels, { linked: true }))) : null,
      fact("Submitted", time(build.created_at)),
      build.started_at ? fact("Began", time(build.started_at)) : null,
      build.finished_at ? fact("Ended", time(build.finished_at)) : null,
      build.worker ? fact("Worker", build.worker) : null,
      build.retry_of ? fact("Retry of", h("a", { href: `#/builds/${build.retry_of}` }, h("code", {}, `…${build.retry_of.slice(-8)}`))) : null,
      build.cancel_requested_at ? fact("Cancelled", time(build.cancel_requested_at)) : null,
    );
    this.showAttempts(build);
    this.showToken(build.token);
    this.spec.textContent = JSON.stringify(tidy(build.spec), null, 2);
  }

  /** @param {import("./build.js").Build} build */
  showAttempts(build) {
    this.attempts.hidden = build.attempts.length === 0;
    const now = build.status === "queued" ? "waits" : build.status === "running" ? "runs" : "was the last";
    fill(
      this.attempts,
      h("h2", {}, "Attempts"),
      h(
        "ol",
        { class: "attempts" },
        build.attempts.map((/** @type {import("./build.js").Attempt} */ lost) =>
          h(
            "li",
            {},
            h("strong", {}, `Attempt ${lost.attempt}`),
            h("span", {}, REASONS[lost.reason] ?? lost.reason),
            h("small", {}, `${lost.worker ?? ""} ${exact(lost.ended_at)}`.trim()),
          ),
        ),
        h("li", {}, h("strong", {}, `Attempt ${Math.max(build.attempt, build.attempts.length + 1)}`), h("span", {}, `This one ${now}.`)),
      ),
    );
  }

  /** @param {import("./build.js").TokenFacts | null} token what the build's worker may do, and until when */
  showToken(token) {
    this.token.hidden = !token;
    if (!token) return;
    const over = Date.parse(token.expires_at) < now();
    fill(
      this.token,
      h("h2", {}, icon("key"), "Build token"),
      h("p", { class: "quiet" }, "All that its worker could do, and only with this build."),
      h(
        "dl",
        { class: "facts" },
        fact("Scope", h("code", {}, token.scope)),
        fact(over ? "Expired" : "Until", time(token.expires_at)),
        fact("For", h("span", { class: "breaks" }, token.user_id)),
        fact("Audience", h("span", { class: "breaks" }, token.audience)),
        fact("Issuer", h("span", { class: "breaks" }, token.issuer)),
        fact("Minted by", h("span", { class: "breaks" }, token.client_id)),
      ),
    );
  }
}
