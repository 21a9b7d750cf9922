// The worklist: kept up to date, searched while one types, gone through by keys.

import { listen, showTimes } from "./page.js";

const form = document.querySelector("form.filters");
const list = document.getElementById("list");
const said = document.getElementById("said");
const help = document.getElementById("help");
const search = form.elements.q;
let asked = 0;
let running = null;
let again = false;

/** What a row says, without what the browser makes of its times. */
function content(row) {
  const copy = row.cloneNode(true);
  for (const each of copy.querySelectorAll(".age, time")) { each.textContent = ""; each.removeAttribute("title"); }
  return copy.outerHTML;
}

/** Fetch the list at `address` and show it; rows that say the same stay, so that their pictures do. */
async function show(address, { keep = false } = {}) {
  const turn = ++asked;
  let page;
  try {
    const answer = await fetch(address, { headers: { "X-Requested-With": "pneumoscope", "X-Background": "1" } });
    if (!answer.ok) throw new Error(answer.statusText);
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    lost();
    return;
  }
  const fresh = page.getElementById("list");
  if (turn !== asked || !fresh) return;
  const focused = document.activeElement?.closest?.("tr[id]")?.id;
  const place = rows().findIndex((row) => row.id === focused);
  const old = new Map(rows().map((row) => [row.id, row]));
  for (const row of fresh.querySelectorAll("tr[id]")) {
    const before = old.get(row.id);
    if (before && content(before) === content(row)) row.replaceWith(before);
  }
  list.replaceChildren(...fresh.childNodes);
  showTimes(list);
  if (focused && document.activeElement === document.body) {
    const row = document.getElementById(focused) ?? rows()[Math.min(place, rows().length - 1)];
    row?.querySelector(".open")?.focus({ preventScroll: keep });
  }
  for (const select of form.querySelectorAll("select")) {
    const other = page.querySelector(`form.filters [name=${select.name}]`);
    other?.querySelectorAll("option").forEach((option, k) => { select.options[k].textContent = option.textContent; });
  }
  if (document.body.classList.contains("lost")) {
    document.body.classList.remove("lost");
    said.classList.add("hidden");
    said.textContent = list.dataset.back;
  }
}

/** As the server has it now; one question at a time, however many changes come. */
async function refresh() {
  if (running) { again = true; return; }
  running = show(location.href, { keep: true });
  await running;
  running = null;
  if (again) { again = false; refresh(); }
}

function lost() {
  document.body.classList.add("lost");
  said.textContent = list.dataset.away;
  said.className = "notice";
}

function rows() {
  return [...list.querySelectorAll("tr[id]")];
}

/** Move the focus by so many rows; from outside of the list, to its first. */
function move(step) {
  const all = rows();
  const at = all.indexOf(document.activeElement?.closest?.("tr[id]"));
  const row = all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)];
  row?.querySelector(".open")?.focus();
  row?.scrollIntoView({ block: "nearest" });
}

function narrow() {
  const given = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const address = given.size ? `/?${given}` : "/";
  history.replaceState(null, "", address);
  for (const back of document.querySelectorAll("form.comfort [name=back]")) back.value = address;
  show(address);
}

let typed = 0;
form.addEventListener("input", (event) => {
  clearTimeout(typed);
  typed = setTimeout(narrow, event.target === search ? 150 : 0);
});
form.addEventListener("submit", (event) => { event.preventDefault(); narrow(); });

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape" && event.target === search) { event.preventDefault(); move(0); return; }
  if (event.target === search && event.key === "ArrowDown") { event.preventDefault(); move(0); return; }
  if (typing) return;
  if (event.key === "ArrowDown") move(1);
  else if (event.key === "ArrowUp") move(-1);
  else if (event.key === "/") search.select();
  else if (event.key === "?") help.showModal();
  else return;
  event.preventDefault();
});
document.getElementById("help-open").addEventListener("click", () => help.showModal());

listen(refresh, lost);
setInterval(() => showTimes(list), 20000);
