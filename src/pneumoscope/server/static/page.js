// What every page has: times in the browser's zone, and forms that need no button where there are scripts.

const language = document.documentElement.lang;
const clock = new Intl.DateTimeFormat(language, {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  hourCycle: "h23", timeZoneName: "shortOffset",
});
const relative = new Intl.RelativeTimeFormat(language, { style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** Year-month-day and time with the offset: "2026-03-01 10:20:05 GMT+9". */
function local(moment) {
  // some languages write a single digit in spite of what was asked for
  const part = Object.fromEntries(clock.formatToParts(moment).map(({ type, value }) => [type, value.padStart(2, "0")]));
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second} ${part.timeZoneName}`;
}

function ago(moment) {
  const seconds = Math.max(0, (Date.now() - moment) / 1000);
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? UNITS.at(-1);
  return relative.format(-Math.floor(seconds / size), unit);
}

/** Show the moments within `root` in the browser's zone, and how old results are. */
export function showTimes(root = document) {
  for (const time of root.querySelectorAll("time.moment")) time.textContent = local(new Date(time.dateTime));
  for (const age of root.querySelectorAll(".age")) {
    const moment = new Date(age.dataset.since);
    age.title = local(moment);
    age.textContent = ago(moment);
  }
}

/** Where the session is over, or its person may see this page no more, nothing of anyone stays on the screen. */
async function leaveIfOver() {
  const headers = { "X-Requested-With": "pneumoscope", "X-Background": "1" };
  const answer = await fetch(location.href, { headers }).catch(() => null);
  if ([401, 403, 404].includes(answer?.status)) location.reload();
}

/** Call `changed` whenever studies change, and once the stream is there: something may have changed before.
 *  A page that nobody sees does not listen. `lost` is called while there is no connection. */
export function listen(changed, lost = () => {}) {
  let source = null;
  let wasHeard = false;
  const open = () => {
    if (source) return;
    source = new EventSource("/events");
    source.addEventListener("open", () => { wasHeard = true; changed(); });
    source.addEventListener("change", changed);
    source.addEventListener("error", () => {
      lost();
      if (source?.readyState === EventSource.CLOSED) { // refused: the browser does not try again by itself
        source = null;
        setTimeout(() => document.hidden || open(), 5000);
        if (wasHeard) leaveIfOver(); // else it was never for this visitor
        wasHeard = false;
      }
    });
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", () => document.hidden || open());
  if (!document.hidden) open();
}

document.documentElement.classList.add("scripting");
for (const each of document.querySelectorAll(".scripted")) each.hidden = false;
for (const select of document.querySelectorAll(".comfort select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
const zone = document.getElementById("zone");
if (zone) zone.textContent = `${zone.dataset.words} (${clock.resolvedOptions().timeZone}).`;
showTimes();
