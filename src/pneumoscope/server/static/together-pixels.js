// Images of a study from DICOMweb: what series there are, their frames as numbers, and grey values of these.

const PARALLEL = 4;
const MOST_BYTES = 300e6;

const first = (dataset, tag) => dataset[tag]?.Value?.[0];
const list = (dataset, tag) => dataset[tag]?.Value ?? [];

/** Series that can be shown, images before what was made of them. */
export async function loadSeries(root, study) {
  const response = await fetch(`${root}/studies/${study}/series`, { headers: { Accept: "application/dicom+json" } });
  if (response.status === 204) return [];
  if (!response.ok) throw new Error(`series: ${response.status}`);
  const found = (await response.json()).map((ds) => ({
    uid: first(ds, "0020000E"),
    modality: first(ds, "00080060") ?? "",
    number: first(ds, "00200011"),
    words: first(ds, "0008103E") ?? "",
    images: first(ds, "00201209") ?? 0,
  }));
  const shown = found.filter(({ modality }) => !["SEG", "SR", "PR", "KO", "RTSTRUCT", "DOC", "REG"].includes(modality));
  return shown.sort((a, b) => (b.modality === "CT") - (a.modality === "CT") || b.images - a.images);
}

/** The frames of a series, from feet to head where their places are known. */
export async function loadFrames(root, study, series) {
  const place = `${root}/studies/${study}/series/${series}`;
  const response = await fetch(`${place}/metadata`, { headers: { Accept: "application/dicom+json" } });
  if (!response.ok) throw new Error(`metadata: ${response.status}`);
  const frames = (await response.json()).flatMap((ds) => framesOf(ds, place));
  const ordered = frames.every(({ position }) => position !== null);
  frames.sort((a, b) => (ordered && a.position - b.position) || a.number - b.number || a.frame - b.frame);
  return frames;
}

function framesOf(ds, place) {
  const [rows, columns, bits] = ["00280010", "00280011", "00280100"].map((tag) => first(ds, tag));
  if (!rows || !columns || ![8, 16].includes(bits) || (first(ds, "00280002") ?? 1) !== 1) return [];
  const shared = first(ds, "52009229") ?? {};
  return Array.from({ length: Number(first(ds, "00280008") ?? 1) }, (_, index) => {
    const own = list(ds, "52009230")[index] ?? {};
    // of an enhanced object, in its functional groups; else in the object itself
    const group = (tag) => first(own, tag) ?? first(shared, tag) ?? ds;
    return {
      key: `${first(ds, "00080018")}/${index + 1}`,
      url: `${place}/instances/${first(ds, "00080018")}/frames/${index + 1}`,
      series: first(ds, "0020000E"),
      modality: first(ds, "00080060"),
      instance: first(ds, "00080018"),
      frame: index + 1,
      number: Number(first(ds, "00200013") ?? 0),
      position: along(list(group("00209113"), "00200032"), list(group("00209116"), "00200037")),
      sides: sidesOf(list(group("00209116"), "00200037").map(Number)),
      spacing: list(group("00289110"), "00280030").map(Number),
      slope: Number(first(group("00289145"), "00281053") ?? 1),
      intercept: Number(first(group("00289145"), "00281052") ?? 0),
      window: [first(group("00289132"), "00281050"), first(group("00289132"), "00281051")].map(Number),
      inverted: first(ds, "00280004") === "MONOCHROME1",
      signed: first(ds, "00280103") === 1,
      unused: bits - Number(first(ds, "00280101") ?? bits),
      rows,
      columns,
      bits,
    };
  });
}

/** Where a slice lies along its normal, in mm. */
function along(position, orientation) {
  if (position.length !== 3 || orientation.length !== 6) return null;
  const [a, b, c, d, e, f] = orientation.map(Number);
  const normal = [b * f - c * e, c * d - a * f, a * e - b * d];
  return normal.reduce((sum, part, axis) => sum + part * Number(position[axis]), 0);
}

/** Letters of the patient's sides at the left and at the top of the picture (PS3.3 C.7.6.1.1.1); empty where it is not known. */
function sidesOf(orientation) {
  if (orientation.length !== 6) return ["", ""];
  return [orientation.slice(0, 3), orientation.slice(3)].map((towards) => {
    const size = towards.map(Math.abs);
    const axis = size.indexOf(Math.max(...size));
    return size[axis] < 0.8 ? "" : (towards[axis] > 0 ? "RAF" : "LPH")[axis];
  });
}

/** Frames that were fetched, the last used kept; what is looked at goes before what may be looked at next. */
export class Pixels {
  #kept = new Map();
  #bytes = 0;
  #next = [];
  #running = 0;

  /** The numbers of a frame, before any rescale. */
  get(frame) {
    const kept = this.#kept.get(frame.key) ?? this.#begin(frame);
    this.#kept.delete(frame.key);
    this.#kept.set(frame.key, kept);
    return kept.coming;
  }

  #begin(frame) {
    const begun = { coming: this.#fetch(frame), bytes: (frame.rows * frame.columns * frame.bits) / 8 };
    this.#bytes += begun.bytes;
    begun.coming.catch(() => this.#forget(frame.key, begun));
    for (const [key, kept] of this.#kept) {
      if (this.#bytes <= MOST_BYTES) break;
      this.#forget(key, kept);
    }
    return begun;
  }

  #forget(key, kept) {
    if (this.#kept.get(key) !== kept) return;
    this.#kept.delete(key);
    this.#bytes -= kept.bytes;
  }

  /** What is likely to be wanted soon, the likeliest first; forgets what was said before. */
  expect(frames) {
    this.#next = frames.filter(({ key }) => !this.#kept.has(key));
    this.#work();
  }

  #work() {
    while (this.#running < PARALLEL && this.#next.length) {
      const frame = this.#next.shift();
      if (this.#kept.has(frame.key)) continue;
      this.#running += 1;
      const done = () => {
        this.#running -= 1;
        this.#work();
      };
      this.get(frame).then(done, done);
    }
  }

  async #fetch(frame) {
    const accept = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1";
    const response = await fetch(frame.url, { headers: { Accept: accept } });
    if (!response.ok) throw new Error(`frame: ${response.status}`);
    const buffer = await response.arrayBuffer();
    const Kind = frame.bits === 8 ? (frame.signed ? Int8Array : Uint8Array) : frame.signed ? Int16Array : Uint16Array;
    const size = frame.rows * frame.columns;
    if (buffer.byteLength < size * Kind.BYTES_PER_ELEMENT) throw new Error("frame: too short");
    const values = new Kind(buffer, 0, size);
    if (frame.unused > 0) for (let n = 0; n < size; n += 1) values[n] = (values[n] << frame.unused) >> frame.unused;
    if (frame.unused > 0 && !frame.signed) for (let n = 0; n < size; n += 1) values[n] &= (1 << (frame.bits - frame.unused)) - 1;
    return values;
  }
}

/** Paint a frame's numbers as grey values into an ImageData of its size (PS3.3 C.11.2.1.3.2, LINEAR_EXACT). */
export function paint(image, frame, values, { centre, width }) {
  const lowest = (centre - width / 2 - frame.intercept) / frame.slope;
  const scale = (255 * frame.slope) / width;
  const words = new Uint32Array(image.data.buffer);
  for (let n = 0; n < values.length; n += 1) {
    let grey = (values[n] - lowest) * scale;
    grey = grey < 0 ? 0 : grey > 255 ? 255 : grey | 0;
    if (frame.inverted) grey = 255 - grey;
    words[n] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
}
