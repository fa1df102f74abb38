// @ts-check
// The one script of all pages. Charts are fetched where a page, or a fragment that comes later, has one.

import "./controls.js";
import "./live.js";

/** @type {Record<string, () => Promise<unknown>>} */
const charts = {
  "swarm-lines": () => import("./charts/lines.js"),
  "swarm-matrix": () => import("./charts/matrix.js"),
};

/** @param {ParentNode} part */
function define(part) {
  for (const [name, fetched] of Object.entries(charts)) {
    if (!part.querySelector(name)) continue;
    delete charts[name];
    fetched().catch((error) => {
      charts[name] = fetched;
      console.error(`${name} cannot be shown: ${error}`);
    });
  }
}

new MutationObserver(() => define(document)).observe(document.documentElement, { childList: true, subtree: true });
define(document);
