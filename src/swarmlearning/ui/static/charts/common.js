// @ts-check
// What all charts have in common: texts, colours, data, canvases. No chart makes code or markup out of data.

/** @typedef {Record<string, string>} Colours */

/** @type {Record<string, string> | undefined} */
let texts;

/**
 * A text of the catalogue, which the page holds in `<script type="application/json" id="texts">`; `{name}` is replaced.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function say(key, values = {}) {
  if (texts === undefined) {
    texts = JSON.parse(document.getElementById("texts")?.textContent || "{}");
  }
  const found = texts?.[key] ?? key;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The language of the page, for numbers and dates. */
export const language = document.documentElement.lang || "en";

const plain = new Intl.NumberFormat(language, { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });

/**
 * A number of any size, with four digits that say something.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return size >= 1e4 ? whole.format(value) : plain.format(value);
}

/**
 * An instant, with its date where a chart spans more than a day.
 * @param {number} ms since 1970
 * @param {number} span of the chart in ms
 * @returns {string}
 */
export function instant(ms, span) {
  /** @type {Intl.DateTimeFormatOptions} */
  const form =
    span > 864e5
      ? { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }
      : { hour: "2-digit", minute: "2-digit", second: span < 36e5 ? "2-digit" : undefined };
  return new Intl.DateTimeFormat(language, form).format(ms);
}

/**
 * How long something lasts, as on a stop watch: 12:05, 3:00:00, or 2 d 3:00:00.
 * @param {number} ms
 * @returns {string}
 */
export function lasting(ms) {
  const seconds = Math.round(ms / 1000);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60)];
  const text = days || hours ? `${hours}:${two(minutes % 60)}` : String(minutes);
  return `${days ? `${days} d ` : ""}${text}:${two(seconds % 60)}`;
}

/** @type {Colours} */
let colours = {};
/** @type {Set<() => void>} */
const painters = new Set();

/**
 * The colour of a token of swarm.css, as the present theme has it.
 * @param {string} token without the dashes
 * @returns {string}
 */
export function colour(token) {
  if (!(token in colours)) {
    const probe = document.createElement("span");
    probe.hidden = true;
    probe.style.color = `var(--${token})`;
    document.body.append(probe);
    colours[token] = getComputedStyle(probe).color;
    probe.remove();
  }
  return colours[token];
}

/**
 * Calls `paint` whenever the theme changes, until the function that is returned is called.
 * @param {() => void} paint
 * @returns {() => void}
 */
export function onTheme(paint) {
  painters.add(paint);
  return () => painters.delete(paint);
}

function repaint() {
  colours = {};
  for (const paint of painters) paint();
}
new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

/**
 * Gives a canvas this size in CSS pixels, and returns its context, scaled to that.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 * @returns {CanvasRenderingContext2D}
 */
export function fit(canvas, width, height) {
  const ratio = Math.min(devicePixelRatio || 1, 3);
  const [wide, high] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * Round numbers between two others, about `count` of them.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 * @param {boolean} [integers]
 * @returns {number[]}
 */
export function ticks(low, high, count, integers = false) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = power * /** @type {number} */ ([1, 2, 5, 10].find((each) => each * power >= rough * 0.999));
  if (integers) step = Math.max(1, Math.round(step));
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let each = first; each * step <= high + step * 1e-9; each++) found.push(Number((each * step).toPrecision(12)));
  return found;
}

/**
 * Round instants between two others: full seconds, minutes, hours or days, by the local clock or since a beginning.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 * @param {string} [axis]
 * @returns {number[]}
 */
export function instants(low, high, count, axis = "time") {
  const steps = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800, 2592000];
  const rough = (high - low) / Math.max(1, count) / 1000;
  const step = (steps.find((each) => each >= rough) ?? Math.ceil(rough / 2592000) * 2592000) * 1000;
  const offset = axis === "time" ? new Date(low).getTimezoneOffset() * 60_000 : 0;
  const found = [];
  for (let each = Math.ceil((low - offset) / step) * step + offset; each <= high; each += step) found.push(each);
  return found;
}

/** The base of all charts: reads data from the element or its address, and draws when size, data or theme change. */
export class Chart extends HTMLElement {
  _pending = 0;
  _built = false;
  /** @type {(() => void) | undefined} */
  _stop;

  connectedCallback() {
    if (this._stop) return;
    if (!this._built) this.build();
    this._built = true;
    const watcher = new ResizeObserver(() => this.soon());
    watcher.observe(this);
    const unwatch = onTheme(() => this.soon());
    this._stop = () => {
      watcher.disconnect();
      unwatch();
    };
    const inline = this.querySelector('script[type="application/json"]');
    if (inline) this.show(JSON.parse(inline.textContent || "null"));
    else this.refresh().catch((error) => this.unavailable(error));
  }

  disconnectedCallback() {
    this._stop?.();
    this._stop = undefined;
    cancelAnimationFrame(this._pending);
  }

  /** Fetches the data anew from the chart's address. What cannot be fetched now stays as it is. */
  async refresh() {
    const source = this.getAttribute("src");
    if (!source) return;
    const answer = await fetch(source, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${source}: ${answer.status}`);
    if (!this.isConnected) return;
    this.querySelector(':scope > [role="status"]')?.remove();
    this.show(await answer.json());
  }

  /** @param {unknown} error why there are no data */
  unavailable(error) {
    console.info(`${this.getAttribute("src")}: ${error}`);
    this.prepend(make("p", { class: "dim", role: "status" }, say("unavailable")));
  }

  /** Draws with the next frame. */
  soon() {
    cancelAnimationFrame(this._pending);
    this._pending = requestAnimationFrame(() => this.draw());
  }

  build() {}

  /** @param {any} data */
  show(data) {
    void data;
  }

  draw() {}
}

/**
 * An element with attributes and children.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/**
 * Buttons of which one is pressed.
 * @param {string} label
 * @param {[string, string][]} choices key and text of each
 * @param {string} current
 * @param {(key: string) => void} chosen
 * @returns {HTMLElement}
 */
export function choices(label, choices, current, chosen) {
  const group = make("div", { class: "choices", role: "group", "aria-label": label });
  for (const [key, text] of choices) {
    const button = make("button", { type: "button", "aria-pressed": String(key === current) }, text);
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
      chosen(key);
    });
    group.append(button);
  }
  return group;
}

/**
 * Puts a chart's tip beside a point of its plot, inside of that.
 * @param {HTMLElement} tip
 * @param {number} x
 * @param {number} y
 * @param {number} width of the plot
 * @param {number} height of the plot
 */
export function place(tip, x, y, width, height) {
  tip.hidden = false;
  const left = x + 14 + tip.offsetWidth > width ? x - 14 - tip.offsetWidth : x + 14;
  tip.style.left = `${Math.max(0, Math.min(left, width - tip.offsetWidth))}px`;
  tip.style.top = `${Math.max(0, Math.min(y - tip.offsetHeight / 2, height - tip.offsetHeight))}px`;
}
