// @ts-check
// What buttons do in the browser alone: copy a command, open and close dialogs, tick all boxes of a name. All listeners are on the document, so
// fragments that come later need nothing.

const canCopy = window.isSecureContext && "clipboard" in navigator;

/** @param {ParentNode} part shows the buttons of a part of the page that work here */
function enable(part) {
  for (const box of part.querySelectorAll("[data-ticks][hidden]")) box.removeAttribute("hidden");
  if (!canCopy) return;
  for (const button of part.querySelectorAll("[data-copy][hidden]")) button.removeAttribute("hidden");
}

/** @type {WeakSet<Element>} labels that say at present that a command is copied */
const told = new WeakSet();

/** @param {HTMLElement} button */
async function copy(button) {
  const line = button.parentElement?.querySelector("code")?.textContent ?? "";
  const label = button.querySelector("span");
  await navigator.clipboard.writeText(line);
  if (!label || told.has(label)) return;
  const before = label.textContent;
  told.add(label);
  label.textContent = button.dataset.copied ?? "✓";
  button.setAttribute("aria-live", "polite");
  setTimeout(() => {
    label.textContent = before;
    told.delete(label);
  }, 2000);
}

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const button = /** @type {HTMLElement | null | undefined} */ (
    target?.closest("[data-copy], [data-opens], [data-closes]")
  );
  if (!button) return;
  if (button.dataset.copy !== undefined) {
    copy(button).catch((error) => console.warn(`not copied: ${error}`));
  } else if (button.dataset.opens) {
    const dialog = document.getElementById(button.dataset.opens);
    if (dialog instanceof HTMLDialogElement) {
      event.preventDefault();
      dialog.showModal();
    }
  } else {
    button.closest("dialog")?.close();
  }
});

document.addEventListener("change", (event) => {
  const all = event.target;
  if (!(all instanceof HTMLInputElement) || !all.dataset.ticks) return;
  for (const each of all.form?.elements ?? [])
    if (each instanceof HTMLInputElement && each.name === all.dataset.ticks) each.checked = all.checked;
});

new MutationObserver((changes) => {
  for (const change of changes) if (change.addedNodes.length) enable(/** @type {ParentNode} */ (change.target));
}).observe(document.documentElement, { childList: true, subtree: true });
enable(document);
