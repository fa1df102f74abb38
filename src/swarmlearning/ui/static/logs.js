// @ts-check
// Goes on with a log while its page is looked at: asks for what comes next, which waits until there is something.
// Of a long log the newest part is kept.

const MOST = 400000; // characters
const PAUSE_MS = 1000;
const AGAIN_MS = 5000;

const log = document.getElementById("log"), told = document.getElementById("log-state");

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {"following" | "paused" | "lost" | "fault"} what @param {string} [more] */
function tell(what, more = "") {
  const text = [told?.dataset[what], more].filter(Boolean).join(" ");
  if (told && told.textContent !== text) told.textContent = text;
}

/** @param {HTMLElement} shown @param {string} text */
function add(shown, text) {
  const atEnd = shown.scrollTop + shown.clientHeight >= shown.scrollHeight - 20;
  const all = (shown.textContent || "") + text;
  shown.textContent = all.length > MOST ? all.slice(all.indexOf("\n", all.length - MOST) + 1) : all;
  if (atEnd) shown.scrollTop = shown.scrollHeight;
}

/** @param {HTMLElement} shown */
async function follow(shown) {
  let cursor = shown.dataset.cursor || "";
  while (shown.isConnected) {
    if (document.hidden) {
      tell("paused");
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      continue;
    }
    tell("following");
    try {
      const answer = await fetch(`${shown.dataset.more}&cursor=${encodeURIComponent(cursor)}`, { credentials: "same-origin", headers: { "X-Live": "1" } });
      if (answer.redirected || answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const found = await answer.json();
      if (found.withheld || found.fault) {
        tell("fault", found.withheld || found.fault);
        await pause(AGAIN_MS);
        continue;
      }
      if (found.lost) add(shown, `\n${told?.dataset.lost || ""}\n`);
      add(shown, found.text);
      cursor = found.cursor;
      if (!found.more) await pause(PAUSE_MS);
    } catch {
      tell("fault");
      await pause(AGAIN_MS);
    }
  }
}

if (log) {
  log.scrollTop = log.scrollHeight;
  follow(log);
}
