// The channel to the room: it comes again by itself when it breaks, unless the server says why not.

// Numbers by which the server closes for good (`Close` in room.py), and which words of the page tell it.
const REASONS = new Map([
  [4000, "ended"],
  [4001, "full"],
  [4003, "notAllowed"],
  [4004, "ended"],
  [4005, "fault"],
  [4006, "fault"],
  [4008, "elsewhere"],
]);

/** Events: `message` (detail: what it says), `lost`, `over` (detail: name of the reason). */
export class Channel extends EventTarget {
  #socket = null;
  #wait_ms = 500;
  #url;

  constructor(meeting, invite) {
    super();
    const url = new URL(`/together/${meeting}/channel`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ invite, tab: randomId() });
    this.#url = url;
  }

  open() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      this.#wait_ms = 500;
      this.dispatchEvent(new CustomEvent("message", { detail: JSON.parse(data) }));
    });
    socket.addEventListener("close", ({ code }) => {
      if (REASONS.has(code)) {
        this.dispatchEvent(new CustomEvent("over", { detail: REASONS.get(code) }));
        return;
      }
      this.dispatchEvent(new Event("lost"));
      setTimeout(() => this.open(), this.#wait_ms);
      this.#wait_ms = Math.min(10_000, this.#wait_ms * 2);
    });
  }

  /** Whether it went out. */
  say(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }
}

/** Also where a page is not served by HTTPS, and so has no `crypto.randomUUID`. */
export function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
