// What happened: a sentence, the drawing, the moments as text, and the equivalent code.

const find = id => document.getElementById(id);
const details = find("story-details"), what = find("story-what"), picture = find("picture"), entries = find("entries");
let shown = { number: 0, entries: [] };

const waiting = document.createElement("p");
waiting.className = "empty";
waiting.textContent = "Waiting for what follows.";

const about = action => find(`about-${action}`).content;

/** A story in a few words. */
export const title = ({ action, name }) => {
  const text = about(action).firstElementChild.textContent;
  return name ? `${name}: ${text[0].toLowerCase()}${text.slice(1)}` : text;
};

const describe = story => {
  find("story-empty").hidden = true;
  details.hidden = false;
  const [, ...why] = about(story.action).children, code = why.pop();
  what.textContent = title(story);
  find("story-why").replaceChildren(...why.map(each => each.cloneNode(true)));
  find("story-code").replaceChildren(code.cloneNode(true));
};

/** A time as the drawing has it. */
const duration = seconds => {
  if (seconds <= 0) return "0 s";
  if (seconds < 0.9995e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 0.9995) return `${Number((seconds * 1e3).toPrecision(3))} ms`;
  return `${Number(seconds.toFixed(2))} s`; // no story takes a minute
};

const list = moments => {
  while (entries.childElementCount > moments.length) entries.lastElementChild.remove();
  moments.slice(entries.childElementCount).forEach(({ at, kind, text }) => {
    const item = document.createElement("li"), time = document.createElement("time"), line = document.createElement("span");
    time.textContent = duration(at);
    line.textContent = text;
    item.dataset.kind = kind;
    item.append(time, " ", line);
    entries.append(item);
  });
};

const whole = find("story-whole");

/** Nothing more comes: the frame is as high as its picture. */
const fit = () => { picture.style.minHeight = "0"; };

const draw = story => {
  const image = new Image();
  image.alt = `Timeline of ${story.name}; the list below says the same.`;
  // The number of moments is part of the URL, because a browser does not load the same URL twice.
  image.src = `/story/${story.number}.svg?${Math.round(picture.clientWidth)}&${story.entries.length}`;
  // It replaces the old picture when it is loaded, so that the page does not jump.
  image.decode().then(() => {
    if (story !== shown) return;
    picture.replaceChildren(image);
    if (story.over) fit();
  }, () => {});
};

/** Another server counts from 1 again. */
export const forget = () => { shown = { number: 0, entries: [] }; };

/** Show a story, or how it goes on, unless a newer one is shown. */
export const show = story => {
  if (story.number < shown.number) return false;
  if (story.number > shown.number) {
    entries.replaceChildren();
    if (picture.offsetHeight) picture.style.minHeight = `${picture.offsetHeight}px`; // so that the page below does not move
    picture.replaceChildren(waiting);
    picture.hidden = false;
    whole.open = false;
    describe(story);
  }
  shown = story;
  list(story.entries);
  if (story.entries.length) draw(story);
  return true;
};

/** The server was shut down: what this page has seen of it itself. */
export const showShutdown = seen => {
  describe({ action: "stop", name: "" });
  shown = { number: shown.number, entries: [] };
  picture.hidden = true;
  whole.open = true;
  entries.replaceChildren();
  list(seen);
};

// The text has its natural size only if the picture is drawn for the available width.
let width = 0;
new ResizeObserver(() => {
  if (picture.clientWidth === width) return;
  width = picture.clientWidth;
  if (!shown.over) picture.style.minHeight = "";
  if (width && shown.entries.length) draw(shown);
}).observe(picture);
