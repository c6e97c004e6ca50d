// The live tree: one card per connection, updated in place so that the focus does not move.

const find = id => document.getElementById(id);
const tree = find("tree"), template = find("card").content.firstElementChild;
const cards = new Map();
const vacant = []; // cards of forgotten connections, whose places are free
const PATIENCE = 300; // milliseconds until a free place is closed

const STATES = { open: "open", connecting: "connecting", requested: "connecting", accepting: "connecting",
  closing: "closing", rejected: "denied", closed: "ending", ended: "ended" };
const FAULTS = { reset: "next send fails", stalled: "not reading" };

/** Write only what is different, for what is written is drawn and read out again. */
const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };

const fill = (card, way, { used, limit }) => {
  const row = card.querySelector(`[data-way=${way}]`), bar = row.querySelector(".bar");
  const shown = Math.min(used, limit);
  bar.firstElementChild.style.transform = `scaleX(${shown / limit})`;
  bar.dataset.full = shown === limit;
  bar.setAttribute("aria-label", `${way} buffer, messages`);
  bar.setAttribute("aria-valuemax", limit);
  bar.setAttribute("aria-valuenow", shown);
  write(row.querySelector(".count"), used > limit ? `${limit} + ${used - limit}` : `${used} of ${limit}`);
};

const listTasks = (list, tasks) => {
  while (list.childElementCount > tasks.length) list.lastElementChild.remove();
  tasks.forEach(({ name, state }, index) => {
    let item = list.children[index];
    if (!item) {
      item = document.createElement("li");
      item.append(document.createElement("span"), " ", document.createElement("span"));
      list.append(item);
    }
    item.dataset.state = state;
    write(item.firstElementChild, name);
    write(item.lastElementChild, state);
  });
};

/** Show a connection as it is now. `label` is what it is called. */
export const update = (data, label, choose) => {
  tree.querySelector(":scope > .empty")?.remove();
  let card = cards.get(data.id);
  if (!card) {
    card = template.cloneNode(true);
    card.dataset.id = data.id;
    cards.set(data.id, card);
    const free = vacant.shift();
    if (free) free.replaceWith(card);
    else tree.append(card);
    card.querySelector("input").value = data.id;
    card.querySelector("input").onchange = () => choose(data.id);
  }
  const state = FAULTS[data.fault] ?? STATES[data.state];
  card.dataset.state = data.fault || data.state;
  card.dataset.cancelled = data.cancelled !== "";
  card.querySelector("input").disabled = data.state === "ended";
  write(card.querySelector(".name"), label);
  write(card.querySelector(".state"), data.state === "ended" && data.code ? `ended ${data.code}` : state);
  write(card.querySelector(".scope span"), data.cancelled ? `cancelled, ${data.cancelled}` : data.state === "ended" ? "left" : "open");
  listTasks(card.querySelector(".tasks"), data.tasks);
  fill(card, "receive", data.receive);
  fill(card, "send", data.send);
  write(card.querySelector(".counts"), `${data.received} received, ${data.sent} sent`);
};

/** Forget a connection. A new one gets its place, so that the others stay in theirs. */
export const remove = id => {
  const card = cards.get(id);
  if (!card) return;
  cards.delete(id);
  vacant.push(card);
  setTimeout(clear, PATIENCE);
};

const clear = () => {
  while (vacant.length) vacant.shift().remove();
  if (cards.size || tree.querySelector(":scope > .empty")) return;
  const empty = document.createElement("p");
  empty.className = "empty";
  empty.textContent = "No connections.";
  tree.append(empty);
};

/** Forget those that are not in a list. */
export const keep = ids => {
  for (const id of [...cards.keys()]) if (!ids.has(id)) remove(id);
  clear();
};

/** Mark the one that is chosen. */
export const mark = id => {
  for (const [own, card] of cards) {
    card.querySelector("input").checked = own === id;
    card.dataset.chosen = own === id;
  }
};

/** Whether a connection of this name is shown. */
export const shows = name => [...cards.values()].some(card => card.querySelector(".name").textContent === name);
