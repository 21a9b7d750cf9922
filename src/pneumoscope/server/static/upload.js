// The upload page with a script: folders can be dropped, files go in batches, and each study is followed until it is read.

const form = document.querySelector("form.upload");
const drop = form.querySelector(".drop");
const progress = document.querySelector("section.progress");
const words = document.querySelector("template.words").dataset;
const LIMITS = { bytes: Number(form.dataset.batchBytes), files: Number(form.dataset.batchFiles), one: Number(form.dataset.limitBytes) };
const ASK_EVERY_MS = 2000;
const ENDED = ["read", "held", "refused", "failed"];

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

const part = (name) => progress.querySelector(`.${name}`);
const say = (text) => (part("status").textContent = text);

/** Files in a dropped entry, however deep. */
async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) return found;
    for (const inner of some) found.push(...(await filesIn(inner)));
  }
}

/** Files in groups, none of which is more than the node takes at once. */
function inBatches(files) {
  const batches = [];
  let bytes = Infinity;
  for (const file of files) {
    bytes += file.size;
    if (bytes > LIMITS.bytes || batches.at(-1).length === LIMITS.files) {
      batches.push([]);
      bytes = file.size;
    }
    batches.at(-1).push(file);
  }
  return batches;
}

/** One request, whose progress is told in bytes; resolves to the node's answer and its status. */
function send(batch, fields, { onProgress, signal }) {
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, value);
  for (const file of batch) body.append("files", file, "file"); // names of files can be names of patients
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-Requested-With", "pneumoscope");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    request.addEventListener("load", () => resolve({ status: request.status, answer: request.response ?? {} }));
    request.addEventListener("error", () => reject(new Error(words.away)));
    request.addEventListener("abort", () => reject(new Error(words.stopped)));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

class Upload {
  constructor(files) {
    // the fields as they are now, while none is disabled yet: a disabled one is not sent
    this.fields = [...new FormData(form)].filter(([, value]) => typeof value === "string");
    this.tooLarge = files.filter((file) => file.size > LIMITS.one);
    this.files = files.filter((file) => file.size <= LIMITS.one);
    this.bytes = this.files.reduce((sum, file) => sum + file.size, 0);
    this.sent = { files: 0, bytes: 0 };
    this.taken = 0;
    this.reasons = new Map();
    this.studies = new Map();
    this.stop = new AbortController();
    if (this.tooLarge.length) this.count(fill(words.tooLarge, { size: megabytes(LIMITS.one) }), this.tooLarge.length);
  }

  count(reason, number) {
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + number);
    part("reasons").replaceChildren(...[...this.reasons].map(([text, times]) => item(`${times} × ${text}`)));
  }

  show(bytesUnderWay) {
    const bytes = Math.min(this.bytes, this.sent.bytes + bytesUnderWay);
    progress.querySelector("progress").value = this.bytes ? bytes / this.bytes : 0;
    part("amount").textContent = fill(words.amount, {
      files: this.sent.files,
      allFiles: this.files.length,
      size: megabytes(bytes),
      allSize: megabytes(this.bytes),
    });
  }

  async run() {
    say(words.sending);
    this.show(0);
    const batches = inBatches(this.files);
    for (const [number, batch] of batches.entries()) {
      const more = number + 1 < batches.length ? [["more", "yes"]] : []; // a study is not complete before the last
      const { status, answer } = await send(batch, [...this.fields, ...more], { onProgress: (bytes) => this.show(bytes), signal: this.stop.signal });
      if (status !== 200 && status !== 422) throw new Error(fill(words.broken, { reason: answer.message ?? status }));
      this.sent.files += batch.length;
      this.sent.bytes += batch.reduce((sum, file) => sum + file.size, 0);
      this.show(0);
      const { outcomes, reasons, studies } = answer;
      this.taken += (outcomes.filed ?? 0) + (outcomes.duplicate ?? 0) + (outcomes.own ?? 0);
      for (const { message, count } of reasons) this.count(message, count);
      for (const study of studies) this.follow(study);
    }
    const refused = [...this.reasons.values()].reduce((sum, number) => sum + number, 0);
    say(fill(words.done, { taken: this.taken, refused }));
  }

  follow(study) {
    if (this.studies.has(study)) return;
    const line = item("");
    this.studies.set(study, line);
    part("studies").append(line);
    this.ask(study, line);
  }

  /** Ask how far the reading is, until it has ended and no more images are on their way. */
  async ask(study, line) {
    let found;
    try {
      const answer = await fetch(`/api/studies/${study}/state`, { headers: { Accept: "application/json", "X-Background": "1" } });
      if (answer.ok) found = await answer.json();
    } catch {
      // the node is away for a moment: asked again
    }
    if (found) {
      line.dataset.state = found.settled ? found.state : "arriving";
      line.replaceChildren(
        link(`/studies/${study}`, words.study),
        ` ${words[line.dataset.state]}. ${found.settled ? found.headline || found.message : ""} `,
        ...(line.dataset.state === "read" ? [link(`/viewer/viewer?StudyInstanceUIDs=${study}`, words.viewer)] : []),
      );
    }
    if (!found?.settled || !ENDED.includes(found.state)) setTimeout(() => this.ask(study, line), ASK_EVERY_MS);
  }
}

function item(text) {
  const line = document.createElement("li");
  line.textContent = text;
  return line;
}

function link(place, text) {
  const anchor = document.createElement("a");
  [anchor.href, anchor.textContent] = [place, text];
  return anchor;
}

let running = null;

async function start(files) {
  if (running) return;
  progress.hidden = false;
  part("reasons").replaceChildren();
  part("studies").replaceChildren();
  if (!files.length) {
    say(words.nothing);
    return;
  }
  const upload = new Upload(files);
  running = upload;
  setBusy(true);
  try {
    await upload.run();
  } catch (fault) {
    upload.stop.abort();
    say(fault.message);
  }
  running = null;
  setBusy(false);
}

function setBusy(busy) {
  for (const control of form.querySelectorAll("input, button:not(.cancel)")) control.disabled = busy;
  form.querySelector(".cancel").hidden = !busy;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  start([...form.querySelectorAll("input[type=file]")].flatMap((input) => [...input.files]));
});
form.querySelector(".cancel").addEventListener("click", () => running?.stop.abort());
form.querySelector(".hint").hidden = false;
for (const name of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
  });
}
drop.addEventListener("drop", async (event) => {
  const entries = [...event.dataTransfer.items].map((one) => one.webkitGetAsEntry()).filter(Boolean);
  start((await Promise.all(entries.map(filesIn))).flat());
});
