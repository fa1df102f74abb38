// @ts-check
// <swarm-matrix>: what each site did in each round of a training; 64 sites and 1,000 rounds stay smooth.
//
// Data: {"first": 0, "sites": ["SL-1", ..], "cells": ["Lccx..", ..]}: a text for each site, with a letter of `PARTS` for
// each round from `first` on; a space: the site was no member yet. The browser scrolls, the canvas shows what is seen.

import { Chart, colour, fit, make, place, say } from "./common.js";
import { PARTS, drawCell, sheetOf } from "./cells.js";

/** @typedef {{first: number, sites: string[], cells: string[]}} Data */

const HEAD = 22; // pixels of the line with the rounds' numbers
const SIZES = [3, 5, 8, 12, 16, 22]; // pixels a round
const SHAPES_FROM = 8; // pixels a round, from which on each cell has the shape of its part
const USUAL = 3; // index in SIZES

class SwarmMatrix extends Chart {
  /** @type {Data} */
  data = { first: 0, sites: [], cells: [] };
  rounds = 0;
  size = USUAL;
  whole = false;
  margin = 0;
  font = "";
  sheetTheme = "";
  /** @type {{row: number, column: number} | undefined} the cell that is pointed at */
  cell;
  /** @type {HTMLCanvasElement | undefined} all cells, a pixel for a round */
  sheet;
  /** @type {{letter: string, canvas: HTMLCanvasElement}[]} */
  swatches = [];
  counted = make("span", { class: "dim" });
  bar = make("div", { class: "chart-bar" });
  canvas = make("canvas", { tabindex: "0", role: "slider", "aria-valuemin": "0", "aria-valuenow": "0" });
  extent = make("div", { class: "extent" }, this.canvas);
  view = make("div", { class: "field-view" }, this.extent);
  tip = make("div", { class: "tip", hidden: "" });
  plot = make("div", { class: "plot" }, this.view, this.tip);
  legend = make("div", { class: "legend" });

  build() {
    this.prepend(this.bar, this.plot, this.legend);
    this.buildControls();
    this.listen();
  }

  buildControls() {
    const button = (/** @type {string} */ key, /** @type {string} */ sign, /** @type {() => void} */ act) => {
      const made = make("button", { type: "button", "aria-label": say(key), title: say(key) }, sign);
      made.addEventListener("click", act);
      return made;
    };
    const group = make("div", { class: "choices", role: "group", "aria-label": say("zoom") });
    group.append(
      button("smaller", "−", () => this.resize(this.size - 1)),
      button("larger", "+", () => this.resize(this.size + 1)),
      button("all-rounds", say("all-rounds"), () => this.showAll()),
    );
    this.bar.append(this.counted, group);
  }

  /** @param {Data} data */
  show(data) {
    const atEnd = this.view.scrollLeft + this.view.clientWidth >= this.view.scrollWidth - 2;
    this.data = data;
    this.rounds = Math.max(0, ...data.cells.map((each) => each.length));
    this.sheet = undefined;
    const sizes = { sites: data.sites.length, rounds: this.rounds };
    const keys = say("matrix-keys", sizes);
    this.counted.textContent = keys.split(";")[0];
    this.canvas.setAttribute("aria-label", `${this.getAttribute("label") ?? ""}: ${keys}`);
    this.canvas.setAttribute("aria-valuemin", String(data.first));
    this.canvas.setAttribute("aria-valuemax", String(data.first + Math.max(0, this.rounds - 1)));
    this.buildLegend();
    this.arrange();
    if (atEnd) this.view.scrollLeft = this.view.scrollWidth;
    this.soon();
  }

  buildLegend() {
    const there = new Set(this.data.cells.join(""));
    const entries = [...PARTS.keys()].filter((letter) => there.has(letter));
    this.swatches = entries.map((letter) => ({ letter, canvas: make("canvas", { "aria-hidden": "true" }) }));
    const named = this.swatches.map(({ letter, canvas }) => make("span", {}, canvas, say(`part-${PARTS.get(letter)}`)));
    this.legend.replaceChildren(...named);
  }

  /** Pixels a round. */
  get step() {
    if (!this.whole) return SIZES[this.size];
    return Math.max(0.5, (this.view.clientWidth - this.margin - 4) / Math.max(1, this.rounds));
  }

  /** Pixels a site. */
  get row() {
    return Math.max(15, Math.min(this.step, 22));
  }

  /** Gives the scrolled area its size. */
  arrange() {
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.font = this.font = `12px ${getComputedStyle(this).fontFamily}`;
    const widest = Math.max(40, ...this.data.sites.map((site) => context.measureText(site).width));
    this.margin = Math.ceil(Math.min(widest + 16, Math.max(90, this.clientWidth * 0.28)));
    this.extent.style.width = `${Math.max(this.view.clientWidth, this.margin + this.rounds * this.step)}px`;
    this.extent.style.height = `${HEAD + this.data.sites.length * this.row + 2}px`;
  }

