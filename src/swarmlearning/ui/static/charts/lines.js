// @ts-check
// <swarm-lines>: curves of a training, of each site and of the swarm, over rounds, epochs or time.
//
// Data: {"series": [{"name": "SL-1", "kind": "site", "round": [0, 1], "epochs": [..], "time": [ms since 1970, ..],
// "loss": [0.7, null], "metric": [..]}, ..], "marks": [{"round": 12, "text": "best"}], "labels": {"metric": "AUC"}}.
// An axis that all series share may stand beside `series` once; it grows. `kind` is "swarm" for the curve of them all,
// which is drawn above the others; any further list of numbers is a measure, too. null: nothing was measured. An axis
// `elapsed` has milliseconds since the beginning of each.
// Attributes: `label`, `src`, `measure` (only that one is shown), `axis` (the first one), `height` (pixels).
//
// A drag of the mouse, or +, shows a part of the axis; a double click, or Escape, shows all of it again.

import { Chart, choices, fit, make, number, place, say } from "./common.js";
import * as curves from "./curves.js";

/** @typedef {import("./curves.js").Line} Line */
/** @typedef {import("./curves.js").Series} Series */

const MOST_IN_TIP = 9;

class SwarmLines extends Chart {
  /** @type {import("./curves.js").Data} */
  data = { series: [] };
  axis = "";
  measure = "";
  parts = "";
  /** @type {Set<string>} names of the lines that are not shown */
  off = new Set();
  /** @type {Line[]} */
  lines = [];
  size = { width: 0, height: 0 };
  /** @type {import("./curves.js").Scale | undefined} */
  scale;
  /** @type {string | undefined} the name of the line that is pointed at */
  pointed;
  /** @type {number | undefined} the place of the cursor in the longest line */
  at;
  /** @type {[number, number] | undefined} what part of the axis is shown */
  zoom;
  /** @type {[number, number] | undefined} pixels between which the mouse is being dragged */
  drag;
  bar = make("div", { class: "chart-bar" });
  base = make("canvas", { "aria-hidden": "true" });
  over = make("canvas", { class: "over", tabindex: "0", role: "slider", "aria-valuemin": "0", "aria-valuenow": "0" });
  tip = make("div", { class: "tip", hidden: "" });
  plot = make("div", { class: "plot" }, this.base, this.over, this.tip);
  legend = make("div", { class: "legend", role: "group" });

  build() {
    this.axis = this.getAttribute("axis") ?? "";
    this.over.setAttribute("aria-label", `${this.getAttribute("label") ?? ""}: ${say("keys")}`);
    this.legend.setAttribute("aria-label", say("legend"));
    this.prepend(this.bar, this.plot, this.legend);
    this.listen();
  }

  /** @param {import("./curves.js").Data} data */
  show(data) {
    this.data = data;
    const fixed = this.getAttribute("measure");
    const measures = fixed ? [fixed] : curves.measuresOf(data);
    const axes = curves.AXES.filter((axis) => data.series.some((each) => curves.column(data, each, axis)));
    if (!measures.includes(this.measure)) this.measure = measures[0] ?? "";
    if (!axes.includes(this.axis)) this.axis = axes[0] ?? "round";
    const parts = JSON.stringify([measures, axes, data.series.map((each) => each.name)]);
    if (parts !== this.parts) this.buildControls(measures, axes);
    this.parts = parts;
    this.soon();
  }

  /**
   * @param {string[]} measures
   * @param {string[]} axes
   */
  buildControls(measures, axes) {
    const named = (/** @type {string} */ key) => /** @type {[string, string]} */ ([key, this.label(key)]);
    const groups = [];
    if (measures.length > 1) {
      groups.push(choices(say("measure"), measures.map(named), this.measure, (key) => this.choose(key, this.axis)));
    }
    if (axes.length > 1) {
      groups.push(choices(say("axis"), axes.map(named), this.axis, (key) => this.choose(this.measure, key)));
    }
    this.bar.replaceChildren(...groups);
    const all = this.data.series;
    const many = all.length > curves.FEW + 1 ? [this.several(true, "all-lines"), this.several(false, "no-lines")] : [];
    this.legend.replaceChildren(...(all.length > 1 ? [...many, ...all.map((each) => this.entry(each))] : []));
  }

  /** @param {string} key of a measure or an axis */
  label(key) {
    const known = say(key);
    return this.data.labels?.[key] ?? (known === key ? key.charAt(0).toUpperCase() + key.slice(1) : known);
  }

