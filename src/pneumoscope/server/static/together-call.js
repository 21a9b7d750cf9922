// Voice and video, from browser to browser (WebRTC, "perfect negotiation": of two offers at once the polite side's yields).

/** Events: `stream` (detail: number, stream or null), `noway` (detail: number). `signal(to, content)` carries messages to another. */
export class Call extends EventTarget {
  #peers = new Map(); // number of the other: peer
  #mine = new MediaStream();
  #signal;
  #room = "";
  #own = 0;
  #others = [];
  iceServers = [];

  constructor(signal) {
    super();
    this.#signal = signal;
  }

  get stream() {
    return this.#mine;
  }

  has(kind) {
    return this.#mine.getTracks().some((track) => track.kind === kind);
  }

  /** Begin with `kind`, "audio" or "video"; raises what the browser raises where there is none. */
  async start(kind) {
    const wanted = kind === "video" ? { video: { width: { ideal: 640 }, height: { ideal: 360 } } } : { audio: true };
    const [track] = (await navigator.mediaDevices.getUserMedia(wanted)).getTracks();
    this.#mine.addTrack(track);
    for (const number of this.#others) this.#peer(number);
    for (const { connection } of this.#peers.values()) this.#give(connection, track);
    return track;
  }

  stop(kind) {
    for (const track of this.#mine.getTracks().filter((found) => found.kind === kind)) {
      track.stop();
      this.#mine.removeTrack(track);
      for (const { connection } of this.#peers.values()) {
        const sender = connection.getSenders().find((found) => found.track === track);
        if (sender) connection.removeTrack(sender);
      }
    }
  }

  /** Be `own` in a room; in another than before, numbers mean others than before. */
  enter(room, own) {
    if (room !== this.#room || own !== this.#own) for (const number of this.#peers.keys()) this.#end(number);
    [this.#room, this.#own] = [room, own];
  }

  /** Who else is there, by number; connections to those who are gone end. */
  setOthers(numbers) {
    this.#others = numbers;
    for (const number of this.#peers.keys()) if (!numbers.includes(number)) this.#end(number);
    if (this.#mine.getTracks().length) for (const number of numbers) this.#peer(number);
  }

  async take(from, { description, candidate }) {
    if (!this.#others.includes(from)) return;
    const peer = this.#peer(from);
    const { connection } = peer;
    try {
      if (description) {
        const collides = description.type === "offer" && (peer.offering || connection.signalingState !== "stable");
        peer.ignored = collides && !peer.polite;
        if (peer.ignored) return;
        await connection.setRemoteDescription(description);
        if (description.type !== "offer") return;
        await connection.setLocalDescription();
        this.#signal(from, { description: plain(connection.localDescription) });
      } else if (candidate) {
        await connection.addIceCandidate(candidate);
      }
    } catch (fault) {
      if (!peer.ignored && this.#peers.get(from) === peer) throw fault;
    }
  }

  #peer(number) {
    if (this.#peers.has(number)) return this.#peers.get(number);
    const connection = new RTCPeerConnection({ iceServers: this.iceServers });
    const peer = { connection, polite: this.#own > number, offering: false, ignored: false };
    this.#peers.set(number, peer);
    connection.addEventListener("negotiationneeded", async () => {
      try {
        peer.offering = true;
        await connection.setLocalDescription();
        this.#signal(number, { description: plain(connection.localDescription) });
      } catch (fault) {
        if (this.#peers.get(number) === peer) throw fault; // else it was closed meanwhile
      } finally {
        peer.offering = false;
      }
    });
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate) this.#signal(number, { candidate: bare(candidate) });
    });
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState !== "failed") return;
      this.dispatchEvent(new CustomEvent("noway", { detail: number }));
      if (!peer.polite) connection.restartIce();
    });
    connection.addEventListener("track", ({ streams: [stream] }) => {
      const tell = () => this.dispatchEvent(new CustomEvent("stream", { detail: { number, stream } }));
      stream.onremovetrack = tell;
      tell();
    });
    for (const track of this.#mine.getTracks()) this.#give(connection, track);
    return peer;
  }

  #give(connection, track) {
    if (!connection.getSenders().some((sender) => sender.track === track)) connection.addTrack(track, this.#mine);
  }

  #end(number) {
    this.#peers.get(number).connection.close();
    this.#peers.delete(number);
    this.dispatchEvent(new CustomEvent("stream", { detail: { number, stream: null } }));
  }
}

// What the room takes; browsers may know of more.
const plain = ({ type, sdp }) => ({ type, sdp });
const bare = ({ candidate, sdpMid, sdpMLineIndex, usernameFragment }) => ({ candidate, sdpMid, sdpMLineIndex, usernameFragment });