  draw() {
    if (!this.clientWidth) return;
    this.arrange();
    const { clientWidth: width, clientHeight: height, scrollLeft, scrollTop } = this.view;
    const [step, row, margin] = [this.step, this.row, this.margin];
    const context = fit(this.canvas, width, Math.min(height, this.extent.clientHeight));
    context.font = this.font;
    const rows = [
      Math.floor(scrollTop / row),
      Math.min(this.data.sites.length, Math.ceil((scrollTop + height - HEAD) / row)),
    ];
    const columns = [
      Math.floor(scrollLeft / step),
      Math.min(this.rounds, Math.ceil((scrollLeft + width - margin) / step)),
    ];
    context.save();
    context.beginPath();
    context.rect(margin, HEAD, width - margin, height - HEAD);
    context.clip();
    context.translate(margin - scrollLeft, HEAD - scrollTop);
    if (step >= SHAPES_FROM) this.drawShapes(context, rows, columns);
    else this.drawSheet(context);
    this.drawCursor(context);
    context.restore();
    this.drawHead(context, columns, width);
    this.drawNames(context, rows, height);
    for (const { letter, canvas } of this.swatches) drawCell(fit(canvas, 14, 14), letter, 0, 0, 14, 14, colour);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number[]} rows
   * @param {number[]} columns
   */
  drawShapes(context, rows, columns) {
    const [step, row] = [this.step, this.row];
    for (let site = rows[0]; site < rows[1]; site++) {
      const line = this.data.cells[site];
      for (let column = columns[0]; column < columns[1]; column++) {
        const letter = line[column];
        let next = column + 1;
        if (letter === "c") while (next < columns[1] && line[next] === "c") next++; // most are like this: one shape
        if (letter) drawCell(context, letter, column * step, site * row, (next - column) * step, row, colour);
        column = next - 1;
      }
    }
    context.fillStyle = colour("surface"); // parts what was drawn as one
    for (let column = columns[0] + 1; column < columns[1]; column++) {
      context.fillRect(column * step - 0.5, rows[0] * row, 1, (rows[1] - rows[0]) * row);
    }
  }

  /** @param {CanvasRenderingContext2D} context draws cells too small for shapes, at once */
  drawSheet(context) {
    const theme = colour("ink");
    if (!this.sheet || this.sheetTheme !== theme) {
      this.sheet = sheetOf(this.data.cells, this.rounds, colour);
      this.sheetTheme = theme;
    }
    context.imageSmoothingEnabled = this.step < 1;
    context.drawImage(this.sheet, 0, 0, this.rounds * this.step, this.data.sites.length * this.row);
  }

