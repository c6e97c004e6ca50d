// The chat, and the test connections: the connections of this page that can be broken.

import { Line, flood, url } from "./socket.js";

const MOST_SHOWN = 100;
const MOST_TESTS = 3;
const TEST_NAMES = ["Pip", "Biscuit", "Clover", "Hazel", "Nutmeg", "Pepper", "Olive", "Waffle", "Plum", "Moss", "Toffee", "Fern"];

const find = id => document.getElementById(id);
const log = find("said"), people = find("people"), tick = find("tick");
const naming = find("naming"), saying = find("saying");

export const chat = { id: "", name: sessionStorage.getItem("name") ?? `Guest ${Math.floor(10 + Math.random() * 90)}` };
const tests = new Set();
let here = [], last = "", line;

const show = (kind, text, name) => {
  log.querySelector(".empty")?.remove();
  const item = document.createElement("li");
  item.className = kind;
  if (name) {
    const who = document.createElement("b");
    who.textContent = name;
    item.append(who, " ");
  }
  item.append(text);
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(item);
  while (log.childElementCount > MOST_SHOWN) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
};

const showPeople = () => {
  people.textContent = here.length ? `Here: ${[...here].sort().join(", ")}.` : "Nobody is here yet.";
};

const handlers = {
  people: value => { here = value; showPeople(); },
  joined: value => { here.push(value); showPeople(); },
  left: value => { here.splice(here.indexOf(value), 1); showPeople(); },
  missed: count => show("note", `${count} or more messages are missing here.`),
  at: value => { last = value; },
  said: value => show("message", value.text, value.name),
  tick: number => { tick.textContent = number; },
  flood: count => flood(line, count),
};

const buttons = [naming, saying].map(form => form.querySelector("button"));

const changed = (state, event) => {
  // `aria-disabled` instead of `disabled`, because a button with the focus must not lose it.
  for (const button of buttons) button.setAttribute("aria-disabled", state !== "open");
  if (state === "open") return;
  chat.id = "";
  tick.textContent = "none";
  here = [];
  people.textContent = state === "connecting" ? "Connecting." : "You are not connected. Coming back.";
  if (state === "waiting" && event.code !== 1006) show("note", `Your connection was closed with code ${event.code}.`);
};

/** Start talking. `known` is called when this page knows which connection is its own. */
export const start = known => {
  handlers.you = id => {
    chat.id = id;
    known();
  };
  naming.elements.name.value = chat.name;
  line = new Line("Your chat", () => url("/chat", { name: chat.name, after: last }), {
    message: data => { for (const [key, value] of Object.entries(data)) handlers[key](value); },
    state: changed,
  });
  naming.onsubmit = event => {
    event.preventDefault();
    const name = naming.elements.name.value.trim();
    if (!name || name === chat.name) return;
    if (!line.isOpen()) {
      show("note", "Not renamed: you are not connected. The name is still in the field.");
      return;
    }
    chat.name = name;
    sessionStorage.setItem("name", name);
    line.renew();
  };
  saying.onsubmit = event => {
    event.preventDefault();
    if (line.send(saying.elements.message.value)) saying.reset();
    else show("note", "Not sent: you are not connected. The message is still in the field.");
  };
};

/** Come back now, if it would only do so later. */
export const hurry = () => line.hurry();

/**
 * One more connection that is there to be broken.
 * @param {(name: string) => boolean} taken  Whether a connection is shown under this name.
 * @param {(enough: boolean) => void} changed  Told when their number changes.
 */
export const addTest = (taken, changed) => {
  const free = TEST_NAMES.map(name => `Test ${name}`).filter(name => !taken(name));
  const test = { name: free[Math.floor(Math.random() * free.length)] ?? "Test" };
  tests.add(test);
  new Line(test.name, () => url("/test", { name: test.name }), {
    message: (data, own) => { if (data.flood) flood(own, data.flood); },
    state: state => {
      if (state === "closed") tests.delete(test);
      changed(tests.size >= MOST_TESTS);
    },
  }, false);
};
