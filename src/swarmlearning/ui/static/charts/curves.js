// @ts-check
// What curves are drawn with: their data, the scale in which they are seen, axes, lines and marks.

import { colour, instant, instants, lasting, number, say, ticks } from "./common.js";

/** @typedef {{name: string, kind?: string} & Record<string, any>} Series */
/** @typedef {{series: Series[], marks?: Record<string, any>[], labels?: Record<string, string>} & Record<string, any>} Data */
/** @typedef {{x: number[], y: (number | null)[], series: Series}} Line */
/** @typedef {{token: string, width: number, dash: number[], alpha: number}} Look */
/** @typedef {{width: number, height: number}} Size */

/**
 * @typedef {object} Scale what is seen of the axes, and where
 * @property {number} low
 * @property {number} high
 * @property {number} first
 * @property {number} last
 * @property {(value: number) => number} x
 * @property {(value: number) => number} y
 * @property {(pixel: number) => number} from the value of the axis at a pixel
 */

export const AXES = ["round", "epochs", "time", "elapsed"]; // `elapsed`: milliseconds since a beginning
export const FEW = 8; // lines that colours tell apart; of more, the one that is pointed at is in colour
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
const MARGIN = { left: 54, right: 14, top: 14, bottom: 26 };

/**
 * The values of a series on an axis, which all series may have in common.
 * @param {Data} data
 * @param {Series} series
 * @param {string} axis
 * @returns {number[] | undefined}
 */
export function column(data, series, axis) {
  return series[axis] ?? data[axis];
}

/**
 * The names of what has been measured, loss and metric first.
 * @param {Data} data
 * @returns {string[]}
 */
export function measuresOf(data) {
  const lists = (/** @type {Series} */ each) => Object.keys(each).filter((key) => Array.isArray(each[key]));
  const keys = new Set(data.series.flatMap(lists).filter((key) => !AXES.includes(key)));
  return [...new Set(["loss", "metric", ...keys])].filter((key) => keys.has(key));
}

/**
 * How a line looks among all.
 * @param {Series} series
 * @param {Series[]} all
 * @returns {Look}
 */
export function lookOf(series, all) {
  if (series.kind === "swarm") return { token: "ink", width: 2.5, dash: [], alpha: 1 };
  const others = all.filter((each) => each.kind !== "swarm");
  if (others.length > FEW) return { token: "edge", width: 1, dash: [], alpha: 0.3 };
  const place = others.indexOf(series);
  return { token: `series-${(place % 8) + 1}`, width: 1.7, dash: DASHES[Math.floor(place / 4) % 4], alpha: 1 };
}

/**
 * How a line looks that is pointed at.
 * @param {Series} series
 * @param {Series[]} all
 * @returns {Look}
 */
export function pointedLook(series, all) {
  const look = lookOf(series, all);
  return { ...look, token: look.alpha < 1 ? "series-2" : look.token, width: look.width + 1.2, alpha: 1 };
}

/**
 * The scale in which all lines are seen, undefined where there is nothing.
 * @param {Line[]} lines
 * @param {[number, number] | undefined} zoom
 * @param {Size} size
 * @returns {Scale | undefined}
 */
export function scaleOf(lines, zoom, { width, height }) {
  let [low, high, first, last] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { x, y } of lines) {
    for (let index = 0; index < y.length; index++) {
      const value = y[index];
      if (value === null || !Number.isFinite(value)) continue;
      if (zoom && (x[index] < zoom[0] || x[index] > zoom[1])) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
      first = Math.min(first, x[index]);
      last = Math.max(last, x[index]);
    }
  }
  if (low > high) return undefined;
  if (zoom) [first, last] = zoom;
  const pad = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
  [low, high] = [low > 0 && low < 0.3 * high ? 0 : low - pad, high + pad];
  if (first === last) [first, last] = [first - 1, last + 1];
  const wide = (width - MARGIN.left - MARGIN.right) / (last - first);
  const deep = (height - MARGIN.top - MARGIN.bottom) / (high - low);
  return {
    ...{ low, high, first, last },
    x: (value) => MARGIN.left + (value - first) * wide,
    y: (value) => height - MARGIN.bottom - (value - low) * deep,
    from: (pixel) => Math.max(first, Math.min(last, first + (pixel - MARGIN.left) / wide)),
  };
}

/**
 * The place of the number that is closest to a value in a list that grows.
 * @param {number[]} list
 * @param {number} value
 */
export function nearest(list, value) {
  let [low, high] = [0, list.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle] > value) high = middle;
    else low = middle;
  }
  return Math.abs(list[high] - value) < Math.abs(list[low] - value) ? high : low;
}

/**
 * A place on an axis, as text.
 * @param {Scale} scale
 * @param {string} axis
 * @param {number} value
 */
export function placeText(scale, axis, value) {
  if (axis === "elapsed") return lasting(value);
  return axis === "time" ? instant(value, scale.last - scale.first) : number(value);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scale | undefined} scale
 * @param {string} axis
 * @param {Size} size
 */