  /** @param {CanvasRenderingContext2D} context */
  drawCursor(context) {
    if (!this.cell) return;
    const { row, column } = this.cell;
    context.strokeStyle = colour("ink");
    context.lineWidth = 2;
    context.strokeRect(column * this.step, row * this.row, Math.max(this.step, 3), this.row);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number[]} columns
   * @param {number} width
   */
  drawHead(context, columns, width) {
    const [margin, left] = [this.margin, this.view.scrollLeft];
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].find((each) => each * this.step >= 46) ?? 5000;
    context.fillStyle = colour("raised");
    context.fillRect(0, 0, width, HEAD);
    context.fillStyle = colour("dim");
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (let column = columns[0]; column < columns[1]; column++) {
      const round = this.data.first + column;
      const at = margin - left + (column + 0.5) * this.step;
      if (round % every === 0 && at > margin + 8) context.fillText(String(round), at, HEAD / 2);
    }
    context.textAlign = "left";
    context.fillStyle = colour("raised");
    context.fillRect(0, 0, margin, HEAD);
    context.fillStyle = colour("dim");
    context.fillText(say("round"), 8, HEAD / 2);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number[]} rows
   * @param {number} height
   */
  drawNames(context, rows, height) {
    const margin = this.margin;
    context.save();
    context.beginPath();
    context.rect(0, HEAD, margin, height - HEAD);
    context.clip();
    context.fillStyle = colour("surface");
    context.fillRect(0, HEAD, margin, height);
    for (let row = rows[0]; row < rows[1]; row++) {
      context.fillStyle = this.cell?.row === row ? colour("accent") : colour("ink");
      const middle = HEAD - this.view.scrollTop + (row + 0.5) * this.row;
      context.fillText(shortened(context, this.data.sites[row], margin - 14), 8, middle);
    }
    context.restore();
    context.fillStyle = colour("line");
    context.fillRect(margin - 1, 0, 1, height);
  }

  /** @param {number} size index in SIZES */
  resize(size) {
    const middle = (this.view.scrollLeft + this.view.clientWidth / 2) / this.step;
    if (this.whole) size = SIZES.findIndex((each) => each > this.step);
    this.whole = false;
    this.size = Math.max(0, Math.min(size === -1 ? SIZES.length - 1 : size, SIZES.length - 1));
    this.arrange();
    this.view.scrollLeft = middle * this.step - this.view.clientWidth / 2;
    this.soon();
  }

  showAll() {
    this.whole = true;
    this.arrange();
    this.soon();
  }

  listen() {
    this.view.addEventListener("scroll", () => this.soon(), { passive: true });
    this.canvas.addEventListener("pointermove", (event) => this.follow(event));
    this.canvas.addEventListener(
      "pointerleave",
      () => document.activeElement !== this.canvas && this.select(undefined),
    );
    this.canvas.addEventListener("blur", () => this.select(undefined));
    this.canvas.addEventListener("focus", () => {
      if (this.canvas.matches(":focus-visible")) this.select(this.cell ?? { row: 0, column: this.rounds - 1 }, true);
    });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.resize(this.size + (event.deltaY < 0 ? 1 : -1));
    });
  }

  /** @param {PointerEvent} event */
  follow(event) {
    const column = Math.floor((event.offsetX - this.margin + this.view.scrollLeft) / this.step);
    const row = Math.floor((event.offsetY - HEAD + this.view.scrollTop) / this.row);
    const inside = event.offsetX >= this.margin && event.offsetY >= HEAD;
    this.select(inside && this.data.cells[row]?.[column] ? { row, column } : undefined);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { row, column } = this.cell ?? { row: 0, column: this.rounds - 1 };
    const last = this.rounds - 1;
    /** @type {Record<string, [number, number]>} */
    const places = {
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      PageUp: [row, column - 10],
      PageDown: [row, column + 10],
      Home: [row, 0],
      End: [row, last],
    };
    if (event.key in places) {
      const [to, at] = places[event.key];
      this.select({ row: clamp(to, this.data.sites.length - 1), column: clamp(at, last) }, true);
    } else if (event.key === "+") this.resize(this.size + 1);
    else if (event.key === "-") this.resize(this.size - 1);
    else return;
    event.preventDefault();
  }

  /**
   * @param {{row: number, column: number} | undefined} cell
   * @param {boolean} [follow] scrolls to it
   */
  select(cell, follow = false) {
    if (cell && (cell.row < 0 || cell.column < 0)) return;
    if (cell?.row === this.cell?.row && cell?.column === this.cell?.column) return;
    this.cell = cell;
    this.tip.hidden = true;
    if (cell) {
      if (follow) this.reveal(cell);
      this.tell(cell);
    }
    this.soon();
  }

  /** @param {{row: number, column: number}} cell */
  reveal({ row, column }) {
    const [view, margin] = [this.view, this.margin];
    const [x, y] = [column * this.step, row * this.row];
    if (x < view.scrollLeft) view.scrollLeft = x;
    if (x + this.step > view.scrollLeft + view.clientWidth - margin)
      view.scrollLeft = x + this.step - view.clientWidth + margin;
    if (y < view.scrollTop) view.scrollTop = y;
    if (y + this.row > view.scrollTop + view.clientHeight - HEAD)
      view.scrollTop = y + this.row - view.clientHeight + HEAD;
  }

  /** @param {{row: number, column: number}} cell */
  tell({ row, column }) {
    const [site, round] = [this.data.sites[row], this.data.first + column];
    const part = say(`part-${PARTS.get(this.data.cells[row][column]) ?? "absent"}`);
    this.tip.replaceChildren(make("strong", {}, site), `${say("at-round", { at: round })}: ${part}`);
    const x = this.margin + (column + 1) * this.step - this.view.scrollLeft;
    const y = HEAD + (row + 0.5) * this.row - this.view.scrollTop;
    place(this.tip, x, y, this.plot.clientWidth, this.plot.clientHeight);
    this.canvas.setAttribute("aria-valuenow", String(round));
    this.canvas.setAttribute("aria-valuetext", say("cell", { site, round, part }));
  }
}

/**
 * @param {number} value
 * @param {number} last
 */
function clamp(value, last) {
  return Math.max(0, Math.min(value, last));
}

/**
 * A text that is no wider than this.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 */
function shortened(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let length = text.length;
  while (length > 1 && context.measureText(`${text.slice(0, length)}…`).width > width) length--;
  return `${text.slice(0, length)}…`;
}

customElements.define("swarm-matrix", SwarmMatrix);