  /**
   * @param {string} measure
   * @param {string} axis
   */
  choose(measure, axis) {
    if (axis !== this.axis) this.zoom = this.at = undefined;
    [this.measure, this.axis] = [measure, axis];
    this.soon();
  }

  /** @param {Series} series */
  entry(series) {
    const look = curves.lookOf(series, this.data.series);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const drawn = {
      x1: 0,
      x2: 22,
      y1: 6,
      y2: 6,
      stroke: `var(--${look.token})`,
      "stroke-width": Math.max(2, look.width),
    };
    for (const [key, value] of Object.entries(drawn)) line.setAttribute(key, String(value));
    line.setAttribute("stroke-dasharray", look.dash.join(" "));
    svg.setAttribute("viewBox", "0 0 22 12");
    svg.setAttribute("aria-hidden", "true");
    svg.append(line);
    const on = String(!this.off.has(series.name));
    const button = make("button", { type: "button", "aria-pressed": on, title: series.name }, svg, series.name);
    button.addEventListener("click", () => {
      if (!this.off.delete(series.name)) this.off.add(series.name);
      button.setAttribute("aria-pressed", String(!this.off.has(series.name)));
      this.soon();
    });
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => this.point(series.name));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => this.point(undefined));
    return button;
  }

  /**
   * A button that shows all lines, or the swarm's alone.
   * @param {boolean} on
   * @param {string} key
   */
  several(on, key) {
    const button = make("button", { type: "button", class: "several" }, say(key));
    button.addEventListener("click", () => {
      const sites = this.data.series.filter((each) => each.kind !== "swarm");
      this.off = new Set(on ? [] : sites.map((each) => each.name));
      for (const each of this.legend.querySelectorAll("[aria-pressed]")) {
        each.setAttribute("aria-pressed", String(!this.off.has(each.textContent ?? "")));
      }
      this.soon();
    });
    return button;
  }

  draw() {
    const width = this.plot.clientWidth;
    if (!width) return;
    this.size = { width, height: Number(this.getAttribute("height")) || (width < 480 ? 220 : 280) };
    this.lines = this.data.series
      .map((series) => ({
        series,
        x: curves.column(this.data, series, this.axis) ?? [],
        y: series[this.measure] ?? [],
      }))
      .filter((line) => line.y.length && !this.off.has(line.series.name));
    this.scale = curves.scaleOf(this.lines, this.zoom, this.size);
    const context = fit(this.base, width, this.size.height);
    context.font = `12px ${getComputedStyle(this).fontFamily}`;
    curves.drawAxes(context, this.scale, this.axis, this.size);
    if (this.scale) {
      context.save();
      curves.clip(context, this.size);
      const inOrder = [...this.lines].sort((a, b) => rank(b.series) - rank(a.series));
      for (const line of inOrder) {
        curves.drawLine(context, this.scale, line, curves.lookOf(line.series, this.data.series));
      }
      curves.drawMarks(context, this.scale, this.axis, this.data.marks ?? [], this.size);
      context.restore();
    }
    this.drawOver();
  }

  /** What changes with the pointer: the line that is pointed at, the cursor and its values. */
  drawOver() {
    if (!this.size.width) return;
    const context = fit(this.over, this.size.width, this.size.height);
    this.tip.hidden = true;
    if (!this.scale) return;
    context.save();
    curves.clip(context, this.size);
    const pointed = this.lines.find((line) => line.series.name === this.pointed);
    if (pointed) curves.drawLine(context, this.scale, pointed, curves.pointedLook(pointed.series, this.data.series));
    if (this.drag) curves.drawChosen(context, this.drag, this.size);
    const value = this.at === undefined ? undefined : this.main()?.x[this.at];
    if (value !== undefined) this.tell(context, this.scale, value);
    context.restore();
  }

  /**
   * Draws the cursor and says what the lines are there.
   * @param {CanvasRenderingContext2D} context
   * @param {import("./curves.js").Scale} scale
   * @param {number} value of the axis
   */
  tell(context, scale, value) {
    const found = [];
    for (const line of this.lines) {
      const index = curves.nearest(line.x, value);
      const y = line.y[index];
      if (y !== null && y !== undefined) found.push({ series: line.series, x: line.x[index], y });
    }
    const pointed = (/** @type {Series} */ series) => series.name === this.pointed;
    const order = (/** @type {Series} */ series) => (rank(series) === 0 ? 0 : pointed(series) ? 1 : 2);
    found.sort((a, b) => order(a.series) - order(b.series) || b.y - a.y);
    const few = this.lines.length <= curves.FEW + 1;
    const dots = found
      .filter(({ series }) => few || order(series) < 2)
      .map(({ series, x, y }) => ({ x, y, token: curves.pointedLook(series, this.data.series).token }));
    curves.drawCursor(context, scale, value, dots, this.size);
    const title = say(`at-${this.axis}`, { at: curves.placeText(scale, this.axis, value) });
    const rows = found.slice(0, MOST_IN_TIP).map(({ series, y }) => [series.name, number(y)]);
    const rest = found.length - rows.length;
    this.tip.replaceChildren(
      make("strong", {}, title),
      ...rows.map(([name, text]) => make("div", {}, make("span", {}, name), make("b", {}, text))),
      ...(rest > 0 ? [make("div", { class: "dim" }, say("more", { count: rest }))] : []),
    );
    place(this.tip, scale.x(value), this.size.height / 2, this.size.width, this.size.height);
    this.over.setAttribute("aria-valuenow", String(this.at));
    this.over.setAttribute("aria-valuemax", String(this.lastPlace));
    this.over.setAttribute("aria-valuetext", `${title}: ${rows.map((row) => row.join(" ")).join(", ")}`);
  }

  /** @returns {Line | undefined} the line along which the cursor moves: the longest */
  main() {
    /** @type {Line | undefined} */
    let longest;
    for (const each of this.lines) if (each.y.length > (longest?.y.length ?? 0)) longest = each;
    return longest;
  }

  get lastPlace() {
    return Math.max(0, (this.main()?.x.length ?? 0) - 1);
  }

  /** @param {string | undefined} name */
  point(name) {
    if (name === this.pointed) return;
    this.pointed = name;
    this.drawOver();
  }

  /** @param {number | undefined} at */
  move(at) {
    this.at = at === undefined ? undefined : Math.max(0, Math.min(at, this.lastPlace));
    this.drawOver();
  }

  listen() {
    this.over.addEventListener("pointermove", (event) => this.follow(event));
    this.over.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0) this.drag = [event.offsetX, event.offsetX];
      this.follow(event);
    });
    this.over.addEventListener("pointerup", () => this.release());
    this.over.addEventListener("pointerleave", () => {
      this.drag = this.pointed = undefined;
      this.move(document.activeElement === this.over ? this.at : undefined);
    });
    this.over.addEventListener("dblclick", () => this.zoomTo(undefined));
    this.over.addEventListener("focus", () => {
      if (this.over.matches(":focus-visible")) this.move(this.at ?? this.lastPlace);
    });
    this.over.addEventListener("blur", () => this.move(undefined));
    this.over.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {PointerEvent} event */
  follow(event) {
    const [scale, main] = [this.scale, this.main()];
    if (!scale || !main) return;
    if (this.drag) this.drag[1] = event.offsetX;
    const value = scale.from(event.offsetX);
    this.at = curves.nearest(main.x, value);
    let least = 24; // pixels
    this.pointed = undefined;
    for (const line of this.lines) {
      const distance = Math.abs(scale.y(line.y[curves.nearest(line.x, value)] ?? NaN) - event.offsetY);
      if (distance < least) [least, this.pointed] = [distance, line.series.name];
    }
    this.drawOver();
  }

  /** The mouse has been dragged over a part of the axis. */
  release() {
    const [drag, scale] = [this.drag, this.scale];
    this.drag = undefined;
    if (!drag || !scale || Math.abs(drag[1] - drag[0]) <= 8) return;
    const [first, last] = drag.map(scale.from).sort((a, b) => a - b);
    this.zoomTo([first, last]);
  }

  /** @param {[number, number] | undefined} zoom */
  zoomTo(zoom) {
    this.zoom = zoom;
    this.soon();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const last = this.lastPlace;
    const now = this.at ?? last;
    /** @type {Record<string, number>} */
    const places = {
      ArrowLeft: now - 1,
      ArrowDown: now - 1,
      ArrowRight: now + 1,
      ArrowUp: now + 1,
      Home: 0,
      End: last,
    };
    Object.assign(places, { PageUp: now + 10, PageDown: now - 10 });
    if (event.key in places) this.move(places[event.key]);
    else if (event.key === "Escape") this.zoomTo(undefined);
    else if (event.key === "+" && this.scale) {
      const { first, last } = this.scale;
      const [middle, quarter] = [this.main()?.x[now] ?? first, (last - first) / 4];
      this.zoomTo([Math.max(first, middle - quarter), Math.min(last, middle + quarter)]);
    } else return;
    event.preventDefault();
  }
}

/** @param {Series} series the swarm's comes first */
function rank(series) {
  return series.kind === "swarm" ? 0 : 1;
}

customElements.define("swarm-lines", SwarmLines);
