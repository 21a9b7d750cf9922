// Reads a study together with others: joins the viewer, the channel to the room, and voice and video.

import { Call } from "./together-call.js";
import { Channel, randomId } from "./together-channel.js";
import { loadSeries } from "./together-pixels.js";
import { Viewer } from "./together-viewer.js";

const STATE_EVERY_MS = 50;
const POINTER_EVERY_MS = 60;
const root = document.getElementById("together");
const words = document.getElementById("words").dataset;
const find = (id) => document.getElementById(id);
const { study, meeting, dicomweb } = root.dataset;
const viewer = new Viewer(find("canvas"), { root: dicomweb, study, words });
const channel = new Channel(meeting, new URLSearchParams(location.search).get("invite") ?? "");
const call = new Call((to, content) => channel.say({ kind: "rtc", to, description: null, candidate: null, ...content }));
const streams = new Map();
const mine = new Map(); // marks of this page, to be told again after a restart of the server
let people = [];
let own = 0;
let inRoom = "";
let unanswered = 0; // moves of ours that the server has not told all of
let latest = null; // the last move that all were told of
let isOver = false;

function notice(text) {
  find("notice").textContent = text;
  find("notice").hidden = !text;
}

/** Calls `work` at most once in a time, and always for the last time it was asked to. */
function seldom(work, every_ms) {
  let timer = null;
  let again = false;
  const run = (...given) => {
    work(...given);
    timer = setTimeout(() => {
      timer = null;
      if (again) run(...again);
      again = false;
    }, every_ms);
  };
  return (...given) => {
    if (timer === null) run(...given);
    else again = given;
  };
}

const tellState = seldom(() => {
  if (find("follow").checked && viewer.state && channel.say({ kind: "state", ...viewer.state })) unanswered += 1;
}, STATE_EVERY_MS);

const tellPointer = seldom((point) => {
  const { instance, frame } = viewer.state ?? {};
  if (instance) channel.say({ kind: "pointer", instance, frame, x: point?.x ?? null, y: point?.y ?? null });
}, POINTER_EVERY_MS);

function tellPresence() {
  channel.say({ kind: "presence", apart: !find("follow").checked, microphone: call.has("audio"), camera: call.has("video") });
}

async function follow(state) {
  try {
    await viewer.follow(state);
    find("series").value = viewer.series;
  } catch {
    notice(words.noPixels);
  }
}

const takers = {
  welcome({ room, number, state, marks }) {
    notice("");
    find("side").disabled = false;
    const isNew = room !== inRoom; // else the server knows what is drawn, and what was removed meanwhile
    inRoom = room;
    call.enter(room, number);
    [own, unanswered, latest] = [number, 0, state];
    viewer.marks.clear();
    for (const mark of marks) viewer.marks.set(mark.id, mark);
    if (isNew) for (const mark of mine.values()) channel.say(mark);
    tellPresence();
    if (state && find("follow").checked) follow(state);
    else if (!state) tellState();
    viewer.redraw();
  },
  ice({ servers }) {
    call.iceServers = servers;
  },
  people(message) {
    people = message.people;
    const here = people.map(({ number }) => number);
    for (const number of viewer.pointers.keys()) if (!here.includes(number)) viewer.pointers.delete(number);
    viewer.colour = people.find(({ number }) => number === own)?.colour ?? 0;
    showPeople();
    call.setOthers(here.filter((number) => number !== own));
    viewer.redraw();
  },
  state(message) {
    latest = message;
    if (message.from === own) unanswered -= 1;
    else if (unanswered <= 0 && find("follow").checked) follow(message);
  },
  pointer({ from, x, ...place }) {
    const person = people.find(({ number }) => number === from);
    if (x === null || !person) viewer.pointers.delete(from);
    else viewer.pointers.set(from, { x, ...place, name: person.name, colour: person.colour });
    viewer.redraw();
  },
  mark(mark) {
    viewer.marks.set(mark.id, mark);
    viewer.redraw();
  },
  unmark({ id }) {
    viewer.marks.delete(id);
    mine.delete(id);
    viewer.redraw();
  },
  chat({ name, colour, text }) {
    const line = document.createElement("li");
    const who = document.createElement("bdi");
    who.className = `who-said colour-${colour}`;
    who.textContent = name;
    line.append(who, ` ${text}`);
    find("chat").append(line);
    line.scrollIntoView({ block: "nearest" });
  },
  rtc({ from, ...content }) {
    call.take(from, content).catch(() => showNoWay(from));
  },
};

function showPeople() {
  const list = find("people");
  for (const item of [...list.children]) if (!people.some(({ number }) => String(number) === item.dataset.number)) item.remove();
  for (const person of people) {
    const number = String(person.number);
    let item = [...list.children].find((found) => found.dataset.number === number);
    if (!item) {
      item = find("person").content.firstElementChild.cloneNode(true);
      item.dataset.number = number;
      list.append(item);
    }
    item.querySelector(".swatch").className = `swatch colour-${person.colour}`;
    item.querySelector(".name").textContent = person.name;
    const about = [person.number === own && words.you, person.host && words.host, person.microphone && words.microphone, person.apart && words.apart];
    item.querySelector(".about").textContent = about.filter(Boolean).join(", ");
    showVideo(item, person);
  }
}

