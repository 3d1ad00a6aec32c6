/** What a build is called, since builds have no names: after its source, or after its steps. */

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { listAddress } from "./router.js";

/** @param {import("./build.js").Spec} spec */
export function titleOf(spec) {
  if (!spec.source) {
    const names = spec.steps.map((step) => step.name);
    return names.length > 3 ? `${names.slice(0, 3).join(", ")} +${names.length - 3}` : names.join(", ");
  }
  const path = spec.source.git.replace(/^[a-z+.-]+:\/\/[^/]*/, "").replace(/^[^/]*:/, "").replace(/\.git\/?$|\/$/, "");
  return path.split("/").filter(Boolean).slice(-2).join("/") || spec.source.git;
}

/** A git URL without what somebody may have put before the `@` of its host. @param {string} url */
export function withoutCredentials(url) {
  return url.replace(/^([a-z+.-]+:\/\/)[^/@]*@/, "$1");
}

/** The ref and the commit, as far as they are known. @param {import("./build.js").Build} build */
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

/**
 * @param {Record<string, string>} labels
 * @param {{linked?: boolean, most?: number}} [how] `linked`: to the builds that have them; `most`: how many
 */
export function labelsOf(labels, { linked = false, most = Infinity } = {}) {
  const all = Object.entries(labels);
  const shown = all.length > most ? all.slice(0, most - 1) : all;
  const signs = shown.map(([name, value]) => {
    const words = value ? `${name}: ${value}` : name;
    if (!linked) return h("span", { class: "label", title: words }, words);
    return h("a", { class: "label", title: words, href: listAddress(null, [value ? `${name}:${value}` : name]) }, words);
  });
  const more = all.length - shown.length;
  return more ? [...signs, h("span", { class: "label more-labels" }, `+${more}`)] : signs;
}

/** Where the web shows a commit of a repository; null where nobody knows. @param {string} git @param {string} commit */
export function commitAddress(git, commit) {
  const address = webAddress(git);
  if (!address) return null;
  const { host } = new URL(address);
  const way = host === "gitlab.com" ? "/-/commit/" : host === "bitbucket.org" ? "/commits/" : "/commit/";
  return `${address}${way}${commit}`;
}

const HOSTS = ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "git.sr.ht"];

/** A repository's own page, at the hosts that are known to have one. @param {string} git its URL */
export function webAddress(git) {
  if (!git.startsWith("https://") || !URL.canParse(git)) return null;
  const { host, pathname } = new URL(git);
  const path = pathname.replace(/\/+$/, "").replace(/\.git$/, "");
  return HOSTS.includes(host) && path.split("/").length > 2 ? `https://${host}${path}` : null;
}
