// One key for each answer: a sends the acceptance; m and r open their form, where a digit chooses the reason, Enter sends it
// and Escape closes it.

const root = document.querySelector("[data-review]");
const remembered = "pneumoscope-keys";

function isTyping(target) {
  if (target.isContentEditable || target.closest("select, textarea")) return true;
  return target.matches("input") && !["radio", "checkbox"].includes(target.type);
}

function open(summary) {
  const details = summary.parentElement;
  details.open = true;
  details.querySelector("input[type=radio]").focus();
}

/** Close the form that is open, and go back to what opened it; false where none is. */
function close() {
  const details = root.querySelector("details[open]");
  if (!details) return false;
  details.open = false;
  details.querySelector("summary").focus();
  return true;
}

function choose(digit) {
  const choices = root.querySelectorAll("details[open] input[type=radio]");
  const choice = choices[Number(digit) - 1];
  if (!choice) return false;
  choice.checked = true;
  choice.focus();
  return true;
}

function onKey(event, keys) {
  if (!keys.checked || event.ctrlKey || event.altKey || event.metaKey || event.repeat || isTyping(event.target)) return;
  if (/^[1-9]$/.test(event.key)) {
    if (choose(event.key)) event.preventDefault();
    return;
  }
  const control = root.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!control) return;
  event.preventDefault();
  if (control.matches("button")) control.click();
  else open(control);
}

if (root) {
  const keys = root.querySelector("[data-keys]");
  keys.closest("label").hidden = false;
  keys.checked = localStorage.getItem(remembered) !== "off";
  keys.addEventListener("change", () => localStorage.setItem(remembered, keys.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing && close()) event.preventDefault();
    else onKey(event, keys);
  });
  for (const summary of root.querySelectorAll("summary")) {
    summary.parentElement.addEventListener("toggle", ({ target }) => {
      if (target.open) open(summary);
    });
  }
}
