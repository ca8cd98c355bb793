// The live picture of a stream. It is fetched only while somebody can see it, so that nothing is encoded
// for nobody. Only a few may be live, a chosen one first; the others are stills that are fetched anew every other
// second. Of a live picture whose connection has ended browsers say nothing, so that it is asked for anew now and then.
import { withToken } from "./api.js";
import { hold, isFree, isTooMany, shareSeats } from "./seats.js";

const RATE = 8;
const STILL_EVERY = 2000;
const AGAIN = 5000;
const RENEW = 30000;
const HAS_PICTURE = new Set(["live", "stalled", "frozen", "blind"]);
const all = new Set();
const live = new Set();
const updateAll = () => { for (const picture of all) picture.update(); };
document.addEventListener("visibilitychange", updateAll);
shareSeats(() => {
  while (isTooMany()) [...live].at(-1).stop();
  updateAll();
});

export class Picture {
  constructor(place, links, name) {
    this.place = place;
    this.links = links;
    this.name = name;
    this.state = "connecting";
    this.inView = this.paused = this.chosen = false;
    this.mode = "off";
    all.add(this);
  }

  // What is left out stays as it is.
  show({ state = this.state, inView = this.inView, paused = this.paused, chosen = this.chosen }) {
    Object.assign(this, { state, inView, paused, chosen });
    this.update();
  }

  close() {
    all.delete(this);
    this.stop();
    updateAll();
  }

  update() {
    const wanted = HAS_PICTURE.has(this.state) && this.inView && !this.paused && !document.hidden;
    const other = wanted && this.chosen && !live.has(this) && !isFree() && [...live].findLast(({ chosen }) => !chosen);
    if (other) other.stop();
    const mode = !wanted ? "off" : live.has(this) || isFree() ? "live" : "still";
    if (mode === this.mode) return;
    const seatLeft = this.mode === "live" || other;
    this.stop();
    this.mode = mode;
    if (mode === "live") {
      live.add(this);
      hold(live.size);
    }
    if (mode !== "off") this.load();
    if (seatLeft) updateAll();
  }

  // What is shown stays until the next one is there; should nothing come at all, it is asked for once more.
  load() {
    const image = new Image();
    image.alt = `Live picture of ${this.name}`;
    image.onload = () => {
      if (image === this.next) this.swap(image);  // some browsers say so with every picture
      this.later(this.mode === "still" ? STILL_EVERY : RENEW);
    };
    image.onerror = () => {
      this.swap(null);
      this.later(AGAIN);
    };
    drop(this.next);
    this.next = image;
    const path = this.mode === "live" ? `${this.links.live}?rate=${RATE}&` : `${this.links.snapshot}?`;
    image.src = withToken(`${path}at=${Date.now()}`);
    this.later(RENEW);
  }

  swap(image) {
    if (this.next !== image) drop(this.next);
    drop(this.image);
    this.next = null;
    this.image = image;
    this.place.replaceChildren(...(image ? [image] : []));
  }

  later(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), wait);
  }

  stop() {
    clearTimeout(this.timer);
    if (live.delete(this)) hold(live.size);
    this.mode = "off";
    this.swap(null);
  }
}

function drop(image) {
  if (!image) return;
  image.onload = image.onerror = null;
  image.removeAttribute("src");  // ends the connection, which removing the element alone does not
}
