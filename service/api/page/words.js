// How things are said: times, shares, colours, and small pieces of the document. Text is only ever set as text.
export const $ = (selector, within = document) => within.querySelector(selector);

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
export function cells(texts) {
  const row = document.createElement("tr");
  for (const text of texts) row.insertCell().textContent = text;
  return row;
}
export const fromTemplate = (id) => $(id).content.cloneNode(true).firstElementChild;
// Only where it differs: a screen reader's place and a selection survive.
export const put = (target, text) => { if (target.textContent !== text) target.textContent = text; };

export const clock = (seconds) => {
  const whole = Math.floor(seconds / 60);
  return `${String(whole).padStart(2, "0")}:${(seconds - 60 * whole).toFixed(2).padStart(5, "0")}`;
};
export const timeOfDay = (milliseconds) => new Date(milliseconds).toLocaleTimeString([], { hourCycle: "h23" });
// With the date, unless it is today's.
export function moment(milliseconds) {
  const day = new Date(milliseconds).toLocaleDateString();
  return `${day === new Date().toLocaleDateString() ? "" : `${day} `}${timeOfDay(milliseconds)}`;
}
export const percent = (share) => `${Math.round(share * 100)} %`;
export function span(seconds) {
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
export const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

// Within a sentence, a name of the other direction of writing keeps the numbers beside it from turning round.
export const apart = (name) => (/[\p{Script=Arabic}\p{Script=Hebrew}]/u.test(name) ? `\u2068${name}\u2069` : name);

export const BACKGROUND = "background";
const numbers = new Map();
export const noteLabels = (labels) => labels.forEach((label, number) => numbers.set(label, number));
// The golden angle keeps the hues of any number of labels apart.
export function colour(label) {
  if (label === BACKGROUND) return "var(--quiet)";
  const number = numbers.get(label) ?? [...label].reduce((sum, letter) => sum + letter.codePointAt(0), 0);
  return `hsl(${Math.round(number * 137.508 + 210) % 360} ${number % 2 ? 60 : 52}% ${number % 3 ? 48 : 55}%)`;
}
export const ENDS = {
  exit: "it was over", label_change: "another label came", source_lost: "the source was lost",
  blind: "nothing could be seen", end_of_stream: "the video ended",
};
