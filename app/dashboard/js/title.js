/** What a build is called, since builds have no names: after its source, or after its steps. */

import { h } from "./dom.js";
import { icon } from "./icons.js";

/** @param {any} spec */
export function titleOf(spec) {
  if (!spec.source) {
    const names = spec.steps.map((/** @type {any} */ step) => step.name);
    return names.length > 3 ? `${names.slice(0, 3).join(", ")} +${names.length - 3}` : names.join(", ");
  }
  const path = spec.source.git.replace(/^[a-z+.-]+:\/\/[^/]*/, "").replace(/^[^/]*:/, "").replace(/\.git\/?$|\/$/, "");
  return path.split("/").filter(Boolean).slice(-2).join("/") || spec.source.git;
}

/** A git URL without what somebody may have put before the `@` of its host. @param {string} url */
export function withoutCredentials(url) {
  return url.replace(/^([a-z+.-]+:\/\/)[^/@]*@/, "$1");
}

/** The ref and the commit, as far as they are known. @param {any} build */
export function revision(build) {
  const source = build.spec.source;
  if (!source) return null;
  const commit = build.commit ?? source.sha;
  return h(
    "span",
    { class: "revision" },
    icon("branch"),
    source.ref ?? (source.sha ? "" : "default branch"),
    commit ? h("code", { title: commit }, commit.slice(0, 8)) : null,
  );
}

/** @param {Record<string, string>} labels */
export function labelsOf(labels) {
  return Object.entries(labels).map(([name, value]) => h("span", { class: "label" }, value ? `${name}: ${value}` : name));
}
