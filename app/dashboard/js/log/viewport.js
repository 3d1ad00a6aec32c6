/**
 * A window on very many rows of one height: only those in sight are elements.
 *
 * Browsers draw nothing taller than some ten million pixels, so above `TALLEST` the scroll bar stands
 * for more than its own pixels: small moves are taken as they are, large ones as a share of the whole.
 */

import { h } from "../dom.js";

export const ROW = 20;
const TALLEST = 6_000_000;
/** Rows drawn beyond both ends of what is in sight. */
const SPARE = 12;

export class Viewport {
  /** @param {{draw: (from: number, to: number) => void, moved: (byUser: boolean) => void}} told */
  constructor(told) {
    this.told = told;
    this.count = 0;
    /** The first pixel in sight, of all that there would be. */
    this.top = 0;
    this.last = 0;
    this.rows = h("div", { class: "rows", role: "rowgroup" });
    this.tall = h("div", { class: "tall", role: "presentation" }, this.rows);
    this.element = h("div", { class: "scroller", tabindex: "0", role: "table", "aria-label": "Build log" }, this.tall);
    this.element.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.resized = new ResizeObserver(() => this.arrange());
    this.resized.observe(this.element);
    this.frame = 0;
  }

  get height() {
    return this.element.clientHeight;
  }

  get all() {
    return this.count * ROW + 2 * ROW;
  }

  get lowest() {
    return Math.max(0, this.all - this.height);
  }

  /** How many pixels one of the scroll bar's stands for. */
  get scale() {
    if (this.all <= TALLEST) return 1;
    return this.lowest / Math.max(1, TALLEST - this.height);
  }

  get atEnd() {
    return this.top >= this.lowest - ROW;
  }

  /** @param {number} count of rows */
  setCount(count) {
    this.count = count;
    this.element.setAttribute("aria-rowcount", String(count));
    this.tall.style.height = `${Math.min(this.all, TALLEST)}px`;
    this.top = Math.min(this.top, this.lowest);
    this.ask();
  }

  arrange() {
    this.top = Math.min(this.top, this.lowest);
    this.ask();
  }

  /** Somebody, or we, moved the scroll bar. */
  scrolled() {
    const bar = this.element.scrollTop;
    const delta = bar - this.last;
    if (delta === 0) return;
    this.last = bar;
    const scale = this.scale;
    if (scale === 1) this.top = bar;
    else if (Math.abs(delta) < this.height * 2) this.top += delta;
    else this.top = bar * scale;
    if (bar <= 0) this.top = 0;
    if (bar >= this.element.scrollHeight - this.height - 1) this.top = this.lowest;
    this.top = Math.max(0, Math.min(this.lowest, this.top));
    this.told.moved(true);
    this.ask();
  }

  /** @param {number} top in pixels */
  moveTo(top) {
    this.top = Math.max(0, Math.min(this.lowest, top));
    this.element.scrollTop = this.top / this.scale;
    this.last = this.element.scrollTop;
    this.told.moved(false);
    this.ask();
  }

  /** Bring a row into the upper third. @param {number} row */
  show(row) {
    this.moveTo(row * ROW - this.height / 3);
  }

  /** Move no further than it takes to see a row. @param {number} row */
  reveal(row) {
    const [from, to] = [row * ROW - ROW, row * ROW + 3 * ROW - this.height];
    if (this.top > from) this.moveTo(from);
    else if (this.top < to) this.moveTo(to);
  }

  moveToEnd() {
    this.moveTo(this.lowest);
  }

  ask() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const from = Math.max(0, Math.floor(this.top / ROW) - SPARE);
      const to = Math.min(this.count, Math.ceil((this.top + this.height) / ROW) + SPARE);
      // The rows hang at the scroll bar's place, and are set off by what it cannot say.
      const place = this.last + (from * ROW - this.top);
      this.rows.style.transform = `translateY(${place}px)`;
      this.told.draw(from, to);
    });
  }

  close() {
    this.resized.disconnect();
    cancelAnimationFrame(this.frame);
  }
}
