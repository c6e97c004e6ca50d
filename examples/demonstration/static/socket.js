// A WebSocket that reconnects: after half a second at first, then after longer pauses, up to eight.

const SHORTEST = 500;
const LONGEST = 8000;

let onClosed = () => {};

/** Call `report` for each open connection that is closed, with its label and the code. */
export const watchCloses = report => { onClosed = report; };

export class Line {
  /**
   * @param {string} label  Its name in what the page reports of closes.
   * @param {() => string} address  Where to connect: asked anew each time.
   * @param {{message: (data: object, line: Line) => void, state: (state: string, event?: CloseEvent) => void}} handlers
   * @param {boolean} returns  Whether it comes back after it was closed.
   */
  constructor(label, address, handlers, returns = true) {
    this.label = label;
    this.address = address;
    this.handlers = handlers;
    this.returns = returns;
    this.wait = SHORTEST;
    this.dial();
  }

  dial() {
    clearTimeout(this.timer);
    this.handlers.state("connecting");
    const ws = this.ws = new WebSocket(this.address());
    let opened = false;
    ws.onopen = () => {
      opened = true;
      this.wait = SHORTEST;
      this.handlers.state("open");
    };
    ws.onmessage = event => this.handlers.message(JSON.parse(event.data), this);
    ws.onclose = event => {
      if (ws !== this.ws) return; // replaced by another one
      if (opened) onClosed(this.label, event.code);
      this.handlers.state(this.returns ? "waiting" : "closed", event);
      if (!this.returns) return;
      this.timer = setTimeout(() => this.dial(), this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(this.wait * 2, LONGEST);
    };
  }

  isOpen() {
    return this.ws.readyState === WebSocket.OPEN;
  }

  /** Send if it is open, and say whether it was. */
  send(data) {
    const open = this.isOpen();
    if (open) this.ws.send(data);
    return open;
  }

  /** Dial now, if it would only do so later. */
  hurry() {
    if (this.ws.readyState === WebSocket.CLOSED) this.dial();
  }

  /** Hang up and dial again, as with another name. */
  renew() {
    const old = this.ws;
    this.dial();
    old.close(1000);
  }
}

export const url = (path, query) => {
  const address = new URL(path, location.href);
  address.protocol = "ws:";
  address.search = new URLSearchParams(query);
  return address.href;
};

/** Send many pieces of work at once: whether the server's buffer fills is up to its handler. */
export const flood = (line, count) => {
  for (let sent = 0; sent < count; sent += 1) line.send(new Uint8Array([1]));
};