function showVideo(item, person) {
  const video = item.querySelector("video");
  const isOwn = person.number === own;
  const stream = isOwn ? call.stream : (streams.get(person.number) ?? null);
  video.hidden = !person.camera;
  video.muted = isOwn;
  if (video.srcObject === stream) return;
  video.srcObject = stream;
  if (stream && !isOwn) play(video);
}

async function play(video) {
  try {
    await video.play();
  } catch (fault) {
    if (fault.name !== "NotAllowedError") return; // a later stream has taken its place
    notice(words.noSound);
    addEventListener("pointerdown", () => (notice(""), play(video)), { once: true });
  }
}

function showNoWay(number) {
  const item = [...find("people").children].find((found) => found.dataset.number === String(number));
  if (item) item.querySelector(".about").textContent = words.noWay;
}

async function toggle(button, kind) {
  button.disabled = true;
  try {
    if (call.has(kind)) call.stop(kind);
    else if (!navigator.mediaDevices) notice(words.noSecure);
    else (await call.start(kind)).addEventListener("ended", () => toggle(button, kind));
  } catch {
    notice(words.noDevice);
  }
  if (isOver) call.stop(kind); // it ended while the browser asked
  button.disabled = false;
  button.setAttribute("aria-pressed", String(call.has(kind)));
  tellPresence();
}

channel.addEventListener("message", ({ detail }) => takers[detail.kind]?.(detail));
channel.addEventListener("lost", () => notice(words.lost));
channel.addEventListener("over", ({ detail }) => {
  isOver = true;
  if (detail === "notAllowed") location.reload(); // to the login, or to nothing: no image stays on the screen
  notice(words[detail] ?? "");
  call.stop("audio");
  call.stop("video");
  call.setOthers([]);
  for (const name of ["microphone", "camera"]) find(name).setAttribute("aria-pressed", "false");
  [people, viewer.pointers] = [[], new Map()];
  showPeople();
  viewer.redraw();
  find("side").disabled = true;
});
call.addEventListener("stream", ({ detail: { number, stream } }) => {
  if (stream) streams.set(number, stream);
  else streams.delete(number);
  showPeople();
});
call.addEventListener("noway", ({ detail }) => showNoWay(detail));

viewer.addEventListener("move", tellState);
viewer.addEventListener("point", ({ detail }) => tellPointer(detail));
viewer.addEventListener("draw", ({ detail: { colour: _, ...drawn } }) => {
  const mark = { kind: "mark", id: randomId(), ...drawn, text: find("mark-text").value.trim() };
  if (!channel.say(mark)) return;
  mine.set(mark.id, mark);
  find("mark-text").value = "";
});

find("undo").addEventListener("click", () => {
  const last = [...mine.keys()].pop();
  if (last && channel.say({ kind: "unmark", id: last })) mine.delete(last); // at once: a second press means the one before
});
find("fit").addEventListener("click", () => viewer.fit());
for (const button of root.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => viewer.setWindow(...button.dataset.window.split(",").map(Number)));
}
for (const button of root.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => {
    viewer.tool = button.dataset.tool;
    for (const other of root.querySelectorAll("[data-tool]")) other.setAttribute("aria-pressed", String(other === button));
  });
}
find("series").addEventListener("change", async ({ target }) => {
  if (await viewer.open(target.value).catch(() => false)) tellState();
  else notice(words.noImages);
});
find("follow").addEventListener("change", ({ target }) => {
  tellPresence();
  if (target.checked && latest) follow(latest);
});
find("microphone").addEventListener("click", ({ currentTarget }) => toggle(currentTarget, "audio"));
find("camera").addEventListener("click", ({ currentTarget }) => toggle(currentTarget, "video"));
find("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("chat-text").value.trim();
  if (text && channel.say({ kind: "chat", text })) find("chat-text").value = "";
});
find("link").value = location.href;
find("link").addEventListener("focus", ({ target }) => target.select());
find("copy").addEventListener("click", async ({ currentTarget }) => {
  find("link").select();
  // without HTTPS there is no clipboard; the link is chosen, to be copied by keys
  await navigator.clipboard?.writeText(location.href).then(() => (currentTarget.textContent = words.copied), () => {});
});
find("end")?.addEventListener("click", async () => {
  const headers = { "X-Requested-With": "pneumoscope" };
  const response = await fetch(`/together/${meeting}/end`, { method: "POST", headers }).catch(() => null);
  if (!response?.ok && !isOver) notice(words.notEnded);
});

const series = await loadSeries(dicomweb, study).catch(() => []);
for (const { uid, number, modality, words: described, images } of series) {
  find("series").append(new Option(`${number ?? ""} ${modality} ${described} (${images})`.trim(), uid));
}
let isShown = false;
for (const { uid } of series) {
  isShown = await viewer.open(uid).catch(() => false);
  if (isShown) break;
}
find("series").value = viewer.series;
if (!isShown) notice(words.noImages);
channel.open();
