// The main script: the WebSocket with the states of the connections, the choice and the buttons.

import { addTest, chat, hurry, start } from "./chat.js";
import { Line, url, watchCloses } from "./socket.js";
import * as story from "./story.js";
import * as tree from "./tree.js";

const find = id => document.getElementById(id);
const buttons = [...document.querySelectorAll("[data-action]")];
const add = find("add"), status = find("line"), down = find("down");
const open = new Map();
let chosen = "", server = "", stopping = 0, closes = [], enoughTests = false, live = false;

// ---------------------------------------------------------------------------- the choice

const labelOf = data => data.id === chat.id ? `${data.name} (you)` : data.name;

const refresh = () => {
  if (!open.has(chosen)) chosen = open.has(chat.id) ? chat.id : "";
  tree.mark(chosen);
  find("chosen").textContent = chosen ? labelOf(open.get(chosen)) : "a connection";
  // `aria-disabled` instead of `disabled`, because a button that was just pressed must keep the focus.
  for (const button of buttons) button.setAttribute("aria-disabled", !allowed(button.dataset.action));
  add.setAttribute("aria-disabled", !live || enoughTests);
};

const allowed = action => live && (chosen !== "" || action === "stop");

const choose = id => { chosen = id; refresh(); };

// --------------------------------------------------------------------- messages of the server

const report = (text, more) => {
  const place = find("outcome-text");
  if (place.textContent !== text) place.textContent = text; // written only on a change, because screen readers read it out
  find("outcome-link").hidden = !more;
};

const update = data => {
  if (data.state === "ended") open.delete(data.id);
  else open.set(data.id, data);
  tree.update(data, labelOf(data), choose);
};

/** A server that this page has not seen before. */
const meet = () => {
  story.forget();
  add.onclick();
};

const handlers = {
  server: facts => {
    if (server !== facts.process) meet();
    server = facts.process;
    find("facts").textContent = `Hypercorn ${facts.hypercorn} on ${facts.backend}, process ${facts.process}`;
  },
  connections: all => {
    open.clear();
    tree.keep(new Set(all.map(data => data.id)));
    all.forEach(update);
  },
  connection: update,
  gone: id => { open.delete(id); tree.remove(id); },
  story: data => {
    if (story.show(data)) report(`${story.title(data)}.`, true);
  },
  refused: text => report(text, false),
};

// ------------------------------------------------------------------------------ its own line

const STATES = { connecting: "Connecting", open: "Live", waiting: "No server" };
const STOPPED = "The server has closed its WebSockets (code 1012) and stopped. Start it again with python -m examples.demonstration: " +
  "this page comes back by itself.";

const changed = (state, event) => {
  live = state === "open";
  if (live || state === "waiting") {
    status.dataset.state = state;
    status.textContent = STATES[state];
    down.hidden = live;
  }
  if (state === "waiting") {
    if (event.code === 1012) find("down-text").textContent = STOPPED;
    else if (down.hidden || !find("down-text").textContent) {
      find("down-text").textContent = "The server does not answer. Coming back as soon as it does.";
    }
    open.clear();
    tree.keep(new Set());
  } else if (live) {
    find("down-text").textContent = "";
  }
  refresh();
};

watchCloses((label, code) => {
  if (!stopping) return;
  const at = (performance.now() - stopping) / 1000;
  closes.push({ at, kind: "closed", text: `${label} was closed with code ${code}` });
  story.showShutdown(closes);
  report("The server was shut down.", true);
});

const line = new Line("This page's own WebSocket", () => url("/watch", {}), {
  message: data => {
    for (const [key, value] of Object.entries(data)) handlers[key](value);
    refresh();
  },
  state: changed,
});

// ------------------------------------------------------------------------------- the buttons

for (const button of buttons) {
  button.onclick = () => {
    const action = button.dataset.action;
    if (!allowed(action)) return;
    if (action === "stop") {
      stopping = performance.now();
      closes = [];
    } else {
      stopping = 0;
    }
    line.send(JSON.stringify({ do: action, to: chosen }));
  };
}

add.onclick = () => {
  if (live && !enoughTests) addTest(tree.shows, enough => { enoughTests = enough; refresh(); });
};
find("retry").onclick = () => { line.hurry(); hurry(); };

start(() => {
  open.forEach(update);
  refresh();
});
