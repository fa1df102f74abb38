// @ts-check
// Keeps what is on a page up to date. An element with `data-live="topic other-topic"` and an id shows what changes with
// these topics. The server says by events which topics have changed (`/events`); then the page is fetched anew, once for
// all its elements, and what differs in them is changed in place: focus, scrolled boxes, opened details and what
// somebody has typed stay. Without this script a page is as good as when it was loaded.

import { morph } from "./morph.js";
import { say } from "./charts/common.js";

const LEAST_MS = 400; // between two fetches of a page
const NOTE_AFTER_MS = 3000; // without a connection
const MOST_MS = 30_000; // between two tries
const HIDDEN_MS = 20_000; // that a tab is hidden before it stops listening

/** @type {EventSource | undefined} */
let source;
let tries = 0;
/** @type {Set<string> | undefined} topics that have changed since the last fetch; undefined: none */
let changed;
let fetching = false;
let fetched = 0;
let over = false; // the session has ended: nothing more can be fetched
/** @type {Record<string, ReturnType<typeof setTimeout> | undefined>} */
const timers = {};

/** @returns {HTMLElement[]} */
function living() {
  return [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-live]"))];
}

/** @param {HTMLElement} element */
function topicsOf(element) {
  return (element.dataset.live ?? "").split(/\s+/).filter(Boolean);
}

/**
 * @param {string} name of the timer; one that runs is replaced
 * @param {number} ms
 * @param {() => void} act
 */
function later(name, ms, act) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(() => {
    timers[name] = undefined;
    act();
  }, ms);
}

/** Says so if there is no connection for a while. */
function mayBeLost() {
  if (!timers.note) later("note", NOTE_AFTER_MS, () => note(say("live-lost")));
}

/** Whoever is here has to sign in again. */
function end() {
  over = true;
  source?.close();
  source = undefined;
  for (const timer of Object.values(timers)) clearTimeout(timer);
  note(say("live-ended"), location.href);
}

function listen() {
  source?.close();
  source = undefined;
  const topics = [...new Set(living().flatMap(topicsOf))].sort();
  if (!topics.length || over || document.visibilityState === "hidden") return;
  mayBeLost();
  source = new EventSource(`/events?topics=${encodeURIComponent(topics.join(","))}`);
  source.addEventListener("open", () => {
    clearTimeout(timers.note);
    timers.note = undefined;
    note("");
    if (tries) refresh(topics);
    tries = 0;
  });
  source.addEventListener("since", (event) => {
    const loaded = document.body.dataset.news; // news between this page and its stream are told to nobody
    if (loaded !== undefined && loaded !== event.data) refresh(topics);
    document.body.dataset.news = event.data;
  });
  source.addEventListener("changed", (event) => refresh(JSON.parse(event.data)));
  source.addEventListener("ended", end);
  source.addEventListener("error", () => {
    source?.close();
    source = undefined;
    tries += 1;
    mayBeLost();
    if (tries === 3) refresh(topics); // where the session has ended, this finds the page to sign in
    const pause = Math.min(MOST_MS, 500 * 2 ** Math.min(tries, 8));
    later("again", pause * (0.75 + Math.random() / 2), listen);
  });
}

/** @param {string[]} topics */
function refresh(topics) {
  changed = new Set([...(changed ?? []), ...topics]);
  if (fetching) return;
  later("fetch", Math.max(0, fetched + LEAST_MS - performance.now()), update);
}

async function update() {
  const topics = changed;
  if (!topics || fetching || over) return;
  [fetching, fetched, changed] = [true, performance.now(), undefined];
  try {
    await fetchParts(living().filter((each) => topicsOf(each).some((topic) => topics.has(topic))));
  } catch (error) {
    console.info(`not brought up to date: ${error}`);
  } finally {
    fetching = false;
  }
  if (changed) refresh([]);
}

/** @param {HTMLElement[]} elements */
async function fetchParts(elements) {
  const charts = /** @type {any[]} */ (elements.filter((each) => "refresh" in each && each.hasAttribute("src")));
  const parts = elements.filter((each) => each.id && !charts.includes(each));
  const jobs = charts.map((chart) => chart.refresh());
  if (parts.length) jobs.push(fetchPage(parts));
  for (const done of await Promise.allSettled(jobs)) if (done.status === "rejected") throw done.reason;
}

/** @param {HTMLElement[]} parts of the page */
async function fetchPage(parts) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-Live": "1" } });
  if (answer.redirected && new URL(answer.url).pathname !== location.pathname) return end();
  if (!answer.ok) throw new Error(`${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts) {
    const anew = page.getElementById(part.id);
    if (anew && part.isConnected) morph(part, anew);
  }
  document.dispatchEvent(new CustomEvent("swarm:live"));
}

/**
 * Says something about the connection, with a link where there is something to do; nothing for an empty text.
 * @param {string} text
 * @param {string} [link]
 */
function note(text, link) {
  let box = document.getElementById("live-note");
  if (box?.textContent === text) return;
  if (!box) {
    box = document.createElement("div");
    box.id = "live-note";
    box.setAttribute("role", "status");
    document.body.append(box);
  }
  box.className = text ? "live-note flash warn" : "";
  if (!link) return box.replaceChildren(text);
  const anchor = document.createElement("a");
  [anchor.href, anchor.textContent] = [link, text];
  box.replaceChildren(anchor);
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") {
    later("hide", HIDDEN_MS, () => {
      clearTimeout(timers.again);
      source?.close();
      source = undefined;
    });
  } else {
    clearTimeout(timers.hide);
    if (source) return;
    tries = 1; // so that what has changed meanwhile is fetched
    listen();
  }
});
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => event.persisted && listen());
listen();
