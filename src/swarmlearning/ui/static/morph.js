// @ts-check
// Makes a part of the page equal to a newer one, and touches only what differs.

/**
 * @param {Element} old stays in the page
 * @param {Element} anew is of another document, and is used up
 */
export function morph(old, anew) {
  if (old.tagName.includes("-")) return morphChart(old, anew);
  const own = ownState(old);
  for (const { name } of [...old.attributes])
    if (!anew.hasAttribute(name) && !own.includes(name)) old.removeAttribute(name);
  for (const { name, value } of anew.attributes) {
    if (old.getAttribute(name) !== value && !own.includes(name)) old.setAttribute(name, value);
  }
  if (old.tagName !== "TEXTAREA") morphChildren(old, anew);
}

/**
 * What a person has changed, and what stays as it is: attributes of an element.
 * @param {Element} element
 * @returns {string[]}
 */
function ownState(element) {
  if (element.tagName === "DETAILS" || element.tagName === "DIALOG") return ["open"];
  if (element.hasAttribute("data-copy") || element.hasAttribute("data-ticks")) return ["hidden"];
  return [];
}

/**
 * @param {Element} old
 * @param {Element} anew
 */
function morphChildren(old, anew) {
  /** @type {Map<string, Element>} */
  const named = new Map();
  for (const child of old.children) if (child.id) named.set(child.id, child);
  let at = old.firstChild;
  for (const wanted of [...anew.childNodes]) {
    const match = wanted instanceof Element && wanted.id ? named.get(wanted.id) : fits(at, wanted) ? at : undefined;
    if (!match) {
      old.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    if (match !== at) old.insertBefore(match, at);
    else at = at.nextSibling;
    if (match instanceof Element) morph(match, /** @type {Element} */ (wanted));
    else if (match.nodeValue !== wanted.nodeValue) match.nodeValue = wanted.nodeValue;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/**
 * @param {Node | null} old
 * @param {Node} anew
 * @returns {boolean} true if one can become the other
 */
function fits(old, anew) {
  if (!old || old.nodeType !== anew.nodeType) return false;
  if (!(old instanceof Element) || !(anew instanceof Element)) return true;
  return old.tagName === anew.tagName && old.id === anew.id;
}

/**
 * A chart draws by itself: it gets the newer data.
 * @param {any} old
 * @param {Element} anew
 */
function morphChart(old, anew) {
  const [before, after] = [old, anew].map((each) => each.querySelector('script[type="application/json"]'));
  if (!before || !after || before.textContent === after.textContent) return;
  before.textContent = after.textContent;
  old.show?.(JSON.parse(after.textContent || "null"));
  const [table, newer] = [old, anew].map((each) => each.querySelector(":scope > details"));
  if (table && newer) morph(table, newer);
}