export function drawAxes(context, scale, axis, { width, height }) {
  context.fillStyle = colour("dim");
  context.textBaseline = "middle";
  if (!scale) {
    context.textAlign = "center";
    context.fillText(say("nothing"), width / 2, height / 2);
    return;
  }
  const bottom = height - MARGIN.bottom;
  context.strokeStyle = colour("line");
  context.lineWidth = 1;
  context.textAlign = "right";
  for (const tick of ticks(scale.low, scale.high, height / 55)) {
    const at = Math.round(scale.y(tick)) + 0.5;
    stroke(context, MARGIN.left, at, width - MARGIN.right, at);
    context.fillText(number(tick), MARGIN.left - 8, at);
  }
  context.textBaseline = "top";
  context.textAlign = "center";
  context.strokeStyle = colour("edge");
  const room = (width - MARGIN.left - MARGIN.right) / 90;
  const { first, last } = scale;
  const clocked = axis === "time" || axis === "elapsed";
  const found = clocked ? instants(first, last, room, axis) : ticks(first, last, room, axis === "round");
  for (const tick of found) {
    const at = Math.round(scale.x(tick)) + 0.5;
    stroke(context, at, bottom, at, bottom + 4);
    const text = placeText(scale, axis, tick);
    context.fillText(text, Math.min(at, width - context.measureText(text).width / 2 - 1), bottom + 8);
  }
  stroke(context, MARGIN.left, bottom + 0.5, width - MARGIN.right, bottom + 0.5);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scale} scale
 * @param {Line} line
 * @param {Look} look
 */
export function drawLine(context, scale, line, look) {
  context.globalAlpha = look.alpha;
  context.strokeStyle = colour(look.token);
  context.lineWidth = look.width;
  context.lineJoin = "round";
  context.setLineDash(look.dash);
  context.beginPath();
  let drawn = false;
  for (let index = 0; index < line.y.length; index++) {
    const value = line.y[index];
    if (value === null || !Number.isFinite(value)) {
      drawn = false;
      continue;
    }
    const [x, y] = [scale.x(line.x[index]), scale.y(value)];
    if (drawn) context.lineTo(x, y);
    else context.moveTo(x, y);
    if (!drawn && !Number.isFinite(line.y[index + 1] ?? NaN)) context.rect(x - 1, y - 1, 2, 2); // it has no neighbours
    drawn = true;
  }
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scale} scale
 * @param {string} axis
 * @param {Record<string, any>[]} marks
 * @param {Size} size
 */
export function drawMarks(context, scale, axis, marks, { width, height }) {
  context.fillStyle = colour("dim");
  context.strokeStyle = colour("edge");
  context.lineWidth = 1;
  context.textBaseline = "top";
  context.setLineDash([3, 3]);
  for (const mark of marks) {
    if (!Number.isFinite(mark[axis])) continue;
    const at = Math.round(scale.x(mark[axis])) + 0.5;
    const left = at > width / 2;
    stroke(context, at, MARGIN.top, at, height - MARGIN.bottom);
    context.textAlign = left ? "right" : "left";
    context.fillText(String(mark.text ?? ""), at + (left ? -5 : 5), MARGIN.top);
  }
  context.setLineDash([]);
}

/**
 * The cursor, and a dot on each line given.
 * @param {CanvasRenderingContext2D} context
 * @param {Scale} scale
 * @param {number} value of the axis
 * @param {{x: number, y: number, token: string}[]} dots
 * @param {Size} size
 */
export function drawCursor(context, scale, value, dots, { height }) {
  const at = Math.round(scale.x(value)) + 0.5;
  context.strokeStyle = colour("edge");
  context.lineWidth = 1;
  stroke(context, at, MARGIN.top, at, height - MARGIN.bottom);
  for (const dot of dots) {
    context.fillStyle = colour(dot.token);
    context.beginPath();
    context.arc(scale.x(dot.x), scale.y(dot.y), 3.5, 0, 7);
    context.fill();
  }
}

/**
 * The part of an axis that is being chosen with the mouse.
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number]} drag pixels
 * @param {Size} size
 */
export function drawChosen(context, drag, { height }) {
  context.fillStyle = colour("accent");
  context.globalAlpha = 0.15;
  const width = Math.abs(drag[1] - drag[0]);
  context.fillRect(Math.min(...drag), MARGIN.top, width, height - MARGIN.top - MARGIN.bottom);
  context.globalAlpha = 1;
}

/**
 * Lets nothing be drawn but within the axes.
 * @param {CanvasRenderingContext2D} context
 * @param {Size} size
 */
export function clip(context, { width, height }) {
  context.beginPath();
  context.rect(MARGIN.left, 0, width - MARGIN.left - MARGIN.right + 4, height - MARGIN.bottom + 1);
  context.clip();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 */
function stroke(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}
