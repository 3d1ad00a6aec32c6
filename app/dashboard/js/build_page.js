/** One build: how it stands, its steps, and its log, as they come. */

import { announce } from "./announce.js";
import { Problem } from "./api.js";
import { BuildHead } from "./build_head.js";
import { confirmed } from "./dialog.js";
import { fill, h, heading } from "./dom.js";
import { Facts } from "./facts.js";
import { follow } from "./live.js";
import { saveLog } from "./log/download.js";
import { LogFeed } from "./log/feed.js";
import { LogPane } from "./log/pane.js";
import { secret } from "./pkce.js";
import { QueueNote } from "./queue_note.js";
import { toLines } from "./router.js";
import { backoff, pause } from "./stream.js";
import { dressTab, isFinal, wordOf } from "./status.js";
import { Timeline } from "./timeline.js";
import { titleOf } from "./title.js";

/** Milliseconds between two looks at the queue: a place in it changes without the build changing. */
const QUEUE_LOOK = 2000;

export class BuildPage {
  /** @param {import("./main.js").Parts} parts @param {{id: string, lines: [number, number] | null}} route */
  constructor({ api, shortcuts }, { id, lines }) {
    this.api = api;
    this.id = id;
    this.shortcuts = shortcuts;
    this.stop = new AbortController();
    /** @type {import("./build.js").Build | null} */
    this.build = null;
    this.retryKey = secret();
    this.head = new BuildHead({ cancel: () => this.cancel(), retry: () => this.retry() }, id);
    this.queue = new QueueNote();
    this.timeline = new Timeline((index) => this.pane.toStep(index));
    this.facts = new Facts();
    this.pane = new LogPane({
      id,
      chosen: lines,
      download: () => saveLog(api, id),
      choose: (from, to) => history.replaceState(null, "", toLines(id, from, to)),
    });
    this.feed = new LogFeed(api, id, this.pane.model, {
      ended: () => this.pane.finish(),
      state: (words) => this.pane.troubled(words),
      final: () => Boolean(this.build && isFinal(this.build)),
    });
    this.body = h("div", { class: "build-body", hidden: true }, h("div", { class: "side" }, this.queue.element, this.timeline.element, this.facts.element), this.pane.element);
    this.trouble = h("div", { class: "lone", hidden: true, role: "alert" });
    this.element = h("main", { id: "main", class: "page build", tabindex: "-1" }, this.head.element, this.trouble, this.body);
    this.timer = setInterval(() => this.tick(), 500);
    dressTab("Build");
    this.keys();
    this.run();
  }

  keys() {
    const pane = this.pane;
    this.shortcuts.set("This build", [
      { keys: "/", words: "Search the log", act: () => pane.search.input.select() },
      { keys: "e", words: "Jump to the first error", act: () => pane.toFirstError() },
      { keys: "f", words: "Follow the end of the log", act: () => pane.follow(!pane.following) },
      { keys: "z", words: "Fold or unfold everything", act: () => pane.foldAll() },
      { keys: "]", words: "Next step", act: () => pane.toNextStep(1) },
      { keys: "[", words: "Previous step", act: () => pane.toNextStep(-1) },
      { keys: "j", words: "Choose the next line", act: () => pane.step(1, false) },
      { keys: "k", words: "Choose the previous line", act: () => pane.step(-1, false) },
      { keys: "J", words: "… and the next one, too", act: () => pane.step(1, true) },
      { keys: "K", words: "… and the previous one, too", act: () => pane.step(-1, true) },
      { keys: "o", words: "Fold or unfold what it stands in", act: () => pane.foldHere() },
      { keys: "l", words: "Focus the log", act: () => pane.view.element.focus() },
      { keys: "d", words: "Download the raw log", act: () => saveLog(this.api, this.id) },
      { keys: "x", words: "Cancel the build", act: () => this.build && !isFinal(this.build) && this.cancel() },
      { keys: "r", words: "Retry the build", act: () => this.build && isFinal(this.build) && this.retry() },
    ]);
  }

  async run() {
    const { signal } = this.stop;
    for (let failures = 0; !this.build && !signal.aborted; failures += 1) {
      try {
        await this.look();
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem && error.status === 404) return this.missing();
        this.told(/** @type {Error} */ (error).message);
        await pause(backoff(failures), signal).catch(() => {});
      }
    }
    if (signal.aborted) return;
    this.told("");
    this.feed.run();
    this.watchQueue();
    follow(this.api, `builds/${this.id}/events?log=0`, {
      signal,
      poll: () => this.look(),
      build: (build) => this.take(build),
      done: () => Boolean(this.build && isFinal(this.build)),
    });
  }

  async look() {
    this.take(await this.api.build(this.id, this.stop.signal));
  }

  /** The build as it is now. @param {import("./build.js").Build} build */
  take(build) {
    const before = this.build;
    if (before && isFinal(before) && !isFinal(build)) return; // news that was overtaken
    this.build = build;
    this.head.update(build);
    this.queue.update(build);
    this.timeline.update(build);
    this.facts.update(build);
    this.pane.update(build);
    this.feed.expect(build.log.length);
    this.body.hidden = false;
    if (before?.status === build.status) return;
    dressTab(titleOf(build.spec), build.status);
    if (before) announce(`Build ${wordOf(build).toLowerCase()}.`);
  }

  /** While it waits, its place and the reason. */
  async watchQueue() {
    const { signal } = this.stop;
    while (!signal.aborted && this.build?.status === "queued") {
      await pause(QUEUE_LOOK, signal).catch(() => {});
      if (this.build?.status === "queued" && !document.hidden) await this.look().catch(() => {});
    }
  }

  /** @param {string} words */
  told(words) {
    this.trouble.hidden = !words;
    fill(this.trouble, words ? h("p", {}, words) : null);
  }

  missing() {
    dressTab("No such build");
    this.head.element.remove();
    this.trouble.hidden = false;
    fill(this.trouble, heading("No such build"), h("p", {}, "It never was, it is somebody else's, or its time is over."), h("a", { class: "button", href: "#/" }, "All builds"));
    if (document.activeElement === document.body) this.trouble.querySelector("h1")?.focus();
  }

  tick() {
    this.head.tick();
    if (this.build && !isFinal(this.build)) this.timeline.tick();
  }

  async cancel() {
    const words = this.build?.status === "queued" ? "It has not begun; it ends at once." : "Its processes are told to end, then killed. What it has printed stays.";
    if (!(await confirmed({ title: "Cancel this build?", words, yes: "Cancel the build", no: "Let it run", bad: true }))) return;
    await this.act(async () => this.take(await this.api.cancel(this.id)));
  }

  async retry() {
    await this.act(async () => {
      const build = await this.api.retry(this.id, this.retryKey);
      announce("The build is submitted again.", { seen: true });
      location.hash = `#/builds/${build.id}`;
    });
  }

  /** @param {() => Promise<void>} act */
  async act(act) {
    try {
      await act();
    } catch (error) {
      announce(/** @type {Error} */ (error).message, { seen: true, bad: true });
      await this.look().catch(() => {});
    }
  }

  /** The address names other lines of the same build. @param {[number, number] | null} lines */
  setLines(lines) {
    this.pane.setChosen(lines);
  }

  close() {
    clearInterval(this.timer);
    this.stop.abort();
    this.feed.close();
    this.pane.close();
    this.shortcuts.set("This build", []);
  }
}
