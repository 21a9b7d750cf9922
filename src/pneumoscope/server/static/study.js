// The page of a study: its overlay fades, and it says when it is out of date.

import { listen } from "./page.js";

const fade = document.getElementById("fade");
const changed = document.getElementById("changed");
const setFade = () => document.documentElement.style.setProperty("--fade", fade.value / 100);
const ahead = document.createElement("script");
let before = 100;

/** Once the page itself is there, the browser makes the viewer ready. */
const lookAhead = () => {
  const rules = document.getElementById("ahead");
  if (!rules) return;
  ahead.type = "speculationrules";
  ahead.textContent = rules.textContent;
  document.head.append(ahead);
};

fade?.addEventListener("input", setFade);
document.addEventListener("keydown", (event) => {
  if (!fade || event.key !== "o" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=range]), select, textarea")) return;
  if (Number(fade.value)) { before = fade.value; fade.value = 0; } else fade.value = before;
  setFade();
});
addEventListener("load", lookAhead);
document.getElementById("print")?.addEventListener("click", () => window.print());

/** A study that waits for its result shows it at once; what someone is reading is not taken from under their eyes. */
listen(async () => {
  const answer = await fetch(changed.dataset.path, { headers: { "X-Requested-With": "pneumoscope", "X-Background": "1" } }).catch(() => null);
  if (!answer?.ok) return;
  const { mark } = await answer.json();
  if (mark === changed.dataset.mark) { changed.hidden = true; return; }
  if (changed.dataset.settled) {
    changed.hidden = false;
    ahead.remove(); // the viewer that was made ready shows the study as it was
  } else location.reload();
});
