// @ts-check
// The cells of a participation matrix: each part has a shape or a place of its own, beside its colour.

/** Letters, and the names of their texts (`part-…`). */
export const PARTS = new Map([
  ["c", "contributed"],
  ["L", "led"],
  ["l", "only-led"],
  ["r", "repeated"],
  ["t", "late"],
  ["x", "lost"],
  ["e", "excluded"],
  ["w", "withheld"],
  ["a", "absent"],
]);

/** @typedef {(token: string) => string} Colour */

/** @type {Record<string, {token: string, rows: number[]}>} Colour, and in a small cell the fifths from the top. */
const LOOKS = {
  c: { token: "part", rows: [0, 1, 2, 3] },
  L: { token: "accent", rows: [0, 1, 2, 3] },
  l: { token: "accent", rows: [0] },
  r: { token: "part", rows: [2, 3] },
  t: { token: "warn", rows: [2, 3] },
  x: { token: "bad", rows: [1, 2] },
  e: { token: "bad", rows: [0, 1] },
  w: { token: "idle", rows: [1] },
  a: { token: "line", rows: [3] },
};

/**
 * Draws a cell that is large enough for its shape.
 * @param {CanvasRenderingContext2D} context
 * @param {string} letter
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {number} height
 * @param {Colour} colour
 */
export function drawCell(context, letter, left, top, width, height, colour) {
  const look = LOOKS[letter];
  if (!look) return;
  const [x, y, w, h] = [left + 0.5, top + 1, width - 1, height - 2];
  const [middle, centre, arm] = [x + w / 2, y + h / 2, Math.min(w, h) / 2 - 0.5];
  context.fillStyle = context.strokeStyle = colour(look.token);
  context.lineWidth = 1.75;
  if (letter === "c" || letter === "L") {
    context.fillRect(x, y, w, h);
    if (letter === "L") disc(context, middle, centre, Math.max(1.5, arm / 2.4), colour("accent-ink"));
  } else if (letter === "r") {
    context.fillRect(x, centre, w, h / 2);
    frame(context, x, y, w, h);
  } else if (letter === "t") {
    polygon(context, [middle, centre - arm, middle + arm, centre + arm, middle - arm, centre + arm]);
  } else if (letter === "x") {
    cross(context, middle, centre, arm * 0.75);
  } else if (letter === "e") {
    frame(context, x, y, w, h);
    cross(context, middle, centre, arm * 0.45);
  } else if (letter === "w") {
    context.fillRect(x, centre - 1.25, w, 2.5);
  } else if (letter === "l") {
    frame(context, x, y, w, h);
    disc(context, middle, centre, Math.max(1.5, arm / 2.4), colour(look.token));
  } else {
    disc(context, middle, centre, 1.2, colour("edge"));
  }
}

/**
 * All cells as a picture, a pixel for a round and five for a site; the browser scales it.
 * @param {string[]} lines
 * @param {number} rounds
 * @param {Colour} colour
 * @returns {HTMLCanvasElement}
 */
export function sheetOf(lines, rounds, colour) {
  const sheet = document.createElement("canvas");
  sheet.width = Math.max(1, rounds);
  sheet.height = Math.max(1, lines.length * 5);
  const context = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
  const image = context.createImageData(sheet.width, sheet.height);
  const pixels = new Uint32Array(image.data.buffer);
  const inks = new Map(Object.entries(LOOKS).map(([letter, look]) => [letter, packed(colour(look.token))]));
  lines.forEach((line, site) => {
    for (let round = 0; round < line.length; round++) {
      const look = LOOKS[line[round]];
      if (!look) continue;
      for (const row of look.rows) pixels[(site * 5 + row) * sheet.width + round] = inks.get(line[round]) ?? 0;
    }
  });
  context.putImageData(image, 0, 0);
  return sheet;
}

/** @param {string} text such as `rgb(1, 2, 3)`; returns a pixel in the order of memory on every machine of today */
function packed(text) {
  const [red, green, blue] = (text.match(/\d+/g) ?? ["0", "0", "0"]).map(Number);
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 * @param {string} ink
 */
function disc(context, x, y, radius, ink) {
  context.fillStyle = ink;
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} w
 * @param {number} h
 */
function frame(context, x, y, w, h) {
  context.lineWidth = 1.25;
  context.strokeRect(x + 0.75, y + 0.75, w - 1.5, h - 1.5);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} arm
 */
function cross(context, x, y, arm) {
  context.lineWidth = 1.75;
  context.beginPath();
  context.moveTo(x - arm, y - arm);
  context.lineTo(x + arm, y + arm);
  context.moveTo(x + arm, y - arm);
  context.lineTo(x - arm, y + arm);
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number[]} points
 */
function polygon(context, points) {
  context.beginPath();
  for (let index = 0; index < points.length; index += 2) context.lineTo(points[index], points[index + 1]);
  context.closePath();
  context.fill();
}
